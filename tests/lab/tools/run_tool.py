"""Runs inside the NAS: `failsafe run`, which ends or stops itself at a chosen step of a flip.

run_tool.py HOW MOMENT [NAME=SECONDS …] [CLOCK=FILE]

HOW: `KILL` or `STOP`, the signal that it sends to itself, once. MOMENT: one of MOMENTS, or `never`. CLOCK: see set_clock.
NAME: a time of the runner or of the facts that is made shorter, so that a test need not wait minutes (see TIMES), QUERY_SECONDS of a name server, or the runner's PATIENCE.
"""

import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from failsafe import domains
from failsafe.__main__ import main
from failsafe.adapters import rfc2136
from failsafe.adapters.resolver import AuthoritativeServers
from failsafe.adapters.rfc2136 import Rfc2136Zone
from failsafe.clock import SystemClock
from failsafe.failover import runner
from failsafe.store import journal

STEPS: dict[str, type] = {"change": journal.Journal, "begin": journal.Journal, "finish": journal.Journal, "apply": Rfc2136Zone}
TIMES: dict[str, Any] = {"SEND_WITHIN": runner, "FIRST_RETRY": runner, "DECISION_LASTS": domains, "CONNECT_SECONDS": rfc2136}
MOMENTS = [
    *(f"{when} {step}" for step in ("change", "begin") for when in ("before", "inside", "after")),
    *(f"{when} apply" for when in ("before", "after")),
    *(f"{when} finish" for when in ("before", "inside", "after")),
]
"""`inside`: everything is written, nothing is committed."""


class Breaker:
    """Counts where the program is, and sends the signal once."""

    def __init__(self, how: str, moment: str) -> None:
        self._signal = signal.Signals[f"SIG{how}"]
        self._moment = moment
        self._at = ""

    def pass_(self, moment: str) -> None:
        if moment == self._moment:
            self._moment = ""
            signal.pthread_kill(threading.get_ident(), self._signal)  # to this thread, so that it does not run on for a moment

    def step(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **more: Any) -> Any:
            self.pass_(f"before {name}")
            self._at = name
            answer = original(*arguments, **more)
            self.pass_(f"after {name}")
            return answer

        return wrapped

    def writing(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """The last statement of each of the journal's transactions."""

        def wrapped(*arguments: Any) -> Any:
            original(*arguments)
            self.pass_(f"inside {self._at}")

        return wrapped


def install(how: str, moment: str, *settings: str) -> None:
    breaker = Breaker(how, moment)
    for name, holder in STEPS.items():
        setattr(holder, name, breaker.step(name, getattr(holder, name)))
    journal._write = breaker.writing(journal._write)
    for name, value in (one.split("=") for one in settings):
        if name == "CLOCK":
            set_clock(Path(value))
        elif name == "QUERY_SECONDS":
            AuthoritativeServers.__init__.__kwdefaults__["query_seconds"] = float(value)
        elif name == "PATIENCE":
            runner.FlipRunner.act.__kwdefaults__["patience"] = timedelta(seconds=float(value))
        else:
            holder = TIMES[name]
            setattr(holder, name, type(getattr(holder, name))(seconds=float(value)) if holder is not rfc2136 else float(value))


def set_clock(by: Path) -> None:
    """Wall time is wrong by so many seconds as the file says now, for all of Python; the monotonic clock is not."""
    real = time.time

    def now(_: Any = None) -> datetime:
        return datetime.fromtimestamp(time.time(), UTC)

    time.time = lambda: real() + float(by.read_text())
    SystemClock.now = now  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    install(*sys.argv[1:])
    sys.argv = ["failsafe", "run"]
    sys.exit(main())
