"""One mailbox on an IMAP server, read for a backup, by imapclient: ports.SourceMailbox.

What the server offers is used: LIST-STATUS (RFC 5819) tells all folders in one answer, CONDSTORE and QRESYNC (RFC 7162) what changed, OBJECTID
(RFC 8474) or Dovecot's X-GUID which messages are the same. Folders are opened by EXAMINE, bodies read by BODY.PEEK: nothing changes there.
"""
# ruff: noqa: SLF001 - pipelining and RETURN options go by the IMAP4 object below imapclient, as imapclient's own methods do

from __future__ import annotations

import contextlib
import imaplib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from typing import Any

from imapclient import IMAPClient
from imapclient.response_parser import parse_response

from failsafe.adapters.imap_answers import (
    as_bytes,
    as_text,
    fetched,
    flags_in,
    listed,
    positive,
    quoted,
    shown,
    statuses,
    vanished,
)
from failsafe.adapters.imap_line import Meter, faults, hang_up
from failsafe.errors import MailError
from failsafe.mail.imap import is_delivered, is_random, uid_sets
from failsafe.mail.maildir import INBOX, decode_component
from failsafe.ports import FolderChanges, FolderState, SourceFolder, SourceMessage

FACTS_AT_ONCE = 5_000  # messages a request: some 800 kB
FLAGS_AT_ONCE = 10_000
BODIES_AT_ONCE = 500  # messages a request, or as many as come to BODIES_BYTES
BODIES_BYTES = 4 << 20
PIECE = 8 << 20  # bytes: a larger message is asked for in pieces of this size
SHORT_PARTS = 10_000  # of one message: more is no answer that ends
AHEAD = 2  # requests under way
MAXIMUM_FOLDERS = 100_000
NO_MESSAGES = {b"\\noselect", b"\\nonexistent"}
_STATE = "MESSAGES UIDNEXT UIDVALIDITY"


class ImapSource:
    """A session. `where` names the server, and the mailbox where the server does not, in errors."""

    def __init__(self, client: IMAPClient, meter: Meter, where: str) -> None:
        self._client, self._meter, self._where = client, meter, where
        self._raw: dict[str, bytes] = {}  # our name -> the server's
        self._names: dict[bytes, str] = {}  # and back
        self._left_out: set[str] = set()
        self._enabled = False
        self._item: str | None = None  # FETCH's name for an identity; "" where there is none; None before it was asked for
        try:
            with faults(where, "ask what it can"):
                self._has = frozenset(word.decode("ascii", "replace").upper() for word in client.capabilities())
                self._prefix, self._separator, self._foreign = self._namespaces()
        except BaseException:
            self.close()
            raise

    @property
    def commands(self) -> int:
        return self._meter.commands

    @property
    def received(self) -> int:
        return self._meter.received

    @property
    def left_out(self) -> tuple[str, ...]:
        return tuple(sorted(self._left_out))

    def close(self) -> None:
        hang_up(self._client)

    # -- folders ---------------------------------------------------------------------------------------------------------

    def folders(self) -> tuple[SourceFolder, ...]:
        with self._faults("list folders"):
            self._leave()
            if {"LIST-EXTENDED", "LIST-STATUS"} <= self._has:
                uses = "SPECIAL-USE " if "SPECIAL-USE" in self._has else ""
                data = self._ask("LIST", '""', '"*"', f"RETURN (SUBSCRIBED {uses}STATUS ({self._state_items}))")
                subscribed = None
                told = statuses(self._take("STATUS"))
            else:
                data = self._ask("LIST", '""', '"*"')
                subscribed = {name for _, _, name in listed(self._ask("LSUB", '""', '"*"'))}
                told = {}
            rows = list(listed(data))
        found: dict[str, SourceFolder] = {}
        for flags, _, raw in rows:
            if len(found) > MAXIMUM_FOLDERS:
                raise MailError(f"{self._where} lists more than {MAXIMUM_FOLDERS} folders", transient=False)
            if flags & NO_MESSAGES or self._is_foreign(raw):
                continue
            name = self._ours(raw)
            self._raw[name], self._names[raw] = raw, name
            is_subscribed = b"\\subscribed" in flags if subscribed is None else raw in subscribed
            found[name] = self._told(SourceFolder(name, is_subscribed, None, uses=frozenset(map(as_text, flags))), raw, told)
        return tuple(sorted(found.values(), key=lambda folder: (folder.name != INBOX, folder.name)))

    def open(self, folder: str) -> FolderState:
        with self._faults(f"open {folder}"):
            if not self._enabled:  # before the first folder: RFC 5161 allows it only there
                self._enabled = True
                self._leave()
                if "ENABLE" in self._has and self._has & {"QRESYNC", "CONDSTORE"}:
                    self._client.enable("QRESYNC" if "QRESYNC" in self._has else "CONDSTORE")
            imap = self._client._imap
            kind, data = imap.select(quoted(self._raw[folder]), readonly=True)
            _demand_ok("EXAMINE", kind, data)
            answer = self._client._process_select_response(imap.untagged_responses)
            return FolderState(
                uid_validity=int(answer[b"UIDVALIDITY"]),
                uid_next=positive(answer.get(b"UIDNEXT")),
                messages=int(answer[b"EXISTS"]),
                modseq=positive(answer.get(b"HIGHESTMODSEQ")) if self._keeps_modseq else None,
            )

    # -- messages --------------------------------------------------------------------------------------------------------

    def uids(self, among: Sequence[int] = ()) -> list[int]:
        found: set[int] = set()
        with self._faults("list messages"):
            for chosen in [named for named, _ in uid_sets(among, FLAGS_AT_ONCE)] or [""]:
                kind, data = self._client._imap.uid("SEARCH", *(("UID", chosen) if chosen else ("ALL",)))
                _demand_ok("SEARCH", kind, data)
                for line in data:
                    found.update(int(word) for word in (line or b"").partition(b"(")[0].split())
        return sorted(found)

    def changes(self, modseq: int, below: int) -> FolderChanges:
        if below <= 1:
            return FolderChanges({}, ())
        says_vanished = "QRESYNC" in self._has
        with self._faults("ask what changed"):
            asked = f"(CHANGEDSINCE {modseq}{' VANISHED' if says_vanished else ''})"
            (answers,) = self._fetch([(f"1:{below - 1}", [])], "(UID FLAGS)", asked)
            gone = vanished(self._take("VANISHED"))
        flags = {uid: flags_in(answer) for uid, answer in answers.items() if b"FLAGS" in answer and uid < below}
        return FolderChanges(flags, gone if says_vanished else None)

    def facts(self, uids: Sequence[int]) -> Iterator[SourceMessage]:
        item = self._identity_item()
        with self._faults("list messages"):
            for answers in self._fetch(list(uid_sets(uids, FACTS_AT_ONCE)), f"(UID RFC822.SIZE INTERNALDATE FLAGS {item})"):
                for uid, answer in answers.items():
                    if {b"RFC822.SIZE", b"INTERNALDATE", b"FLAGS"} <= set(answer):
                        yield self._message(uid, answer, item)

    def flags(self, uids: Sequence[int]) -> Iterator[tuple[int, frozenset[str]]]:
        with self._faults("read flags"):
            for answers in self._fetch(list(uid_sets(uids, FLAGS_AT_ONCE)), "(UID FLAGS)"):
                yield from ((uid, flags_in(answer)) for uid, answer in answers.items() if b"FLAGS" in answer)

    def headers(self, uids: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        with self._faults("read headers"):
            for answers in self._fetch(list(uid_sets(uids, BODIES_AT_ONCE)), "(UID BODY.PEEK[HEADER])"):
                yield from (
                    (uid, as_bytes(answer[b"BODY[HEADER]"])) for uid, answer in answers.items() if b"BODY[HEADER]" in answer
                )

    def bodies(self, wanted: Sequence[tuple[int, int]]) -> Iterator[tuple[int, Iterable[bytes]]]:
        small: list[tuple[int, int]] = []
        for uid, size in wanted:
            if size <= PIECE:
                small.append((uid, size))
                continue
            yield from self._small(small)
            small = []
            pieces = self._pieces(uid, size)
            first = next(pieces, None)
            if first is not None:
                yield uid, _joined(first, pieces)
        yield from self._small(small)

    def _small(self, wanted: Sequence[tuple[int, int]]) -> Iterator[tuple[int, Iterable[bytes]]]:
        batches = list(_by_size(wanted))
        requests = [(next(uid_sets(batch, len(batch), characters=1 << 20))[0], batch) for batch in batches]
        with self._faults("read messages"):
            for batch, answers in zip(batches, self._fetch(requests, "(UID BODY.PEEK[])"), strict=True):
                for uid in batch:
                    data = answers.pop(uid, {}).get(b"BODY[]")
                    if data is not None:
                        yield uid, [as_bytes(data)]

    def _pieces(self, uid: int, size: int) -> Iterator[bytes]:
        """A large message, by parts. Nothing of one that is not there.

        A part that is shorter than it was asked for ends it, but not before `size`, which the server told: one that gives less at once than is
        asked for would have every large message cut off. There the next part says whether more is there.
        """
        start = short = 0
        while True:
            with self._faults("read a large message"):
                (answers,) = self._fetch([(str(uid), [uid])], f"(UID BODY.PEEK[]<{start}.{PIECE}>)")
            data = answers.get(uid, {}).get(b"BODY[]<%d>" % start)
            if data is None and (start == 0 or short):
                return
            if data is None:
                raise MailError(f"{self._where}: message {uid} ended after {start} bytes", transient=False)
            piece = as_bytes(data)
            if piece or start == 0:
                yield piece
            start += len(piece)
            short += len(piece) < PIECE
            if not piece or (short and start >= size):
                return
            if short > SHORT_PARTS:
                raise MailError(f"{self._where}: message {uid} comes in more than {SHORT_PARTS} parts", transient=False)

    # -- inside ----------------------------------------------------------------------------------------------------------

    def _fetch(
        self, requests: Sequence[tuple[str, list[int]]], items: str, modifier: str | None = None
    ) -> Iterator[dict[int, dict[bytes, Any]]]:
        """The answers to each UID FETCH (set, UIDs in it; none: all), in order; the next request is sent before an answer is read.

        A server may work on both at once and mix the answers, as Dovecot does. Must be read to its end.
        """
        imap, waiting = self._client._imap, deque(requests)
        tags, pool = deque[tuple[Any, list[int]]](), dict[int, dict[bytes, Any]]()
        self._take("FETCH")
        try:
            while waiting or tags:
                while waiting and len(tags) < AHEAD:
                    named, uids = waiting.popleft()
                    tags.append((imap._command("UID", "FETCH", named, items, modifier), uids))
                tag, uids = tags.popleft()
                kind, data = imap._command_complete("FETCH", tag)
                _demand_ok("FETCH", kind, data)
                for uid, answer in fetched(self._take("FETCH")).items():
                    pool.setdefault(uid, {}).update(answer)
                yield {uid: pool.pop(uid) for uid in uids or list(pool) if uid in pool}
        except imaplib.IMAP4.abort:
            raise
        except (imaplib.IMAP4.error, ValueError, TypeError, LookupError):
            while tags:  # a refusal: what else is under way is read, so that the session can go on
                with contextlib.suppress(imaplib.IMAP4.readonly):
                    imap._get_tagged_response(tags.popleft()[0])
            self._take("FETCH")
            raise

    def _ask(self, name: str, *words: str) -> list[Any]:
        imap = self._client._imap
        kind, data = imap._simple_command(name, *words)
        _demand_ok(name, kind, data)
        return self._take(name)

    def _take(self, name: str) -> list[Any]:
        """Untagged answers of that name that came until now."""
        found: list[Any] = self._client._imap.untagged_responses.pop(name, [])
        return found

    def _leave(self) -> None:
        """No folder stays open: its own session would be told about, not its state. CLOSE is never sent, since it may expunge."""
        if self._client._imap.state == "SELECTED" and "UNSELECT" in self._has:
            self._client.unselect_folder()

    @property
    def _keeps_modseq(self) -> bool:
        return bool(self._has & {"CONDSTORE", "QRESYNC"})

    @property
    def _state_items(self) -> str:
        return f"{_STATE} HIGHESTMODSEQ" if self._keeps_modseq else _STATE

    def _told(self, folder: SourceFolder, raw: bytes, told: dict[bytes, dict[str, int]]) -> SourceFolder:
        """The folder with its state; asked for by itself where the listing did not tell."""
        try:
            with self._faults(f"ask for the state of {folder.name}"):
                items = told.get(raw)
                if items is None:
                    kind, data = self._client._imap.status(quoted(raw), f"({self._state_items})")
                    _demand_ok("STATUS", kind, data)
                    (items,) = statuses(data).values()
                modseq = items.get("HIGHESTMODSEQ") or None
                return replace(folder, state=FolderState(items["UIDVALIDITY"], items.get("UIDNEXT"), items["MESSAGES"], modseq))
        except MailError as error:
            if error.transient:
                raise
            return replace(folder, why=str(error))

    def _namespaces(self) -> tuple[bytes, bytes, tuple[bytes, ...]]:
        """(prefix and separator of a person's own folders, prefixes of folders that are others')."""
        if "NAMESPACE" in self._has:
            own, *others = parse_response(self._ask("NAMESPACE"))
            foreign = tuple(prefix for kind in others for prefix, *_ in kind or () if isinstance(prefix, bytes) and prefix)
            if own:
                return as_bytes(own[0][0]), as_bytes(own[0][1] or b"/"), foreign
        top = listed(self._ask("LIST", '""', '""'))  # RFC 3501 6.3.8: an empty name asks for the separator
        return b"", next((separator for _, separator, _ in top if separator), b"/"), ()

    def _is_foreign(self, raw: bytes) -> bool:
        for prefix in self._foreign:
            if raw.startswith(prefix) or raw == prefix[:-1]:
                self._left_out.add(shown(raw))
                return True
        return False

    def _ours(self, raw: bytes) -> str:
        """UTF-8 with "/". Two names of the server that would be one of ours are told apart by a number."""
        if raw.upper() == b"INBOX":
            return INBOX
        if raw in self._names:
            return self._names[raw]
        parts = raw.removeprefix(self._prefix).split(self._separator)
        wanted = name = "/".join(decode_component(as_text(part)).replace("/", "_") for part in parts) or "_"
        number = 1
        while name in self._raw or name == INBOX:
            number += 1
            name = f"{wanted}-{number}"
        return name

    def _identity_item(self) -> str:
        if self._item is None:
            if "OBJECTID" in self._has:
                self._item = "EMAILID"
            else:
                self._item = "X-GUID" if self._is_dovecot() else ""
        return self._item

    def _is_dovecot(self) -> bool:
        greeting = bytes(self._client.welcome or b"")
        if b"dovecot" in greeting.lower():
            return True
        with contextlib.suppress(imaplib.IMAP4.error, ValueError, TypeError):
            if "ID" in self._has:
                return b"dovecot" in repr(self._client.id_()).lower().encode()
        return False

    def _message(self, uid: int, answer: dict[bytes, Any], item: str) -> SourceMessage:
        date = answer[b"INTERNALDATE"]
        identity = answer.get(item.encode()) if item else None
        if isinstance(identity, tuple):
            identity = identity[0] if len(identity) == 1 else None  # EMAILID (M6d99ac3275bb4e)
        said = "" if identity is None else as_text(as_bytes(identity))
        certain = bool(said) and (item == "EMAILID" or is_random(said))
        trusted = said if certain or is_delivered(said) else ""
        when = date if isinstance(date, datetime) and date.tzinfo is not None else None
        return SourceMessage(uid, int(answer[b"RFC822.SIZE"]), when, flags_in(answer), trusted, certain)

    def _faults(self, doing: str) -> AbstractContextManager[None]:
        return faults(self._where, doing)


def _demand_ok(name: str, kind: str, data: Sequence[Any]) -> None:
    if kind != "OK":
        said = data[0] if data and isinstance(data[0], bytes) else b""
        raise imaplib.IMAP4.error(f"{name}: {as_text(said)}")


def _by_size(wanted: Sequence[tuple[int, int]]) -> Iterator[list[int]]:
    batch: list[int] = []
    weight = 0
    for uid, size in wanted:
        if batch and (weight + size > BODIES_BYTES or len(batch) >= BODIES_AT_ONCE):
            yield batch
            batch, weight = [], 0
        batch.append(uid)
        weight += size
    if batch:
        yield batch


def _joined(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest
