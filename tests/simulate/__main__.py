"""python -m tests.simulate SEED: one run, with its whole log. Exit status 1 where an invariant does not hold."""

from __future__ import annotations

import argparse
import sys

from tests.simulate.run import simulate


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulate", description="Replay one seed and print its log.")
    parser.add_argument("seed", type=int)
    parser.add_argument("--every-tick", action="store_true", help="skip nothing (the log is the same)")
    asked = parser.parse_args(words)
    outcome = simulate(asked.seed, skips=not asked.every_tick)
    print(outcome.text())
    return 1 if outcome.violation else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
