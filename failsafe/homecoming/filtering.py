"""The filter rules of a primary's mailbox, for what comes home: they choose folder and flags before a message is given to it. Pure.

The rules are judged here and not run at the primary: so nothing can be answered, forwarded, rejected or thrown away by them, and the message is delivered
once, into its place, as without rules. What they would have discarded lies in the trash.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from failsafe.homecoming.folders import Place, folder_at
from failsafe.homecoming.plan import Arrival, Plan
from failsafe.mail.headers import HEAD_LIMIT, fields_of, head_is_whole
from failsafe.mail.sieve.judge import Filed, judge_letter
from failsafe.mail.sieve.parse import Command
from failsafe.mail.sieve.questions import Letter
from failsafe.mail.sieve.words import Unjudged

_INBOX = "INBOX"


@dataclass(frozen=True, slots=True)
class FilterScript:
    """Of one mailbox. `why`: it could not be read, and why."""

    commands: tuple[Command, ...] = ()
    why: str = ""


def is_filtered(arrival: Arrival) -> bool:
    """Received mail of the inbox: what lies in another folder of the secondary was put there by a person, or is junk."""
    return not arrival.sent and arrival.to_folder == _INBOX


def filed(
    arrival: Arrival, head: bytes, script: Sequence[Command], listing: Mapping[str, Collection[str]]
) -> tuple[Arrival, tuple[str, ...]]:
    """(where the rules lay it, what a person should know of it). `listing`: the primary's folders and their attributes."""
    if not head_is_whole(head):
        return arrival, ("a header that is too long was not held against the filter rules: the message lies in the inbox",)
    letter = Letter(list(fields_of(head)), arrival.size, lambda name: folder_named(name, listing) is not None)
    try:
        found = judge_letter(script, letter)
    except Unjudged as odd:
        return arrival, (f"filter rules ask for {odd}, which is not known here: the message lies in the inbox",)
    folder, told = _place(found, listing)
    notes = [f"filter rules would have sent {each}: nothing was sent" for each in found.held_back]
    return replace(arrival, to_folder=folder, marks=found.flags), (*notes, *told)


def folder_named(name: str, listing: Collection[str]) -> str | None:
    """The folder that a rule means: it writes the server's own separator and prefix."""
    bare = _without_prefix(name)
    for candidate in (name, bare, name.replace(".", "/"), bare.replace(".", "/")):
        if candidate.upper() == _INBOX:
            return _INBOX
        if candidate in listing:
            return candidate
    return None


def head_of(pieces: Iterable[bytes]) -> bytes:
    """The first bytes of a message, with its whole header where that ends within HEAD_LIMIT."""
    head = b""
    for piece in pieces:
        head += piece
        if head_is_whole(head) or len(head) > HEAD_LIMIT:
            break
    return head


def with_places(plan: Plan, places: Mapping[Arrival, Arrival]) -> Plan:
    """The plan with some of what it brings put elsewhere."""
    return replace(
        plan,
        to_bring=tuple(places.get(arrival, arrival) for arrival in plan.to_bring),
        doubles=tuple((one, places.get(twin, twin)) for one, twin in plan.doubles),
    )


def _place(found: Filed, listing: Mapping[str, Collection[str]]) -> tuple[str, tuple[str, ...]]:
    if found.discarded:
        return folder_at(Place.TRASH.value, listing), ("filter rules would have thrown it away: it lies in the trash",)
    if not found.folder:
        return _INBOX, ()
    known = folder_named(found.folder, listing)
    if known is not None:
        return known, ()
    if found.create:
        return _new_name(found.folder), ()
    return _INBOX, (f"filter rules name the folder {found.folder}, which is not there: the message lies in the inbox",)


def _new_name(name: str) -> str:
    bare = _without_prefix(name)
    return bare.replace(".", "/") if name[len(_INBOX) : len(_INBOX) + 1] == "." and bare != name else bare


def _without_prefix(name: str) -> str:
    has_one = name[: len(_INBOX)].upper() == _INBOX and name[len(_INBOX) : len(_INBOX) + 1] in (".", "/")
    return name[len(_INBOX) + 1 :] if has_one else name
