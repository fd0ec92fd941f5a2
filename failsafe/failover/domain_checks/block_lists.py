"""DNS block lists, asked the right way (RFC 5782), and what their answers mean. Pure.

A list is believed only while its two test points are right: 127.0.0.2 must be listed and 127.0.0.1 must not. That finds lists that have closed
down, domains that answer everything, and resolvers that rewrite answers. 127.255.255.x are the operator's errors (a public or shared resolver,
too many questions), and 127.0.0.0/8 is all that counts: both must never be read as a listing.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from failsafe.dns_ports import Lookup
from failsafe.model import Finding, Severity

CODES = {"dnsbl": (False, "the mail server's addresses are on no block list")}
LISTED, NOT_LISTED = "127.0.0.2", "127.0.0.1"  # test points (section 5)
_ERRORS = ipaddress.ip_network("127.255.255.0/24")
_ANSWERS = ipaddress.ip_network("127.0.0.0/8")
# Addresses of lines that should not send by themselves, home lines most of all; of no weight for a server that sends through a relay, and still
# refused by most receivers.
POLICY_CODES = ("127.0.0.10", "127.0.0.11")
# None of these asks for a registration; more can be configured.
LISTS = ("zen.spamhaus.org", "bl.spamcop.net", "psbl.surriel.com")  # the default of [doctor] block_lists
WHERE = {
    "zen.spamhaus.org": "https://check.spamhaus.org",
    "bl.spamcop.net": "https://www.spamcop.net/bl.shtml",
    "psbl.surriel.com": "https://psbl.org/remove",
}


@dataclass(frozen=True, slots=True)
class ListSeen:
    """One list. `broken`: why its answers are not believed. `codes`: what it says of each address; none: not listed. `unknown`: why of each other."""

    zone: str
    broken: str = ""
    codes: Mapping[str, tuple[str, ...]] | None = None
    unknown: Mapping[str, str] | None = None


def question(address: str, zone: str) -> str:
    """`2.0.0.127.zen.example`, or the 32 nibbles of an IPv6 address."""
    return f"{ipaddress.ip_address(address).reverse_pointer.rpartition('.')[0].rpartition('.')[0]}.{zone}"


def questions(zones: Sequence[str], addresses: Sequence[str]) -> tuple[str, ...]:
    """Every name that `read_list` may ask for."""
    return tuple(question(address, zone) for zone in zones for address in (LISTED, NOT_LISTED, *addresses))


def read_list(zone: str, addresses: Sequence[str], ask: Callable[[str], Lookup]) -> ListSeen:
    """`ask` looks a name's A records up. Never raises."""
    for address, wanted in ((LISTED, True), (NOT_LISTED, False)):
        found = ask(question(address, zone))
        why = found.error or _refusal(found.records)
        if not why and wanted and not found.records:
            why = f"it does not list its test point {LISTED}: it has closed down, or this resolver is refused"
        if not why and found.records and not wanted:
            why = f"it lists {NOT_LISTED}, and so would list everything"
        if why:
            return ListSeen(zone, broken=why)
    codes, unknown = dict[str, tuple[str, ...]](), dict[str, str]()
    for address in addresses:
        found = ask(question(address, zone))
        refused = _refusal(found.records)
        if found.unknown or refused:
            unknown[address] = found.error or refused
        else:
            codes[address] = found.records
    return ListSeen(zone, codes=codes, unknown=unknown)


def _refusal(records: Sequence[str]) -> str:
    """Why an answer is none; "" if it is one."""
    for text in records:
        try:
            found = ipaddress.IPv4Address(text)
        except ValueError:
            return f"its answer {text[:40]} is no address"
        if found in _ERRORS:
            why = {254: "asked through a public resolver", 255: "too many questions", 252: "the list's name is written wrong"}
            return f"it answers {text}, an error and no listing ({why.get(int(found) & 255, 'see its operator')})"
        if found not in _ANSWERS:
            return f"its answer {text} is not within 127.0.0.0/8: somebody rewrites answers"
    return ""


def judge_dnsbl(server: str, seen: Sequence[ListSeen], asked_from: str, why: str = "") -> Finding:
    """`asked_from`: "the mail server" or "here". `why` nobody was asked, where `seen` is empty."""
    if not seen:
        return Finding("dnsbl", Severity.SKIPPED, server, why or "no block list is configured")
    hits = [(each.zone, address, codes) for each in seen for address, codes in (each.codes or {}).items() if codes]
    if hits:
        texts = [f"{address} is on {zone} ({', '.join(codes)})" for zone, address, codes in hits]
        policy = all(set(codes) <= set(POLICY_CODES) for _, _, codes in hits)
        more = ", as an address that should not send mail by itself" if policy else ""
        zone = hits[0][0]
        mend = (
            f"find the cause first (a stolen password, a list, an open relay), then ask to be taken off: {WHERE.get(zone, zone)}"
        )
        return Finding("dnsbl", Severity.FAIL, server, f"{'; '.join(texts)}{more}: receivers refuse its mail", mend)
    good = [each.zone for each in seen if not each.broken and not each.unknown]
    bad = [
        f"{each.zone}: {each.broken or next(iter((each.unknown or {'': ''}).values()))}" for each in seen if each.zone not in good
    ]
    if not good:
        mend = "ask through a recursive resolver of your own: [doctor] resolver, such as Unbound on this machine"
        return Finding("dnsbl", Severity.SKIPPED, server, f"asked from {asked_from}: {'; '.join(bad)}", mend)
    more = f" (not known: {'; '.join(bad)})" if bad else ""
    return Finding("dnsbl", Severity.OK, server, f"on none of {', '.join(good)}, asked from {asked_from}{more}")
