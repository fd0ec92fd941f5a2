"""python -m bench [status|daemon|storm] [--minutes N] [--seeds N] [--save]. Exit status 1 if a target is missed."""

import argparse
import sys
from collections.abc import Callable

from bench import daemon, status, storm
from bench.report import Report


def main(words: list[str]) -> int:
    """Run what is asked for and print it; the exit status."""
    parser = argparse.ArgumentParser(prog="./dev bench", description="Measure failsafe on this machine.")
    parser.add_argument("name", nargs="?", choices=("status", "daemon", "storm"), help="default: all")
    parser.add_argument(
        "--minutes", type=float, default=2.0, help="how long the idle daemon's writes are watched (default: %(default)s)"
    )
    parser.add_argument("--seeds", type=int, default=5, help="how many storms blow (default: %(default)s)")
    parser.add_argument("--save", action="store_true", help="keep the result in bench/results")
    asked = parser.parse_args(words)
    benches: dict[str, Callable[[], Report]] = {
        "status": status.measure,
        "daemon": lambda: daemon.measure(asked.minutes),
        "storm": lambda: storm.measure(asked.seeds),
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
