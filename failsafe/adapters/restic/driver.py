"""Runs restic: the right environment, deadlines, stale locks, and every failure as a ResticError without a secret in it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from failsafe.adapters.process import Command, Ending, Finished, Listener, ProgramMissing, base_environment, run
from failsafe.adapters.restic import commands
from failsafe.adapters.restic.capabilities import OLDEST, Capabilities, parse_version
from failsafe.adapters.restic.parse import Failure, judge_failure, progress_key, words
from failsafe.adapters.restic.reach import with_credentials
from failsafe.errors import ProcessError, ResticError
from failsafe.secrets import Secret

QUICK = timedelta(
    minutes=3
)  # opening and listing; a backend that does not answer makes restic 0.17 and newer retry for 15 minutes
LOCK_POLL_SECONDS = 5.0  # between two tries where restic cannot wait itself; each one opens the repository anew (0.7 s)
MINIMUM_HIDDEN = 4  # a shorter "secret" would blank half of every message
_URL_PASSWORD = re.compile(r"(://[^/@\s:]*:)([^/@\s]+)@")

Narrator = Callable[[str], None]
Namer = Callable[[Failure], Failure]  # gives a failure its better name, after a look at the place itself


@dataclass(frozen=True, slots=True)
class Access:
    """How one repository is reached. The password and the credentials are read at every use, so replacing a file rotates them."""

    name: str
    url: str
    password: Callable[[], Secret]
    environment: Callable[[], Mapping[str, Secret]]
    cache_dir: Path
    program: str
    limit_upload: int | None  # bytes a second
    limit_download: int | None
    extra: tuple[str, ...] = ()  # options of its kind of place


@dataclass(frozen=True, slots=True)
class Patience:
    """How long we wait for restic."""

    quick: timedelta = timedelta(
        minutes=3
    )  # opening and listing; a backend that is down makes restic 0.17 and newer retry for 15 minutes
    silence: timedelta = timedelta(minutes=45)  # without progress; restic gives a backend up to 15 minutes for one request
    lock_wait: timedelta = timedelta(minutes=10)  # for a living lock of another restic
    grace: timedelta = timedelta(seconds=20)  # between SIGINT, SIGTERM and SIGKILL


PATIENCE = Patience()


class Driver:
    """One restic program on one repository."""

    def __init__(self, access: Access, patience: Patience, narrate: Narrator, name: Namer = lambda failure: failure) -> None:
        self.access, self._name = access, name
        self._patience, self._lock_wait, self._narrate = patience, patience.lock_wait, narrate
        self._known: Capabilities | None = None

    @property
    def place(self) -> str:
        """The URL as it may be shown."""
        return _URL_PASSWORD.sub(r"\1***@", self.access.url)

    @property
    def capabilities(self) -> Capabilities:
        """Asked of the program once. Raises ResticError(kind="missing-program") where there is none, or one that is too old."""
        if self._known is None:
            self._known = self._ask_version()
        return self._known

    def run(
        self,
        argv: tuple[str, ...],
        *,
        deadline: timedelta | None = None,
        silence: timedelta | None = None,
        cwd: Path | None = None,
        on_stdout: Listener | None = None,
        on_stderr: Listener | None = None,
    ) -> Finished:
        """One restic command to its end, whatever its exit code. Raises ResticError for a program that cannot run or is out of time."""
        capabilities = self.capabilities
        command = Command(
            (self.access.program, *argv, *self._options()),
            self._environment(),
            cwd=cwd,
            deadline=deadline or self._patience.quick,
            silence=silence,
            grace=self._patience.grace,
        )
        watch = _Moves(on_stdout)
        try:
            finished = run(command, on_stdout=watch, on_stderr=on_stderr)
        except ProgramMissing as error:
            raise self._missing(str(error)) from error
        except ProcessError as error:
            raise self.error(Failure("failed", str(error)), argv[0]) from error
        if finished.ending is not Ending.ITSELF:
            raise self._out_of_time(finished, argv[0], capabilities)
        return finished

    def demand(self, argv: tuple[str, ...], *, deadline: timedelta | None = None, on_stdout: Listener | None = None) -> Finished:
        """As `run`, and any exit code but 0 is a ResticError."""
        finished = self.run(argv, deadline=deadline, on_stdout=on_stdout)
        if finished.code != 0:
            raise self.failed(finished, argv[0])
        return finished

    def locking(self, attempt: Callable[[tuple[str, ...]], Finished]) -> Finished:
        """Runs a command that locks: a stale lock is taken away once, a living one is waited for, a bounded time.

        `attempt` gets the options to add. restic itself says which lock is stale: its process is dead on this host, or it is
        older than 30 minutes.
        """
        finished = attempt(())
        if not self._is_locked(finished):
            return finished
        self.run(commands.unlock())
        until = time.monotonic() + self._lock_wait.total_seconds()
        finished = attempt(commands.locking(self.capabilities, self._lock_wait))
        if not self._is_locked(finished):
            self._narrate(
                f"{self.access.name}: a lock stood in the way, left behind by a restic that was killed, or it was waited for"
            )
            return finished
        while not self.capabilities.has_retry_lock and time.monotonic() < until:
            time.sleep(min(LOCK_POLL_SECONDS, max(0.0, until - time.monotonic())))
            finished = attempt(())
            if not self._is_locked(finished):
                return finished
        return finished

    def failed(self, finished: Finished, verb: str) -> ResticError:
        return self.error(self._name(judge_failure(finished.code, finished.stderr, self.capabilities)), verb)

    def error(self, failure: Failure, verb: str) -> ResticError:
        text = f"repository {self.access.name} ({self.place}): restic {verb}: {self.hide(failure.text)}"
        return ResticError(text, kind=failure.kind, mend=failure.mend, transient=failure.transient)

    def hide(self, text: str) -> str:
        """The text without any of this repository's secrets."""
        secrets = {secret.reveal() for secret in self.access.environment().values()}
        secrets.update(found[1] for found in _URL_PASSWORD.findall(self.access.url))
        for secret in sorted(secrets, key=len, reverse=True):
            if len(secret) >= MINIMUM_HIDDEN:
                text = text.replace(secret, "***")
        return _URL_PASSWORD.sub(r"\1***@", text)

    def _ask_version(self) -> Capabilities:
        try:
            finished = run(Command((self.access.program, "version"), base_environment(), deadline=self._patience.quick))
        except ProgramMissing as error:
            raise self._missing(str(error)) from error
        except ProcessError as error:
            raise ResticError(str(error), kind="failed") from error
        found = parse_version("\n".join(finished.stdout))
        if finished.code != 0 or found is None:
            raise self._missing(f"{self.access.program} does not answer as restic does")
        if not found.is_supported:
            raise self._missing(f"{self.access.program} is restic {found.text}, too old: {'.'.join(map(str, OLDEST))} is needed")
        return found

    def _missing(self, text: str) -> ResticError:
        return ResticError(
            text, kind="missing-program", mend="install restic 0.14 or newer (Debian: apt install restic)", transient=False
        )

    def _options(self) -> tuple[str, ...]:
        access = self.access
        general = commands.options(
            cache_dir=str(access.cache_dir), limit_upload=access.limit_upload, limit_download=access.limit_download
        )
        return (*general, *access.extra)

    def _environment(self) -> dict[str, str]:
        """Ours alone: a stray RESTIC_PASSWORD_COMMAND of the caller would win over, or clash with, the configured password."""
        password, given = self.access.password(), self.access.environment()
        url = self.access.url if self.capabilities.has_rest_credentials else with_credentials(self.access.url, given)
        where = {"RESTIC_PASSWORD_FILE": password.source} if password.source else {"RESTIC_PASSWORD": password.reveal()}
        return {
            **base_environment(),
            **{name: secret.reveal() for name, secret in given.items()},
            "RESTIC_REPOSITORY": url,
            "RESTIC_PROGRESS_FPS": "1",  # 60 lines a second otherwise
            **where,
        }

    def _is_locked(self, finished: Finished) -> bool:
        return finished.code != 0 and judge_failure(finished.code, finished.stderr, self.capabilities).kind == "locked"

    def _out_of_time(self, finished: Finished, verb: str, capabilities: Capabilities) -> ResticError:
        """A backend that does not answer is the usual reason, and then the better word."""
        why = "made no progress and was ended" if finished.ending is Ending.SILENCE else "took too long and was ended"
        judged = judge_failure(1, finished.stderr, capabilities)
        said = words(finished.stderr)
        kind = judged.kind if judged.kind in ("unreachable", "locked", "disk-full") else "timeout"
        mend = judged.mend or "check that the place of the repository is up; then run it again, nothing is lost"
        return self.error(
            Failure(kind, f"{why} after {finished.took.total_seconds():.0f} s" + (f"\n{said}" if said else ""), mend), verb
        )


class _Moves:
    """Tells the watchdog whether a line of stdout shows movement; passes every line on."""

    def __init__(self, listener: Listener | None) -> None:
        self._listener, self._last = listener, ""

    def __call__(self, line: str) -> bool:
        if self._listener is not None:
            self._listener(line)
        key = progress_key(line) if len(line) < 10_000 else ""
        moved = key != self._last
        self._last = key
        return moved
