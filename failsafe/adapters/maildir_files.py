"""Opens Maildirs with Python's own mailbox module: MailOpener where no mail server is installed."""

from __future__ import annotations

import mailbox
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from failsafe.backup.opening import SeenMessage
from failsafe.errors import MailError
from failsafe.mail.identity import Digester
from failsafe.mail.maildir import LETTERS, flags_of, keywords_of, parse_keywords, split_name

PIECE = 1 << 20


class FilesOpener:
    """Shows every flag, and the bytes themselves; no UIDs."""

    name = "Python's mailbox"
    flags = LETTERS

    def open(self, maildir: Path, layout: str, folders: Mapping[str, str]) -> OpenedFiles:  # noqa: ARG002 - the port's
        return OpenedFiles(maildir, folders)


class OpenedFiles:
    """OpenedMailbox on files."""

    def __init__(self, maildir: Path, folders: Mapping[str, str]) -> None:
        self._places = {name: maildir / directory for name, directory in folders.items()}

    def folders(self) -> frozenset[str]:
        return frozenset(name for name, place in self._places.items() if (place / "cur").is_dir())

    def read(self, folder: str) -> tuple[int | None, Iterator[SeenMessage]]:
        return None, self._messages(self._places[folder])

    def close(self) -> None:
        pass

    def _messages(self, place: Path) -> Iterator[SeenMessage]:
        try:
            words = _keywords(place / "dovecot-keywords")
            facts = _facts(place)
            box = mailbox.Maildir(place, factory=None, create=False)
            for key in box.iterkeys():
                letters, date = facts[key]
                digester = _read(box, key)
                yield SeenMessage(None, digester.id, digester.canonical, flags_of(letters), keywords_of(letters, words), date)
        except (OSError, KeyError, mailbox.Error) as error:
            raise MailError(f"{place} cannot be read: {error}", transient=False) from error


def _read(box: mailbox.Maildir, key: str) -> Digester:
    digester = Digester()
    with box.get_file(key) as file:
        while piece := file.read(PIECE):
            digester.update(piece)
    return digester


def _facts(place: Path) -> dict[str, tuple[str, int]]:
    """Base name -> (letters after ":2,", mtime in seconds): what `mailbox` would parse the whole message to tell."""
    found = {}
    for part in ("cur", "new"):
        with os.scandir(place / part) as listing:
            for each in listing:
                base, letters = split_name(each.name)
                found[base] = (letters, int(each.stat().st_mtime))
    return found


def _keywords(file: Path) -> tuple[str, ...]:
    try:
        return parse_keywords(file.read_bytes())
    except FileNotFoundError:
        return ()
