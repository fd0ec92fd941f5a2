"""One look at one axis of one mail server from one vantage, made again and again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from failsafe.model import Axis, Evidence

HERE = "here"  # the vantage that always exists


@dataclass(frozen=True, slots=True)
class Look:
    """`see` takes the moment and gives evidence; it has a deadline of its own and never raises for anything that the world can do.

    `target` is what is looked at, as the evidence names it. `by_our_line`: where our own line is down, what it sees says nothing; False for
    a vantage elsewhere, which has a line of its own. `password_file` is the login that it tries, if any: one that is refused is not tried again by
    any look that uses it before the file changes.
    """

    server: str
    axis: Axis
    interval: timedelta
    see: Callable[[datetime], Evidence]
    target: str
    vantage: str = HERE
    by_our_line: bool = True
    password_file: str = ""

    @property
    def name(self) -> str:
        return f"{self.server}/{self.vantage}/{self.axis}"
