"""Makes a catalog anew from the snapshots of a repository alone: neither staging nor database nor the old catalog is needed.

First all metadata, snapshot by snapshot, each file once whichever snapshots name it; then the beginnings of messages, a few segments at a
time, each segment once, those of the newest snapshot first; then the states go into the catalog in the order of their time. The catalog is
a new file until all of that is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from failsafe.backup.archive import Archive, Location
from failsafe.backup.archive.layout import generation_path, path_of
from failsafe.backup.archive.segment import IndexLine
from failsafe.backup.catalog import Catalog
from failsafe.backup.catalog_update import ASKED_AT_ONCE, Update, insert_message, read_headers, transaction
from failsafe.backup.erased import Erased, erased_in
from failsafe.backup.segments_read import SEGMENTS_AT_ONCE
from failsafe.backup.snapshot import host_of, read_tags
from failsafe.errors import ArchiveError, ExternalError, Interrupted, ResticError
from failsafe.mail.manifest import Generation, MailboxManifest
from failsafe.model import Result, SnapshotInfo
from failsafe.ports import Narrator, Progress, Repository


@dataclass(slots=True)
class Rebuilt:
    """What became of one server. `skipped`: snapshots that could not be read, and why; `unread`: messages without headers, since their segment could not be had."""

    server: str
    snapshots: int = 0
    messages: int = 0
    segments: int = 0
    unread: int = 0
    skipped: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class State:
    """A generation, and a snapshot that has all of it."""

    generation: Generation
    snapshot_id: str


class Rebuild:
    """One server's snapshots in one repository. What is fetched lies below `work`, which the caller clears; metadata of all of them, segments a few at a time."""

    def __init__(
        self,
        catalog: Catalog,
        repository: Repository,
        server: str,
        work: Path,
        erased: Erased,
        progress: Progress,
        narrate: Narrator,
    ) -> None:
        self._catalog, self._db, self._repository, self._server = catalog, catalog.connection, repository, server
        self._work, self._erased, self._progress, self._narrate = work, erased, progress, narrate
        self._archive = Archive(work / "archive")
        self.report = Rebuilt(server)

    def run(self) -> Rebuilt:
        """Raises ResticError where the repository does not list its snapshots, StoreError where this machine's disk fails."""
        listed = plan_states(self._repository.snapshots(host_of(self._server)))
        states = list(self._states(listed))
        self.report.snapshots = len(states)
        erased = self._erased.joined(erased_in(states[-1].generation) if states else Erased())
        with self._catalog.faults():
            self._note_wanted(states, erased.covers)
            self._learn(states, erased.covers)
            self._progress.stage(f"catalog of {self._server}", len(states), "states")
            for state in states:
                Update(self._db, self._archive, state.generation, leaves_out=erased.covers).run()
                self._progress.advance(1)
            ((self.report.messages,),) = self._db.execute("SELECT COUNT(*) FROM wanted").fetchall()
            self._db.execute("DROP TABLE temp.wanted")
        return self.report

    # -- metadata --------------------------------------------------------------------------------------------------------

    def _states(self, listed: Sequence[SnapshotInfo]) -> Iterator[State]:
        """In order of time. A snapshot that cannot be read is passed over, and told."""
        self._progress.stage(f"{self._server}: metadata from {self._repository.name}", len(listed), "snapshots")
        for info in listed:
            try:
                yield self._state(info)
            except Interrupted:
                raise
            except ExternalError as error:
                text = f"snapshot {info.id[:8]} of {info.at:%Y-%m-%d %H:%M} UTC: {error}"
                self.report.skipped.append(text)
                self._narrate(text)
            self._progress.advance(1)

    def _state(self, info: SnapshotInfo) -> State:
        number = read_tags(info.tags).generation
        assert number is not None, "plan_states gives no others"
        own = generation_path(number)
        place = self._work / "generations" / info.id[:16]  # two states may have one number
        self._fetch(info.id, [own], place)
        generation = Archive(place).generation(number)
        if generation.server != self._server:
            raise ArchiveError(f"it holds mail of {generation.server}", transient=False)
        for step in (self._manifests, self._shards):
            self._fetch(info.id, step(generation), self._archive.folder)
        return State(generation, info.id)

    def _manifests(self, generation: Generation) -> list[str]:
        return [path_of("mailboxes", name) for name in generation.mailboxes.values()]

    def _shards(self, generation: Generation) -> list[str]:
        return list(self._archive.metadata_files(generation))

    def _fetch(self, snapshot_id: str, paths: Iterable[str], folder: Path) -> None:
        missing = sorted({path for path in paths if not (folder / path).is_file()})
        if missing:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._repository.fetch(snapshot_id, missing, folder)

    # -- messages --------------------------------------------------------------------------------------------------------

    def _note_wanted(self, states: Sequence[State], covers: Callable[[str], bool]) -> None:
        """Which messages any state names: what else lies in a segment is of no mailbox that is known here."""
        self._db.execute("CREATE TEMP TABLE wanted (digest BLOB PRIMARY KEY) WITHOUT ROWID")
        for manifest in self._each_manifest(states, covers):
            for shard in {shard for folder in manifest.folders for shard in folder.shards}:
                ids = self._archive.shard_ids(shard)
                with transaction(self._db):
                    self._db.executemany("INSERT OR IGNORE INTO wanted VALUES (?)", ((bytes.fromhex(id_),) for id_ in ids))

    def _each_manifest(self, states: Iterable[State], covers: Callable[[str], bool]) -> Iterator[MailboxManifest]:
        seen: set[str] = set()
        for state in states:
            for mailbox, name in state.generation.mailboxes.items():
                if name not in seen and not covers(mailbox):
                    seen.add(name)
                    yield self._archive.manifest(name)

    def _learn(self, states: Sequence[State], covers: Callable[[str], bool]) -> None:
        """Headers of all wanted messages; the newest snapshot's segments first, since most of what there is lies in them."""
        ((total,),) = self._db.execute("SELECT COUNT(*) FROM wanted").fetchall()
        self._progress.stage(f"{self._server}: headers from {self._repository.name}", int(total), "messages")
        done: set[str] = set()
        for state in reversed(states):
            named = (segment for manifest in self._each_manifest([state], covers) for segment in reversed(manifest.segments))
            fresh = [segment for segment in dict.fromkeys(named) if segment not in done]
            done.update(fresh)
            needed = iter(fresh)
            while batch := self._next_batch(needed):
                self._learn_batch(state.snapshot_id, batch)
        known = self._db.execute("SELECT COUNT(*) FROM wanted w JOIN message m ON m.digest = w.digest").fetchone()[0]
        self.report.unread = int(total) - int(known)

    def _next_batch(self, segments: Iterator[str]) -> dict[str, dict[str, IndexLine]]:
        """The next few segments that hold wanted messages which are not known yet, and those messages."""
        found = ((segment, self._unknown(segment)) for segment in segments)
        return dict(islice(((segment, lines) for segment, lines in found if lines), SEGMENTS_AT_ONCE))

    def _unknown(self, segment: str) -> dict[str, IndexLine]:
        lines = {line.id: line for line in self._archive.index(segment)}
        ids, found = iter(lines), dict[str, IndexLine]()
        query = "SELECT w.digest FROM wanted w WHERE w.digest IN ({}) AND NOT EXISTS (SELECT 1 FROM message m WHERE m.digest = w.digest)"
        while part := [bytes.fromhex(id_) for id_ in islice(ids, ASKED_AT_ONCE)]:
            for (digest,) in self._db.execute(query.format(",".join("?" * len(part))), part):
                found[digest.hex()] = lines[digest.hex()]
        return found

    def _learn_batch(self, snapshot_id: str, batch: dict[str, dict[str, IndexLine]]) -> None:
        self._fetch_segments(snapshot_id, list(batch))
        for segment, lines in batch.items():
            places = [Location(line.id, segment, line.offset, line.size) for line in lines.values()]
            with transaction(self._db):
                for id_, headers in read_headers(self._archive, places):
                    insert_message(self._db, id_, lines[id_].canonical, lines[id_].size, headers)
            (self._archive.folder / path_of("segments", segment)).unlink(missing_ok=True)
            self.report.segments += 1
            self._progress.advance(len(lines))

    def _fetch_segments(self, snapshot_id: str, segments: Sequence[str]) -> None:
        """All at once; where that fails, as it does for a damaged pack, one by one, so that one does not cost the others."""
        try:
            self._fetch(snapshot_id, [path_of("segments", segment) for segment in segments], self._archive.folder)
        except ResticError as error:
            self._narrate(f"repository {self._repository.name}: {error}")
            for segment in segments:
                place = self._archive.folder / path_of("segments", segment)
                place.unlink(missing_ok=True)
                try:
                    self._fetch(snapshot_id, [path_of("segments", segment)], self._archive.folder)
                except ResticError as fault:
                    place.unlink(missing_ok=True)  # half of it may have come
                    self._narrate(f"segment {segment[:12]}… could not be had: {fault}")


def plan_states(listed: Sequence[SnapshotInfo]) -> tuple[SnapshotInfo, ...]:
    """One snapshot of each state, oldest first; of two of the same state the one that is whole, else the newer."""
    best: dict[tuple[int, str], SnapshotInfo] = {}
    for info in sorted(listed, key=lambda each: each.at):
        held = read_tags(info.tags)
        if held.generation is None:
            continue
        known = best.get((held.generation, held.state))
        if known is None or held.result == Result.OK or read_tags(known.tags).result != Result.OK:
            best[held.generation, held.state] = info
    return tuple(sorted(best.values(), key=lambda each: (each.at, read_tags(each.tags).generation or 0)))
