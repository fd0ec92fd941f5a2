"""Finds accounts and aliases among the files that a pull stored, and keeps them in the snapshot as accounts.json."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable
from typing import Any

from failsafe.backup.archive.reader import Archive
from failsafe.errors import ArchiveError
from failsafe.mail.accounts import SETTINGS, Accounts, decode_accounts, parser_of, read_mailu_rows
from failsafe.mail.manifest import FileRef, Generation

FILE = "accounts.json"
SIZE_LIMIT = 64 << 20  # bytes of one source
SHOWN = 100  # names in a note
MAILU = {
    "user": "SELECT email, enabled FROM user",
    "alias": "SELECT email, wildcard, destination FROM alias",
    "domain": "SELECT name FROM domain",
    "alternative": "SELECT name, domain_name FROM alternative",
}


def find_accounts(
    archive: Archive, files: Iterable[FileRef], layout: str
) -> tuple[Accounts | None, tuple[str, ...], tuple[str, ...]]:
    """(accounts, the files they are from, files that could not be understood and why); None where no file says any."""
    found: Accounts | None = None
    sources: list[str] = []
    faults: list[str] = []
    told = False
    for file in files:
        parse = _mailu_accounts if layout == "mailu" and file.path.endswith("/main.db") else parser_of(file.path)
        if parse is None or file.size > SIZE_LIMIT:
            continue
        try:
            more: Accounts = parse(archive.read_file(file))
        except (ValueError, TypeError, KeyError, IndexError, RecursionError, sqlite3.Error, ArchiveError) as error:
            faults.append(f"{file.path}: {error}")
            continue
        if parse in SETTINGS and more == Accounts():
            continue
        told = told or parse not in SETTINGS
        found = more if found is None else found.joined(more)
        sources.append(file.path)
    return (found, tuple(sources), tuple(faults)) if told else (None, (), tuple(faults))


def note_accounts(accounts: Accounts, mailboxes: Iterable[str]) -> dict[str, Any]:
    """For a generation's notes: how many, and where accounts and mailboxes differ."""
    present = tuple(mailboxes)
    lone, orphaned = accounts.without_mailbox(present), accounts.without_account(present)
    note: dict[str, Any] = {"mailboxes": len(accounts.mailboxes), "aliases": len(accounts.aliases)}
    if lone:
        note["without_mailbox"] = list(lone[:SHOWN])
    if orphaned:
        note["without_account"] = list(orphaned[:SHOWN])
    return note


def read_accounts(archive: Archive, generation: Generation) -> Accounts | None:
    """Those of a snapshot; None where it has none. Raises ArchiveError."""
    for file in archive.files(generation):
        if file.path == FILE:
            try:
                return decode_accounts(archive.read_file(file))
            except (ValueError, KeyError, TypeError) as error:
                raise ArchiveError(f"{FILE} of generation {generation.number} is damaged: {error}", transient=False) from error
    return None


def _mailu_accounts(data: bytes) -> Accounts:
    """From main.db, in memory. It is another party's file: nothing in it is trusted to run."""
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        database.deserialize(
            data[:18] + b"\1\1" + data[20:]
        )  # as if without a write-ahead log, which memory cannot have; the copy has none
        database.execute("PRAGMA trusted_schema = OFF")
        return read_mailu_rows({table: database.execute(query).fetchall() for table, query in MAILU.items()})
