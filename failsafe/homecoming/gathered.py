"""What was gathered from a secondary, read from its archive in staging: each message that is there, and each that was there and is gone again.

What a person deletes at the secondary before it came home stays in the archive, marked (`GONE_FOR`), and is found here all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from failsafe.backup.archive.layout import Location
from failsafe.backup.archive.reader import Archive
from failsafe.errors import ArchiveError
from failsafe.homecoming.found import Found
from failsafe.mail.manifest import Entry, FolderManifest

GONE_FOR = timedelta(days=90)  # so long the archive of a secondary keeps what has left it: a homecoming takes days


class Gathered:
    """The newest state of one secondary's archive. `catch_all`: the mailbox under which a catch-all is archived."""

    def __init__(self, archive: Archive, catch_all: str) -> None:
        self._archive, self._catch_all = archive, catch_all
        self._places: tuple[str, dict[str, Location]] = ("", {})  # of the mailbox that was read from last

    def found(self) -> Iterator[Found]:
        """Mailbox by mailbox, folder by folder, in order of UID; nothing where nothing was gathered yet. Raises ArchiveError.

        A message in two folders is found in both; one that was moved is found where it is now.
        """
        if not self._archive.numbers():
            return
        with self._archive.held():
            generation = self._archive.generation()
            for mailbox in sorted(generation.mailboxes):
                for folder in self._archive.mailbox(generation, mailbox).folders:
                    for entry in self._archive.entries(folder):
                        yield self._found(mailbox, folder, entry)

    def read(self, found: Found) -> Iterator[bytes]:
        """Its bytes, in pieces of at most 1 MiB. Raises ArchiveError, after the last piece too: nothing is to be kept before the end."""
        given = False
        try:
            for piece in self._archive.message_chunks(self._place(found)):
                given = True
                yield piece
        except ArchiveError:
            if given:
                raise
            self._places = ("", {})  # another gathering has put segments together meanwhile
            yield from self._archive.message_chunks(self._place(found))

    def _found(self, mailbox: str, folder: FolderManifest, entry: Entry) -> Found:
        is_there = entry.gone_at is None and folder.uid_validity is not None
        return Found(
            mailbox=mailbox,
            folder=folder.name,
            id=entry.id,
            canonical=entry.canonical,
            size=entry.size,
            flags=frozenset(entry.flags),
            keywords=entry.keywords,
            internal_date=datetime.fromtimestamp(entry.internal_date, UTC),
            by_catch_all=mailbox == self._catch_all,
            uid_validity=folder.uid_validity if is_there else None,
            uid=entry.uid if is_there else None,
            gone=entry.gone_at is not None,
            uses=folder.uses,
        )

    def _place(self, found: Found) -> Location:
        if self._places[0] != found.mailbox:
            self._places = (found.mailbox, self._places_of(found.mailbox))
        place = self._places[1].get(found.id)
        if place is None:
            raise ArchiveError(
                f"message {found.id} of {found.mailbox} is not in {self._archive.folder}",
                mend="gather once more; if it stays so: failsafe verify --whole",
            )
        return place

    def _places_of(self, mailbox: str) -> dict[str, Location]:
        """Of all messages of a mailbox, so that each index file is read once."""
        with self._archive.held():
            manifest = self._archive.mailbox(self._archive.generation(), mailbox)
            ids = {id_ for folder in manifest.folders for shard in folder.shards for id_ in self._archive.shard_ids(shard)}
            return self._archive.locate(manifest.segments, ids)
