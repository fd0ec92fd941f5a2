"""The doctor's word on restore drills. Pure: what is remembered of them in, a finding out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from failsafe.backup.freshness import ALLOWANCE
from failsafe.model import Finding, Severity


@dataclass(frozen=True, slots=True)
class DrillCheckup:
    """Of one repository. `said`: the last drill in words, "" where there was none."""

    repository: str
    every: timedelta
    first_snapshot_at: datetime | None  # None: it holds none yet
    passed_at: datetime | None = None
    said: str = ""
    failed: bool = False


def judge_drill(seen: DrillCheckup, now: datetime) -> Finding:
    """Whether mail comes back from it: a late or failed drill is a fault. A new repository has time for its first."""
    name, mend = seen.repository, f"failsafe drill restore --repository {seen.repository}"
    since = seen.passed_at or seen.first_snapshot_at
    if seen.failed:
        return Finding("drill-restore", Severity.FAIL, name, f"the last restore drill {seen.said}", mend)
    if since is None:
        return Finding("drill-restore", Severity.SKIPPED, name, "it holds no snapshot yet", "failsafe backup")
    late = now - since > seen.every * 2 + ALLOWANCE
    if seen.passed_at is None:
        return Finding("drill-restore", Severity.FAIL if late else Severity.SKIPPED, name, "no restore drill was made yet", mend)
    text = f"the last restore drill was on {seen.passed_at:%Y-%m-%d}: {seen.said}"
    return Finding("drill-restore", Severity.FAIL if late else Severity.OK, name, text, mend if late else "")
