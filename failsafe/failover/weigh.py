"""What a vantage's view is worth, by where it stands and how deep it looks. Pure.

- One in the mail server's own network may say down, never up: senders are not in there. Its silence never blocks.
- A shallow one (somebody else's monitor) sees that something answers, not whether mail is taken. Its "up" holds against a server that others cannot
  reach; where others were told lies or "later" to the known-good recipient, it saw nothing that contradicts them. And it never sees mail taken, which a
  failback needs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from failsafe.failover.health import VantageView
from failsafe.model import Axis, Verdict


@dataclass(frozen=True, slots=True)
class Standing:
    """Names of vantages."""

    near: frozenset[str] = frozenset()
    shallow: frozenset[str] = frozenset()


def weigh(views: Iterable[VantageView], standing: Standing) -> tuple[VantageView, ...]:
    """The views of inbound mail as a decision may use them; those of other axes as they are."""
    known = tuple(views)
    spoken_to = any(_spoke_with_it(view, standing) for view in known)
    return tuple(_weighed(view, standing, spoken_to=spoken_to) if view.axis is Axis.INBOUND else view for view in known)


def _spoke_with_it(view: VantageView, standing: Standing) -> bool:
    """Whether a vantage has the server's own word that it takes no mail."""
    refused = view.verdict is Verdict.LYING or (view.verdict is Verdict.DOWN and view.degraded)
    return refused and view.axis is Axis.INBOUND and view.vantage not in standing.shallow


def _weighed(view: VantageView, standing: Standing, *, spoken_to: bool) -> VantageView:
    if view.verdict is not Verdict.UP:
        return view
    if view.vantage in standing.near:
        return _without_up(view, "it sits in the server's own network, so its 'up' does not count")
    if view.vantage in standing.shallow:
        if spoken_to:
            return _without_up(view, "it sees only that something answers, which others do too, and are refused")
        return replace(view, taking_since_at=None)
    return view


def _without_up(view: VantageView, reason: str) -> VantageView:
    return replace(view, verdict=Verdict.UNKNOWN, reasons=(*view.reasons, reason), taking_since_at=None)


class Seen(Protocol):
    """What of a view tells whether its vantage is shut out."""

    @property
    def vantage(self) -> str: ...
    @property
    def verdict(self) -> Verdict: ...
    @property
    def degraded(self) -> bool: ...


def suspected_bans(views: Iterable[Seen], shallow: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """The vantages that the server seems to shut out (fail2ban, a firewall) rather than being down: they cannot reach it, others can.

    `views` are of inbound mail. A monitor of somebody else is left out: its "down" may be its own opinion.
    """
    known = tuple(views)
    others_see_it = any(view.verdict is Verdict.UP for view in known)
    return tuple(
        view.vantage
        for view in known
        if others_see_it and view.verdict is Verdict.DOWN and not view.degraded and view.vantage not in shallow
    )
