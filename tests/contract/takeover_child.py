"""A takeover in a process of its own, which kills itself (SIGKILL) at a chosen moment.

`python -m tests.contract.takeover_child KIT PASSPHRASE_FILE PREFIX MOMENT`. Moments: see MOMENTS.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

MOMENTS = {
    "the first file": ("failsafe.takeover.writing", "_write"),
    "rows written, not committed": ("failsafe.takeover.adopt", "write_holdings"),
    "the journal imported": ("failsafe.takeover.run", "import_journal"),
    "staging whole": ("failsafe.takeover.rebuild", "make_whole"),
}


def die_after(module: str, name: str) -> None:
    place: Any = import_module(module)
    original = getattr(place, name)

    def wrapped(*arguments: Any, **more: Any) -> Any:
        original(*arguments, **more)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(place, name, wrapped)


def main(kit: str, passphrase: str, prefix: str, moment: str) -> None:
    from failsafe.kits.file import read_kit
    from failsafe.secrets import read_secret
    from failsafe.takeover.places import plan_places
    from failsafe.takeover.run import run_takeover
    from tests.contract.mailstore import Silent

    die_after(*MOMENTS[moment])
    opened = read_kit(Path(kit), lambda: read_secret(Path(passphrase)))
    run_takeover(opened, plan_places(opened, None, Path(prefix)), Silent(), print)


if __name__ == "__main__":
    main(*sys.argv[1:])
