"""What `status` says of flips that would have been made, and of a halted domain. Pure."""

from __future__ import annotations

from datetime import tzinfo

from failsafe.model import FlipKind, Mode, ObservedFlip
from failsafe.render import spoken_age, spoken_instant
from failsafe.status.values import DomainStatus


def render_observed(domain: DomainStatus, zone: tzinfo) -> list[str]:
    """Of a domain in mode observe: each flip it would have made, the newest first, and why."""
    if domain.mode != Mode.OBSERVE:
        return []
    if not domain.observed:
        return ["observe: no flip would have been made so far"] if domain.vantages else []
    return [f"observe: {_spoken(flip, zone)}" for flip in reversed(domain.observed)]


def _spoken(flip: ObservedFlip, zone: tzinfo) -> str:
    kind = "failed over" if flip.kind is FlipKind.FAILOVER else "failed back"
    at, why = spoken_instant(flip.at, zone), "; ".join(flip.why)
    over = "" if flip.over_at is None else f"; the primary took mail again {spoken_age(flip.over_at - flip.at)} later"
    if flip.guards:
        return f"{at} a {flip.kind} was due ({why}), and would have been held up by {'; '.join(flip.guards)}{over}"
    change = f" ({'; '.join(flip.change)})" if flip.change else ""
    return f"{at} would have {kind}{change}, because {why}{over}"


def render_halt(domain: DomainStatus) -> list[str]:
    """Why, what was found, what was expected, and the ways out."""
    return [] if domain.halt is None else [f"halted: {domain.reason or 'no reason is known'}", *domain.halt.lines()]
