"""What comes along besides messages: control files of mailboxes, extra paths, outputs of named commands."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

from failsafe.backup.archive.staging import Staging
from failsafe.backup.inventory import Inventory
from failsafe.backup.listing import QUIET_NS
from failsafe.backup.protocol import Answer, FileFacts, MailboxFacts, ServerSession
from failsafe.errors import ServerSideError
from failsafe.mail.manifest import FileRef, Missing

PIECE = 1 << 20  # bytes
SPOOL = 1 << 20  # bytes of a command's output that stay in memory
MODES = 0o7777


class Extras:
    """Keeps files in step with the server; an unchanged stamp costs nothing."""

    def __init__(
        self, session: ServerSession, inventory: Inventory, staging: Staging, *, file_limit: int, total_limit: int
    ) -> None:
        self.session, self.inventory, self.staging = session, inventory, staging
        self.file_limit, self.total_limit = file_limit, total_limit
        self.missing: list[Missing] = []
        self.skipped: list[str] = []
        self._now = 0  # the server's clock, ns

    def control(self, box: MailboxFacts, now: int) -> bool:
        """Control files of one mailbox. True where something changed."""
        self._now = now
        origin = control_origin(box.path)
        prefix = f"{box.base}/" if box.base else ""  # the archive's mailbox is the Maildir itself
        self.skipped += [f"{box.path}/{path}" for path in box.skipped]
        wanted = [file for file in box.files if file.facts.size <= self.file_limit]
        large = (file for file in box.files if file.facts.size > self.file_limit)
        self.missing += [Missing(box.mailbox, "", file.path, f"larger than {self.file_limit >> 20} MiB") for file in large]
        changed = [file for file in wanted if self.inventory.file(origin, file.path, self._stamp(file)) is None]
        answers = self.session.read_control(box.path, [file.path for file in changed])
        new = False
        for file, answer in zip(changed, answers, strict=True):
            new |= self._store(origin, file, file.path.removeprefix(prefix), answer, Missing(box.mailbox, "", file.path, ""))
        dropped = self.inventory.keep_files(origin, [file.path for file in box.files])
        return new or dropped > 0

    def paths(self, paths: Sequence[str], now: int) -> None:
        self._now = now
        for number, top in enumerate(paths):
            origin = f"path:{top}"
            found: list[FileFacts] = []
            try:
                for item in self.session.list_files(number):
                    if isinstance(item, FileFacts):
                        found.append(item)
                    elif item[1]:
                        self.missing.append(Missing("", "", _join(top, item[0]), item[1]))
                    else:
                        self.skipped.append(_join(top, item[0]))
            except ServerSideError as error:
                self.missing.append(Missing("", "", top, str(error)))
                continue
            self._pull_path(number, top, origin, found)

    def _pull_path(self, number: int, top: str, origin: str, found: list[FileFacts]) -> None:
        taken = list(self._within_limits(top, found))
        changed = [file for file in taken if self.inventory.file(origin, file.path, self._stamp(file)) is None]
        answers = self.session.read_files(number, [file.path for file in changed])
        for file, answer in zip(changed, answers, strict=True):
            path = _join(top, file.path)
            self._store(origin, file, path.lstrip("/"), answer, Missing("", "", path, ""))
        self.inventory.keep_files(origin, [file.path for file in found])

    def _within_limits(self, top: str, found: list[FileFacts]) -> Iterator[FileFacts]:
        total = 0
        for file in sorted(found, key=lambda file: file.path):
            total += file.facts.size
            if file.facts.size > self.file_limit:
                self.missing.append(Missing("", "", _join(top, file.path), f"larger than {self.file_limit >> 20} MiB"))
            elif total > self.total_limit:
                self.missing.append(Missing("", "", top, f"its files are larger than {self.total_limit >> 20} MiB together"))
                return
            else:
                yield file

    def commands(self, commands: Mapping[str, str]) -> None:
        """Each output becomes the file commands/NAME; a failing command keeps the last good output and is named as missing."""
        for name in sorted(commands):
            with tempfile.SpooledTemporaryFile(SPOOL) as sink:
                why = self._run(name, sink)
                if why:
                    self.missing.append(Missing("", "", f"commands/{name}", why))
                    continue
                ref = self.staging.store_file(f"commands/{name}", _pieces(sink))
            before = self.inventory.files(f"command:{name}")
            if not before or before[0].digest != ref.digest:
                self.inventory.put_file(f"command:{name}", name, "", ref)

    def _run(self, name: str, sink: IO[bytes]) -> str:
        try:
            why = self.session.run(name, sink, self.total_limit)
        except ServerSideError as error:
            return str(error)
        sink.seek(0)
        return f"command {name}: {why}" if why else ""

    def _store(self, origin: str, file: FileFacts, path: str, answer: Answer, missing: Missing) -> bool:
        if answer.status != "ok" or answer.body is None:
            if answer.status != "gone":
                why = answer.why or "it changed while it was read"
                self.missing.append(Missing(missing.mailbox, missing.folder, missing.name, why))
            return False
        ref = self.staging.store_file(
            path, _pieces(answer.body), mode=file.mode & MODES, uid=file.uid, gid=file.gid, mtime=file.facts.mtime_ns // 10**9
        )
        fits = answer.facts == file.facts
        self.inventory.put_file(origin, file.path, self._stamp(file) if fits else "", ref)
        return True

    def _stamp(self, file: FileFacts) -> str:
        """ "" for a file so young that its mtime may hide another change."""
        if self._now - file.facts.mtime_ns < QUIET_NS:
            return ""
        facts = file.facts
        return f"{facts.size}:{facts.mtime_ns}:{facts.inode}:{file.mode}:{file.uid}:{file.gid}"


def control_origin(path: str) -> str:
    return f"mailbox:{path}".encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def server_files(inventory: Inventory, paths: Sequence[str], commands: Mapping[str, str]) -> list[FileRef]:
    """Every file of extra paths and commands that the next generation names, in order of path."""
    origins = [f"path:{top}" for top in paths] + [f"command:{name}" for name in commands]
    found = {ref.path: ref for origin in origins for ref in inventory.files(origin)}
    return [found[path] for path in sorted(found)]


def _join(top: str, path: str) -> str:
    return f"{top.rstrip('/')}/{path}" if path else top


def _pieces(body: IO[bytes]) -> Iterator[bytes]:
    while piece := body.read(PIECE):
        yield piece
