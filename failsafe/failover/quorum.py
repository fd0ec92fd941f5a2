"""Combines the views of several vantages into the health of one axis. Pure.

Down needs at least `quorum` vantages that say down or lying, and none that says up: a single prober cannot tell a dead server from a
server that has banned it. One that says up is believed, unless it sits in the server's own network.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from failsafe.failover.facts import AGAINST
from failsafe.failover.health import VantageView
from failsafe.failover.weigh import Standing, suspected_bans, weigh
from failsafe.model import Axis, Verdict


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
    standing: Standing = Standing(),  # noqa: B008 - frozen
) -> AxisHealth:
    """The health of one axis.

    `configured` is the number of vantages in the configuration (some may have no evidence yet).
    """
    assert quorum >= 1
    weighed = weigh((view for view in views if view.axis is axis), standing)
    seen = tuple(sorted(weighed, key=lambda view: view.vantage))
    up = [view for view in seen if view.verdict is Verdict.UP]
    bad = sorted((view for view in seen if view.verdict in AGAINST), key=lambda view: (view.since_at is None, view.since_at))
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
    return AxisHealth(axis, verdict, since_at, (*reasons, *_bans(seen, standing)), seen, quorum, vantages)


def _bans(views: tuple[VantageView, ...], standing: Standing) -> tuple[str, ...]:
    """A sentence for each vantage that seems to be shut out by the server (fail2ban, a firewall) rather than seeing an outage."""
    blocked = {view.vantage for view in views if view.blocked}
    shut_out = [name for name in suspected_bans(views, standing.shallow) if name not in blocked]
    said = [f"{name} seems to be banned or blocked there" for name in sorted(blocked)]
    return (*said, *(f"{name} seems to be banned or blocked there: others see the server up" for name in shut_out))
