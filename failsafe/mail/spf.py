"""SPF records (RFC 7208), term by term. Pure; what the terms lead to is looked up elsewhere.

There are libraries that evaluate SPF for one sender's address; the doctor asks another question (what does the record name, and how many
look-ups does it cost whoever asks?), for which reading the terms is enough.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

MOST_LOOKUPS = 10  # section 4.6.4: beyond that the result is "permerror", and the record protects nobody
MOST_VOIDS = 2  # look-ups without an answer, same section
MECHANISMS = ("all", "include", "a", "mx", "ptr", "ip4", "ip6", "exists")
_TERM = re.compile(r"(?P<qualifier>[+\-~?]?)(?P<name>[A-Za-z0-9]+)(?::(?P<value>[^/\s]+(?:/[^\s]*)?)|(?P<cidr>/[0-9/]+))?")
_MODIFIER = re.compile(r"(?P<name>[A-Za-z][A-Za-z0-9_.\-]*)=(?P<value>\S*)")


@dataclass(frozen=True, slots=True)
class Term:
    """`value` is a domain or an address, "" where the term has none; a prefix length ("/24//64") is cut off, but for ip4 and ip6."""

    qualifier: str  # + - ~ ?; "" of a modifier
    name: str
    value: str = ""
    prefix: str = ""

    @property
    def looks_up(self) -> bool:
        """Counts against the limit of ten."""
        return self.name in ("include", "a", "mx", "ptr", "exists", "redirect")


def spf_records(texts: Sequence[str]) -> tuple[str, ...]:
    """Of the TXT records those that are SPF (section 4.5)."""
    return tuple(text for text in texts if re.match(r"v=spf1( |$)", text, re.IGNORECASE))


def parse_spf(record: str) -> tuple[Term, ...]:
    """Raises ValueError naming the term that is wrong: one such term makes the whole record a permerror (section 4.6)."""
    terms = []
    for word in record.split()[1:]:
        modifier = _MODIFIER.fullmatch(word)
        if modifier is not None:
            terms.append(Term("", modifier["name"].lower(), modifier["value"].rstrip(".").lower()))
            continue
        term = _TERM.fullmatch(word)
        if term is None or term["name"].lower() not in MECHANISMS:
            raise ValueError(f"{word[:60]!r} is no term of SPF")
        name, value = term["name"].lower(), (term["value"] or "").lower()
        if name in ("include", "ip4", "ip6", "exists") and not value:
            raise ValueError(f"{word[:60]!r} says nothing behind its colon")
        prefix = term["cidr"] or ""
        if name in ("a", "mx", "include", "ptr", "exists") and "%{" not in value:
            value, slash, rest = value.partition("/")
            value, prefix = value.rstrip("."), prefix or slash + rest
        terms.append(Term(term["qualifier"] or "+", name, value, prefix))
    return tuple(terms)
