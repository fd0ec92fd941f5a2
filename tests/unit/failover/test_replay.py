"""Recorded evidence, run through other thresholds: flips are counted as the decision makes them, and judged by what was recorded later."""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from datetime import timedelta

import pytest

from failsafe.failover.health import EvidenceRun, JudgePolicy, judge
from failsafe.failover.recording import FALSE, REAL, UNPROVEN, LineRun, Recording, judge_coverage
from failsafe.failover.replay import Replay, _Tape, replay
from failsafe.model import Axis, Evidence, ProbeClass
from tests.unit.failover.world import NOW, POLICY, minutes

BEGIN = NOW - timedelta(days=10)
UP, DOWN, UNKNOWN = ProbeClass.UP, ProbeClass.DOWN, ProbeClass.UNKNOWN
LINE = (LineRun(True, 3, 3, BEGIN, NOW),)
Part = tuple[ProbeClass, float, float]


def tape(vantage: str, *parts: Part) -> list[EvidenceRun]:
    """Runs of one vantage: (class, from minute, to minute)."""
    return [
        EvidenceRun(
            Evidence("vps", vantage, Axis.INBOUND, seen, BEGIN + minutes(end), "looked", "mail:25"),
            BEGIN + minutes(begin),
            BEGIN + minutes(end),
            int(end - begin) + 1,
        )
        for seen, begin, end in parts
    ]


def recording(*tapes: list[EvidenceRun], lines: tuple[LineRun, ...] = LINE, until: float = 3000) -> Recording:
    runs = sorted((run for each in tapes for run in each), key=lambda run: (run.first_at, run.last_at))
    return Recording("vps", tuple(runs), lines, BEGIN, BEGIN + minutes(until))


def outage(vantage: str, begin: float, length: float) -> list[EvidenceRun]:
    return tape(vantage, (UP, 0, begin - 1), (DOWN, begin, begin + length), (UP, begin + length + 1, 3000))


def played(found: Recording, quorum: int = 2, down_for: float = 15, **more: object) -> Replay:
    vantages = len(found.vantages)
    return replay(found, replace(POLICY, quorum=quorum, down_for=minutes(down_for), vantages=vantages, **more))  # type: ignore[arg-type]


def test_an_outage_that_two_saw_is_one_real_flip_and_its_failback() -> None:
    row = played(recording(outage("here", 1000, 120), outage("vps2", 1001, 120)))
    [flip] = row.flips
    assert flip.verdict == REAL
    assert flip.at - BEGIN == minutes(1016)  # fifteen minutes after the second vote began
    assert flip.back_at is not None
    assert minutes(1151) <= flip.back_at - BEGIN <= minutes(1153)  # up_for after both were up again
    assert row.at_secondary == flip.back_at - flip.at


@pytest.mark.parametrize(("down_for", "flips"), [(5, 1), (15, 1), (60, 0)])
def test_a_longer_wait_passes_shorter_outages_over(down_for: float, flips: int) -> None:
    row = played(recording(outage("here", 1000, 40), outage("vps2", 1000, 40)), down_for=down_for)
    assert (len(row.flips), row.blips) == (flips, 1 - flips)


def test_with_a_quorum_of_two_one_blind_vantage_flips_nothing() -> None:
    row = played(recording(outage("here", 1000, 120), tape("vps2", (UP, 0, 3000))))
    assert (row.flips, row.blips) == ((), 1)


def test_a_flip_that_another_vantage_contradicts_is_false() -> None:
    # vps2 was away when it mattered, and saw the primary up while here still said down.
    other = tape("vps2", (UP, 0, 990), (UNKNOWN, 991, 1040), (UP, 1041, 3000))
    row = played(recording(outage("here", 1000, 120), other), quorum=1)
    [flip] = row.flips
    assert flip.verdict == FALSE
    assert flip.why.startswith("vps2 saw it take mail at")


def test_a_flip_while_our_own_line_was_down_is_false() -> None:
    lines = (
        LineRun(True, 3, 3, BEGIN, BEGIN + minutes(1002)),
        LineRun(False, 0, 3, BEGIN + minutes(1003), BEGIN + minutes(1008)),
        LineRun(True, 3, 3, BEGIN + minutes(1009), NOW),
    )
    row = played(recording(outage("here", 1000, 120), lines=lines), quorum=1)
    assert [flip.verdict for flip in row.flips] == [FALSE]
    assert "our own line was down" in row.flips[0].why


def test_what_one_vantage_alone_saw_is_unproven() -> None:
    row = played(recording(outage("here", 1000, 120)), quorum=1)
    assert [flip.verdict for flip in row.flips] == [UNPROVEN]


def test_too_few_vantages_ask_a_person_instead() -> None:
    row = played(recording(outage("here", 1000, 120)), quorum=2)
    assert (row.flips, row.asked) == ((), 1)


def test_guards_that_stood_are_counted() -> None:
    row = played(recording(outage("here", 1000, 120), outage("vps2", 1000, 120), lines=()))
    assert (row.flips, row.blocked) == ((), 1)


def test_the_budget_of_flips_holds_as_in_life() -> None:
    parts: list[Part] = []
    for number in range(6):
        begin = 100 + number * 200
        parts += [(UP, begin - 99, begin - 1), (DOWN, begin, begin + 99)]
    tapes = [tape(name, (UP, 0, 1), *parts, (UP, 1200, 3000)) for name in ("here", "vps2")]
    row = played(recording(*tapes), min_dwell=timedelta(0), up_for=minutes(1), flips_per_day=3)
    assert len(row.flips) == 2  # there, back, there: three flips
    assert len(played(recording(*tapes), min_dwell=timedelta(0), up_for=minutes(1), flips_per_day=100).flips) == 6


def test_a_primary_that_flaps_is_at_the_secondary_for_longer_each_time() -> None:
    parts: list[Part] = []
    for number in range(6):
        begin = 100 + number * 200
        parts += [(UP, begin - 99, begin - 1), (DOWN, begin, begin + 99)]
    tapes = [tape(name, (UP, 0, 1), *parts, (UP, 1200, 3000)) for name in ("here", "vps2")]
    row = played(recording(*tapes), min_dwell=timedelta(0), up_for=minutes(10), flips_per_day=100)
    assert len(row.flips) == 5  # after the fifth it would have to be well for 160 minutes, and the next outage came first


def test_a_gap_in_the_evidence_ends_an_outage_and_is_told() -> None:
    parts = ((UP, 0, 999), (DOWN, 1000, 1010), (DOWN, 1100, 1110), (UP, 1111, 3000))
    found = recording(tape("here", *parts), tape("vps2", *parts))
    assert played(found).flips == ()
    for each in judge_coverage(found, minutes(1)):
        [(begin, end)] = each.gaps
        assert (begin - BEGIN, end - BEGIN) == (minutes(1010), minutes(1100))
        assert 0.96 < each.known < 0.98


def test_time_in_which_a_vantage_could_not_tell_is_no_gap_and_not_known() -> None:
    [each] = judge_coverage(recording(tape("here", (UP, 0, 1500), (UNKNOWN, 1501, 3000))), minutes(1))
    assert each.gaps == ()
    assert each.unknown == pytest.approx(0.5, abs=0.01)


def test_the_moments_that_are_looked_at_leave_no_flip_out() -> None:
    """Looked at every minute, the same evidence gives the same flips."""
    chance = random.Random(5)
    for _ in range(4):
        tapes = []
        for name in ("here", "vps2"):
            at, parts = 0.0, list[Part]()
            while at < 900:
                length = chance.choice((3, 8, 20, 45, 200))
                parts.append((chance.choice((UP, UP, DOWN, ProbeClass.DEGRADED, UNKNOWN)), at, at + length - 1))
                at += length
            tapes.append(tape(name, (UP, -5, -1), *parts))
        found = recording(*tapes, until=900)
        dense = replace(found, lines=tuple(LineRun(True, 3, 3, BEGIN + minutes(m), BEGIN + minutes(m)) for m in range(900)))
        coarse = [(flip.at, flip.back_at) for flip in played(found, min_dwell=timedelta(0), flips_per_day=100).flips]
        fine = [(flip.at, flip.back_at) for flip in played(dense, min_dwell=timedelta(0), flips_per_day=100).flips]
        assert coarse == fine


def test_what_a_vantage_concludes_is_the_same_whether_its_runs_come_one_by_one_or_all_at_once() -> None:
    chance = random.Random(11)
    policy = JudgePolicy(minutes(1), minutes(15))
    for _ in range(20):
        at, parts = 0.0, list[Part]()
        while at < 400:
            length = chance.choice((1, 3, 8, 20, 45))
            seen = chance.choice(
                (UP, DOWN, DOWN, ProbeClass.DEGRADED, ProbeClass.LYING, ProbeClass.GREYLISTED, ProbeClass.BANNED, UNKNOWN)
            )
            parts.append((seen, at, at + length - 1))
            at += length + chance.choice((0, 0, 0, 7))
        runs = tape("here", *parts)
        played_back = _Tape(runs, policy)
        for moment in range(400):
            now = BEGIN + minutes(moment + chance.random())
            begun = [replace(run, last_at=min(run.last_at, now)) for run in runs if run.first_at <= now]
            assert played_back.view(now) == judge(begun, now, policy)


def steps(hours: int, up_for: float) -> int:
    """How many calls a replay of evidence takes that never holds still."""
    parts = [((UP, DOWN, ProbeClass.DEGRADED)[number % 3], number * 12.0, number * 12.0 + 11) for number in range(hours * 5)]
    found = recording(tape("here", *parts), tape("vps2", *parts), until=hours * 60)
    counted = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal counted
        counted += event == "call"

    sys.setprofile(count)
    try:
        played(found, min_dwell=timedelta(0), flips_per_day=1000, down_for=10, up_for=minutes(up_for))
    finally:
        sys.setprofile(None)
    return counted


@pytest.mark.parametrize("up_for", [1, 24 * 60])
def test_a_recording_that_is_twice_as_long_takes_twice_the_steps(up_for: float) -> None:
    assert steps(160, up_for) < 2.3 * steps(80, up_for)
