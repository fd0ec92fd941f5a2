"""Mail at the secondary into the archive: gathered from a real Dovecot, backed up, searched, restored, and nothing changed there."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path

import pytest

from failsafe.model import Result
from tests.contract.dovecot import Dovecot, running
from tests.contract.gathering import SERVER, Away
from tests.contract.imapstore import DATE, message

pytestmark = pytest.mark.timeout(300)

USERS = [f"u{number}@away.example" for number in range(40)]
ANN, BOB = "ann@example.org", "bob@example.org"


@pytest.fixture(scope="module")
def dovecot() -> Iterator[Dovecot]:
    with running(USERS) as server:
        yield server


@pytest.fixture
def users(dovecot: Dovecot) -> Iterator[str]:
    """Mailboxes there that nobody touched yet."""
    del dovecot
    return iter(USERS.pop, None)


@pytest.fixture
def away(dovecot: Dovecot, users: Iterator[str], tmp_path: Path) -> Away:
    if shutil.which("restic") is None:
        pytest.skip("restic is not installed")
    return Away(tmp_path, dovecot, {ANN: next(users), BOB: next(users)})


def deliver(away: Away, mailbox: str, folder: str, *texts: str, flags: frozenset[str] = frozenset()) -> None:
    box = away.server.open(away.logins.get(mailbox, mailbox))
    if folder != "INBOX" and folder not in box.folders():
        box.create_folder(folder)
    for text in texts:
        box.append(folder, message(text), flags, DATE)
    box.close()


def expunge(away: Away, mailbox: str, folder: str, *uids: int) -> None:
    box = away.server.open(away.logins.get(mailbox, mailbox))
    box._client.select_folder(folder)
    box._client.delete_messages(list(uids))
    box._client.expunge()
    box.close()


def names(away: Away) -> list[tuple[str, str, str]]:
    return sorted((one.mailbox, one.folder, away.read(one).split(b"\r\n")[2].decode()) for one in away.found())


def test_what_lies_at_the_secondary_is_archived_searched_and_restored_under_its_own_name(away: Away, tmp_path: Path) -> None:
    deliver(away, ANN, "INBOX", "one", "two", flags=frozenset({"\\Flagged", "Work"}))
    deliver(away, ANN, "Sent", "three")
    deliver(away, BOB, "INBOX", "four")
    report = away.gather()
    assert (report.server, report.result, report.messages.total) == (SERVER, Result.OK, 4)
    assert [one.repository for one in report.snapshots] == ["nas"]

    first = away.found()[0]
    assert (first.mailbox, first.folder, first.flags, first.keywords) == (ANN, "INBOX", frozenset("F"), ("Work",))
    assert (first.internal_date, first.by_catch_all) == (DATE.astimezone(UTC), False)
    assert hashlib.sha256(away.read(first)).hexdigest() == first.id
    assert away.read(first) == message("one")

    (snapshot,) = away.lines("snapshots", "--server", SERVER)
    assert (snapshot["server"], snapshot["messages"]) == (SERVER, 4)
    (row,) = away.lines("search", "--server", SERVER, "four")
    assert (row["server"], row["mailbox"], row["folder"]) == (SERVER, BOB, "INBOX")
    restored = json.loads(
        away.run("restore", "--server", SERVER, "--mailbox", ANN, "--to", f"maildir:{tmp_path}/back", "--yes", "--json")
    )
    assert (restored["added"], restored["missing"]) == (3, [])
    (status,) = [one for one in json.loads(away.run("status", "--json", status=1))["servers"] if one["server"] == SERVER]
    assert status["status"] == "ok"


def test_an_unchanged_second_gathering_costs_a_few_commands_and_makes_nothing(away: Away) -> None:
    for number in range(6):
        deliver(away, ANN, f"folder {number}" if number else "INBOX", "a", "b")
    away.gather()
    again = away.gather()
    assert (again.result, again.unchanged, again.snapshots) == (Result.OK, True, ())
    (note,) = [note for note in again.notes if note.startswith("IMAP: ")]
    assert int(note.split()[1]) <= 12, note  # two mailboxes: a login, a listing and a goodbye each, whatever the folders


def test_gathering_changes_nothing_at_the_secondary(away: Away) -> None:
    deliver(away, ANN, "INBOX", "one", "two")
    box = away.server.open(away.logins[ANN])
    before = box._client.folder_status("INBOX", ["UNSEEN", "RECENT", "HIGHESTMODSEQ", "MESSAGES"])
    away.gather()
    assert box._client.folder_status("INBOX", ["UNSEEN", "RECENT", "HIGHESTMODSEQ", "MESSAGES"]) == before
    box.close()


def test_what_is_deleted_there_before_it_came_home_is_still_found_and_nobody_is_asked(away: Away) -> None:
    deliver(away, ANN, "INBOX", *(f"m{number}" for number in range(60)))
    away.gather()
    expunge(away, ANN, "INBOX", *range(1, 60))  # would be a mass loss on a mail server
    report = away.gather()
    assert (report.result, report.guards, report.messages.gone) == (Result.OK, (), 59)
    assert len(away.found()) == 60
    assert {subject for _, _, subject in names(away)} == {f"Subject: m{number}" for number in range(60)}
    deliver(away, ANN, "INBOX", "late")
    assert away.gather().messages.new == 1
    assert len(away.found()) == 61


def test_what_was_moved_there_is_found_where_it_is_now(away: Away) -> None:
    deliver(away, ANN, "INBOX", "one", "two")
    deliver(away, ANN, "Kept")
    away.gather()
    box = away.server.open(away.logins[ANN])
    box._client.select_folder("INBOX")
    box._client.move([1], "Kept")
    box.close()
    away.gather()
    assert names(away) == [(ANN, "INBOX", "Subject: two"), (ANN, "Kept", "Subject: one")]


def test_a_source_that_numbers_its_messages_anew_adds_nothing(away: Away) -> None:
    deliver(away, ANN, "INBOX", "one", "two", "three")
    deliver(away, ANN, "Sent", "four")
    away.gather()
    before = away.found()
    away.server.doveadm("mailbox", "update", "--uid-validity", "77777", "-u", away.logins[ANN], "INBOX")
    away.server.doveadm("mailbox", "update", "--uid-validity", "77778", "-u", away.logins[ANN], "Sent")
    report = away.gather()
    assert (report.result, report.guards) == (Result.OK, ())
    assert sorted(map(repr, away.found())) == sorted(map(repr, before))


def test_a_mailbox_whose_login_was_taken_out_of_the_configuration_is_still_found(away: Away) -> None:
    deliver(away, ANN, "INBOX", "one")
    deliver(away, BOB, "INBOX", "two")
    away.gather()
    away.logins = {ANN: away.logins[ANN]}
    away.configure()
    assert away.gather().guards == ()
    assert names(away) == [(ANN, "INBOX", "Subject: one"), (BOB, "INBOX", "Subject: two")]


def test_a_catch_all_is_archived_under_a_name_of_its_own(away: Away, users: Iterator[str]) -> None:
    away.catch_all = next(users)
    away.configure()
    deliver(away, away.catch_all, "INBOX", "for anybody")
    deliver(away, ANN, "INBOX", "for ann")
    away.gather()
    assert {(one.mailbox, one.by_catch_all) for one in away.found()} == {("catch-all@example.org", True), (ANN, False)}


def test_a_large_message_comes_whole(away: Away) -> None:
    box = away.server.open(away.logins[ANN])
    large = message("large", b"".join(b"%075d\r\n" % number for number in range(700_000)))
    assert len(large) > 50 << 20
    box.append("INBOX", large, frozenset(), DATE)
    box.close()
    assert away.gather().result is Result.OK
    (one,) = away.found()
    assert (one.size, hashlib.sha256(away.read(one)).hexdigest()) == (len(large), hashlib.sha256(large).hexdigest())


def test_mail_of_the_secondary_is_never_restored_to_it(away: Away) -> None:
    deliver(away, ANN, "INBOX", "one")
    away.gather()
    words = ("restore", "--server", SERVER, "--to", f"imap:{SERVER}", "--imap-password-file", str(away.password), "--yes")
    away.run(*words, status=2)
    box = away.server.open(away.logins[ANN])
    assert len(list(box.messages("INBOX"))) == 1
    box.close()
