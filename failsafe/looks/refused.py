"""Recipients that an exchange refuses: each refusal is a line that fail2ban may count there, so they are rationed, for each exchange and place.

Only at a secondary of one's own: a large provider bans nobody for a handful of them.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from failsafe.app import App
from failsafe.failover.rounds import ASKED_AGAIN_LATER
from failsafe.looks.look import HERE
from failsafe.model import ProbeClass

MOST = 5  # in a week: docker-mailserver's fail2ban bans for a week at the sixth
RECIPIENTS_KEPT = 20
RATIONED = "it has refused recipients five times in a week, and the next refusal may get this machine banned there: it is asked again in some days"


class RefusedRecipients:
    """Of one exchange, asked from one place; what is noted is kept at once. Its methods raise StoreError."""

    def __init__(self, app: App, exchange: str, vantage: str = HERE) -> None:
        self._app = app
        self._duty = f"refused:{exchange}" if vantage == HERE else f"refused:{exchange}@{vantage}"
        row = app.duties.all().get(self._duty)
        details = {} if row is None else row.details
        self._at: list[str] = details.get("at", [])
        self._told: dict[str, list[str]] = details.get("told", {})

    def left(self, now: datetime) -> int:
        """How many more may be risked now."""
        return MOST - len(self._lately(now))

    def note(self, count: int, now: datetime, told: tuple[str, ProbeClass, str] | None = None) -> None:
        """`told`: a recipient, how the exchange took it, and what it said."""
        if told is not None:
            recipient, seen, text = told
            self._told = {**dict(list(self._told.items())[-RECIPIENTS_KEPT:]), recipient: [now.isoformat(), str(seen), text]}
        self._at = [*self._lately(now), *[now.isoformat()] * count]
        self._app.duties.ended(self._duty, now, ok=True, details={"at": self._at, "told": self._told})

    def told(self, recipient: str) -> tuple[datetime, ProbeClass, str] | None:
        """What was said to it the last time it was refused: when, how, the words."""
        if recipient not in self._told:
            return None
        at, seen, text = self._told[recipient]
        return datetime.fromisoformat(at), ProbeClass(seen), text

    def _lately(self, now: datetime) -> list[str]:
        return [at for at in self._at if timedelta(0) <= now - datetime.fromisoformat(at) < ASKED_AGAIN_LATER]
