"""What every destination is, and what the ones on disk share: names that stay inside, writes that are whole or not there."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from failsafe.backup.archive.durable import sync_all
from failsafe.backup.restore_plan import Folders, Wanted
from failsafe.errors import ExternalError, UsageError
from failsafe.mail.headers import MAGIC_BYTES, Storage, storage_of
from failsafe.model import Body
from failsafe.ports import Progress

PIECE = 1 << 20  # bytes read at a time
TOGETHER, TOGETHER_BYTES = 1_000, 64 << 20  # files, bytes that become durable with one call
NAME_BYTES = 200  # of one component; file systems take 255, an ending and a number need room
_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')


class Rejected(ExternalError):
    """The destination will not have this one message; the others go on."""

    def __init__(self, message: str) -> None:
        super().__init__(message, transient=False)


class AlreadyThere(Exception):
    """The destination holds the message, which could be told only from its bytes."""


class Destination(Protocol):
    @property
    def identity(self) -> str:
        """By which digest messages are compared here: "id" (bytes) or "canonical" (over IMAP)."""
        ...

    @property
    def as_stored(self) -> bool:
        """It takes what a server stores encrypted or compressed as it is; the others are given messages."""
        ...

    @property
    def follows_moves(self) -> bool:
        """A message in another folder of the mailbox may be the one that is wanted: people move mail on a server."""
        ...

    def there(self, wanted: Sequence[Wanted], progress: Progress) -> Mapping[str, Folders]:
        """Which of the wanted messages it holds: mailbox -> folder -> identities. Changes nothing."""
        ...

    def add(self, item: Wanted, body: Body) -> None:
        """Raises AlreadyThere, Rejected for a message it will not have, another ExternalError where it is out of order altogether."""
        ...

    def finish(self) -> dict[Wanted, str]:
        """Ends what is still under way, after the last `add`: gives messages that it would not have after all, and why."""
        ...

    def verify(self, added: Sequence[Wanted], progress: Progress) -> dict[Wanted, str]:
        """Reads back what was added: message -> what is wrong with it. Called once, after `finish`."""
        ...

    def notes(self) -> tuple[str, ...]:
        """What a person should know, such as a keyword that could not be kept."""
        ...

    def close(self) -> None: ...


class Bare:
    """For files that hold a message and nothing beside it: counts those whose flags or keywords are left behind."""

    def __init__(self) -> None:
        self._count = 0

    def count(self, item: Wanted) -> None:
        self._count += bool(item.flags or item.keywords)

    def notes(self, what: str) -> tuple[str, ...]:
        return (f"{what} has no flags or keywords: those of {self._count} message(s) are not in it",) if self._count else ()


def refuse_opaque(body: Body) -> None:
    """Ciphertext is no message, and only a Maildir beside its keys can use it. What could be opened was, before it came here."""
    if storage_of(body.head(MAGIC_BYTES)) is not Storage.PLAIN:
        raise Rejected(
            "it is encrypted or compressed; --to maildir:DIR gives it as it is stored, for the server that has its keys"
        )


def mailbox_folder(root: Path, mailbox: str) -> Path:
    """ROOT/DOMAIN/USER. A mailbox without a domain lies below "_"."""
    user, _, domain = mailbox.rpartition("@") if "@" in mailbox else (mailbox, "", "_")
    return root / safe_component(domain) / safe_component(user)


def safe_component(name: str) -> str:
    """A name from elsewhere as one file name: never a path, never hidden, never too long; two different long names stay different."""
    safe = _UNSAFE.sub("_", name).strip()
    if safe.startswith("."):
        safe = "_" + safe[1:]
    raw = safe.encode("utf-8", "surrogateescape")
    if len(raw) > NAME_BYTES:
        digest = hashlib.sha256(raw).hexdigest()[:12]
        safe = raw[: NAME_BYTES - 13].decode("utf-8", "ignore") + "~" + digest
    return safe or "_"


def file_name(item: Wanted, ending: str = ".eml") -> str:
    """DATE-SHORTID.eml: the same message has the same name in every run."""
    try:
        date = datetime.fromtimestamp(item.internal_date, UTC).strftime("%Y%m%d-%H%M%S")
    except (ValueError, OverflowError, OSError):
        date = "no-date"
    return f"{date}-{item.id[:16]}{ending}"


@contextlib.contextmanager
def disk_faults(doing: str, path: Path | str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ExternalError(
            f"cannot {doing} {path}: {error.strerror or error}",
            mend="check free space and permissions, then run the same restore again",
        ) from error


def make_folders(path: Path) -> None:
    """Raises UsageError where something that is no folder is in the way."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"{path} is not a folder", mend="choose another destination") from None


def write_whole(target: Path, pieces: Iterable[bytes], *, temporary: Path, mtime: int | None = None) -> None:
    """Through a temporary file of the same disk, durable before it gets its name."""
    with disk_faults("write", target):
        passing = Path(_passing(temporary))
        try:
            _write(str(passing), pieces, mtime, durable=True)
            passing.replace(target)
        finally:
            passing.unlink(missing_ok=True)


class Settling:
    """As `write_whole` for many small files: their bytes are made durable together, then all get their names.

    A disk takes 1 to 30 ms to make one file durable, however small. `settle` is owed at the end; what was not settled is not there.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[str, str]] = []
        self._bytes = 0

    def write(self, target: str, pieces: Iterable[bytes], size: int, *, temporary: str, mtime: int | None = None) -> bool:
        """Whether all that was written is there now. Names as strings: ten thousand paths take longer to be put together than to be written.

        Raises ExternalError where the disk fails, also for files before.
        """
        passing = _passing(temporary)
        with disk_faults("write", target):
            try:
                _write(passing, pieces, mtime, durable=False)
            except BaseException:
                Path(passing).unlink(missing_ok=True)
                raise
        self._waiting.append((passing, target))
        self._bytes += size
        if len(self._waiting) < TOGETHER and self._bytes < TOGETHER_BYTES:
            return False
        self.settle()
        return True

    def settle(self) -> None:
        if not self._waiting:
            return
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        with disk_faults("write", waiting[0][1]):
            sync_all([passing for passing, _ in waiting])
            for passing, target in waiting:
                os.replace(passing, target)  # noqa: PTH105 - strings


def _passing(temporary: Path | str) -> str:
    return f"{temporary}/.failsafe-{secrets.token_hex(8)}"


def _write(passing: str, pieces: Iterable[bytes], mtime: int | None, *, durable: bool) -> None:
    handle = os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        for piece in pieces:
            _write_all(handle, piece)
        if mtime is not None:
            set_mtime(handle, mtime)
        if durable:
            os.fsync(handle)
    finally:
        os.close(handle)


def _write_all(handle: int, piece: bytes) -> None:
    """The system may take less than it is given."""
    written = os.write(handle, piece)
    while written < len(piece):
        written += os.write(handle, memoryview(piece)[written:])


def append_lines(path: Path, lines: Iterable[str]) -> None:
    with disk_faults("write", path), os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as file:
        file.writelines(line.encode("utf-8", "surrogateescape") for line in lines)


def set_mtime(path: Path | int, seconds: int) -> None:
    """A date that the file system cannot hold is left at now: the message matters more."""
    with contextlib.suppress(OverflowError, OSError):
        os.utime(path, (seconds, seconds))


def sync_folder(path: Path) -> None:
    with disk_faults("write", path):
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
