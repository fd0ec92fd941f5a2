"""What `status` says of a repository's last restore drill. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from failsafe.backup.coverage import spoken_size
from failsafe.backup.drill_words import PASSED
from failsafe.model import Finding, Severity
from failsafe.render import spoken_instant


@dataclass(frozen=True, slots=True)
class Drilled:
    """The evidence in short. `seconds`: the recovery time. `tried` False: something in between failed, which says nothing about the mail."""

    at: datetime
    result: str  # passed | failed
    seconds: float
    steps: Mapping[str, float]
    mailboxes: int
    messages: int
    bytes: int
    opened_with: str | None
    finding: str | None
    findings: int
    tried: bool

    @property
    def passed(self) -> bool:
        return self.result == PASSED

    @classmethod
    def of(cls, details: Mapping[str, Any]) -> Drilled | None:
        """From what is known of a repository; None where it was never drilled."""
        kept = details.get("drill")
        if not kept:
            return None
        return cls(
            datetime.fromisoformat(kept["at"]),
            kept["result"],
            kept["seconds"],
            kept["seconds_by_step"],
            kept["mailboxes"],
            kept["messages"],
            kept["bytes"],
            kept["opened_with"],
            kept["finding"],
            kept["findings"],
            kept["tried"],
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "at": f"{self.at:%Y-%m-%dT%H:%M:%SZ}",
            "result": self.result,
            "seconds": self.seconds,
            "seconds_by_step": dict(self.steps),
            "mailboxes": self.mailboxes,
            "messages": self.messages,
            "bytes": self.bytes,
            "opened_with": self.opened_with,
            "finding": self.finding,
            "findings": self.findings,
        }

    def describe(self) -> str:
        """ "passed; 1,234 message(s) of 3 mailbox(es), 56 MB, back in 12.3 s, opened with Dovecot 2.3.19"."""
        if not self.passed:
            return f"{self.result}: {self.finding}" if self.tried else f"could not be made: {self.finding}"
        opened = f", opened with {self.opened_with}" if self.opened_with else ""
        size = spoken_size(self.bytes)
        return (
            f"passed; {self.messages:,} message(s) of {self.mailboxes} mailbox(es), {size}, back in {self.seconds:.1f} s{opened}"
        )


def render_drill(drill: Drilled | None, zone: tzinfo) -> str:
    return "last drill never" if drill is None else f"last drill {spoken_instant(drill.at, zone)}: {drill.describe()}"


def drill_findings(name: str, drill: Drilled | None) -> list[Finding]:
    """A failed one is red until one passes; a late one is so as every duty is."""
    if drill is None or drill.passed:
        return []
    text = f"the restore drill of {drill.at:%Y-%m-%d} {drill.describe()}"
    return [Finding("drill-restore", Severity.FAIL, name, text, f"failsafe drill restore --repository {name}")]
