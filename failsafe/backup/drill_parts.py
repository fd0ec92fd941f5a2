"""Finds out what exactly a drill needs: whole mailboxes, a sample of a large one, and the canary; fetches manifests and indexes on the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from failsafe.backup.archive import Archive, Location
from failsafe.backup.archive.layout import index_path, path_of
from failsafe.backup.drill import Canary, Choice, choose_canary, choose_segments, choose_shards
from failsafe.backup.drill_archive import Part, write_generation, write_part
from failsafe.backup.drill_fetch import Fetcher
from failsafe.errors import ArchiveError
from failsafe.mail.maildir import INBOX
from failsafe.mail.manifest import Entry, Generation, MailboxManifest

CANARY_MAILBOXES = 100  # that are looked through for the newest message
CANARY_SHARDS = 2  # of each one's INBOX, the last: the one with the highest UIDs, and one of messages without a UID
INDEXES_AT_ONCE = 16  # while the canary's segment is looked for, from the newest on
INDEX_SHARE = 4  # indexes for a sample take at most this part of its bytes


@dataclass(slots=True)
class Chosen:
    """`parts`: mailboxes of which only a part is brought back."""

    archive: Archive
    generation: Generation
    whole: Mapping[str, MailboxManifest]
    parts: dict[str, Part] = field(default_factory=dict)
    canary: Canary | None = None
    sampled: str | None = None
    data_files: tuple[str, ...] = ()
    message_bytes: int = 0  # of what will be rebuilt
    _written: dict[str, MailboxManifest] = field(default_factory=dict)

    @property
    def mailboxes(self) -> tuple[str, ...]:
        return (*self.whole, *self.parts)

    def kind(self, mailbox: str) -> str:
        return "whole" if mailbox in self.whole else "sample" if mailbox == self.sampled else "canary"

    def manifest(self, mailbox: str) -> MailboxManifest:
        """What is to come back of it."""
        return self.whole[mailbox] if mailbox in self.whole else self._written[mailbox]

    def rebuilds(self, folder: Path) -> Iterator[tuple[int | None, tuple[str, ...]]]:
        """(generation, mailboxes) of each run of rebuild.py; None: the snapshot's own, which then is the only one there."""
        if self.whole:
            yield None, tuple(self.whole)
        if self.parts:
            names = {}
            for mailbox, part in self.parts.items():
                names[mailbox], self._written[mailbox] = write_part(folder, part)
            messages = sum(each.messages for manifest in self._written.values() for each in manifest.folders)
            yield write_generation(folder, self.generation, names, messages), tuple(self.parts)


class Parts:
    """Fetches what is needed to know what is needed."""

    def __init__(
        self,
        fetcher: Fetcher,
        archive: Archive,
        generation: Generation,
        manifests: Mapping[str, MailboxManifest],
        seed: str,
    ) -> None:
        self._fetcher, self._archive, self._generation = fetcher, archive, generation
        self._manifests, self._seed = manifests, seed

    def choose(self, choice: Choice, known: frozenset[str], at: datetime) -> Chosen:
        """`at`: when the snapshot was made."""
        whole = {mailbox: self._manifests[mailbox] for mailbox in choice.whole}
        sample_shards = self._sample_shards(choice.sampled)
        self._fetch_metadata(whole, sample_shards, known)
        chosen = Chosen(self._archive, self._generation, whole, sampled=choice.sampled)
        chosen.canary = choose_canary(self._candidates(known, choice), known, at)
        if choice.sampled is not None:
            self._add(chosen, choice.sampled, self._sample(choice, sample_shards))
        if chosen.canary is not None and chosen.canary.mailbox not in whole:
            self._add(chosen, chosen.canary.mailbox, self._part_of_canary(chosen.canary))
        chosen.data_files = self._data_files(chosen)
        chosen.message_bytes = self._message_bytes(chosen)
        return chosen

    # -- metadata --------------------------------------------------------------------------------------------------------

    def _fetch_metadata(
        self, whole: Mapping[str, MailboxManifest], sample: Sequence[tuple[int, str]], known: frozenset[str]
    ) -> None:
        """At once: each restic run opens the repository anew."""
        paths = [path_of("shards", shard) for _, shard in sample]
        for manifest in whole.values():
            paths += [path_of("shards", shard) for folder in manifest.folders for shard in folder.shards]
            paths += [index_path(segment) for segment in manifest.segments]
        for mailbox in self._looked_through(tuple(whole), known):
            paths += [path_of("shards", shard) for _, shard in _last_shards(self._manifests[mailbox])]
        self._fetcher.fetch(paths)

    def _looked_through(self, whole: Sequence[str], known: frozenset[str]) -> tuple[str, ...]:
        ordered = dict.fromkeys((*(name for name in sorted(known) if name in self._manifests), *whole, *self._manifests))
        return tuple(ordered)[:CANARY_MAILBOXES]

    def _candidates(self, known: frozenset[str], choice: Choice) -> Iterator[Canary]:
        for mailbox in self._looked_through(choice.whole, known):
            for folder, shard in _last_shards(self._manifests[mailbox]):
                for entry in self._entries(shard):
                    yield Canary(mailbox, folder, entry)

    def _entries(self, shard: str) -> Iterator[Entry]:
        """Of a shard that came; one that did not is a fault already, and told again where its mailbox is compared."""
        try:
            yield from (entry for entry in self._archive.shard(shard) if entry.gone_at is None)
        except ArchiveError:
            return

    def _locate(self, segments: Sequence[str], ids: set[str]) -> dict[str, Location]:
        self._fetcher.fetch(index_path(segment) for segment in segments)
        found: dict[str, Location] = {}
        for segment in segments:
            try:
                found |= {id_: place for id_, place in self._archive.locate([segment], ids).items() if id_ not in found}
            except ArchiveError:
                continue  # told as a fault of the fetch
        return found

    # -- a sample, and the canary ----------------------------------------------------------------------------------------

    def _sample_shards(self, mailbox: str | None) -> tuple[tuple[int, str], ...]:
        if mailbox is None:
            return ()
        folders = self._manifests[mailbox].folders
        return choose_shards([(place, shard) for place, folder in enumerate(folders) for shard in folder.shards], self._seed)

    def _sample(self, choice: Choice, shards: Sequence[tuple[int, str]]) -> Part:
        assert choice.sampled is not None
        manifest = self._manifests[choice.sampled]
        entries = [(place, entry) for place, shard in shards for entry in self._entries(shard)]
        indexed: list[str] = []
        left = choice.sample_bytes // INDEX_SHARE
        for segment in reversed(manifest.segments):
            left -= self._fetcher.sizes.get(index_path(segment), 0)
            if indexed and left < 0:
                break
            indexed.append(segment)
        places = self._locate(indexed, {entry.id for _, entry in entries})
        sizes = {segment: self._fetcher.sizes.get(path_of("segments", segment), 0) for segment in indexed}
        segments = choose_segments(places.values(), sizes, choice.sample_bytes, self._seed)
        kept: dict[int, list[Entry]] = {}
        for place, entry in entries:
            if entry.id in places and places[entry.id].segment in segments:
                kept.setdefault(place, []).append(entry)
        return Part(manifest, kept, tuple(segment for segment in manifest.segments if segment in segments))

    def _part_of_canary(self, canary: Canary) -> Part:
        """Its segment is looked for among the newest first: an index is small, and all those of a large mailbox are not."""
        manifest = self._manifests[canary.mailbox]
        place = next(place for place, folder in enumerate(manifest.folders) if folder.name == canary.folder)
        newest_first = manifest.segments[::-1]
        for start in range(0, len(newest_first), INDEXES_AT_ONCE):
            found = self._locate(newest_first[start : start + INDEXES_AT_ONCE], {canary.entry.id})
            if found:
                return Part(manifest, {place: [canary.entry]}, (found[canary.entry.id].segment,))
        return Part(manifest, {place: [canary.entry]}, ())

    def _add(self, chosen: Chosen, mailbox: str, part: Part) -> None:
        """The canary may lie in the mailbox of the sample."""
        before = chosen.parts.get(mailbox)
        if before is None:
            chosen.parts[mailbox] = part
            return
        entries = {place: list(each) for place, each in before.entries.items()}
        for place, more in part.entries.items():
            entries[place] = [*entries.get(place, []), *(entry for entry in more if entry not in entries.get(place, []))]
        chosen.parts[mailbox] = Part(part.manifest, entries, tuple(dict.fromkeys((*before.segments, *part.segments))))

    # -- data ------------------------------------------------------------------------------------------------------------

    def _data_files(self, chosen: Chosen) -> tuple[str, ...]:
        paths: dict[str, None] = {}
        for manifest in chosen.whole.values():
            paths |= dict.fromkeys(path_of("segments", segment) for segment in manifest.segments)
            paths |= dict.fromkeys(path_of("files", file.digest) for file in manifest.files)
        for part in chosen.parts.values():
            paths |= dict.fromkeys(path_of("segments", segment) for segment in part.segments)
            paths |= dict.fromkeys(index_path(segment) for segment in part.segments)
        return tuple(paths)

    def _message_bytes(self, chosen: Chosen) -> int:
        shards = [shard for manifest in chosen.whole.values() for folder in manifest.folders for shard in folder.shards]
        whole = sum(entry.size for shard in shards for entry in self._entries(shard))
        return whole + sum(entry.size for part in chosen.parts.values() for each in part.entries.values() for entry in each)


def _last_shards(manifest: MailboxManifest) -> tuple[tuple[str, str], ...]:
    """(folder, shard) where a mailbox's newest mail is: INBOX, or its first other folder with mail where that is empty."""
    filled = [folder for folder in manifest.folders if folder.shards]
    chosen = next((folder for folder in filled if folder.name == INBOX), filled[0] if filled else None)
    return () if chosen is None else tuple((chosen.name, shard) for shard in chosen.shards[-CANARY_SHARDS:])
