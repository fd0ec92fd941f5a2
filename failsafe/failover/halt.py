"""What a halted domain says: what was found, what was expected, and the commands that lead out. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from failsafe.failover.zone import describe
from failsafe.model import MxSet

RESTORE_REQUIRED = "restore required"  # so a person is told of a halt with `store_lost`


@dataclass(frozen=True, slots=True)
class Halt:
    """`ways`: (command, when it is the right one). `first`: where a person looks before choosing; `must_do`: in one command."""

    domain: str
    found: str
    expected: str
    first: str
    must_do: str
    ways: tuple[tuple[str, str], ...]

    def lines(self) -> list[str]:
        width = max(len(command) for command, _when in self.ways)
        return [
            f"found: {self.found}",
            f"expected: {self.expected}",
            *self.first.splitlines(),
            *(f"  {command:{width}}  {when}" for command, when in self.ways),
        ]

    def to_json(self) -> dict[str, Any]:
        ways = [{"command": command, "when": when} for command, when in self.ways]
        return {"found": self.found, "expected": self.expected, "ways_out": ways}


def explain_halt(
    domain: str, found: str, expected: MxSet | None, *, reason: str = "", server: str = "", store_lost: bool = False
) -> Halt:
    """`found`: what is there, in words; `expected`: what the plan that was not finished should have made; `reason`: of the halt, in words;
    `store_lost`: the primary came back without its mail."""
    if store_lost:
        return _explain_restore(domain, reason.removeprefix(f"{RESTORE_REQUIRED}: "), server)
    return Halt(
        domain,
        found or "not known yet",
        "not known: see failsafe events" if expected is None else describe(expected),
        f"look at what every server says now: failsafe doctor --domain {domain}; put the records right at the DNS provider where they are not\n"
        "then one of:",
        f"failsafe acknowledge {domain} --serving primary|secondary",
        (
            (f"failsafe acknowledge {domain} --serving primary", "senders go to the primary, and that is right"),
            (
                f"failsafe acknowledge {domain} --serving secondary",
                "senders go to the secondary; failsafe brings them back later",
            ),
            (f"failsafe adopt-mx {domain}", "after the first: the records fit no layout, so the peace layout is written anew"),
        ),
    )


def _explain_restore(domain: str, found: str, server: str) -> Halt:
    return Halt(
        domain,
        found or "an empty or rebuilt mail store on the primary",
        "the mail of the last ok snapshot",
        "mail goes to the secondary and is safe there; one of the first two, then the third:",
        f"failsafe restore --to server:{server}",
        (
            (
                f"failsafe restore --to server:{server}",
                "brings the mail back (with --ssh and --ssh-key of that server); it shows its plan first",
            ),
            (f"failsafe accept {server} --reason TEXT", "the store is as you meant it, and the last pull did not believe it"),
            (f"failsafe acknowledge {domain} --serving secondary", "afterwards: the recovery is tried anew"),
        ),
    )
