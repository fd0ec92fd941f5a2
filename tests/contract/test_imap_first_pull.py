"""A pull over IMAP that takes long: what comes first, what is stored meanwhile, what an interruption costs, and a disk that is too small."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from failsafe.adapters.local import LocalHost
from failsafe.backup import imap_pace
from failsafe.backup.stretch import Care, Room
from failsafe.errors import ArchiveError, MailError
from failsafe.mail.manifest import Generation
from failsafe.model import Endpoint, Result
from tests.contract.dovecot import BY_DOMAIN, Dovecot, running
from tests.contract.imapstore import DATE, ImapStore, Proxy, message

pytestmark = pytest.mark.timeout(100)

USERS = [f"u{number}@mdbox.example.org" for number in range(30)]
FILES = [f"m{number}@maildir.example.org" for number in range(10)]
ALWAYS = timedelta(0)  # a part after each batch
NEW = datetime.fromtimestamp(int(time.time()) - 86_400, UTC)


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    with running([*USERS, *FILES], store=BY_DOMAIN) as dovecot:
        yield dovecot


@pytest.fixture
def store(server: Dovecot, tmp_path: Path) -> ImapStore:
    return ImapStore(tmp_path, server, (USERS.pop(), USERS.pop()))


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imap_pace, "BATCH_BYTES", 5_000)


def fill(store: ImapStore, mailbox: str, folder: str, name: str, count: int, date: datetime = DATE, size: int = 1_000) -> None:
    box = store.server.open(mailbox)
    if folder != "INBOX" and folder not in box.folders():
        box.create_folder(folder)
    for number in range(count):
        box.append(folder, message(f"{name}-{folder}-{number}", os.urandom(size // 2).hex().encode()), frozenset(), date)
    box.close()


def names(store: ImapStore, made: Generation) -> list[tuple[str, str, int]]:
    """(mailbox, folder, date) of everything that a generation holds."""
    with store.open_staging() as opened:
        assert opened.archive.verify(made, read_messages=True) == []
        return [
            (mailbox, folder.name, entry.internal_date)
            for mailbox in made.mailboxes
            for folder in opened.archive.mailbox(made, mailbox).folders
            for entry in opened.archive.entries(folder)
        ]


# ---------------------------------------------------------------- order and parts


@pytest.mark.usefixtures("small_batches")
def test_files_come_first_then_the_newest_of_every_mailbox_and_folder_then_the_rest(store: ImapStore, tmp_path: Path) -> None:
    (tmp_path / "accounts").write_text("anna:secret\n")
    for mailbox in store.mailboxes:
        for folder in ("INBOX", "Archive"):
            fill(store, mailbox, folder, "old", 3)
            fill(store, mailbox, folder, "new", 2, NEW)
    parts: list[Generation] = []
    care = Care(every=ALWAYS, long=1, stored=parts.append)
    report = store.pull(host=LocalHost("vps"), extra_paths=(str(tmp_path / "accounts"),), care=care)
    assert (report.result, report.total, report.new) == (Result.OK, 20, 20)
    assert parts[0].messages == 0
    with store.open_staging() as opened:
        assert [file.path.rsplit("/", 1)[-1] for file in opened.archive.files(parts[0])] == ["accounts"]
    new, old = int(NEW.timestamp()), int(DATE.timestamp())
    held = {len(dates): dates for part in parts if (dates := sorted(date for _, _, date in names(store, part)))}
    assert all(set(dates) == {new} for count, dates in held.items() if count <= 8)
    assert any(count <= 8 for count in held)
    assert all(dates.count(new) == 8 and dates.count(old) == count - 8 for count, dates in held.items() if count > 8)
    assert any(count > 8 for count in held)
    assert store.archived() == store.on_server()
    assert store.pull().unchanged


@pytest.mark.usefixtures("small_batches")
def test_a_part_is_incomplete_counts_what_has_not_come_and_can_be_restored(store: ImapStore) -> None:
    one, other = store.mailboxes
    fill(store, one, "INBOX", "a", 12)
    fill(store, other, "INBOX", "b", 3)
    parts: list[Generation] = []
    store.pull(care=Care(every=ALWAYS, long=1, stored=parts.append))
    assert {part.result for part in parts} == {Result.INCOMPLETE}
    assert {(missing.mailbox, missing.why.split(" ")[0]) for missing in parts[0].missing} == {(one, "12"), (other, "3")}
    for part in parts:
        outstanding = part.notes.get("outstanding", {"messages": 0, "bytes": 0})
        assert isinstance(outstanding, dict)
        assert outstanding["messages"] == 15 - part.messages == 15 - len(names(store, part))
        assert outstanding["bytes"] >= 1_000 * outstanding["messages"]
    assert len({part.messages for part in parts}) >= 3


def test_a_pull_that_is_slow_stores_parts_too_though_it_is_not_large(store: ImapStore) -> None:
    fill(store, store.mailboxes[0], "INBOX", "a", 4)
    parts: list[Generation] = []
    assert store.pull(care=Care(every=ALWAYS, stored=parts.append)).result is Result.OK
    assert [part.result for part in parts] == [Result.INCOMPLETE]
    assert (parts[0].messages, parts[0].notes["outstanding"]["messages"]) == (0, 4)  # type: ignore[index]


def test_a_small_pull_makes_one_generation_and_no_parts(store: ImapStore) -> None:
    fill(store, store.mailboxes[0], "INBOX", "a", 4)
    parts: list[Generation] = []
    store.pull(care=Care(stored=parts.append))
    with store.open_staging() as opened:
        assert (opened.numbers(), parts) == ((1,), [])


def test_how_far_it_is_goes_from_nothing_to_all_of_the_servers_mail(store: ImapStore) -> None:
    for mailbox in store.mailboxes:
        fill(store, mailbox, "INBOX", "a", 5, size=10_000)
    moved: list[tuple[int, int]] = []
    store.pull(care=Care(long=1, moved=lambda done, total: moved.append((done, total))))
    whole = sum(entry.size for entries in store.entries().values() for entry in entries)
    assert {total for _, total in moved} == {whole}
    assert moved[0] == (0, whole)
    assert moved[-1] == (whole, whole)
    assert [done for done, _ in moved] == sorted(done for done, _ in moved)


def test_a_long_pull_later_counts_what_was_there_before_and_fetches_only_what_came(store: ImapStore) -> None:
    one, _ = store.mailboxes
    fill(store, one, "INBOX", "a", 5, size=10_000)
    store.pull()
    before = sum(entry.size for entries in store.entries().values() for entry in entries)
    fill(store, one, "INBOX", "b", 3, NEW, size=10_000)
    box = store.server.open(one)
    box._client.select_folder("INBOX")
    box._client.delete_messages([2])
    box._client.expunge()
    box._client.set_flags([1], ["\\Flagged"])
    box.close()
    moved: list[tuple[int, int]] = []
    report = store.pull(care=Care(long=1, moved=lambda done, total: moved.append((done, total))))
    assert (report.result, report.new, report.gone, report.total, report.reflagged) == (Result.OK, 3, 1, 7, 1)
    assert moved[0][0] == before
    assert report.bytes_pulled < 3 * 10_000 + 12_000
    assert store.archived() == store.on_server()


# ---------------------------------------------------------------- what happens meanwhile


@pytest.mark.usefixtures("small_batches")
def test_what_came_moved_and_went_while_it_was_read_by_age_is_as_it_is_at_the_end(store: ImapStore) -> None:
    one, _ = store.mailboxes
    fill(store, one, "INBOX", "a", 12)
    fill(store, one, "Archive", "b", 2)
    done: list[Generation] = []

    def meanwhile(made: Generation) -> None:
        done.append(made)
        if len(done) != 2:
            return
        box = store.server.open(one)
        box._client.select_folder("INBOX")
        box._client.move([1, 12], "Archive")  # one that has come, one that has not
        box._client.delete_messages([2, 11])
        box._client.expunge()
        box._client.set_flags([10, 3], ["\\Seen"])
        box.append("INBOX", message("came meanwhile"), frozenset(), NEW)
        box.create_folder("Later")
        box.append("Later", message("in a folder that came meanwhile"), frozenset(), NEW)
        box.close()

    report = store.pull(care=Care(every=ALWAYS, long=1, stored=meanwhile))
    assert (report.result, report.total, report.missing) == (Result.OK, 14, ())
    assert store.archived() == store.on_server()
    assert store.pull().unchanged


@pytest.mark.usefixtures("small_batches")
def test_a_store_put_back_from_an_old_copy_is_told_apart_in_a_long_pull_too(server: Dovecot, tmp_path: Path) -> None:
    """UIDs are given out twice; what comes by age must not stand as the witness that they were not."""
    store = ImapStore(tmp_path, server, (FILES.pop(),))
    (mailbox,) = store.mailboxes
    home = server.folder / "mail" / mailbox.partition("@")[2] / mailbox.partition("@")[0]
    fill(store, mailbox, "INBOX", "kept", 6)
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-a", str(home), str(copy)], check=True)
    fill(store, mailbox, "INBOX", "lost", 3, NEW)
    store.pull()
    shutil.rmtree(home)
    subprocess.run(["cp", "-a", str(copy), str(home)], check=True)
    fill(store, mailbox, "INBOX", "since", 5, NEW + timedelta(hours=1))
    report = store.pull(care=Care(every=ALWAYS, long=1))
    assert (report.result, report.new, report.gone) == (Result.OK, 5, 3)
    assert store.archived() == store.on_server()


def test_folders_that_all_begin_anew_raise_the_guard_in_a_long_pull_too(server: Dovecot, tmp_path: Path) -> None:
    store = ImapStore(tmp_path, server, (FILES.pop(),))
    (mailbox,) = store.mailboxes
    folders = ("INBOX", "One", "Two")
    for folder in folders:
        fill(store, mailbox, folder, "a", 4)
    store.pull()
    for folder in folders:
        fill(store, mailbox, folder, "b", 4, NEW)
        server.doveadm("mailbox", "update", "-u", mailbox, "--uid-validity", "4000000001", folder)
    report = store.pull(care=Care(long=1))
    assert [guard.code for guard in report.guards] == ["store-rebuilt"]
    assert store.archived() == store.on_server()


def test_a_mailbox_that_cannot_be_opened_holds_up_no_other_and_is_named_in_every_part(store: ImapStore, tmp_path: Path) -> None:
    one, other = store.mailboxes
    fill(store, one, "INBOX", "a", 4)
    wrong = tmp_path / "wrong"
    wrong.touch(mode=0o600)
    wrong.write_text("not this\n")
    parts: list[Generation] = []
    report = store.pull(store.source({other: wrong}), care=Care(long=1, every=ALWAYS, stored=parts.append))
    assert (report.result, report.total) == (Result.INCOMPLETE, 4)
    assert {missing.mailbox for missing in report.missing} == {other}
    assert other in {missing.mailbox for missing in parts[0].missing}


# ---------------------------------------------------------------- interruptions


@pytest.mark.usefixtures("small_batches")
def test_a_cut_costs_nothing_that_had_arrived_and_parts_stay(server: Dovecot, store: ImapStore) -> None:
    for mailbox in store.mailboxes:
        fill(store, mailbox, "INBOX", "a", 20, size=50_000)
    dead = False

    def once(data: bytes, _sent: int) -> bytes | None:
        nonlocal dead
        dead = dead or proxy.down > 1_000_000
        return None if dead else data

    parts: list[Generation] = []
    with Proxy(server.plain, once) as proxy:
        store.endpoint = Endpoint("127.0.0.1", proxy.port, "none")
        with pytest.raises(MailError):
            store.pull(care=Care(long=1, every=ALWAYS, stored=parts.append))
    kept = len(store.stored_ids())
    assert kept >= 15
    assert parts[-1].messages >= kept - 1
    store.endpoint = None
    report = store.pull(care=Care(long=1))
    assert (report.result, report.total) == (Result.OK, 40)
    assert report.bytes_pulled < (40 - kept) * 55_000
    assert store.archived() == store.on_server()


@pytest.mark.usefixtures("small_batches")
def test_a_kill_while_mail_comes_by_age_costs_what_came_since_the_last_part(store: ImapStore) -> None:
    for mailbox in store.mailboxes:
        fill(store, mailbox, "INBOX", "a", 20, size=50_000)
    child = os.fork()
    if not child:
        taken = 0

        class Deadly:
            def stage(self, text: str, total: int | None = None, unit: str = "") -> None: ...

            def advance(self, amount: int) -> None:
                nonlocal taken
                taken += amount
                if taken > 1_000_000:
                    os.kill(os.getpid(), 9)

        try:
            store.pull(progress=Deadly(), care=Care(long=1, every=ALWAYS))
        finally:
            os._exit(77)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -9
    kept = len(store.stored_ids())
    assert kept >= 15
    report = store.pull(care=Care(long=1))
    assert (report.result, report.total, report.guards) == (Result.OK, 40, ())
    assert report.bytes_pulled < (41 - kept) * 55_000
    assert store.archived() == store.on_server()


# ---------------------------------------------------------------- room


def test_a_disk_without_room_is_told_before_the_first_message_and_the_files_are_kept(store: ImapStore, tmp_path: Path) -> None:
    (tmp_path / "accounts").write_text("anna:secret\n")
    for mailbox in store.mailboxes:
        fill(store, mailbox, "INBOX", "a", 10, size=100_000)
    care = Care(room=lambda: Room(21_000_000, 1_000 << 20))
    with pytest.raises(ArchiveError, match=r"2\.\d MB of mail are still to come"):
        store.pull(host=LocalHost("vps"), extra_paths=(str(tmp_path / "accounts"),), care=care)
    with store.open_staging() as opened:
        made = store.newest(opened)
        assert [file.path.rsplit("/", 1)[-1] for file in opened.archive.files(made)] == ["accounts"]
    assert (made.result, made.messages) == (Result.INCOMPLETE, 0)
    assert [missing.why.split(",")[0] for missing in made.missing] == ["10 message(s)"] * 2


@pytest.mark.usefixtures("small_batches")
def test_a_disk_that_fills_stops_the_pull_and_keeps_what_came(store: ImapStore) -> None:
    for mailbox in store.mailboxes:
        fill(store, mailbox, "INBOX", "a", 20)
    free = (20 << 20) + 2_000_000

    def fuller() -> Room:
        nonlocal free
        free -= 200_000
        return Room(free, 1_000 << 20)

    with pytest.raises(ArchiveError, match="the pull stopped"):
        store.pull(care=Care(long=1, room=fuller))
    with store.open_staging() as opened:
        made = store.newest(opened)
    assert made.result is Result.INCOMPLETE
    assert 0 < made.messages < 40
    assert made.notes["outstanding"]["messages"] == 40 - len(names(store, made))  # type: ignore[index]
    assert store.pull().result is Result.OK
    assert store.archived() == store.on_server()


# ---------------------------------------------------------------- merging


def test_what_merging_cost_is_told_over_imap_as_over_files(store: ImapStore) -> None:
    one, _ = store.mailboxes
    for number in range(5):
        fill(store, one, "INBOX", f"m{number}", 1, size=60_000)
        report = store.pull()
    assert [note for note in report.notes if "small segments were merged" in note]
    assert store.archived() == store.on_server()
