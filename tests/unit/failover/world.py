"""Facts to vary: one healthy domain, and small helpers that change one thing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from failsafe.failover.facts import DomainFacts, Policy, PrimaryCheck, PrimaryProof, Readiness, ZoneReading
from failsafe.failover.health import VantageView
from failsafe.failover.zone import MxLayout
from failsafe.model import (
    DomainRecord,
    DomainState,
    FlipKind,
    Intent,
    Mode,
    MxSet,
    Outcome,
    OwnLine,
    ServerAnswer,
    Side,
    Strategy,
    Verdict,
)

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DOMAIN, MAIL, AWAY = "example.org", "mail.example.org", "mx.away.example"
PEACE = MxSet.of((10, MAIL), ttl_seconds=60)
OUTAGE = MxSet.of((5, AWAY), (10, MAIL), ttl_seconds=60)
LAYOUT = MxLayout(Strategy.ON_DEMAND, (MAIL,), (AWAY,))
POLICY = Policy(DOMAIN, DOMAIN, "vps", LAYOUT, Mode.AUTO, vantages=2)


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


def view(name: str, verdict: Verdict, lasts: float, now: datetime = NOW, *, blocked: bool = False) -> VantageView:
    since = now - minutes(lasts)
    return VantageView(name, verdict, since, now, blocked=blocked, taking_since_at=since if verdict is Verdict.UP else None)


def reading(found: MxSet) -> ZoneReading:
    return ZoneReading(found, (ServerAnswer("ns1", found), ServerAnswer("ns2", found)))


def record(state: DomainState = DomainState.NORMAL, lasts: float = 60, **more: object) -> DomainRecord:
    at_secondary = state in (DomainState.FAILED_OVER, DomainState.RECOVERING, DomainState.FAILING_BACK)
    fresh = DomainRecord(DOMAIN, state, NOW - minutes(lasts), Side.SECONDARY if at_secondary else Side.PRIMARY, epoch=3)
    if at_secondary:
        fresh = replace(fresh, previous=PEACE, written=OUTAGE, suspected_at=NOW - minutes(90))
    if state is DomainState.SUSPECT:
        fresh = replace(fresh, suspected_at=fresh.since_at, previous=PEACE)
    return replace(fresh, **more)  # type: ignore[arg-type]


def flip(kind: FlipKind = FlipKind.FAILOVER, ago: float = 10, outcome: Outcome | None = Outcome.DONE) -> Intent:
    at = NOW - minutes(ago)
    ended = None if outcome is None else at
    return Intent(1, DOMAIN, 2, kind, "nas", "test", at, at + minutes(5), PEACE, OUTAGE, "digest", outcome, ended)


def proof(*broken: str, ago: float = 1) -> PrimaryProof:
    codes = ("tls", "host-key", "login", "accounts", "store", "disk", "queue")
    return PrimaryProof(NOW - minutes(ago), tuple(PrimaryCheck(code, code not in broken, f"{code} looked at") for code in codes))


@dataclass(frozen=True)
class Scene:
    """Ready-made facts."""

    @staticmethod
    def peace() -> DomainFacts:
        views = (view("here", Verdict.UP, 600), view("vps2", Verdict.UP, 600))
        line = OwnLine(NOW - timedelta(seconds=10), 3, 3)
        return DomainFacts(POLICY, record(), views, line, reading(PEACE), Readiness(), True, NOW - timedelta(days=1))

    @staticmethod
    def down(lasts: float = 16) -> DomainFacts:
        views = (view("here", Verdict.DOWN, lasts), view("vps2", Verdict.DOWN, lasts))
        return replace(Scene.peace(), record=record(DomainState.SUSPECT, lasts), views=views)

    @staticmethod
    def recovered(lasts: float = 31) -> DomainFacts:
        views = (view("here", Verdict.UP, lasts), view("vps2", Verdict.UP, lasts))
        back = record(DomainState.RECOVERING, lasts)
        return replace(Scene.peace(), record=back, views=views, zone=reading(OUTAGE), primary=proof())
