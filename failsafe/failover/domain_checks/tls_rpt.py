"""Judges where reports of broken TLS go (RFC 8460): they are how large senders tell that a policy keeps mail back. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from failsafe.mail.tags import mail_addresses, parse_tags, uris_of
from failsafe.model import Finding, Severity

CODES = {"tls-rpt": (False, "reports of broken TLS have an address, and not only one on the mail server that they report on")}


@dataclass(frozen=True, slots=True)
class TlsRptSeen:
    texts: tuple[str, ...] = ()  # TXT records at _smtp._tls.DOMAIN
    error: str = ""


def judge_tls_rpt(name: str, seen: TlsRptSeen, watched: Collection[str], *, has_policy: bool) -> Finding:
    """`watched`: the domains whose mail goes to the same server. `has_policy`: MTA-STS or TLSA records are published."""
    example = f'_smtp._tls.{name}. IN TXT "v=TLSRPTv1; rua=mailto:ADDRESS"'
    if seen.error:
        return Finding("tls-rpt", Severity.SKIPPED, name, seen.error)
    records = [text for text in seen.texts if re.match(r"v=TLSRPTv1\s*;", text)]
    if not records:
        if not has_policy:
            return Finding(
                "tls-rpt", Severity.OK, name, "no reports are asked for; without MTA-STS and DANE there is little to report"
            )
        text = "senders that cannot deliver because of MTA-STS or DANE tell nobody: no reports are asked for"
        return Finding("tls-rpt", Severity.WARN, name, text, f"publish: {example}, with an address elsewhere")
    if len(records) > 1:
        return Finding(
            "tls-rpt", Severity.WARN, name, f"{len(records)} records: senders heed none", f"leave one at _smtp._tls.{name}"
        )
    try:
        uris = uris_of(parse_tags(records[0]).get("rua", ""))
    except ValueError as error:
        return Finding("tls-rpt", Severity.WARN, name, f"the record is wrong: {error}", f"publish: {example}")
    good = [uri for uri in uris if uri.lower().startswith(("mailto:", "https:"))]
    if not good:
        return Finding("tls-rpt", Severity.WARN, name, "the record has no rua= with mailto: or https:", f"publish: {example}")
    addresses = mail_addresses(",".join(good))
    here = [each for each in addresses if each.rpartition("@")[2] in watched]
    if len(here) == len(good):
        text = f"reports go to {', '.join(here)} alone, which is on the mail server that they report on"
        mend = f"add an address elsewhere: {example.replace('ADDRESS', f'{here[0]},mailto:ADDRESS')}"
        return Finding("tls-rpt", Severity.WARN, name, text, mend)
    return Finding("tls-rpt", Severity.OK, name, f"reports go to {', '.join(good)[:200]}")
