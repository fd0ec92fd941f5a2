"""What comes along besides messages: control files of mailboxes, extra paths, outputs of named commands."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

from failsafe.backup.archive.staging import Staging
from failsafe.backup.inventory import Inventory
from failsafe.backup.listing import QUIET_NS
from failsafe.backup.protocol import Answer, FileFacts, MailboxFacts, ServerSession
from failsafe.backup.reach import Reach, Skipped, Stock, Tree
from failsafe.errors import ServerSideError
from failsafe.mail.manifest import FileRef, Missing

PIECE = 1 << 20  # bytes
SPOOL = 1 << 20  # bytes of a command's output that stay in memory
MODES = 0o7777
READS = 3  # of a file that changes while it is read


class Extras:
    """Keeps files in step with the server; an unchanged stamp costs nothing."""

    def __init__(
        self, session: ServerSession, inventory: Inventory, staging: Staging, *, file_limit: int, total_limit: int
    ) -> None:
        self.session, self.inventory, self.staging = session, inventory, staging
        self.file_limit, self.total_limit = file_limit, total_limit
        self.missing: list[Missing] = []
        self.skipped: list[str] = []
        self.links: dict[str, str] = {}  # path -> where it points; links are not followed
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

    def paths(self, trees: Sequence[Tree], now: int) -> None:
        """Each file and folder of a session's reach, by its place there."""
        self._now = now
        for number, tree in enumerate(trees):
            found: list[FileFacts] = []
            try:
                for item in self.session.list_files(number):
                    self._note(tree.path, item, found)
            except ServerSideError as error:
                if tree.optional and _is_absent(error):
                    self.inventory.keep_files(f"path:{tree.path}", ())
                else:
                    self.missing.append(Missing("", "", tree.path, str(error)))
                continue
            self._pull_path(number, tree, found)
            self.missing += _lacking(tree, found)

    def _note(self, top: str, item: FileFacts | Skipped | tuple[str, str], found: list[FileFacts]) -> None:
        if isinstance(item, FileFacts):
            found.append(item)
        elif isinstance(item, Skipped):
            self.skipped.append(_join(top, item.path))
            if item.link:
                self.links[_join(top, item.path)] = item.link
        else:
            self.missing.append(Missing("", "", _join(top, item[0]), item[1]))

    def _pull_path(self, number: int, tree: Tree, found: list[FileFacts]) -> None:
        origin = f"path:{tree.path}"
        taken = list(self._within_limits(tree.path, found))
        before = {ref.path: ref for ref in self.inventory.files(origin)} if tree.every else {}
        changed = [
            file
            for file in taken
            if self.inventory.file(origin, file.path, self._stamp(file)) is None
            and not _is_fresh(before.get(_join(tree.path, file.path).lstrip("/")), file, tree.every)
        ]
        for left in reversed(range(READS)):
            restless: list[FileFacts] = []
            answers = self.session.read_files(number, [file.path for file in changed])
            for file, answer in zip(changed, answers, strict=True):
                if answer.status == "changed" and left:
                    restless.append(file)
                    continue
                path = _join(tree.path, file.path)
                self._store(origin, file, path.lstrip("/"), answer, Missing("", "", path, ""))
            changed = restless
            if not changed:
                break
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

    def commands(self, commands: Mapping[str, str], stock: Sequence[Stock] = ()) -> None:
        """Each output becomes the file commands/NAME; a failing command keeps the last good output and is named as missing."""
        now = self._now // 10**9
        every = {one.name: one.every for one in stock}
        for name in sorted({*commands, *every}):
            before = self.inventory.files(f"command:{name}")
            rest = every.get(name, 0)
            if before and rest and 0 <= now - before[0].mtime < rest:
                continue
            with tempfile.SpooledTemporaryFile(SPOOL) as sink:
                why = self._run(name, sink)
                if why:
                    self.missing.append(Missing("", "", f"commands/{name}", why))
                    continue
                ref = self.staging.store_file(f"commands/{name}", _pieces(sink), mtime=now if rest else 0)
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


def look_at(session: ServerSession, trees: Sequence[Tree]) -> Iterator[Missing]:
    """What a pull would call missing of these, found out by listing them. Nothing is read."""
    for number, tree in enumerate(trees):
        found: list[FileFacts] = []
        try:
            for item in session.list_files(number):
                if isinstance(item, FileFacts):
                    found.append(item)
                elif not isinstance(item, Skipped):
                    yield Missing("", "", _join(tree.path, item[0]), item[1])
        except ServerSideError as error:
            if not (tree.optional and _is_absent(error)):
                yield Missing("", "", tree.path, str(error))
        else:
            yield from _lacking(tree, found)


def _lacking(tree: Tree, found: Sequence[FileFacts]) -> list[Missing]:
    """Files without which it is of no use."""
    there = {file.path.rpartition("/")[2] or tree.path.rpartition("/")[2] for file in found}
    return [Missing("", "", f"{tree.path}/{name}", f"it is not there: {tree.lacks}") for name in tree.needs if name not in there]


def control_origin(path: str) -> str:
    return f"mailbox:{path}".encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def server_files(inventory: Inventory, reach: Reach | None) -> list[FileRef]:
    """Every file of extra paths and commands that the next generation names, in order of path; None: all that are known."""
    if reach is None:
        rows = inventory.rows("SELECT DISTINCT origin FROM file WHERE origin LIKE 'path:%' OR origin LIKE 'command:%'")
        return _by_path(inventory, [str(row[0]) for row in rows])
    origins = [f"path:{tree.path}" for tree in reach.trees]
    origins += [f"command:{name}" for name in (*reach.commands, *(one.name for one in reach.stock))]
    return _by_path(inventory, origins)


def _by_path(inventory: Inventory, origins: Sequence[str]) -> list[FileRef]:
    found = {ref.path: ref for origin in origins for ref in inventory.files(origin)}
    return [found[path] for path in sorted(found)]


def _is_fresh(before: FileRef | None, file: FileFacts, every: int) -> bool:
    """Of a file that is written anew all the time, the copy that we have is young enough."""
    return before is not None and 0 <= file.facts.mtime_ns // 10**9 - before.mtime < every


def _is_absent(error: ServerSideError) -> bool:
    if error.number is None:  # of an older program, which says it in words alone
        return "No such file or directory" in str(error)
    return error.number == errno.ENOENT


def _join(top: str, path: str) -> str:
    return f"{top.rstrip('/')}/{path}" if path else top


def _pieces(body: IO[bytes]) -> Iterator[bytes]:
    while piece := body.read(PIECE):
        yield piece
