"""What a bucket's facts mean."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from failsafe.adapters.s3 import BucketPlace, parse_place
from failsafe.backup.bucket import judge_bucket, judge_contents, judge_delete, judge_lock, judge_unasked
from failsafe.bucket import BucketFacts, BucketRule, Contents, Deleting
from failsafe.status.words import render_bucket

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
THERE = {
    "config": Contents(1, 155),
    "keys": Contents(1, 400),
    "snapshots": Contents(41, 9000),
    "index": Contents(3, 9000),
    "data": Contents(200, 3_000_000_000),
    "locks": Contents(0, 0),
}
SAFE = BucketFacts(
    at=NOW,
    versioning="on",
    lock=True,
    lock_mode="compliance",
    lock_days=30,
    rules=(),
    deleting=Deleting.DENIED,
    contents=THERE,
    newest_snapshot_at=NOW - timedelta(hours=3),
    whole=True,
)


def test_a_locked_bucket_and_a_credential_that_cannot_delete_are_well() -> None:
    assert [(finding.code, finding.severity) for finding in judge_bucket("offsite", SAFE, 41)] == [
        ("bucket-lock", "ok"),
        ("bucket-delete", "ok"),
        ("bucket-contents", "ok"),
    ]


@pytest.mark.parametrize(
    ("changed", "severity"),
    [
        ({"lock_days": 0, "lock_mode": ""}, "ok"),
        ({"lock_days": 0, "lock_mode": "", "deleting": Deleting.FOR_GOOD}, "warn"),
        ({"lock": False, "lock_days": 0, "versioning": "on", "deleting": Deleting.FOR_GOOD}, "warn"),
        ({"lock": False, "lock_days": 0, "versioning": "off", "deleting": Deleting.FOR_GOOD}, "warn"),
        ({"lock": False, "lock_days": 0, "versioning": "off"}, "ok"),
        ({"lock": None, "lock_days": 0, "versioning": None}, "skipped"),
        ({"rules": (BucketRule("tidy", "", "deletes objects after 30 days"),)}, "fail"),
    ],
)
def test_what_is_not_protected_is_said(changed: dict[str, object], severity: str) -> None:
    found = judge_lock("offsite", replace(SAFE, **changed))  # type: ignore[arg-type]

    assert found.severity == severity
    assert severity in ("ok", "skipped") or found.mend


@pytest.mark.parametrize(
    ("deleting", "severity"),
    [(Deleting.DENIED, "ok"), (Deleting.HIDES, "ok"), (Deleting.FOR_GOOD, "warn"), (Deleting.UNKNOWN, "fail")],
)
def test_only_what_was_tried_is_believed_of_the_credential(deleting: Deleting, severity: str) -> None:
    assert judge_delete("offsite", replace(SAFE, deleting=deleting)).severity == severity


@pytest.mark.parametrize(
    ("gone", "listed", "severity", "word"),
    [
        ({}, 41, "ok", "41 snapshots"),
        ({}, None, "ok", "41 snapshots"),
        ({}, 42, "fail", "restic lists 42"),
        ({}, 40, "warn", "restic lists 40"),
        ({"keys": Contents(0, 0)}, 41, "fail", "keys/"),
        ({"config": Contents(0, 0)}, None, "fail", "config"),
        ({"data": Contents(0, 0)}, 41, "fail", "no data"),
        (dict.fromkeys(THERE, Contents(0, 0)), 41, "fail", "no repository"),
        (dict.fromkeys(THERE, Contents(0, 0)), None, "skipped", "no repository"),
    ],
)
def test_what_is_really_there_is_compared_with_restics_word(
    gone: dict[str, Contents], listed: int | None, severity: str, word: str
) -> None:
    found = judge_contents("offsite", replace(SAFE, contents={**THERE, **gone}), listed)

    assert (found.severity, word in found.text) == (severity, True)


def test_a_snapshot_made_while_we_looked_is_no_difference() -> None:
    assert judge_contents("offsite", replace(SAFE, newest_snapshot_at=NOW), 40).severity == "ok"


def test_a_bucket_that_was_not_listed_whole_is_not_called_short() -> None:
    found = judge_contents("offsite", replace(SAFE, whole=False), 500)

    assert (found.severity, "at least" in found.text) == ("ok", True)


def test_a_bucket_that_could_not_be_asked_is_not_well() -> None:
    assert [finding.severity for finding in judge_unasked("offsite", "no answer", "look")] == ["warn", "skipped", "skipped"]


def test_status_shows_one_line_of_it() -> None:
    shown = render_bucket(SAFE.to_json())

    assert "object lock compliance for 30 d" in shown
    assert "cannot delete" in shown
    assert "41 snapshots, 3.00 GB really there" in shown
    loose = replace(SAFE, lock=None, lock_days=0, versioning=None, contents=None, rules=None, deleting=Deleting.FOR_GOOD)
    assert "CAN DELETE" in render_bucket(loose.to_json())


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("s3:https://s3.example.net/my-mail", BucketPlace("https://s3.example.net", "my-mail", "")),
        ("s3:http://127.0.0.1:7480/b/a/c/", BucketPlace("http://127.0.0.1:7480", "b", "a/c/")),
        ("s3:s3.amazonaws.com/b/p", BucketPlace("https://s3.amazonaws.com", "b", "p/")),
        ("s3://s3.eu-central-1.amazonaws.com/b", BucketPlace("https://s3.eu-central-1.amazonaws.com", "b", "")),
        ("s3:https://s3.example.net/", None),
        ("sftp:host:/b", None),
        ("/volume1/mail", None),
    ],
)
def test_the_url_is_read_as_restic_reads_it(url: str, place: BucketPlace | None) -> None:
    assert parse_place(url) == place


def test_amazons_region_is_in_its_host() -> None:
    place = parse_place("s3:s3.eu-central-1.amazonaws.com/b")

    assert place is not None
    assert (place.is_amazon, place.region) == (True, "eu-central-1")
