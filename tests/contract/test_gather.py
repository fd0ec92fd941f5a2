"""Mail at the secondary into the archive: gathered from a real Dovecot, backed up, searched, restored, and nothing changed there."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from failsafe.backup.snapshot import host_of
from failsafe.canaries import make_canary_key
from failsafe.catalogs import rebuild_catalog
from failsafe.clock import SystemClock
from failsafe.erasure import erase, find_targets
from failsafe.homecoming.found import Found
from failsafe.mail.canary import Canary
from failsafe.maintenance import plan_server
from failsafe.model import Result
from failsafe.takeover.rebuild import rebuild_server, stored_secondaries
from failsafe.verification import check_repository
from tests.contract.dovecot import Dovecot, running
from tests.contract.gathering import SERVER, Away
from tests.contract.imapstore import Proxy, message
from tests.contract.mailstore import Silent
from tests.contract.processes import start

pytestmark = pytest.mark.timeout(300)

DATE = SystemClock().now().replace(microsecond=0)  # within the homecoming's time
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
    return Away(tmp_path, dovecot, {ANN: next(users), BOB: next(users)})


@pytest.fixture
def stored(dovecot: Dovecot, users: Iterator[str], tmp_path: Path) -> Away:
    """The same, with a repository."""
    if shutil.which("restic") is None:
        pytest.skip("restic is not installed")
    return Away(tmp_path, dovecot, {ANN: next(users), BOB: next(users)}, repository=True)


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


def test_what_lies_at_the_secondary_is_archived_searched_and_restored_under_its_own_name(stored: Away, tmp_path: Path) -> None:
    away = stored
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


def test_every_verb_about_archives_knows_it_and_another_machine_takes_it_over(stored: Away, tmp_path: Path) -> None:
    away, app = stored, stored.app()
    deliver(away, ANN, "INBOX", "one", "two")
    deliver(away, BOB, "INBOX", "three")
    away.gather()
    expunge(away, ANN, "INBOX", 1)
    away.gather()

    _, archives = check_repository(app, "nas", Silent())
    assert [(archive.server, archive.ok) for archive in archives] == [("vps", True), (SERVER, True)]
    (server,) = rebuild_catalog(app, "nas", Silent(), print).servers[:1]
    assert (server.server, server.messages) == (SERVER, 3)
    (target,) = find_targets(app, BOB, None)
    assert (target.server, target.mailboxes, target.messages) == (SERVER, (BOB,), 1)
    snapshots = app.repository("nas").snapshots(host_of(SERVER))
    assert len(plan_server(app, "nas", SERVER, snapshots).decisions) == len(snapshots) == 2

    away.file.write_text(away.file.read_text().replace(f'state_dir = "{tmp_path}/state"', f'state_dir = "{tmp_path}/other"'))
    (tmp_path / "other").mkdir(mode=0o700)
    other = away.app()
    assert stored_secondaries(other, ["nas"]) == (SERVER,)
    rebuilt = rebuild_server(other, SERVER, ["nas"], (), Silent(), print)
    assert (rebuilt.error, rebuilt.messages) == ("", 3)
    assert len(away.found()) == 3  # the one that was deleted there came along
    deliver(away, ANN, "INBOX", "four")
    report = away.gather()
    assert (report.result, report.guards, report.messages.new) == (Result.OK, (), 1)
    assert len(away.found()) == 4

    outcome = erase(other, BOB, find_targets(other, BOB, None)[0], "", print)
    assert outcome.left == ""
    assert {one.mailbox for one in away.found()} == {ANN}
    away.gather()
    assert {one.mailbox for one in away.found()} == {ANN}


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
    assert sorted(map(repr, map(unnumbered, away.found()))) == sorted(map(repr, map(unnumbered, before)))


def unnumbered(found: Found) -> Found:
    return replace(found, uid_validity=None, uid=None)


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


def test_a_refused_login_is_left_alone_until_its_file_changes_and_the_others_are_gathered(away: Away) -> None:
    deliver(away, ANN, "INBOX", "one")
    deliver(away, BOB, "INBOX", "two")
    wrong = away.folder / "bob.password"
    wrong.touch(mode=0o600)
    wrong.write_text("not-the-password\n")
    accounts = (
        f'[{{ mailbox = "{ANN}", user = "{away.logins[ANN]}", password_file = "{away.password}" }}, '
        f'{{ mailbox = "{BOB}", user = "{away.logins[BOB]}", password_file = "{wrong}" }}]'
    )
    away.configure(accounts=accounts)
    first = away.gather()
    assert (first.result, [missing.mailbox for missing in first.missing]) == (Result.INCOMPLETE, [BOB])
    second = away.gather()
    assert "login refused on " in second.missing[0].why
    assert "not-the-password" not in repr([first, second])
    wrong.write_text(away.password.read_text())
    assert away.gather().result is Result.OK
    assert len(away.found()) == 2


def test_a_gathering_that_is_killed_is_finished_by_the_next(away: Away) -> None:
    deliver(away, ANN, "INBOX", *(f"m{number}" for number in range(10)))
    away.gather()
    box = away.server.open(away.logins[BOB])
    for number in range(100):
        box.append("INBOX", message(f"n{number}", b"x" * 20_000), frozenset(), DATE)
    box.close()
    killed, victims, limit = [], list[subprocess.Popen[str]](), [0]

    def forward(data: bytes, sent: int) -> bytes | None:
        if victims and sent > limit[0]:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(victims[-1].pid, signal.SIGKILL)
            return None
        return data

    with Proxy(away.server.port, forward) as proxy:
        away.port = proxy.port
        away.configure()
        for limit[0] in (10_000, 500_000, 1_500_000):
            quiet = subprocess.DEVNULL
            victims.append(start(away.file, "backup", SERVER, start_new_session=True, stdout=quiet, stderr=quiet))
            killed.append(victims[-1].wait(120))
        victims.clear()
        report = away.gather()
    assert killed == [-signal.SIGKILL] * 3
    assert (report.result, report.guards) == (Result.OK, ())
    expected = [f"Subject: m{number}" for number in range(10)] + [f"Subject: n{number}" for number in range(100)]
    assert sorted(subject for _, _, subject in names(away)) == sorted(expected)


def test_a_canary_that_lies_there_is_not_archived(away: Away) -> None:
    state_dir = away.app().state_dir
    state_dir.mkdir(mode=0o700)
    key = make_canary_key(state_dir)
    canary = Canary("vps", "0123456789abcdef", datetime(2026, 11, 22, 12, 0, tzinfo=UTC))
    box = away.server.open(away.logins[ANN])
    box.append("INBOX", canary.write(key, "s@third.example", ANN), frozenset(), DATE)
    box.close()
    deliver(away, ANN, "INBOX", "one")
    report = away.gather()
    assert (report.result, report.missing) == (Result.OK, ())
    assert names(away) == [(ANN, "INBOX", "Subject: one")]


def test_what_lay_there_long_before_the_homecoming_is_not_archived(away: Away) -> None:
    box = away.server.open(away.logins[ANN])
    box.append("INBOX", message("ten years old"), frozenset(), DATE - timedelta(days=3650))
    box.append("INBOX", message("within the margin"), frozenset(), DATE - timedelta(minutes=30))
    box.close()
    assert away.gather().result is Result.OK
    assert names(away) == [(ANN, "INBOX", "Subject: within the margin")]
    assert away.gather().unchanged


def test_mail_of_the_secondary_is_never_restored_to_it(away: Away) -> None:
    deliver(away, ANN, "INBOX", "one")
    away.gather()
    words = ("restore", "--server", SERVER, "--to", f"imap:{SERVER}", "--imap-password-file", str(away.password), "--yes")
    away.run(*words, status=2)
    box = away.server.open(away.logins[ANN])
    assert len(list(box.messages("INBOX"))) == 1
    box.close()
