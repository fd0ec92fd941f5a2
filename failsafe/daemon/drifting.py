"""In peace the zone is watched: a change that failsafe did not make is told once, and asked about; it is never fought.

The guard `drift` already keeps the domain where it is. What was told is remembered in the database, so that a restart tells nothing twice.
"""

from __future__ import annotations

from datetime import datetime

from failsafe.app import App
from failsafe.domains import Round
from failsafe.events import Event
from failsafe.failover.drift import drift_over_event, drift_seen, drift_told_event


class DriftWatch:
    """Used by one thread."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._told: dict[str, str] = {}

    def look(self, round_: Round, now: datetime) -> None:
        """Tells what is new about one domain's zone after a decision. Raises StoreError."""
        domain, seen = round_.facts.policy.domain, drift_seen(round_.facts, round_.decision.guards)
        if seen is None or seen == self._known(domain):
            return
        event = drift_told_event(round_.facts, seen, now) if seen else drift_over_event(round_.facts, now)
        self._keep(domain, seen, event, now)

    def _keep(self, domain: str, seen: str, event: Event, now: datetime) -> None:
        self._app.record(event)
        self._app.duties.ended(_duty(domain), now, ok=True, details={"told": seen})
        self._told[domain] = seen

    def _known(self, domain: str) -> str:
        if domain not in self._told:
            row = self._app.duties.all().get(_duty(domain))
            self._told[domain] = "" if row is None else str(row.details.get("told", ""))
        return self._told[domain]


def _duty(domain: str) -> str:
    return f"drift:{domain}"
