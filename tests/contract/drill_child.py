"""`failsafe drill failover example.org` in a process of its own, which kills itself (SIGKILL) after its Nth write.

`python -m tests.contract.drill_child CONFIG NUMBER`
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from failsafe.adapters.rfc2136 import Rfc2136Zone

WRITES = 5  # clear, shadow, there, back, clear again


def main(config: str, number: str) -> int:
    count = 0

    def dying(name: str) -> None:
        original = getattr(Rfc2136Zone, name)

        def wrapped(*arguments: Any) -> None:
            nonlocal count
            count += 1
            original(*arguments)
            if count == int(number):
                os.kill(os.getpid(), signal.SIGKILL)

        setattr(Rfc2136Zone, name, wrapped)

    dying("apply")
    dying("clear")
    from failsafe.cli.common import run_cli
    from failsafe.cli.root import app

    sys.argv = ["failsafe", "--config", config, "drill", "failover", "example.org"]
    return run_cli(app)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
