"""The guards of a backup, from a real store: what raises each, what does not, who is told, and that `accept` lifts it and only it."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from failsafe.acceptance import accept
from failsafe.app import App
from failsafe.backup import merging
from failsafe.backup.archive.staging import Staging
from failsafe.backup.guardbook import GuardBook
from failsafe.backup.job import ServerJob, run_backup
from failsafe.backup.pull import PullOptions, PullReport, pull
from failsafe.backup.report import BackupReport
from failsafe.backup.snapshot import Target
from failsafe.backups import back_up
from failsafe.clock import SystemClock
from failsafe.config.load import load_config
from failsafe.errors import Refused, ResticError, UsageError
from failsafe.events import Event
from failsafe.mail.manifest import Entry
from failsafe.model import Result
from failsafe.ports import MailHost, Progress
from failsafe.status.build import build_status
from failsafe.status.roster import roster_of
from failsafe.status.values import Status
from failsafe.store.glance import glance_store
from tests.contract import sshd as sshds
from tests.contract.mailstore import Silent, Store
from tests.contract.restics import password_file, programs
from tests.fakes.repository import FakeRepository

ANNA, BOB, CARL = "anna@example.org", "bob@example.org", "carl@example.org"
needs_restic = pytest.mark.skipif(not programs(), reason="restic is not installed (Debian: restic)")


class SettableClock(SystemClock):
    def __init__(self) -> None:
        self.step = timedelta()

    def now(self) -> datetime:
        return super().now() + self.step


@dataclass
class Bench:
    """Backups of a real store into a repository in memory."""

    store: Store
    near: FakeRepository = field(default_factory=lambda: FakeRepository("near"))
    clock: SettableClock = field(default_factory=SettableClock)
    events: list[Event] = field(default_factory=list)
    host: MailHost | None = None
    same_clock: bool = True

    @property
    def book(self) -> GuardBook:
        return GuardBook(self.store.base / "inventory.sqlite", "vps")

    def pull(self, staging: Staging, progress: Progress) -> PullReport:
        self.store.calm()
        options = PullOptions("vps", str(self.store.root), same_clock=self.same_clock)
        with self.store.open_inventory() as inventory:
            return pull(self.host or self.store.host, staging, inventory, options, self.clock, progress)

    def run(self) -> BackupReport:
        folder, proofs = self.store.base / "staging", self.store.base / "proofs.json"
        job = ServerJob("vps", folder, self.pull, (Target(self.near),), proofs, UTC, guards=self.book)
        return run_backup(job, lock=nullcontext(), clock=self.clock, progress=Silent(), record=self.events.append)

    def codes(self) -> list[str]:
        """What stands after one more backup."""
        return [guard.code for guard in self.run().guards]

    def told(self) -> list[Event]:
        return [event for event in self.events if event.name in ("guard.raised", "guard.lifted")]

    def delete(self, mailbox: str, directory: str, count: int) -> None:
        for path in sorted((self.store.folder(mailbox, directory) / "cur").iterdir())[:count]:
            path.unlink()

    def entries(self, mailbox: str = ANNA, folder: str = "INBOX") -> list[Entry]:
        return self.store.entries()[mailbox, folder]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(Store(tmp_path))


# ---------------------------------------------------------------- while a guard stands


def test_while_a_guard_stands_new_mail_comes_in_nothing_is_deleted_and_a_person_is_told_once(bench: Bench) -> None:
    bench.store.fill(ANNA, "", 60)
    bench.store.fill(BOB, "", 30)
    assert bench.codes() == []
    bench.delete(ANNA, "", 50)
    for _ in range(3):
        bench.store.put(ANNA, "", f"new{len(bench.events)}.host:2,")
        bench.delete(BOB, "", 1)
        report = bench.run()
        assert ([guard.code for guard in report.guards], report.result, report.exit_code) == (["mass-loss"], Result.OK, 1)
    entries = bench.entries()
    assert (sum(entry.gone_at is not None for entry in entries), len(entries)) == (50, 63)
    assert len(bench.entries(BOB)) == 27, "the guard is about anna"
    with bench.store.open_staging() as staging:
        assert staging.numbers() == (1, 2, 3, 4)
    assert len(bench.near.snapshots()) == 4
    (told,) = bench.told()
    assert told.notice is not None
    assert (told.name, "50 of 60 messages vanished from anna@example.org" in told.notice.subject) == ("guard.raised", True)
    assert "failsafe accept vps --mailbox anna@example.org --reason TEXT" in told.notice.must_do
    (standing,) = bench.book.standing()
    assert (standing.place, standing.raised_at) == (ANNA, told.notice.since)


def test_a_loss_that_goes_on_while_its_guard_stands_is_told_again(bench: Bench) -> None:
    """Whoever says "yes, I deleted 30" has not said so of 150."""
    bench.store.fill(ANNA, "", 150)
    bench.store.fill(ANNA, ".Old", 40, prefix="o")
    bench.run()
    bench.delete(ANNA, "", 50)
    bench.run()
    for path in (bench.store.folder(ANNA, ".Old") / "cur").iterdir():
        path.rename(bench.store.folder(ANNA) / "cur" / path.name)
    bench.run()
    assert len(bench.told()) == 1, "what moved is not gone"
    for _ in range(3):
        bench.delete(ANNA, "", 30)
        bench.run()
    subjects = [event.notice.subject for event in bench.told() if event.notice is not None]
    assert [subject.partition("; ")[2] for subject in subjects] == ["", "since then 30 more", "since then 90 more"]
    assert "50 of 190 messages vanished from anna@example.org; since then 90 more" in subjects[-1]
    (standing,) = bench.book.standing()
    assert standing.text in subjects[-1]


def test_what_comes_back_lifts_its_guard_and_a_person_is_told(bench: Bench) -> None:
    bench.store.fill(ANNA, "", 15)
    bench.run()
    shutil.copytree(bench.store.folder(ANNA) / "cur", bench.store.base / "aside")
    bench.delete(ANNA, "", 15)
    assert bench.codes() == ["mass-loss"]
    shutil.copytree(bench.store.base / "aside", bench.store.folder(ANNA) / "cur", dirs_exist_ok=True)
    assert bench.codes() == []
    assert [event.name for event in bench.told()] == ["guard.raised", "guard.lifted"]


def test_whoever_loses_many_mailboxes_gets_one_notice(bench: Bench) -> None:
    for number in range(9):
        bench.store.fill(f"user{number}@example.org", "", 3)
    bench.run()
    for number in range(8):
        shutil.rmtree(bench.store.root / f"example.org/user{number}")
    assert bench.codes() == ["mailbox-vanished"] * 8
    (told,) = bench.told()
    assert told.notice is not None
    assert told.notice.must_do.startswith("if this was meant: failsafe accept vps --reason TEXT")


def test_a_killed_run_tells_it_the_next_time(bench: Bench) -> None:
    bench.store.fill(ANNA, "", 15)
    bench.run()
    bench.delete(ANNA, "", 15)
    with bench.store.open_staging() as staging:
        bench.pull(staging, Silent())  # and no further
    bench.run()
    assert [event.name for event in bench.told()] == ["guard.raised"]


# ---------------------------------------------------------------- what people do


def test_ordinary_work_in_a_large_mailbox_raises_no_guard(bench: Bench) -> None:
    """A client empties Junk, archives a year into another folder, renames a folder, and somebody reads everything."""
    bench.store.fill(ANNA, "", 1900)
    bench.store.fill(ANNA, ".Junk", 100, prefix="j")
    bench.store.fill(BOB, "", 9)
    bench.run()
    bench.delete(ANNA, ".Junk", 100)
    bench.delete(BOB, "", 9)
    archive = bench.store.folder(ANNA, ".Archive.2025") / "cur"
    for number, path in enumerate(sorted((bench.store.folder(ANNA) / "cur").iterdir())):
        path.rename(archive / path.name if number % 2 else path.with_name(path.name + "F"))
    assert bench.codes() == []
    bench.store.folder(ANNA, ".Archive.2025").rename(bench.store.root / "example.org/anna/.Old")
    assert bench.codes() == []


def test_a_client_that_moves_by_copying_and_expunging_raises_no_guard(bench: Bench) -> None:
    """The copies have names of their own, so only their content tells that nothing is lost."""
    bench.store.fill(ANNA, "", 60)
    bench.store.put(ANNA, ".Archive.2025", "old.host:2,S")
    bench.run()
    archive = bench.store.folder(ANNA, ".Archive.2025") / "cur"
    for number, path in enumerate(sorted((bench.store.folder(ANNA) / "cur").iterdir())[:50]):
        shutil.copy2(path, archive / f"copy{number}.host:2,S")
        path.unlink()
    assert bench.codes() == []
    bench.delete(ANNA, ".Archive.2025", 50)
    assert bench.codes() == ["mass-loss"]


def test_a_mailbox_that_is_fetched_by_pop_is_asked_about_once(bench: Bench) -> None:
    bench.store.fill(ANNA, "", 12)
    bench.run()
    bench.delete(ANNA, "", 12)
    assert bench.codes() == ["mass-loss"]
    with bench.store.open_inventory() as inventory:
        inventory.accept(ANNA)
    for round_ in range(2):
        bench.store.fill(ANNA, "", 15, prefix=f"r{round_}-")
        assert bench.codes() == []
        bench.delete(ANNA, "", 15)
        assert bench.codes() == []


def test_a_clearance_that_was_meant_once_does_not_let_the_rest_go_unasked(bench: Bench) -> None:
    """It was no mailbox that is emptied as a habit."""
    bench.store.fill(ANNA, "", 100)
    bench.run()
    bench.delete(ANNA, "", 50)
    assert bench.codes() == ["mass-loss"]
    with bench.store.open_inventory() as inventory:
        inventory.accept(ANNA)
    assert bench.codes() == []
    bench.delete(ANNA, "", 50)
    assert bench.codes() == ["mass-loss"]


def test_a_store_that_is_emptied_slowly_raises_a_guard_all_the_same(bench: Bench) -> None:
    """As a client does that deletes ten thousand messages while a backup runs every minute."""
    bench.store.fill(ANNA, "", 200)
    bench.run()
    raised = 0
    for _ in range(4):
        bench.delete(ANNA, "", 15)
        raised += bool(bench.run().guards)
    assert raised == 2, "45 of 200 are more than a fifth"
    bench.clock.step += timedelta(days=2)
    with bench.store.open_inventory() as inventory:
        inventory.accept()
    bench.delete(ANNA, "", 15)
    assert bench.codes() == []


def test_a_store_that_is_emptied_slowly_is_found_out_also_where_its_segments_were_merged_on_that_day(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A merge puts old messages into new segments; they are as old as they were."""
    monkeypatch.setattr(merging, "SMALL", 10**9)  # none yet
    for _ in range(4):
        bench.store.fill(ANNA, "", 25, prefix=f"{len(bench.events)}-")
        bench.run()
    bench.clock.step += timedelta(days=2)
    assert bench.codes() == []
    monkeypatch.setattr(merging, "SMALL", 50_000)
    bench.store.put(ANNA, "", "new.host:2,S")
    assert any("small segments were merged" in note for note in bench.run().notes)
    codes = []
    for _ in range(4):
        bench.delete(ANNA, "", 8)
        codes.append(bench.codes())
    assert codes == [[], [], ["mass-loss"], ["mass-loss"]], "24 of 100 are more than a fifth"


def test_messages_whose_names_are_those_of_another_folder_are_missed_all_the_same(bench: Bench) -> None:
    """As a tool writes them that numbers each folder's messages."""
    for directory in ("", ".Old"):
        for number in range(60):
            bench.store.put(ANNA, directory, f"{number}.import:2,S", f"{directory} {number}".encode())
    assert bench.codes() == []
    bench.delete(ANNA, "", 60)
    assert bench.codes() == ["mass-loss"]


def test_messages_of_one_name_that_change_places_are_no_tampering(bench: Bench) -> None:
    bench.store.put(ANNA, ".A", "1.import:2,S", b"first")
    bench.store.put(ANNA, ".B", "1.import:2,S", b"second one")
    bench.store.folder(ANNA)
    bench.run()
    home = bench.store.root / "example.org/anna"
    (home / ".A/cur/1.import:2,S").rename(bench.store.folder(ANNA, ".C") / "cur/1.import:2,S")
    (home / ".B/cur/1.import:2,S").rename(home / ".A/cur/1.import:2,S")
    assert bench.codes() == []
    assert bench.store.archived() == bench.store.on_server()


# ---------------------------------------------------------------- clocks


def test_a_clock_that_went_back_raises_a_guard_and_accept_believes_it(bench: Bench) -> None:
    bench.store.fill(ANNA, "", 3)
    bench.clock.step = timedelta(days=400)
    bench.run()
    bench.clock.step = timedelta()
    bench.store.fill(ANNA, "", 1, prefix="later")
    report = bench.run()
    assert [guard.code for guard in report.guards] == ["clock-jump"]
    assert (report.messages.new, len(bench.near.snapshots())) == (1, 2), "mail is backed up all the same"
    assert "failsafe accept vps --what clock" in report.guards[0].mend
    assert bench.codes() == ["clock-jump"], "it stands although the newest generation is of now"
    with bench.store.open_inventory() as inventory:
        from failsafe.backup.clocks import accept_clocks

        assert accept_clocks(inventory) == 1
    assert bench.codes() == []


def test_a_clock_guard_keeps_no_ordinary_deletion_in_the_manifests(bench: Bench) -> None:
    bench.store.fill(ANNA, "", 8)
    bench.clock.step = timedelta(days=400)
    bench.run()
    bench.clock.step = timedelta()
    bench.delete(ANNA, "", 2)
    assert bench.codes() == ["clock-jump"]
    assert len(bench.entries()) == 6


def test_two_clocks_that_disagree_raise_a_guard_until_they_agree(bench: Bench) -> None:
    bench.same_clock = False
    bench.store.fill(ANNA, "", 3)
    assert bench.codes() == []
    bench.clock.step = timedelta(hours=2)
    assert bench.codes() == ["clock-jump"]
    assert "one of the two is wrong" in bench.book.standing()[0].text
    bench.clock.step = timedelta(minutes=1)
    bench.near.fail_with = None
    assert bench.codes() == ["clock-jump"], "ours went back: dates are wrong now, and a person must look"


def test_a_server_whose_clock_is_set_right_lifts_its_guard(bench: Bench) -> None:
    """Ours, that is, was slow: nothing was dated in the future."""
    bench.same_clock = False
    bench.store.fill(ANNA, "", 3)
    bench.clock.step = timedelta(hours=-2)
    assert bench.codes() == ["clock-jump"]
    bench.clock.step = timedelta()
    assert bench.codes() == []
    assert [event.name for event in bench.told()] == ["guard.raised", "guard.lifted"]


def test_a_long_silence_is_a_leap_only_where_no_other_clock_agrees(bench: Bench) -> None:
    bench.store.fill(ANNA, "", 3)
    bench.run()
    bench.clock.step = timedelta(days=60)
    assert bench.codes() == []
    bench.clock.step = timedelta(days=200)
    assert bench.codes() == ["clock-jump"]


# ---------------------------------------------------------------- host key, repository


def test_another_host_key_is_a_guard_and_mail_of_the_known_one_is_not_touched(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "ssh").mkdir()
    with sshds.running(tmp_path / "ssh") as server:
        bench.host = server.host()
        bench.store.fill(ANNA, "", 5)
        assert bench.codes() == []
        server.stop()
        shutil.copytree(server.folder, tmp_path / "known")
        server.new_host_key()
        server.start()
        for _ in range(2):
            report = bench.run()
            assert (report.result, [guard.code for guard in report.guards]) == (Result.FAILED, ["host-key-changed"])
            assert report.troubles[0].text.count("SHA256:") == 2
            assert "failsafe accept vps --what host-key" in report.troubles[0].mend
        assert [event.name for event in bench.told()] == ["guard.raised"]
        server.stop()
        for name in ("host_key", "host_key.pub"):
            shutil.copy(tmp_path / "known" / name, server.folder / name)
        server.start()
        assert bench.codes() == [], "the known one is back"


def test_another_repository_in_place_of_the_known_one_is_a_guard_of_its_own(bench: Bench) -> None:
    bench.store.fill(ANNA, "", 5)
    bench.run()
    bench.store.fill(ANNA, "", 1, prefix="later")
    bench.near.fail_with = ResticError("another repository is where the known one was", kind="unexpected-repository")
    report = bench.run()
    assert (report.result, [guard.code for guard in report.guards]) == (Result.FAILED, ["repository-unknown"])
    assert bench.book.standing()[0].place == "repository:near"
    bench.near.fail_with = None
    assert bench.codes() == []


# ---------------------------------------------------------------- accept, through the whole program


@dataclass
class Home:
    """A controller with one server reached over SSH and one real restic repository."""

    app: App
    store: Store
    server: sshds.Sshd
    said: list[str] = field(default_factory=list)

    def back_up(self) -> BackupReport:
        self.store.calm()
        return back_up(self.app, "vps", Silent(), self.said.append, by_hand=True)

    def accept(self, what: str, mailbox: str | None = None) -> str:
        return accept(self.app, "vps", what, mailbox, self.said.append)

    def change_inventory(self, statement: str) -> None:
        with contextlib.closing(sqlite3.connect(self.app.inventory_file("vps"))) as db, db:
            assert db.execute(statement).rowcount == 1

    def standing(self) -> list[str]:
        return sorted(one.code for one in GuardBook(self.app.inventory_file("vps"), "vps").standing())

    def status(self) -> Status:
        return build_status(roster_of(self.app.config), glance_store(self.app.store), self.app.clock.now())


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    (tmp_path / "ssh").mkdir()
    with sshds.running(tmp_path / "ssh") as server:
        file = tmp_path / "failsafe.toml"
        file.write_text(
            f'[controller]\nid = "nas"\nstate_dir = "{tmp_path}/state"\n'
            f'[mail_server.vps]\nlayout = "maildir"\npath = "{tmp_path}/mail"\nssh = "{server.address}"\nssh_key = "{server.key}"\n'
            f'known_hosts = "{server.known_hosts}"\n'
            f'[repository.nas]\nurl = "{tmp_path}/repository"\npassword_file = "{password_file(tmp_path)}"\n'
        )
        made = Home(App(load_config(file), file), Store(tmp_path), server)
        yield made
        made.app.store.close()


@needs_restic
def test_each_acceptance_lifts_its_own_guard_and_only_it(home: Home, tmp_path: Path) -> None:
    """All at once: a lost mailbox, tampered mail, another host key, another repository; accepted one after the other."""
    home.store.fill(ANNA, "", 15)
    home.store.fill(BOB, "", 5)
    home.store.fill(CARL, "", 5)
    assert home.back_up().result is Result.OK
    shutil.rmtree(home.store.root / "example.org/bob")
    (home.store.folder(CARL) / "cur/m0.host:2,S").write_bytes(b"encrypted")
    (tmp_path / "repository").rename(tmp_path / "the-known-one")
    subprocess.run(
        ["restic", "init", "-q", "-r", str(tmp_path / "repository"), "--password-file", str(tmp_path / "repository.password")],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    assert home.back_up().result is Result.FAILED
    home.server.stop()
    home.server.new_host_key()
    home.server.start()
    assert home.back_up().exit_code == 4
    everything = ["host-key-changed", "mailbox-vanished", "repository-unknown", "tampered"]
    assert home.standing() == everything
    shown = {finding.code: finding for finding in home.status().findings}
    for code, what in zip(
        everything, (" --what host-key", " --mailbox bob@example.org", " --what repository", " --what tampering"), strict=True
    ):
        assert what in shown[code].mend

    assert "no such guard stands" in home.accept("clock")
    assert home.standing() == everything
    with pytest.raises(UsageError, match="--mailbox"):
        home.accept("repository", ANNA)
    assert "nothing is lifted" not in home.accept("loss", ANNA)
    assert home.standing() == everything
    for what, code in (
        ("host-key", everything[0]),
        ("loss", everything[1]),
        ("repository", everything[2]),
        ("tampering", everything[3]),
    ):
        before = home.standing()
        assert home.accept(what).startswith(f"lifted {code}")
        assert home.standing() == [other for other in before if other != code]
        assert code not in {finding.code for finding in home.status().findings}
    report = home.back_up()
    assert (report.result, report.guards, report.messages.total) == (Result.OK, (), 20)


@needs_restic
def test_accepting_a_host_key_takes_the_one_that_was_told_of_and_changes_only_its_line(home: Home) -> None:
    home.store.fill(ANNA, "", 3)
    home.back_up()
    known = home.server.known_hosts
    ours, other = (
        known.read_text(),
        "# a comment\nother.example.org ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ+dZLZ8Lt4e6cZ2P7Rk3c0O5t8QhT0u7k1m2n3o4p5q\n",
    )
    name, _, key = ours.partition(" ")
    known.write_text(other + f"friend.example.org,{name} {key}")
    known.chmod(0o640)
    assert home.back_up().result is Result.OK
    home.server.stop()
    home.server.new_host_key()
    home.server.start()
    with pytest.raises(UsageError, match="never backed up"):
        accept(home.app, "nobody", "host-key", None, home.said.append)
    home.back_up()
    home.server.stop()
    home.server.new_host_key()
    home.server.start()
    before = known.read_text()
    home.change_inventory("DELETE FROM meta WHERE key LIKE 'guard about %'")  # an earlier version told the key in the text alone
    with pytest.raises(Refused, match="not the key that the guard told of"):
        home.accept("host-key")
    assert (home.standing(), known.read_text()) == (["host-key-changed"], before)
    home.back_up()
    home.change_inventory("UPDATE guard SET text = 'ssh-ed25519 SHA256:AAAA was shown'")  # words decide nothing
    text = home.accept("host-key")

    old, new = (line.split()[-1] for line in home.said[-2:])
    assert old.startswith("SHA256:")
    assert new.startswith("SHA256:")
    assert old != new
    assert (old in text, new in text) == (True, True)
    public = Path(f"{home.server.host_key}.pub").read_text().split()
    assert known.read_text() == other + f"friend.example.org {key}" + f"{name} {public[0]} {public[1]}\n"
    assert (known.stat().st_mode & 0o777, known.with_name("known_hosts.old").read_text()) == (
        0o640,
        other + f"friend.example.org,{name} {key}",
    )
    assert home.back_up().result is Result.OK
