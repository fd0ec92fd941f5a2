"""When to look, and when to keep quiet."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from failsafe.failover.health import EvidenceRun
from failsafe.failover.rounds import JITTER, LOGIN_REFUSED, Probe, due_probes, may_probe, next_run_at, quiet_until
from failsafe.model import Axis, Evidence, ProbeClass

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def run(seen: ProbeClass, at: datetime, text: str = "") -> EvidenceRun:
    return EvidenceRun.of(Evidence("vps", "here", Axis.INBOUND, seen, at, text))


def test_a_probe_that_never_ran_is_due_at_once() -> None:
    assert due_probes([Probe("vps", MINUTE, None)], NOW) == (Probe("vps", MINUTE, None),)


def test_a_probe_that_ran_just_now_is_not_due() -> None:
    assert due_probes([Probe("vps", MINUTE, NOW)], NOW + MINUTE / 2) == ()


def test_a_last_run_in_the_future_does_not_silence_a_probe() -> None:
    assert next_run_at(Probe("vps", MINUTE, NOW + timedelta(days=1)), NOW) == NOW


@given(st.text(max_size=20), st.integers(1, 100_000))
def test_jitter_stays_within_its_share_and_is_the_same_when_asked_again(name: str, seconds: int) -> None:
    probe = Probe(name, MINUTE, NOW - timedelta(seconds=seconds))
    wait = next_run_at(probe, NOW) - (NOW - timedelta(seconds=seconds))

    assert MINUTE * (1 - JITTER) <= wait <= MINUTE * (1 + JITTER)
    assert next_run_at(probe, NOW) == next_run_at(probe, NOW + MINUTE)


def test_jitter_differs_between_probes() -> None:
    assert len({next_run_at(Probe(f"server-{number}", MINUTE, NOW), NOW) for number in range(20)}) == 20


def test_the_longest_waiting_probe_comes_first() -> None:
    probes = [Probe("late", MINUTE, NOW - 5 * MINUTE), Probe("later", MINUTE, NOW - 9 * MINUTE), Probe("never", MINUTE, None)]

    assert [probe.name for probe in due_probes(probes, NOW)] == ["never", "later", "late"]


def test_a_refused_prober_keeps_quiet_for_half_a_week() -> None:
    history = [run(ProbeClass.UP, NOW - MINUTE), run(ProbeClass.PROBE_BLOCKED, NOW)]

    assert not may_probe(history, NOW + timedelta(days=3))
    assert may_probe(history, NOW + timedelta(days=3, hours=13))


def test_a_refused_prober_looks_at_most_twice_a_week() -> None:
    at, looks = NOW, 0
    history = [run(ProbeClass.PROBE_BLOCKED, NOW)]
    while at < NOW + timedelta(days=7):
        if may_probe(history, at):
            looks += 1
            history.append(run(ProbeClass.PROBE_BLOCKED, at))
        at += MINUTE

    assert looks <= 2


def test_a_refused_login_is_not_repeated_within_the_hour() -> None:
    history = [run(ProbeClass.UNKNOWN, NOW, f"{LOGIN_REFUSED} for probe: no")]

    assert quiet_until(history, NOW + 59 * MINUTE) == NOW + 60 * MINUTE
    assert may_probe(history, NOW + 60 * MINUTE)


def test_a_down_server_is_looked_at_every_time() -> None:
    assert may_probe([run(ProbeClass.DOWN, NOW)], NOW + MINUTE)


def test_a_probe_that_must_keep_quiet_is_not_due() -> None:
    history = (run(ProbeClass.PROBE_BLOCKED, NOW),)

    assert due_probes([Probe("vps", MINUTE, NOW, history)], NOW + 9 * MINUTE) == ()
