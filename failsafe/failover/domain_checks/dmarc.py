"""Reads and judges a domain's DMARC record (RFC 7489). Pure but for the look-ups, which come through a port."""

from __future__ import annotations

import re
from dataclasses import dataclass

from failsafe.dns_ports import Lookups
from failsafe.mail.tags import mail_addresses, parse_tags
from failsafe.model import Finding, Severity

CODES = {"dmarc": (False, "one valid DMARC record, whose reports are allowed to go where they go")}
POLICIES = ("none", "quarantine", "reject")
MOST_ADDRESSES = 5


@dataclass(frozen=True, slots=True)
class DmarcSeen:
    """`at`: the domain that has the record, itself or one above it. `refusing`: domains of report addresses that did not agree to reports."""

    at: str = ""
    records: tuple[str, ...] = ()
    error: str = ""
    refusing: tuple[str, ...] = ()


def read_dmarc(domain: str, lookups: Lookups) -> DmarcSeen:
    """Never raises. Domains above are asked as long as they are not a whole top-level domain."""
    at = domain
    while True:
        found = lookups.ask(f"_dmarc.{at}", "TXT")
        if found.unknown:
            return DmarcSeen(at, error=found.error)
        records = tuple(text for text in found.records if re.match(r"v=DMARC1\s*(;|$)", text))
        if records:
            return DmarcSeen(at, records, refusing=_refusing(at, records[0], lookups))
        at = at.partition(".")[2]
        if "." not in at:
            return DmarcSeen()


def _refusing(at: str, record: str, lookups: Lookups) -> tuple[str, ...]:
    """Whoever gets reports of another domain says so in DNS (section 7.1); without that none are sent."""
    try:
        addresses = mail_addresses(parse_tags(record).get("rua", ""))
    except ValueError:
        return ()
    outside = {address.rpartition("@")[2] for address in addresses[:MOST_ADDRESSES]}
    outside = {each for each in outside if each and not _related(each, at)}
    answers = {each: lookups.ask(f"{at}._report._dmarc.{each}", "TXT") for each in sorted(outside)}
    return tuple(each for each, found in answers.items() if not found.unknown and not found.records)


def _related(one: str, other: str) -> bool:
    return one == other or one.endswith(f".{other}") or other.endswith(f".{one}")


def judge_dmarc(name: str, seen: DmarcSeen) -> Finding:
    example = f'_dmarc.{name}. IN TXT "v=DMARC1; p=none; rua=mailto:ADDRESS"'
    if seen.error:
        return _finding(Severity.SKIPPED, name, seen.error)
    if not seen.records:
        text = "there is no DMARC record: large receivers trust the domain less, and forgery stays unseen"
        return _finding(Severity.WARN, name, text, f"publish: {example}")
    if len(seen.records) > 1:
        return _finding(
            Severity.WARN, name, f"{len(seen.records)} DMARC records: receivers heed none", f"leave one at _dmarc.{seen.at}"
        )
    try:
        tags = parse_tags(seen.records[0])
    except ValueError as error:
        return _finding(Severity.WARN, name, f"the record is wrong: {error}", f"publish: {example}")
    if next(iter(tags)) != "v" or tags.get("p", "").lower() not in POLICIES:
        return _finding(Severity.WARN, name, "the record has no p=none, p=quarantine or p=reject", f"publish: {example}")
    if seen.refusing:
        other = seen.refusing[0]
        text = f"reports to {other} are not sent: that domain has not agreed to them"
        mend = f'its owner publishes: {seen.at}._report._dmarc.{other}. IN TXT "v=DMARC1"; or use an address of {seen.at}'
        return _finding(Severity.WARN, name, text, mend)
    above = f" (of {seen.at})" if seen.at != name else ""
    return _finding(Severity.OK, name, f"p={tags['p'].lower()}{above}, reports go to {tags.get('rua', 'nobody')[:200]}")


def _finding(severity: Severity, name: str, text: str, mend: str = "") -> Finding:
    return Finding("dmarc", severity, name, text, mend)
