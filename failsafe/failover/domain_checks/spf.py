"""Reads a domain's SPF record with everything that it includes, and judges it. Pure but for the look-ups, which come through a port."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field

from failsafe.dns_ports import Lookup, Lookups
from failsafe.mail.spf import MOST_LOOKUPS, MOST_VOIDS, Term, parse_spf, spf_records
from failsafe.model import Finding, Severity

CODES = {
    "spf": (
        False,
        "one SPF record, with the secondary's include and the address that mail leaves from, without a bare mx, within ten look-ups",
    )
}
STOP_AFTER = 30  # look-ups; far beyond the limit the exact number says nothing more


@dataclass(frozen=True, slots=True)
class SpfSeen:
    """`names`: every domain that was included. `fault`: why receivers take it for a permanent error. `error`: why it is not known.

    `passing`: the networks that may send. `open`: others may, too, which nobody can list (exists, ptr, macros, a name without an answer).
    """

    records: tuple[str, ...] = ()
    terms: tuple[Term, ...] = ()
    names: frozenset[str] = frozenset()
    lookups: int = 0
    voids: int = 0
    fault: str = ""
    error: str = ""
    passing: frozenset[str] = frozenset()
    open: bool = False

    def may_send(self, address: str) -> bool | None:
        """None: nobody can tell."""
        found = ipaddress.ip_address(address)
        networks = (ipaddress.ip_network(each) for each in self.passing)
        if any(found in network for network in networks if network.version == found.version):
            return True
        return None if self.open or self.error or self.fault else False


def read_spf(domain: str, lookups: Lookups) -> SpfSeen:
    """Never raises."""
    found = lookups.ask(domain, "TXT")
    if found.unknown:
        return SpfSeen(error=found.error)
    records = spf_records(found.records)
    if len(records) != 1:
        return SpfSeen(records)
    walk = _Walk(lookups, domain)
    try:
        terms = parse_spf(records[0])
    except ValueError as error:
        return SpfSeen(records, fault=str(error))
    walk.go(terms)
    known = frozenset(walk.passing), walk.open
    return SpfSeen(records, terms, frozenset(walk.names), walk.lookups, walk.voids, walk.fault, walk.error, *known)


@dataclass
class _Walk:
    """Counts as a receiver would that meets no match before the end (RFC 7208 section 4.6.4)."""

    asked: Lookups
    domain: str
    names: set[str] = field(default_factory=set)
    lookups: int = 0
    voids: int = 0
    fault: str = ""
    error: str = ""
    passing: set[str] = field(default_factory=set)
    open: bool = False
    path: tuple[str, ...] = ()  # of includes, from the domain down to where the walk is

    def go(self, terms: Sequence[Term]) -> None:
        has_all = any(term.name == "all" for term in terms)
        for term in terms:
            if self.lookups >= STOP_AFTER:
                self.open = True
                return
            if term.qualifier == "+":
                self._let_pass(term)
            if not term.looks_up or (term.name == "redirect" and has_all):  # section 6.1
                continue
            self.lookups += 1
            if term.name in ("include", "redirect"):
                self._include(term)
            elif term.value and "%" not in term.value:
                self._count_void(term)

    def _include(self, term: Term) -> None:
        if "%" in term.value:
            return
        if term.value in self.path:
            self.fault = self.fault or f"{term.value} includes itself"
            return
        self.names.add(term.value)
        found = self.asked.ask(term.value, "TXT")
        if found.unknown:
            self.error = self.error or f"{term.name}:{term.value}: {found.error}"
            return
        records = spf_records(found.records)
        if len(records) != 1:
            self.voids += not found.records
            self.fault = self.fault or f"{term.name} {term.value} has {len(records) or 'no'} SPF record{'s' if records else ''}"
            return
        above, self.path = self.path, (*self.path, term.value)
        try:
            self.go(parse_spf(records[0]))
        except ValueError as error:
            self.fault = self.fault or f"{term.value}: {error}"
        finally:
            self.path = above

    def _let_pass(self, term: Term) -> None:
        if term.name == "all":
            self.passing |= {"0.0.0.0/0", "::/0"}
        elif term.name in ("ip4", "ip6"):
            self._add(term.value)
        elif term.name in ("exists", "ptr") or "%" in term.value:
            self.open = True
        elif term.name in ("a", "mx"):
            name = term.value or (self.path[-1] if self.path else self.domain)
            found = self.asked.ask(name, "MX") if term.name == "mx" else Lookup((name,))
            self.open |= found.unknown
            for host in found.records[:MOST_LOOKUPS]:
                self._add_host(host.split()[-1].rstrip("."), term.prefix)

    def _add_host(self, host: str, prefix: str) -> None:
        short, _, long = prefix.removeprefix("/").partition("//") if not prefix.startswith("//") else ("", "", prefix[2:])
        for kind, length in (("A", short or "32"), ("AAAA", long or "128")):
            found = self.asked.ask(host, kind) if host else Lookup()
            self.open |= found.unknown
            for address in found.records:
                self._add(f"{address}/{length}")

    def _add(self, text: str) -> None:
        try:
            self.passing.add(str(ipaddress.ip_network(text, strict=False)))
        except ValueError:
            self.open = True

    def _count_void(self, term: Term) -> None:
        kinds = ("MX",) if term.name == "mx" else ("A", "AAAA")
        if term.name in ("a", "mx", "exists"):
            answers = [self.asked.ask(term.value, kind) for kind in kinds]
            self.voids += all(not each.unknown and not each.records for each in answers)


def judge_spf(
    name: str, seen: SpfSeen, includes: Sequence[str], primaries: Sequence[str], sends_from: Sequence[str] = ()
) -> Finding:
    """`includes`: what the secondary's mail needs; empty where that is not known. `sends_from`: addresses that the primary is known to send from."""
    if seen.error and not seen.records:
        return _finding(Severity.SKIPPED, name, seen.error)
    if not seen.records:
        text = "there is no SPF record: mail from this domain is easily forged, and often marked as spam"
        return _finding(Severity.WARN, name, text, _publish(name, _fresh(includes, primaries, sends_from)))
    if len(seen.records) > 1:
        text = f"{len(seen.records)} SPF records: receivers take that for an error, and heed none (RFC 7208 4.5)"
        mend = f"leave one at {name}, with the terms of all: {' | '.join(each[:120] for each in seen.records[:3])}"
        return _finding(Severity.FAIL, name, text, mend)
    if seen.fault:
        return _finding(
            Severity.FAIL,
            name,
            f"receivers take it for an error: {seen.fault}",
            f"mend or remove that term: {seen.records[0][:300]}",
        )
    if seen.lookups > MOST_LOOKUPS:
        text = f"it costs {seen.lookups} look-ups, and more than {MOST_LOOKUPS} are an error (RFC 7208 4.6.4)"
        mend = "take out includes of services that do not send for you any more, or write their addresses as ip4: and ip6:"
        return _finding(Severity.FAIL, name, text, mend)
    return _judge_terms(name, seen, includes, primaries, [each for each in sends_from if seen.may_send(each) is False])


def _judge_terms(name: str, seen: SpfSeen, includes: Sequence[str], primaries: Sequence[str], unnamed: Sequence[str]) -> Finding:
    record, mechanisms = seen.records[0], [term for term in seen.terms if term.qualifier]
    every = next((term for term in mechanisms if term.name == "all"), None)
    if every is not None and every.qualifier == "+":
        return _finding(
            Severity.WARN, name, "+all lets the whole world send as this domain", _publish(name, record.replace("+all", "~all"))
        )
    lacking = [each for each in includes if each not in seen.names]
    bare = any(term.name == "mx" and term.qualifier == "+" and term.value in ("", name) for term in mechanisms)
    if lacking or bare or unnamed:
        texts = [
            f"the primary's mail leaves from {each}, which may not send: what receivers check would not pass" for each in unnamed
        ]
        texts += [f"include:{each} of the secondary is missing: what is sent from there would not pass" for each in lacking]
        if bare:
            texts.append(
                "`mx` means other hosts after a failover, and while the primary is unlisted not the primary: name it instead"
            )
        return _finding(
            Severity.WARN,
            name,
            "; ".join(texts),
            _publish(name, _better(record, [*_words(unnamed), *(f"include:{each}" for each in lacking)], primaries, bare=bare)),
        )
    if seen.voids > MOST_VOIDS:
        text = f"{seen.voids} of its look-ups find nothing, and more than {MOST_VOIDS} may be taken for an error (RFC 7208 4.6.4)"
        return _finding(Severity.WARN, name, text, f"take the names out that are gone: {record[:300]}")
    if seen.error:
        return _finding(Severity.SKIPPED, name, seen.error)
    if every is None and not any(term.name == "redirect" for term in seen.terms):
        return _finding(
            Severity.WARN, name, "it has no `all`: whoever is not named may send, too", _publish(name, f"{record} ~all")
        )
    known = "" if includes else "; what the secondary needs is not known"
    return _finding(Severity.OK, name, f"one record, {seen.lookups} of {MOST_LOOKUPS} look-ups{known}")


def _better(record: str, more: Sequence[str], primaries: Sequence[str], *, bare: bool) -> str:
    words: list[str] = []
    for word in record.split():
        if bare and word.lower().lstrip("+").partition(":")[0].partition("/")[0] == "mx":
            words += [f"a:{each}" for each in primaries if f"a:{each}" not in record]
        else:
            words.append(word)
    place = next((index for index, word in enumerate(words) if word.lower().endswith("all")), len(words))
    return " ".join([*words[:place], *more, *words[place:]])


def _fresh(includes: Sequence[str], primaries: Sequence[str], sends_from: Sequence[str]) -> str:
    own = [f"a:{each}" for each in primaries]
    return " ".join(["v=spf1", *own, *_words(sends_from), *(f"include:{each}" for each in includes), "~all"])


def _words(addresses: Sequence[str]) -> list[str]:
    return [f"ip{ipaddress.ip_address(each).version}:{each}" for each in addresses]


def _publish(name: str, record: str) -> str:
    return f'publish: {name}. IN TXT "{record}"'


def _finding(severity: Severity, name: str, text: str, mend: str = "") -> Finding:
    return Finding("spf", severity, name, text, mend)
