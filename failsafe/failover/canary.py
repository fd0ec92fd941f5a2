"""Judges what became of canaries: the last that arrived, those that are awaited, those that are lost. Pure.

One that is not there after two intervals is lost; by then two more were sent after it, and where one of those arrived mail is delivered. So a
loss never rests on a single message. A canary that could not be sent says nothing, and while the third party does not take them nothing is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from failsafe.mail.canary import Canary
from failsafe.model import ProbeClass

CANARY_LOOKS = 3  # for each canary that is sent
LOST_AFTER = 2  # intervals
REMEMBERED = 50  # canaries


@dataclass(frozen=True, slots=True)
class Arrival:
    """A canary that was found. `place`: "" for the mailbox at the primary, else where."""

    canary: Canary
    arrived_at: datetime  # by the IMAP server's clock
    place: str = ""
    folder: str = "INBOX"

    @property
    def seconds(self) -> float:
        """How long it took; two clocks may differ by a little."""
        return max(0.0, (self.arrived_at - self.canary.sent_at).total_seconds())


@dataclass(frozen=True, slots=True)
class CanaryBook:
    """What is known of one server's canaries. `sent`: those not found yet, the oldest first. `refused`: why the last could not be sent; "" if it was."""

    sent: tuple[Canary, ...] = ()
    newest: Arrival | None = None  # of those found, the one sent last
    tried_at: datetime | None = None
    refused: str = ""
    login_refused: bool = False  # the third party's, which is not tried again before its password changes
    lost: int = 0  # of all: not found, although a later one was
    arrived: int = 0
    away: bool = False  # at the last look mail went to the secondary

    def note_sent(self, canary: Canary, refused: str = "", *, login_refused: bool = False) -> CanaryBook:
        """One was sent at `canary.sent_at`, or could not be."""
        kept = self.sent if refused else (*self.sent, canary)[-REMEMBERED:]
        return replace(self, sent=kept, tried_at=canary.sent_at, refused=refused, login_refused=login_refused)

    def note_found(self, arrival: Arrival) -> CanaryBook:
        """Also one that this book does not know (it was lost with an older state), or that arrived long after others."""
        kept = tuple(each for each in self.sent if each.number != arrival.canary.number)
        newest = self.newest
        if newest is None or newest.canary.sent_at <= arrival.canary.sent_at:
            newest = arrival
        return replace(self, sent=kept, newest=newest, arrived=self.arrived + 1)

    def settle(self, now: datetime, every: timedelta) -> CanaryBook:
        """Counts as lost what later ones have overtaken, and forgets it. `now`: by the clock that the canaries were sent by."""
        sent, newest = self._sent_by(now)
        late = now - every * LOST_AFTER
        gone = [each for each in sent if newest is not None and each.sent_at < newest.canary.sent_at and each.sent_at < late]
        return replace(self, sent=tuple(each for each in sent if each not in gone), newest=newest, lost=self.lost + len(gone))

    def _sent_by(self, now: datetime) -> tuple[tuple[Canary, ...], Arrival | None]:
        """What was sent "in the future" was sent by a clock that has been set back since: before now, whenever that was.

        Left as it is, one that arrived would pass for later than all that are lost until the clock comes there.
        """
        newest = self.newest
        if newest is not None and newest.canary.sent_at > now:
            newest = replace(newest, canary=replace(newest.canary, sent_at=now))
        return tuple(replace(each, sent_at=now) if each.sent_at > now else each for each in self.sent), newest

    def arrived_since(self, before: CanaryBook) -> Arrival | None:
        """The newest, where it was found after `before`. Known by its number: a clock set back has other dates."""
        known = None if before.newest is None else before.newest.canary.number
        return self.newest if self.newest is not None and self.newest.canary.number != known else None

    def is_due(self, now: datetime, every: timedelta) -> bool:
        return self.tried_at is None or now < self.tried_at or now - self.tried_at >= every

    def overdue(self, now: datetime, every: timedelta) -> tuple[Canary, ...]:
        """Accepted by the third party, not found in their time, and none sent later was found."""
        since = None if self.newest is None else self.newest.canary.sent_at
        return tuple(
            each for each in self.sent if now - each.sent_at > every * LOST_AFTER and (since is None or each.sent_at > since)
        )


def judge_canary(book: CanaryBook, now: datetime, every: timedelta) -> tuple[ProbeClass, str]:
    """Of delivery at the primary."""
    if book.refused:
        return ProbeClass.UNKNOWN, f"the canary could not be sent, which says nothing of the primary: {book.refused}"
    overdue = book.overdue(now, every)
    newest = book.newest
    if overdue:
        last = (
            "none has ever arrived" if newest is None else f"the last that arrived was sent at {newest.canary.sent_at:%H:%M} UTC"
        )
        text = f"{len(overdue)} canary(s) were accepted by the third party and never arrived, the first of {overdue[0].sent_at:%H:%M} UTC; {last}"
        # Where none ever arrived the way itself may be wrong: a typing error in `to`, a filter.
        return (ProbeClass.UNKNOWN if newest is None else ProbeClass.DOWN), text
    if newest is not None and newest.place:
        return ProbeClass.UNKNOWN, f"the last canary arrived at {newest.place}, {newest.seconds:.0f} s after it was sent"
    if newest is not None:
        where = "" if newest.folder == "INBOX" else f" in {newest.folder}: teach the filter that it is no spam"
        return ProbeClass.UP, f"the last canary arrived {newest.seconds:.0f} s after it was sent{where}"
    return ProbeClass.UNKNOWN, "no canary has arrived yet" if book.sent else "no canary was sent yet"


def looked_for_until(now: datetime, every: timedelta) -> datetime:
    """A canary that the server took until then would have been found by now, if it arrived: two looks at the mailbox have come since.

    One taken later says nothing of those that are missing: they may never have come here, and it is about to be found.
    """
    return now - every * 2 / CANARY_LOOKS


def lost_from(book: CanaryBook, now: datetime, every: timedelta) -> datetime | None:
    """When the first canary was sent that seems to be lost at the primary; None where none does."""
    if book.away or judge_canary(book, now, every)[0] is not ProbeClass.DOWN:
        return None
    return min(each.sent_at for each in book.overdue(now, every))


def book_to_json(book: CanaryBook) -> dict[str, Any]:
    newest = book.newest
    return {
        "sent": [_canary_json(each) for each in book.sent],
        "newest": None
        if newest is None
        else {
            **_canary_json(newest.canary),
            "arrived_at": newest.arrived_at.isoformat(),
            "place": newest.place,
            "folder": newest.folder,
        },
        "tried_at": None if book.tried_at is None else book.tried_at.isoformat(),
        "refused": book.refused,
        "login_refused": book.login_refused,
        "lost": book.lost,
        "arrived": book.arrived,
        "away": book.away,
    }


def book_of_json(server: str, row: Mapping[str, Any]) -> CanaryBook:
    """Raises ValueError, TypeError or KeyError for what no book of ours says."""
    newest = row["newest"]
    arrival = None
    if newest is not None:
        arrived_at = datetime.fromisoformat(newest["arrived_at"])
        arrival = Arrival(_canary(server, newest), arrived_at, str(newest["place"]), str(newest["folder"]))
    return CanaryBook(
        tuple(_canary(server, each) for each in row["sent"][-REMEMBERED:]),
        arrival,
        None if row["tried_at"] is None else datetime.fromisoformat(row["tried_at"]),
        str(row["refused"]),
        bool(row.get("login_refused", False)),
        int(row["lost"]),
        int(row["arrived"]),
        bool(row["away"]),
    )


def _canary_json(canary: Canary) -> dict[str, Any]:
    return {"number": canary.number, "sent_at": canary.sent_at.isoformat()}


def _canary(server: str, row: Mapping[str, Any]) -> Canary:
    return Canary(server, str(row["number"]), datetime.fromisoformat(row["sent_at"]))
