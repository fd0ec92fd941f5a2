"""Keeps what a person said about clocks, and raises or lifts the guard `clock-jump` during a pull."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from failsafe.backup.guards import APART, Clocks, Jump, judge_clock
from failsafe.backup.inventory import Inventory
from failsafe.mail.manifest import Generation

CODE = "clock-jump"
LATEST = 4_000_000_000  # seconds since 1970, in 2096: a clock beyond it is wrong whatever it says
SEEN, ACCEPTED, PULLED = "clock-seen", "clock-accepted", "pulled-at"  # keys of the inventory's table `meta`


def judge_clocks(inventory: Inventory, newest: Generation | None, now: datetime, server_ns: int | None, server: str) -> None:
    """`server_ns` is the server's own clock; None where it is ours, or where it cannot be asked."""
    pulled = inventory.get(PULLED)
    server_at = None if server_ns is None else datetime.fromtimestamp(min(max(server_ns // 10**9, 0), LATEST), UTC)
    clocks = Clocks(now, newest.at if newest else None, datetime.fromisoformat(pulled) if pulled else None, server_at, server)
    jump = judge_clock(clocks)
    number = newest.number if newest else 0
    seen = _read(inventory, SEEN)
    if jump is None:
        if (
            seen.get("kind") == "apart"
        ):  # two clocks that agree again; after a leap or a step back dates stay wrong, and a person must look
            inventory.lift(CODE)
    elif not _is_accepted(jump, number, _read(inventory, ACCEPTED)):
        if not any(code == CODE for _, code, _ in inventory.guards()):
            inventory.put(SEEN, json.dumps({"kind": jump.kind, "apart": jump.apart.total_seconds(), "generation": number}))
        inventory.raise_guard("", CODE, jump.text, now.isoformat())


def accept_clocks(inventory: Inventory) -> int:
    """A person has looked: what was seen is not told again. Gives how many guards were lifted."""
    with inventory.db:
        inventory.put(ACCEPTED, json.dumps(_read(inventory, SEEN)))
        return inventory.lift(CODE)


def _is_accepted(jump: Jump, number: int, accepted: dict[str, Any]) -> bool:
    if accepted.get("kind") != jump.kind:
        return False
    if jump.kind == "apart":
        return abs(jump.apart - timedelta(seconds=accepted["apart"])) <= APART
    return bool(accepted["generation"] == number)


def _read(inventory: Inventory, key: str) -> dict[str, Any]:
    return dict(json.loads(inventory.get(key) or "{}"))
