"""A bucket's own facts on real calls: moto always, a Ceph gateway with --all; a proxy that fails on purpose before either."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from failsafe.backup.bucket import judge_bucket
from failsafe.bucket import Deleting
from failsafe.errors import BucketError
from tests.contract.s3_servers import KINDS, FaultyProxy, S3Server, allow_all_but_delete, ceph_server, moto_server

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    folder = tmp_path_factory.mktemp(request.param)
    with (moto_server if request.param == "moto" else ceph_server)(folder) as made:
        yield made


@pytest.fixture
def name() -> str:
    return f"mail-{uuid.uuid4().hex[:10]}"


@pytest.fixture
def proxy(server: S3Server) -> Iterator[FaultyProxy]:
    with FaultyProxy(server.port).serving() as made:
        yield made


def put_repository(server: S3Server, name: str, prefix: str = "", *, lock: dict[str, object] | None = None) -> None:
    """Files that look like restic's from outside: a look reads names and sizes only."""
    client = server.client()
    client.create_bucket(Bucket=name, **({"ObjectLockEnabledForBucket": True} if lock else {}))
    if lock:
        client.put_object_lock_configuration(Bucket=name, ObjectLockConfiguration=lock)
    files = {"config": 155, "keys/aa": 400, "snapshots/bb": 250, "snapshots/cc": 250, "index/dd": 900, "data/ee/ee01": 5000}
    for path, size in files.items():
        client.put_object(Bucket=name, Key=f"{prefix}{path}", Body=b"x" * size, ChecksumAlgorithm="CRC32")


def test_what_is_really_there_is_counted_by_kind(server: S3Server, name: str) -> None:
    put_repository(server, name, "nas/mail/")
    server.client().put_object(Bucket=name, Key="nas/holiday.jpg", Body=b"x")
    server.client().put_object(Bucket=name, Key="nas/mail/stray", Body=b"x")

    facts = server.bucket(name, "nas/mail").look(NOW)

    assert facts.contents is not None
    assert {kind: (each.files, each.bytes) for kind, each in facts.contents.items()} == {
        "config": (1, 155),
        "keys": (1, 400),
        "snapshots": (2, 500),
        "index": (1, 900),
        "data": (1, 5000),
        "locks": (0, 0),
    }
    assert (facts.whole, facts.foreign) == (True, 1)
    assert facts.newest_snapshot_at is not None
    assert facts.newest_snapshot_at.tzinfo is not None
    json.dumps(facts.to_json())


def test_more_than_a_page_is_listed_whole(server: S3Server, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put_repository(server, name)
    monkeypatch.setattr("failsafe.adapters.s3.PAGE", 4)

    facts = server.bucket(name).look(NOW)

    assert facts.contents is not None
    assert sum(each.files for each in facts.contents.values()) == 6


def test_a_plain_bucket_says_that_nothing_protects_it_and_the_probe_leaves_nothing_behind(server: S3Server, name: str) -> None:
    put_repository(server, name)

    facts = server.bucket(name).look(NOW)

    assert (facts.versioning, facts.lock, facts.rules, facts.deleting) == ("off", False, (), Deleting.FOR_GOOD)
    assert len(server.client().list_objects_v2(Bucket=name)["Contents"]) == 6
    assert [finding.severity for finding in judge_bucket("offsite", facts, 2)] == ["warn", "warn", "ok"]


def test_versioning_is_seen(server: S3Server, name: str) -> None:
    put_repository(server, name)
    server.client().put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})

    assert server.bucket(name).look(NOW).versioning == "on"


def test_a_locked_bucket_keeps_its_versions_whatever_this_credential_does(server: S3Server, name: str) -> None:
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 3}}
    put_repository(server, name, lock={"ObjectLockEnabled": "Enabled", "Rule": rule})

    facts = server.bucket(name).look(NOW)

    assert (facts.versioning, facts.lock, facts.lock_mode, facts.lock_days) == ("on", True, "governance", 3)
    assert facts.deleting is Deleting.HIDES
    assert {finding.severity for finding in judge_bucket("offsite", facts, 2)} == {"ok"}


def test_a_rule_that_deletes_backups_is_a_danger_and_one_that_tidies_old_versions_is_not(server: S3Server, name: str) -> None:
    put_repository(server, name, "mail/")
    rules = [
        {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": ""}, "NoncurrentVersionExpiration": {"NoncurrentDays": 30}},
        {"ID": "elsewhere", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 7}},
        {"ID": "everything", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 365}},
    ]
    server.client().put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": rules})

    facts = server.bucket(name, "mail").look(NOW)

    assert facts.rules is not None
    assert [(rule.name, rule.does) for rule in facts.rules] == [("everything", "deletes objects after 365 days")]
    first, *_ = judge_bucket("offsite", facts, 2)
    assert (first.code, first.severity) == ("bucket-lock", "fail")
    assert "everything" in first.text


def test_a_credential_that_cannot_delete_is_proved_and_its_probe_is_used_again(
    server: S3Server, name: str, proxy: FaultyProxy
) -> None:
    """moto knows no policy: there the proxy refuses as a gateway does; on Ceph a real policy of the bucket does."""
    put_repository(server, name)
    if server.kind == "moto":
        proxy.fault, proxy.strikes = "403", lambda method, _path: method == "DELETE"
        seen = server.at(proxy.port)
    else:
        allow_all_but_delete(server, name)
        seen = server.writer()

    looks = [seen.bucket(name).look(NOW) for _ in range(2)]

    assert [facts.deleting for facts in looks] == [Deleting.DENIED, Deleting.DENIED]
    keys = [each["Key"] for each in server.client().list_objects_v2(Bucket=name)["Contents"]]
    assert [key for key in keys if "failsafe" in key] == ["failsafe-delete-probe"]
    assert looks[1].foreign == 0, "our own probe is no stranger"
    assert judge_bucket("offsite", looks[1], 2)[1].severity == "ok"


# ---------------------------------------------------------------- a gateway that fails


def test_a_gateway_that_answers_500_is_named_and_tried_again_only_a_few_times(
    server: S3Server, name: str, proxy: FaultyProxy
) -> None:
    put_repository(server, name)
    proxy.fault = "500"

    with pytest.raises(BucketError, match="InternalError") as caught:
        server.at(proxy.port).bucket(name).look(NOW)

    assert caught.value.transient
    assert len(proxy.asked) == 3


def test_a_gateway_that_refuses_the_list_says_what_is_needed(server: S3Server, name: str, proxy: FaultyProxy) -> None:
    put_repository(server, name)
    proxy.fault, proxy.strikes = "403", lambda _method, path: "list-type=2" in path

    facts = server.at(proxy.port).bucket(name).look(NOW)

    assert facts.contents is None
    assert judge_bucket("offsite", facts, None)[2].severity == "skipped"


def test_questions_that_are_refused_leave_facts_unknown_and_not_well(server: S3Server, name: str, proxy: FaultyProxy) -> None:
    put_repository(server, name)
    proxy.fault, proxy.strikes = (
        "403",
        lambda _method, path: path.partition("?")[2].startswith(("versioning", "object-lock", "lifecycle")),
    )

    facts = server.at(proxy.port).bucket(name).look(NOW)

    assert (facts.versioning, facts.lock, facts.rules) == (None, None, None)
    assert judge_bucket("offsite", facts, 2)[0].severity == "skipped"


@pytest.mark.parametrize("fault", ["never", "slow"])
def test_a_gateway_that_never_gets_done_is_given_up(server: S3Server, name: str, proxy: FaultyProxy, fault: str) -> None:
    put_repository(server, name)
    proxy.fault = fault

    with pytest.raises(BucketError) as caught:
        server.at(proxy.port).bucket(name, read_seconds=0.5, whole_seconds=10.0).look(NOW)

    assert proxy.struck.is_set()
    assert caught.value.mend


def test_a_dead_gateway_and_a_missing_bucket_are_named_without_a_secret(server: S3Server, name: str, tmp_path: Path) -> None:
    for seen in (server.at(1).bucket(name), server.bucket("no-such-bucket-here")):
        with pytest.raises(BucketError) as caught:
            seen.look(NOW)
        assert "offsite" in str(caught.value)
        assert server.secret not in str(caught.value) + caught.value.mend
        assert caught.value.mend


def test_a_wrong_secret_is_named(server: S3Server, name: str) -> None:
    if server.kind == "moto":
        pytest.skip("moto accepts every credential; seen on the Ceph gateway (./dev test --all)")
    put_repository(server, name)

    with pytest.raises(BucketError, match="SignatureDoesNotMatch") as caught:
        S3Server("ceph", server.port, server.key, "not-the-secret-at-all").bucket(name).look(NOW)

    assert "environment_file" in caught.value.mend
