"""What is remembered of a domain's last failover drill. Pure, and light: `status` says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

PASSED, FAILED, UNTRIED = "passed", "failed", "untried"


@dataclass(frozen=True, slots=True)
class FailoverDrilled:
    """A domain's last drill in short (`FailoverDrill.summary`), as it is remembered beside its duty. `there`, `back`: seconds, None where it did not come so far."""

    at: datetime
    result: str
    there: float | None
    back: float | None
    servers: int
    finding: str | None

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> FailoverDrilled | None:
        """None where the domain was never drilled."""
        if "at" not in kept:
            return None
        at, seconds = datetime.fromisoformat(kept["at"]), kept["seconds"]
        return cls(at, kept["result"], seconds.get("there"), seconds.get("back"), kept["servers"], kept["finding"])

    @property
    def passed(self) -> bool:
        return self.result == PASSED

    def spoken(self) -> str:
        """ "there in 0.31 s, back in 0.28 s, verified at 2 authoritative server(s)"; what went wrong where it did not come so far."""
        if self.there is None or self.back is None:
            return self.finding or ""
        return f"there in {self.there:.2f} s, back in {self.back:.2f} s, verified at {self.servers} authoritative server(s)"

    def describe(self) -> str:
        """ "passed; there in 0.31 s, …"."""
        if self.passed:
            return f"{self.result}; {self.spoken()}"
        return f"{'could not be made' if self.result == UNTRIED else self.result}: {self.finding}"

    def to_json(self) -> dict[str, Any]:
        legs = {name: leg for name, leg in (("there", self.there), ("back", self.back)) if leg is not None}
        at = f"{self.at:%Y-%m-%dT%H:%M:%SZ}"
        return {"at": at, "result": self.result, "seconds": legs, "servers": self.servers, "finding": self.finding}
