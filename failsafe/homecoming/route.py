"""Where at the primary a message goes that was found at the secondary, or why it does not come home. Pure.

A mailbox that is fetched by a login of its own goes to the mailbox of its name. What a catch-all holds goes to those whom its header names: who it
was sent to (the envelope, of which servers keep X-Original-To and the like), then To and Cc. Both count: a server that has one mailbox
for many people keeps one copy of a message that was sent to two of them, and names one of them in it. Whoever has the message already is not given
it twice, since the ledger and the primary's mailboxes are looked at; so nobody is left out. Of a list's mail To and Cc count only where no envelope is told:
those whom they name got another copy, without the list's marks.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from failsafe.homecoming.bridge import is_placeholder, is_unsent
from failsafe.homecoming.folders import Place, home_name, place_of
from failsafe.homecoming.found import Found
from failsafe.homecoming.people import Addresses
from failsafe.homecoming.window import counts
from failsafe.mail.addresses import addresses_in
from failsafe.mail.canary import read_canary
from failsafe.mail.headers import fields_of

# What servers write of the envelope.
ENVELOPE = frozenset(
    {b"x-original-to", b"delivered-to", b"envelope-to", b"x-envelope-to", b"x-delivered-to", b"x-forwarded-to", b"x-forwarded-for", b"x-gm-original-to", b"x-rcpt-to"}
)  # fmt: skip
_LISTS = frozenset({b"list-id", b"list-post", b"list-unsubscribe-post"})
_FOR = re.compile(rb"\sfor\s+<([^<>\s]{3,254})>", re.IGNORECASE)
_END = re.compile(rb"\n\r?\n")
_RECEIVED_BYTES = 2_000
MOST_PEOPLE = 1_000  # of one message that are looked up
TOLD = 5  # addresses that a reason names
CANARY, DRAFT, VIEW, EARLIER, STRANGER = (
    "a canary",
    "a draft",
    "it lies in another folder too",
    "it came before the homecoming's time",
    "it was not sent by anybody of the domain",
)
REPAIRED = "it stood for a message that the bridge could not build, and has gone"
NOT_BUILT = "the bridge at the secondary could not build it: run its repair, then it comes by itself"


@dataclass(frozen=True, slots=True)
class Route:
    """One mailbox and folder of the primary. `why`: for a person, where it is another one than the message is addressed to; else ""."""

    mailbox: str
    folder: str  # as `home_name` has it; `folder_at` makes the primary's own of it
    why: str = ""


@dataclass(frozen=True, slots=True)
class Routing:
    """Exactly one of the three is there."""

    routes: tuple[Route, ...] = ()
    left: str = ""  # why it stays at the secondary for good
    waits: str = ""  # why it cannot be brought home yet


@dataclass(frozen=True, slots=True)
class Rules:
    """What a homecoming's messages are judged by. `unroutable`: "MAILBOX/FOLDER"; "" for postmaster's folder Unrouted."""

    table: Addresses
    begin: datetime  # aware UTC; what came before does not count
    canary_key: bytes = b""
    unroutable: str = ""
    catch_all: str = ""  # the catch-all's own login, which as a recipient says nothing


def judge_found(found: Found, head: bytes, rules: Rules) -> Routing:
    """`head`: the message's header, or its first bytes, which may go on into the body."""
    end = _END.search(head)
    head = head if end is None else head[: end.end()]
    place = place_of(found.folder, found.uses)
    if rules.canary_key and read_canary(head, rules.canary_key) is not None:
        return Routing(left=CANARY)
    if place is Place.DRAFTS or "D" in found.flags or is_unsent(found.folder, head):
        return Routing(left=DRAFT)
    if place is Place.VIEW:
        return Routing(left=VIEW)
    if not counts(found, rules.begin):
        return Routing(left=EARLIER)
    if is_placeholder(head):
        return Routing(left=REPAIRED) if found.gone else Routing(waits=NOT_BUILT)
    return route(found, head, rules.table, rules.unroutable, catch_all=rules.catch_all)


def route(found: Found, head: bytes, table: Addresses, unroutable: str, *, catch_all: str = "") -> Routing:
    """Without a look at the window, canaries and drafts."""
    place = place_of(found.folder, found.uses)
    fields = list(fields_of(head))
    if place is Place.SENT:
        return _sent(found, fields, table)
    name = home_name(found.folder, found.uses)
    if not found.by_catch_all:
        return Routing((Route(found.mailbox, name),))
    # Other folders are how one person sorts what is for all of them.
    folder = name if place in (Place.JUNK, Place.TRASH) else Place.INBOX.value
    envelope, named = recipients(fields, table, {catch_all.lower(), found.mailbox.lower()})
    return _to_people(envelope, named, folder, table, unroutable)


def recipients(
    fields: Iterable[tuple[bytes, bytes]], table: Addresses, silent: Collection[str] = ()
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(addresses of ours that the envelope had, others of ours that the header names). `silent`: the catch-all's own, in lower case."""
    fields = list(fields)
    envelope = _envelope(fields, table, silent)
    if envelope and any(name in _LISTS for name, _ in fields):
        return envelope, ()
    resent = [value for name, value in fields if name in (b"resent-to", b"resent-cc", b"resent-bcc")]
    named = _ours(resent, table) or _ours((value for name, value in fields if name in (b"to", b"cc", b"bcc")), table)
    if not envelope and not named:  # a blind copy to the catch-all's own people
        return tuple(address for address in _envelope(fields, table) if table.reach(address).mailboxes), ()
    return envelope, tuple(address for address in named if address not in envelope)


def _envelope(fields: Iterable[tuple[bytes, bytes]], table: Addresses, silent: Collection[str] = ()) -> tuple[str, ...]:
    """From the topmost hop that tells one of ours: what stands below it is of the message's earlier ways."""
    told: list[str] = []
    hops: list[str] = []
    for name, value in fields:
        if name in ENVELOPE:
            told += _ours([value], table, silent)
        elif name == b"received" and told:
            break
        elif name == b"received" and not hops:
            hops = list(_ours(_FOR.findall(value[:_RECEIVED_BYTES]), table, silent))
    return tuple(dict.fromkeys(told or hops))


def _ours(values: Iterable[bytes], table: Addresses, silent: Collection[str] = ()) -> tuple[str, ...]:
    found = dict.fromkeys(address for value in values for address in addresses_in(value))
    return tuple(address for address in found if table.is_ours(address) and address not in silent)


def _to_people(envelope: tuple[str, ...], named: tuple[str, ...], folder: str, table: Addresses, unroutable: str) -> Routing:
    mailboxes: dict[str, None] = {}
    unknown: list[str] = []
    elsewhere: list[str] = []
    for address in (*envelope, *named)[:MOST_PEOPLE]:
        reached = table.reach(address)
        mailboxes |= dict.fromkeys(reached.mailboxes)
        elsewhere += [f"{address} leads to {target}, outside, where nothing is sent" for target in reached.outside]
        elsewhere += [f"{address} leads to a program or a file" for _ in reached.programs[:1]]
        if not (reached.mailboxes or reached.outside or reached.programs):
            unknown.append(address)
    routes = [Route(mailbox, folder) for mailbox in mailboxes]
    # An address that is in To alone may be anything; one in the envelope was taken by the secondary, so somebody is to see it.
    missed = [address for address in unknown if address in envelope or not mailboxes]
    reasons = [f"nobody at the primary has {address}" for address in missed[:TOLD]] + (elsewhere[:TOLD] if not mailboxes else [])
    if len(envelope) + len(named) > MOST_PEOPLE:
        reasons.append(f"it names more than {MOST_PEOPLE} of the domain, of whom the first {MOST_PEOPLE} have it")
    if reasons or not routes:
        mailbox, place = unrouted(unroutable, table)
        # A catch-all takes the junk for every name that was ever made up.
        to_folder = Place.JUNK.value if folder == Place.JUNK else place
        routes.append(Route(mailbox, to_folder, "; ".join(reasons) or "its header names nobody of the domain"))
    return Routing(tuple(routes))


def unrouted(unroutable: str, table: Addresses) -> tuple[str, str]:
    """(mailbox, folder) for what cannot be routed, from "MAILBOX/FOLDER"; postmaster may be an alias, its first mailbox is taken then."""
    mailbox, _, folder = (unroutable or f"postmaster@{table.domain}/Unrouted").partition("/")
    reached = table.reach(mailbox.lower())
    return (reached.mailboxes or (mailbox,))[0], folder or "Unrouted"


def _sent(found: Found, fields: list[tuple[bytes, bytes]], table: Addresses) -> Routing:
    """Sent mail is of whom it says it is from; of a mailbox of its own it is that mailbox's, as long as somebody of the domain sent it."""
    senders = [address for name, value in fields if name == b"from" for address in addresses_in(value) if table.is_ours(address)]
    if not senders:
        return Routing(left=STRANGER)
    if not found.by_catch_all:
        return Routing((Route(found.mailbox, Place.SENT.value),))
    mailboxes = dict.fromkeys(mailbox for sender in senders for mailbox in table.reach(sender).mailboxes[:1])
    if not mailboxes:
        return Routing(left=STRANGER)
    return Routing(tuple(Route(mailbox, Place.SENT.value) for mailbox in mailboxes))
