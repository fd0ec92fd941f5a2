"""`eml:DIR`: one file a message, DIR/DOMAIN/USER/FOLDER/DATE-SHORTID.eml, byte for byte, dated as the message was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from failsafe.backup.archive.segment import digest_of
from failsafe.backup.destinations.base import (
    Bare,
    Rejected,
    file_name,
    mailbox_folder,
    make_folders,
    refuse_opaque,
    safe_component,
    sync_folder,
    write_whole,
)
from failsafe.backup.restore_plan import Folders, Wanted
from failsafe.model import Body
from failsafe.ports import Progress


class EmlDestination:
    identity = "id"
    as_stored = False
    follows_moves = False

    def __init__(self, root: Path) -> None:
        self.root = root
        self._bare = Bare()

    def there(self, wanted: Sequence[Wanted], progress: Progress) -> Mapping[str, Folders]:
        held: dict[str, dict[str, set[str]]] = {}
        progress.stage("looking at what is there", len(wanted), "messages")
        for item in wanted:
            folder = held.setdefault(item.target_mailbox, {}).setdefault(item.target_folder, set())
            if self._path(item).exists() and digest_of(self._path(item)) == item.content_id:
                folder.add(item.content_id)
            progress.advance(1)
        return {mailbox: {name: frozenset(ids) for name, ids in folders.items()} for mailbox, folders in held.items()}

    def add(self, item: Wanted, body: Body) -> None:
        refuse_opaque(body)
        path = self._path(item)
        make_folders(path.parent)
        if path.exists():
            raise Rejected(f"{path} is another file; move it away")
        write_whole(path, body.pieces(), temporary=path.parent, mtime=item.internal_date)
        self._bare.count(item)

    def finish(self) -> dict[Wanted, str]:
        return {}

    def verify(self, added: Sequence[Wanted], progress: Progress) -> dict[Wanted, str]:
        wrong = {}
        for folder in {self._path(item).parent for item in added}:
            sync_folder(folder)
        progress.stage("reading back", len(added), "messages")
        for item in added:
            if digest_of(self._path(item)) != item.content_id:
                wrong[item] = f"{self._path(item)} does not hold the message"
            progress.advance(1)
        return wrong

    def notes(self) -> tuple[str, ...]:
        return self._bare.notes("an eml file")

    def close(self) -> None:
        pass

    def _path(self, item: Wanted) -> Path:
        folder = mailbox_folder(self.root, item.target_mailbox)
        for part in item.target_folder.split("/"):
            folder = folder / safe_component(part)
        return folder / file_name(item)
