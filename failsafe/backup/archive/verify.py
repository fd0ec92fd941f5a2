"""Compares an archive with its own digests and names everything that is wrong: file, mailbox, folder, message."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from failsafe.backup.archive.layout import README, REBUILD, index_path, path_of
from failsafe.backup.archive.reader import Archive
from failsafe.backup.archive.readme import is_whole
from failsafe.backup.archive.segment import IndexLine, digest_of, read_range, scan_segment
from failsafe.errors import ArchiveError
from failsafe.mail.manifest import Entry, FileRef, FolderManifest, Generation, MailboxManifest

AT_ONCE = 50_000  # messages compared with the index files in one pass: some 30 MB
LIMIT = 10_000  # problems listed; whoever has more needs another snapshot, not a longer list


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong; what is not known or not meant is empty."""

    file: str  # relative to the archive's folder
    what: str
    mailbox: str = ""
    folder: str = ""
    message: str = ""  # its base name

    def __str__(self) -> str:
        place = " / ".join(part for part in (self.mailbox, self.folder, self.message) if part)
        return f"{self.file}: {self.what}" + (f" ({place})" if place else "")


def verify_generation(archive: Archive, generation: Generation, *, read_messages: bool) -> list[Problem]:
    """See `Archive.verify`. Memory is bounded by AT_ONCE, whatever the number of messages."""
    check = _Check(archive, read_messages=read_messages)
    check.helpers()
    check.lists(generation)
    entries = 0
    for mailbox, name in generation.mailboxes.items():
        try:
            manifest = archive.manifest(name)
        except ArchiveError as error:
            check.add(path_of("mailboxes", name), str(error), mailbox)
            continue
        entries += sum(folder.messages for folder in manifest.folders)
        check.mailbox(manifest)
    if not check.problems and entries != generation.messages:
        check.add("generations", f"generation {generation.number} counts {generation.messages} entries, its mailboxes {entries}")
    return check.problems


class _Check:
    """What is known while one generation is verified."""

    def __init__(self, archive: Archive, *, read_messages: bool) -> None:
        self.archive, self.deep = archive, read_messages
        self.problems: list[Problem] = []
        self._bad: dict[str, frozenset[str]] = {}  # segment -> ids whose bytes are wrong, for each segment looked at

    def add(self, file: str, what: str, mailbox: str = "", folder: str = "", message: str = "") -> None:
        problem = Problem(file, what, mailbox, folder, message)
        if len(self.problems) < LIMIT:
            self.problems.append(problem)

    def helpers(self) -> None:
        for name in (README, REBUILD):
            try:
                whole = is_whole((self.archive.folder / name).read_bytes())
            except OSError as error:
                self.add(name, f"cannot be read: {error.strerror}")
            else:
                if not whole:
                    self.add(name, "does not match the digest in its last line")

    def lists(self, generation: Generation) -> None:
        for listed in (self.archive.files(generation), self.archive.controller_files(generation)):
            try:
                for file in listed:
                    self._file(file)
            except ArchiveError as error:
                self.add("lists", str(error))

    def mailbox(self, manifest: MailboxManifest) -> None:
        for file in manifest.files:
            self._file(file, manifest.mailbox)
        for segment in manifest.segments:
            if segment not in self._bad:
                self._bad[segment] = frozenset(self._segment(segment, manifest.mailbox))
        batch: list[tuple[FolderManifest, Entry]] = []
        for folder, entry in self._entries(manifest):
            batch.append((folder, entry))
            if len(batch) == AT_ONCE:
                self._messages(manifest, batch)
                batch = []
        self._messages(manifest, batch)

    def _entries(self, manifest: MailboxManifest) -> Iterator[tuple[FolderManifest, Entry]]:
        for folder in manifest.folders:
            count, whole = 0, True
            for shard in folder.shards:
                try:
                    for entry in self.archive.shard(shard):
                        count += 1
                        yield folder, entry
                except ArchiveError as error:
                    self.add(path_of("shards", shard), str(error), manifest.mailbox, folder.name)
                    whole = False
            if whole and count != folder.messages:
                self.add(
                    "mailboxes",
                    f"{folder.messages} messages are promised, the shards hold {count}",
                    manifest.mailbox,
                    folder.name,
                )

    def _messages(self, manifest: MailboxManifest, batch: list[tuple[FolderManifest, Entry]]) -> None:
        wanted = {entry.id for _, entry in batch}
        found: dict[str, tuple[str, int]] = {}
        for segment in manifest.segments:
            bad = self._bad[segment]
            for line in self._lines(segment):
                if line.id in wanted and (line.id not in found or line.id not in bad):
                    found[line.id] = (segment, line.size)
        for folder, entry in batch:
            place = (manifest.mailbox, folder.name, entry.name)
            if entry.id not in found:
                self.add("segments", f"message {entry.id} is in no segment of its mailbox", *place)
                continue
            segment, size = found[entry.id]
            if entry.id in self._bad[segment]:
                self.add(path_of("segments", segment), f"message {entry.id} does not match its digest", *place)
            elif size != entry.size:
                self.add(
                    path_of("segments", segment), f"message {entry.id} has {size} bytes, its entry says {entry.size}", *place
                )

    def _lines(self, segment: str) -> Iterator[IndexLine]:
        """From the index, or from the tar file itself where the index is damaged (which was reported before)."""
        try:
            yield from self.archive.index(segment)
        except ArchiveError:
            try:
                for id_, offset, size in scan_segment(self.archive.folder / path_of("segments", segment)):
                    yield IndexLine(id_, "", offset, size)
            except ArchiveError as error:
                self.add(path_of("segments", segment), str(error))

    def _segment(self, segment: str, mailbox: str) -> Iterator[str]:
        """Ids whose bytes are wrong; reports what is wrong with the files themselves."""
        path = path_of("segments", segment)
        place = self.archive.folder / path
        lines: tuple[IndexLine, ...] = ()
        try:
            lines = self.archive.index(segment)
        except ArchiveError as error:
            self.add(index_path(segment), str(error), mailbox)
        if not place.is_file():
            self.add(path, "is missing", mailbox)
            yield from (line.id for line in lines)
            return
        if lines and place.stat().st_size < max(line.offset + line.size for line in lines):
            self.add(path, "is cut short", mailbox)
        if self.deep:
            yield from self._read_segment(segment, lines, mailbox)

    def _read_segment(self, segment: str, lines: tuple[IndexLine, ...], mailbox: str) -> Iterator[str]:
        path = path_of("segments", segment)
        place = self.archive.folder / path
        whole = digest_of(place)
        if whole != segment:
            self.add(path, "does not match its digest" if whole else "cannot be read", mailbox)
        try:
            with place.open("rb") as file:
                for line in lines or tuple(self._lines(segment)):
                    digest = hashlib.sha256()
                    for piece in read_range(file, line.offset, line.size):
                        digest.update(piece)
                    if digest.hexdigest() != line.id:
                        yield line.id
        except OSError as error:
            self.add(path, f"cannot be read: {error.strerror}", mailbox)
            yield from (line.id for line in lines)

    def _file(self, file: FileRef, mailbox: str = "") -> None:
        path = path_of("files", file.digest)
        place = self.archive.folder / path
        if not place.is_file():
            self.add(path, f"is missing: {file.path}", mailbox)
        elif place.stat().st_size != file.size or (self.deep and digest_of(place) != file.digest):
            self.add(path, f"does not match its digest: {file.path}", mailbox)
