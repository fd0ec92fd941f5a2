"""The pull over IMAP, from a real Dovecot with each of its stores."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from failsafe.adapters.imap import ImapMailbox
from failsafe.backup.stretch import Care
from failsafe.mail.identity import digests
from failsafe.model import Result
from tests.contract.dovecot import BY_DOMAIN, Dovecot, look, running
from tests.contract.imapstore import DATE, ImapStore, message

pytestmark = pytest.mark.timeout(300)

PULLS = 40 if os.environ.get("FAILSAFE_ALL") else 3  # under fire
STORES = ("mdbox", "sdbox", "maildir")
USERS = {kind: [f"u{number}@{kind}.example.org" for number in range(40)] for kind in STORES}


@pytest.fixture(scope="session")
def dovecot() -> Iterator[Dovecot]:
    with running([user for kind in STORES for user in USERS[kind]], store=BY_DOMAIN) as server:
        yield server


@pytest.fixture(params=STORES)
def anew(request: pytest.FixtureRequest, dovecot: Dovecot, tmp_path: Path) -> ImapStore:
    """A mailbox that nobody touched yet, in each of Dovecot's stores."""
    return take(dovecot, tmp_path, request.param)


@pytest.fixture
def mdbox(dovecot: Dovecot, tmp_path: Path) -> ImapStore:
    return take(dovecot, tmp_path, "mdbox")


def take(server: Dovecot, base: Path, kind: str, count: int = 1) -> ImapStore:
    return ImapStore(base, server, tuple(USERS[kind].pop() for _ in range(count)))


def fill(box: ImapMailbox, folder: str, count: int, start: int = 0) -> None:
    if folder != "INBOX":
        box.create_folder(folder)
    for number in range(start, start + count):
        flags = frozenset({"\\Seen"} if number % 3 else {"\\Flagged", "Work"})
        box.append(folder, message(f"{folder} {number}"), flags, DATE + timedelta(seconds=number))


# ---------------------------------------------------------------- what comes over


def test_every_store_arrives_as_a_client_sees_it(anew: ImapStore) -> None:
    store, server = anew, anew.server
    box = server.open(store.mailboxes[0])
    for folder in ("INBOX", "Entwürfe", "Archive/2026", 'quo"te & more', "with space", "2026"):
        fill(box, folder, 5)
    box.append("INBOX", message("big", b"x" * 9_000_000), frozenset({"\\Answered", "\\Draft", "\\Deleted", "$Forwarded"}), DATE)
    box.append("INBOX", b"\r\n", frozenset(), DATE)
    box.append("INBOX", b"Subject: odd\r\n\r\nbare \r here, raw \xff\xfe\r\n" + b"y" * 3000, frozenset(), DATE)
    box.close()
    report = store.pull()
    assert (report.result, report.total, report.new) == (Result.OK, 33, 33)
    assert store.archived() == store.on_server()


def test_reading_leaves_everything_on_the_server_as_it_was(mdbox: ImapStore) -> None:
    store, server = mdbox, mdbox.server
    box = server.open(store.mailboxes[0])
    fill(box, "INBOX", 5)
    before = box._client.folder_status("INBOX", ["UNSEEN", "RECENT", "HIGHESTMODSEQ"])
    store.pull()
    store.pull(full_listing=True)
    assert box._client.folder_status("INBOX", ["UNSEEN", "RECENT", "HIGHESTMODSEQ"]) == before
    box.close()


def test_nothing_new_makes_no_generation_and_costs_a_few_commands_for_all_folders(mdbox: ImapStore) -> None:
    store, server = mdbox, mdbox.server
    box = server.open(store.mailboxes[0])
    for number in range(12):
        fill(box, f"folder {number}", 2)
    box.close()
    first = store.pull()
    again = store.pull()
    assert again.unchanged
    assert again.proved[store.mailboxes[0]] > first.proved[store.mailboxes[0]]
    assert commands(again) <= 6
    assert again.bytes_pulled < 4000
    assert store.pull(full_listing=True).unchanged


def commands(report: object) -> int:
    """As the report's own note counts them."""
    (note,) = [note for note in report.notes if note.startswith("IMAP: ")]  # type: ignore[attr-defined]
    return int(note.split()[1])


def test_ten_thousand_messages_that_did_not_change_cost_less_than_one_round_trip_for_a_folder(
    dovecot: Dovecot, tmp_path: Path
) -> None:
    store = take(dovecot, tmp_path, "maildir")
    for number in range(10):
        deliver_files(dovecot, store.mailboxes[0], f".f{number}" if number else "", 1000, f"160000000{number}.M{{0}}P1.host:2,S")
    first = store.pull()
    assert (first.missing, first.result, first.total) == ((), Result.OK, 10_000)
    unchanged = store.pull()
    assert unchanged.unchanged
    assert commands(unchanged) <= 6
    box = dovecot.open(store.mailboxes[0])
    box.append("INBOX", message("one more"), frozenset(), DATE)
    box.close()
    one = store.pull()
    assert (one.new, one.total) == (1, 10_001)
    assert commands(one) <= 12
    assert one.bytes_pulled < 10_000


def deliver_files(server: Dovecot, mailbox: str, directory: str, count: int, name: str = "1600000000.M{0}P1.host:2,S") -> None:
    """As a delivery agent leaves them in a Maildir."""
    user, _, domain = mailbox.partition("@")
    home = server.folder / "mail" / domain / user
    for sub in ("cur", "new", "tmp"):
        (home / directory / sub).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (home / directory / "cur" / name.format(number)).write_bytes(message(f"{directory:10.10} {number}"))
    subprocess.run(["chown", "-R", "5000:5000", str(home.parent)], check=True)


# ---------------------------------------------------------------- changes cost what they are


def test_flags_and_keywords_that_change_are_followed_without_a_messages_bytes(anew: ImapStore) -> None:
    store, server = anew, anew.server
    box = server.open(store.mailboxes[0])
    for number in range(6):
        box.append("INBOX", message(str(number), b"x" * 50_000), frozenset({"Old"}), DATE)
    store.pull()
    box._client.select_folder("INBOX")
    box._client.set_flags([1, 2], ["\\Seen", "New"])
    box._client.remove_flags([3], ["Old"])
    report = store.pull()
    assert (report.result, report.reflagged, report.new, report.gone) == (Result.OK, 3, 0, 0)
    assert report.bytes_pulled < 5000
    assert store.archived() == store.on_server()
    box.close()


def test_messages_that_left_leave_and_new_ones_come(anew: ImapStore) -> None:
    store, server = anew, anew.server
    box = server.open(store.mailboxes[0])
    fill(box, "INBOX", 10)
    store.pull()
    expunge(box, "INBOX", [2, 3, 9, 10])
    fill(box, "INBOX", 3, start=10)
    report = store.pull()
    assert (report.new, report.gone, report.total, report.guards) == (3, 4, 9, ())
    assert store.archived() == store.on_server()
    box.close()


def expunge(box: ImapMailbox, folder: str, uids: list[int]) -> None:
    box._client.select_folder(folder)
    box._client.delete_messages(uids)
    box._client.expunge()


def test_moves_and_copies_are_followed_without_transfer(anew: ImapStore) -> None:
    store, server = anew, anew.server
    box = server.open(store.mailboxes[0])
    box.create_folder("Archive")
    for number in range(6):
        box.append("INBOX", message(str(number), b"x" * 50_000), frozenset(), DATE)
    store.pull()
    box._client.select_folder("INBOX")
    box._client.move([1, 2], "Archive")
    box._client.copy([3], "Archive")
    report = store.pull()
    assert (report.result, report.moved, report.new, report.gone, report.total) == (Result.OK, 2, 1, 0, 7)
    assert report.bytes_pulled < 8000
    assert store.archived() == store.on_server()
    box.close()


def test_a_renamed_folder_is_not_fetched_again(mdbox: ImapStore) -> None:
    store, server = mdbox, mdbox.server
    box = server.open(store.mailboxes[0])
    box.create_folder("Before/Below")
    for number in range(4):
        box.append("Before/Below", message(str(number), b"x" * 50_000), frozenset(), DATE)
    store.pull()
    box._client.rename_folder("Before", "After")
    report = store.pull()
    assert (report.moved, report.new, report.guards) == (4, 0, ())
    assert report.bytes_pulled < 8000
    assert store.archived() == store.on_server()
    assert [folder.name for folder in store.manifest(store.mailboxes[0]).folders] == ["INBOX", "After/Below"]
    box.close()


@pytest.mark.parametrize("name", ["1000.import:2,S", "1600000000.M{0}P1.host:2,S"])
def test_a_maildir_whose_files_share_their_names_is_read_message_by_message(dovecot: Dovecot, tmp_path: Path, name: str) -> None:
    """Such a name is the message's X-GUID, and no proof of anything by itself; sizes and dates are the same too."""
    store = take(dovecot, tmp_path, "maildir")
    (mailbox,) = store.mailboxes
    for directory in ("", ".One", ".Two"):
        deliver_files(dovecot, mailbox, directory, 1, name)
    for file in (dovecot.folder / "mail" / "maildir.example.org" / mailbox.partition("@")[0]).rglob("*:2,S"):
        os.utime(file, (1_600_000_000, 1_600_000_000))
    store.pull()
    assert len(store.archived()) == 3
    assert store.archived() == store.on_server()


# ---------------------------------------------------------------- UIDs


def test_a_new_uidvalidity_costs_no_transfer_where_the_server_proves_its_messages(anew: ImapStore) -> None:
    store, server = anew, anew.server
    (mailbox,) = store.mailboxes
    box = server.open(mailbox)
    box.create_folder("Other")
    for number in range(30):
        box.append("INBOX", message(str(number), b"x" * 20_000), frozenset({"Work"}), DATE)
    store.pull()
    box.close()
    server.doveadm("mailbox", "update", "-u", mailbox, "--uid-validity", "4000000000", "INBOX")
    report = store.pull()
    assert (report.result, report.guards, report.total, report.new) == (Result.OK, (), 30, 0)
    assert report.bytes_pulled < 20_000
    assert store.archived() == store.on_server()
    inbox = next(folder for folder in store.manifest(mailbox).folders if folder.name == "INBOX")
    assert (inbox.uid_validity, inbox.uid_next) == (4000000000, 31)
    assert store.pull().unchanged


def test_a_store_whose_folders_all_begin_anew_raises_a_guard_and_loses_nothing(mdbox: ImapStore) -> None:
    store, server = mdbox, mdbox.server
    (mailbox,) = store.mailboxes
    box = server.open(mailbox)
    for folder in ("INBOX", "One", "Two"):
        fill(box, folder, 4)
    box.close()
    store.pull()
    for folder in ("INBOX", "One", "Two"):
        server.doveadm("mailbox", "update", "-u", mailbox, "--uid-validity", "4000000001", folder)
    report = store.pull()
    assert [guard.code for guard in report.guards] == ["store-rebuilt"]
    assert "failsafe accept vps" in report.guards[0].mend
    assert store.archived() == store.on_server()
    with store.open_inventory() as inventory:
        inventory.accept()
    assert store.pull().guards == ()


@pytest.mark.parametrize("since", [2, 6])
def test_a_store_put_back_from_an_old_copy_gives_uids_out_twice_and_each_message_is_told_apart(
    dovecot: Dovecot, tmp_path: Path, since: int
) -> None:
    """With less new mail than was lost UIDNEXT is behind ours, with more it is not."""
    store = take(dovecot, tmp_path, "maildir")
    (mailbox,) = store.mailboxes
    home = dovecot.folder / "mail" / mailbox.partition("@")[2] / mailbox.partition("@")[0]
    box = dovecot.open(mailbox)
    fill(box, "INBOX", 30)
    box.close()
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-a", str(home), str(copy)], check=True)
    box = dovecot.open(mailbox)
    fill(box, "INBOX", 4, start=30)
    box.close()
    store.pull()
    lost = {row[2] for row in store.archived()} - {row[2] for row in store.on_server() if row[4] < DATE.timestamp() + 30}
    assert len(lost) == 4
    subprocess.run(["rm", "-rf", str(home)], check=True)
    subprocess.run(["cp", "-a", str(copy), str(home)], check=True)
    box = dovecot.open(mailbox)
    fill(box, "INBOX", since, start=100)
    box.close()
    report = store.pull()
    assert (report.result, report.new, report.gone, report.guards) == (Result.OK, since, 4, ())
    assert store.archived() == store.on_server()


# ---------------------------------------------------------------- keywords


def test_more_keywords_than_a_maildir_has_letters_are_all_kept(mdbox: ImapStore) -> None:
    store, server = mdbox, mdbox.server
    box = server.open(store.mailboxes[0])
    for number in range(40):
        used = {f"Word{place:02d}" for place in range(40) if place >= number} | {"NIL", "2026"}
        box.append("INBOX", message(str(number)), frozenset(used), DATE)
    store.pull()
    assert store.archived() == store.on_server()
    (store.base / "inventory.sqlite").unlink()
    box._client.select_folder("INBOX")
    box._client.remove_flags([40], ["NIL"])
    assert store.pull().result is Result.OK
    assert store.archived() == store.on_server()
    box.close()
    out = rebuilt(store)
    lost = (out / "mdbox.example.org" / store.mailboxes[0].split("@")[0] / "keywords-lost.txt").read_text()
    assert [line.split("\t")[1] for line in lost.splitlines()] == sorted(
        {f"Word{place:02d}" for place in range(16)}, key=lambda word: (-(int(word[4:]) + 1), word)
    )


def rebuilt(store: ImapStore, name: str = "out") -> Path:
    """What rebuild.py makes of the newest generation."""
    with store.open_staging() as staging:
        number = store.newest(staging).number
    program, out = store.base / "staging/rebuild.py", store.base / name
    words = [sys.executable, str(program), str(out), "--generation", str(number)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return out


# ---------------------------------------------------------------- folders


def test_subscriptions_dots_and_the_servers_own_separator_are_kept(tmp_path: Path) -> None:
    with running(["a@example.org"], store="sdbox", separator=".", prefix="INBOX.") as server:
        store = ImapStore(tmp_path, server, ("a@example.org",))
        box = server.open("a@example.org")
        fill(box, "Lists/Dovecot", 3)
        box._client.create_folder("INBOX.Quiet")
        box.close()
        store.pull()
        assert store.archived() == store.on_server()
        folders = {folder.name: (folder.directory, folder.subscribed) for folder in store.manifest("a@example.org").folders}
        assert folders == {"INBOX": ("", False), "Lists/Dovecot": (".Lists.Dovecot", True), "Quiet": (".Quiet", False)}


def test_a_folder_whose_name_no_maildir_can_have_keeps_its_name_in_the_archive(mdbox: ImapStore) -> None:
    store, server = mdbox, mdbox.server
    box = server.open(store.mailboxes[0])
    for folder in ("v1_2", "v1.2"):
        box._client.create_folder(folder)
        box._client.append(folder, message(folder), (), DATE)
    box.close()
    store.pull()
    folders = {folder.name: folder.directory for folder in store.manifest(store.mailboxes[0]).folders}
    assert sorted(folders) == ["INBOX", "v1.2", "v1_2"]
    assert sorted(folders.values()) == ["", ".v1_2", ".v1_2-2"]
    assert store.archived() == store.on_server()
    assert store.pull().unchanged


def test_excluded_folders_are_not_read_and_leave_the_archive(mdbox: ImapStore) -> None:
    store, server = mdbox, mdbox.server
    box = server.open(store.mailboxes[0])
    for folder in ("INBOX", "Trash", "Trash/Old", "Trashy"):
        fill(box, folder, 30)
    box.close()
    store.pull()
    report = store.pull(exclude_folders=("Trash",))
    assert (report.total, report.guards) == (60, ())
    assert {folder for _, folder in store.entries()} == {"INBOX", "Trashy"}


SHARED = """
namespace {
  type = shared
  separator = /
  prefix = shared/%%u/
  location = mdbox:%%h
  subscriptions = no
  list = yes
}
namespace {
  type = public
  separator = /
  prefix = Public/
  location = mdbox:{folder}/mail/public
  subscriptions = no
}
"""


def test_folders_of_others_are_left_out_and_that_is_said(tmp_path: Path) -> None:
    with running(["a@example.org"], store="mdbox", more=SHARED) as server:
        store = ImapStore(tmp_path, server, ("a@example.org",))
        box = server.open("a@example.org")
        fill(box, "INBOX", 2)
        box.close()
        server.doveadm("mailbox", "create", "-u", "a@example.org", "Public/News")
        report = store.pull()
        assert report.result is Result.OK
        assert {folder for _, folder in store.entries()} == {"INBOX"}
        assert any("folder(s) of others" in note for note in report.notes)


# ---------------------------------------------------------------- losses


def test_a_mailbox_that_lost_most_of_its_mail_raises_a_guard_and_keeps_it(anew: ImapStore) -> None:
    store, server = anew, anew.server
    (mailbox,) = store.mailboxes
    box = server.open(mailbox)
    fill(box, "INBOX", 60)
    store.pull()
    before = {row[2] for row in store.archived()}
    expunge(box, "INBOX", list(range(1, 51)))
    box.append("INBOX", message("after the loss"), frozenset(), DATE)
    report = store.pull()
    assert [(guard.code, guard.text) for guard in report.guards] == [("mass-loss", f"50 of 60 messages vanished from {mailbox}")]
    assert report.total == 11
    entries = store.entries()[mailbox, "INBOX"]
    assert {entry.id for entry in entries} > before
    with store.open_inventory() as inventory:
        assert inventory.accept(mailbox) == 50
    assert store.pull().guards == ()
    assert store.archived() == store.on_server()
    box.close()


def test_messages_that_only_moved_are_no_loss(mdbox: ImapStore) -> None:
    store, server = mdbox, mdbox.server
    box = server.open(store.mailboxes[0])
    fill(box, "INBOX", 60)
    box.create_folder("2021")
    store.pull()
    box._client.select_folder("INBOX")
    box._client.move(list(range(1, 61)), "2021")
    report = store.pull()
    assert (report.moved, report.gone, report.guards) == (60, 0, ())
    box.close()


def test_a_mailbox_that_is_no_longer_named_raises_a_guard_until_that_is_accepted(mdbox: ImapStore) -> None:
    store, server = mdbox, mdbox.server
    store.mailboxes += take(server, store.base, "mdbox").mailboxes
    for mailbox in store.mailboxes:
        box = server.open(mailbox)
        fill(box, "INBOX", 3)
        box.close()
    store.pull()
    gone, kept = store.mailboxes
    store.mailboxes = (kept,)
    report = store.pull()
    assert [guard.code for guard in report.guards] == ["mailbox-vanished"]
    assert {entry.gone_at is not None for entry in store.entries()[gone, "INBOX"]} == {True}
    with store.open_inventory() as inventory:
        inventory.accept(gone)
    store.pull()
    assert {mailbox for mailbox, _ in store.entries()} == {kept}


def test_what_vanished_and_came_back_is_no_longer_gone(mdbox: ImapStore) -> None:
    store, server = mdbox, mdbox.server
    box = server.open(store.mailboxes[0])
    fill(box, "INBOX", 30)
    store.pull()
    expunge(box, "INBOX", list(range(1, 31)))
    assert [guard.code for guard in store.pull().guards] == ["mass-loss"]
    fill(box, "INBOX", 30)
    report = store.pull()
    assert (report.guards, report.total) == ((), 30)
    assert all(entry.gone_at is None for entries in store.entries().values() for entry in entries)
    box.close()


# ---------------------------------------------------------------- under fire


class Traffic:
    """Deliveries by IMAP and by doveadm, flags, moves, copies and expunges, until it is stopped. `steady` messages are moved and flagged only."""

    def __init__(self, server: Dovecot, mailbox: str, steady: int) -> None:
        self.server, self.mailbox, self.steady = server, mailbox, steady
        self.stopped = threading.Event()
        self.faults: list[BaseException] = []
        self.done = 0
        self.threads = [
            threading.Thread(target=self._run, args=(work,), daemon=True) for work in (self._deliver, self._shuffle, self._save)
        ]

    def __enter__(self) -> Traffic:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        for thread in self.threads:
            thread.join(60)
        assert not self.faults, self.faults
        assert self.done > 10

    def _run(self, work: object) -> None:
        try:
            work()  # type: ignore[operator]
        except BaseException as error:  # noqa: BLE001 - told to the test
            self.faults.append(error)

    def _deliver(self) -> None:
        box = self.server.open(self.mailbox)
        number = 0
        while not self.stopped.is_set():
            number += 1
            uid = box.append("INBOX", message(f"passing {number}"), frozenset({"\\Seen"} if number % 2 else set()), DATE)
            if number % 3 == 0 and uid:
                expunge(box, "INBOX", [uid])
            self.done += 1
        box.close()

    def _shuffle(self) -> None:
        box = self.server.open(self.mailbox)
        client, places = box._client, ["INBOX", "A", "B"]
        turn = 0
        while not self.stopped.is_set():
            turn += 1
            here, there = places[turn % 3], places[(turn + 1) % 3]
            client.select_folder(here)
            uids = client.search(["KEYWORD", "Steady"])[:5]
            if uids:
                client.add_flags(uids, [f"Turn{turn % 7}"])
                client.move(uids, there)
            self.done += 1
        box.close()

    def _save(self) -> None:
        number = 0
        while not self.stopped.is_set():
            number += 1
            self.server.doveadm("save", "-u", self.mailbox, "-m", "A", data=message(f"saved {number}"))
            self.done += 1


def test_every_message_that_was_there_throughout_is_in_a_pull_that_says_ok_while_mail_is_delivered_and_moved(
    anew: ImapStore,
) -> None:
    store, server = anew, anew.server
    (mailbox,) = store.mailboxes
    box = server.open(mailbox)
    for folder in ("A", "B"):
        box.create_folder(folder)
    steady = [message(f"steady {number}", b"x" * 3000) for number in range(60)]
    for number, one in enumerate(steady):
        box.append(("INBOX", "A", "B")[number % 3], one, frozenset({"Steady"}), DATE)
    box.close()
    wanted = {digests(one)[0] for one in steady}
    results = []
    with Traffic(server, mailbox, len(steady)):
        for _ in range(PULLS):
            report = store.pull()
            lost = wanted - {row[2] for row in store.archived()}
            assert report.result is Result.INCOMPLETE or not lost
            assert report.result is Result.OK or any(missing.folder in ("INBOX", "A", "B") for missing in report.missing)
            results.append(report.result)
    assert Result.OK in results
    assert store.pull().result is Result.OK
    assert store.archived() == store.on_server()


def test_a_long_pull_under_fire_that_says_ok_has_every_message_that_was_there_throughout(mdbox: ImapStore) -> None:
    """By age: what moved meanwhile has come by another way than in other pulls."""
    store, server = mdbox, mdbox.server
    (mailbox,) = store.mailboxes
    box = server.open(mailbox)
    steady = [message(f"steady {number}", b"x" * 3000) for number in range(60)]
    for folder in ("A", "B"):
        box.create_folder(folder)
    for number, one in enumerate(steady):
        box.append(("INBOX", "A", "B")[number % 3], one, frozenset({"Steady"}), DATE)
    box.close()
    results = []
    wanted = {digests(one)[0] for one in steady}
    with Traffic(server, mailbox, len(steady)):
        for _ in range(PULLS):
            report = store.pull(care=Care(long=1))
            lost = wanted - {row[2] for row in store.archived()}
            assert report.result is Result.INCOMPLETE or not lost
            results.append(report.result)
    assert Result.OK in results
    assert store.pull().result is Result.OK
    assert store.archived() == store.on_server()


def test_mdbox_with_deliveries_going_on_is_rebuilt_as_maildirs_that_a_second_dovecot_shows_the_same(
    mdbox: ImapStore,
) -> None:
    store, server = mdbox, mdbox.server
    (mailbox,) = store.mailboxes
    box = server.open(mailbox)
    for folder in ("INBOX", "Entwürfe", "A", "B", "Archive/2026", "with space"):
        fill(box, folder, 5)
    box.close()
    throughout = {row[2] for row in store.on_server()}
    with Traffic(server, mailbox, 0):
        assert store.pull().result is Result.OK
    files = rebuilt(store, "during").rglob("cur/*")
    assert throughout <= {digests(file.read_bytes())[0] for file in files}
    assert store.pull().result is Result.OK
    out = rebuilt(store)
    with running([mailbox]) as second:
        subprocess.run(["cp", "-a", f"{out}/.", f"{second.folder}/mail/"], check=True)
        subprocess.run(["chown", "-R", "5000:5000", f"{second.folder}/mail"], check=True)
        assert look(second, mailbox) == look(server, mailbox)
        mine, theirs = second.open(mailbox), server.open(mailbox)
        for folder in theirs.folders():
            assert [one.uid for one in mine.messages(folder)] == [one.uid for one in theirs.messages(folder)], folder
            assert mine._client.folder_status(folder, ["UIDVALIDITY"]) == theirs._client.folder_status(folder, ["UIDVALIDITY"])
        mine.close()
        theirs.close()
