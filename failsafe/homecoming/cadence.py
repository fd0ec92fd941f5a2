"""How often a secondary is gathered from. Pure."""

from __future__ import annotations

from datetime import timedelta

from failsafe.model import DomainState

IN_OUTAGE = timedelta(minutes=5)  # mail may be nowhere else
IN_PEACE = timedelta(hours=1)  # a 4xx of the primary, spam, the provider's own customers: some mail always goes there


def gather_every(state: DomainState, *, draining: bool) -> timedelta:
    """From the first doubt on, so that it has begun before the flip, and until a domain that came home has drained."""
    return IN_PEACE if state is DomainState.NORMAL and not draining else IN_OUTAGE
