"""Restore drills on real restic repositories: what passes, and what every fault of a repository or a machine makes of them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import pytest

from failsafe.adapters import dovecot
from failsafe.adapters.lock import FileLock
from failsafe.app import App
from failsafe.backup.archive import Archive
from failsafe.backup.archive.layout import path_of
from failsafe.backup.drill_report import DrillReport
from failsafe.backup.due import LastRun, next_due_at, plan_due
from failsafe.backup.snapshot import state_of, tags_of
from failsafe.config.load import load_config
from failsafe.daemon.jobs import Job, Jobs
from failsafe.drills import FOLDER, drill_repository
from failsafe.maintenance import repository_freezes
from failsafe.status.as_json import to_json
from failsafe.status.build import build_status
from failsafe.status.roster import duties_of, roster_of
from failsafe.store.glance import glance_file
from tests.contract.mailstore import Silent, Store
from tests.contract.processes import run, start
from tests.contract.rest_standin import rest_server
from tests.contract.restics import programs, put_empty_repository, restic
from tests.support import wait_until

pytestmark = pytest.mark.skipif(not programs(), reason="restic is not installed (Debian: restic)")
ANN, BOB = "ann@example.org", "bob@example.org"
WORDS = "repository password"
HAS_DOVECOT = shutil.which("dovecot", path=dovecot.PLACES) is not None
GUID = "0123456789abcdef" * 2
CONFIG = """
[controller]
id = "nas"
state_dir = "{folder}/state"
time_zone = "UTC"
[mail_server.vps]
layout = "maildir"
path = "{folder}/mail"
[repository.nas]
url = "{url}"
password_file = "{folder}/repository.password"
{more}
"""


@dataclass
class House:
    """A controller's home with one repository, in which one complete snapshot lies."""

    folder: Path

    def configure(self, url: str = "", more: str = "") -> None:
        text = CONFIG.format(folder=self.folder, url=url or self.folder / "repository", more=more)
        (self.folder / "failsafe.toml").write_text(text)

    @property
    def app(self) -> App:
        return App(load_config(self.folder / "failsafe.toml"), self.folder / "failsafe.toml")

    def start(self, *words: str, **pipes: Any) -> subprocess.Popen[str]:
        return start(self.folder / "failsafe.toml", *words, **pipes)

    def run(self, *words: str, status: int = 0) -> str:
        return run(self.folder / "failsafe.toml", *words, status=status)[0]

    def drill(self) -> DrillReport:
        return drill_repository(self.app, "nas", Silent())

    def status(self) -> dict[str, Any]:
        app = self.app
        return to_json(build_status(roster_of(app.config), glance_file(app.state_dir / "failsafe.sqlite"), app.clock.now()))

    @property
    def workroom(self) -> Path:
        return self.folder / "state" / FOLDER / "nas"

    @property
    def staging(self) -> Path:
        return self.folder / "state" / "staging" / "vps"

    def segments_of(self, mailbox: str) -> list[Path]:
        archive = Archive(self.staging)
        return [self.staging / path_of("segments", name) for name in archive.mailbox(archive.generation(), mailbox).segments]

    def snapshot(self, *excludes: str, tags: tuple[str, ...] = ()) -> None:
        """One of staging as it lies there, with the tags of a complete one unless others are given; made by restic alone."""
        generation = Archive(self.staging).generation()
        words = tags or tags_of(generation, state_of(Archive(self.staging), generation.number))  # type: ignore[arg-type]
        told = [*(f"--tag={tag}" for tag in words), *(f"--exclude={each}" for each in (".failsafe-*", *excludes))]
        place = ["env", "-C", str(self.staging), "restic", "backup", "-q", "--host=failsafe-vps", *told, "."]
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "RESTIC_REPOSITORY": str(self.folder / "repository"),
            "RESTIC_PASSWORD_FILE": str(self.folder / "repository.password"),
        }
        subprocess.run(place, env=environment, check=True, capture_output=True, timeout=120)


def fill(store: Store) -> None:
    """Two mailboxes with folders, flags, keywords, dates and UIDs; some bytes that IMAP changes on the way."""
    for place, box in enumerate((ANN, BOB)):
        for directory in ("", ".Archive.2026", ".Entw&APw-rfe", ".INBOX.Odd"):
            folder = store.folder(box, directory)
            lines = []
            for number in range(12):
                name, letters = f"16000000{number:02}.M{number}P1.host", ("", "S", "FS", "RSa", "DTab", "PS")[number % 6]
                body = f"Subject: {box} {directory} {number}\n\n".encode() + os.urandom(5000) + b"\n\0\r lone\n"
                store.put(box, directory, f"{name}:2,{letters}", body, date=1_600_000_000 + number * 86_399)
                lines.append(f"{number * 3 + 1} :{name}\n" if number < 10 else "")
            head = f"3 V{1_500_000_000 + place} N40 G{GUID}\n"
            (folder / "dovecot-uidlist").write_text(head + "".join(lines))
            (folder / "dovecot-keywords").write_text("0 Work\n1 $Label1\n")
    store.calm()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> House:
    """Backed up once, to be copied."""
    if not programs():
        pytest.skip("restic is not installed")
    made = House(tmp_path_factory.mktemp("house"))
    fill(Store(made.folder))
    (made.folder / "repository.password").touch(mode=0o600)
    (made.folder / "repository.password").write_text(WORDS + "\n")
    put_empty_repository(made.folder / "repository", WORDS)
    made.configure()
    made.run("backup")
    return made


@pytest.fixture
def house(original: House, tmp_path: Path) -> House:
    made = House(tmp_path / "house")
    shutil.copytree(original.folder, made.folder, ignore=shutil.ignore_patterns("mail"))
    (made.folder / "mail").mkdir()
    made.configure()
    return made


def said(report: DrillReport) -> str:
    return "\n".join(str(fault) for server in report.servers for fault in server.faults)


def everything_in(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}


def test_a_drill_brings_mail_back_and_shows_its_evidence_everywhere(house: House) -> None:
    before = everything_in(house.folder / "repository")

    told = json.loads(house.run("drill", "restore", "--json"))

    (report,) = told["repositories"]
    (server,) = report["servers"]
    assert (report["repository"], report["result"], report["messages"], report["findings"]) == ("nas", "passed", 96, 0)
    assert {(each["mailbox"], each["part"], each["messages"]) for each in server["mailboxes"]} == {
        (ANN, "whole", 48),
        (BOB, "whole", 48),
    }
    assert server["canary"]["internal_date"] == 1_600_000_000 + 11 * 86_399
    assert report["opened_with"].startswith("Dovecot 2." if HAS_DOVECOT else "Python's mailbox")
    assert report["seconds"] == pytest.approx(
        sum(report["seconds_by_step"][step] for step in ("restic", "rebuild", "open")), abs=0.01
    )
    assert everything_in(house.folder / "repository") == before, "no lock, not for a moment"
    assert list(house.workroom.parent.iterdir()) == []
    (row,) = house.status()["repositories"]
    assert (row["status"], row["last_drill"]["result"], row["last_drill"]["messages"]) == ("ok", "passed", 96)
    assert row["last_drill_at"] == row["last_drill"]["at"] == report["at"]
    assert [event.name for _, event in house.app.events.since(None)][-1] == "drill.passed"
    assert "passed; 96 message(s) of 2 mailbox(es)" in house.run("status")


@pytest.mark.skipif(not HAS_DOVECOT, reason="Dovecot is not installed (Debian: dovecot-imapd)")
def test_without_a_dovecot_python_opens_the_mail_and_that_is_said(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dovecot, "PLACES", str(house.folder))

    report = house.drill()

    assert (report.result, report.messages, report.opened_with) == ("passed", 96, "Python's mailbox")
    assert "no Dovecot is installed here" in report.servers[0].notes[0]


def largest_blob(folder: Path) -> tuple[Path, int]:
    """(the pack that holds it, the place of its middle byte): a segment, since nothing else is as large."""
    found = []
    for index in restic("restic", folder, "list", "index", "--no-lock").stdout.split():
        for pack in json.loads(restic("restic", folder, "cat", "index", index, "--no-lock").stdout)["packs"]:
            place = folder / "repository" / "data" / pack["id"][:2] / pack["id"]
            found += [(blob["length"], place, blob["offset"] + blob["length"] // 2) for blob in pack["blobs"]]
    _, pack, middle = max(found)
    return pack, middle


def test_a_damaged_pack_fails_the_drill_names_its_messages_and_stops_forgetting_until_one_passes(house: House) -> None:
    pack, middle = largest_blob(house.folder)
    whole = pack.read_bytes()
    damaged = bytearray(whole)
    damaged[middle] ^= 255
    pack.chmod(0o600)
    pack.write_bytes(damaged)

    out = house.run("drill", "restore", status=1)

    assert "nas: failed" in out
    assert "finding: " in out
    (row,) = house.status()["repositories"]
    assert (row["status"], row["last_drill"]["result"]) == ("failed", "failed")
    report = house.app.duties.drills("nas")[0]
    named = [each for each in report["servers"][0]["findings"] if each["message"]]
    assert {each["mailbox"] for each in named} <= {ANN, BOB}
    assert any(each["text"] == "did not come back" and each["message"].startswith("16000000") for each in named)
    assert "drill-failed" in [guard.code for guard in repository_freezes(house.app, "nas")]
    assert "fail nas: the restore drill of" in house.run("status", status=1)

    pack.write_bytes(whole)
    assert house.status()["repositories"][0]["status"] == "failed"
    assert house.drill().result == "passed"
    assert house.status()["repositories"][0]["status"] == "ok"
    assert repository_freezes(house.app, "nas") == ()
    assert [event.name for _, event in house.app.events.since(None)][-2:] == ["drill.failed", "drill.passed"]


def test_lists_that_the_repository_has_lost_fail_the_drill_although_this_machine_remembers_them(house: House) -> None:
    house.app.repository("nas").snapshots()  # its cache knows all lists by now
    packs = [path for path in (house.folder / "repository" / "data").rglob("*") if path.is_file()]
    lists = min(packs, key=lambda path: path.stat().st_size)
    lists.write_bytes(bytes(lists.stat().st_size))

    report = house.drill()

    assert (report.result, report.exit_code) == ("failed", 1), said(report)
    assert "restic ls" in said(report)


def test_a_snapshot_that_lacks_a_file_fails_with_the_file_and_its_messages(house: House) -> None:
    lacking = house.segments_of(BOB)[0].relative_to(house.staging).as_posix()
    house.snapshot(lacking)

    report = house.drill()

    assert (report.result, report.exit_code) == ("failed", 1)
    assert f"lacks {lacking}" in said(report)
    assert f"{BOB} / INBOX / 1600000000.M0P1.host (UID 1): did not come back" in said(report)
    assert f"{ANN} / " not in said(report)


def test_a_rebuilt_flag_that_is_not_the_manifests_is_found(house: House) -> None:
    program = house.staging / "rebuild.py"
    text = program.read_text()
    assert 'set("DFPRST")' in text
    program.write_text(text.replace('set("DFPRST")', 'set("DFPRT")'))
    house.snapshot()

    report = house.drill()

    assert report.exit_code == 1
    assert f"{ANN} / INBOX / 1600000001.M1P1.host (UID 4): has the flags none instead of S" in said(report)
    assert "this program itself is damaged" in said(report)


def test_a_repository_of_incomplete_snapshots_alone_cannot_pass(house: House) -> None:
    for path in (house.folder / "repository" / "snapshots").iterdir():
        path.unlink()
    house.snapshot(tags=("generation:1", "state:0", "result:incomplete", "messages:96"))

    report = house.drill()

    assert (report.result, report.exit_code, report.messages) == ("failed", 1, 0)
    assert "only snapshots that are not complete" in said(report)


def test_a_drill_uses_the_credential_of_restores_and_only_reads(house: House) -> None:
    users = {"everyday": "writes", "restorer": "reads"}
    for name, password in (("everyday", "no longer right"), ("restorer", "reads")):
        file = house.folder / f"{name}.env"
        file.touch(mode=0o600)
        file.write_text(f"RESTIC_REST_USERNAME={name}\nRESTIC_REST_PASSWORD={password}\n")
    more = f'environment_file = "{house.folder}/everyday.env"\nrestore_environment_file = "{house.folder}/restorer.env"'
    with rest_server(house.folder / "repository", users) as server:
        house.configure(server.url, more)

        report = house.drill()

        assert (report.result, report.first_fault) == ("passed", "")
        assert server.asked_by == {"restorer"}
        assert server.refused == []

        (house.folder / "restorer.env").write_text("RESTIC_REST_USERNAME=restorer\nRESTIC_REST_PASSWORD=old\n")
        report = house.drill()

    assert (report.result, report.exit_code, report.was_tried) == ("failed", 4, False)
    assert "401" in report.first_fault
    assert "old" not in report.first_fault.split()
    row = house.status()["repositories"][0]
    assert row["last_drill"]["result"] == "failed"
    assert row["status"] == "ok", "the mail in it is not in doubt: nobody could look"
    assert any(each["code"] == "drill-restore" and each["severity"] == "fail" for each in house.status()["findings"])


@pytest.fixture
def small_disk(house: House) -> Iterator[Path]:
    """A file system of 300 KB where drills work."""
    house.workroom.parent.mkdir(exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", "size=300k,mode=700", "tmpfs", str(house.workroom.parent)]
    if os.geteuid() != 0 or subprocess.run(words, check=False, capture_output=True, timeout=30).returncode != 0:
        pytest.skip("a small file system cannot be mounted here (needs root)")
    try:
        yield house.workroom.parent
    finally:
        subprocess.run(["umount", str(house.workroom.parent)], check=True, capture_output=True, timeout=30)


def test_a_full_disk_is_named_before_and_in_the_middle_and_nothing_is_left_on_it(
    house: House, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = house.drill()
    assert (report.result, report.exit_code) == ("failed", 4)
    assert "0 MiB are free" in report.first_fault
    assert list(small_disk.iterdir()) == []

    monkeypatch.setattr("failsafe.drills._free", lambda _folder: lambda: 1 << 40)  # as if somebody else took the room meanwhile
    report = house.drill()

    assert (report.result, report.exit_code) == ("failed", 4), said(report)
    assert "space" in report.first_fault
    assert list(small_disk.iterdir()) == []


def test_a_killed_drill_leaves_no_evidence_and_the_next_one_clears_up(house: House) -> None:
    child = house.start("drill", "restore", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    wait_until(lambda: any(house.workroom.rglob("*.json")), 60, "mail lies in the workroom")
    os.killpg(child.pid, signal.SIGKILL)
    child.wait(30)
    assert list(house.workroom.iterdir()) != []
    assert house.app.duties.drills("nas") == ()
    wait_until(lambda: FileLock(house.app.lock_file("repository:nas")).holder() is None, 30, "its locks are free")

    assert house.drill().result == "passed"

    assert list(house.workroom.parent.iterdir()) == []


def test_the_daemons_pass_drills_what_is_due_and_no_more(house: House) -> None:
    duties, now = house.app.duties, house.app.clock.now()
    for other in ("backup:vps", "check:nas", "doctor"):
        duties.started(other, now)
        duties.ended(other, now, ok=True)

    house.run("tick")

    row = duties.all()["drill:nas"]
    assert (row.result, row.ok_at is not None) == ("ok", True)
    assert [report["result"] for report in duties.drills("nas")] == ["passed"]
    last = {row.name: LastRun.of(row.started_at, row.ended_at, row.ok_at, row.details) for row in duties.all().values()}
    due = plan_due(duties_of(house.app.config), last, house.app.clock.now(), UTC)
    assert "drill:nas" not in [duty.name for duty in due]


@pytest.mark.parametrize(("code", "least", "most"), [(1, 16, 18), (4, 0, 1)])
def test_what_failed_is_tried_again_about_daily_and_what_could_not_be_tried_soon(
    house: House, code: int, least: int, most: int
) -> None:
    app, now = house.app, house.app.clock.now()
    duty = next(each for each in duties_of(app.config) if each.name == "drill:nas")
    process = subprocess.Popen(["sh", "-c", f"exit {code}"])
    process.wait(30)
    app.duties.started(duty.name, now)

    Jobs(app)._ended(Job(duty, process, now, house.folder / "log", 0), now)

    row = app.duties.all()[duty.name]
    due_at = next_due_at(duty, LastRun.of(row.started_at, row.ended_at, row.ok_at, row.details), now, UTC)
    assert timedelta(hours=least) <= due_at - now <= timedelta(hours=most)
