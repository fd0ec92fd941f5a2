"""Judges whether a failover may rely on what the doctor saw. Pure.

Only the last run *before* the incident counts: afterwards a dead primary makes checks fail, and nothing that a dead primary makes fail
may guard a failover. It is valid for seven days before the incident began, however long that lasts.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from failsafe.failover.facts import Readiness
from failsafe.model import Finding, Guard, Severity

VALID_FOR = timedelta(days=7)
ABOUT_SECONDARY = ("secondary-", "mta-sts")  # finding codes that mean: senders could not deliver there


def judge_readiness(
    domain: str, run_at: datetime | None, findings: Iterable[Finding], suspected_at: datetime | None, now: datetime
) -> Readiness:
    """`run_at` and `findings` are the newest doctor run that began before `suspected_at` (any, in peace); those about others are ignored by the caller."""
    # During an incident a new run of the doctor does not count, so only a person can lift these.
    mend = f"failsafe doctor --domain {domain}" if suspected_at is None else f"failsafe failover {domain}"
    if run_at is None:
        return Readiness((Guard("doctor", "the doctor has never looked at this domain before the incident", mend),))
    reference = suspected_at if suspected_at is not None else now
    guards = []
    if reference - run_at > VALID_FOR:
        guards.append(
            Guard("doctor", f"the doctor last looked on {run_at:%Y-%m-%d}, more than {VALID_FOR.days} days before", mend)
        )
    blocking = [finding for finding in findings if finding.blocks_failover and finding.severity is Severity.FAIL]
    for found in blocking:
        code = _guard_code(found.code)
        by_hand = f"{mend} --force --reason TEXT" if code == "secondary-not-ready" else mend
        guards.append(Guard(code, f"{found.code}: {found.text}", (found.mend or mend) if suspected_at is None else by_hand))
    return Readiness(tuple(guards))


def _guard_code(finding_code: str) -> str:
    if finding_code.startswith(ABOUT_SECONDARY):
        return "secondary-not-ready"
    return "monitor-banned" if finding_code == "monitor-banned" else "doctor"
