"""What `status` says of a repository's upkeep: what checks have read and cost, what was forgotten, what stops that. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from failsafe.backup.coverage import Cost, Coverage, Size, estimate_cost, estimate_size, render_reading
from failsafe.backup.freeze import DAMAGED, DRILL, REPAIR
from failsafe.backup.guards import CODES
from failsafe.model import Finding, Guard, Severity

FROZEN_RED = timedelta(days=7)  # a repository that may not forget grows; after so long somebody must look


@dataclass(frozen=True, slots=True)
class Reading:
    """How much of the data was read by checks, and what a round of them costs."""

    coverage: Coverage
    round_ends_at: datetime | None
    unread_bytes: int | None
    cost: Cost
    size: Size | None

    def to_json(self) -> dict[str, Any]:
        cost, size = self.cost, self.size
        return {
            "parts": self.coverage.parts,
            "parts_read": len(self.coverage.read),
            "read_since": _instant(self.coverage.read_since),
            "round_ends_at": _instant(self.round_ends_at),
            "round_days": cost.round_days,
            "unread_bytes": self.unread_bytes,
            "damaged_at": _instant(self.coverage.damaged_at),
            "bytes_a_check": cost.bytes_a_check,
            "requests_a_check": cost.requests_a_check,
            "bytes_a_month": cost.bytes_a_month,
            "requests_a_month": cost.requests_a_month,
            "size_bytes": None if size is None else size.bytes,
            "size_source": None if size is None else size.source,
        }

    def __str__(self) -> str:
        return render_reading(self.coverage, self.round_ends_at, self.unread_bytes, self.cost, self.size)


@dataclass(frozen=True, slots=True)
class Retention:
    """What the last `forget` did. `frozen`: what stopped it then and still stands."""

    at: datetime | None = None
    forgotten: int = 0
    kept: int = 0
    frozen: tuple[Guard, ...] = ()
    frozen_since: datetime | None = None
    is_ours: bool = False  # `keep` is set and maintenance is here

    def to_json(self) -> dict[str, Any]:
        return {
            "here": self.is_ours,
            "at": _instant(self.at),
            "forgotten": self.forgotten,
            "kept": self.kept,
            "frozen": [{"code": each.code, "text": each.text, "mend": each.mend} for each in self.frozen],
            "frozen_since": _instant(self.frozen_since) if self.frozen else None,
        }

    def __str__(self) -> str:
        if not self.is_ours:
            return "nothing is forgotten from here (keep is not set, or maintenance is elsewhere)"
        if self.frozen:
            return f"frozen, nothing is forgotten: {self.frozen[0].text}"
        if self.at is None:
            return "nothing was forgotten yet"
        return f"{self.forgotten} forgotten on {self.at:%Y-%m-%d}, {self.kept} kept"


def reading_of(details: Mapping[str, Any], every: timedelta | None, last_at: datetime | None) -> Reading | None:
    """None before the first check, and where none is planned."""
    kept = details.get("check") or {}
    if not kept or every is None:
        return None
    coverage = Coverage.of(details, int(kept["parts"]))
    size = estimate_size(details)
    added = int((details.get("added") or {}).get("bytes", 0))
    return Reading(
        coverage,
        coverage.round_ends_at(int(kept.get("next", 1)), last_at, every),
        coverage.unread_bytes(added, None if size is None else size.bytes),
        estimate_cost(coverage.parts, every, size, coverage.packs),
        size,
    )


def retention_of(details: Mapping[str, Any], *, is_ours: bool, standing: frozenset[str]) -> Retention:
    """`standing`: the codes of what stops forgetting now, as far as it is known without asking; what was lifted since is not shown."""
    kept = details.get("retention") or {}
    if not kept:
        return Retention(is_ours=is_ours)
    live = {"domain-state", DAMAGED, DRILL, *CODES} - {"repository-unknown"}  # of the latter only the repository itself can tell
    frozen = tuple(
        Guard(each["code"], each["text"], each["mend"])
        for each in kept.get("frozen", ())
        if each["code"] not in live or each["code"] in standing
    )
    since = kept.get("frozen_since")
    return Retention(
        datetime.fromisoformat(kept["at"]),
        int(kept["forgotten"]),
        int(kept["kept"]),
        frozen,
        None if since is None else datetime.fromisoformat(since),
        is_ours,
    )


def upkeep_findings(name: str, reading: Reading | None, retention: Retention, now: datetime) -> list[Finding]:
    findings = []
    if reading is not None and (damaged_at := reading.coverage.damaged_at) is not None:
        text = f"a check found damage on {damaged_at:%Y-%m-%d}"
        findings.append(Finding("repository-check", Severity.FAIL, name, text, REPAIR.format(name)))
    if retention.is_ours and retention.frozen:
        first, since = retention.frozen[0], retention.frozen_since or now
        severity = Severity.FAIL if now - since >= FROZEN_RED else Severity.WARN
        text = f"nothing is forgotten or pruned since {since:%Y-%m-%d}: {first.text}"
        findings.append(Finding("retention", severity, name, text, first.mend))
    return findings


def _instant(at: datetime | None) -> str | None:
    return None if at is None else f"{at:%Y-%m-%dT%H:%M:%SZ}"
