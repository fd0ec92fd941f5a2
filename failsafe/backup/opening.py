"""What a restore drill asks of the world: rebuild an archive as a person would, open the result as a reader of mail would. Ports, no implementation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class SeenMessage:
    """A message in an opened Maildir. `id` "": whoever opened it shows only what IMAP makes of the bytes. `uid` None: it shows no UIDs."""

    uid: int | None
    id: str
    canonical: str
    flags: str  # letters of a Maildir, sorted
    keywords: tuple[str, ...]
    internal_date: int  # seconds since the epoch


class OpenedMailbox(Protocol):
    """A Maildir that was opened. Raises MailError, ProcessError."""

    def folders(self) -> frozenset[str]:
        """IMAP names in UTF-8 with "/", of those that can be read."""
        ...

    def read(self, folder: str) -> tuple[int | None, Iterator[SeenMessage]]:
        """(UIDVALIDITY where it is shown, every message with its bytes read)."""
        ...

    def close(self) -> None: ...


class MailOpener(Protocol):
    """Opens Maildirs as a reader of mail would; changes no message."""

    @property
    def name(self) -> str:
        """For people: "Dovecot 2.3.19"."""
        ...

    @property
    def flags(self) -> str:
        """Letters of the flags that it can show."""
        ...

    def open(self, maildir: Path, layout: str, folders: Mapping[str, str]) -> OpenedMailbox:
        """`layout` maildir++ or fs; `folders`: IMAP name -> directory below `maildir`, which must not be used otherwise from now on."""
        ...


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What the archive's own rebuild.py said. `code` 0: everything was there and right. `stopped`: what the disk did to it, "" if nothing."""

    code: int
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    stopped: str = ""


class Rebuilder(Protocol):
    def __call__(self, archive: Path, target: Path, mailboxes: Sequence[str], *, generation: int | None, size: int) -> Rebuilt:
        """Runs the rebuild.py that lies in `archive`, as a person would; `size` in bytes says how long it may take. Raises ProcessError."""
        ...
