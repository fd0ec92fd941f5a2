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
    a vantage elsewhere, which has a line of its own.
    """

    server: str
    axis: Axis
    interval: timedelta
    see: Callable[[datetime], Evidence]
    target: str
    vantage: str = HERE
    by_our_line: bool = True

    @property
    def name(self) -> str:
        return f"{self.server}/{self.vantage}/{self.axis}"
