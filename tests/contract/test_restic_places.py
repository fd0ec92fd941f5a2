"""Places that a repository can have, and what goes wrong there: S3 through a gateway that fails, sftp with a checked host key, an append-only server."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from failsafe.adapters.restic import Patience, ResticRepository
from failsafe.bucket import Deleting
from failsafe.clock import SystemClock
from failsafe.errors import ResticError
from failsafe.ports import SnapshotRequest
from failsafe.secrets import Secret
from tests.contract.restics import PASSWORD, make_repository, programs, put_empty_repository, restic, version_of
from tests.contract.s3_servers import KINDS, FaultyProxy, S3Server, allow_all_but_delete, ceph_server, moto_server
from tests.contract.sshd import Sshd, answers, make_key
from tests.fakes.progress import Heard
from tests.ports import free_port
from tests.support import wait_until

pytestmark = pytest.mark.skipif(not programs(), reason="restic is not installed (Debian: restic)")
HASTY = Patience(
    quick=timedelta(seconds=6), silence=timedelta(seconds=3), lock_wait=timedelta(seconds=2), grace=timedelta(seconds=2)
)
FAULTS = ["500", "never", *(["403", "slow"] if os.environ.get("FAILSAFE_ALL") else [])]


@pytest.fixture(params=programs(), ids=version_of)
def program(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    folder = tmp_path / "staging"
    folder.mkdir()
    refill(folder)
    return folder


def refill(folder: Path) -> None:
    (folder / "mail").write_bytes(os.urandom(100_000))


def request_of(folder: Path) -> SnapshotRequest:
    return SnapshotRequest(folder, "failsafe-vps", ("generation:1",))


def failure(call: Callable[[], object]) -> ResticError:
    with pytest.raises(ResticError) as caught:
        call()
    return caught.value


# ---------------------------------------------------------------- S3


@pytest.fixture(scope="module", params=KINDS)
def gateway(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    folder = tmp_path_factory.mktemp(request.param)
    with (moto_server if request.param == "moto" else ceph_server)(folder) as made:
        yield made


@pytest.fixture
def proxy(gateway: S3Server) -> Iterator[FaultyProxy]:
    with FaultyProxy(gateway.port).serving() as made:
        yield made


@pytest.fixture
def bucket(gateway: S3Server, tmp_path: Path) -> str:
    """A bucket that holds an empty repository below `mail/`."""
    name = f"mail-{uuid.uuid4().hex[:10]}"
    gateway.client().create_bucket(Bucket=name)
    put_empty_repository(tmp_path / "empty", PASSWORD)
    for path in (tmp_path / "empty").rglob("*"):
        if path.is_file():
            key = f"mail/{path.relative_to(tmp_path / 'empty').as_posix()}"
            gateway.client().put_object(Bucket=name, Key=key, Body=path.read_bytes())
    return name


def on_s3(program: str, folder: Path, gateway: S3Server, bucket: str, **more: Any) -> ResticRepository:
    count = gateway.bucket(bucket, "mail").count
    return make_repository(program, folder, url=gateway.url(bucket, "mail"), environment=gateway.environment, count=count, **more)


@pytest.mark.parametrize("fault", FAULTS)
def test_an_upload_that_the_gateway_fails_is_named_and_made_whole_by_the_next_run(
    program: str, tmp_path: Path, staging: Path, gateway: S3Server, bucket: str, proxy: FaultyProxy, fault: str
) -> None:
    silence = timedelta(seconds=15 if fault == "500" and os.environ.get("FAILSAFE_ALL") else 3)  # newer ones say why only then
    repository = on_s3(program, tmp_path, gateway.at(proxy.port), bucket, patience=dataclasses.replace(HASTY, silence=silence))
    proxy.fault, proxy.strikes = fault, lambda method, path: method == "PUT" and "/data/" in path

    error = failure(lambda: repository.backup(request_of(staging), Heard()))

    assert proxy.struck.is_set()
    assert error.kind in {"500": ("timeout",), "403": ("failed", "timeout")}.get(fault, ("timeout",))
    words = {"500": "trouble of its own", "403": "right to read and write"}.get(fault, "nothing is lost")
    assert words in error.mend
    assert repository.snapshots() == ()
    proxy.fault = ""
    taken = repository.backup(request_of(staging), Heard())
    assert [info.id for info in repository.snapshots()] == [taken.id]
    assert repository.check(part=1, parts=1).ok


def test_a_gateway_that_refuses_to_show_the_repository_makes_none_anew(
    program: str, tmp_path: Path, gateway: S3Server, bucket: str, proxy: FaultyProxy
) -> None:
    repository = on_s3(program, tmp_path, gateway.at(proxy.port), bucket, patience=HASTY)
    proxy.fault, proxy.strikes = "403", lambda _method, path: "/config" in path

    error = failure(repository.ensure)

    assert "right to read and write" in error.mend
    assert [asked for asked in proxy.asked if asked[0] in ("PUT", "POST", "DELETE")] == []


def test_lost_keys_and_a_lost_config_on_s3_are_named_and_nothing_is_made_in_their_place(
    program: str, tmp_path: Path, staging: Path, gateway: S3Server, bucket: str
) -> None:
    repository = on_s3(program, tmp_path, gateway, bucket)
    repository.backup(request_of(staging), Heard())
    client = gateway.client()
    (key,) = client.list_objects_v2(Bucket=bucket, Prefix="mail/keys/")["Contents"]
    held = {path: client.get_object(Bucket=bucket, Key=path)["Body"].read() for path in (key["Key"], "mail/config")}

    client.delete_object(Bucket=bucket, Key=key["Key"])
    assert failure(repository.ensure).kind == "keys-gone"
    client.put_object(Bucket=bucket, Key=key["Key"], Body=held[key["Key"]])
    client.delete_object(Bucket=bucket, Key="mail/config")
    gone = failure(repository.ensure)
    assert (gone.kind, "nothing was created" in str(gone), "kit" in gone.mend) == ("config-gone", True, True)
    client.put_object(Bucket=bucket, Key="mail/config", Body=held["mail/config"])

    assert len(repository.snapshots()) == 1


def test_with_the_documented_policy_restic_backs_up_and_cannot_destroy_anything(
    program: str, tmp_path: Path, staging: Path, gateway: S3Server, bucket: str
) -> None:
    if gateway.kind == "moto":
        pytest.skip("moto knows no policy; seen on the Ceph gateway (./dev test --all)")
    allow_all_but_delete(gateway, bucket, "mail/")
    repository = on_s3(program, tmp_path, gateway.writer(), bucket, patience=HASTY)
    taken = [repository.backup(request_of(staging), Heard()).id]
    refill(staging)
    taken.append(repository.backup(request_of(staging), Heard()).id)
    there = {each["Key"] for each in gateway.client().list_objects_v2(Bucket=bucket)["Contents"]}

    for key in there:
        with pytest.raises(Exception, match="AccessDenied"):
            gateway.writer().client().delete_object(Bucket=bucket, Key=key)

    assert [key for key in there if "/locks/" in key] == [], "restic could take its locks away"
    assert [info.id for info in repository.snapshots()] == taken
    assert repository.check(part=1, parts=1).ok
    assert gateway.writer().bucket(bucket, "mail").look(SystemClock().now()).deleting is Deleting.DENIED


def test_what_was_hidden_in_a_locked_bucket_comes_back(
    program: str, tmp_path: Path, staging: Path, gateway: S3Server, bucket: str
) -> None:
    """Somebody with the credential deletes everything: versions stay, and without the delete markers the repository is whole."""
    if gateway.kind == "moto":
        pytest.skip("moto is not believed about object lock; seen on the Ceph gateway (./dev test --all)")
    client, locked = gateway.client(), f"{bucket}-locked"
    client.create_bucket(Bucket=locked, ObjectLockEnabledForBucket=True)
    rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}
    client.put_object_lock_configuration(Bucket=locked, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule})
    for each in client.list_objects_v2(Bucket=bucket)["Contents"]:
        body = client.get_object(Bucket=bucket, Key=each["Key"])["Body"].read()
        client.put_object(Bucket=locked, Key=each["Key"], Body=body, ChecksumAlgorithm="CRC32")
    repository = on_s3(program, tmp_path, gateway, locked)
    taken = repository.backup(request_of(staging), Heard())

    for version in client.list_object_versions(Bucket=locked)["Versions"]:
        with pytest.raises(Exception, match="AccessDenied"):
            client.delete_object(Bucket=locked, Key=version["Key"], VersionId=version["VersionId"])
        client.delete_object(Bucket=locked, Key=version["Key"])
    assert "Contents" not in client.list_objects_v2(Bucket=locked)
    for marker in client.list_object_versions(Bucket=locked)["DeleteMarkers"]:
        if "/locks/" not in marker["Key"]:
            client.delete_object(Bucket=locked, Key=marker["Key"], VersionId=marker["VersionId"])

    again = on_s3(program, tmp_path / "again", gateway, locked)
    assert [info.id for info in again.snapshots()] == [taken.id]
    assert again.check(part=1, parts=1).ok


# ---------------------------------------------------------------- folders of this machine


def test_lost_keys_are_not_called_a_wrong_password(program: str, tmp_path: Path) -> None:
    put_empty_repository(tmp_path / "repository", PASSWORD)
    for key in (tmp_path / "repository" / "keys").iterdir():
        key.rename(tmp_path / "key")

    error = failure(make_repository(program, tmp_path).open)

    assert (error.kind, error.transient) == ("keys-gone", False)
    assert "keys/" in error.mend
    (tmp_path / "key").rename(tmp_path / "repository" / "keys" / key.name)
    assert len(make_repository(program, tmp_path).open()) == 64


def test_a_lost_config_is_not_called_an_absent_repository(program: str, tmp_path: Path, staging: Path) -> None:
    put_empty_repository(tmp_path / "repository", PASSWORD)
    make_repository(program, tmp_path).backup(request_of(staging), Heard())
    (tmp_path / "repository" / "config").unlink()

    assert failure(make_repository(program, tmp_path).open).kind == "config-gone"


def test_a_changed_password_says_which_file_needs_the_old_one(program: str, tmp_path: Path) -> None:
    put_empty_repository(tmp_path / "repository", PASSWORD)
    repository = make_repository(program, tmp_path)
    (tmp_path / "repository.password").write_text("a new password\n")

    error = failure(repository.open)

    assert error.kind == "wrong-password"
    assert str(tmp_path / "repository.password") in error.mend
    assert "a new password" not in str(error) + error.mend


def test_a_folder_that_may_not_be_written_is_named(program: str, tmp_path: Path, staging: Path) -> None:
    put_empty_repository(tmp_path / "repository", PASSWORD)
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere; the words of a refusal are tested with S3's 403 and in test_restic_words")
    (tmp_path / "repository" / "locks").chmod(0o500)

    assert (
        "right to read and write" in failure(lambda: make_repository(program, tmp_path).backup(request_of(staging), Heard())).mend
    )


# ---------------------------------------------------------------- every file of a repository


HARMS = [(kind, how) for kind in ("data", "index", "snapshots", "keys", "config") for how in ("changed", "cut", "gone")]
SOME_HARMS = [("index", "cut"), ("snapshots", "gone")]  # packs: test_restic_faults; 0.14 asks for one that is gone for 40 s


def test_verify_finds_every_kind_of_damage_in_every_kind_of_file(program: str, tmp_path: Path, staging: Path) -> None:
    """With all the data read: a byte changed, a file cut short, a file gone, in packs, indexes, snapshots, keys and the config."""
    put_empty_repository(tmp_path / "repository", PASSWORD)
    repository = make_repository(program, tmp_path)
    first = repository.backup(request_of(staging), Heard())
    place = tmp_path / "repository"
    unseen = []
    for kind, how in HARMS if os.environ.get("FAILSAFE_ALL") else SOME_HARMS:
        victim = largest(place / kind)
        whole = victim.read_bytes()
        replace(victim, {"changed": flipped(whole), "cut": whole[: len(whole) // 2], "gone": None}[how])
        if is_sound(repository, first.id):
            unseen.append((kind, how))
        replace(victim, whole)
    assert unseen == []
    assert is_sound(repository, first.id), "put back as it was, nothing is wrong with it"


def is_sound(repository: ResticRepository, snapshot_id: str) -> bool:
    """As `failsafe verify` asks: a check that reads the data, and that the snapshot we know is listed. An error is no all-clear."""
    try:
        return repository.check(part=1, parts=1).ok and snapshot_id in {info.id for info in repository.snapshots()}
    except ResticError:
        return False


def largest(place: Path) -> Path:
    return (
        place
        if place.is_file()
        else max((path for path in place.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    )


def flipped(whole: bytes) -> bytes:
    middle = len(whole) // 2
    return whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]


def replace(path: Path, content: bytes | None) -> None:
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_bytes(content)


def test_a_backup_after_damage_says_nothing_of_it_which_is_why_verify_exists(program: str, tmp_path: Path, staging: Path) -> None:
    """restic trusts its index (field of every version): a damaged or missing pack is no reason for it to fail, or to store the data again."""
    put_empty_repository(tmp_path / "repository", PASSWORD)
    repository = make_repository(program, tmp_path)
    repository.backup(request_of(staging), Heard())
    largest(tmp_path / "repository" / "data").unlink()

    assert repository.backup(request_of(staging), Heard()).id
    assert not repository.check().ok


def test_a_rotating_share_finds_the_damage_within_one_round(program: str, tmp_path: Path, staging: Path) -> None:
    put_empty_repository(tmp_path / "repository", PASSWORD)
    repository = make_repository(program, tmp_path)
    repository.backup(request_of(staging), Heard())
    victim = largest(tmp_path / "repository" / "data")
    replace(victim, flipped(victim.read_bytes()))

    found = [part for part in range(1, 5) if not repository.check(part=part, parts=4).ok]

    assert found == [(int(victim.name[:2], 16) % 4) + 1], "restic chooses the part by the first byte of a pack's name"


# ---------------------------------------------------------------- sftp


def on_sftp(program: str, folder: Path, sshd: Sshd, **more: Any) -> ResticRepository:
    url = f"sftp://{sshd.user}@127.0.0.1:{sshd.port}/{folder}/there"
    return make_repository(program, folder / "here", url=url, **{"ssh_key": sshd.key, "known_hosts": sshd.known_hosts, **more})


def test_over_sftp_mail_arrives_and_is_verified_with_a_key_and_a_checked_host(
    program: str, tmp_path: Path, staging: Path, sshd: Sshd
) -> None:
    put_empty_repository(tmp_path / "there", PASSWORD)
    repository = on_sftp(program, tmp_path, sshd)

    taken = repository.backup(request_of(staging), Heard())
    repository.fetch(taken.id, ["mail"], tmp_path / "out")

    assert (tmp_path / "out" / "mail").read_bytes() == (staging / "mail").read_bytes()
    assert repository.check(part=1, parts=1).ok


def test_an_unknown_host_key_over_sftp_is_refused_and_named(program: str, tmp_path: Path, sshd: Sshd) -> None:
    (tmp_path / "nobody").touch()

    error = failure(on_sftp(program, tmp_path, sshd, known_hosts=tmp_path / "nobody", patience=HASTY).ensure)

    assert "known_hosts" in error.mend
    assert not (tmp_path / "there").exists()


def test_a_key_that_is_not_let_in_over_sftp_is_named_and_nobody_is_asked(program: str, tmp_path: Path, sshd: Sshd) -> None:
    make_key(tmp_path / "stranger")

    error = failure(on_sftp(program, tmp_path, sshd, ssh_key=tmp_path / "stranger", patience=HASTY).ensure)

    assert "ssh_key" in error.mend
    assert not (tmp_path / "there").exists()


# ---------------------------------------------------------------- an append-only REST server

REST_SERVER = os.environ.get("FAILSAFE_REST_SERVER") or shutil.which("restic-rest-server")
needs_rest_server = pytest.mark.skipif(
    not REST_SERVER, reason="restic-rest-server is not installed (Debian 13: restic-rest-server; ./dev test --all fetches it)"
)
REST_USER, REST_PASSWORD = "failsafe", "p@ss/word"


@pytest.fixture
def append_only(tmp_path: Path) -> Iterator[str]:
    """A real rest-server that lets nobody delete anything but locks; gives the URL of an empty repository on it."""
    assert REST_SERVER
    folder, port = tmp_path / "rest", free_port()
    folder.mkdir()
    digest = base64.b64encode(hashlib.sha1(REST_PASSWORD.encode()).digest()).decode()
    (folder / ".htpasswd").write_text(f"{REST_USER}:{{SHA}}{digest}\n")
    put_empty_repository(folder / "mail", PASSWORD)
    argv = [REST_SERVER, "--path", str(folder), "--listen", f"127.0.0.1:{port}", "--append-only"]
    with (tmp_path / "rest.log").open("wb") as log:
        server = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        wait_until(lambda: answers(port), 20, "the rest-server answers")
        yield f"rest:http://127.0.0.1:{port}/mail/"
    finally:
        server.kill()
        server.wait()


def rest_credentials() -> dict[str, Secret]:
    return {"RESTIC_REST_USERNAME": Secret(REST_USER), "RESTIC_REST_PASSWORD": Secret(REST_PASSWORD)}


@needs_rest_server
def test_an_append_only_server_takes_backups_and_gives_them_back_and_its_password_is_in_no_argument(
    program: str, tmp_path: Path, staging: Path, append_only: str
) -> None:
    repository = make_repository(program, tmp_path, url=append_only, environment=rest_credentials)

    first = repository.backup(request_of(staging), Heard())
    refill(staging)
    second = repository.backup(request_of(staging), Heard())

    assert [info.id for info in repository.snapshots()] == [first.id, second.id]
    assert repository.check(part=1, parts=1).ok
    assert list((tmp_path / "rest" / "mail" / "locks").iterdir()) == [], "locks can be taken away there"


@needs_rest_server
def test_an_append_only_server_refuses_to_forget_and_keeps_every_byte(
    program: str, tmp_path: Path, staging: Path, append_only: str
) -> None:
    repository = make_repository(program, tmp_path, url=append_only, environment=rest_credentials)
    taken = repository.backup(request_of(staging), Heard())
    url = append_only.replace("//", f"//{REST_USER}:{quote(REST_PASSWORD, safe='')}@", 1)

    forget = restic(program, tmp_path, "forget", taken.id, "--no-cache", RESTIC_REPOSITORY=url)

    assert "403" in forget.stdout + forget.stderr or "Forbidden" in forget.stdout + forget.stderr
    assert [info.id for info in repository.snapshots()] == [taken.id]
    assert repository.check(part=1, parts=1).ok


@needs_rest_server
def test_where_nothing_can_be_deleted_other_tags_count_for_the_snapshot_that_had_the_first(
    program: str, tmp_path: Path, staging: Path, append_only: str
) -> None:
    repository = make_repository(program, tmp_path, url=append_only, environment=rest_credentials)
    taken = repository.backup(request_of(staging), Heard())

    fresh = repository.retag(taken.id, ("generation:1", "result:incomplete"))

    assert {info.id: info.tags for info in repository.snapshots()} == dict.fromkeys(
        (taken.id, fresh), ("generation:1", "result:incomplete")
    )


@needs_rest_server
def test_a_wrong_credential_for_a_rest_server_is_named_without_showing_it(program: str, tmp_path: Path, append_only: str) -> None:
    wrong = {**rest_credentials(), "RESTIC_REST_PASSWORD": Secret("not-the-password")}

    error = failure(make_repository(program, tmp_path, url=append_only, environment=lambda: wrong, patience=HASTY).ensure)

    assert error.kind != "no-repository"
    assert "right to read and write" in error.mend
    assert "not-the-password" not in str(error) + error.mend
