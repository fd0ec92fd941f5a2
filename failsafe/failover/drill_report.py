"""What a failover drill came to, as a value: for a person, as JSON, and as evidence. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from failsafe.failover.drilled import FAILED, PASSED, UNTRIED, FailoverDrilled
from failsafe.failover.facts import ZoneReading
from failsafe.failover.zone import describe
from failsafe.model import MxSet, Strategy


@dataclass(frozen=True, slots=True)
class Leg:
    """One way, in seconds. `servers`: how long after the write each authoritative server was first seen to give the new set."""

    plan: float
    write: float
    verify: float
    servers: tuple[tuple[str, float], ...]
    silent: tuple[str, ...]
    desired: MxSet

    @property
    def whole(self) -> float:
        return self.plan + self.write + self.verify

    def to_json(self) -> dict[str, Any]:
        return {
            "plan": round(self.plan, 3),
            "write": round(self.write, 3),
            "verify": round(self.verify, 3),
            "servers": [{"nameserver": name, "seconds": round(seconds, 3)} for name, seconds in self.servers],
            "silent": list(self.silent),
            "mx": _mx_json(self.desired),
        }


@dataclass(frozen=True, slots=True)
class FailoverDrill:
    """`there` and `back` are None where the drill did not come so far. `trouble`: why it could not be tried; `findings`: what went wrong in it."""

    domain: str
    shadow: str
    strategy: Strategy
    started_at: datetime
    ended_at: datetime
    live_before: ZoneReading
    live_after: ZoneReading
    there: Leg | None = None
    back: Leg | None = None
    setup_seconds: float = 0.0  # clearing, and writing the shadow of what is live
    clean_seconds: float = 0.0
    cleared: MxSet | None = None  # what an earlier drill had left, where one had
    findings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    trouble: str = ""
    mend: str = ""

    @property
    def result(self) -> str:
        if self.findings:
            return FAILED
        return UNTRIED if self.trouble else PASSED

    @property
    def untouched(self) -> bool:
        """Whether the live set is what it was, at the provider and at every server that answered both times."""
        return not describe_difference(self.live_before, self.live_after)

    @property
    def summary(self) -> FailoverDrilled:
        """What is remembered of it, and said in a line."""
        there, back = (None if leg is None else round(leg.whole, 3) for leg in (self.there, self.back))
        servers = 0 if self.back is None else len(self.back.servers)
        return FailoverDrilled(self.ended_at, self.result, there, back, servers, next(iter(self.findings), self.trouble) or None)

    def to_json(self) -> dict[str, Any]:
        return {
            "domain": self.domain,
            "shadow": self.shadow,
            "strategy": str(self.strategy),
            "result": self.result,
            "at": f"{self.ended_at:%Y-%m-%dT%H:%M:%SZ}",
            "seconds": {
                "setup": round(self.setup_seconds, 3),
                "there": None if self.there is None else round(self.there.whole, 3),
                "back": None if self.back is None else round(self.back.whole, 3),
                "clean": round(self.clean_seconds, 3),
                "whole": round((self.ended_at - self.started_at).total_seconds(), 3),
            },
            "there": None if self.there is None else self.there.to_json(),
            "back": None if self.back is None else self.back.to_json(),
            "live": {
                "untouched": self.untouched,
                "before": _mx_json(live_set(self.live_before)),
                "after": _mx_json(live_set(self.live_after)),
            },
            "cleared": None if self.cleared is None else _mx_json(self.cleared),
            "findings": list(self.findings),
            "notes": list(self.notes),
            "trouble": None if not self.trouble else {"text": self.trouble, "mend": self.mend},
        }

    def lines(self) -> list[str]:
        """For a person, the answer first."""
        said = f": {self.summary.spoken()}" if self.result == PASSED else ""
        lines = [f"{self.domain}: {self.result}{said}", f"  shadow name {self.shadow}, strategy {self.strategy}"]
        for name, leg in (("there", self.there), ("back", self.back)):
            if leg is not None:
                times = f"plan {leg.plan:.3f} s, write {leg.write:.3f} s, verify {leg.verify:.3f} s"
                lines.append(f"  {name:5} {times}: {describe(leg.desired)}")
                lines += [f"        {server}: {seconds:.3f} s after the write" for server, seconds in leg.servers]
        live = live_set(self.live_after)
        kept = "is what it was" if self.untouched else "is NOT what it was"
        lines.append(f"  live   {kept}: {describe(live) if live is not None else 'could not be read'}")
        lines += [f"  finding: {finding}" for finding in self.findings]
        return [*lines, *(f"  note: {note}" for note in self.notes)]


def live_set(reading: ZoneReading) -> MxSet | None:
    """What everyone gives; else the provider's word, or the first server's."""
    first = next((answer.mx for answer in reading.answers if answer.mx is not None), None)
    return reading.agreed or reading.provider or first


def describe_difference(before: ZoneReading, after: ZoneReading) -> str:
    """Who says another set than before; "" where nobody does. Who was silent at either time says nothing."""
    said = []
    if before.provider is not None and after.provider is not None and before.provider != after.provider:
        said.append(f"the provider said {describe(before.provider)}, and says {describe(after.provider)}")
    earlier = {answer.nameserver: answer.mx for answer in before.answers}
    for answer in after.answers:
        was = earlier.get(answer.nameserver)
        if was is not None and answer.mx is not None and was != answer.mx:
            said.append(f"{answer.nameserver} said {describe(was)}, and says {describe(answer.mx)}")
    return "; ".join(said)


def _mx_json(found: MxSet | None) -> list[dict[str, Any]] | None:
    if found is None:
        return None
    return [{"preference": record.preference, "exchange": record.exchange} for record in found.records]
