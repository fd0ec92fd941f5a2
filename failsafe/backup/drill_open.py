"""Opens one rebuilt mailbox and compares all that is seen in it with its manifest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from failsafe.backup.archive import Archive
from failsafe.backup.archive.rebuild import folder_parts, mailbox_folder
from failsafe.backup.drill_compare import Sight, compare_folder, is_plain
from failsafe.backup.drill_report import Fault
from failsafe.backup.opening import MailOpener, OpenedMailbox
from failsafe.errors import ArchiveError, MailError
from failsafe.mail.maildir import folder_name
from failsafe.mail.manifest import Entry, FolderManifest, MailboxManifest

FAULTS_A_FOLDER = 1000
LOST = "keywords-lost.txt"  # rebuild.py's list of keywords that found no letter


class Opening:
    """`tell` takes each fault, `note` what is worth knowing and is none."""

    def __init__(
        self,
        archive: Archive,
        manifest: MailboxManifest,
        target: Path,
        tell: Callable[[Fault], None],
        note: Callable[[str], None],
    ) -> None:
        self._archive, self._manifest, self._tell, self._note = archive, manifest, tell, note
        self._maildir = target.joinpath(*mailbox_folder(manifest.mailbox))
        self._lost = _lost_keywords(self._maildir / LOST)
        self._opened: OpenedMailbox | None = None
        self._odd: list[tuple[FolderManifest, str]] = []
        self._plain: list[tuple[FolderManifest, str]] = []
        for folder, directory in _directories(manifest):
            known = [folder_name(other) for _, other in self._plain]
            plain = is_plain(folder_name(directory), directory, manifest.layout) and folder_name(directory) not in known
            (self._plain if plain else self._odd).append((folder, directory))
        self.messages = 0
        self.bytes = 0

    def compare_strange(self, files: MailOpener) -> None:
        """Folders whose names not every mail server shows are compared by their files, before anybody else opens the mailbox."""
        if not self._odd or not self._maildir.is_dir():
            return
        names = {folder_name(directory): directory for _, directory in self._odd}
        opened = files.open(self._maildir, self._manifest.layout, names)
        try:
            for folder, directory in self._odd:
                where = f"{self._manifest.mailbox} / {folder.name}"
                self._note(f"{where}: its files were compared, since not every mail server shows such a folder")
                self._folder(folder, folder_name(directory), opened, files.flags)
        finally:
            opened.close()

    def open(self, opener: MailOpener) -> None:
        """Raises MailError, ProcessError."""
        if not self._maildir.is_dir():
            raise MailError("nothing of it was rebuilt", transient=False)
        self._opened = opener.open(
            self._maildir, self._manifest.layout, {folder_name(directory): directory for _, directory in self._plain}
        )

    def compare(self, opener: MailOpener) -> None:
        """Every other folder. Raises MailError, ProcessError."""
        assert self._opened is not None
        shown = self._opened.folders()
        for folder, directory in self._plain:
            name = folder_name(directory)
            if name in shown:
                self._folder(folder, name, self._opened, opener.flags)
            else:
                self._tell(Fault(f"{opener.name} does not show this folder", self._manifest.mailbox, folder.name))

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _folder(self, folder: FolderManifest, name: str, opened: OpenedMailbox, flags: str) -> None:
        mailbox = self._manifest.mailbox
        validity, seen = opened.read(name)
        if validity is not None and folder.uid_validity is not None and validity != folder.uid_validity:
            self._tell(Fault(f"has UIDVALIDITY {validity} instead of {folder.uid_validity}", mailbox, folder.name))
        expected = list(self._expected(folder))
        sight = Sight(flags, self._lost.get(folder.name, frozenset()))
        for message, text in islice(compare_folder(expected, seen, sight), FAULTS_A_FOLDER):
            self._tell(Fault(text, mailbox, folder.name, message))
        self.messages += len(expected)
        self.bytes += sum(entry.size for entry in expected)

    def _expected(self, folder: FolderManifest) -> Iterator[Entry]:
        """All entries that belong to the folder; of a shard that cannot be read, none, and that is told."""
        for shard in folder.shards:
            try:
                yield from (entry for entry in self._archive.shard(shard) if entry.gone_at is None)
            except ArchiveError as error:
                text = f"up to 500 messages are not known: {error}"
                self._tell(Fault(text, self._manifest.mailbox, folder.name))


def _directories(manifest: MailboxManifest) -> Iterator[tuple[FolderManifest, str]]:
    """Where rebuild.py puts each folder."""
    taken: set[tuple[str, ...]] = set()
    for folder in manifest.folders:
        parts = folder_parts({"directory": folder.directory, "name": folder.name}, manifest.layout, taken)
        taken.add(tuple(parts))
        yield folder, "/".join(parts)


def _lost_keywords(file: Path) -> dict[str, frozenset[str]]:
    """By folder."""
    found: dict[str, set[str]] = {}
    try:
        lines = file.read_bytes().decode("utf-8", "surrogateescape").splitlines()
    except OSError:
        return {}
    for line in lines:
        folder, _, rest = line.partition("\t")
        found.setdefault(folder, set()).add(rest.partition("\t")[0])
    return {folder: frozenset(words) for folder, words in found.items()}
