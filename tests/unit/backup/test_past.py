"""Which state of the past a restore looks at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from failsafe.backup.archive import Archive
from failsafe.backup.catalog_search import Query
from failsafe.backup.past import moment_at, read_moment
from failsafe.backup.recall import Moment
from failsafe.errors import ArchiveError
from failsafe.mail.manifest import Generation, MailboxManifest
from failsafe.model import Result
from failsafe.ports import Narrator

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@dataclass
class Past:
    """A source that knows when its states were and how they ended, nothing else."""

    name: str
    states: dict[int, tuple[datetime, Result]] = field(default_factory=dict)
    damaged: bool = False

    def moments(self, server: str) -> tuple[Moment, ...]:
        return tuple(Moment(server, number, at) for number, (at, _) in self.states.items())

    def generations(self, server: str) -> tuple[int, ...]:
        return tuple(moment.number for moment in self.moments(server))

    def surely(self, server: str) -> tuple[int, ...]:
        return self.generations(server)

    def generation(self, server: str, number: int) -> Generation:
        if self.damaged:
            raise ArchiveError(f"{self.name} is damaged")
        at, result = self.states[number]
        return Generation(number, server, at, result, 0, {}, None, None, (), {})

    def folders(self, server: str, number: int, mailbox: str) -> tuple[Archive, MailboxManifest]:
        raise NotImplementedError

    def read(self, server: str, number: int, mailbox: str, ids: Sequence[str], narrate: Narrator) -> Iterator[tuple[str, bytes]]:
        raise NotImplementedError


def shown(*sources: Past, at: datetime | None = None, told: list[str] | None = None) -> tuple[str, int] | None:
    found = moment_at(sources, "vps", at, (told if told is not None else []).append)
    return None if found is None else (found[0].name, found[1].number)


def test_the_newest_complete_state_that_is_not_later_is_shown() -> None:
    near = Past("near", {n: (NOON + n * timedelta(hours=1), Result.INCOMPLETE if n == 3 else Result.OK) for n in range(1, 6)})
    assert shown(near) == ("near", 5)
    assert shown(near, at=NOON + timedelta(hours=3, minutes=30)) == ("near", 2)
    assert shown(near, at=NOON) is None


def test_numbers_that_began_again_do_not_hide_the_newer_state() -> None:
    before = Past("before", {50: (NOON, Result.OK)})
    after = Past("after", {3: (NOON + timedelta(days=1), Result.OK)})
    assert shown(before, after) == ("after", 3)


def test_of_equal_states_the_nearest_source_is_asked() -> None:
    staging = Past("staging", {7: (NOON + timedelta(microseconds=5), Result.OK)})
    assert shown(Past("near", {7: (NOON, Result.OK)}), staging) == ("near", 7)


def test_an_incomplete_state_is_better_than_none_and_is_told() -> None:
    told: list[str] = []
    assert shown(Past("near", {1: (NOON, Result.INCOMPLETE)}), told=told) == ("near", 1)
    assert "no complete state" in told[0]


def test_a_state_whose_manifests_are_damaged_is_read_from_another_source_that_holds_it() -> None:
    told: list[str] = []
    near, far = Past("near", {7: (NOON, Result.OK)}, damaged=True), Past("far", {6: (NOON, Result.OK), 7: (NOON, Result.OK)})
    best = (near, Moment("vps", 7, NOON))
    (source, moment), found = read_moment([near, far], best, Query(), lambda _ids: {}, told.append)
    assert (source.name, moment.number, found) == ("far", 7, ())
    assert told == ["near: near is damaged"]


def test_a_state_that_nobody_has_whole_is_an_error() -> None:
    near = Past("near", {7: (NOON, Result.OK)}, damaged=True)
    other = Past("other", {7: (NOON + timedelta(days=1), Result.OK)})  # the same number, begun again after a loss
    with pytest.raises(ArchiveError, match="near is damaged"):
        read_moment([near, other], (near, Moment("vps", 7, NOON)), Query(), lambda _ids: {}, lambda _line: None)
