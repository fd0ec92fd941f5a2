"""Reads messages out of segments that lie on this machine, each compared with its digest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby

from failsafe.backup.archive import Archive, Location
from failsafe.backup.archive.layout import path_of
from failsafe.backup.archive.segment import salvage_segment
from failsafe.errors import ArchiveError
from failsafe.model import Body
from failsafe.ports import Narrator

IN_MEMORY = 4 << 20  # bytes of a message; a larger one stays on disk
SEGMENTS_AT_ONCE = 16  # fetched together: 256 MB of disk, but for single messages that are larger; and as much for the next ones
SEGMENTS_FIRST = 8  # so that there is something to work on soon


def portions(segments: Sequence[str]) -> list[Sequence[str]]:
    starts = range(SEGMENTS_FIRST, len(segments), SEGMENTS_AT_ONCE)
    return [part for part in (segments[:SEGMENTS_FIRST], *(segments[at : at + SEGMENTS_AT_ONCE] for at in starts)) if part]


def places_in(archive: Archive, segments: Sequence[str], ids: frozenset[str]) -> tuple[dict[str, list[Location]], list[str]]:
    """Where these messages are, by segment, in order; and the segments whose index cannot be read."""
    places: dict[str, list[Location]] = {}
    found: set[str] = set()
    dark = []
    for segment in segments:
        if len(found) == len(ids):
            break
        try:
            lines = archive.index(segment)
        except ArchiveError:
            dark.append(segment)
            continue
        for line in lines:
            if line.id in ids and line.id not in found:
                found.add(line.id)
                places.setdefault(segment, []).append(Location(line.id, segment, line.offset, line.size))
    return places, dark


def searched(archive: Archive, segment: str, ids: frozenset[str]) -> list[Location]:
    """What is left of these messages in a segment without an index."""
    path = archive.folder / path_of("segments", segment)
    if not path.is_file():
        return []
    return [Location(id_, segment, offset, size) for id_, offset, size in salvage_segment(path) if id_ in ids]


def whole(archive: Archive, places: Sequence[Location], narrate: Narrator, name: str) -> Iterator[tuple[str, Body]]:
    for segment, inside in groupby(places, key=lambda place: place.segment):
        path = archive.folder / path_of("segments", segment)
        if not path.is_file():
            continue  # it did not arrive, and that was told
        with path.open("rb") as file:
            for place in inside:
                try:
                    body = _checked(archive, file.fileno(), place)
                except ArchiveError as error:
                    narrate(f"{name}: {error}")
                    continue
                yield place.id, body


def _checked(archive: Archive, segment: int, place: Location) -> Body:
    """A large message is read twice: once to be compared with its digest, before any of it is given, and once more as it is used."""
    if place.size <= IN_MEMORY:
        return Body.of(archive.message_in(segment, place))
    for _ in archive.message_chunks(place):
        pass
    return Body(place.size, partial(archive.message_chunks, place))
