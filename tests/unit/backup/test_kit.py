"""The kit as a value, its commands as a shell reads them, and when it is out of date."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from failsafe.backup.kit import parse_json, render_json
from failsafe.backup.kit_commands import blocks_of, open_block, put_back_block, restore_block, sftp_path
from failsafe.backup.kit_state import NO_KIT, KitCheckup, digest_of, find_changes, judge_kit
from failsafe.errors import KitError
from failsafe.model import Severity
from tests.unit.kits.sample import FRIEND, KIT, NAS, OFFSITE, PASSWORD


def changed(**values: object) -> str:
    return json.dumps({**json.loads(render_json(KIT)), **values})


def test_a_kit_is_the_same_after_json() -> None:
    assert parse_json(render_json(KIT)) == KIT


def test_keys_that_a_later_version_adds_are_passed_over() -> None:
    assert parse_json(changed(colour="blue")) == KIT


def test_a_later_format_is_refused_by_its_number() -> None:
    with pytest.raises(KitError, match="format 2"):
        parse_json(changed(format=2))


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"path": "etc/x", "mode": "0600", "content": ""}, id="no whole path"),
        pytest.param({"path": "/x", "mode": "4755", "content": ""}, id="a mode with more than permissions"),
        pytest.param({"path": "/x", "mode": "0600", "content": "***"}, id="no base64"),
        pytest.param({"path": "/x", "mode": "0600"}, id="no content"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(value: dict[str, str]) -> None:
    with pytest.raises(KitError, match="no sense"):
        parse_json(changed(files=[value]))


@pytest.mark.parametrize("path", ["../config", "keys/../../x", "data/" + "ab" * 32, "/config"])
def test_a_file_of_a_repository_leads_nowhere_else(path: str) -> None:
    repository = json.loads(render_json(KIT))["repositories"][0]
    repository["files"][0]["path"] = path

    with pytest.raises(KitError, match="no sense"):
        parse_json(changed(repositories=[repository]))


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sftp://bob@host:2222//srv/mail", "/srv/mail"),
        ("sftp://host/mail", "mail"),
        ("sftp:bob@host:/srv/mail", "/srv/mail"),
        ("sftp:host:mail/x", "mail/x"),
        ("sftp:bob@[2001:db8::1]:/srv", "/srv"),
        ("sftp://bob@[2001:db8::1]:22//srv/m", "/srv/m"),
    ],
)
def test_where_an_sftp_url_leads(url: str, path: str) -> None:
    assert sftp_path(url) == path


def in_shell(commands: str, home: Path) -> subprocess.CompletedProcess[str]:
    """With a `restic` that only says how it was called."""
    (home / "bin").mkdir(exist_ok=True)
    (home / "bin/restic").write_text('#!/bin/sh\nprintf "[%s]" "$@"\nenv\n')
    (home / "bin/restic").chmod(0o755)
    environment = {"HOME": str(home), "PATH": f"{home}/bin:/usr/bin:/bin", "RESTIC_PASSWORD": "of another day"}
    return subprocess.run(
        ["sh", "-c", commands], env=environment, cwd=home, capture_output=True, text=True, timeout=30, check=False
    )


def test_a_shell_takes_passwords_addresses_and_variables_as_they_are(tmp_path: Path) -> None:
    done = in_shell(open_block(OFFSITE).commands, tmp_path)

    here = tmp_path / "failsafe-restore/offsite"
    assert (here / "password").read_text() == PASSWORD + "\n"
    assert "AWS_SECRET_ACCESS_KEY=it's $ecret\n" in done.stdout
    assert f"RESTIC_CACERT={here}/RESTIC_CACERT\n" in done.stdout
    assert (here / "RESTIC_CACERT").read_bytes() == OFFSITE.attached[0].content
    assert "RESTIC_PASSWORD=" not in done.stdout
    assert {path.stat().st_mode & 0o077 for path in (here, *here.iterdir())} == {0}


def test_no_secret_is_an_argument_of_a_program(tmp_path: Path) -> None:
    for repository in KIT.repositories:
        done = in_shell(open_block(repository).commands, tmp_path)
        arguments = done.stdout.rpartition("]")[0]
        assert arguments, done.stderr
        assert [word for word in (PASSWORD, "$ecret") if word in arguments] == []


def test_over_sftp_the_key_and_the_known_host_of_the_kit_are_used(tmp_path: Path) -> None:
    done = in_shell(open_block(FRIEND).commands, tmp_path)

    assert "[sftp.command=ssh -F ssh_config repository -s sftp]" in done.stdout
    shown = subprocess.run(
        ["ssh", "-G", "-F", "ssh_config", "repository"],
        cwd=tmp_path / "failsafe-restore/friend",
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    wanted = {"user bob", "hostname 2001:db8::1", "port 2222", "stricthostkeychecking true", "userknownhostsfile known_hosts"}
    assert wanted | {"identityfile ssh_key", "identitiesonly yes", "globalknownhostsfile /dev/null"} <= set(shown)
    assert (tmp_path / "failsafe-restore/friend/ssh_key").read_bytes() == b"a key\n"
    assert (tmp_path / "failsafe-restore/friend/known_hosts").read_bytes() == b"[2001:db8::1]:2222 ssh-ed25519 AAAA\n"


def test_a_restore_names_the_server_and_takes_no_lock() -> None:
    assert "restic restore latest --no-lock --host failsafe-vps --target vps\n" in restore_block(NAS, KIT.servers[0]).commands


def test_where_the_kit_has_no_keys_it_prints_no_block_that_would_put_them_back() -> None:
    assert put_back_block(OFFSITE) is None
    assert [block.name for block in blocks_of(KIT, OFFSITE)] == ["open", "restore vps"]
    assert [block.name for block in blocks_of(KIT, NAS)] == ["open", "restore vps", "put-back"]


def test_for_a_place_that_only_restic_knows_the_files_are_made_and_a_person_is_told_to_copy_them(tmp_path: Path) -> None:
    rclone = replace(NAS, name="cloud", url="rclone:drive:mail", address="rclone:drive:mail")
    in_shell(open_block(rclone).commands, tmp_path)
    block = put_back_block(rclone)
    assert block is not None

    done = in_shell(block.commands, tmp_path)

    assert "rclone:drive:mail, with the tools of that place" in done.stdout
    assert (tmp_path / "failsafe-restore/cloud/lost/config").read_bytes() == NAS.files[0].content


MADE = KitCheckup(True, datetime(2026, 11, 1, tzinfo=UTC), "/media/stick/kit.html", then={"a": "1"}, now={"a": "1"})


def test_the_doctor_nags_until_a_kit_was_made_after_the_last_change() -> None:
    assert judge_kit(NO_KIT).severity is Severity.SKIPPED
    never = judge_kit(replace(MADE, made_at=None))
    assert (never.code, never.severity, "failsafe kit" in never.mend) == ("kit", Severity.WARN, True)
    assert judge_kit(MADE).severity is Severity.OK
    late = judge_kit(replace(MADE, now={"a": "2", "b": "1"}))
    assert (late.severity, "changed since: a, b" in late.text) == (Severity.WARN, True)
    assert judge_kit(replace(MADE, lacking=("offsite: no answer",))).severity is Severity.WARN


def test_what_a_drill_of_the_kit_showed_is_told() -> None:
    at = datetime(2026, 11, 20, tzinfo=UTC)
    assert "a drill proved it on 2026-11-20" in judge_kit(replace(MADE, proved_at=at)).text
    assert "failsafe drill restore --kit" in judge_kit(MADE).mend
    failed = judge_kit(replace(MADE, drill_failed=("nas: lost",)))
    assert (failed.severity, "nas: lost" in failed.text) == (Severity.WARN, True)


def test_what_is_new_gone_or_different_is_a_change() -> None:
    assert find_changes({"a": "1", "b": "1", "c": "1"}, {"a": "1", "b": "2", "d": "1"}) == ("b", "c", "d")


def test_a_digest_tells_nothing_to_who_has_not_the_key() -> None:
    assert digest_of(b"k" * 32, b"password") != digest_of(b"l" * 32, b"password")
    assert digest_of(b"k" * 32, b"password") == digest_of(b"k" * 32, b"password")
