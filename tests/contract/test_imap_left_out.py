"""What a pull over IMAP leaves where it is: canaries, and what is older than it was asked for. Neither is missing, and neither is read each time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from failsafe.backup.stretch import Care
from failsafe.canaries import canary_filter, make_canary_key
from failsafe.mail.canary import Canary
from failsafe.model import Result
from tests.contract.dovecot import Dovecot, running
from tests.contract.imapstore import DATE, ImapStore, message

pytestmark = pytest.mark.timeout(300)

USERS = [f"u{number}@example.org" for number in range(12)]
RECEIVED = b"Return-Path: <sender@third.example>\r\nReceived: from mx by mail;\r\n\tSun, 22 Nov 2026 12:00:00 +0000\r\n"
CANARY = Canary("vps", "0123456789abcdef", datetime(2026, 11, 22, 12, 0, tzinfo=UTC))


@pytest.fixture(scope="module")
def dovecot() -> Iterator[Dovecot]:
    with running(USERS) as server:
        yield server


@pytest.fixture
def store(dovecot: Dovecot, tmp_path: Path) -> ImapStore:
    return ImapStore(tmp_path, dovecot, (USERS.pop(),))


def append(store: ImapStore, *messages: bytes, days: int = 0) -> None:
    box = store.server.open(store.mailboxes[0])
    for data in messages:
        box.append("INBOX", data, frozenset(), DATE + timedelta(days=days))
    box.close()


def expunge(store: ImapStore, *uids: int) -> None:
    box = store.server.open(store.mailboxes[0])
    box._client.select_folder("INBOX")
    box._client.delete_messages(list(uids))
    box._client.expunge()
    box.close()


def commands(report: object) -> int:
    (note,) = [note for note in report.notes if note.startswith("IMAP: ")]  # type: ignore[attr-defined]
    return int(note.split()[1])


@pytest.mark.parametrize("care", [Care(), Care(long=1)], ids=["short", "long"])
def test_a_canary_is_left_out_and_mail_beside_it_is_not(dovecot: Dovecot, tmp_path: Path, care: Care) -> None:
    store = ImapStore(tmp_path, dovecot, (USERS.pop(),))
    key = make_canary_key(tmp_path)
    feigned = RECEIVED + CANARY.write(b"x" * 32, "s@third.example", "probe@example.org")
    append(store, message("one"), RECEIVED + CANARY.write(key, "s@third.example", "probe@example.org"), feigned, message("two"))
    leave_out = canary_filter(tmp_path)

    first = store.pull(leave_out=leave_out, care=care)
    again = store.pull(leave_out=leave_out, care=care)
    append(store, message("three"))
    third = store.pull(leave_out=leave_out, care=care)
    expunge(store, 2)
    after = store.pull(leave_out=leave_out, care=care)

    assert (first.result, first.missing, first.total) == (Result.OK, (), 3)
    assert again.unchanged
    assert (third.result, third.total, third.new) == (Result.OK, 4, 1)
    assert commands(third) <= (12 if care.long > 1 else 40)  # as any pull of one message: the canary is not read again
    assert (after.result, after.total, after.gone) == (Result.OK, 4, 0)
    assert store.archived() == store.on_server()


def test_what_is_older_than_the_begin_is_not_archived_and_not_asked_for_again(store: ImapStore) -> None:
    append(store, *(message(f"old {number}") for number in range(300)))
    append(store, message("new"), days=10)
    since = DATE + timedelta(days=5)
    first = store.pull(since=since)
    assert (first.result, first.missing, first.total) == (Result.OK, (), 1)
    assert store.pull(since=since).unchanged
    append(store, message("newer"), days=11)
    append(store, message("old, and copied there late"))
    later = store.pull(since=since)
    assert (later.result, later.total, later.new) == (Result.OK, 2, 1)
    assert later.bytes_pulled < 6000  # nothing of the 300
    assert store.pull(since=since, full_listing=True).unchanged


def test_a_begin_that_is_earlier_than_before_brings_what_it_now_takes_in(store: ImapStore) -> None:
    append(store, message("old"))
    append(store, message("less old"), days=3)
    append(store, message("new"), days=10)
    assert store.pull(since=DATE + timedelta(days=5)).total == 1
    assert store.pull(since=DATE + timedelta(days=2)).total == 2
    assert store.pull().total == 3
    assert store.archived() == store.on_server()


def test_a_folder_whose_uids_begin_anew_forgets_what_was_left_out(store: ImapStore) -> None:
    append(store, message("old"))
    append(store, message("new"), days=10)
    since = DATE + timedelta(days=5)
    store.pull(since=since)
    store.server.doveadm("mailbox", "update", "--uid-validity", "77777", "-u", store.mailboxes[0], "INBOX")
    again = store.pull(since=since)
    assert (again.result, again.total) == (Result.OK, 1)


def test_a_server_that_tells_no_changes_is_not_asked_again_for_what_was_left_out(tmp_path: Path) -> None:
    """As Proton's Bridge: without CONDSTORE and LIST-STATUS."""
    with running(["plain@example.org"], more="imap_capability = IMAP4rev1 SASL-IR UIDPLUS MOVE IDLE NAMESPACE\n") as server:
        store = ImapStore(tmp_path, server, ("plain@example.org",))
        key = make_canary_key(tmp_path)
        append(store, *(message(f"old {number}") for number in range(50)))
        append(store, message("new"), CANARY.write(key, "s@third.example", "probe@example.org"), days=10)
        options = {"since": DATE + timedelta(days=5), "leave_out": canary_filter(tmp_path)}
        first = store.pull(**options)  # type: ignore[arg-type]
        again = store.pull(**options)  # type: ignore[arg-type]
        append(store, message("newer"), days=11)
        later = store.pull(**options)  # type: ignore[arg-type]
    assert (first.result, first.missing, first.total) == (Result.OK, (), 1)
    assert again.unchanged
    assert (commands(again) <= 14, again.bytes_pulled < 4000) == (True, True)  # a listing and the flags
    assert (later.result, later.missing, later.new, later.total) == (Result.OK, (), 1, 2)
