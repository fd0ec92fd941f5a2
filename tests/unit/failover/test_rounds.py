"""When to look, and when to keep quiet."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.failover.health import EvidenceRun
from failsafe.failover.rounds import (
    JITTER,
    Probe,
    asks_for_recipient,
    due_probes,
    may_probe,
    next_run_at,
    quiet_until,
    repeats_handshake,
)
from failsafe.model import Axis, Evidence, ProbeClass, Sign

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def run(seen: ProbeClass, at: datetime, *signs: Sign, axis: Axis = Axis.INBOUND, text: str = "") -> EvidenceRun:
    return EvidenceRun.of(Evidence("vps", "here", axis, seen, at, text, signs=frozenset(signs)))


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


def test_a_refused_login_is_not_repeated_within_the_week() -> None:
    history = [run(ProbeClass.UNKNOWN, NOW, Sign.LOGIN_REFUSED)]

    assert quiet_until(history, NOW + 59 * MINUTE) == NOW + timedelta(days=8)
    assert may_probe(history, NOW + timedelta(days=8))


def test_a_refused_login_is_tried_again_as_soon_as_its_password_has_changed() -> None:
    history = [run(ProbeClass.UNKNOWN, NOW, Sign.LOGIN_REFUSED)]

    assert quiet_until(history, NOW + 2 * MINUTE, NOW + MINUTE) is None
    assert quiet_until(history, NOW + 2 * MINUTE, NOW - MINUTE) is not None
    assert quiet_until(history, NOW + 2 * MINUTE, NOW + timedelta(days=400)) is not None  # that file's clock is wrong


def test_a_login_that_one_probe_was_refused_is_not_tried_by_another() -> None:
    probe = Probe("vps/here/submission", MINUTE, NOW, logins=(run(ProbeClass.UNKNOWN, NOW, Sign.LOGIN_REFUSED),))

    assert due_probes([probe], NOW + 9 * MINUTE) == ()
    assert due_probes([replace(probe, login_changed_at=NOW + MINUTE)], NOW + 9 * MINUTE) != ()


def access(at: datetime) -> EvidenceRun:
    return run(ProbeClass.DEGRADED, at, Sign.BAD_CERTIFICATE, axis=Axis.ACCESS)


def test_a_mailbox_behind_a_bad_certificate_is_looked_at_five_times_a_week() -> None:
    at, history = NOW, [access(NOW)]
    while at < NOW + timedelta(days=7):
        if quiet_until(history, at) is None:
            history.append(access(at))
        at += 5 * MINUTE

    assert len(history) == 5


# -- a recipient that is refused -------------------------------------------------------------------------------------------

DOWN_FOR = 15 * MINUTE


def asked(seen: ProbeClass, span: timedelta, *signs: Sign) -> list[timedelta]:
    """When the recipient is asked for, of a look every minute, as time since the first refusal."""
    held = run(seen, NOW, *signs)
    asks, at = [timedelta(0)], NOW
    while at < NOW + span:
        at += MINUTE
        if asks_for_recipient(held, at, MINUTE, DOWN_FOR):
            asks.append(at - NOW)
        held = replace(held, last_at=at, count=held.count + 1)
    return asks


@pytest.mark.parametrize("seen", [ProbeClass.LYING, ProbeClass.DEGRADED])
def test_a_refused_recipient_is_asked_for_when_it_matters_and_five_times_a_week(seen: ProbeClass) -> None:
    assert asked(seen, timedelta(days=7), Sign.COUNTED) == [timedelta(0), MINUTE, 3 * MINUTE, 14 * MINUTE, timedelta(hours=3)]


def test_what_fail2ban_does_not_count_is_asked_for_every_time() -> None:
    for seen in (ProbeClass.DEGRADED, ProbeClass.LYING, ProbeClass.UP):
        assert len(asked(seen, 30 * MINUTE)) == 31


WORDS = (
    "this prober is banned, the server says at RCPT TO: 450 its certificate does not verify: the known-good recipient is refused for good, so senders "
    "bounce: 550 no; login refused"
)


@pytest.mark.parametrize("seen", list(ProbeClass))
def test_no_words_of_evidence_decide_when_to_look(seen: ProbeClass) -> None:
    told, mute = run(seen, NOW, axis=Axis.ACCESS, text=WORDS), run(seen, NOW, axis=Axis.ACCESS)

    assert quiet_until([told], NOW + MINUTE) == quiet_until([mute], NOW + MINUTE)
    assert asks_for_recipient(told, NOW + 6 * MINUTE, 3 * MINUTE, DOWN_FOR)


def test_a_ban_that_the_server_told_itself_is_waited_out_and_one_that_its_list_tells_is_watched() -> None:
    assert may_probe([run(ProbeClass.BANNED, NOW)], NOW + MINUTE)
    assert not may_probe([run(ProbeClass.BANNED, NOW, Sign.SAYS_BANNED)], NOW + MINUTE)


def test_a_broken_handshake_is_repeated_five_times_in_a_week_also_by_processes_that_live_for_one_look() -> None:
    held = run(ProbeClass.UP, NOW, Sign.BAD_CERTIFICATE)
    at, hours = NOW, [0.0]
    while at < NOW + timedelta(days=7):
        at += MINUTE
        if repeats_handshake(held, at, MINUTE):
            hours.append((at - NOW).total_seconds() / 3600)
        held = replace(held, last_at=at)

    assert hours == [0, 1, 7, 43, 127]
    assert repeats_handshake(held, at + timedelta(hours=1), MINUTE)  # nobody looked meanwhile


def test_after_a_gap_the_recipient_is_asked_for_again() -> None:
    assert asks_for_recipient(run(ProbeClass.LYING, NOW, Sign.COUNTED), NOW + 4 * MINUTE, MINUTE, DOWN_FOR)


def test_a_down_server_is_looked_at_every_time() -> None:
    assert may_probe([run(ProbeClass.DOWN, NOW)], NOW + MINUTE)


def test_a_probe_that_must_keep_quiet_is_not_due() -> None:
    history = (run(ProbeClass.PROBE_BLOCKED, NOW),)

    assert due_probes([Probe("vps", MINUTE, NOW, history)], NOW + 9 * MINUTE) == ()
