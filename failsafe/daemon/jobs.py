"""Long jobs as child processes of the same command line: their memory goes back to the NAS, and a crash is one job's crash.

A child writes to a file, not to a pipe of ours: when the daemon is killed the child goes on and finishes its work, holding its own lock.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from failsafe.app import App
from failsafe.backup.due import SELDOM, Duty, LastRun, plan_due
from failsafe.errors import EXIT_FINDINGS, EXIT_INTERRUPTED, EXIT_OK, EXIT_REFUSED
from failsafe.homecoming.cadence import gather_every
from failsafe.logs import get_log
from failsafe.repositories import has_something
from failsafe.status.homecoming import Standing
from failsafe.status.roster import duties_of

LOG_BYTES = 1024 * 1024  # of one job's output; what is more is cut off at the front, by starting the file anew
DOCTOR_AGAIN = timedelta(hours=1)
HOMECOMING = "homecoming:"
GRACE_SECONDS = 20.0  # between asking a child to stop and killing it; systemd waits 90 s
TAIL_BYTES = 2000  # of a failed job's output, for the log


@dataclass(slots=True)
class Job:
    duty: Duty
    process: subprocess.Popen[bytes]
    started_at: datetime
    log_file: Path
    failures: int  # in a row, before this run: the verb writes its own row, without them

    @property
    def pid(self) -> int:
        return self.process.pid


class Jobs:
    """Starts what is due and writes down how it ended. All durable knowledge is in the duty table."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._duties = duties_of(app.config)
        self._running: dict[str, Job] = {}

    def with_app(self, app: App) -> Jobs:
        """The same children under a new configuration."""
        jobs = Jobs(app)
        jobs._running = self._running
        return jobs

    @property
    def running(self) -> Mapping[str, Job]:
        return self._running

    def last_runs(self) -> dict[str, LastRun]:
        return {
            name: LastRun.of(row.started_at, row.ended_at, row.ok_at, row.details) for name, row in self._app.duties.all().items()
        }

    def start_due(self, now: datetime, *, except_for: Collection[str] = ()) -> None:
        """At most one heavy duty. `except_for`: names of duties that are not to be begun, due or not."""
        possible = [duty for duty in self._possible() if duty.name not in except_for or duty.name in self._running]
        for duty in plan_due(possible, self.last_runs(), now, self._app.time_zone, running=self._running):
            self._start(duty, now)

    def _possible(self) -> list[Duty]:
        """A repository that holds nothing yet cannot be checked or tidied; one on this machine gets its snapshots from the backup itself."""
        used = {name for name, state in self._app.duties.repositories().items() if state.last_snapshot_at is not None}
        kinds = ("check", "drill", "forget", "prune")
        duties = [duty for duty in self._duties if (part := duty.name.partition(":"))[0] not in kinds or part[2] in used]
        duties = [duty for duty in duties if not duty.name.startswith("snapshot:") or self._is_a_job(duty)]
        if not any(self._app.duties.last_backup(server, result="ok") for server in self._app.config.mail_server):
            duties = [
                duty for duty in duties if not duty.name.startswith("drill:")
            ]  # while a first pull goes on nothing is complete
        duties = [self._as_often_as_mail_comes(duty) if duty.name.startswith(HOMECOMING) else duty for duty in duties]
        last = self._app.duties.last_doctor_run()
        if last is not None and not all(last.ready.values()):  # a fault that was mended must not stand in the way for a day
            duties = [replace(duty, every=DOCTOR_AGAIN) if duty.name == "doctor" else duty for duty in duties]
        return duties

    def _as_often_as_mail_comes(self, duty: Duty) -> Duty:
        row = self._app.glance().by("domain_state", "domain").get(duty.name.removeprefix(HOMECOMING))
        standing = Standing.of(row)
        return replace(duty, every=gather_every(standing.state, draining=standing.drains(self._app.clock.now())))

    def _is_a_job(self, duty: Duty) -> bool:
        return self._app.is_far(duty.name.removeprefix("snapshot:")) and has_something(self._app)

    def poll(self, now: datetime) -> bool:
        """Writes down what has ended, keeps logs within bounds. True if anything ended."""
        ended = [job for job in self._running.values() if job.process.poll() is not None]
        for job in ended:
            del self._running[job.duty.name]
            self._ended(job, now)
        for job in self._running.values():
            _bound(job.log_file)
        return bool(ended)

    def wait(self, seconds: float) -> None:
        """Returns when a child has ended, or after `seconds`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and all(job.process.poll() is None for job in self._running.values()):
            time.sleep(0.1)

    def stop(self, now: datetime) -> None:
        """Asks every child to stop, gives it a grace, then kills it. The next start goes on from where it was."""
        for job in self._running.values():
            _signal(job, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SECONDS
        for job in self._running.values():
            try:
                job.process.wait(max(deadline - time.monotonic(), 0.0))
            except subprocess.TimeoutExpired:
                _signal(job, signal.SIGKILL)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    job.process.wait(5)
        self.poll(now)

    def _start(self, duty: Duty, now: datetime) -> None:
        log_file = self._app.state_dir / "jobs" / f"{duty.name.replace(':', '-')}.log"
        failures = self.last_runs().get(duty.name, LastRun()).failures
        self._app.duties.started(duty.name, now)
        try:
            log_file.parent.mkdir(mode=0o700, exist_ok=True)
            with log_file.open("ab") as output:
                process = subprocess.Popen(
                    [
                        *_gently(),
                        sys.executable,
                        "-m",
                        "failsafe",
                        "--config",
                        str(self._app.config_file),
                        *verb_of(duty.name),
                        "--json",
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
        except OSError as error:
            get_log().error("job.start", duty=duty.name, error=str(error))
            self._record(duty.name, now, failures + 1, ok=False, result=f"could not be started: {error.strerror}")
            return
        _bound(log_file)
        self._running[duty.name] = Job(duty, process, now, log_file, failures)
        get_log().info("job.started", duty=duty.name, pid=process.pid)

    def _ended(self, job: Job, now: datetime) -> None:
        code = job.process.returncode
        kind = job.duty.name.partition(
            ":"
        )[
            0
        ]  # having looked is the doctor's duty, to stop at a freeze that of forget and prune; what waits was told by the homecoming
        ok = code == EXIT_OK or (code == EXIT_FINDINGS and kind in ("doctor", "forget", "prune", "homecoming"))
        result = {EXIT_OK: "ok", EXIT_FINDINGS: "findings", EXIT_INTERRUPTED: "interrupted", EXIT_REFUSED: "refused"}.get(
            code, f"exit {code}"
        )
        failures = job.failures if code == EXIT_INTERRUPTED else job.failures + 1
        if kind == "drill" and code == EXIT_FINDINGS:
            failures = max(failures, SELDOM)  # the same mail would come back in the same way
        self._record(job.duty.name, now, failures, ok=ok, result=result)
        if ok:
            get_log().info("job.ended", duty=job.duty.name, result=result)
        else:
            get_log().warning("job.ended", duty=job.duty.name, result=result, log=str(job.log_file), tail=_tail(job.log_file))

    def _record(self, name: str, now: datetime, failures: int, *, ok: bool, result: str) -> None:
        self._app.duties.ended(name, now, ok=ok, result=result, details={} if ok else {"failures": failures})


def verb_of(duty: str) -> list[str]:
    """The command line of a duty: "backup:vps" -> backup vps."""
    kind, _, subject = duty.partition(":")
    if kind == "backup":
        return ["backup", subject, "--scheduled"]
    if kind == "snapshot":
        return ["backup", "--repository", subject, "--scheduled"]
    if kind == "homecoming":
        return ["homecoming", subject, "--scheduled"]
    if kind == "check":
        return ["verify", "--repository", subject]
    if kind == "drill":
        return ["drill", "restore", "--repository", subject]
    if kind == "forget":
        return ["forget", "--repository", subject, "--yes"]
    if kind == "prune":
        return ["prune", "--repository", subject]
    assert duty == "doctor", duty
    return ["doctor"]


def _gently() -> list[str]:
    """A NAS has other work to do."""
    prefix = []
    if shutil.which("nice"):
        prefix += ["nice", "-n", "10"]
    if shutil.which("ionice"):
        prefix += ["ionice", "-c", "2", "-n", "7"]
    return prefix


def _signal(job: Job, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(job.pid, number) if number == signal.SIGKILL else os.kill(job.pid, number)


def _bound(log_file: Path) -> None:
    """The file is opened for appending, so cutting it to nothing while the child writes is safe."""
    with contextlib.suppress(OSError):
        if log_file.stat().st_size > LOG_BYTES:
            os.truncate(log_file, 0)


def _tail(log_file: Path) -> str:
    try:
        with log_file.open("rb") as file:
            file.seek(max(log_file.stat().st_size - TAIL_BYTES, 0))
            return file.read().decode(errors="replace").strip()
    except OSError:
        return ""
