"""The failover machine through simulated trouble: does every invariant hold, does a bad line ever flip, is every broken guard noticed?"""

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

from bench.report import Line, Report
from tests.simulate.homes import dead_for_a_day, home
from tests.simulate.mutations import MUTATIONS, caught_by
from tests.simulate.run import Outcome, simulate, simulate_scenario

SEEDS, HOURS = 20_000, 1_000_000
A_HOME = 1000  # hours of one household; the next begins anew
DEAD = 100  # households whose primary dies for a day
PORTION = 25  # seeds that one process takes at a time
FIRST_OF_HOMES = 1_000_000


@dataclass(frozen=True)
class Tally:
    """What is kept of a run."""

    seed: int
    violation: str
    flips: int
    false_flips: int
    faults: int
    hours: float
    letters: dict[str, int]
    left_after: tuple[timedelta, ...]
    end: str

    @classmethod
    def of(cls, outcome: Outcome) -> "Tally":
        scenario = outcome.scenario
        return cls(
            scenario.seed, outcome.violation, outcome.flips, outcome.false_flips, len(scenario.faults), outcome.hours, outcome.letters,
            outcome.left_after, outcome.end,
        )  # fmt: skip


def measure(seeds: int, hours: int) -> Report:
    """All of it, on every core."""
    how = (
        f"{seeds:,} seeds of at least 48 simulated hours with at least five faults each, drawn as docs/simulator.md says; the real core, runner and "
        "gathering of facts. The home line drops every 3 days on average, for 4 minutes (median), 6 hours (p99); a fifth of the drops hit the route to the "
        "primary alone; the primary is healthy throughout. Idle ticks are skipped; tests show that this changes nothing."
    )
    report = Report("simulate", how)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        began = time.perf_counter()
        tallies = list(_told(pool.map(_seed, range(seeds), chunksize=PORTION), seeds))
        _tell_seeds(report, tallies, time.perf_counter() - began)
        _tell_homes(report, pool, hours)
        _tell_dead(report, list(pool.map(_dead, range(DEAD), chunksize=PORTION)))
        _tell_mutations(report, list(pool.map(caught_by, range(len(MUTATIONS)))))
    return report


def _seed(seed: int) -> Tally:
    return Tally.of(simulate(seed))


def _told(tallies: Iterator[Tally], of: int) -> Iterator[Tally]:
    """The same, with what breaks told at once, and how far it has come: all of it takes an hour."""
    for number, one in enumerate(tallies, 1):
        if one.violation:
            print(f"seed {one.seed}: {one.violation.splitlines()[0]}", file=sys.stderr, flush=True)
        if number % 1000 == 0:
            print(f"{number:,} of {of:,} seeds", file=sys.stderr, flush=True)
        yield one


def _home(asked: tuple[int, int, bool]) -> Tally:
    number, quorum, both = asked
    return Tally.of(simulate_scenario(home(FIRST_OF_HOMES + number, A_HOME, quorum, both=both)))


def _dead(seed: int) -> Tally:
    return Tally.of(simulate_scenario(dead_for_a_day(seed)))


def _none(report: Report, what: str, found: int, of: str) -> None:
    report.lines.append(Line(what, f"{found} of {of}", "0", found == 0))


def _tell_seeds(report: Report, tallies: list[Tally], took: float) -> None:
    broken = [one for one in tallies if one.violation]
    _none(report, "seeds in which an invariant does not hold", len(broken), f"{len(tallies):,}")
    for one in broken[:10]:
        report.fact(f"  seed {one.seed}", one.violation.splitlines()[0])
    simulated = sum(one.hours for one in tallies)
    report.fact("simulated hours, faults", f"{simulated:,.0f}, {sum(one.faults for one in tallies):,}")
    report.fact(
        "wall time", f"{took:.0f} s ({took * (os.cpu_count() or 1) / max(1, len(tallies)) * 1000:.0f} ms of a core for a seed)"
    )
    report.fact("flips verified", f"{sum(one.flips for one in tallies):,}")
    report.fact(
        "failovers begun while the primary was well (every guard passed: every vantage blind or cut off)",
        str(sum(one.false_flips for one in tallies)),
    )
    ends = Counter(one.end for one in tallies)
    report.fact("how the seeds ended", ", ".join(f"{count:,} {end}" for end, count in ends.most_common()))
    letters: Counter[str] = Counter()
    for one in tallies:
        letters.update(one.letters)
    report.fact("letters", ", ".join(f"{count:,} {how}" for how, count in letters.most_common()))
    _none(report, "letters lost that a sender still had", letters["lost"], f"{sum(letters.values()):,}")
    left = sorted(span for one in tallies for span in one.left_after)
    if left:
        spans = ", ".join(f"{left[int(len(left) * share)].total_seconds():.0f} s" for share in (0.5, 0.99))
        report.fact(f"beyond down_for until the verified failover, undisturbed ({len(left):,}): median, p99", spans)


def _tell_homes(report: Report, pool: ProcessPoolExecutor, hours: int) -> None:
    count = -(-hours // A_HOME)
    for quorum, both in ((2, False), (1, False), (2, True)):
        tallies = list(pool.map(_home, _asked(count, quorum, both=both), chunksize=5))
        false = sum(one.false_flips for one in tallies)
        broken = sum(bool(one.violation) for one in tallies)
        what = f"{count * A_HOME:,} hours of a home line, quorum {quorum}" + (
            ", the other vantage's route as bad" if both else ""
        )
        if quorum == 2 and not both:
            _none(report, f"{what}: false flips", false, f"{sum(one.faults for one in tallies):,} drops")
        else:
            report.fact(f"{what}: false flips", f"{false} of {sum(one.faults for one in tallies):,} drops")
        if broken:
            _none(report, f"{what}: broken invariants", broken, f"{count:,}")


def _asked(count: int, quorum: int, *, both: bool) -> Iterator[tuple[int, int, bool]]:
    return ((number, quorum, both) for number in range(count))


def _tell_dead(report: Report, tallies: list[Tally]) -> None:
    right = sum(one.flips == 2 and one.end == "normal" and not one.violation for one in tallies)
    what = "the primary dead for 24 hours, everything red: left, and returned to"
    report.lines.append(Line(what, f"{right} of {len(tallies)}", f"{len(tallies)}", right == len(tallies)))


def _tell_mutations(report: Report, found: list[str]) -> None:
    caught = [one for one in found if one]
    report.lines.append(
        Line("guards broken on purpose: noticed", f"{len(caught)} of {len(found)}", f"{len(found)}", len(caught) == len(found))
    )
    for mutation, by in zip(MUTATIONS, found, strict=True):
        report.fact(f"  {mutation.name}", by or "NOT NOTICED")
