"""`zip:FILE`: the files that `eml:` would write, in one archive. An existing one is copied, added to and replaced at the end."""

from __future__ import annotations

import hashlib
import secrets
import shutil
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from failsafe.backup.destinations.base import (
    PIECE,
    Bare,
    disk_faults,
    file_name,
    mailbox_folder,
    make_folders,
    refuse_opaque,
    safe_component,
    sync_folder,
)
from failsafe.backup.restore_plan import Folders, Wanted
from failsafe.errors import ExternalError, UsageError
from failsafe.model import Body
from failsafe.ports import Progress


class ZipDestination:
    identity = "id"
    as_stored = False
    follows_moves = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self._bare = Bare()
        self._passing: Path | None = None
        self._open: zipfile.ZipFile | None = None

    def there(self, wanted: Sequence[Wanted], progress: Progress) -> Mapping[str, Folders]:
        held: dict[str, dict[str, set[str]]] = {}
        progress.stage("looking at what is there", len(wanted), "messages")
        if self.path.exists():
            with _faults(self.path), zipfile.ZipFile(self.path) as archive:
                names = set(archive.namelist())
                for item in wanted:
                    if _name(item) in names and _digest(archive, _name(item)) == item.content_id:
                        held.setdefault(item.target_mailbox, {}).setdefault(item.target_folder, set()).add(item.content_id)
                    progress.advance(1)
        return {mailbox: {name: frozenset(ids) for name, ids in folders.items()} for mailbox, folders in held.items()}

    def add(self, item: Wanted, body: Body) -> None:
        refuse_opaque(body)
        archive = self._archive()
        info = zipfile.ZipInfo(_name(item), _zip_date(item.internal_date))
        info.compress_type = zipfile.ZIP_DEFLATED
        info.external_attr = 0o600 << 16
        info.extra = _exact_date(item.internal_date)
        info.file_size = body.size  # beyond 2 GiB another form is written, which must be known before the first byte
        with _faults(self.path), archive.open(info, "w") as file:
            for piece in body.pieces():
                file.write(piece)
        self._bare.count(item)

    def finish(self) -> dict[Wanted, str]:
        return {}

    def verify(self, added: Sequence[Wanted], progress: Progress) -> dict[Wanted, str]:
        if self._open is None or self._passing is None:
            return {}
        wrong = {}
        with _faults(self.path):
            self._open.close()
            progress.stage("reading back", len(added), "messages")
            with zipfile.ZipFile(self._passing) as archive:
                for item in added:
                    if _digest(archive, _name(item)) != item.content_id:
                        wrong[item] = f"{self.path} does not hold the message"
                    progress.advance(1)
        with disk_faults("write", self.path):
            self._passing.replace(self.path)
        sync_folder(self.path.parent)
        return wrong

    def notes(self) -> tuple[str, ...]:
        return self._bare.notes("an eml file in a zip")

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
        if self._passing is not None:
            self._passing.unlink(missing_ok=True)

    def _archive(self) -> zipfile.ZipFile:
        if self._open is None:
            make_folders(self.path.parent)
            self._passing = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
            with _faults(self.path):
                self._passing.touch(mode=0o600)
                if self.path.exists():
                    shutil.copyfile(self.path, self._passing)
                self._open = zipfile.ZipFile(self._passing, "a" if self.path.exists() else "w", strict_timestamps=False)
        return self._open


def _name(item: Wanted) -> str:
    folders = [safe_component(part) for part in item.target_folder.split("/")]
    return str(mailbox_folder(Path(), item.target_mailbox).joinpath(*folders, file_name(item)))


def _digest(archive: zipfile.ZipFile, name: str) -> str:
    digest = hashlib.sha256()
    with archive.open(name) as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _zip_date(seconds: int) -> tuple[int, int, int, int, int, int]:
    """A zip holds 1980 to 2107."""
    date = datetime.fromtimestamp(min(max(seconds, 315_532_800), 4_354_819_198), UTC)
    return (date.year, date.month, date.day, date.hour, date.minute, date.second)


def _exact_date(seconds: int) -> bytes:
    """The extra field 0x5455 of unzip and others: the second, where a zip's own date has every other one. It holds 32 bits."""
    return struct.pack("<HHBi", 0x5455, 5, 1, seconds) if -(2**31) <= seconds < 2**31 else b""


@contextmanager
def _faults(path: Path) -> Iterator[None]:
    try:
        yield
    except zipfile.BadZipFile as error:
        raise UsageError(f"{path} is not a whole zip file: {error}", mend="choose another name, or move it away") from error
    except OSError as error:
        raise ExternalError(f"cannot write {path}: {error.strerror or error}", mend="check free space and permissions") from error
