"""What goes wrong with restic, on real repositories; a scripted restic only for what no real one can be asked to do."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from failsafe.adapters.restic import Patience, ResticRepository
from failsafe.errors import ResticError
from failsafe.ports import SnapshotRequest
from failsafe.secrets import Secret
from tests.contract.restics import PASSWORD, empty_repository, make_repository, password_file, programs, restic, version_of
from tests.fakes.progress import Heard
from tests.support import wait_until

pytestmark = pytest.mark.skipif(not programs(), reason="restic is not installed (Debian: restic)")
SHORT = Patience(
    quick=timedelta(seconds=8), silence=timedelta(seconds=2), lock_wait=timedelta(seconds=2), grace=timedelta(seconds=1)
)
REST_PASSWORD = "hunter22secret"


@pytest.fixture(params=programs(), ids=version_of)
def program(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def place(program: str, tmp_path: Path) -> Path:
    """A folder with a fresh repository, its password file and its cache."""
    return Path(shutil.copytree(empty_repository(PASSWORD, program), tmp_path / "place"))


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    folder = tmp_path / "staging"
    folder.mkdir()
    (folder / "mail").write_bytes(os.urandom(200_000))
    return folder


def request_of(folder: Path) -> SnapshotRequest:
    return SnapshotRequest(folder, "failsafe-vps", ("generation:1",))


def failure(call: Callable[[], object]) -> ResticError:
    with pytest.raises(ResticError) as caught:
        call()
    return caught.value


# ---------------------------------------------------------------- secrets


def recording(program: str, folder: Path) -> str:
    """A restic that first notes how it was called."""
    script = folder / "recording-restic"
    script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {folder}/argv\nenv >> {folder}/env\nexec {program} "$@"\n')
    script.chmod(0o755)
    return str(script)


def test_no_password_and_no_url_is_ever_an_argument(
    program: str, place: Path, staging: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTIC_PASSWORD_COMMAND", "stray")
    repository = make_repository(
        recording(program, tmp_path), place, environment=lambda: {"AWS_SECRET_ACCESS_KEY": Secret("k3y-k3y")}
    )

    repository.ensure()
    taken = repository.backup(request_of(staging), Heard())
    repository.fetch(taken.id, ["mail"], tmp_path / "out")
    repository.check(part=1, parts=2)

    argv, environment = (tmp_path / "argv").read_text(), (tmp_path / "env").read_text()
    assert "backup" in argv
    assert not [secret for secret in (PASSWORD, "k3y-k3y", str(place / "repository"), "repository.password") if secret in argv]
    assert "AWS_SECRET_ACCESS_KEY=k3y-k3y" in environment
    assert "RESTIC_PASSWORD_COMMAND" not in environment
    assert PASSWORD not in environment, "restic reads the checked file itself"


def test_a_password_in_the_url_is_in_no_message(program: str, tmp_path: Path) -> None:
    url = f"rest:http://user:{REST_PASSWORD}@127.0.0.1:1/mail"
    repository = make_repository(program, tmp_path, url=url, patience=SHORT)

    error = failure(repository.ensure)

    assert error.kind == "unreachable"
    assert REST_PASSWORD not in str(error) + error.mend
    assert "127.0.0.1:1" in str(error)
    assert error.mend


# ---------------------------------------------------------------- creating, or not


def test_a_wrong_password_is_told_and_nothing_is_created(program: str, place: Path) -> None:
    password_file(place, "something else")
    before = tree(place / "repository")

    error = failure(make_repository(program, place).ensure)

    assert error.kind == "wrong-password"
    assert not error.transient
    assert "password_file" in error.mend
    assert tree(place / "repository") == before


def test_a_missing_restic_says_how_to_install_it(tmp_path: Path) -> None:
    error = failure(make_repository("no-such-restic", tmp_path).open)

    assert error.kind == "missing-program"
    assert "apt install restic" in error.mend


def test_an_old_restic_is_refused(tmp_path: Path) -> None:
    error = failure(make_repository(scripted(tmp_path, version="0.12.1"), tmp_path).open)

    assert error.kind == "missing-program"
    assert "0.12.1" in str(error)


def test_an_unmounted_disk_is_not_a_place_for_a_new_repository(program: str, tmp_path: Path) -> None:
    repository = make_repository(program, tmp_path, url=str(tmp_path / "disk" / "mail"))

    error = failure(repository.ensure)

    assert error.kind == "no-repository"
    assert "mounted" in str(error)
    assert not (tmp_path / "disk").exists()


def test_where_a_repository_was_known_no_new_one_takes_its_place(program: str, place: Path) -> None:
    known = make_repository(program, place).open()
    (place / "repository").rename(place / "elsewhere")
    (place / "repository").mkdir()

    error = failure(make_repository(program, place, expected_id=known).ensure)

    assert error.kind == "no-repository"
    assert tree(place / "repository") == {}


def test_another_repository_in_the_place_of_ours_is_not_used(program: str, place: Path) -> None:
    repository = make_repository(program, place, expected_id="0" * 64)

    assert failure(repository.ensure).kind == "unexpected-repository"
    assert failure(repository.open).kind == "unexpected-repository"


def test_a_repository_that_lost_its_config_is_left_alone(program: str, place: Path, staging: Path) -> None:
    make_repository(program, place).backup(request_of(staging), Heard())
    (place / "repository" / "config").unlink()
    before = tree(place / "repository")

    error = failure(make_repository(program, place).ensure)

    assert "nothing was created" in str(error)
    assert "kit" in error.mend
    assert tree(place / "repository") == before


def test_a_folder_with_other_things_in_it_is_left_alone(program: str, tmp_path: Path) -> None:
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository" / "holiday.jpg").write_bytes(b"x")

    assert "holiday.jpg" in str(failure(make_repository(program, tmp_path).ensure))
    assert list((tmp_path / "repository").iterdir()) == [tmp_path / "repository" / "holiday.jpg"]


def test_a_creation_that_was_killed_is_begun_again(program: str, place: Path) -> None:
    """restic saves the key first and the config last; newer ones then refuse because there is a key."""
    (place / "repository" / "config").unlink()

    assert len(make_repository(program, place).ensure()) == 64


def test_a_creation_killed_at_any_moment_needs_no_cleaning_up(program: str, tmp_path: Path) -> None:
    for attempt in range(4):
        with killed_after(make_and_ensure(program, tmp_path), 0.15 + 0.35 * attempt):
            pass

    assert len(make_repository(program, tmp_path).ensure()) == 64
    assert restic(program, tmp_path, "check").returncode == 0


# ---------------------------------------------------------------- locks


def test_the_lock_of_a_killed_restic_is_taken_away(program: str, place: Path, staging: Path) -> None:
    kill_holding_a_lock(program, place, signal.SIGKILL)
    said: list[str] = []

    taken = make_repository(program, place, said=said).backup(request_of(staging), Heard())

    assert len(taken.id) == 64
    assert any("lock" in line for line in said), "a person is told"


def test_a_living_lock_is_waited_for_and_never_taken_away(program: str, place: Path, staging: Path) -> None:
    holder = kill_holding_a_lock(program, place, signal.SIGSTOP)
    try:
        error = failure(lambda: make_repository(program, place).backup(request_of(staging), Heard()))
        assert error.kind == "locked"
        assert "restic unlock" in error.mend
        assert locks(place) == 1
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()

    assert len(make_repository(program, place).backup(request_of(staging), Heard()).id) == 64


def test_reading_needs_no_lock(program: str, place: Path, staging: Path, tmp_path: Path) -> None:
    repository = make_repository(program, place)
    taken = repository.backup(request_of(staging), Heard())
    kill_holding_a_lock(program, place, signal.SIGKILL)

    assert [info.id for info in repository.snapshots("failsafe-vps")] == [taken.id]
    repository.fetch(taken.id, ["mail"], tmp_path / "out")
    assert repository.check(part=1, parts=1).ok
    assert (tmp_path / "out" / "mail").read_bytes() == (staging / "mail").read_bytes()
    assert locks(place) == 1


# ---------------------------------------------------------------- disks


def test_a_full_disk_is_named_and_the_repository_stays_sound(program: str, place: Path, staging: Path, tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "size=2m"):
        shutil.copytree(place / "repository", tmp_path / "small" / "repository")
        repository = make_repository(program, place, url=str(tmp_path / "small" / "repository"))
        first = repository.backup(request_of(staging), Heard())
        (staging / "large").write_bytes(os.urandom(4_000_000))

        error = failure(lambda: repository.backup(request_of(staging), Heard()))

        assert error.kind == "disk-full"
        assert "make room" in error.mend
        assert [info.id for info in repository.snapshots()] == [first.id]
        assert repository.check(part=1, parts=1).ok


def test_a_read_only_disk_is_named_and_can_still_be_read(program: str, place: Path, staging: Path, tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "size=8m"):
        shutil.copytree(place / "repository", tmp_path / "small" / "repository")
        repository = make_repository(program, place, url=str(tmp_path / "small" / "repository"), patience=SHORT)
        taken = repository.backup(request_of(staging), Heard())
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path / "small")], check=True)

        error = failure(lambda: repository.backup(request_of(staging), Heard()))

        assert "read-only" in str(error)
        assert "writable" in error.mend
        repository.fetch(taken.id, ["mail"], tmp_path / "out")
        assert (tmp_path / "out" / "mail").exists()


def test_a_changed_byte_is_found_by_the_part_that_reads_it(program: str, place: Path, staging: Path) -> None:
    repository = make_repository(program, place)
    repository.backup(request_of(staging), Heard())
    pack = max(
        (path for path in (place / "repository" / "data").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size
    )
    content = bytearray(pack.read_bytes())
    content[1000] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(content)

    assert repository.check().ok, "without reading data, restic does not see it"
    reports = [repository.check(part=part, parts=3) for part in (1, 2, 3)]

    (bad,) = (report for report in reports if not report.ok)
    assert pack.name[:8] in " ".join(bad.damaged)


def test_a_missing_pack_is_damage_and_not_an_unreachable_place(program: str, place: Path, staging: Path) -> None:
    repository = make_repository(program, place)
    repository.backup(request_of(staging), Heard())
    max(
        (path for path in (place / "repository" / "data").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size
    ).unlink()

    report = repository.check()

    assert not report.ok
    assert report.damaged


def test_a_wrong_password_is_not_damage(program: str, place: Path) -> None:
    password_file(place, "something else")

    assert failure(make_repository(program, place).check).kind == "wrong-password"


# ---------------------------------------------------------------- a scripted restic


def scripted(folder: Path, body: str = "", *, version: str = "0.18.0") -> str:
    """A restic whose `backup` is this shell script; `cat config` and `snapshots` answer as a sound repository does."""
    script = folder / "scripted-restic"
    script.write_text(
        f"""#!/bin/sh
case "$1" in
version) echo "restic {version} compiled with go" ;;
cat) echo '{{"version":2,"id":"{"a" * 64}"}}' ;;
snapshots) echo '[]' ;;
unlock) : ;;
backup) {body or ":"} ;;
esac
"""
    )
    script.chmod(0o755)
    return str(script)


def backup_with(folder: Path, staging: Path, body: str, patience: Patience = SHORT, **more: str) -> ResticError:
    repository = make_repository(scripted(folder, body, **more), folder, patience=patience)
    return failure(lambda: repository.backup(request_of(staging), Heard()))


def test_a_stuck_backup_that_still_ticks_is_ended(tmp_path: Path, staging: Path) -> None:
    tick = '{"message_type":"status","seconds_elapsed":\'$i\',"bytes_done":7,"total_bytes":9}'

    error = backup_with(tmp_path, staging, f"i=0; while :; do i=$((i+1)); echo '{tick}'; sleep 0.2; done")

    assert error.kind == "timeout"
    assert "no progress" in str(error)


def test_a_backup_that_hangs_on_a_dead_line_says_that_the_place_is_unreachable(tmp_path: Path, staging: Path) -> None:
    error = backup_with(tmp_path, staging, "echo 'Save(<data/1>) returned error: dial tcp: i/o timeout' >&2; sleep 600")

    assert error.kind == "unreachable"


def test_an_unreadable_file_makes_it_incomplete_and_is_named(tmp_path: Path, staging: Path) -> None:
    complaint = '{"message_type":"error","error":{"message":"permission denied"},"during":"archival","item":"/s/segments/ab.tar"}'
    summary = '{"message_type":"summary","snapshot_id":"' + "b" * 64 + '"}'

    error = backup_with(tmp_path, staging, f"echo '{complaint}' >&2; echo '{summary}'; exit 3")

    assert error.kind == "incomplete"
    assert "/s/segments/ab.tar: permission denied" in str(error)


def test_files_left_out_silently_make_it_incomplete_although_the_code_is_0(tmp_path: Path, staging: Path) -> None:
    complaint = '{"message_type":"error","error":{"message":"lstat x: no such file"},"during":"scan","item":"/s/x"}'
    summary = '{"message_type":"summary","snapshot_id":"' + "b" * 64 + '"}'

    assert backup_with(tmp_path, staging, f"echo '{complaint}' >&2; echo '{summary}'").kind == "incomplete"


def test_code_0_without_a_summary_is_no_success(tmp_path: Path, staging: Path) -> None:
    assert "not counted as a backup" in str(backup_with(tmp_path, staging, "exit 0"))


def test_a_snapshot_that_is_not_in_the_list_afterwards_is_no_success(tmp_path: Path, staging: Path) -> None:
    summary = '{"message_type":"summary","snapshot_id":"' + "b" * 64 + '"}'

    assert "there is no snapshot" in str(backup_with(tmp_path, staging, f"echo '{summary}'"))


def test_a_code_that_nobody_knows_is_a_failure(tmp_path: Path, staging: Path) -> None:
    error = backup_with(tmp_path, staging, "echo 'something new' >&2; exit 42")

    assert error.kind == "failed"
    assert "something new" in str(error)


# ---------------------------------------------------------------- tools


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def locks(place: Path) -> int:
    """Whole ones: a file is written under another name first."""
    return sum("-tmp-" not in path.name for path in (place / "repository" / "locks").iterdir())


def kill_holding_a_lock(program: str, place: Path, number: signal.Signals) -> subprocess.Popen[bytes]:
    """Starts a `restic check`, which locks exclusively, and sends it a signal as soon as its lock file is there.

    The repository gets enough data to read, and the rate is limited, so that it surely is still at work then.
    """
    folder = place / "filler"
    if not folder.exists():
        folder.mkdir()
        (folder / "filler").write_bytes(os.urandom(1_000_000))
        assert restic(program, place, "backup", "--host=filler", str(folder)).returncode == 0
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(place),
        "RESTIC_REPOSITORY": str(place / "repository"),
        "RESTIC_PASSWORD_FILE": str(place / "repository.password"),
    }
    command = [program, "check", "--read-data", "--limit-download=20", f"--cache-dir={place}/cache"]
    holder = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: locks(place) == 1, 60, "the lock is there")
    os.kill(holder.pid, number)
    if number is signal.SIGKILL:
        holder.wait()
    return holder


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    folder.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], capture_output=True, text=True, check=False
    )
    if mount.returncode != 0:
        pytest.skip(f"this machine does not let us mount a small disk: {mount.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def make_and_ensure(program: str, folder: Path) -> list[str]:
    script = (
        "import sys\nfrom pathlib import Path\nfrom tests.contract.restics import make_repository\n"
        "make_repository(sys.argv[1], Path(sys.argv[2])).ensure()"
    )
    return [sys.executable, "-c", script, program, str(folder)]


@contextmanager
def killed_after(command: list[str], seconds: float) -> Iterator[None]:
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
    process.wait()
    yield


def test_a_repository_can_be_made_of_all_that_a_configuration_says(tmp_path: Path) -> None:
    repository = ResticRepository(
        "nas",
        "sftp:host:/x",
        password=lambda: Secret("x"),
        cache_dir=tmp_path,
        limit_upload=2_000_000,
        limit_download=1_000_000,
        expected_id="a" * 64,
    )

    assert repository.name == "nas"
