"""Spares a mail server refusals and broken handshakes: who brings too many of them is banned, and then a mended server looks dead."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from failsafe.app import App
from failsafe.failover.rounds import asks_for_recipient, repeats_handshake
from failsafe.looks.look import HERE
from failsafe.model import Axis, Evidence

if TYPE_CHECKING:
    from failsafe.adapters.smtp import SmtpProbe

USUAL_DOWN_FOR = timedelta(minutes=15)


def sparing(app: App, probe: SmtpProbe, server: str, vantage: str = HERE) -> Callable[[datetime], Evidence | None]:
    """The refusal that `probe` holds to, so that it ends before the recipient, while that was asked for often enough (`rounds.asks_for_recipient`).

    The probe is told what an earlier process knew of broken TLS, too, as each `failsafe tick` is one.
    """
    table = app.config.probe[server]
    down_for = min((row.down_for for row in app.config.domain.values() if row.server == server), default=USUAL_DOWN_FOR)

    def held(now: datetime) -> Evidence | None:
        newest = app.history.newest(server, vantage, Axis.INBOUND)
        run = newest[-1] if newest and newest[-1].evidence.target == probe.target else None
        if run is not None and not repeats_handshake(run, now, table.every):
            probe.remember(run.evidence)
        if run is None or not table.spare_refusals or asks_for_recipient(run, now, table.every, down_for):
            return None
        return run.evidence

    return held
