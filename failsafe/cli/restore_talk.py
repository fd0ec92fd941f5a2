"""The questions of `failsafe restore` alone: whose mailbox, what is missing, since when, which messages, where to. Pure.

The conversation is a generator: it yields questions, is sent answers, and ends with a decision. It touches nothing; what it
must know it asks of `Facts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from enum import Enum
from typing import Protocol

from failsafe.backup.catalog_places import KnownMailbox
from failsafe.backup.catalog_search import Found
from failsafe.cli.restore_pick import Question, Talk, groups_of, messages_of, one_of
from failsafe.cli.restore_words import (
    SINCE_EXAMPLES,
    counted,
    grouped,
    parse_since,
)
from failsafe.errors import UsageError


class Missing(Enum):
    EVERYTHING = "1"
    FOLDER = "2"
    WORDS = "3"
    UNKNOWN = "4"


@dataclass(frozen=True, slots=True)
class Wish:
    """What is looked for. `since`: when it vanished, or later; None for ever. With `gone_alone`, nothing that is still there."""

    of: KnownMailbox
    folder: str | None = None
    words: tuple[str, ...] = ()
    since: datetime | None = None
    gone_alone: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """`rows` of all that the wish found are to go to `to` (a DEST of `restore`)."""

    wish: Wish
    rows: tuple[Found, ...]
    found: tuple[Found, ...]
    to: str
    imap_user: str | None = None


class Facts(Protocol):
    """What the conversation may ask about."""

    def mailboxes(self) -> Sequence[KnownMailbox]: ...
    def folders(self, of: KnownMailbox) -> dict[str, int]:
        """Folder -> messages in it now."""
        ...

    def messages(self, wish: Wish) -> Sequence[Found]:
        """What is gone first, then what is still there; the newest first."""
        ...

    def imap_server(self, server: str) -> str:
        """Where a restore into a mailbox goes; "" where the configuration does not say."""
        ...

    def home(self, mailbox: str) -> str:
        """A folder of this machine that is free for restored files."""
        ...

    def fault_of(self, folder: str) -> str:
        """Why files cannot go there; "" where they can."""
        ...


GREETING = (
    "This brings mail back. Nothing is changed before you have seen the plan and said yes.",
    "At each question: Enter takes what stands in [ ], ? explains, q quits.",
    "",
)


def converse(facts: Facts, now: datetime, zone: tzinfo) -> Talk[Decision]:
    of = yield from _whose(facts)
    while True:
        wish = yield from _wish(facts, of, now, zone)
        found = tuple(facts.messages(wish))
        if not found:
            wish, found = yield from _look_further(facts, wish)
        rows = yield from _which(wish, found, zone) if found else _nothing()
        if rows:
            to, imap_user = yield from _where(facts, of, rows)
            return Decision(wish, rows, found, to, imap_user)


# -- whose ---------------------------------------------------------------------------------------------------------------


def _whose(facts: Facts) -> Talk[KnownMailbox]:
    known = facts.mailboxes()
    several = len({each.server for each in known}) > 1
    names = [f"{each.mailbox} ({each.server})" if several else each.mailbox for each in known]
    place = yield from one_of(names, (*GREETING, "Whose mailbox?"), "mailbox")
    return known[place]


# -- what, and since when ------------------------------------------------------------------------------------------------


def _wish(facts: Facts, of: KnownMailbox, now: datetime, zone: tzinfo) -> Talk[Wish]:
    kind = yield from _kind()
    folder: str | None = None
    words: tuple[str, ...] = ()
    if kind is Missing.FOLDER:
        folders = facts.folders(of)
        names = list(folders)
        labels = [f"{name}: {counted(count)} there now" for name, count in folders.items()]
        folder = names[(yield from one_of(names, ("Which folder?",), "folder", labels))]
    elif kind is Missing.WORDS:
        words = yield from _words()
    since = yield from _since(now, zone)
    return Wish(of, folder, words, since, gone_alone=kind is Missing.UNKNOWN)


def _kind() -> Talk[Missing]:
    shown: tuple[str, ...] = (
        "What is missing?",
        "   1  everything",
        "   2  a folder",
        "   3  certain messages: I know the sender, or words of the subject",
        "   4  I do not know: show me what vanished lately",
    )
    explained = (
        "Every backup notes which messages are no longer where they were; 4 lists those, by folder and day.",
        "1 and 2 also list what is still there as far as the newest backup knows: the server itself is asked before anything is added,",
        "and what it has is never added twice.",
    )
    while True:
        text = yield Question("1 to 4", shown, "4", explained)
        if text in {kind.value for kind in Missing}:
            return Missing(text)
        shown = (f"“{text}” is none of 1, 2, 3, 4.",)


def _words() -> Talk[tuple[str, ...]]:
    while True:
        text = yield Question(
            "Words of the sender, the recipient or the subject",
            help=(
                "Each word must be in one of them, anywhere, upper or lower case: “bank invoice” finds “Your INVOICE” from mybank.example.",
            ),
        )
        if text.split():
            return tuple(text.split())


def _since(now: datetime, zone: tzinfo) -> Talk[datetime | None]:
    shown: tuple[str, ...] = ("Since when is it missing? Rather too early than too late.",)
    while True:
        text = yield Question("Since", shown, "a week", (f"Say {SINCE_EXAMPLES}.",))
        try:
            return parse_since(text, now, zone)
        except UsageError as error:
            shown = (f"{error}: {error.mend}.",)


def _look_further(facts: Facts, wish: Wish) -> Talk[tuple[Wish, tuple[Found, ...]]]:
    """Nothing was found: perhaps it vanished earlier."""
    nothing = "Nothing that fits is known to have vanished since then."
    if wish.since is None:
        return wish, ()
    further = replace(wish, since=None)
    found = tuple(facts.messages(further))
    if not found:
        return further, ()
    text = yield Question(f"{nothing} Earlier, {counted(len(found))} did. Show them? (y/n)", default="y")
    return (further, found) if text.lower() in ("y", "yes") else (wish, ())


def _nothing() -> Talk[tuple[Found, ...]]:
    yield Question(
        "Enter asks once more what is missing",
        (
            "Nothing that fits was found. What was never in a backup cannot come back; a message that came and went between",
            "two backups never was. Try fewer words, or 4 to see everything that vanished.",
        ),
    )
    return ()


# -- which ---------------------------------------------------------------------------------------------------------------


def _which(wish: Wish, found: tuple[Found, ...], zone: tzinfo) -> Talk[tuple[Found, ...]]:
    """Empty where the person wants to go back."""
    offered = found
    if wish.gone_alone:
        groups = grouped(found, zone)
        offered = (yield from groups_of(groups)) if len(groups) > 1 else found
    return (yield from messages_of(offered, zone)) if offered else ()


# -- where to ------------------------------------------------------------------------------------------------------------


def _where(facts: Facts, of: KnownMailbox, rows: tuple[Found, ...]) -> Talk[tuple[str, str | None]]:
    server, opaque = facts.imap_server(of.server), any(row.opaque for row in rows)
    back = (
        f"back into {of.mailbox} on {server}, each into its folder"
        if server
        else f"back to the server: not set up; add imap to [mail_server.{of.server}]"
    )
    shown: tuple[str, ...] = (
        f"Where shall {counted(len(rows))} go?",
        f"   1  {back}",
        "   2  into a folder here, as .eml files that every mail program opens",
        "   3  into a folder here, as a Maildir with folders, flags and keywords"
        + (", encrypted as on the server" if opaque else ""),
        *(("Some are stored encrypted: for 1 and 2 they are opened with the keys in their snapshot.",) if opaque else ()),
    )
    allowed = [*(["1"] if server else []), "2", "3"]
    explained = ("1 needs the password of the mailbox, or that of a master user; it is asked for, used once and kept nowhere.",)
    while True:
        text = yield Question(f"{', '.join(allowed)}", shown, allowed[0], explained)
        if text in allowed:
            break
        shown = (f"“{text}” is none of {', '.join(allowed)}.",)
    if text == "1":
        user = yield Question(
            "Who logs in", default=of.mailbox, help=("The mailbox itself, or a master user, such as ann@example.org*master.",)
        )
        return (f"imap:{of.server}", None if user == of.mailbox else user)
    folder = yield from _folder(facts, of.mailbox)
    return (f"{'eml' if text == '2' else 'maildir'}:{folder}", None)


def _folder(facts: Facts, mailbox: str) -> Talk[str]:
    shown: tuple[str, ...] = ()
    while True:
        text = yield Question(
            "Folder", shown, facts.home(mailbox), ("It is made where there is none; what it holds already stays.",)
        )
        fault = facts.fault_of(text)
        if not fault:
            return text
        shown = (f"{fault}.",)
