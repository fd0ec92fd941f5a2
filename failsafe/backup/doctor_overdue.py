"""The doctor's word on duties that are late and that no other finding tells of. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from failsafe.backup.freshness import Overdue
from failsafe.model import Finding, Severity

JUDGED_ELSEWHERE = ("doctor", "backup", "check", "drill")  # this very run; recovery-point, repository-check, drill-restore
MENDS = {  # by kind of duty; {0} is what it is for
    "backup": "failsafe backup {0}",
    "snapshot": "failsafe backup --repository {0}",
    "homecoming": "failsafe homecoming {0}",
    "check": "failsafe verify --repository {0}",
    "drill": "failsafe drill restore --repository {0}",
    "forget": "failsafe forget --repository {0}",
    "prune": "failsafe prune --repository {0}",
    "doctor": "failsafe doctor",
}


def judge_overdue(late: Iterable[Overdue]) -> list[Finding]:
    findings = []
    for each in late:
        kind, _, subject = each.name.partition(":")
        if kind in JUDGED_ELSEWHERE:
            continue
        said = "it has never gone well" if each.ok_at is None else f"it last went well on {each.ok_at:%Y-%m-%d %H:%M} UTC"
        mend = MENDS.get(kind, "look at failsafe events").format(subject)
        findings.append(Finding("overdue", Severity.FAIL, subject or "controller", f"{kind} is overdue: {said}", mend))
    return findings
