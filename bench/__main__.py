"""python -m bench [status|daemon|storm|backup|restore|search|simulate|failover|homecoming] [--save] and the options that `--help` lists. Exit status 1 if a target is missed."""

import argparse
import sys
from collections.abc import Callable

from bench import backup, daemon, failover, homecoming, restore, search, simulate, status, storm
from bench.report import Report


def main(words: list[str]) -> int:
    """Run what is asked for and print it; the exit status."""
    parser = argparse.ArgumentParser(prog="./dev bench", description="Measure failsafe on this machine.")
    names = ("status", "daemon", "storm", "backup", "restore", "search", "simulate", "failover", "homecoming")
    parser.add_argument("name", nargs="?", choices=names, help="default: all")
    parser.add_argument(
        "--minutes", type=float, default=2.0, help="how long the idle daemon's writes are watched (default: %(default)s)"
    )
    parser.add_argument(
        "--seeds", type=int, help=f"how many storms blow (default: 5), or are simulated (default: {simulate.SEEDS})"
    )
    parser.add_argument("--hours", type=int, default=simulate.HOURS, help="of a home line in `simulate` (default: %(default)s)")
    parser.add_argument(
        "--messages", type=int, default=100_000, help="in the mail store of `backup` and `restore` (default: %(default)s)"
    )
    parser.add_argument(
        "--rounds", type=int, default=100, help="pulls over which the mail of `restore` arrives (default: %(default)s)"
    )
    parser.add_argument(
        "--runs",
        type=int,
        default=7,
        help="of `backup`, `restore` and `failover`, of which the median counts (default: %(default)s)",
    )
    parser.add_argument("--quick", action="store_true", help="`backup` with one first pull and one restic, to see that it works")
    parser.add_argument("--save", action="store_true", help="keep the result in bench/results")
    asked = parser.parse_args(words)
    plan = backup.Plan(asked.messages, asked.runs, asked.quick)
    benches: dict[str, Callable[[], Report]] = {
        "status": status.measure,
        "daemon": lambda: daemon.measure(asked.minutes),
        "storm": lambda: storm.measure(asked.seeds or 5),
        "backup": lambda: backup.measure(plan),
        "restore": lambda: restore.measure(asked.messages, asked.rounds, asked.runs),
        "search": lambda: search.measure(asked.messages if asked.messages != 100_000 else 1_000_000, max(asked.runs, 5)),
        "simulate": lambda: simulate.measure(asked.seeds or simulate.SEEDS, asked.hours),
        "failover": lambda: failover.measure(asked.runs),
        "homecoming": lambda: homecoming.measure(asked.messages if asked.messages != 100_000 else 5_000, min(asked.runs, 3)),
    }
    missed = False
    for name, measure in benches.items():
        if asked.name in (None, name):
            report = measure()
            print(report.text(), flush=True)
            missed = missed or report.missed
            if asked.save:
                print(f"kept as {report.save()}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
