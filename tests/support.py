"""Helpers that tests of every kind share. Standard library only: the lab and the demo use them too."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class NotInTimeError(AssertionError):
    """What a test waited for did not come; the message holds the last thing seen."""


def wait_until(predicate: Callable[[], T], seconds: float, what: str, every: float = 0.05) -> T:
    """Ask `predicate` until its answer is true, and return that answer.

    The predicate is asked at least once, and once more after the deadline, so that a machine that
    stalls for the whole time does not fail a test whose event did happen. An exception of the
    kinds that mean "not there yet" (OSError, AssertionError) counts as a false answer.

    Raises NotInTimeError after `seconds`, with the last answer or exception.
    """
    deadline = time.monotonic() + seconds
    while True:
        last_try = time.monotonic() >= deadline
        last: object
        try:
            answer = predicate()
            if answer:
                return answer
            last = answer
        except (OSError, AssertionError) as error:
            last = error
        if last_try:
            raise NotInTimeError(f"not within {seconds:g} s: {what}; last seen: {last!r}")
        time.sleep(every)
