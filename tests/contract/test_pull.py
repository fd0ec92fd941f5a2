"""The pull, on real Maildirs through the real server's side: on this machine, and over a real sshd."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from failsafe.adapters.ssh import SshHost
from failsafe.backup.listing import ROUNDS
from failsafe.backup.pull import PullOptions, pull
from failsafe.errors import ArchiveError, FailsafeError, ServerSideError
from failsafe.model import Result
from failsafe.ports import Channel
from tests.contract.conftest import Sshd
from tests.contract.mailstore import LONG_AGO, Silent, Store
from tests.contract.meddling import Impatient, Meddler

ANNA, BOB = "anna@example.org", "bob@example.org"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def over_ssh(sshd: Sshd) -> SshHost:
    return SshHost("vps", sshd.address, key=sshd.key, known_hosts=sshd.known_hosts)


def whys(store: Store) -> list[str]:
    with store.open_staging() as staging:
        return [missing.why for missing in store.newest(staging).missing]


# ---------------------------------------------------------------- identity: what crosses the wire


def test_every_message_arrives_byte_for_byte_over_ssh(store: Store, sshd: Sshd) -> None:
    store.fill(ANNA, "", 120)
    store.fill(ANNA, ".Archive.2026", 30)
    store.put(BOB, "", "odd.host:2,", b"\0\r\n\xff mixed\nends without newline", sub="new")
    store.put(BOB, "", "empty.host:2,").write_bytes(b"")
    report = store.pull(host=over_ssh(sshd))
    assert (report.result, report.total, report.new) == (Result.OK, 152, 152)
    assert store.archived() == store.on_server()


def test_nothing_new_makes_no_generation_and_costs_little(store: Store) -> None:
    store.fill(ANNA, "", 300)
    store.pull()
    again = store.pull(calm=False)
    assert again.unchanged
    assert again.bytes_pulled < 2000


def test_a_full_listing_of_an_unchanged_store_makes_no_generation(store: Store) -> None:
    store.fill(ANNA, "", 50)
    store.pull()
    assert store.pull(calm=False, full_listing=True).unchanged


def test_a_renamed_message_is_not_fetched_again(store: Store) -> None:
    big = store.put(ANNA, "", "big.host", b"x" * 400_000, sub="new")
    store.pull()
    big.rename(big.parent.parent / "cur" / "big.host:2,FS")
    report = store.pull()
    assert (report.reflagged, report.new, report.moved, report.gone) == (1, 0, 0, 0)
    assert report.bytes_pulled < 5000
    assert [entry.flags for entry in store.entries()[ANNA, "INBOX"]] == ["FS"]


def test_a_moved_message_is_not_fetched_again(store: Store) -> None:
    big = store.put(ANNA, "", "big.host:2,S", b"x" * 400_000)
    store.folder(ANNA, ".Archive")
    store.pull()
    big.rename(store.folder(ANNA, ".Archive") / "cur" / big.name)
    report = store.pull()
    assert (report.moved, report.new, report.gone) == (1, 0, 0)
    assert report.bytes_pulled < 5000
    assert store.archived() == store.on_server()


def test_a_copy_under_another_name_but_the_same_inode_is_not_fetched(store: Store) -> None:
    big = store.put(ANNA, "", "big.host:2,S", b"x" * 400_000)
    store.pull()
    os.link(big, store.folder(ANNA, ".Copies") / "cur" / "other.host:2,")
    report = store.pull()
    assert (report.total, report.bytes_pulled < 5000) == (2, True)
    assert store.archived() == store.on_server()


def test_equal_names_with_other_content_in_other_places_are_all_archived(store: Store) -> None:
    for mailbox, directory in ((ANNA, ""), (ANNA, ".Imported"), (BOB, "")):
        store.put(mailbox, directory, "1000.import:2,S", f"Subject: {mailbox}{directory:9.9}\n".encode().ljust(60, b"."))
    store.pull()
    store.put(BOB, ".Later", "1000.import:2,S", b"same size, same name, same date".ljust(60, b"."))
    store.pull()
    assert len(store.archived()) == 4
    assert store.archived() == store.on_server()


def test_two_files_of_one_name_in_one_folder_are_both_archived(store: Store) -> None:
    store.put(ANNA, "", "twin.host:2,", b"first  content")
    store.put(ANNA, "", "twin.host:2,S", b"second content")
    store.pull()
    assert store.archived() == store.on_server()
    assert store.pull(calm=False, full_listing=True).unchanged


def test_a_file_that_changed_under_its_name_is_fetched_and_noted(store: Store) -> None:
    store.put(ANNA, "", "one.host:2,S", b"before")
    store.pull()
    store.put(ANNA, "", "one.host:2,S", b"after that", date=LONG_AGO + 5)
    report = store.pull()
    assert store.archived() == store.on_server()
    assert "one.host" in report.notes[0]


def test_content_replaced_under_its_name_raises_a_guard_and_the_old_content_stays(store: Store) -> None:
    """As somebody does who encrypts a store to demand money for it."""
    store.fill(ANNA, "", 30)
    store.fill(BOB, "", 3)
    store.pull()
    before = {id_ for mailbox, _, id_ in store.archived() if mailbox == ANNA}
    for path in sorted((store.folder(ANNA) / "cur").iterdir())[:25]:
        path.write_bytes(os.urandom(400))
    (store.folder(BOB) / "cur" / "m0.host:2,S").unlink()
    report = store.pull(full_listing=True)
    assert [guard.code for guard in report.guards] == ["tampered"]
    assert "failsafe accept vps --mailbox anna@example.org --what tampering" in report.guards[0].mend
    entries = store.entries()[ANNA, "INBOX"]
    assert {entry.id for entry in entries} > before
    assert [guard.code for guard in store.pull(calm=False, full_listing=True).guards] == ["tampered"]
    with store.open_inventory() as inventory:
        assert (inventory.accept(), len(inventory.guards())) == (0, 1)
        assert (inventory.accept(tampering=True), inventory.guards()) == (25, [])
    store.pull(calm=False)
    assert len(store.entries()[ANNA, "INBOX"]) == 30


def test_one_mailbox_accepted_leaves_the_guard_of_the_server_to_the_others(store: Store) -> None:
    for number in range(4):
        store.fill(f"user{number}@example.org", "", 20)
    store.pull()
    for number in range(4):
        for path in sorted((store.folder(f"user{number}@example.org") / "cur").iterdir())[:10]:
            path.unlink()
    assert [guard.code for guard in store.pull().guards] == ["mass-loss"]
    with store.open_inventory() as inventory:
        for number in range(4):
            assert [code for _, code, _ in inventory.guards()] == ["mass-loss"]
            assert inventory.accept(f"user{number}@example.org") == 10
        assert inventory.guards() == []


def test_a_new_date_alone_fetches_nothing(store: Store) -> None:
    path = store.put(ANNA, "", "one.host:2,S", b"x" * 400_000)
    store.pull()
    os.utime(path, (LONG_AGO + 99, LONG_AGO + 99))
    report = store.pull(full_listing=True)
    assert report.bytes_pulled < 5000
    assert [entry.internal_date for entry in store.entries()[ANNA, "INBOX"]] == [LONG_AGO + 99]


def test_a_message_is_stored_once_however_many_hold_it(store: Store) -> None:
    for number in range(20):
        store.put(f"user{number}@example.org", "", f"{number}.host:2,", b"Subject: to all\n\nhello\n")
    store.pull()
    assert list(store.stored_ids().values()) == [1]
    assert store.archived().total() == 20


# ---------------------------------------------------------------- what comes along


def test_uids_keywords_and_subscriptions_come_along(store: Store) -> None:
    store.put(ANNA, "", "a.host,S=5:2,Sab")
    store.put(ANNA, ".Entw&APw-rfe", "b.host:2,D")
    inbox = store.folder(ANNA)
    (inbox / "dovecot-uidlist").write_text("3 V1700000000 N8 Ge3b0c44298fc1c149afbf4c8996fb924\n7 :a.host,S=5\n")
    (inbox / "dovecot-keywords").write_text("0 $Forwarded\n1 Work\n")
    (inbox / "subscriptions").write_text("V\t2\n\nEntw&APw-rfe\n")
    store.pull()
    (entry,) = store.entries()[ANNA, "INBOX"]
    assert (entry.uid, entry.name, entry.flags, entry.keywords) == (7, "a.host,S=5", "S", ("$Forwarded", "Work"))
    with store.open_staging() as staging:
        manifest = staging.archive.mailbox(store.newest(staging), ANNA)
    folders = {folder.name: folder for folder in manifest.folders}
    assert (folders["INBOX"].uid_validity, folders["INBOX"].uid_next) == (1700000000, 8)
    assert folders["Entwürfe"].subscribed
    assert [file.path for file in manifest.files] == ["subscriptions"]


def test_nested_folders_keep_their_dots(store: Store) -> None:
    store.put(ANNA, "", "a.host:2,")
    store.put(ANNA, "Archive/v1.2", "b.host:2,")
    store.pull()
    assert set(store.entries()) == {(ANNA, "INBOX"), (ANNA, "Archive/v1.2")}


def test_a_maildir_below_the_home_is_the_mailbox(store: Store) -> None:
    store.put(ANNA, "Maildir", "a.host:2,")
    store.put(ANNA, "Maildir/.Sent", "b.host:2,")
    shutil.rmtree(store.root / "example.org/anna/cur", ignore_errors=True)
    for sub in ("cur", "new", "tmp"):
        shutil.rmtree(store.root / "example.org/anna" / sub, ignore_errors=True)
    store.pull()
    assert set(store.entries()) == {(ANNA, "INBOX"), (ANNA, "Sent")}


def test_excluded_folders_are_left_out_and_named(store: Store) -> None:
    store.put(ANNA, ".Trash", "a.host:2,")
    store.put(ANNA, ".Trash.Old", "b.host:2,")
    store.put(ANNA, "", "c.host:2,")
    report = store.pull(exclude_folders=("Trash",))
    assert report.generation is not None
    assert (report.total, report.generation.notes["excluded_folders"]) == (1, ["Trash"])


def test_extra_paths_and_outputs_of_commands_are_files_of_the_generation(store: Store, tmp_path: Path) -> None:
    store.put(ANNA, "", "a.host:2,")
    (tmp_path / "etc/sub").mkdir(parents=True)
    (tmp_path / "etc/main.cf").write_text("one\n")
    (tmp_path / "etc/sub/key").write_bytes(b"\0key")
    os.mkfifo(tmp_path / "etc/pipe")
    report = store.pull(extra_paths=(str(tmp_path / "etc"),), commands={"dump.sql": "printf 'insert;'"})
    assert report.generation is not None
    with store.open_staging() as staging:
        files = {file.path: staging.archive.read_file(file) for file in staging.archive.files(report.generation)}
    top = str(tmp_path / "etc").lstrip("/")
    assert files == {f"{top}/main.cf": b"one\n", f"{top}/sub/key": b"\0key", "commands/dump.sql": b"insert;"}
    assert report.generation.notes["skipped"] == [str(tmp_path / "etc/pipe")]


def test_a_failing_command_and_a_missing_path_are_named(store: Store) -> None:
    store.put(ANNA, "", "a.host:2,")
    report = store.pull(extra_paths=("/nowhere/at/all",), commands={"dump": "echo half; echo broken >&2; exit 3"})
    assert report.result is Result.INCOMPLETE
    assert [missing.name for missing in report.missing] == ["/nowhere/at/all", "commands/dump"]
    assert "status 3: broken" in report.missing[1].why


def test_a_command_that_hangs_is_ended(store: Store, tmp_path: Path) -> None:
    store.put(ANNA, "", "a.host:2,")
    report = store.pull(commands={"dump": f"echo $$ > {tmp_path}/pid; sleep 600"}, command_seconds=1)
    assert report.missing[0].why.endswith("it did not end in time")
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


# ---------------------------------------------------------------- never green by silence


def test_links_are_not_followed_and_named(store: Store, tmp_path: Path) -> None:
    store.put(ANNA, "", "a.host:2,")
    secret = tmp_path / "secret"
    secret.write_text("of root")
    (store.folder(ANNA) / "cur" / "link.host:2,").symlink_to(secret)
    (store.folder(ANNA) / ".Shared").symlink_to(store.folder(BOB))
    for _ in range(2):
        report = store.pull()
        assert report.result is Result.INCOMPLETE
        assert sorted(missing.name for missing in report.missing) == [".Shared", "link.host:2,"]
        assert report.total == 1


def test_what_is_not_looked_at_is_named(store: Store) -> None:
    """A sieve link beside the script it points to is a note; mail in a place where nobody looks makes the result incomplete."""
    store.put(ANNA, "", "a.host:2,")
    home = store.folder(ANNA)
    (home / "sieve").mkdir()
    (home / "sieve" / "main.sieve").write_text("keep;\n")
    (home / ".dovecot.sieve").symlink_to("sieve/main.sieve")
    report = store.pull()
    assert report.generation is not None
    assert (report.result, report.generation.notes["skipped"]) == (Result.OK, ["example.org/anna/.dovecot.sieve"])
    for sub in ("cur", "new", "tmp"):
        (store.root / "carl" / sub).mkdir(parents=True)
    store.put(ANNA, "/".join(["deep"] * 45), "c.host:2,")
    missing = store.pull().missing
    assert [("domain's folder" in one.why, "deeper" in one.why) for one in missing] == [(False, True), (True, False)]


@pytest.mark.parametrize("hidden", [".Archive", ".Archive/cur", "Maildir"])
def test_what_a_link_hides_stays_in_the_manifests_and_the_result_is_incomplete(store: Store, hidden: str) -> None:
    """Such as a folder that was put on another disk."""
    base = "Maildir/" if hidden == "Maildir" else ""
    store.put(ANNA, base.rstrip("/"), "a.host:2,")
    store.put(ANNA, f"{base}.Archive", "b.host:2,")
    home = store.root / "example.org/anna"
    before = store.pull()
    assert (before.result, before.total) == (Result.OK, 2)
    (home / hidden).rename(store.base / "elsewhere")
    (home / hidden).symlink_to(store.base / "elsewhere")
    report = store.pull()
    assert (report.result, report.total, report.gone, report.guards) == (Result.INCOMPLETE, 2, 0, ())
    assert [missing.name for missing in report.missing] == [hidden]
    (home / hidden).unlink()
    (store.base / "elsewhere").rename(home / hidden)
    assert (store.pull().result, store.archived().total()) == (Result.OK, 2)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")
def test_root_acts_as_the_owner_of_the_mailbox(store: Store) -> None:
    mine, roots = store.put(ANNA, "", "mine.host:2,"), store.put(ANNA, "", "roots.host:2,")
    for path in (store.root / "example.org/anna", *(store.root / "example.org/anna").rglob("*")):
        os.chown(path, 65534, 65534)
    os.chown(roots, 0, 0)
    roots.chmod(0o600)
    mine.chmod(0o600)
    report = store.pull()
    assert [(missing.name, missing.why) for missing in report.missing] == [("roots.host", "Permission denied")]
    assert store.pull(calm=False).missing == report.missing
    os.chown(roots, 65534, 65534)
    assert store.pull(calm=False).result is Result.OK


def test_a_missing_root_is_an_error_and_changes_nothing(store: Store) -> None:
    store.fill(ANNA, "", 5)
    store.pull()
    store.root.rename(store.base / "elsewhere")
    with pytest.raises(ServerSideError, match="No such file"):
        store.pull(calm=False)
    assert sum(len(entries) for entries in store.entries().values()) == 5


def test_a_server_without_python_is_a_clear_error(store: Store) -> None:
    class WithoutPython:
        name = "vps"

        def open(self, _command: object) -> Channel:
            return store.host.open(["sh", "-c", "exec no-such-python3"])

    store.folder(ANNA)
    with pytest.raises(FailsafeError) as caught:
        store.pull(host=WithoutPython())
    assert "no-such-python3" in str(caught.value)


# ---------------------------------------------------------------- guards


def test_a_mass_loss_raises_a_guard_and_loses_nothing(store: Store) -> None:
    store.fill(ANNA, "", 60)
    store.pull()
    before = store.archived()
    for path in list((store.folder(ANNA) / "cur").iterdir())[:40]:
        path.unlink()
    store.put(ANNA, "", "newcomer.host:2,")
    report = store.pull()
    assert [guard.code for guard in report.guards] == ["mass-loss"]
    assert (report.new, report.gone, report.total) == (1, 40, 21)
    entries = store.entries()[ANNA, "INBOX"]
    assert {entry.id for entry in entries} > {id_ for _, _, id_ in before}
    assert sum(entry.gone_at is not None for entry in entries) == 40
    assert [guard.code for guard in store.pull(calm=False).guards] == ["mass-loss"]


def test_accept_ends_a_guard_and_what_vanished_leaves_the_manifests(store: Store) -> None:
    store.fill(ANNA, "", 60)
    store.pull()
    shutil.rmtree(store.folder(ANNA) / "cur")
    store.folder(ANNA)
    assert store.pull().guards
    with store.open_inventory() as inventory:
        assert inventory.accept(ANNA) == 60
    report = store.pull()
    assert (report.guards, report.unchanged) == ((), False)
    assert store.entries()[ANNA, "INBOX"] == []


def test_messages_that_come_back_lift_the_guard(store: Store) -> None:
    store.fill(ANNA, "", 60)
    store.pull()
    shutil.copytree(store.folder(ANNA) / "cur", store.base / "aside")
    for path in (store.folder(ANNA) / "cur").iterdir():
        path.unlink()
    assert store.pull().guards
    for path in (store.base / "aside").iterdir():
        shutil.copy2(path, store.folder(ANNA) / "cur" / path.name)
    report = store.pull()
    assert (report.guards, report.total) == ((), 60)
    assert report.bytes_pulled < 20_000


def test_a_few_deletions_and_a_move_of_everything_raise_no_guard(store: Store) -> None:
    store.fill(ANNA, "", 100)
    store.pull()
    for number, path in enumerate(sorted((store.folder(ANNA) / "cur").iterdir())):
        path.unlink() if number < 20 else path.rename(store.folder(ANNA, ".Old") / "cur" / path.name)
    report = store.pull()
    assert (report.guards, report.gone, report.moved) == ((), 20, 80)


def test_a_vanished_mailbox_and_an_empty_store_raise_guards(store: Store) -> None:
    store.fill(ANNA, "", 5)
    store.fill(BOB, "", 5)
    store.pull()
    shutil.rmtree(store.root / "example.org/bob")
    assert [guard.code for guard in store.pull().guards] == ["mailbox-vanished"]
    shutil.rmtree(store.root / "example.org")
    report = store.pull()
    assert {guard.code for guard in report.guards} == {"mailbox-vanished", "store-rebuilt"}
    assert sum(len(entries) for entries in store.entries().values()) == 10


def test_numbers_that_a_server_gave_since_the_last_pull_are_learnt(store: Store) -> None:
    def number(**uids: int) -> None:
        lines = sorted((uid, name) for name, uid in uids.items())
        text = f"3 V1 N{lines[-1][0] + 1}\n" + "".join(f"{uid} :{name}.host\n" for uid, name in lines)
        (store.folder(ANNA) / "dovecot-uidlist").write_text(text)

    def numbers() -> dict[str, int | None]:
        with store.open_staging() as staging:
            (folder,) = staging.archive.mailbox(staging.archive.generation(), ANNA).folders
            return {entry.name.removesuffix(".host"): entry.uid for entry in staging.archive.entries(folder)}

    for name in ("a", "b", "late"):
        store.put(ANNA, "", f"{name}.host:2,")
    number(a=1, b=2)
    store.pull()
    assert numbers() == {"a": 1, "b": 2, "late": None}

    store.put(ANNA, "", "c.host:2,")
    number(a=1, b=2, c=3)
    store.pull()
    assert numbers() == {"a": 1, "b": 2, "c": 3, "late": None}

    number(b=2, c=3, late=4, a=5)  # a was numbered anew
    store.pull()
    assert numbers() == {"a": 5, "b": 2, "c": 3, "late": 4}


def test_many_new_uidvalidities_raise_a_guard(store: Store) -> None:
    def write(validity: int) -> None:
        for directory in ("", ".A", ".B"):
            folder = store.folder(ANNA, directory)
            (folder / "dovecot-uidlist").write_text(f"3 V{validity} N5\n")

    store.put(ANNA, "", "a.host:2,")
    write(1000)
    assert store.pull().guards == ()
    write(2000000)
    assert [guard.code for guard in store.pull().guards] == ["store-rebuilt"]


# ---------------------------------------------------------------- kills, cuts, damage


def test_a_cut_connection_is_an_error_and_the_next_pull_goes_on(store: Store, sshd: Sshd) -> None:
    store.fill(ANNA, "", 400, size=100_000)

    class Cut:
        """The line is cut after 8 MB."""

        name = "vps"

        def open(self, command: list[str]) -> Channel:
            return CutChannel(over_ssh(sshd).open(command))

    class CutChannel:
        def __init__(self, inner: Channel) -> None:
            self.inner, self.received, self.send, self.close = inner, 0, inner.send, inner.close

        def receive(self, maximum: int) -> bytes:
            if self.received > 8_000_000:
                self.received = -(10**12)
                sshd.cut()
            data = self.inner.receive(maximum)
            self.received += len(data)
            return data

    with pytest.raises(FailsafeError, match="cut"):
        store.pull(host=Cut())
    with store.open_staging() as staging:
        assert staging.newest() is None
    report = store.pull(host=over_ssh(sshd))
    assert report.bytes_pulled < 37_000_000
    assert store.archived() == store.on_server()
    assert set(store.stored_ids().values()) == {1}


PULL = """
import sys
from pathlib import Path
from tests.contract.mailstore import Store
Store(Path(sys.argv[1])).pull(calm=False)
"""


def test_a_killed_pull_is_finished_by_the_next_and_nothing_is_doubled(store: Store) -> None:
    for number in range(4):
        store.fill(f"user{number}@example.org", "", 300, size=30_000)
    store.calm()
    delays = [0.15 + 0.1 * round_ for round_ in range(12)]
    killed = 0
    for delay in delays:
        child = subprocess.Popen([sys.executable, "-c", PULL, str(store.base)], start_new_session=True)
        try:
            child.wait(delay + 0.3)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            killed += 1
    assert killed
    store.pull(calm=False)
    assert store.archived() == store.on_server()
    assert set(store.stored_ids().values()) == {1}


@pytest.mark.parametrize("damage", ["lost", "damaged", "older"])
def test_the_inventory_is_mended_from_the_archive(store: Store, damage: str) -> None:
    store.fill(ANNA, "", 100, size=5_000)
    store.fill(BOB, ".Sent", 100, size=5_000)
    store.pull()
    file = store.base / "inventory.sqlite"
    shutil.copy(file, store.base / "copy")
    store.fill(ANNA, "", 10, prefix="later")
    store.pull()
    if damage == "lost":
        file.unlink()
    elif damage == "damaged":
        file.write_bytes(b"\0" * 100_000)
    else:
        shutil.copy(store.base / "copy", file)
    report = store.pull(calm=False)
    assert report.unchanged
    assert report.bytes_pulled < 30_000
    assert set(store.stored_ids().values()) == {1}


def test_an_inventory_that_cannot_be_opened_just_now_is_not_put_aside(store: Store) -> None:
    """Guards are in it."""
    (store.base / "inventory.sqlite").mkdir()
    with pytest.raises(ArchiveError, match="cannot be opened"):
        store.open_inventory()
    assert not (store.base / "inventory.sqlite.damaged").exists()


def test_a_lost_segment_is_fetched_again(store: Store) -> None:
    store.fill(ANNA, "", 50)
    store.fill(BOB, "", 50)
    store.pull()
    segment = next((store.base / "staging/segments").rglob("*.tar"))
    segment.unlink()
    segment.with_suffix(".idx").unlink()
    report = store.pull(calm=False)
    assert report.new == 50
    assert store.archived() == store.on_server()


# ---------------------------------------------------------------- a live store


@pytest.mark.parametrize("known", [True, False])
def test_a_message_moved_while_a_busy_folder_is_watched_is_not_lost(store: Store, known: bool) -> None:
    """From the busy folder, then found holding still, into one whose listing was finished before."""
    store.fill(ANNA, "", 30)
    store.put(ANNA, ".Archive", "old.host:2,S")
    uidlist = store.folder(ANNA) / "dovecot-uidlist"
    uidlist.write_text("3 V1 N31\n" + "".join(f"{uid + 1} :m{uid}.host\n" for uid in range(30)))
    if known:
        store.pull()
    inbox, archive = store.folder(ANNA) / "cur", store.folder(ANNA, ".Archive") / "cur"

    def meddle(listing: int) -> None:
        if listing <= ROUNDS:
            store.put(ANNA, "", f"fresh{listing}.host", sub="new")
        elif listing == ROUNDS + 1:
            (inbox / "m5.host:2,S").rename(archive / "m5.host:2,S")
            store.calm()

    store.calm()
    options = PullOptions("vps", str(store.root))
    with store.open_staging() as staging, store.open_inventory() as inventory:
        report = pull(Meddler(store.host, meddle), staging, inventory, options, Impatient(), Silent())
    assert report.result is Result.OK
    assert store.archived() == store.on_server()


def test_a_restless_folder_without_a_uidlist_is_never_called_complete(store: Store) -> None:
    store.fill(ANNA, "", 50)
    inbox = store.folder(ANNA) / "cur"
    stop = threading.Event()

    def storm() -> None:
        while not stop.is_set():
            (inbox / "m0.host:2,S").rename(inbox / "m0.host:2,FS")
            (inbox / "m0.host:2,FS").rename(inbox / "m0.host:2,S")

    thread = threading.Thread(target=storm)
    thread.start()
    try:
        report = store.pull(calm=False)
    finally:
        stop.set()
        thread.join()
    assert report.result is Result.INCOMPLETE
    assert (report.missing[0].folder, "never held still" in report.missing[0].why) == ("INBOX", True)


def test_the_server_refuses_paths_that_leave_the_root(store: Store) -> None:
    from failsafe.backup.protocol import Reach, ServerSession

    store.put(ANNA, "", "a.host:2,")
    with ServerSession(store.host, Reach(str(store.root))) as session:
        for path in ("../outside", "example.org/../../etc", "/etc", "example.org//anna", "."):
            with pytest.raises(ServerSideError, match="not a path below a root"):
                list(session.read_control(path, ["passwd"]))
        for item in ("cur/../../../x", "tmp/x", "cur/", "x"):
            (answer,) = session.read_messages("example.org/anna", "", [item])
            assert (answer.status, answer.body) == ("failed", None)
