"""DNS block lists, of addresses and of domains, asked the right way (RFC 5782), and what their answers mean. Pure.

A list is believed only while its two test points are right: one must be listed and one must not. That finds lists that have closed
down, zones that answer everything, and resolvers that rewrite answers or are refused. 127.255.255.x are the operator's errors (a public or shared
resolver, too many questions), 127.0.0.1 and 127.0.1.255 are how lists of domains refuse, and 127.0.0.0/8 is all that counts: none of them must ever be
read as a listing.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from failsafe.dns_ports import Lookup
from failsafe.model import Finding, Severity

CODES = {"dnsbl": (False, "the mail server's addresses and its domains are on no block list")}
LISTED, NOT_LISTED = "127.0.0.2", "127.0.0.1"  # test points of addresses (section 5)
LISTED_DOMAIN, NOT_LISTED_DOMAIN = "test", "invalid"  # and of domains, likewise
OWN_TEST_POINTS = {"dbl.spamhaus.org": "dbltest.com", "multi.surbl.org": "test.surbl.org"}  # as their operators document them
_ERRORS = ipaddress.ip_network("127.255.255.0/24")
_ANSWERS = ipaddress.ip_network("127.0.0.0/8")
_REFUSALS = {
    "127.0.0.1": "this resolver is refused",  # SURBL and URIBL; no list uses it for a listing (RFC 5782 section 2.1)
    "127.0.1.255": "it was asked for an address",  # Spamhaus DBL
}
# Addresses of lines that should not send by themselves, home lines most of all; of no weight for a server that sends through a relay, and still
# refused by most receivers.
POLICY_CODES = ("127.0.0.10", "127.0.0.11")
# None of these asks for a registration; more can be configured.
LISTS = ("zen.spamhaus.org", "bl.spamcop.net", "psbl.surriel.com")  # the default of [doctor] block_lists
DOMAIN_LISTS = ("dbl.spamhaus.org", "multi.surbl.org")  # the default of [doctor] domain_lists
WHERE = {
    "zen.spamhaus.org": "https://check.spamhaus.org",
    "bl.spamcop.net": "https://www.spamcop.net/bl.shtml",
    "psbl.surriel.com": "https://psbl.org/remove",
    "dbl.spamhaus.org": "https://check.spamhaus.org",
    "multi.surbl.org": "https://surbl.org/surbl-analysis",
}


@dataclass(frozen=True, slots=True)
class ListSeen:
    """One list. `broken`: why its answers are not believed. `codes`: what it says of each address, or domain; none: not listed. `unknown`: why of each other."""

    zone: str
    broken: str = ""
    codes: Mapping[str, tuple[str, ...]] | None = None
    unknown: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class ToAsk:
    """One list, and what is to be asked there. `of_domains`: it lists domains and no addresses."""

    zone: str
    subjects: tuple[str, ...]
    of_domains: bool = False

    @property
    def test_points(self) -> tuple[str, str]:
        """One that is listed, one that is not."""
        if self.of_domains:
            return OWN_TEST_POINTS.get(self.zone, LISTED_DOMAIN), NOT_LISTED_DOMAIN
        return LISTED, NOT_LISTED

    def question(self, subject: str) -> str:
        """`2.0.0.127.zen.example`, the 32 nibbles of an IPv6 address, or `example.org.dbl.example`."""
        if self.of_domains:
            return f"{subject}.{self.zone}"
        return f"{ipaddress.ip_address(subject).reverse_pointer.rpartition('.')[0].rpartition('.')[0]}.{self.zone}"


def questions(lists: Sequence[ToAsk]) -> tuple[str, ...]:
    """Every name that `read_list` may ask for."""
    return tuple(each.question(subject) for each in lists for subject in (*each.test_points, *each.subjects))


def read_list(asked: ToAsk, ask: Callable[[str], Lookup]) -> ListSeen:
    """`ask` looks a name's A records up. Never raises."""
    for subject, wanted in zip(asked.test_points, (True, False), strict=True):
        found = ask(asked.question(subject))
        why = found.error or _refusal(found.records)
        if not why and wanted and not found.records:
            why = f"it does not list its test point {subject}: it has closed down, or this resolver is refused"
        if not why and found.records and not wanted:
            why = f"it lists {subject}, and so would list everything"
        if why:
            return ListSeen(asked.zone, broken=why)
    codes, unknown = dict[str, tuple[str, ...]](), dict[str, str]()
    for address in asked.subjects:
        found = ask(asked.question(address))
        refused = _refusal(found.records)
        if found.unknown or refused:
            unknown[address] = found.error or refused
        else:
            codes[address] = found.records
    return ListSeen(asked.zone, codes=codes, unknown=unknown)


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
        if text in _REFUSALS:
            return f"it answers {text}, an error and no listing ({_REFUSALS[text]})"
        if found not in _ANSWERS:
            return f"its answer {text} is not within 127.0.0.0/8: somebody rewrites answers"
    return ""


def judge_dnsbl(server: str, seen: Sequence[ListSeen], asked_from: str, why: str = "", *, relay: str = "") -> Finding:
    """`asked_from`: "the mail server" or "here". `why` nobody was asked, where `seen` is empty.

    `relay`: who the server hands all its mail to; then it is no matter that its own address should not send.
    """
    if not seen:
        return Finding("dnsbl", Severity.SKIPPED, server, why or "no block list is configured")
    found = [(each.zone, address, codes) for each in seen for address, codes in (each.codes or {}).items() if codes]
    hits = [hit for hit in found if not (relay and set(hit[2]) <= set(POLICY_CODES))]
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
