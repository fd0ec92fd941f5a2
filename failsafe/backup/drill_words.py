"""How a drill's result is called and remembered: small, because `status` reads it and must stay quick."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

PASSED, FAILED = "passed", "failed"


def drill_failed_at(details: Mapping[str, Any]) -> datetime | None:
    """From what is known of a repository: when its last drill failed; None where it passed, where there was none, and where it could not be tried."""
    kept = details.get("drill") or {}
    failed = kept.get("result") == FAILED and kept.get("tried", False)
    return datetime.fromisoformat(kept["at"]) if failed else None
