"""Combines the views of several vantages into the health of one axis. Pure.

Down needs at least `quorum` vantages that say down or lying, and none that says up: a single prober cannot tell a dead server from a
server that has banned it. One that says up is believed, unless it sits in the server's own network.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from failsafe.failover.health import VantageView
from failsafe.model import Axis, Verdict

BAD = frozenset({Verdict.DOWN, Verdict.LYING})


@dataclass(frozen=True, slots=True)
class AxisHealth:
    """`since_at`: since when the verdict holds; for down and lying, when the vantage that completed the quorum began to say so."""

    axis: Axis
    verdict: Verdict
    since_at: datetime | None
    reasons: tuple[str, ...]
    views: tuple[VantageView, ...]
    quorum: int
    vantages: int  # how many have a view or are configured

    @property
    def short_of_quorum(self) -> bool:
        """Too few vantages to ever say down; automatic failover then behaves as manual."""
        return self.vantages < self.quorum

    @property
    def last_at(self) -> datetime | None:
        return max((view.last_at for view in self.views if view.last_at is not None), default=None)


def combine(
    views: Iterable[VantageView],
    quorum: int,
    *,
    axis: Axis = Axis.INBOUND,
    configured: int = 0,
    near: frozenset[str] = frozenset(),
) -> AxisHealth:
    """The health of one axis.

    `configured` is the number of vantages in the configuration (some may have no evidence yet); `near` names those in the
    server's own network, which may say down but never up: senders are not in there.
    """
    assert quorum >= 1
    seen = tuple(
        sorted(
            (_without_up(view) if view.vantage in near else view for view in views if view.axis is axis),
            key=lambda view: view.vantage,
        )
    )
    up = [view for view in seen if view.verdict is Verdict.UP]
    bad = sorted((view for view in seen if view.verdict in BAD), key=lambda view: (view.since_at is None, view.since_at))
    reasons = [f"{view.vantage} says {view.verdict}: {'; '.join(view.reasons)}" for view in seen]
    verdict, since_at = Verdict.UNKNOWN, None
    if up:
        verdict, since_at = Verdict.UP, min((view.since_at for view in up if view.since_at is not None), default=None)
    elif len(bad) >= quorum:
        lying = sum(view.verdict is Verdict.LYING for view in bad)
        verdict, since_at = (Verdict.LYING if lying >= quorum else Verdict.DOWN), bad[quorum - 1].since_at
    elif bad:
        reasons.append(f"{len(bad)} of the {quorum} vantages needed say down: not enough to believe it")
    vantages = max(configured, len(seen))
    if vantages < quorum:
        reasons.append(f"{vantages} vantage(s) for a quorum of {quorum}: down can never be proved; configure another vantage")
    return AxisHealth(axis, verdict, since_at, (*reasons, *suspected_bans(seen)), seen, quorum, vantages)


def suspected_bans(views: Iterable[VantageView]) -> tuple[str, ...]:
    """A sentence for each vantage that seems to be shut out by the server (fail2ban, a firewall) rather than seeing an outage."""
    known = tuple(views)
    others_see_it = any(view.verdict is Verdict.UP for view in known)
    return tuple(
        f"{view.vantage} seems to be banned or blocked there" + ("" if view.blocked else ": others see the server up")
        for view in known
        if view.blocked or (others_see_it and view.verdict is Verdict.DOWN)
    )


def _without_up(view: VantageView) -> VantageView:
    if view.verdict is not Verdict.UP:
        return view
    reason = "it sits in the server's own network, so its 'up' does not count"
    return replace(view, verdict=Verdict.UNKNOWN, reasons=(*view.reasons, reason))
