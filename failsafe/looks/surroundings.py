"""What is looked at beside a mail server that cannot be reached: does port 25 work from here at all, do its other doors open, does it ban us?

Only then, and remembered for a while: whoever only knocks at ports is what fail2ban is made for.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from failsafe.adapters.smtp import Patience, SmtpProbe
from failsafe.adapters.sockets import CannotLook, ConnectFailed, Deadline
from failsafe.adapters.way import DIRECT, Way
from failsafe.failover.blocked_port import Beside, judge_unreached
from failsafe.looks.exchanges import Refusals, RememberedRefusals
from failsafe.model import Evidence, ProbeClass

REMEMBERED = timedelta(minutes=5)  # whether port 25 works, and whether we are banned
DOOR_REST = timedelta(minutes=15)  # after a door opened: a knock each minute would be taken for a scanner's
SHARE = 0.3  # of an interval, for each of the other exchange and all doors: evidence is stale after three, and the look itself may take half of that
DOORS_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Door:
    """Another port of the mail server, under the name that a person knows it by."""

    name: str
    host: str
    port: int


class Surroundings:
    """Of one mail server, seen from one vantage. `others`: each asks an exchange of a secondary, by name, without a recipient.

    `refusals`: which of them refused this prober, and are left alone. `stands` says how somebody has just logged in at the server, "" where nobody has; `banned` how it bans us, "" if it does not or nobody can say.
    """

    def __init__(
        self,
        others: Mapping[str, SmtpProbe],
        doors: Sequence[Door],
        every: timedelta,
        *,
        way: Way = DIRECT,
        refusals: Refusals | None = None,
        stands: Callable[[datetime], str] = lambda _now: "",
        banned: Callable[[], str] = lambda: "",
    ) -> None:
        self._others, self._doors, self._way = dict(others), tuple(doors), way
        self._refusals = refusals or RememberedRefusals()
        self._stands, self._banned = stands, banned
        self._remembered = min(REMEMBERED, every * 5).total_seconds()
        self._door_rest = min(DOOR_REST, every * 15).total_seconds()
        self._doors_seconds = min(DOORS_SECONDS, every.total_seconds() * SHARE)
        self._port: tuple[bool | None, Deadline] | None = None
        self._open: tuple[str, Deadline] | None = None
        self._ban: tuple[str, Deadline] | None = None
        self._asking: threading.Thread | None = None

    @property
    def port_is_blocked(self) -> bool:
        """Known for a while, in which port 25 need not be tried."""
        return self._port is not None and self._port[0] is False and self._port[1].left > 0

    def judge(self, evidence: Evidence) -> Evidence:
        """Evidence of a server that nobody answered for, in the light of what is seen beside it."""
        beside = self._look(evidence.at)
        judged = judge_unreached(evidence, beside)
        if judged.seen is ProbeClass.DOWN and beside.port_works is not False:
            ban = self._banned_now()
            if ban:
                return Evidence(
                    judged.server, judged.vantage, judged.axis, ProbeClass.BANNED, judged.at, ban, judged.target, judged.seconds
                )
        return judged

    def _look(self, now: datetime) -> Beside:
        if self._port is None or self._port[1].left <= 0:
            self._port = (self._ask_others(now), Deadline(self._remembered))
        works = self._port[0]
        return Beside(
            works, self._knock(now) if works is False else (), ", ".join(other.target for other in self._others.values())
        )

    def _ask_others(self, now: datetime) -> bool | None:
        """Whether one of them answers, and be it that it refuses us; None where that cannot be said."""
        works: bool | None = None
        resting = False
        for name, other in self._others.items():
            if self._refusals.until(name, now) is not None:
                resting = True
                continue
            sight = other.look()
            self._refusals.note(name, sight.seen, now)
            if sight.connected:
                return True
            if sight.seen is not ProbeClass.UNKNOWN:  # else its name does not resolve, or there is no route to it
                works = False
        return None if resting else works

    def _knock(self, now: datetime) -> tuple[tuple[str, bool], ...]:
        """The doors one after the other, until one opens."""
        told = self._stands(now)
        if told:
            return ((told, True),)
        if self._open is not None and self._open[1].left > 0:
            return ((self._open[0], True),)
        self._open, tried = None, []
        whole = Deadline(self._doors_seconds)
        for place, door in enumerate(self._doors):
            opened = self._opens(door, whole.sooner(whole.left / (len(self._doors) - place)))
            tried.append((door.name, opened))
            if opened:
                self._open = (door.name, Deadline(self._door_rest))
                break
        return tuple(tried)

    def _opens(self, door: Door, deadline: Deadline) -> bool:
        with contextlib.suppress(CannotLook):
            for address in self._way.look_up(door.host, door.port, deadline):
                with contextlib.suppress(ConnectFailed):
                    self._way.connect(address, deadline).close()
                    return True
        return False

    def _banned_now(self) -> str:
        """As last heard. It is asked beside the looks, since a server that is really dead lets us wait."""
        if (self._ban is None or self._ban[1].left <= 0) and (self._asking is None or not self._asking.is_alive()):
            self._asking = threading.Thread(target=self._ask_bans, name="asking for bans", daemon=True)
            self._asking.start()
        return "" if self._ban is None else self._ban[0]

    def _ask_bans(self) -> None:
        self._ban = (self._banned(), Deadline(self._remembered))


def port_patience(every: timedelta) -> Patience:
    """For the other exchange, which is only asked whether it answers."""
    seconds = every.total_seconds() * SHARE
    return Patience(min(5.0, seconds), min(8.0, seconds), min(15.0, seconds), min(8.0, seconds), min(30.0, seconds))


@dataclass(frozen=True, slots=True)
class InboundLook:
    """Looks as a sender does, and around where nobody answers. `held`: the refusal that the probe holds to this time (looks/sparing.py)."""

    probe: SmtpProbe
    around: Surroundings
    held: Callable[[datetime], Evidence | None] = lambda _now: None

    def see(self, now: datetime) -> Evidence:
        if self.around.port_is_blocked:
            return self.around.judge(self.probe.not_tried(now))
        evidence, answered = self.probe.see(now, self.held(now))
        return evidence if answered or evidence.seen is not ProbeClass.DOWN else self.around.judge(evidence)
