"""Forget and prune where the repository is far away, and where it may not be changed: on S3, on servers that only add, in a folder that is read-only.

On a server that refuses, restic 0.14 asks on for 43 s; there one of these tests is enough, and only with --all.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from failsafe.app import App
from failsafe.config.load import load_config
from failsafe.maintenance import forget_repository, prune_repository
from tests.contract.processes import command
from tests.contract.restics import programs, version_of
from tests.contract.s3_servers import KINDS, FaultyProxy, S3Server, allow_all_but_delete, ceph_server, moto_server
from tests.contract.sshd import answers
from tests.contract.test_forget import KEEP, World, world
from tests.ports import free_port
from tests.support import wait_until

__all__ = ["world"]

pytestmark = pytest.mark.skipif(not programs(), reason="restic is not installed (Debian: restic)")
ALL = bool(os.environ.get("FAILSAFE_ALL"))
REST_SERVER = os.environ.get("FAILSAFE_REST_SERVER") or shutil.which("restic-rest-server")
WAYS_OUT = ("maintenance_environment_file", 'maintenance = "elsewhere"')
HURRIED_PROGRAMS = [program for program in programs() if not version_of(program).startswith("0.14")]


def use(world: World, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = world.folder / "tools"
    tools.mkdir()
    (tools / "restic").symlink_to(program)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")


def secret(world: World, name: str, **values: str) -> Path:
    path = world.folder / name
    path.touch(mode=0o600)
    path.write_text("".join(f"{key}={value}\n" for key, value in values.items()))
    return path


def lay_at(world: World, url: str, *more: str) -> None:
    """The repository is at another place from now on; it was copied there."""
    world.configure("\n".join((KEEP, *more)))
    world.app.store.close()
    text = world.config.read_text().replace(f'url = "{world.place}/repository"', f'url = "{url}"')
    world.config.write_text(text)
    world.app = App(load_config(world.config), world.config)


def files_of(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


def age_and_leave_waste(world: World) -> list[str]:
    """Snapshots of which `keep` lets the first three go, and a large message that none needs any more."""
    old = world.age(400, 300, 200, 9, 8)
    before = set(world.ids())
    world.store.fill("anna@example.org", "", 1, size=400_000, prefix="large")
    world.back_up()
    world.app.repository("nas").forget([each for each in world.ids() if each not in before])
    return old


# ---------------------------------------------------------------- S3


@pytest.fixture(scope="module", params=KINDS)
def gateway(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    folder = tmp_path_factory.mktemp(request.param)
    with (moto_server if request.param == "moto" else ceph_server)(folder) as made:
        yield made


def upload(world: World, gateway: S3Server) -> str:
    bucket, client = f"mail-{free_port()}-{os.getpid()}", gateway.client()
    client.create_bucket(Bucket=bucket)
    for name, path in files_of(world.place / "repository").items():
        client.put_object(Bucket=bucket, Key=f"mail/{name}", Body=path.read_bytes())
    return bucket


def keys_in(gateway: S3Server, bucket: str, kind: str) -> set[str]:
    listed = gateway.client().list_objects_v2(Bucket=bucket, Prefix=f"mail/{kind}/").get("Contents", [])
    return {each["Key"].rpartition("/")[2] for each in listed}


def everyday(world: World, gateway: S3Server, name: str = "everyday.env") -> str:
    made = secret(world, name, AWS_ACCESS_KEY_ID=gateway.key, AWS_SECRET_ACCESS_KEY=gateway.secret)
    return f'environment_file = "{made}"'


def test_on_s3_the_objects_are_gone_afterwards_and_what_stays_is_whole(world: World, gateway: S3Server) -> None:
    old = age_and_leave_waste(world)
    bucket = upload(world, gateway)
    lay_at(world, gateway.url(bucket, "mail"), everyday(world, gateway))

    report = forget_repository(world.app, "nas")

    assert (report.exit_code, set(report.forgotten), report.trouble) == (0, set(old[:3]), None)
    assert keys_in(gateway, bucket, "snapshots") == {info.id for info in world.app.repository("nas").snapshots()}
    packs = keys_in(gateway, bucket, "data")

    outcome = prune_repository(world.app, "nas")

    assert (outcome.done, outcome.exit_code, outcome.trouble) == (True, 0, None)
    assert keys_in(gateway, bucket, "data") < packs
    assert outcome.bytes_freed is not None
    assert outcome.bytes_freed > 300_000
    assert keys_in(gateway, bucket, "locks") == set()
    assert world.app.repository("nas").check(part=1, parts=1).ok


def refuses(world: World, unchanged: Callable[[], object]) -> None:
    """Both verbs fail with the ways out, change nothing, and it is seen in `status` that they have not gone well."""
    before, listed = unchanged(), world.ids()

    code, out, told = world.run("forget", "--yes", "--json")

    (line,) = json.loads(out)["repositories"]
    assert (code, line["forgotten"]) == (4, [])
    assert "3 of 3 snapshots are still there" in line["error"] or "403" in line["error"] or "denied" in line["error"].lower()
    assert all(way in line["mend"] for way in WAYS_OUT)
    assert all(way in told for way in WAYS_OUT)

    code, out, told = world.run("prune", "--json")

    (line,) = json.loads(out)["repositories"]
    assert (code, line["pruned"], line["bytes_freed"]) == (4, False, None)
    assert ".go:" not in line["error"], "a stack trace is no answer"
    assert all(way in line["mend"] for way in WAYS_OUT)
    assert world.ids() == listed
    assert unchanged() == before
    assert world.app.repository("nas").check(part=1, parts=1).ok
    rows = world.app.duties.all()
    assert [rows[f"{verb}:nas"].result for verb in ("forget", "prune")] == ["failed", "failed"]
    assert [rows[f"{verb}:nas"].ok_at for verb in ("forget", "prune")] == [None, None]
    assert world.app.events.last("repository.forgotten", "nas") is None
    assert world.app.events.last("repository.pruned", "nas") is None


@pytest.mark.skipif(not HURRIED_PROGRAMS, reason="restic 0.14 asks on for 43 s; ./dev test --all brings newer ones")
@pytest.mark.parametrize("program", HURRIED_PROGRAMS, ids=version_of)
def test_an_s3_credential_that_may_not_delete_is_told_with_the_ways_out(
    world: World, gateway: S3Server, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On moto behind a proxy that refuses as a policy would; on Ceph by the documented policy, and with the owner's key it works."""
    use(world, program, monkeypatch)
    old = age_and_leave_waste(world)
    bucket = upload(world, gateway)
    with FaultyProxy(gateway.port).serving() as proxy:
        if gateway.kind == "moto":
            proxy.fault, proxy.strikes = "403", lambda method, path: method == "DELETE" and "/locks/" not in path
            lay_at(world, gateway.at(proxy.port).url(bucket, "mail"), everyday(world, gateway))
        else:
            allow_all_but_delete(gateway, bucket, "mail/")
            lay_at(world, gateway.url(bucket, "mail"), everyday(world, gateway.writer()))

        refuses(world, lambda: [keys_in(gateway, bucket, kind) for kind in ("snapshots", "data", "keys")])

        more = f"maintenance_{everyday(world, gateway, 'maintenance.env')}"
        lay_at(world, gateway.url(bucket, "mail"), everyday(world, gateway.writer()), more)
        assert set(forget_repository(world.app, "nas").forgotten) == set(old[:3])
        assert prune_repository(world.app, "nas").done


# ---------------------------------------------------------------- an append-only REST server


@contextmanager
def rest_server(world: World, *options: str) -> Iterator[str]:
    assert REST_SERVER
    folder, port = world.folder / "rest", free_port()
    folder.mkdir(exist_ok=True)
    digest = base64.b64encode(hashlib.sha1(b"pass").digest()).decode()
    (folder / ".htpasswd").write_text(f"user:{{SHA}}{digest}\n")
    if not (folder / "mail").exists():
        shutil.copytree(world.place / "repository", folder / "mail")
    argv = [REST_SERVER, "--path", str(folder), "--listen", f"127.0.0.1:{port}", *options]
    server = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    try:
        wait_until(lambda: answers(port), 20, "the rest-server answers")
        yield f"rest:http://127.0.0.1:{port}/mail/"
    finally:
        server.kill()
        server.wait()


@pytest.mark.skipif(not REST_SERVER, reason="restic-rest-server is not installed (Debian 13; ./dev test --all fetches it)")
@pytest.mark.parametrize("program", programs() if ALL else HURRIED_PROGRAMS, ids=version_of)
def test_an_append_only_server_refuses_and_where_deleting_is_allowed_it_is_done(
    world: World, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(world, program, monkeypatch)
    old = age_and_leave_waste(world)
    credential = secret(world, "rest.env", RESTIC_REST_USERNAME="user", RESTIC_REST_PASSWORD="pass")
    with rest_server(world, "--append-only") as url:
        lay_at(world, url, f'environment_file = "{credential}"')
        there = world.folder / "rest" / "mail"
        refuses(world, lambda: [sorted(files_of(there / kind)) for kind in ("snapshots", "data", "keys")])
    with rest_server(world) as url:
        lay_at(world, url, f'environment_file = "{credential}"')
        assert set(forget_repository(world.app, "nas").forgotten) == set(old[:3])
        assert prune_repository(world.app, "nas").done


# ---------------------------------------------------------------- a folder that may not be written


@pytest.mark.parametrize("how", ["rights", "mount"])
def test_a_folder_that_may_not_be_written_is_named_at_once_and_nothing_changes(world: World, how: str) -> None:
    world.age(400, 300, 200, 9, 8)
    place, listed = world.place / "repository", world.ids()
    before = sorted(files_of(place))
    argv = command(world.config)
    if how == "mount":
        if os.geteuid() != 0:
            pytest.skip("a read-only mount needs root")
        mount = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
        argv = ["unshare", "-m", "sh", "-c", mount, str(place), *argv]
    else:
        for folder in (place, *(path for path in place.rglob("*") if path.is_dir())):
            folder.chmod(0o500)
        if os.geteuid() == 0:  # root without its privilege to write everywhere is a user like others
            less = "-dac_override,-dac_read_search"
            argv = ["setpriv", f"--inh-caps={less}", f"--bounding-set={less}", *argv]
    words = {"mount": ("read-only file system", "writable again"), "rights": ("may not write", "right to read and write")}[how]
    for verb in (["forget", "--yes", "--json"], ["prune", "--json"]):
        answer = subprocess.run([*argv, *verb], capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)
        (line,) = json.loads(answer.stdout)["repositories"]
        assert (answer.returncode, words[0] in line["error"], words[1] in line["mend"]) == (4, True, True), line
        assert str(place) in line["error"]
    assert (world.ids(), sorted(files_of(place))) == (listed, before)
    for folder in (place, *(path for path in place.rglob("*") if path.is_dir())):
        folder.chmod(0o700)
