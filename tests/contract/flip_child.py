"""A controller in a process of its own, which kills itself (SIGKILL) at a chosen moment of a flip.

`python -m tests.contract.flip_child DATABASE NAMESERVER KEY_FILE SIDE [MOMENT]` makes passes until SIDE serves. Moments: see MOMENTS.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from failsafe.adapters.resolver import AuthoritativeServers
from failsafe.adapters.rfc2136 import Rfc2136Zone
from failsafe.clock import SystemClock
from failsafe.failover.decide import decide, still_wanted
from failsafe.failover.facts import DomainFacts
from failsafe.failover.gather import read_zone
from failsafe.failover.runner import FlipRunner
from failsafe.model import DomainState, OwnLine, Verdict
from failsafe.store import journal as journal_module
from failsafe.store.engine import Store
from failsafe.store.journal import Journal
from failsafe.store.lease import LeaseStore
from tests.unit.failover.world import DOMAIN, Scene, minutes, proof, view

MOMENTS = (
    *("before begin", "inside begin", "after begin", "before apply", "after apply"),
    *("before finish", "inside finish", "after finish"),
)
"""`inside`: all is written into the transaction, and nothing is committed."""
GOALS = {"secondary": DomainState.FAILED_OVER, "primary": DomainState.NORMAL}


def die_at(moment: str, target: Any, name: str) -> None:
    """Wraps a method so that the process dies before or after it."""
    original = getattr(target, name)

    def wrapped(*arguments: Any, **more: Any) -> Any:
        if moment == f"before {name}":
            os.kill(os.getpid(), signal.SIGKILL)
        if moment == f"inside {name}":
            journal_module._write = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # the last statement but for the commit
        answer = original(*arguments, **more)
        if moment == f"after {name}":
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(target, name, wrapped)


def gather(
    journal: Journal, zone: Rfc2136Zone, servers: AuthoritativeServers, clock: SystemClock, verdict: Verdict
) -> DomainFacts:
    now = clock.now()
    # The recovery time and the dwell time are made short, so that no pass has to wait.
    policy = replace(Scene.peace().policy, up_for=timedelta(0), min_dwell=timedelta(0), flips_per_day=100)
    return replace(
        Scene.peace(),
        policy=policy,
        record=journal.load(DOMAIN, now),
        views=tuple(view(name, verdict, 20, now) for name in ("here", "vps2")),
        own_line=OwnLine(now, 3, 3),
        zone=read_zone(zone, servers, policy),
        started_at=now - minutes(60),
        unfinished=journal.unfinished(DOMAIN),
        flips=journal.flips(DOMAIN, now - timedelta(days=1)),
        primary=replace(proof(), at=now),
    )


def main(database: str, address: str, key_file: str, side: str, moment: str = "") -> int:
    clock, store = SystemClock(), Store.sqlite(Path(database))
    store.upgrade(clock.now())
    lease = LeaseStore(store).acquire("nas", clock.now())
    assert lease is not None
    journal = Journal(store, lease)
    zone = Rfc2136Zone(address, key_name="failsafe.", key_file=key_file)
    servers = AuthoritativeServers([address])
    for target, name in ((journal, "begin"), (zone, "apply"), (journal, "finish")):
        die_at(moment, target, name)
    runner = FlipRunner(zone, servers, journal, clock)
    for _ in range(20):
        facts = gather(journal, zone, servers, clock, Verdict.DOWN if side == "secondary" else Verdict.UP)
        if facts.record.state is GOALS[side] and facts.unfinished is None:
            return 0
        now = clock.now()
        runner.act(facts, decide(facts, now), by="nas", patience=timedelta(seconds=10), wanted=still_wanted(facts, now))
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
