"""`maildir:DIR`: Maildirs with the server's folders, flags, keywords and dates, byte for byte."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from failsafe.backup.archive.segment import digest_of
from failsafe.backup.destinations.base import (
    Settling,
    append_lines,
    mailbox_folder,
    make_folders,
    safe_component,
    sync_folder,
    write_whole,
)
from failsafe.backup.restore_plan import Folders, Wanted
from failsafe.mail.headers import MAGIC_BYTES, Storage, storage_of
from failsafe.mail.maildir import INBOX, folder_directory, parse_keywords, split_name
from failsafe.model import Body
from failsafe.ports import Progress

KEYWORDS = "dovecot-keywords"  # "NUMBER NAME" lines; number 0…25 is letter a…z in file names
LETTERS = 26
LOST = "keywords-lost.txt"  # beside the mailbox's folders; rebuild.py calls it so, too


class MaildirDestination:
    identity = "id"
    as_stored = True
    follows_moves = False

    def __init__(self, root: Path) -> None:
        self.root = root
        self._run = secrets.token_hex(8)
        self._written = 0
        self._unread: list[tuple[Wanted, str]] = []  # and its file, to be read back once it is there
        self._wrong: dict[Wanted, str] = {}
        self._settling = Settling()
        self._places: dict[tuple[str, str, str, str], Path] = {}  # folders that are ready
        self._keywords: dict[Path, list[str]] = {}
        self._lost: dict[str, int] = {}
        self._beyond: dict[Path, list[str]] = {}  # by mailbox: lines "file <tab> keyword"
        self._stored: Counter[Storage] = Counter()

    def there(self, wanted: Sequence[Wanted], progress: Progress) -> Mapping[str, Folders]:
        """Compares content, and only of files whose size is that of a wanted message. Leftovers in tmp/ are no messages."""
        asked: dict[tuple[str, str, str, str], list[Wanted]] = {}
        for item in wanted:
            asked.setdefault(_place_of(item), []).append(item)
        held: dict[str, dict[str, frozenset[str]]] = {}
        progress.stage("looking at what is there", len(asked), "folders")
        for (mailbox, folder, _, _), items in asked.items():
            sizes: dict[int, set[str]] = {}
            for item in items:
                sizes.setdefault(item.size, set()).add(item.id)
            found = set()
            for path in _messages(self._place(items[0])):
                ids = sizes.get(path.stat().st_size)
                if ids and (digest := digest_of(path)) in ids:
                    found.add(digest)
            folders = held.setdefault(mailbox, {})
            folders[folder] = folders.get(folder, frozenset()) | found
            progress.advance(1)
        return held

    def add(self, item: Wanted, body: Body) -> None:
        place = self._places.get(_place_of(item))
        if place is None:
            place = self._places[_place_of(item)] = self._made(item)
        letters = item.flags + "".join(self._letters(place, item.keywords))
        # a fresh name each time: a server that knows an old one as expunged would rename the file
        name = f"{max(item.internal_date, 0)}.R{self._run}N{self._written}.failsafe:2,{letters}"
        self._stored[storage_of(body.head(MAGIC_BYTES))] += 1
        file, temporary = f"{place}/cur/{name}", f"{place}/tmp"  # noqa: S108 - the Maildir's own
        self._written += 1
        self._unread.append((item, file))
        is_there = self._settling.write(file, body.pieces(), body.size, temporary=temporary, mtime=item.internal_date)
        table = self._keywords[place]
        beyond = sorted(keyword for keyword in item.keywords if keyword not in table)
        if beyond:
            home = mailbox_folder(self.root, item.target_mailbox)
            where = (place / "cur" / name).relative_to(home)
            self._beyond.setdefault(home, []).extend(f"{where}\t{keyword}\n" for keyword in beyond)
        if is_there:  # while the next ones are fetched
            self._read_back()

    def finish(self) -> dict[Wanted, str]:
        self._settling.settle()
        self._read_back()
        return {}

    def verify(self, added: Sequence[Wanted], progress: Progress) -> dict[Wanted, str]:  # noqa: ARG002 - they were read back as they came
        for place in self._places.values():
            sync_folder(place / "cur")
        for home, lines in self._beyond.items():
            append_lines(home / LOST, lines)
        return self._wrong

    def notes(self) -> tuple[str, ...]:
        sealed = tuple(
            f"{self._stored[kind]} message(s) are stored {kind.value}, and are in the Maildir as they are stored{more}"
            for kind, more in ((Storage.ENCRYPTED, ": only a server with their keys can read them"), (Storage.COMPRESSED, ""))
            if self._stored[kind]
        )
        lost = tuple(
            f"keyword {name} of {count} message(s) is not in the Maildir, but in {LOST}: a folder has room for {LETTERS} keywords"
            for name, count in sorted(self._lost.items())
        )
        return (*sealed, *lost)

    def close(self) -> None:
        self._settling.settle()

    def _read_back(self) -> None:
        for item, file in self._unread:
            if digest_of(file) != item.id:
                self._wrong[item] = f"{file} does not hold the message"
        self._unread.clear()

    def _made(self, item: Wanted) -> Path:
        place = self._place(item)
        for part in ("cur", "new", "tmp"):
            make_folders(place / part)
        if item.layout != "fs" and item.target_folder != INBOX and not (place / "maildirfolder").exists():
            (place / "maildirfolder").touch(mode=0o600)
        return place

    def _place(self, item: Wanted) -> Path:
        directory = item.directory
        if not directory and item.target_folder != INBOX:
            directory = folder_directory(item.target_folder, item.layout)
        home = mailbox_folder(self.root, item.target_mailbox)
        for part in filter(None, directory.split("/")):
            hidden = part.startswith(".") and part.strip(".") != ""  # Maildir++ folders begin with a dot; ".." is no folder
            home = home / ("." + safe_component(part[1:]) if hidden else safe_component(part))
        return home

    def _letters(self, place: Path, keywords: Sequence[str]) -> list[str]:
        """Letters for these keywords; new ones enter the folder's table before a message uses them."""
        table = self._keywords.get(place)
        if table is None:
            file = place / KEYWORDS
            table = self._keywords[place] = list(parse_keywords(file.read_bytes())) if file.exists() else []
        fresh = [name for name in keywords if name not in table]
        room = fresh[: LETTERS - len(table)]
        for name in fresh[len(room) :]:
            self._lost[name] = self._lost.get(name, 0) + 1
        if room:
            table += room
            lines = (f"{number} {name}\n".encode("utf-8", "surrogateescape") for number, name in enumerate(table) if name)
            write_whole(place / KEYWORDS, lines, temporary=place / "tmp")
        return sorted(chr(ord("a") + table.index(name)) for name in keywords if name in table)


def _place_of(item: Wanted) -> tuple[str, str, str, str]:
    """What a folder's path is made of."""
    return item.target_mailbox, item.target_folder, item.directory, item.layout


def _messages(place: Path) -> list[Path]:
    return [
        path
        for part in ("cur", "new")
        if (place / part).is_dir()
        for path in (place / part).iterdir()
        if split_name(path.name)[0] and not path.name.startswith(".") and path.is_file()
    ]
