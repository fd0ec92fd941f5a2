"""Gathers how a mail server looks to those who get mail from it: the names of its addresses, its greeting, block lists. Judges nothing itself."""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from failsafe.app import App
from failsafe.checkup.published import addresses_of
from failsafe.dns_ports import Lookup, Lookups
from failsafe.errors import FailsafeError
from failsafe.failover.doctor_inside import InsideCheckup
from failsafe.failover.domain_checks.block_lists import ListSeen, ToAsk, questions, read_list
from failsafe.failover.domain_checks.published import SendingSeen
from failsafe.failover.domain_checks.sending import AddressName, HeloSeen, is_public
from failsafe.failover.sends_from import SendsFrom
from failsafe.mail.spf import parse_spf, spf_records
from failsafe.model import Axis

ASK_AGAIN = timedelta(hours=20)  # block lists are asked once a day at most: their operators count
MOST_ADDRESSES = 8
MOST_DOMAINS = 8
SMALL_NETWORK = 4  # addresses
THREADS = 8
HERE = "here"
NOT_ASKED = Lookup(error="the mail server did not look it up")
MOST_NAMES = 5  # PTR records of one address
_GREETING = re.compile(r"^S: 220[ -]([A-Za-z0-9._\-\[\]:]+)", re.MULTILINE)


def look_at_sending(
    app: App, server: str, lookups: Lookups, now: datetime, inside: Future[InsideCheckup] | None = None
) -> SendingSeen:
    """`inside`: what the server says of itself; it knows where its mail leaves. Raises StoreError."""
    exchanges = sorted({name for table in app.config.domain.values() if table.server == server for name in table.primary})
    found = dict.fromkeys(each for name in exchanges for each in addresses_of(name, lookups))
    received_at = tuple(found)
    sends = None if inside is None else sends_from(inside.result())
    addresses = (received_at if sends is None else sends.instead_of(received_at))[:MOST_ADDRESSES]
    public = [address for address in addresses if is_public(address)]
    with ThreadPoolExecutor(THREADS, thread_name_prefix=f"doctor {server}") as pool:
        names = pool.map(lambda address: _name_of(address, lookups), public)
        lists = pool.submit(_lists, app, server, _lists_to_ask(app, server, public, lookups), lookups, now)
        helo = _helo(app, server, addresses, lookups, "" if sends is None or sends.relay else sends.helo)
        seen, asked_from, why = lists.result()
        return SendingSeen(server, tuple(names), helo, seen, asked_from, why, received_at, sends)


def sends_from(inside: InsideCheckup) -> SendsFrom | None:
    return None if inside.vitals is None else inside.vitals.sends_from


def _name_of(address: str, lookups: Lookups) -> AddressName:
    found = lookups.ask(ipaddress.ip_address(address).reverse_pointer, "PTR")
    if found.unknown:
        return AddressName(address, error=found.error)
    kind = "AAAA" if ":" in address else "A"
    forward = {name: lookups.ask(name, kind) for name in found.records[:MOST_NAMES]}
    back = tuple(name for name, each in forward.items() if address in each.records)
    unknown = next((each.error for each in forward.values() if each.unknown), "")
    return AddressName(address, found.records, back, "" if back else unknown)


def _helo(app: App, server: str, addresses: Sequence[str], lookups: Lookups, sends: str) -> HeloSeen:
    """`sends`: the name that it sends with, by its own settings; "" where that is not known: then the name of the greeting, from the newest session that
    the probe kept. Nothing is said to the server for this."""
    if sends:
        return _led(sends, addresses, lookups, sends=True)
    runs = sorted(app.history.runs(server), key=lambda run: run.last_at, reverse=True)
    for run in runs:
        greeting = _GREETING.search(run.evidence.transcript) if run.evidence.axis is Axis.INBOUND else None
        if greeting is not None:
            return _led(greeting[1].rstrip(".").lower(), addresses, lookups)
    return HeloSeen()


def _led(said: str, addresses: Sequence[str], lookups: Lookups, *, sends: bool = False) -> HeloSeen:
    answers = [lookups.ask(said, kind) for kind in ("A", "AAAA")]
    leads_to = tuple(each for found in answers for each in found.records)
    error = next((found.error for found in answers if found.unknown), "")
    return HeloSeen(said, leads_to, "" if leads_to else error, tuple(addresses), sends)


def _lists_to_ask(app: App, server: str, addresses: Sequence[str], lookups: Lookups) -> tuple[ToAsk, ...]:
    """Lists of addresses are asked for those that receive and those that send, lists of domains for the domains and the zones they are in."""
    domains = [(name, table.zone) for name, table in sorted(app.config.domain.items()) if table.server == server]
    sending = [address for name, _zone in domains for address in addresses_that_send(name, lookups)]
    every = tuple(dict.fromkeys((*addresses, *sending)))[:MOST_ADDRESSES]
    names = tuple(dict.fromkeys(each for pair in domains for each in pair if each))[:MOST_DOMAINS]
    wanted = [ToAsk(zone, every) for zone in app.config.doctor.block_lists]
    wanted += [ToAsk(zone, names, of_domains=True) for zone in app.config.doctor.domain_lists]
    return tuple(each for each in wanted if each.subjects)


def addresses_that_send(domain: str, lookups: Lookups) -> tuple[str, ...]:
    """Those that the domain's own SPF record names one by one; what it includes is others'. A large network names nobody."""
    records = spf_records(lookups.ask(domain, "TXT").records)
    try:
        terms = parse_spf(records[0]) if len(records) == 1 else ()
    except ValueError:
        return ()
    found: list[str] = []
    for term in (term for term in terms if term.qualifier == "+"):
        if term.name == "a" and "%" not in term.value:
            found += addresses_of(term.value or domain, lookups)
        elif term.name in ("ip4", "ip6"):
            with contextlib.suppress(ValueError):
                network = ipaddress.ip_network(term.value, strict=False)
                found += map(str, network) if network.num_addresses <= SMALL_NETWORK else ()
    return tuple(address for address in found if is_public(address))


def _lists(
    app: App, server: str, lists: Sequence[ToAsk], lookups: Lookups, now: datetime
) -> tuple[tuple[ListSeen, ...], str, str]:
    """(what the lists say, who asked them, why nobody did). The answers of the last day are used again while they are about the same.

    The mail server's own resolver is asked first: lists refuse the resolvers of large providers, and what counts is what mail servers get.
    """
    if not lists:
        has_lists = app.config.doctor.block_lists or app.config.doctor.domain_lists
        return (), HERE, "no public address of it is known" if has_lists else ""
    duty = f"dnsbl:{server}"
    asked = [[each.zone, list(each.subjects)] for each in lists]
    row = app.duties.all().get(duty)
    fresh = row is not None and row.ended_at is not None and timedelta(0) <= now - row.ended_at < ASK_AGAIN
    if row is not None and fresh and row.details.get("asked") == asked:
        return tuple(_to_list(each) for each in row.details["lists"]), row.details["from"], ""
    found, asked_from = _ask_there(app, server, lists), "the mail server"
    if found is None or all(each.broken for each in found):
        with ThreadPoolExecutor(THREADS, thread_name_prefix=f"block lists {server}") as pool:
            found = tuple(pool.map(lambda each: read_list(each, lambda name: lookups.ask(name, "A")), lists))
        asked_from = HERE
    if not all(each.broken for each in found):  # a dead resolver is asked again
        rows = [asdict(each) for each in found]
        app.duties.ended(duty, now, ok=True, details={"asked": asked, "lists": rows, "from": asked_from})
    return found, asked_from, ""


def _ask_there(app: App, server: str, lists: Sequence[ToAsk]) -> tuple[ListSeen, ...] | None:
    """Through the resolver of the mail server itself; None where nobody can be asked there (no SSH, an older helper, a dead server)."""
    from failsafe.backup.source import open_source
    from failsafe.config.wanted import wanted_of

    table = app.server(server)
    if table.ssh is None or table.layout == "imap":
        return None
    try:
        with open_source(app.mail_host(server), wanted_of(table)) as (session, _found):
            answers = session.lookups(questions(lists))
    except FailsafeError:
        return None
    return tuple(read_list(each, lambda name: answers.get(name, NOT_ASKED)) for each in lists)


def _to_list(row: dict[str, Any]) -> ListSeen:
    codes = None if row["codes"] is None else {address: tuple(each) for address, each in row["codes"].items()}
    return ListSeen(row["zone"], row["broken"], codes, row["unknown"])
