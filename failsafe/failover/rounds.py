"""Which probes are due. Pure: the jitter is a hash of the probe's name and its last run, so that a restart changes nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from failsafe.failover.health import EvidenceRun
from failsafe.model import ProbeClass

JITTER = 0.2  # of the interval, both ways: probes of several servers and controllers do not march in step
REFUSED_PROBER_PAUSE = timedelta(
    days=3, hours=12
)  # twice a week: six mistakes in a week are a week's ban with docker-mailserver's fail2ban
REFUSED_LOGIN_PAUSE = timedelta(hours=1)  # a wrong password in a loop bans us and locks the account
LOGIN_REFUSED = "login refused"  # how the text of such evidence begins, whatever the adapter


@dataclass(frozen=True, slots=True)
class Probe:
    """One thing to look at: `name` is stable ("vps/here/inbound"); `history` is what it saw so far."""

    name: str
    interval: timedelta
    last_run_at: datetime | None
    history: tuple[EvidenceRun, ...] = ()


def due_probes(probes: Iterable[Probe], now: datetime) -> tuple[Probe, ...]:
    """Those whose time has come and that may look, longest waiting first."""
    due = [probe for probe in probes if next_run_at(probe, now) <= now and may_probe(probe.history, now)]
    return tuple(sorted(due, key=lambda probe: (probe.last_run_at is not None, probe.last_run_at, probe.name)))


def next_run_at(probe: Probe, now: datetime) -> datetime:
    """When the probe is due next; at once if it never ran, or if its last run lies in the future (the clock went back)."""
    last = probe.last_run_at
    if last is None or last > now:
        return now
    return last + probe.interval * (1 + JITTER * _spread(f"{probe.name} {last.isoformat()}"))


def may_probe(history: Iterable[EvidenceRun], now: datetime) -> bool:
    """False while this vantage should keep quiet, because the server refuses the prober itself or its login."""
    return quiet_until(history, now) is None


def quiet_until(history: Iterable[EvidenceRun], now: datetime) -> datetime | None:
    """Until when to keep quiet; None where there is no reason to."""
    newest = max(history, key=lambda run: run.last_at, default=None)
    if newest is None or newest.last_at > now:
        return None
    if newest.evidence.seen is ProbeClass.PROBE_BLOCKED:
        pause = REFUSED_PROBER_PAUSE
    elif newest.evidence.text.startswith(LOGIN_REFUSED):
        pause = REFUSED_LOGIN_PAUSE
    else:
        return None
    until = newest.last_at + pause
    return until if until > now else None


def _spread(seed: str) -> float:
    """A number from -1 to 1, the same for the same seed."""
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4], "big") / 0xFFFFFFFF * 2 - 1
