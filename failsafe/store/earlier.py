"""What earlier versions had in texts alone, read from there: signs of evidence, by the migration and for rows out of an archive; why a domain is halted. Pure.

The words below are those of versions up to schema 0005. They stay as they are, whatever a text says today.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

_CERTIFICATE = "its certificate does not verify"
_STARTTLS = "STARTTLS is offered and does not work"
_TLS_FAULT = re.compile(rf"; but (?:{_CERTIFICATE}|{_STARTTLS}): ([^;]+)")
_COUNTED = re.compile(r"(refused for good, so senders bounce|put off at RCPT TO): [45][50][04]\b")
_FOR_NOW = re.compile(r"at [A-Za-z ]+: 4\d\d\b")
_LINE_WAS_DOWN = " line was down ("  # what follows was seen through a line that carried nothing

# sign -> whether evidence of this class and text had it
_SAID: dict[str, Callable[[str, str], bool]] = {
    "stands": lambda seen, text: seen == "unknown" and text.startswith("the server answers elsewhere"),
    "login-refused": lambda _seen, text: text.startswith("login refused"),
    "refused-for-now": lambda seen, text: seen == "probe-blocked" and _FOR_NOW.search(text) is not None,
    "says-banned": lambda seen, text: seen == "banned" and text.startswith("this prober is banned, the server says"),
    "counted": lambda _seen, text: _COUNTED.search(text) is not None,
    "bad-certificate": lambda _seen, text: _CERTIFICATE in text,
    "broken-tls": lambda _seen, text: f"; but {_STARTTLS}: " in text,
    "port-25-blocked": lambda _seen, text: _LINE_WAS_DOWN not in text and "port 25 is blocked from here" in text,
    "port-25-works": lambda _seen, text: _LINE_WAS_DOWN not in text and "port 25 works from here" in text,
}


def with_signs(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of evidence with `signs` and `tls_fault`. One that has them is given back as it is; `sign` is what schema 0005 knew already."""
    if "signs" in row:
        return dict(row)
    seen, text = str(row.get("seen", "")), str(row.get("text", ""))
    known = {str(row["sign"])} if row.get("sign") else set()
    signs = known | {sign for sign, has in _SAID.items() if has(seen, text)}
    fault = _TLS_FAULT.search(text)
    return {**row, "signs": " ".join(sorted(signs)), "tls_fault": fault[1] if fault else ""}


def store_was_lost(details: Mapping[str, Any]) -> bool:
    """Of a halted domain, by the details of its row: whether it is halted since the primary came back without its mail."""
    known = details.get("store_lost")
    return bool(known) if known is not None else str(details.get("reason", "")).startswith("restore required")
