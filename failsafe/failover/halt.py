"""What a halted domain says: what was found, what was expected, and the commands that lead out. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from failsafe.failover.zone import describe
from failsafe.model import MxSet


@dataclass(frozen=True, slots=True)
class Halt:
    """`ways`: (command, when it is the right one)."""

    domain: str
    found: str
    expected: str
    ways: tuple[tuple[str, str], ...]

    def lines(self) -> list[str]:
        width = max(len(command) for command, _when in self.ways)
        return [
            f"found: {self.found}",
            f"expected: {self.expected}",
            f"look at what every server says now: failsafe doctor --domain {self.domain}; put the records right at the DNS provider where they are not",
            "then one of:",
            *(f"  {command:{width}}  {when}" for command, when in self.ways),
        ]

    def to_json(self) -> dict[str, Any]:
        ways = [{"command": command, "when": when} for command, when in self.ways]
        return {"found": self.found, "expected": self.expected, "ways_out": ways}


def explain_halt(domain: str, found: str, expected: MxSet | None) -> Halt:
    """`found`: what is there, in words; `expected`: what the plan that was not finished should have made."""
    return Halt(
        domain,
        found or "not known yet",
        "not known: see failsafe events" if expected is None else describe(expected),
        (
            (f"failsafe acknowledge {domain} --serving primary", "senders go to the primary, and that is right"),
            (
                f"failsafe acknowledge {domain} --serving secondary",
                "senders go to the secondary; failsafe brings them back later",
            ),
            (f"failsafe adopt-mx {domain}", "after the first: the records fit no layout, so the peace layout is written anew"),
        ),
    )
