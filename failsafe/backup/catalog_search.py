"""Questions to the catalog. A question is a value; an answer is a row for each message in each folder."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from failsafe.backup.catalog import Catalog
from failsafe.backup.catalog_update import bytes_of, text_of

TRIGRAM = 3  # letters: shorter words are in no index and are compared one by one


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for; all that is given must hold. Text is found anywhere in its field, upper and lower case alike."""

    server: str | None = None
    mailbox: str | None = None  # user@domain, or a pattern with * and ?
    folder: str | None = None  # a name, or a pattern such as Archive/*
    sender: str | None = None
    recipient: str | None = None  # To and Cc
    subject: str | None = None
    message_id: str | None = None  # with or without <>
    since: datetime | None = None  # the message's internal date, inclusive
    until: datetime | None = None  # exclusive
    gone: bool = False  # only what is in no folder of its mailbox any more
    gone_since: datetime | None = None  # …and vanished then or later
    at: datetime | None = None  # the mailboxes as they were then
    words: tuple[str, ...] = ()  # each somewhere in sender, recipient or subject
    ids: tuple[str, ...] = ()  # SHA-256 of the content

    @property
    def names_messages(self) -> bool:
        """It asks for certain messages, not for all of a place: then those long gone are meant too."""
        return bool(self.sender or self.recipient or self.subject or self.message_id or self.words or self.ids)


@dataclass(frozen=True, slots=True)
class Found:
    """A message in a folder, now or once."""

    id: str
    canonical: str
    server: str
    mailbox: str
    folder: str
    message_id: str
    sender: str
    recipient: str
    subject: str
    date: datetime | None
    internal_date: int  # seconds since the epoch
    flags: str  # Maildir letters
    keywords: tuple[str, ...]
    size: int
    first_seen_at: datetime
    last_seen_at: datetime
    gone_at: datetime | None
    first_generation: int
    last_generation: int  # the newest in whose manifests it is
    opaque: bool
    directory: str = ""  # of the folder below its mailbox, as on the server
    layout: str = "maildir++"  # of the mailbox
    headers_known: bool = True


_COLUMNS = """
  m.digest, m.canonical, s.name, b.name, f.name, m.message_id, m.sender, m.recipient, m.subject, m.date, p.internal_date, p.flags,
  p.keywords, m.size, p.known_since, coalesce(p.last_seen, CASE WHEN p.gone IS NULL THEN s.generation_at END, p.first_seen), p.gone,
  p.first_generation, coalesce(p.last_generation, s.generation), m.opaque, coalesce(f.directory, x''), coalesce(b.layout, 'maildir++')
"""
# A row is passed over when the message only moved on: it is in another folder of its mailbox now, or was last seen in one that is asked for.
_NOT_MOVED_ON = """
  (p.gone IS NULL OR NOT EXISTS (
    SELECT 1 FROM place q JOIN folder g ON g.id = q.folder
    WHERE q.message = p.message AND q.replaced = 0 AND q.id <> p.id AND g.mailbox = f.mailbox
      AND (q.gone IS NULL OR (q.gone > p.gone AND (:all_folders OR q.folder IN (SELECT value FROM json_each(:folders)))))))
"""


def search(catalog: Catalog, query: Query, *, limit: int | None = None) -> Iterator[Found]:
    """The newest first. Raises StoreError; memory is one row."""
    with catalog.faults():
        where, values = _conditions(catalog, query)
        sql = (
            f"SELECT {_COLUMNS} FROM place p JOIN folder f ON f.id = p.folder JOIN mailbox b ON b.id = f.mailbox"  # noqa: S608 - constants
            f" JOIN server s ON s.id = b.server JOIN message m ON m.id = p.message WHERE {' AND '.join(where)}"
            " ORDER BY p.internal_date DESC, p.id DESC LIMIT :limit"
        )
        for row in catalog.connection.execute(sql, {**values, "limit": -1 if limit is None else limit}):
            yield _found(row)


def folders_that_hold(catalog: Catalog, server: str, mailbox: str, ids: Sequence[str]) -> dict[str, frozenset[str]]:
    """id -> names of the folders of one mailbox that hold it now."""
    with catalog.faults():
        catalog.connection.create_function("unhex_", 1, _unhex, deterministic=True)
        rows = catalog.connection.execute(
            "SELECT m.digest, f.name FROM json_each(?) j JOIN message m ON m.digest = unhex_(j.value) JOIN place p ON p.message = m.id"
            " JOIN folder f ON f.id = p.folder JOIN mailbox b ON b.id = f.mailbox JOIN server s ON s.id = b.server"
            " WHERE p.gone IS NULL AND p.replaced = 0 AND b.name = ? AND s.name = ?",
            (json.dumps(list(ids)), bytes_of(mailbox), server),
        )
        held: dict[str, set[str]] = {}
        for digest, folder in rows:
            held.setdefault(digest.hex(), set()).add(text_of(folder))
    return {id_: frozenset(names) for id_, names in held.items()}


def headers_of(catalog: Catalog, ids: Sequence[str]) -> dict[str, tuple[str, str, str, str]]:
    """id -> (Message-ID, sender, recipient, subject), for those it knows."""
    with catalog.faults():
        catalog.connection.create_function("unhex_", 1, _unhex, deterministic=True)
        rows = catalog.connection.execute(
            "SELECT m.digest, m.message_id, m.sender, m.recipient, m.subject FROM json_each(?) j"
            " JOIN message m ON m.digest = unhex_(j.value)",
            (json.dumps(list(ids)),),
        )
        return {row[0].hex(): (row[1], row[2], row[3], row[4]) for row in rows}


def matches_folder(pattern: str, folder: str) -> bool:
    """INBOX is one folder in upper and lower case (RFC 3501 5.1); [ is no pattern, since folders are called [Gmail]."""
    if pattern.upper() == "INBOX":
        return folder.upper() == "INBOX"
    return folder == pattern or fnmatch.fnmatchcase(folder, pattern.replace("[", "[[]"))


def matches_mailbox(pattern: str, mailbox: str) -> bool:
    return fnmatch.fnmatchcase(mailbox.lower(), pattern.lower().replace("[", "[[]"))


def _conditions(catalog: Catalog, query: Query) -> tuple[list[str], dict[str, object]]:
    everywhere = not (query.server or query.mailbox or query.folder)
    values: dict[str, object] = {
        "all_folders": everywhere,
        "folders": "[]" if everywhere else json.dumps(_folders(catalog, query)),
    }
    where = [] if everywhere else ["p.folder IN (SELECT value FROM json_each(:folders))"]
    where += _times(query, values)
    matches = _matches(query)
    if matches:
        values["words"] = " AND ".join(matches)
        where.append("p.message IN (SELECT rowid FROM words WHERE words MATCH :words)")
    short = _short_words(query)
    if short:
        catalog.connection.create_function("folded_has", 2, lambda text, part: part in text.casefold(), deterministic=True)
        for number, (columns, part) in enumerate(short):
            values[f"short{number}"] = part
            where.append("(" + " OR ".join(f"folded_has(m.{column}, :short{number})" for column in columns) + ")")
    if query.message_id is not None:
        values["message_id"] = query.message_id.strip().removeprefix("<").removesuffix(">").strip()
        where.append("m.message_id = :message_id AND m.message_id <> ''")
    if query.ids:
        values["ids"] = json.dumps([id_.lower() for id_ in query.ids])
        where.append("p.message IN (SELECT w.id FROM json_each(:ids) j JOIN message w ON w.digest = unhex_(j.value))")
        catalog.connection.create_function("unhex_", 1, _unhex, deterministic=True)
    return where, values


def _times(query: Query, values: dict[str, object]) -> list[str]:
    where = []
    if query.at is None:
        where += ["p.replaced = 0", _NOT_MOVED_ON]
    else:
        values["at"] = int(query.at.timestamp())
        where.append("p.first_seen <= :at AND (p.gone IS NULL OR p.gone > :at)")
    if query.gone or query.gone_since is not None:
        where.append("p.gone IS NOT NULL")
    for name, moment, condition in (
        ("gone_since", query.gone_since, "p.gone >= :gone_since"),
        ("since", query.since, "p.internal_date >= :since"),
        ("until", query.until, "p.internal_date < :until"),
    ):
        if moment is not None:
            values[name] = int(moment.timestamp())
            where.append(condition)
    return where


def _fields(query: Query) -> list[tuple[tuple[str, ...], str]]:
    """(columns, folded text) of everything that is looked for in text."""
    asked: list[tuple[tuple[str, ...], str | None]] = [
        (("sender",), query.sender),
        (("recipient",), query.recipient),
        (("subject",), query.subject),
    ]
    asked += [(("sender", "recipient", "subject"), word) for word in query.words]
    return [(columns, " ".join(text.split()).casefold()) for columns, text in asked if text and text.strip()]


def _matches(query: Query) -> list[str]:
    """The conditions that the word index answers, in FTS5's language; a quoted string there has no operators."""
    quoted = ((columns, text.replace('"', '""')) for columns, text in _fields(query) if len(text) >= TRIGRAM)
    return [f'({{{" ".join(columns)}}} : "{text}")' for columns, text in quoted]


def _short_words(query: Query) -> list[tuple[tuple[str, ...], str]]:
    return [(columns, text) for columns, text in _fields(query) if len(text) < TRIGRAM]


def _folders(catalog: Catalog, query: Query) -> list[int]:
    rows = catalog.connection.execute(
        "SELECT f.id, f.name, b.name, s.name FROM folder f JOIN mailbox b ON b.id = f.mailbox JOIN server s ON s.id = b.server"
    )
    return [
        id_
        for id_, folder, mailbox, server in rows
        if (query.server is None or server == query.server)
        and (query.mailbox is None or matches_mailbox(query.mailbox, text_of(mailbox)))
        and (query.folder is None or matches_folder(query.folder, text_of(folder)))
    ]


def _unhex(text: str) -> bytes | None:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return None


def _found(row: tuple[object, ...]) -> Found:
    digest, canonical, server, mailbox, folder, message_id, sender, recipient, subject, date, internal_date, flags, keywords = (
        row[:13]
    )
    size, since, seen, gone, first_generation, last_generation, opaque, directory, layout = row[13:]
    assert (
        isinstance(digest, bytes) and isinstance(canonical, bytes) and isinstance(folder, bytes) and isinstance(directory, bytes)
    )
    assert isinstance(mailbox, bytes)
    return Found(
        id=digest.hex(),
        canonical=canonical.hex(),
        server=str(server),
        mailbox=text_of(mailbox),
        folder=text_of(folder),
        message_id=str(message_id),
        sender=str(sender),
        recipient=str(recipient),
        subject=str(subject),
        date=_moment(date),
        internal_date=_number(internal_date),
        flags=str(flags),
        keywords=tuple(json.loads(str(keywords))),
        size=_number(size),
        first_seen_at=_some(since),
        last_seen_at=_some(seen),
        gone_at=_moment(gone),
        first_generation=_number(first_generation),
        last_generation=_number(last_generation),
        opaque=bool(opaque),
        directory=text_of(directory),
        layout=str(layout),
    )


def _number(value: object) -> int:
    assert isinstance(value, int)
    return value


def _some(value: object) -> datetime:
    return datetime.fromtimestamp(_number(value), UTC)


def _moment(value: object) -> datetime | None:
    """None for none, and for a date that no calendar has."""
    if value is None:
        return None
    try:
        return datetime.fromtimestamp(_number(value), UTC)
    except (ValueError, OverflowError, OSError):
        return None
