"""What a vantage's view is worth, by where it stands and how deep it looks. Pure.

- One in the mail server's own network may say down, never up: senders are not in there. Its silence never blocks.
- A shallow one (somebody else's monitor) sees that something answers, not whether mail is taken. So its "up" refutes those who could not reach the
  server, and nobody who spoke with it: who was told lies or "later", or whose call was taken and not served, saw more than a monitor can. Where somebody
  did, the "up" does not count, and neither does the "down" of those whom it refutes. And it never sees mail taken, which a failback needs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from failsafe.failover.health import VantageView
from failsafe.model import Axis, Verdict


@dataclass(frozen=True, slots=True)
class Standing:
    """Names of vantages, and how many of them must agree."""

    near: frozenset[str] = frozenset()
    shallow: frozenset[str] = frozenset()
    quorum: int = 2


def weigh(views: Iterable[VantageView], standing: Standing) -> tuple[VantageView, ...]:
    """The views of inbound mail as a decision may use them; those of other axes as they are."""
    known = tuple(views)
    inbound = [view for view in known if view.axis is Axis.INBOUND]
    spoke = frozenset(view.vantage for view in inbound if _spoke_with_it(view, standing))
    refuted = any(view.verdict is Verdict.UP and _is_monitor(view, standing) for view in inbound) if spoke else False
    return tuple(_weighed(view, standing, spoke=spoke, refuted=refuted) if view.axis is Axis.INBOUND else view for view in known)


def _is_monitor(view: VantageView, standing: Standing) -> bool:
    """A monitor outside of the server's own network."""
    return view.vantage in standing.shallow and view.vantage not in standing.near


def _spoke_with_it(view: VantageView, standing: Standing) -> bool:
    """Whether a vantage has seen by itself that who reaches the server is not served."""
    # With a quorum of one nothing but the monitor stands between a failover and a line that swallows port 25, which answers for the server.
    unserved = view.degraded or (view.answered and standing.quorum > 1)
    refused = view.verdict is Verdict.LYING or (view.verdict is Verdict.DOWN and unserved)
    return refused and view.vantage not in standing.shallow


def _weighed(view: VantageView, standing: Standing, *, spoke: frozenset[str], refuted: bool) -> VantageView:
    if view.verdict is Verdict.DOWN and refuted and view.vantage not in spoke:
        return _silenced(view, "others reach it, so it is not dead; and whether it takes mail could not be seen")
    if view.verdict is not Verdict.UP:
        return view
    if view.vantage in standing.near:
        return _silenced(view, "it sits in the server's own network, so its 'up' does not count")
    if view.vantage in standing.shallow:
        if spoke:
            return _silenced(view, "it sees only that something answers, which others do too, and are not served")
        return replace(view, taking_since_at=None)
    return view


def _silenced(view: VantageView, reason: str) -> VantageView:
    return replace(view, verdict=Verdict.UNKNOWN, reasons=(*view.reasons, reason), taking_since_at=None)


class Seen(Protocol):
    """What of a view tells whether its vantage is shut out."""

    @property
    def vantage(self) -> str: ...
    @property
    def verdict(self) -> Verdict: ...
    @property
    def degraded(self) -> bool: ...
    @property
    def answered(self) -> bool: ...


def suspected_bans(views: Iterable[Seen], shallow: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """The vantages that the server seems to shut out (fail2ban, a firewall) rather than being down: they cannot reach it, others can.

    `views` are of inbound mail. A monitor of somebody else is left out: its "down" may be its own opinion.
    """
    known = tuple(views)
    others_see_it = any(view.verdict is Verdict.UP for view in known)
    return tuple(
        view.vantage
        for view in known
        if others_see_it and view.verdict is Verdict.DOWN and not (view.degraded or view.answered) and view.vantage not in shallow
    )
