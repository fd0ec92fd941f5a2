"""Backup into real restic repositories, loss on a real Dovecot, restore by the command line, compared as a client sees it."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.contract.dovecot import PASSWORD, Dovecot, look, running
from tests.contract.processes import run, start
from tests.contract.restics import put_empty_repository
from tests.support import Moments

pytestmark = pytest.mark.timeout(600)

ANN, BOB = "ann@example.org", "bob@example.org"
FOLDERS = ("INBOX", "Entwürfe", "Archive/2026", "with space")
KEYWORDS = tuple(f"Word{number:02d}" for number in range(8))


@dataclass
class Home:
    """A controller's home: configuration, two repositories on disk, and the server's mail on this machine."""

    folder: Path
    server: Dovecot

    def configure(self, more: str = "") -> None:
        """`more` are further lines of [mail_server.vps]."""
        for name, text in (("repository.password", "secret\n"), ("imap.password", PASSWORD + "\n")):
            path = self.folder / name
            path.touch(mode=0o600)
            path.write_text(text)
        for place in ("near", "far"):
            (self.folder / place).mkdir()
            put_empty_repository(self.folder / place / "repository", "secret")
        (self.folder / "failsafe.toml").write_text(
            f'[controller]\nid = "test"\nstate_dir = "{self.folder}/state"\ntime_zone = "Europe/Warsaw"\n'
            f'[mail_server.vps]\nlayout = "maildir"\npath = "{self.server.folder}/mail"\n'
            f'imap = {{ host = "localhost", port = {self.server.port}, tls = "implicit", ca_file = "{self.server.certificates.authority}" }}\n{more}\n'
            + "".join(
                f'[repository.{name}]\nurl = "{self.folder}/{place}/repository"\npassword_file = "{self.folder}/repository.password"\n'
                for name, place in (("a-near", "near"), ("b-far", "far"))
            )
        )

    def start(self, *words: str, **pipes: Any) -> subprocess.Popen[str]:
        return start(self.folder / "failsafe.toml", *words, **pipes)

    def run(self, *words: str, status: int = 0) -> tuple[str, str]:
        return run(self.folder / "failsafe.toml", *words, status=status)

    def backup(self) -> dict[str, Any]:
        """Folders must have been quiet for a while, else the pull takes its time to prove them; equal stamps are what it wants."""
        return dict(json.loads(self.run("backup", "--json")[0]))

    def search(self, *words: str) -> list[dict[str, Any]]:
        with self.start("search", *words, "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
            out, _ = child.communicate(timeout=300)
        return [json.loads(line) for line in out.splitlines()]

    def imap(self, *words: str, status: int = 0) -> dict[str, Any]:
        password = ("--imap-password-file", str(self.folder / "imap.password"))
        return dict(json.loads(self.run("restore", *words, "--to", "imap", *password, "--yes", "--json", status=status)[0]))


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    with running([ANN, BOB]) as dovecot:
        yield dovecot


@pytest.fixture
def home(server: Dovecot, tmp_path: Path) -> Iterator[Home]:
    if shutil.which("restic") is None:
        pytest.skip("restic is not installed")
    for user in ("ann", "bob"):
        wipe(server, f"{user}@example.org")
    made = Home(tmp_path, server)
    made.configure()
    yield made


def wipe(server: Dovecot, mailbox: str) -> None:
    """Empties a mailbox as its owner would: every folder expunged, all but INBOX deleted."""
    box = server.open(mailbox)
    client = box._client
    for folder in box.folders():
        client.select_folder(folder)
        uids = client.search(["ALL"])
        if uids:
            client.delete_messages(uids)
            client.expunge()
        client.unselect_folder() if client.has_capability("UNSELECT") else client.close_folder()
        if folder != "INBOX":
            client.delete_folder(folder)
    box.close()


def fill(server: Dovecot, mailbox: str, count: int, start: int = 0) -> None:
    box = server.open(mailbox)
    for folder in FOLDERS:
        box.create_folder(folder)
    for number in range(start, start + count):
        box.append(
            FOLDERS[number % len(FOLDERS)],
            f"From: x{number}@example.net\r\nSubject: Nr. {number}\r\nMessage-ID: <{number}@fill>\r\n\r\n{'text ' * (number % 50)}\r\n".encode(),
            frozenset(
                {("\\Seen", "\\Flagged", "\\Answered", "\\Draft")[number % 4], KEYWORDS[number % 8], KEYWORDS[(number + 3) % 8]}
            ),
            datetime.fromtimestamp(1_600_000_000 + number * 86_399, UTC),
        )
    box.close()


def delete(server: Dovecot, mailbox: str, folder: str, message_id: str) -> None:
    box = server.open(mailbox)
    client = box._client
    client.select_folder(folder)
    client.delete_messages(client.search(["HEADER", "Message-ID", message_id]))
    client.expunge()
    box.close()


def test_a_deleted_message_comes_back_once_with_flags_keywords_and_date(home: Home) -> None:
    fill(home.server, ANN, 12)
    home.backup()
    before = look(home.server, ANN)
    delete(home.server, ANN, "Entwürfe", "<5@fill>")
    assert look(home.server, ANN) != before
    (row,) = home.search("--message-id", "<5@fill>")
    assert (row["mailbox"], row["folder"], row["flags"]) == (ANN, "Entwürfe", ["\\Flagged"])
    first = home.imap("--id", row["id"])
    assert (first["planned"], first["added"], first["missing"], first["verified"]) == (1, 1, [], True)
    assert look(home.server, ANN) == before
    again = home.imap("--id", row["id"])
    assert (again["added"], again["already_there"]) == (0, 1)
    assert look(home.server, ANN) == before


def test_a_mailbox_that_lost_everything_is_as_before(home: Home) -> None:
    fill(home.server, ANN, 40)
    home.backup()
    before = look(home.server, ANN)
    wipe(home.server, ANN)
    report = home.imap("--mailbox", ANN)
    assert (report["added"], report["missing"], report["verified"]) == (40, [], True)
    assert look(home.server, ANN) == before


def test_what_vanished_before_the_last_backup_comes_back_by_gone(home: Home) -> None:
    fill(home.server, ANN, 12)
    home.backup()
    before = look(home.server, ANN)
    for number in (2, 6):
        delete(home.server, ANN, "Archive/2026", f"<{number}@fill>")
    home.backup()
    assert {row["message_id"] for row in home.search("--gone")} == {"2@fill", "6@fill"}
    assert home.imap("--mailbox", ANN)["added"] == 0
    assert home.imap("--mailbox", ANN, "--gone")["added"] == 2
    assert look(home.server, ANN) == before


def test_a_moved_message_is_recognised_where_it_is_now(home: Home) -> None:
    fill(home.server, ANN, 8)
    home.backup()
    box = home.server.open(ANN)
    box._client.select_folder("INBOX")
    box._client.move(box._client.search(["ALL"]), "Archive/2026")
    box.close()
    moved = look(home.server, ANN)
    report = home.imap("--mailbox", ANN)
    assert (report["added"], report["already_there"]) == (0, 8)
    assert look(home.server, ANN) == moved


def test_a_copy_that_was_deleted_comes_back_beside_the_other_one(home: Home) -> None:
    fill(home.server, ANN, 4)
    box = home.server.open(ANN)
    box._client.select_folder("INBOX")
    box._client.copy(box._client.search(["ALL"]), "Archive/2026")
    box.close()
    home.backup()
    before = look(home.server, ANN)
    delete(home.server, ANN, "Archive/2026", "<0@fill>")
    assert home.imap("--mailbox", ANN)["added"] == 1
    assert look(home.server, ANN) == before


def test_a_point_in_time_shows_the_mailbox_as_it_was_with_the_flags_of_then(home: Home) -> None:
    fill(home.server, ANN, 8)
    home.backup()
    before = look(home.server, ANN)
    then = datetime.now(UTC).isoformat()  # noqa: TID251 - restic dates its snapshots by the same clock
    time.sleep(1.1)  # snapshots are dated in seconds
    box = home.server.open(ANN)
    box._client.select_folder("INBOX")
    box._client.set_flags(box._client.search(["ALL"]), ["\\Deleted", "Other"])
    box._client.expunge()
    box.close()
    home.backup()
    assert home.imap("--mailbox", ANN, "--at", then)["added"] == 2
    assert look(home.server, ANN) == before


def test_into_another_folder_and_another_mailbox(home: Home) -> None:
    fill(home.server, ANN, 4)
    home.backup()
    report = home.imap("--mailbox", ANN, "--into", "Recovered/Ann", "--into-mailbox", BOB)
    assert report["added"] == 4
    assert {folder: len(rows) for folder, rows in look(home.server, BOB).items()} == {"Recovered/Ann": 4}
    assert home.imap("--mailbox", ANN, "--into", "Recovered/Ann", "--into-mailbox", BOB)["added"] == 0


def test_messages_that_an_imap_server_changes_are_known_again(home: Home) -> None:
    place = home.server.folder / "mail" / "example.org" / "ann" / "cur"
    fill(home.server, ANN, 1)
    odd = (
        b"Subject: lf and nul\n\nA\0B\n",
        b"Subject: no message id, no end",
        b"",
        b"no header at all \xff\n",
        b"Subject: bare cr\n\nA\rB\n",
        b"\nempty header\n",
        b"Subject: mixed\r\n\nends\r\n\n",
    )
    for number, data in enumerate(odd):
        path = place / f"160000000{number}.odd{number}.host:2,S"
        path.write_bytes(data)
        os.utime(path, (1_600_000_000 + number, 1_600_000_000 + number))
        os.chown(path, 5000, 5000)
    home.backup()
    wipe(home.server, ANN)
    report = home.imap("--mailbox", ANN, status=4)
    assert report["added"] == len(odd)  # with the one of `fill`; all but the empty one
    (missing,) = report["missing"]
    assert "zero" in missing["why"]  # Dovecot takes no empty message, and says so
    again = home.imap("--mailbox", ANN, status=4)
    assert (again["added"], again["already_there"]) == (0, len(odd))


def test_files_hold_the_same_bytes_flags_and_dates(home: Home, tmp_path: Path) -> None:
    fill(home.server, ANN, 12)
    home.backup()
    home.run("restore", "--mailbox", ANN, "--to", f"maildir:{tmp_path}/out", "--yes")
    (home.server.folder / "mail/example.org/bob").exists() and shutil.rmtree(home.server.folder / "mail/example.org/bob")
    shutil.copytree(tmp_path / "out/example.org/ann", home.server.folder / "mail/example.org/bob")
    subprocess.run(["chown", "-R", "5000:5000", str(home.server.folder / "mail/example.org/bob")], check=True)
    assert look(home.server, BOB) == look(home.server, ANN)
    out, _ = home.run("restore", "--mailbox", ANN, "--to", f"maildir:{tmp_path}/out", "--yes", "--json")
    assert (json.loads(out)["added"], json.loads(out)["already_there"]) == (0, 12)


def test_damage_in_the_nearest_repository_is_made_good_by_another_one(home: Home, tmp_path: Path) -> None:
    fill(home.server, ANN, 12)
    home.backup()
    for pack in (tmp_path / "near/repository/data").rglob("*"):
        if pack.is_file():
            data = bytearray(pack.read_bytes())
            data[len(data) // 4] ^= 0xFF
            pack.chmod(0o600)
            pack.write_bytes(data)
    shutil.rmtree(tmp_path / "state" / "cache", ignore_errors=True)
    out, err = home.run("restore", "--mailbox", ANN, "--to", f"maildir:{tmp_path}/out", "--yes", "--json")
    report = json.loads(out)
    assert (report["added"], report["missing"], report["verified"]) == (12, [], True)
    assert "b-far" in " ".join(report["notes"]), err


def test_with_only_a_damaged_repository_the_restore_is_short_and_names_what_is_missing(home: Home, tmp_path: Path) -> None:
    fill(home.server, ANN, 4)
    home.backup()
    for pack in (tmp_path / "near/repository/data").rglob("*"):  # were they gone, restic 0.14 would ask for each a minute long
        if pack.is_file():
            pack.chmod(0o600)
            pack.write_bytes(bytes(pack.stat().st_size))
    shutil.rmtree(tmp_path / "state" / "cache", ignore_errors=True)
    out, err = home.run(
        "restore", "--mailbox", ANN, "--repository", "a-near", "--to", f"eml:{tmp_path}/out", "--yes", "--json", status=4
    )
    report = json.loads(out)
    assert (report["added"], len(report["missing"])) == (0, 4)
    assert {line["folder"] for line in report["missing"]} == set(FOLDERS)
    assert "a-near" in err


def test_nothing_found_is_exit_1_and_no_question_can_be_asked_is_exit_2(home: Home, tmp_path: Path) -> None:
    fill(home.server, ANN, 4)
    home.backup()
    _, err = home.run("restore", "--message-id", "<none@nowhere>", "--to", f"eml:{tmp_path}/out", "--yes", status=1)
    assert "no message" in err
    _, err = home.run("search", "--message-id", "<none@nowhere>", status=1)
    assert "nothing" in err
    _, err = home.run("restore", "--mailbox", ANN, "--to", f"eml:{tmp_path}/out", status=2)
    assert "--yes" in err
    assert not (tmp_path / "out").exists()


def test_a_dry_run_changes_nothing(home: Home, tmp_path: Path) -> None:
    fill(home.server, ANN, 4)
    home.backup()
    out, _ = home.run("restore", "--mailbox", ANN, "--to", f"eml:{tmp_path}/out", "--dry-run", "--json")
    assert (json.loads(out)["to_add"], json.loads(out)["added"]) == (4, 0)
    assert not (tmp_path / "out").exists()


def test_a_wrong_imap_password_is_exit_4_and_is_never_shown(home: Home) -> None:
    fill(home.server, ANN, 4)
    home.backup()
    (home.folder / "imap.password").write_text("not-the-password\n")
    words = ("restore", "--mailbox", ANN, "--to", "imap", "--imap-password-file", str(home.folder / "imap.password"), "--yes")
    out, err = home.run(*words, status=4)
    assert "--imap-password-file" in err
    assert "not-the-password" not in out + err


@pytest.mark.first
def test_a_restore_killed_at_any_moment_ends_the_same_when_it_is_run_again(home: Home) -> None:
    fill(home.server, ANN, 120)
    home.backup()
    before = look(home.server, ANN)
    words = ("restore", "--mailbox", ANN, "--to", "imap", "--imap-password-file", str(home.folder / "imap.password"), "--yes")

    def restore(patience: float) -> bool:
        """Whether it was killed, still running after so many seconds."""
        with (home.folder / "log").open("w") as log:
            child = home.start(*words, stdout=log, stderr=log, start_new_session=True)
            try:
                child.wait(patience)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
                return True
        assert child.returncode == 0, (home.folder / "log").read_text()
        return False

    kills, partly = 0, 0
    moments = Moments(random.Random(4))
    for _ in range(30):
        if kills == 8:
            break
        held = sum(len(rows) for rows in look(home.server, ANN).values())
        partly += 0 < held < 120
        if held == 120:
            wipe(home.server, ANN)  # it was done: begin again
        kills += moments.try_once(restore)
    report = home.imap("--mailbox", ANN)
    assert kills == 8, moments
    assert report["missing"] == []
    assert look(home.server, ANN) == before
    assert not (home.folder / "state" / "restore").exists()
