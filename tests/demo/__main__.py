"""The demo: python -m tests.demo [--keep]

Exit status: 0 if every step was verified; 1 if one was not (what was expected, what was seen, where the logs are); 2 if this machine
cannot hold the demo's world, with the reason; 5 if it was interrupted.
"""

import argparse
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from tests.demo import archive, outage
from tests.demo.forward import Door
from tests.demo.stage import WEB, Stage
from tests.demo.telling import NotVerifiedError, Teller
from tests.demo.witness import MxWatch
from tests.lab.names import DOMAIN
from tests.lab.world import availability

DONE, NOT_VERIFIED, NOT_HERE, INTERRUPTED = 0, 1, 2, 5

OPENING = """
This is failsafe at work in a small world inside this machine: five hosts with their own network, real mail servers (Postfix, Dovecot),
real DNS (Knot, Unbound), real sshd, real restic. Nothing leaves this machine, and nothing of it is left afterwards. Lines with "ok" were
confirmed by another program than failsafe.
"""


def the_world(stage: Stage) -> None:
    teller = stage.teller
    teller.chapter("A small world")
    begun = time.monotonic()
    with teller.waiting("five hosts boot"):
        stage.lab.up()
        stage.controller.configure(strategy="on-demand", down_for="3s", up_for="2s", web=WEB if stage.web else "")
        stage.mx = MxWatch(stage.lab)
    teller.measured("world up", time.monotonic() - begun)
    teller.say("""primary and secondary (mail servers), sender (the rest of the world), dns (the domain's name server, and a
        resolver), and nas, the small machine at home on which failsafe runs.""")
    addresses = {name: host.address for name, host in (("primary", stage.lab.primary), ("secondary", stage.lab.secondary))}
    answers = {name: stage.lab.nas.connect(address, 25) for name, address in addresses.items()}
    teller.prove("from the NAS, both mail servers answer on port 25", dict.fromkeys(addresses, "open"), answers)


def how_things_stand(stage: Stage) -> None:
    teller = stage.teller
    teller.chapter("How things stand")
    teller.answer(*stage.failsafe("status", status=(0, 1)).stdout.splitlines())
    (domain,) = [one for one in stage.controller.status()["domains"] if one["domain"] == DOMAIN]
    said = ";".join(f"{one['preference']} {one['exchange']}." for one in domain["mx"])
    expected = ("normal", "primary", stage.looks.looks()[-1].records)
    teller.prove(
        "failsafe says what kdig says, and that the primary serves", expected, (domain["state"], domain["serving"], said)
    )
    assert stage.controller.daemon is not None
    teller.measured(
        "memory of the daemon, after its SSH and DNS calls", f"{resident_megabytes(stage.controller.daemon.pid):.0f} MB"
    )


def resident_megabytes(pid: int) -> float:
    """Resident memory of a process, by the kernel's count, in MB (1,000,000 bytes)."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmRSS"))) * 1024 / 1e6


CHAPTERS: list[Callable[[Stage], None]] = [
    the_world,
    archive.a_mailbox,
    archive.into_two_repositories,
    archive.stands_alone,
    outage.watching,
    outage.the_power_goes,
    outage.the_mx_moves,
    outage.at_the_secondary,
    outage.the_primary_returns,
    outage.nothing_is_lost,
    archive.a_deleted_message,
    how_things_stand,
]


def main(words: list[str]) -> int:
    """Tell the story; the exit status."""
    parser = argparse.ArgumentParser(prog="./dev demo", description="The whole story in a small world of real servers.")
    parser.add_argument("--keep", action="store_true", help="leave it running afterwards, and print the dashboard's address")
    keep = parser.parse_args(words).keep
    if reason := availability():
        print(f"The demo cannot run here: {reason}", file=sys.stderr)
        return NOT_HERE
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)  # also where a shell has started us in the background
    teller = Teller(len(CHAPTERS))
    stage = Stage(teller, web=keep)
    try:
        return play(stage, keep=keep)
    except KeyboardInterrupt:
        teller.line("\nInterrupted; the world is taken down.")
        return INTERRUPTED
    finally:
        stage.close()


def play(stage: Stage, *, keep: bool) -> int:
    """All chapters, the table, and, if asked for, the time afterwards."""
    teller = stage.teller
    teller.say(OPENING)
    try:
        for chapter in CHAPTERS:
            chapter(stage)
    except Exception as error:  # noqa: BLE001 - whatever it is, the person who asked for the demo is told where it stopped
        failure = error if isinstance(error, NotVerifiedError) else _unexpected(error)
        teller.failed(failure, str(stage.collect()))
        return NOT_VERIFIED
    teller.measured("the whole story", time.monotonic() - teller.started)
    teller.table("Measured")
    teller.line(f"\nEverything was verified: {teller.proofs} facts, each confirmed by another program than failsafe.")
    if keep:
        stay(stage)
    return DONE


def stay(stage: Stage) -> None:
    """Leave the world running until the person has seen enough."""
    with Door(stage.lab.nas, int(WEB.rpartition(":")[2])) as door:
        stage.teller.line(f"\nThe world goes on. The dashboard: {door.url}")
        stage.teller.line("Ctrl-C ends it." if not sys.stdin.isatty() else "Ctrl-C or Ctrl-D ends it.")
        try:
            if sys.stdin.isatty():
                sys.stdin.read()
            else:
                signal.pause()
        except KeyboardInterrupt:
            stage.teller.line()


def _unexpected(error: Exception) -> NotVerifiedError:
    return NotVerifiedError(
        "something that should not happen", "nothing of the kind", f"{error}\n{traceback.format_exc(limit=-4)}"
    )


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
