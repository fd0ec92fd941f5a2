"""What a person types. One file per group of verbs; each is imported only when it is used.

`failsafe status` is asked by scripts and by people in a hurry: its plain forms do not even load typer, which costs more time than the answer.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from itertools import pairwise

SHORT_LIFE = (
    100_000,
    50,
    100,
)  # objects, rounds, rounds: most verbs end before they leave much behind; `live_long` for the others

# verb -> (module with a typer app `app` that holds the verb, one line for the list)
VERBS: dict[str, tuple[str, str]] = {
    "init": (
        "failsafe.cli.init",
        "Set failsafe up: asks, looks things up, writes the configuration; or take over from a recovery kit.",
    ),
    "status": ("failsafe.cli.status", "The state of everything, at a glance."),
    "backup": ("failsafe.cli.backup", "Pull, prove complete, snapshot: now."),
    "snapshots": ("failsafe.cli.backup", "What is stored where."),
    "forget": ("failsafe.cli.maintenance", "Take old snapshots off the list, as `keep` says, each with its reasons."),
    "prune": ("failsafe.cli.maintenance", "Remove the data that no snapshot needs any more."),
    "verify": ("failsafe.cli.backup", "Check repositories and archives, reading data."),
    "accept": ("failsafe.cli.accept", "Lift the guard that a backup raised: the change was meant."),
    "erase": ("failsafe.cli.erase", "Stop archiving a mailbox, take it out here, and say when its last copies disappear."),
    "search": ("failsafe.cli.search", "Find messages across all snapshots."),
    "catalog": ("failsafe.cli.catalog", "Make the catalog for `search` anew, from a repository alone."),
    "restore": ("failsafe.cli.restore", "Bring messages back, to files or to a server; alone, on a terminal, it asks."),
    "kit": ("failsafe.cli.kit", "Make the recovery kit: all that is needed to restore without this machine."),
    "drill": ("failsafe.cli.drill", "Rehearse a restore, or a failover at a shadow name; nothing live is touched."),
    "failover": ("failsafe.cli.failover", "Send mail to the secondary, by hand."),
    "failback": ("failsafe.cli.failover", "Send mail to the primary again, by hand."),
    "hold": ("failsafe.cli.failover", "Forbid flips of a domain for a while."),
    "release": ("failsafe.cli.failover", "End a hold."),
    "acknowledge": ("failsafe.cli.failover", "Tell a halted domain which side serves."),
    "adopt-mx": ("failsafe.cli.failover", "Plan and write the peace layout that the strategy needs."),
    "homecoming": ("failsafe.cli.homecoming", "Bring mail from the secondary home, into the primary's mailboxes."),
    "doctor": ("failsafe.cli.doctor", "Check everything a backup and a failover rely on."),
    "replay": ("failsafe.cli.replay", "Recorded evidence run through other thresholds: how many flips, how many of them false?"),
    "events": ("failsafe.cli.events", "The audit trail."),
    "evidence": ("failsafe.cli.evidence", "What was seen of a mail server, from where, with what was said."),
    "run": ("failsafe.cli.run", "The daemon."),
    "tick": ("failsafe.cli.run", "One pass of everything that is due, for cron."),
    "notify": ("failsafe.cli.notify", "Send a test notice to every address."),
    "web": ("failsafe.cli.web", "The dashboard alone."),
    "config": ("failsafe.cli.config", "Validate the configuration, print its schema, or print what is put on a mail server."),
    "db": ("failsafe.cli.db", "Migrate the database."),
    "uninstall": ("failsafe.cli.uninstall", "Every trace of failsafe, and how each is removed; removes nothing itself."),
    "licences": ("failsafe.cli.licences", "The licence of failsafe and of everything that it is installed with."),
}


def module_of(verb: str, words: Sequence[str]) -> str:
    """Where a verb lives. `words`: the command line; a whole server is restored with options of its own."""
    whole = any(word.startswith("--to=server:") for word in words) or any(
        option == "--to" and value.startswith("server:") for option, value in pairwise(words)
    )
    return "failsafe.cli.restore_server" if verb == "restore" and whole else VERBS[verb][0]


def main() -> None:
    """The command `failsafe`: every expected failure is one clear message and its exit code."""
    from failsafe.cli.quick import run_quick

    gc.set_threshold(*SHORT_LIFE)
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # else it reads what every installed package says of itself
    code = run_quick(sys.argv[1:])
    if code is None:
        from failsafe.cli.common import run_cli
        from failsafe.cli.root import app

        code = run_cli(app)
    gc.freeze()  # to look through everything once more before it goes costs 0.1 s
    sys.exit(code)
