"""adapters/pace.py: how long a line waits, with a clock that the test moves."""

from __future__ import annotations

import types

import pytest

from failsafe.adapters import pace
from failsafe.adapters.pace import CREDIT, Pace
from tests.unit.adapters.test_imap_line import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(pace, "time", types.SimpleNamespace(monotonic=made.monotonic, sleep=made.sleep))
    return made


def test_every_byte_has_its_time(clock: Clock) -> None:
    line = Pace(1000)
    for count in (1, 999, 5000, 0, 4000):
        line.take(count)
    assert clock.now == pytest.approx(10)


def test_without_a_limit_nobody_waits(clock: Clock) -> None:
    Pace().take(1 << 40)
    assert clock.slept == 0


def test_time_that_passed_by_itself_is_not_waited_for_again(clock: Clock) -> None:
    line = Pace(1000)
    for _ in range(10):
        clock.now += 0.5  # the line is slower than the limit
        line.take(400)
    assert clock.slept == 0


def test_a_pause_is_made_up_for_a_second_and_no_longer(clock: Clock) -> None:
    line = Pace(1000)
    line.take(1000)
    clock.now += 3600
    began = clock.now
    line.take(10_000)
    assert clock.now - began == pytest.approx(10 - CREDIT)
