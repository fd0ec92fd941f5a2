"""Repositories are independent: one that hangs, fails or is busy never holds up another, nor the next pull."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path

import pytest

from failsafe.adapters.lock import FileLock
from failsafe.backup.job import ServerJob, run_backup
from failsafe.backup.snapshot import Target
from failsafe.errors import Interrupted
from failsafe.model import Result, SnapshotTaken
from failsafe.ports import Progress, SnapshotRequest
from tests.contract.configs import MAIL_HERE
from tests.contract.mailstore import Silent, Store
from tests.contract.processes import run, start
from tests.contract.restics import programs, put_empty_repository
from tests.contract.test_backup_job import Bench
from tests.fakes.progress import Heard
from tests.fakes.repository import FakeRepository
from tests.support import wait_until

PATIENCE = 150.0  # seconds, on a busy machine


class Hanging(FakeRepository):
    """Says nothing for ever, once it was asked for a snapshot; `release` ends it."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.begun, self.release = threading.Event(), threading.Event()
        self.stopped = False

    def stop(self) -> None:
        self.stopped = True
        self.release.set()

    def backup(self, request: SnapshotRequest, progress: Progress) -> SnapshotTaken:
        self.begun.set()
        assert self.release.wait(PATIENCE)
        if self.stopped:
            raise Interrupted("restic was stopped")
        return super().backup(request, progress)


@dataclass
class Held:
    """A lock as the heavy one is, that says when it was given back."""

    events: list[str] = field(default_factory=list)
    free: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def hold(self) -> Iterator[None]:
        try:
            yield
        finally:
            self.free.set()


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    made = Hanging("far")
    yield made
    made.release.set()


def test_a_hanging_repository_keeps_neither_the_others_nor_the_heavy_lock(tmp_path: Path, hanging: Hanging) -> None:
    near, last = FakeRepository("near"), FakeRepository("last")
    bench = Bench(Store(tmp_path), [Target(hanging), Target(near), Target(last)])
    bench.deliver(3)
    heavy, reports = Held(), []
    job = ServerJob("vps", tmp_path / "staging", bench.pull, tuple(bench.targets), tmp_path / "proofs.json", UTC)

    def work() -> None:
        reports.append(run_backup(job, lock=heavy.hold(), clock=bench.clock, progress=Silent(), record=bench.events.append))

    worker = threading.Thread(target=work)
    worker.start()
    assert hanging.begun.wait(PATIENCE)
    assert heavy.free.wait(PATIENCE)
    wait_until(lambda: count(near) == count(last) == 1, PATIENCE, "the others have their snapshots")
    bench.deliver()
    bench.targets = [Target(near)]
    meanwhile = bench.run()
    assert (meanwhile.result, meanwhile.messages.total, count(near)) == (Result.OK, 4, 2)

    hanging.release.set()
    worker.join(PATIENCE)

    (report,) = reports
    assert [(one.repository, one.result) for one in report.snapshots] == [("far", "ok"), ("near", "ok"), ("last", "ok")]
    assert {one.generation for one in report.snapshots} == {1}, "each holds the state of this pull"


def count(repository: FakeRepository) -> int:
    return len(repository.snapshots("failsafe-vps")) if repository._id else 0


def test_nothing_leaves_staging_while_a_slow_repository_reads_it(tmp_path: Path, hanging: Hanging) -> None:
    bench = Bench(Store(tmp_path), [Target(hanging)])
    bench.deliver(3)
    worker = threading.Thread(target=bench.run)
    worker.start()
    assert hanging.begun.wait(PATIENCE)
    bench.targets = [Target(FakeRepository("near"))]
    for _ in range(3):
        bench.deliver()
        bench.run()
    with bench.store.open_staging() as staging:
        assert staging.numbers() == (1, 2, 3, 4)

    hanging.release.set()
    worker.join(PATIENCE)

    assert held(hanging) == ["generations/00000001.json"]


def held(repository: FakeRepository) -> list[str]:
    (info,) = repository.snapshots("failsafe-vps")
    return list(repository.list_files(info.id, "generations"))


def test_an_interruption_stops_what_the_other_threads_run(tmp_path: Path, hanging: Hanging) -> None:
    class Interrupting(FakeRepository):
        def backup(self, request: SnapshotRequest, progress: Progress) -> SnapshotTaken:  # noqa: ARG002 - the port's
            assert hanging.begun.wait(PATIENCE)
            raise Interrupted("stopped")

    store = Store(tmp_path)
    bench = Bench(store, [Target(Interrupting("near")), Target(hanging)])
    bench.deliver()
    job = ServerJob(
        "vps", tmp_path / "staging", bench.pull, tuple(bench.targets), tmp_path / "proofs.json", UTC, stop=hanging.stop
    )

    with pytest.raises(Interrupted):
        run_backup(job, lock=contextlib.nullcontext(), clock=bench.clock, progress=Silent(), record=bench.events.append)

    assert hanging.stopped


def test_a_busy_repository_is_skipped_and_named_and_catches_up_later(tmp_path: Path) -> None:
    near, far = FakeRepository("near"), FakeRepository("far")
    lock = FileLock(tmp_path / "far.lock", "snapshot of vps")
    bench = Bench(Store(tmp_path), [Target(near), Target(far, hold=lock.hold)])
    bench.deliver()
    with lock.hold():
        first = bench.run()
    second = bench.run()

    assert [one.repository for one in first.snapshots] == ["near"]
    assert [(one.repository, "snapshot of vps" in one.why) for one in first.skipped] == [("far", True)]
    assert first.to_json()["skipped"] == [{"repository": "far", "why": first.skipped[0].why}]
    assert first.result is Result.OK
    assert ([one.repository for one in second.snapshots], second.skipped) == (["far"], ())


def test_proofs_written_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    bench = Bench(Store(tmp_path), [Target(FakeRepository(f"r{number}")) for number in range(12)])
    bench.deliver()

    assert len(bench.run().snapshots) == 12

    assert bench.run().unchanged
    assert set(json.loads((tmp_path / "proofs.json").read_text())) == {f"r{number}" for number in range(12)}


def test_progress_is_the_sum_of_what_all_repositories_do(tmp_path: Path) -> None:
    bench = Bench(Store(tmp_path), [Target(FakeRepository("near")), Target(FakeRepository("far"))])
    bench.deliver(3)
    heard = Heard()
    job = ServerJob("vps", tmp_path / "staging", bench.pull, tuple(bench.targets), tmp_path / "proofs.json", UTC)

    run_backup(job, lock=contextlib.nullcontext(), clock=bench.clock, progress=heard, record=bench.events.append)

    assert "snapshots into near, far" in [stage for stage in map(str, heard.stages) if "near" in stage][-1]


# ---------------------------------------------------------------- as a daemon


CONFIG = (
    MAIL_HERE
    + """backup_every = "1s"
[repository.nas]
url = "{folder}/repository"
password_file = "{folder}/password"
[repository.offsite]
url = "rest:http://127.0.0.1:{port}/"
password_file = "{folder}/password"
every = "1s"
"""
)


@pytest.fixture
def silent_port() -> Iterator[tuple[int, threading.Event]]:
    """A server that takes every connection and never answers."""
    asked, connections = threading.Event(), []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connections.append(server.accept())
                    asked.set()

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1], asked
        server.shutdown(socket.SHUT_RDWR)
    for connection, _address in connections:
        connection.close()


@pytest.mark.skipif(not programs(), reason="restic is not installed (Debian: restic)")
@pytest.mark.parametrize("driver", ["run", *(["tick"] if os.environ.get("FAILSAFE_ALL") else [])])
@pytest.mark.first
def test_while_one_repository_never_answers_pulls_and_the_other_go_on(
    tmp_path: Path, silent_port: tuple[int, threading.Event], driver: str
) -> None:
    port, asked = silent_port
    deliver(tmp_path, 1)
    (tmp_path / "password").touch(mode=0o600)
    (tmp_path / "password").write_text("repository password\n")
    put_empty_repository(tmp_path / "repository", "repository password")
    (tmp_path / "failsafe.toml").write_text(CONFIG.partition("[repository.offsite]")[0].format(folder=tmp_path))
    failsafe(tmp_path, "backup")
    (tmp_path / "failsafe.toml").write_text(CONFIG.format(folder=tmp_path, port=port))
    with daemon(tmp_path, driver):
        assert asked.wait(PATIENCE), (tmp_path / "log").read_text()
        (hung,) = wait_until(lambda: restics_on(tmp_path), PATIENCE, "restic waits for the silent server")
        before = near_snapshots(tmp_path)
        deliver(tmp_path, 2)
        status = wait_until(lambda: backed_up(tmp_path, before), PATIENCE, "the next pull went on, into the other repository")
        assert restics_on(tmp_path) == [hung], "the same restic hangs all the while"
        near, far = status["repositories"]
        assert (near["repository"], near["status"]) == ("nas", "ok")
        assert (far["repository"], far["status"]) == ("offsite", "never")
    wait_until(lambda: not restics_on(tmp_path), PATIENCE, "with the daemon, restic ends too")


def deliver(folder: Path, number: int) -> None:
    place = folder / "mail" / "example.test" / "a"
    for name in ("cur", "new", "tmp"):
        (place / name).mkdir(parents=True, exist_ok=True)
    (place / "tmp" / "m").write_bytes(b"Subject: %d\r\n\r\nbody\r\n" % number)
    (place / "tmp" / "m").rename(place / "cur" / f"170000000{number}.M1P1.host:2,S")


@contextmanager
def daemon(folder: Path, verb: str) -> Iterator[None]:
    with (folder / "log").open("wb") as log:
        process = start(folder / "failsafe.toml", verb, stdout=log, stderr=log)
    try:
        yield
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == {"run": 0, "tick": 5}[verb]
    finally:
        process.kill()
        process.wait()


def near_snapshots(folder: Path) -> int:
    """The other repository gets one more for the new configuration, sooner or later."""
    return int(json.loads(failsafe(folder, "status", "--json"))["repositories"][0]["snapshots"])


def backed_up(folder: Path, before: int) -> dict[str, list[dict[str, object]]] | None:
    """Both messages, in a snapshot that came since there were so many."""
    status: dict[str, list[dict[str, object]]] = json.loads(failsafe(folder, "status", "--json"))
    last, snapshots = status["servers"][0]["last_backup"], status["repositories"][0]["snapshots"]
    done = isinstance(last, dict) and last["messages"] == 2 and isinstance(snapshots, int) and snapshots > before
    return status if done else None


def failsafe(folder: Path, *verb: str) -> str:
    return run(folder / "failsafe.toml", *verb, status=range(6))[0]


def restics_on(folder: Path) -> list[int]:
    """Our restics that speak with the far repository."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and str(folder).encode() in (entry / "cmdline").read_bytes():
                environment = (entry / "environ").read_bytes()
                if b"RESTIC_REPOSITORY=rest:" in environment and (entry / "exe").readlink().name.startswith("restic"):
                    found.append(int(entry.name))
    return found
