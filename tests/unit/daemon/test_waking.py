"""The ticker's sleep ends when somebody nudges it, and a late thread writes to nobody else's file."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from failsafe.daemon.waking import Waker

LONG = 60.0


@pytest.fixture
def waker() -> Iterator[Waker]:
    made = Waker()
    made.open()
    yield made
    made.close()


def slept(waker: Waker) -> float:
    begun = time.monotonic()
    waker.sleep(LONG)
    return time.monotonic() - begun


def test_a_nudge_from_another_thread_ends_the_sleep(waker: Waker) -> None:
    threading.Timer(0.05, waker.nudge).start()
    assert slept(waker) < LONG / 2


def test_a_nudge_before_the_sleep_is_not_lost_and_many_are_one(waker: Waker) -> None:
    for _ in range(100_000):  # more than a pipe holds
        waker.nudge()
    assert slept(waker) < LONG / 2


def test_a_nudge_when_nobody_sleeps_any_more_is_nothing(waker: Waker) -> None:
    waker.close()
    waker.nudge()
    waker.close()
