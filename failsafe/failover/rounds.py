"""Which probes are due. Pure: the jitter is a hash of the probe's name and its last run, so that a restart changes nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from failsafe.failover.evidence import LYING_SHARE
from failsafe.failover.health import STALE_AFTER_INTERVALS, EvidenceRun
from failsafe.model import Axis, ProbeClass, Sign

JITTER = 0.2  # of the interval, both ways: probes of several servers and controllers do not march in step
REFUSED_PROBER_PAUSE = timedelta(
    days=3, hours=12
)  # twice a week: six mistakes in a week are a week's ban with docker-mailserver's fail2ban
# Unless the password changes. A wrong one in a loop, and be it once an hour, bans us and locks the account, and one failure can be three lines of log.
REFUSED_LOGIN_PAUSE = timedelta(days=8)
REFUSED_FOR_NOW_PAUSE = timedelta(hours=1)  # a 4xx may be a name server's bad minute: it is asked again once before that
WITHHELD_LOGIN_PAUSE = timedelta(
    hours=1
)  # connections without a login are what strict filters count: the first four an hour apart,
WITHHELD_LOGIN_AT_FIRST = 4  # the others as those of a prober that is refused
# When a recipient that is refused is asked for again, after the first refusal. Each refusal may count for a ban, and six of a week are a week's ban.
ASKED_AGAIN_SOON = 0.75  # of an interval
ASKED_AGAIN = timedelta(hours=3)
HANDSHAKE_AGAIN_HOURS = (1, 7, 43)
ASKED_AGAIN_LATER = timedelta(days=7, hours=1)  # fail2ban with docker-mailserver remembers for a week


@dataclass(frozen=True, slots=True)
class Probe:
    """One thing to look at: `name` is stable ("vps/here/inbound"); `history` is what it saw so far.

    `logins` is the newest that every probe with the same login saw, whose password last changed at `login_changed_at` (None: nobody knows).
    """

    name: str
    interval: timedelta
    last_run_at: datetime | None
    history: tuple[EvidenceRun, ...] = ()
    logins: tuple[EvidenceRun, ...] = ()
    login_changed_at: datetime | None = None

    def quiet_until(self, now: datetime) -> datetime | None:
        """Until when to keep quiet, whatever the reason; None where there is none."""
        waits = (
            quiet_until(self.history, now, self.login_changed_at),
            login_quiet_until(self.logins, now, self.login_changed_at),
        )
        return max((wait for wait in waits if wait is not None), default=None)


def due_probes(probes: Iterable[Probe], now: datetime) -> tuple[Probe, ...]:
    """Those whose time has come and that may look, longest waiting first."""
    due = [probe for probe in probes if next_run_at(probe, now) <= now and probe.quiet_until(now) is None]
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


def quiet_until(history: Iterable[EvidenceRun], now: datetime, login_changed_at: datetime | None = None) -> datetime | None:
    """Until when to keep quiet; None where there is no reason to. A refused login waits no longer once its password has changed."""
    known = tuple(history)
    newest = max(known, key=lambda run: run.last_at, default=None)
    if newest is None or newest.last_at > now:
        return None
    seen, signs = newest.evidence.seen, newest.evidence.signs
    if seen is ProbeClass.PROBE_BLOCKED or (seen is ProbeClass.BANNED and Sign.SAYS_BANNED in signs):
        return _still(newest.last_at + _refused_pause(known, now), now)
    if Sign.BAD_CERTIFICATE in signs and newest.evidence.axis is not Axis.INBOUND:
        return _still(newest.last_at + _withheld_pause(known, now), now)
    return login_quiet_until((newest,), now, login_changed_at)


def login_quiet_until(logins: Iterable[EvidenceRun], now: datetime, login_changed_at: datetime | None) -> datetime | None:
    """Until when a login that was refused is not tried again, by none of the probes that use it: not before its password changes or a week has passed."""
    refused = [run.last_at for run in logins if Sign.LOGIN_REFUSED in run.evidence.signs and run.last_at <= now]
    last = max(refused, default=None)
    if last is None or (login_changed_at is not None and last < login_changed_at <= now):
        return None
    return _still(last + REFUSED_LOGIN_PAUSE, now)


def asks_for_recipient(run: EvidenceRun | None, now: datetime, interval: timedelta, down_for: timedelta) -> bool:
    """Whether a look goes as far as the recipient. `run` is the newest thing seen.

    Always, unless the recipient is refused in a way that may count for a ban. Then at most five times in a week, when it matters most: at the next look,
    before a quorum believes in lies, before `down_for` is over, and once after a while. Between them a look ends before the recipient, and what was
    seen holds.
    """
    if (
        run is None
        or Sign.COUNTED not in run.evidence.signs
        or not timedelta(0) <= now - run.last_at <= interval * STALE_AFTER_INTERVALS
    ):
        return True
    lies_believed = max(down_for / LYING_SHARE, interval * 2) - interval * JITTER
    moments = (interval * ASKED_AGAIN_SOON, lies_believed, max(down_for - interval, interval * 4), ASKED_AGAIN)
    before, after = run.last_at - run.first_at, now - run.first_at
    if any(before < moment <= after for moment in moments):
        return True
    return after >= ASKED_AGAIN_LATER and before // REFUSED_PROBER_PAUSE != after // REFUSED_PROBER_PAUSE


def _refused_pause(history: Iterable[EvidenceRun], now: datetime) -> timedelta:
    """After the refusal of the prober itself. The first of a week that is a 4xx is asked about again soon; so there are at most two more tries in a week."""
    refusals = [run for run in history if now - run.last_at < ASKED_AGAIN_LATER and run.evidence.seen is ProbeClass.PROBE_BLOCKED]
    first = len(refusals) == 1 and refusals[0].count == 1 and Sign.REFUSED_FOR_NOW in refusals[0].evidence.signs
    return REFUSED_FOR_NOW_PAUSE if first else REFUSED_PROBER_PAUSE


def _withheld_pause(history: Iterable[EvidenceRun], now: datetime) -> timedelta:
    recent = (run for run in history if now - run.last_at < ASKED_AGAIN_LATER and Sign.BAD_CERTIFICATE in run.evidence.signs)
    return WITHHELD_LOGIN_PAUSE if sum(run.count for run in recent) < WITHHELD_LOGIN_AT_FIRST else REFUSED_PROBER_PAUSE


def repeats_handshake(run: EvidenceRun, now: datetime, interval: timedelta) -> bool:
    """Whether TLS that went wrong is tried again, after a start of ours that remembers nothing but `run`, the newest thing seen.

    As adapters/tls_faults.py does it: an hour after the first time, then ever more rarely; and always after a gap.
    """
    if not timedelta(0) <= now - run.last_at <= interval * STALE_AFTER_INTERVALS:
        return True
    before, after = run.last_at - run.first_at, now - run.first_at
    if any(before < timedelta(hours=hours) <= after for hours in HANDSHAKE_AGAIN_HOURS):
        return True
    begun = timedelta(hours=HANDSHAKE_AGAIN_HOURS[-1])
    return after > begun and (before - begun) // REFUSED_PROBER_PAUSE != (after - begun) // REFUSED_PROBER_PAUSE


def _still(until: datetime, now: datetime) -> datetime | None:
    return until if until > now else None


def _spread(seed: str) -> float:
    """A number from -1 to 1, the same for the same seed."""
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4], "big") / 0xFFFFFFFF * 2 - 1
