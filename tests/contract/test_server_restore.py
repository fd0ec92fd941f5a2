"""A whole server is lost and comes back on a new machine: a real sshd, a real Dovecot, compared as mail programs see it."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.contract import sshd as sshds
from tests.contract.dovecot import PASSWORD, Dovecot
from tests.contract.dovecot import running as dovecot_running
from tests.contract.mbsync import Client, on_server
from tests.contract.processes import run, start
from tests.contract.restics import put_empty_repository
from tests.contract.s3_servers import moto_server
from tests.contract.sshd import Sshd

pytestmark = pytest.mark.timeout(600)

ANN, BOB = "ann@example.org", "bob@example.org"
FOLDERS = ("INBOX", "Entwürfe", "Archive/2026")
KEYWORDS = ("Work", "$Forwarded", "Later")
LONG_AGO = 1_600_000_000
Seen = dict[
    str, tuple[int, dict[int, tuple[str, frozenset[str], datetime]]]
]  # folder -> (UIDVALIDITY, UID -> (digest, flags, date))


@dataclass
class Site:
    """A controller, a mail server that it reaches over SSH, and a repository."""

    folder: Path
    dovecot: Dovecot
    ssh: Sshd

    def configure(self, more: str = "") -> None:
        for name, text in (("repository.password", "secret\n"), ("imap.password", PASSWORD + "\n")):
            path = self.folder / name
            path.touch(mode=0o600)
            path.write_text(text)
        (self.folder / "far").mkdir()
        put_empty_repository(self.folder / "far" / "repository", "secret")
        known = self.folder / "known_hosts"
        shutil.copy(self.ssh.known_hosts, known)
        etc = self.folder / "etc"
        (etc / "dkim").mkdir(parents=True)
        (etc / "main.cf").write_text("myhostname = mail.example.org\n")
        (etc / "dkim" / "mail.private").write_text("key\n")
        (etc / "dkim" / "mail.private").chmod(0o640)
        os.chown(etc / "dkim" / "mail.private", 110, 111)
        (etc / "current").symlink_to("main.cf")
        authority = self.dovecot.certificates.authority
        (self.folder / "failsafe.toml").write_text(
            f'[controller]\nid = "test"\nstate_dir = "{self.folder}/state"\ntime_zone = "Europe/Warsaw"\n'
            f'[mail_server.vps]\nlayout = "maildir"\npath = "{self.dovecot.folder}/mail"\nssh = "{self.ssh.address}"\nssh_key = "{self.ssh.key}"\n'
            f'known_hosts = "{known}"\nextra_paths = ["{etc}"]\n'
            f'imap = {{ host = "localhost", port = {self.dovecot.port}, tls = "implicit", ca_file = "{authority}" }}\n'
            f'[probe.vps.imap]\nhost = "localhost"\nport = {self.dovecot.port}\ntls = "implicit"\nca_file = "{authority}"\nuser = "{ANN}"\n'
            f'password_file = "{self.folder}/imap.password"\n'
            f'[own_line]\nreferences = ["127.0.0.1:{self.ssh.port}"]\n'
            f'[repository.offsite]\nurl = "{self.folder}/far/repository"\npassword_file = "{self.folder}/repository.password"\n{more}'
        )

    def start(self, *words: str, **pipes: Any) -> subprocess.Popen[str]:
        return start(self.folder / "failsafe.toml", *words, **pipes)

    def run(self, *words: str, status: int = 0) -> tuple[str, str]:
        return run(self.folder / "failsafe.toml", *words, status=status)

    def backup(self, status: int = 0) -> dict[str, Any]:
        calm(self.mail)
        return dict(json.loads(self.run("backup", "--json", status=status)[0]))

    @property
    def mail(self) -> Path:
        return self.dovecot.folder / "mail"

    @property
    def work(self) -> Path:
        return self.dovecot.folder / "mail.failsafe-restore"

    def words(self, *more: str) -> list[str]:
        doveadm = f"/usr/bin/doveadm -c {self.dovecot.folder}/dovecot.conf"
        login = ["--ssh", self.ssh.address, "--ssh-key", str(self.ssh.key)]
        return ["restore", "--to", "server:vps", *login, "--doveadm", doveadm, "--yes", "--json", *more]

    def restore(self, *more: str, status: int = 0) -> dict[str, Any]:
        out, err = self.run(*self.words(*more), status=status)
        return dict(json.loads(out)) if out else {"said": err}

    def lose(self) -> None:
        """The machine is gone; another one, empty and with a host key of its own, has its address."""
        self.dovecot.stop()
        self.ssh.stop()
        shutil.rmtree(self.mail)
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.rmtree(self.folder / "etc")
        self.ssh.new_host_key()
        self.ssh.start()

    @property
    def fingerprint(self) -> str:
        shown = subprocess.run(
            ["ssh-keygen", "-lf", f"{self.ssh.host_key}.pub"], capture_output=True, text=True, check=True
        ).stdout
        return shown.split()[1]

    def look(self, mailbox: str) -> Seen:
        """What a client sees, UIDs included."""
        from failsafe.mail.identity import digests

        box = self.dovecot.open(mailbox)
        try:
            seen: Seen = {}
            for folder in box.folders():
                listed = {message.uid: message for message in box.messages(folder)}
                rows = {
                    uid: (digests(data)[1], listed[uid].flags, listed[uid].internal_date)
                    for uid, data in box.fetch(folder, listed)
                }
                status = box._client.folder_status(folder if folder.isascii() else box._theirs(folder), ["UIDVALIDITY"])
                seen[folder] = (status[b"UIDVALIDITY"], rows)
            return seen
        finally:
            box.close()

    def subscribed(self, mailbox: str) -> set[str]:
        box = self.dovecot.open(mailbox)
        try:
            return {name for _, _, name in box._client.list_sub_folders()}
        finally:
            box.close()


def rows_of(seen: Seen) -> list[tuple[str, str, datetime, list[str]]]:
    """Without UIDs: (folder, digest, date, flags)."""
    return sorted(
        (folder, digest, date, sorted(flags)) for folder, (_, rows) in seen.items() for digest, flags, date in rows.values()
    )


def modseq(dovecot: Dovecot, mailbox: str) -> int:
    box = dovecot.open(mailbox)
    try:
        return int(box._client.folder_status("INBOX", ["HIGHESTMODSEQ"])[b"HIGHESTMODSEQ"])
    finally:
        box.close()


def calm(root: Path) -> None:
    """Folders that nobody touched for a while, so that a pull need not wait."""
    for folder in root.rglob("*"):
        if folder.name in {"cur", "new"} and folder.is_dir():
            os.utime(folder, ns=(folder.stat().st_mtime_ns - 10 * 10**9,) * 2)


def fill(dovecot: Dovecot, mailbox: str, count: int, start: int = 0, *, date: int | None = None) -> None:
    box = dovecot.open(mailbox)
    for folder in FOLDERS:
        box.create_folder(folder)
    for number in range(start, start + count):
        when = LONG_AGO + number * 86_399 if date is None else date + number
        box.append(
            FOLDERS[number % len(FOLDERS)],
            f"From: x{number}@example.net\r\nSubject: Nr. {number}\r\nMessage-ID: <{number}@fill>\r\n\r\n{'text ' * (number % 50)}\r\n".encode(),
            frozenset({("\\Seen", "\\Flagged", "\\Answered", "\\Draft")[number % 4], KEYWORDS[number % 3]}),
            datetime.fromtimestamp(when, UTC),
        )
    box.close()


@pytest.fixture(scope="module")
def machines() -> Iterator[tuple[Dovecot, Sshd]]:
    with (
        tempfile.TemporaryDirectory(prefix="failsafe-sshd-") as folder,
        sshds.running(Path(folder)) as ssh,
        dovecot_running([ANN, BOB]) as dovecot,
    ):
        yield dovecot, ssh
        dovecot.stop()  # one that a restore started is in no process group of ours


@pytest.fixture
def site(machines: tuple[Dovecot, Sshd], tmp_path: Path) -> Iterator[Site]:
    if shutil.which("restic") is None:
        pytest.skip("restic is not installed")
    dovecot, ssh = machines
    dovecot.stop()
    shutil.rmtree(dovecot.folder / "mail", ignore_errors=True)
    shutil.rmtree(dovecot.folder / "mail.failsafe-restore", ignore_errors=True)
    (dovecot.folder / "mail").mkdir()
    os.chown(dovecot.folder / "mail", 5000, 5000)
    dovecot.start()
    ssh.trust()
    made = Site(tmp_path, dovecot, ssh)
    made.configure()
    yield made


def test_a_lost_server_comes_back_as_mail_programs_knew_it(site: Site) -> None:
    now = int(time.time())
    for mailbox in (ANN, BOB):
        fill(site.dovecot, mailbox, 12)
        fill(site.dovecot, mailbox, 6, 12, date=now - 5 * 86_400)
    site.backup()
    before = {mailbox: (site.look(mailbox), site.subscribed(mailbox)) for mailbox in (ANN, BOB)}
    known = modseq(site.dovecot, ANN)
    site.lose()

    start = f"/usr/sbin/dovecot -c {site.dovecot.folder}/dovecot.conf"
    password = str(site.folder / "imap.password")
    told = site.restore("--host-key", site.fingerprint, "--start", start, "--imap-password-file", password)

    assert (told["planned"], told["added"], told["missing"], told["problems"], told["verified"]) == (36, 36, [], [], True)
    assert {mailbox: (site.look(mailbox), site.subscribed(mailbox)) for mailbox in (ANN, BOB)} == before
    assert modseq(site.dovecot, ANN) > known
    assert told["folders"]["new_uid_validity"] == []
    assert told["indexes_made_anew"] is True
    assert [(one["service"], one["ok"]) for one in told["services"]] == [("smtp", None), ("imap", True), ("mailboxes", True)]
    owners = {(path.stat().st_uid, path.stat().st_gid) for path in (site.mail / "example.org").rglob("*")}
    assert owners == {(5000, 5000)}
    key = (site.folder / "etc" / "dkim" / "mail.private").stat()
    assert (key.st_uid, key.st_gid, key.st_mode & 0o777) == (110, 111, 0o640)
    assert (site.folder / "etc" / "current").readlink() == Path("main.cf")
    after = site.backup()
    assert (after["result"], after["guards"], after["missing"]) == ("ok", [], [])


def test_a_client_with_a_cache_never_shows_a_wrong_message_after_an_older_state_came_back(site: Site) -> None:
    fill(site.dovecot, ANN, 9)
    first = site.backup()
    client = Client(site.folder / "client", site.dovecot, ANN)
    fill(site.dovecot, ANN, 9, 9)
    site.backup()
    fill(site.dovecot, ANN, 9, 18)  # in no backup at all
    client.sync()
    known = client.shown()
    assert known == on_server(site.dovecot, ANN)
    site.lose()

    told = site.restore("--host-key", site.fingerprint, "--snapshot", first["snapshots"][0]["snapshot_id"])
    site.dovecot.start()
    fill(site.dovecot, ANN, 9, 100)
    client.sync()

    now = on_server(site.dovecot, ANN)
    assert client.shown() == now
    assert set(now) - set(known) and not (set(known) - set(now)) & set(client.shown())
    assert all(known[uid] == now[uid] for uid in set(known) & set(now))
    assert any("after" in text for text in told["clients"])
    assert any("--gone --to imap" in text for text in told["to_do"])


@pytest.mark.skipif(not os.environ.get("FAILSAFE_ALL"), reason="takes long: ./dev test --all")
def test_a_client_that_connects_before_older_mail_is_back_shows_no_wrong_message_and_misses_none(site: Site) -> None:
    now = int(time.time())
    fill(site.dovecot, ANN, 30)
    fill(site.dovecot, ANN, 9, 30, date=now - 5 * 86_400)
    first = site.backup()["snapshots"][0]["snapshot_id"]
    seen = rows_of(site.look(ANN))
    client = Client(site.folder / "client", site.dovecot, ANN)
    fill(site.dovecot, ANN, 9, 100, date=now)
    client.sync()
    before = on_server(site.dovecot, ANN)
    site.lose()

    dovecot = f"/usr/sbin/dovecot -c {site.dovecot.folder}/dovecot.conf"
    doveadm = f"/usr/bin/doveadm -c {site.dovecot.folder}/dovecot.conf"
    between = f"{dovecot} && {doveadm} mailbox status -u {ANN} messages '*' && mbsync -c {client.conf} all"
    told = site.restore("--host-key", site.fingerprint, "--snapshot", first, "--start", between)
    client.sync()

    restored = [data for uid, data in before.items() if uid <= 13]
    there = on_server(site.dovecot, ANN)
    assert (told["planned"], told["added"], told["problems"]) == (39, 39, [])
    assert sorted(there.values()) == sorted(restored)
    assert client.shown() == there
    assert rows_of(site.look(ANN)) == seen  # dates, flags and keywords too


def test_the_same_client_is_fooled_by_a_plain_copy_of_the_older_state(site: Site) -> None:
    """What the restore must not be: files put back as they were. Without this the test above might prove nothing."""
    fill(site.dovecot, ANN, 9)
    copy = site.folder / "copy"
    shutil.copytree(site.mail, copy)
    client = Client(site.folder / "client", site.dovecot, ANN)
    fill(site.dovecot, ANN, 9, 9)
    client.sync()
    site.dovecot.stop()
    shutil.rmtree(site.mail)
    shutil.copytree(copy, site.mail)
    for path in (site.mail, *site.mail.rglob("*")):
        os.chown(path, 5000, 5000)
    site.dovecot.start()
    fill(site.dovecot, ANN, 9, 100)
    client.sync()

    shown, now = client.shown(), on_server(site.dovecot, ANN)

    assert [uid for uid in shown if uid in now and shown[uid] != now[uid]] != []


@pytest.mark.skipif(not os.environ.get("FAILSAFE_ALL"), reason="takes long: ./dev test --all")
def test_a_folder_made_anew_gets_no_uidvalidity_that_a_client_may_know(site: Site) -> None:
    fill(site.dovecot, ANN, 3)
    site.backup()
    box = site.dovecot.open(ANN)
    box.create_folder("After")  # in no backup; a client knows its UIDVALIDITY
    box.close()
    validity = site.look(ANN)["After"][0]
    site.lose()

    site.restore("--host-key", site.fingerprint)
    site.dovecot.start()
    box = site.dovecot.open(ANN)
    box.create_folder("After")
    box.close()

    assert site.look(ANN)["After"][0] > validity


@pytest.mark.skipif(not os.environ.get("FAILSAFE_ALL"), reason="takes long: ./dev test --all")
def test_a_backup_of_the_empty_new_server_does_not_become_what_is_restored(site: Site) -> None:
    fill(site.dovecot, ANN, 12)
    site.backup()
    before = site.look(ANN)
    site.dovecot.stop()
    shutil.rmtree(site.mail)
    site.mail.mkdir()
    os.chown(site.mail, 5000, 5000)
    site.dovecot.start()
    assert sum(len(rows) for _, rows in site.look(ANN).values()) == 0  # now INBOX has another UIDVALIDITY
    assert site.backup(status=1)["guards"] != []

    told = site.restore()

    assert (told["planned"], told["added"], told["folders"]["new_uid_validity"]) == (12, 12, [])
    assert site.look(ANN) == before
    assert site.backup()["guards"] == []


@pytest.mark.first
def test_a_restore_that_is_killed_at_any_moment_goes_on_to_the_same_end(site: Site) -> None:
    now = int(time.time())
    for mailbox in (ANN, BOB):
        fill(site.dovecot, mailbox, 45)
        fill(site.dovecot, mailbox, 15, 45, date=now - 5 * 86_400)
    site.backup()
    before = {mailbox: (site.look(mailbox), site.subscribed(mailbox)) for mailbox in (ANN, BOB)}
    site.lose()
    chance, configuration = random.Random(11), site.folder / "failsafe.toml"
    quick = configuration.read_text()
    configuration.write_text(
        quick.replace("time_zone", 'limit_upload = "30 KB/s"\ntime_zone', 1)
    )  # so that there is time to cut it off

    def written() -> int:
        return sum(":2," in name for top in (site.mail, site.work) for _, _, files in os.walk(top) for name in files)

    def broken_off(cut: Callable[[int], None]) -> bool:
        """Cuts when some more messages are there."""
        enough = written() + chance.randint(1, 25)
        with site.start(*site.words("--host-key", site.fingerprint), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as child:
            while child.poll() is None and written() < enough:
                time.sleep(0.002)
            assert child.poll() is None, child.communicate()[1]
            cut(child.pid)
            return child.wait(60) != 0

    def line(_pid: int) -> None:
        site.ssh.cut()

    def program(_pid: int) -> None:
        for session in site.ssh.sessions():
            for inner in sshds.children(session):
                os.kill(inner, signal.SIGKILL)

    killed = [broken_off(cut) for cut in (lambda pid: os.kill(pid, signal.SIGKILL), line, program)]
    configuration.write_text(quick)
    assert "was cut off" in site.run("backup", status=3)[1]  # half a server is no state to back up
    told = site.restore("--host-key", site.fingerprint)
    site.dovecot.start()

    assert killed == [True, True, True]
    assert (told["planned"], told["added"] + told["already_there"], told["missing"]) == (120, 120, [])
    assert {mailbox: (site.look(mailbox), site.subscribed(mailbox)) for mailbox in (ANN, BOB)} == before


@pytest.mark.skipif(not os.environ.get("FAILSAFE_ALL"), reason="takes long: ./dev test --all")
def test_what_people_deleted_since_does_not_come_back_when_a_cut_off_restore_goes_on(site: Site) -> None:
    fill(site.dovecot, ANN, 3, date=int(time.time()) - 86_400)
    fill(site.dovecot, ANN, 6, 3)
    site.backup()
    site.lose()
    dovecot = f"/usr/sbin/dovecot -c {site.dovecot.folder}/dovecot.conf"
    cut = f"{dovecot}; kill -9 $PPID"  # people can work, and the line is cut before older mail is there
    site.restore("--host-key", site.fingerprint, "--start", cut, status=4)
    delete_all(site.dovecot, ANN)

    told = site.restore("--host-key", site.fingerprint)

    assert (told["planned"], told["added"], told["already_there"], told["missing"]) == (9, 6, 3, [])
    assert sum(len(rows) for _, rows in site.look(ANN).values()) == 6


def delete_all(dovecot: Dovecot, mailbox: str) -> None:
    box = dovecot.open(mailbox)
    for folder in FOLDERS:
        box._client.select_folder(box._theirs(folder))
        box._client.delete_messages(box._client.search(["ALL"]))
        box._client.expunge()
    box.close()


def test_a_live_target_is_refused_unless_its_name_is_said_and_is_then_backed_up_first(site: Site) -> None:
    fill(site.dovecot, ANN, 6)
    first = site.backup()["snapshots"][0]["snapshot_id"]
    fill(site.dovecot, ANN, 3, 6)  # in no backup yet
    newest = on_server(site.dovecot, ANN)

    assert "--ssh root@127.0.0.1" in site.run("restore", "--to", "server:vps", "--yes", status=2)[1]  # nothing stored may write
    refused = site.restore("--snapshot", first, status=2)
    assert "--confirm vps" in refused["said"]
    assert on_server(site.dovecot, ANN) == newest
    site.restore("--snapshot", first, "--confirm", "wrong", status=2)
    calm(site.mail)
    told = site.restore("--snapshot", first, "--confirm", "vps")

    assert len(on_server(site.dovecot, ANN)) == 2
    assert set(told["moved_aside"]) == {"example.org/ann"}
    kept = list((site.work).glob("replaced-*/mail/example.org/ann/cur/*"))
    assert len(kept) == 3
    found = [json.loads(line) for line in site.run("search", "--message-id", "<6@fill>", "--json")[0].splitlines()]
    assert [row["mailbox"] for row in found] == [ANN]  # its snapshot came first


def test_a_live_target_that_cannot_be_backed_up_whole_is_not_touched(site: Site) -> None:
    fill(site.dovecot, ANN, 3)
    first = site.backup()["snapshots"][0]["snapshot_id"]
    (site.mail / "example.org" / "carl" / "dbox-Mails").mkdir(parents=True)  # mail of a kind that is no files to copy
    newest = on_server(site.dovecot, ANN)

    told = site.restore("--snapshot", first, "--confirm", "vps", status=3)

    assert "carl" in told["said"]
    assert on_server(site.dovecot, ANN) == newest
    assert not site.work.exists()


@pytest.mark.skipif(not os.environ.get("FAILSAFE_ALL"), reason="takes long: ./dev test --all")
def test_a_new_host_key_is_believed_only_when_its_fingerprint_is_said_and_is_kept_after_success(site: Site) -> None:
    fill(site.dovecot, ANN, 3)
    site.backup()
    site.lose()
    known = (site.folder / "known_hosts").read_text()

    assert site.fingerprint in site.restore(status=2)["said"]
    site.restore("--host-key", "SHA256:somebodyelse", status=3)
    assert (site.folder / "known_hosts").read_text() == known
    told = site.restore("--host-key", site.fingerprint)

    assert told["added"] == 3
    assert (site.folder / "known_hosts").read_text().split()[1:] == Path(f"{site.ssh.host_key}.pub").read_text().split()[:2]
    assert (site.folder / "known_hosts.old").read_text() == known
    assert site.backup()["guards"] == []


@pytest.fixture(params=["folder", "s3"])
def offsite(request: pytest.FixtureRequest, site: Site, tmp_path: Path) -> Iterator[tuple[Callable[[], str], str]]:
    """(gives the address under which the new machine sees the repository, a temporary credential for it)."""
    if request.param == "folder":
        yield lambda: f"{site.folder}/far/repository", "AWS_SECRET_ACCESS_KEY=not-to-be-seen\n"
        return
    with moto_server(tmp_path) as server:

        def uploaded() -> str:
            client, home = server.client(), site.folder / "far" / "repository"
            client.create_bucket(Bucket="offsite")
            for path in filter(Path.is_file, home.rglob("*")):
                client.put_object(Bucket="offsite", Key=f"mail/{path.relative_to(home)}", Body=path.read_bytes())
            return server.url("offsite", "mail")

        yield uploaded, f"AWS_ACCESS_KEY_ID={server.key}\nAWS_SECRET_ACCESS_KEY=not-to-be-seen\n"


def test_the_new_machine_pulls_from_the_repository_itself_and_no_credential_stays_there(
    site: Site, offsite: tuple[Callable[[], str], str]
) -> None:
    now = int(time.time())
    fill(site.dovecot, ANN, 9)
    fill(site.dovecot, ANN, 9, 9, date=now - 5 * 86_400)
    site.backup()
    before = site.look(ANN)
    site.lose()
    credential = site.folder / "temporary.env"
    credential.touch(mode=0o600)
    address, secrets = offsite
    credential.write_text(f"RESTIC_PASSWORD=secret\n{secrets}")

    refused = site.restore("--host-key", site.fingerprint, "--pull-there", "--repository", "offsite", status=2)
    assert "--pull-url" in refused["said"]  # a folder of this machine is none of another one
    there = [
        "--pull-there",
        "--repository",
        "offsite",
        "--pull-url",
        address(),
        "--credential-file",
        str(credential),
    ]
    told = site.restore("--host-key", site.fingerprint, *there)
    site.dovecot.start()

    assert (told["planned"], told["added"], told["missing"], told["problems"]) == (18, 18, [], [])
    assert site.look(ANN) == before
    left = [path for path in site.work.rglob("*") if path.is_file()]
    assert {path.name for path in left} <= {"lock", "journal", "marker.json"}
    assert not any(b"secret" in path.read_bytes() or b"not-to-be-seen" in path.read_bytes() for path in left)
