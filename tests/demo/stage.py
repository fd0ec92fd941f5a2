"""What all chapters share: the lab, failsafe on its NAS, the teller, and what is running in the background."""

import contextlib
import datetime as dt
import json
import shlex
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tests.demo.telling import NotVerifiedError, Teller
from tests.demo.traffic import Traffic
from tests.demo.witness import MxWatch
from tests.lab.controller import Answer, Controller
from tests.lab.lab import Lab
from tests.support import NotInTimeError, wait_until

T = TypeVar("T")

WEB = "127.0.0.1:8025"
"""Where the dashboard listens, inside the NAS."""


class Stage:
    """Everything a chapter may touch."""

    def __init__(self, teller: Teller, *, web: bool) -> None:
        self.teller = teller
        self.web = web
        self.lab = Lab()
        self.controller = Controller(self.lab)
        self.mx: MxWatch | None = None
        self.traffic: Traffic | None = None
        self.notes: dict[str, float] = {}
        """Instants (seconds since 1970) that later chapters measure from."""

    @property
    def looks(self) -> MxWatch:
        assert self.mx is not None
        return self.mx

    @property
    def writer(self) -> Traffic:
        assert self.traffic is not None
        return self.traffic

    def failsafe(self, *words: str, status: int | tuple[int, ...] = 0, shown: str = "") -> Answer:
        """Run a verb in front of the reader. `shown`: instead of the words. Raises NotVerifiedError for another exit status."""
        line = f"failsafe {shown or shlex.join(words)}"
        self.teller.command(line)
        begun = time.monotonic()
        with self.teller.waiting(line.partition(" --")[0]):
            answer = self.controller.verb(*words, status=None)
        self.teller.took(time.monotonic() - begun)
        allowed = (status,) if isinstance(status, int) else status
        if answer.status not in allowed or "Traceback" in answer.stderr:
            raise NotVerifiedError(line, f"exit {' or '.join(map(str, allowed))}", repr(answer))
        return answer

    def until(self, seconds: float, what: str, predicate: Callable[[], T], *, every: float = 0.1) -> T:
        """Wait in front of the reader. Raises NotVerifiedError."""
        try:
            with self.teller.waiting(what):
                return wait_until(predicate, seconds, what, every=every)
        except NotInTimeError as error:
            raise NotVerifiedError(what, f"within {seconds:g} s", error) from None

    def events(self) -> list[Any]:
        """What failsafe has written into its own audit trail."""
        return self.controller.verb("events", "--json", status=None).lines

    def logged(self, name: str, after: float) -> float | None:
        """When the daemon first logged an event after an instant, or None. Its log knows fractions of a second."""
        assert self.controller.daemon is not None
        for line in (self.controller.daemon.stdout() + self.controller.daemon.stderr()).splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):  # not every line need be JSON
                entry = json.loads(line)
                if entry["event"] == name and (at := parse_instant(entry["timestamp"])) > after:
                    return at
        return None

    def wait_for_log(self, name: str, after: float, seconds: float) -> float:
        """The same, waited for in front of the reader. Raises NotVerifiedError."""
        found = self.until(seconds, f"{name} in failsafe's log", lambda: self.logged(name, after))
        assert found is not None
        return found

    def close(self) -> None:
        """End what runs and the world with it."""
        for running in (self.traffic, self.mx):
            if running is not None:
                running.close()
        with contextlib.suppress(Exception):  # the world ends now, whatever the daemon makes of it
            self.controller.close()
        self.lab.down()

    def collect(self) -> Path:
        """Copy all logs out of the world before it ends; the folder."""
        folder = Path(tempfile.mkdtemp(prefix="failsafe-demo-"))
        gather: dict[str, Callable[[], str]] = {
            "failsafe-run.log": lambda: _output(self.controller),
            "failsafe-events.jsonl": lambda: self.controller.verb("events", "--json", status=None, timeout=20).stdout,
            "failsafe-status.json": lambda: self.controller.verb("status", "--json", status=None, timeout=20).stdout,
            "failsafe.toml": lambda: self.lab.nas.read("/etc/failsafe/failsafe.toml"),
            "mx-looks.txt": lambda: "\n".join(f"{at:.3f} {records}" for at, records in self.looks.looks()),
            "mail-sent.json": lambda: json.dumps(self.writer.sent(), indent=1),
        }
        for name, read in gather.items():
            with contextlib.suppress(Exception):  # what was never started has no log
                (folder / name).write_text(read(), encoding="utf-8")
        with contextlib.suppress(Exception):
            self.lab.collect(folder / "hosts")
        return folder


def _output(controller: Controller) -> str:
    assert controller.daemon is not None
    return controller.daemon.stdout() + controller.daemon.stderr()


def now() -> float:
    """Seconds since 1970, as the world's clocks show them too."""
    return time.time()


def parse_instant(text: str) -> float:
    """The seconds since 1970 of an instant in failsafe's JSON."""
    return dt.datetime.fromisoformat(text).timestamp()
