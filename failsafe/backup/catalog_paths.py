"""How a question is put to the catalog: by which index its rows are reached, so that one in a million messages takes a moment.

Either what is rare is looked up first (a Message-ID, words that few messages have) and then sorted; or the newest messages are walked down
until enough of them answer, which is quicker for what many have: all of a folder, a frequent word. Both give the same rows in the same order.
"""

from __future__ import annotations

import heapq
import json
import math
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field

from failsafe.backup.catalog import Catalog, TooMany
from failsafe.backup.catalog_query import Query, matches_folder, matches_mailbox
from failsafe.backup.catalog_update import text_of
from failsafe.mail.headers import bare_message_id

TRIGRAM = 3  # letters of a term of the index
TERMS = 400  # trigrams that a shorter word may stand for; more are compared one by one
MERGED = 64  # folders that are walked side by side; of more, everything is walked
MOST = 2_000  # rows asked for, up to which the newest are walked for a frequent word
WALKED = 16  # times as many rows as expected are walked; then what is looked for lies far back, and is looked up after all
Row = tuple[object, ...]

_COLUMNS = """
  m.digest, m.canonical, s.name, b.name, f.name, m.message_id, m.sender, m.recipient, m.subject, m.date, p.internal_date, p.flags,
  p.keywords, m.size, p.known_since, coalesce(p.last_seen, CASE WHEN p.gone IS NULL THEN s.generation_at END, p.first_seen), p.gone,
  p.first_generation, coalesce(p.last_generation, s.generation), m.opaque, coalesce(f.directory, x''), coalesce(b.layout, 'maildir++'),
  m.sealed
"""
_TABLES = """
  CROSS JOIN message m ON m.id = p.message CROSS JOIN folder f ON f.id = p.folder CROSS JOIN mailbox b ON b.id = f.mailbox
  CROSS JOIN server s ON s.id = b.server
"""  # CROSS: in this order, so that the rest is read only of messages whose text is right
_ORDER = "ORDER BY p.internal_date DESC, p.id DESC LIMIT :limit"
# A row is passed over when the message only moved on: it is in another folder of its mailbox now, or was last seen in one that is asked for.
_NOT_MOVED_ON = """
  (p.gone IS NULL OR NOT EXISTS (
    SELECT 1 FROM place q JOIN folder g ON g.id = q.folder
    WHERE q.message = p.message AND q.replaced = 0 AND q.id <> p.id
      AND g.mailbox = (SELECT mailbox FROM folder WHERE id = p.folder)
      AND (q.gone IS NULL OR (q.gone > p.gone AND (:all_folders OR q.folder IN (SELECT value FROM json_each(:folders)))))))
"""


@dataclass
class _Asked:
    """A question in SQL. `match` is in the language of the index of words; `has` compares one row's text with each part."""

    places: list[str] = field(default_factory=list)
    named: list[str] = field(default_factory=list)
    match: str = ""
    has: list[str] = field(default_factory=list)
    compared: list[str] = field(default_factory=list)  # those of `has` that no index answers
    values: dict[str, object] = field(default_factory=dict)
    folders: list[int] | None = None  # None: all


def rows_of(catalog: Catalog, query: Query, limit: int | None) -> Iterator[Row]:
    """The rows of an answer, the newest first. Raises sqlite3.Error."""
    asked = _asked(catalog, query)
    asked.values["limit"] = -1 if limit is None else limit
    if asked.folders == []:
        return iter(())
    if asked.named:
        return _looked_up(catalog, asked)
    if not asked.match:
        return _walked(catalog, asked, query)
    enough = _enough(catalog, limit)
    if limit is None or limit > MOST or _fewer(catalog, "SELECT rowid FROM words WHERE words MATCH :words", asked, enough):
        return _looked_up(catalog, asked)
    try:
        with catalog.comparing_at_most(enough * WALKED):
            return iter(list(_walked(catalog, asked, query)))
    except TooMany:
        return _looked_up(catalog, asked)


def _enough(catalog: Catalog, limit: int | None) -> int:
    """So many matches that looking all of them up, and walking down the newest until `limit` answer, should take equally long.

    The first costs as many rows as there are matches, the second rows * limit / matches; a row walked costs a sixteenth of a match.
    """
    rows = catalog.connection.execute("SELECT max(id) FROM place").fetchone()[0] or 0
    return max(math.isqrt(int(rows) * (limit or MOST) // 16), MOST)


def _fewer(catalog: Catalog, select: str, asked: _Asked, count: int) -> bool:
    """Whether a SELECT gives fewer rows than that; stops there."""
    counted = f"SELECT count(*) FROM ({select} LIMIT {count})"  # noqa: S608 - our own constants
    return int(catalog.connection.execute(counted, asked.values).fetchone()[0]) < count


def _looked_up(catalog: Catalog, asked: _Asked) -> Iterator[Row]:
    """What is named or matched first, then its places, sorted; all about them is read only of those that are given."""
    match = ["p.message IN (SELECT rowid FROM words WHERE words MATCH :words)"] if asked.match else []
    where = " AND ".join([*asked.named, *match, *asked.places, *asked.compared])
    tables = "place p INDEXED BY place_by_message" + (" CROSS JOIN message m ON m.id = p.message" if asked.compared else "")
    chosen = f"SELECT p.id FROM {tables} WHERE {where} {_ORDER}"  # noqa: S608 - our own constants
    return _select(catalog, f"({chosen}) c CROSS JOIN place p ON p.id = c.id", ["1"], asked)


def _walked(catalog: Catalog, asked: _Asked, query: Query) -> Iterator[Row]:
    """The newest first, along an index of dates. Raises TooMany where the catalog says so."""
    where = [*asked.places, *asked.has]
    if query.gone or query.gone_since is not None:
        since = "SELECT id FROM place p WHERE p.gone >= :gone_since"
        few = query.gone_since is not None and _fewer(catalog, since, asked, MOST)
        return _select(catalog, f"place p INDEXED BY {'place_by_gone' if few else 'gone_by_time'}", where, asked)
    if asked.folders is None or len(asked.folders) > MERGED:
        return _select(catalog, "place p INDEXED BY place_by_time", where, asked)
    walks = [
        _select(catalog, "place p INDEXED BY place_by_date", ["p.folder = :one_folder", *where], asked, one_folder=folder)
        for folder in asked.folders
    ]
    return _first(heapq.merge(*walks, key=lambda row: (row[-2], row[-1]), reverse=True), asked)


def _first(rows: Iterator[Row], asked: _Asked) -> Iterator[Row]:
    limit = asked.values["limit"]
    for number, row in enumerate(rows, start=1):
        yield row
        if number == limit:
            return


def _select(catalog: Catalog, places: str, where: list[str], asked: _Asked, **more: object) -> Iterator[Row]:
    """Each row ends with what it is ordered by."""
    sql = f"SELECT {_COLUMNS}, p.internal_date, p.id FROM {places} {_TABLES} WHERE {' AND '.join(where)} {_ORDER}"  # noqa: S608 - our own constants
    try:
        yield from catalog.connection.execute(sql, {**asked.values, **more})
    except sqlite3.OperationalError as error:
        if "user-defined function" in str(error):
            raise TooMany from error
        raise


def _asked(catalog: Catalog, query: Query) -> _Asked:
    everywhere = not (query.server or query.mailbox or query.folder)
    asked = _Asked(folders=None if everywhere else _folders(catalog, query))
    asked.values = {"all_folders": everywhere, "folders": json.dumps(asked.folders or [])}
    if not everywhere:
        asked.places.append("p.folder IN (SELECT value FROM json_each(:folders))")
    asked.places += _times(query, asked.values)
    _ask_for_text(catalog, query, asked)
    if query.message_id is not None:
        asked.values["message_id"] = bare_message_id(query.message_id)
        asked.named.append("p.message IN (SELECT id FROM message WHERE message_id = :message_id AND message_id <> '')")
    if query.ids:
        asked.values["ids"] = json.dumps([id_.lower() for id_ in query.ids])
        asked.named.append("p.message IN (SELECT w.id FROM json_each(:ids) j JOIN message w ON w.digest = unhex_(j.value))")
    return asked


def _ask_for_text(catalog: Catalog, query: Query, asked: _Asked) -> None:
    matches = []
    for number, (columns, text) in enumerate(_fields(query)):
        asked.values[f"text{number}"] = text
        asked.has.append("(" + " OR ".join(f"folded_has(m.{column}, :text{number})" for column in columns) + ")")
        terms = (text,) if len(text) >= TRIGRAM else _terms(catalog, text)
        if terms is None:
            asked.compared.append(asked.has[-1])
        else:
            quoted = " OR ".join(f'"{escaped}"' for escaped in (term.replace('"', '""') for term in terms))
            matches.append(f"({{{' '.join(columns)}}} : ({quoted}))")
    asked.match = asked.values["words"] = " AND ".join(matches)  # a quoted string has no operators


def _terms(catalog: Catalog, text: str) -> tuple[str, ...] | None:
    """The terms of the index that begin with a shorter word; None where there are too many."""
    catalog.connection.execute("CREATE VIRTUAL TABLE IF NOT EXISTS temp.vocabulary USING fts5vocab(main, words, row)")
    found = catalog.connection.execute(
        "SELECT term FROM temp.vocabulary WHERE term >= ? AND term < ? LIMIT ?", (text, text + chr(0x10FFFF), TERMS + 1)
    ).fetchall()
    if len(found) > TERMS:
        return None
    return tuple(str(row[0]) for row in found) or ("",)  # the empty term is in no text


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
