"""Helpers that tests of every kind share. Standard library only: the lab and the demo use them too."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# For an sshd_config: as on a mail server. bash under sshd reads ~/.bashrc unless it is a shell in a shell, and a developer's may do much at each session:
# with pyenv's, sessions waited for its lock, a minute at a time.
AS_ON_A_SERVER = "SetEnv SHLVL=5 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


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


class Moments:
    """When to kill a job: at random fractions of how long an uninterrupted run takes.

    The first run is left to its end, to be measured; so is every one that ends before its kill, since later ones may have less to do or
    the machine may have become faster. So most kills land whatever the machine is.
    """

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._whole = 0.0
        self.measured_now = False  # the last run came to its end
        self.tried: list[str] = []

    def __repr__(self) -> str:
        return f"tried: {', '.join(self.tried)}"

    def try_once(self, run: Callable[[float], bool], longest: float = 120.0) -> bool:
        """`run` gets the seconds after which to kill, and says whether it did. Gives its answer."""
        patience = self._chance.uniform(0.1, 0.9) * self._whole if self._whole else longest
        started = time.monotonic()
        killed = run(patience)
        took = time.monotonic() - started
        self.measured_now = not killed
        if not killed:
            self._whole = took
        self.tried.append(f"{'killed after' if killed else 'ended after'} {took:.2f} s")
        return killed
