"""What restic says and how it is told: the pure parts, with lines as the versions really print them."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.adapters.restic import commands
from failsafe.adapters.restic.capabilities import Capabilities, parse_version
from failsafe.adapters.restic.parse import (
    Failure,
    as_json,
    judge_failure,
    parse_config_id,
    parse_counted,
    parse_node,
    parse_snapshots,
    parse_summary,
    progress_key,
    unread_items,
    words,
)
from failsafe.adapters.restic.place import local_folder, name_failure
from failsafe.adapters.restic.reach import sftp_options, with_credentials
from failsafe.errors import BucketError
from failsafe.secrets import Secret

OLD, NEW = Capabilities((0, 14, 0)), Capabilities((0, 19, 1))
HINT = "Is there a repository at the following location?"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("restic 0.14.0 compiled with go1.19.8 on linux/amd64", (0, 14, 0)),
        ("restic 0.19.1-dev (compiled manually) compiled with go1.26 on linux/arm64", (0, 19, 1)),
        ("restic 1.0 compiled with", (1, 0, 0)),
    ],
)
def test_the_version_is_read(text: str, version: tuple[int, int, int]) -> None:
    found = parse_version(text)

    assert found is not None
    assert found.version == version


def test_another_program_has_no_version_of_restic() -> None:
    assert parse_version("rustic 0.11.4") is None


@pytest.mark.parametrize(
    ("capabilities", "code", "stderr", "kind"),
    [
        (OLD, 1, ["Fatal: wrong password or no key found"], "wrong-password"),
        (NEW, 12, ["Fatal: wrong password or no key found"], "wrong-password"),
        (OLD, 1, ["Fatal: unable to open config file: stat /r/config: no such file or directory", HINT, "/r"], "no-repository"),
        (OLD, 1, ["Fatal: unable to open config file: Lstat: file does not exist", HINT, "sftp:h:/r"], "no-repository"),
        (OLD, 1, ["Fatal: unable to open config file: Stat: The specified key does not exist.", HINT], "no-repository"),
        (NEW, 10, ["Fatal: repository does not exist: unable to open config file", HINT], "no-repository"),
        (OLD, 1, ["unable to create lock in backend: repository is already locked by PID 5 on nas by root"], "locked"),
        (NEW, 11, ["unable to create lock in backend: repository is already locked by PID 5 on nas by root"], "locked"),
        (OLD, 1, ["Fatal: unable to save snapshot: write /r/x: no space left on device"], "disk-full"),
        (NEW, 1, ["subprocess ssh: ssh: connect to host h port 22: Connection refused", "Fatal: unable to open"], "unreachable"),
        (OLD, -9, [], "interrupted"),
        (OLD, 130, ["signal interrupt received, cleaning up"], "interrupted"),
        (NEW, 42, ["something new"], "failed"),
        (OLD, 10, ["an old one knows no code 10"], "failed"),
    ],
)
def test_each_failure_gets_its_word(capabilities: Capabilities, code: int, stderr: list[str], kind: str) -> None:
    assert judge_failure(code, stderr, capabilities).kind == kind


@pytest.mark.parametrize(
    "reason",
    ["dial tcp 127.0.0.1:1: connect: connection refused", "open /r/config: permission denied", "i/o timeout", "503 Slow Down"],
)
def test_a_repository_that_cannot_be_read_is_not_an_absent_one(reason: str) -> None:
    """0.14 adds its question about the location to every failure."""
    assert judge_failure(1, [f"Fatal: unable to open config file: {reason}", HINT, "/r"], OLD).kind != "no-repository"


def test_an_unknown_host_key_says_how_to_mend_it() -> None:
    failure = judge_failure(1, ["subprocess ssh: Host key verification failed.", "unable to start the sftp session"], NEW)

    assert (failure.kind, failure.transient) == ("failed", False)
    assert "known_hosts" in failure.mend


def test_a_silent_failure_still_has_words() -> None:
    assert "code 77" in judge_failure(77, [], NEW).text


def test_json_is_found_behind_control_codes() -> None:
    assert as_json('\x1b[2K{"message_type":"summary"}') == {"message_type": "summary"}


@given(st.text())
def test_no_line_breaks_the_reader(line: str) -> None:
    for read in (as_json, progress_key, parse_node):
        read(line)
    assert list(unread_items([line])) == [] or '"error"' in line
    assert isinstance(words([line]), str)


def test_a_summary_of_0_14_has_a_short_id_and_raw_bytes() -> None:
    value = as_json('{"message_type":"summary","data_added":2825,"total_files_processed":6,"snapshot_id":"1a3a91a4"}')

    assert value is not None
    summary = parse_summary(value)
    assert summary is not None
    assert (summary.snapshot_id, summary.bytes_added, summary.files) == ("1a3a91a4", 2825, 6)


def test_packed_bytes_are_preferred_where_they_are_told() -> None:
    summary = parse_summary({"message_type": "summary", "data_added": 2825, "data_added_packed": 1640, "snapshot_id": "x"})

    assert summary is not None
    assert summary.bytes_added == 1640


def test_a_ticking_status_is_no_progress() -> None:
    first = '{"message_type":"status","seconds_elapsed":5,"seconds_remaining":9,"bytes_done":7}'
    second = '{"message_type":"status","seconds_elapsed":6,"seconds_remaining":8,"bytes_done":7}'
    third = '{"message_type":"status","seconds_elapsed":7,"seconds_remaining":1,"bytes_done":8}'

    assert progress_key(first) == progress_key(second) != progress_key(third)
    assert progress_key("[0:05] 0.00%  0 / 1 snapshots") == progress_key("[0:06] 0.00%  0 / 1 snapshots")


def test_snapshots_come_oldest_first_and_behind_other_words() -> None:
    ids = ["a" * 64, "b" * 64]
    listed = [
        {"id": ids[0], "hostname": "h", "time": "2026-11-22T23:20:49.421676229+01:00", "tags": ["x"]},
        {"id": ids[1], "hostname": "h", "time": "2026-11-22T22:00:00Z"},
    ]

    found = parse_snapshots('Ignoring "x": no matching ID\n' + json.dumps(listed))

    assert [info.id for info in found] == [ids[1], ids[0]]
    assert found[1].at.isoformat() == "2026-11-22T22:20:49.421676+00:00"
    assert found[0].tags == ()


def test_an_empty_repository_lists_null_or_nothing() -> None:
    assert parse_snapshots("null") == parse_snapshots("[]") == ()


@pytest.mark.parametrize("text", ["", "created repository", '[{"id":"1a3a91a4","time":"2026-11-22T22:00:00Z"}]'])
def test_anything_else_is_not_taken_for_a_list(text: str) -> None:
    with pytest.raises((ValueError, KeyError)):
        parse_snapshots(text)


def test_both_forms_of_an_error_name_the_file() -> None:
    old = '{"message_type":"error","error":{"Op":"open","Path":"/x/a","Err":13},"during":"archival","item":"/x/a"}'
    new = '{"message_type":"error","error":{"message":"permission denied"},"during":"scan","item":"/x/b"}'
    empty = '{"message_type":"error","error":{},"during":"scan","item":"/x/c"}'

    assert [item.partition(":")[0] for item in unread_items([old, "text", new, empty])] == ["/x/a", "/x/b", "/x/c"]


def test_the_id_of_the_configuration_must_be_whole() -> None:
    assert parse_config_id(["repository opened", "{", f'"id": "{"a" * 64}"', "}"]) == "a" * 64
    assert parse_config_id(['{"id": "abc"}']) is None
    assert parse_config_id(["nothing"]) is None


def test_wildcards_in_a_name_are_taken_literally() -> None:
    assert commands.pattern("a/f[1]*?.txt") == r"/a/f\[1\]\*\?.txt"
    assert commands.pattern("!important\\x") == r"/!important\\x"


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=300), max_size=3000)
)
def test_batches_fit_a_command_line_and_lose_nothing(paths: list[str]) -> None:
    portions = list(commands.batches(paths))

    assert [path for portion in portions for path in portion] == paths
    for portion in portions:
        argv = commands.restore("0" * 64, "/target", portion)
        assert sum(len(word.encode("utf-8", "surrogatepass")) + 1 for word in argv) < 128 * 1024


def test_limits_are_told_in_kib_and_never_as_none() -> None:
    assert "--limit-upload=1" in commands.options(cache_dir="/c", limit_upload=2047, limit_download=None)
    assert "--limit-download=1" in commands.options(cache_dir="/c", limit_upload=None, limit_download=1)


def test_restic_waits_for_locks_itself_only_where_it_can() -> None:
    assert commands.locking(OLD, timedelta(minutes=10)) == ()
    assert commands.locking(NEW, timedelta(minutes=10)) == ("--retry-lock=600s",)


@pytest.mark.parametrize("url", ["sftp:user@host:/srv/r", "s3:https://h/b", "rest:http://h/", "rclone:r:p", "b2:b", "SFTP:h:/x"])
def test_a_url_with_a_scheme_is_no_folder(url: str) -> None:
    assert local_folder(url) is None


def test_a_path_is_a_folder() -> None:
    assert str(local_folder("/volume1/mail")) == "/volume1/mail"
    assert str(local_folder("local:/volume1/mail")) == "/volume1/mail"


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("sftp:user@host:/srv/r", "-l user host -s sftp"),
        ("sftp:host:r", "ServerAliveCountMax=8 host -s sftp"),
        ("sftp://user@host:2222//srv/r", "-p 2222 -l user host -s sftp"),
        ("sftp://user@[::1]:2222//srv/r", "-p 2222 -l user ::1 -s sftp"),
    ],
)
def test_sftp_asks_nobody_and_checks_the_host(url: str, where: str) -> None:
    option, value = sftp_options(url, None, None)

    assert option == "-o"
    assert value.startswith("sftp.command=ssh -o BatchMode=yes -o StrictHostKeyChecking=yes")
    assert value.endswith(where)


def test_sftp_uses_the_key_and_the_hosts_that_were_given_even_with_blanks_in_their_names() -> None:
    _, value = sftp_options("sftp:host:/r", Path("/etc/fail safe/id"), Path("/etc/known"))

    assert "-i '/etc/fail safe/id'" in value
    assert "UserKnownHostsFile=/etc/known" in value
    assert "IdentitiesOnly=yes" in value
    assert sftp_options("rest:http://host/", None, None) == ()


def test_credentials_of_a_rest_server_go_into_the_url_only_where_it_has_none() -> None:
    given = {"RESTIC_REST_USERNAME": Secret("user"), "RESTIC_REST_PASSWORD": Secret("p@ss/word")}

    assert with_credentials("rest:https://host:8000/mail/", given) == "rest:https://user:p%40ss%2Fword@host:8000/mail/"
    assert with_credentials("rest:https://other:x@host/", given) == "rest:https://other:x@host/"
    assert with_credentials("s3:https://host/b", given) == "s3:https://host/b"
    assert with_credentials("rest:https://host/", {}) == "rest:https://host/"


@pytest.mark.parametrize(
    ("there", "kind", "named"),
    [
        ({"keys": 0}, "wrong-password", "keys-gone"),
        ({"keys": 1}, "wrong-password", "wrong-password"),
        ({"snapshots": 3}, "no-repository", "config-gone"),
        ({"data": 1}, "no-repository", "config-gone"),
        ({"keys": 1}, "no-repository", "no-repository"),
        ({}, "unreachable", "unreachable"),
        (None, "wrong-password", "wrong-password"),
    ],
)
def test_the_place_itself_knows_what_restic_cannot_tell_apart(there: dict[str, int] | None, kind: str, named: str) -> None:
    count = None if there is None else lambda what: there.get(what, 0)

    found = name_failure(Failure(kind, "said"), count, "/etc/failsafe/password")

    assert found.kind == named
    assert "said" in found.text


def test_a_place_that_cannot_be_looked_at_leaves_restics_word() -> None:
    def dead(_kind: str) -> int:
        raise BucketError("no answer")

    assert name_failure(Failure("wrong-password", "said"), dead, "").kind == "wrong-password"


def test_what_prune_counts_is_read() -> None:
    assert parse_counted("[0:01] 75.00%  3 / 4 packs repacked") == (3, 4, "packs repacked")
    assert parse_counted("\x1b[2K[1:02:03] 100.00%  12 / 12 old indexes deleted") == (12, 12, "old indexes deleted")
    assert parse_counted("removing 5 old packs") is None


def test_a_stack_trace_hides_the_cause_from_nobody() -> None:
    said = [
        "Remove(<snapshot/ed69448763>) returned error, retrying after 1s: 403 Forbidden",
        "github.com/restic/restic/internal/backend.(*RetryBackend).retry",
        "\tgithub.com/restic/restic/internal/backend/backend_retry.go:46",
        "main.deleteFiles.func2",
        "\tgithub.com/restic/restic/cmd/restic/delete.go:47",
        "golang.org/x/sync/errgroup.(*Group).Go.func1",
        "\tgolang.org/x/sync/errgroup/errgroup.go:75",
        "runtime.goexit",
        "\truntime/asm_amd64.s:1594",
        "unable to create lock in backend",
    ]

    assert words(said).splitlines() == [said[0], said[-1]]
