"""layout = "imap" and read = "doveadm" from the command line: configuration, backup into restic, doctor, loss, restore."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from failsafe.adapters.imap_login import DoveadmSource
from failsafe.adapters.ssh import SshHost
from failsafe.app import App
from failsafe.config.load import load_config
from failsafe.errors import MailError, ProcessError
from failsafe.model import Result
from failsafe.primary import _over_ssh
from tests.contract.conftest import Sshd
from tests.contract.dovecot import BY_DOMAIN, PASSWORD, Dovecot, look, running
from tests.contract.imapstore import DATE, ImapStore, message
from tests.contract.processes import run
from tests.contract.restics import put_empty_repository

pytestmark = pytest.mark.timeout(300)

ANN, BOB, EVE = "ann@mdbox.example.org", "bob@sdbox.example.org", "eve@maildir.example.org"


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    with running([ANN, BOB, EVE], store=BY_DOMAIN) as dovecot:
        for mailbox in (ANN, BOB, EVE):
            fill(dovecot, mailbox)
        yield dovecot


def fill(server: Dovecot, mailbox: str) -> None:
    box = server.open(mailbox)
    for folder in ("INBOX", "Entwürfe", "Archive/2026"):
        box.create_folder(folder) if folder != "INBOX" else None
        for number in range(4):
            box.append(folder, message(f"{folder} {number}"), frozenset({"\\Seen", "Work"} if number % 2 else ()), DATE)
    box.close()


@dataclass
class Home:
    folder: Path
    server: Dovecot

    def secret(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text)
        return path

    def configure(self, table: str) -> None:
        self.secret("repository.password", "secret\n")
        put_empty_repository(self.folder / "repository", "secret")
        (self.folder / "failsafe.toml").write_text(
            f'[controller]\nid = "test"\nstate_dir = "{self.folder}/state"\ntime_zone = "Europe/Warsaw"\n[own_line]\nreferences = []\n'
            f"[mail_server.vps]\n{table}\n"
            f'[repository.nas]\nurl = "{self.folder}/repository"\npassword_file = "{self.folder}/repository.password"\n'
        )

    def imap(self, more: str = "") -> str:
        return (
            f'imap = {{ host = "localhost", port = {self.server.port}, tls = "implicit", '
            f'ca_file = "{self.server.certificates.authority}"{more} }}\n'
        )

    def run(self, *words: str, status: int = 0, path: str = "") -> tuple[str, str]:
        return run(self.folder / "failsafe.toml", *words, status=status, path=path)

    def backup(self, status: int = 0, path: str = "") -> dict[str, Any]:
        return dict(json.loads(self.run("backup", "--json", status=status, path=path)[0]))

    def findings(self, status: int, path: str = "") -> dict[str, dict[str, Any]]:
        out, _ = self.run("doctor", "--json", status=status, path=path)
        return {finding["code"]: finding for finding in json.loads(out)["findings"] if finding["subject"] == "vps"}


@pytest.fixture
def home(server: Dovecot, tmp_path: Path) -> Home:
    if shutil.which("restic") is None:
        pytest.skip("restic is not installed")
    return Home(tmp_path, server)


def test_a_master_user_backs_mailboxes_up_and_they_come_back_to_a_second_server(home: Home) -> None:
    master = home.secret("master.password", PASSWORD)
    home.configure(
        f'layout = "imap"\nmailboxes = ["{ANN}", "{BOB}"]\nextra_paths = ["{home.folder}/aliases"]\n'
        'commands = { "greeting" = "echo hello" }\n' + home.imap(f', master_user = "admin", password_file = "{master}"')
    )
    (home.folder / "aliases").write_text("postmaster: ann\n")
    first = home.backup()
    assert (first["result"], first["messages"]["total"], first["snapshots"][0]["result"]) == ("ok", 24, "ok")
    again = home.backup()
    assert (again["unchanged"], again["snapshots"]) == (True, [])
    assert any(note.startswith("IMAP: ") for note in again["notes"])
    findings = home.findings(1)
    assert findings["ssh-access"]["text"] == "2 mailbox(es) can be read over IMAP"
    assert findings["credential-writes"]["severity"] == "warn"
    with running([ANN, BOB]) as second:
        (home.folder / "failsafe.toml").write_text(
            (home.folder / "failsafe.toml")
            .read_text()
            .replace(str(home.server.port), str(second.port))
            .replace(str(home.server.certificates.authority), str(second.certificates.authority))
        )
        password = home.secret("imap.password", PASSWORD)
        words = ("restore", "--server", "vps", "--to", "imap", "--imap-password-file", str(password), "--yes", "--json")
        restored = json.loads(home.run(*words)[0])
        assert (restored["added"], restored["missing"], restored["verified"]) == (24, [], True)
        for mailbox in (ANN, BOB):
            assert look(second, mailbox) == look(home.server, mailbox)


def test_a_login_that_is_refused_is_named_by_backup_and_doctor_and_the_others_are_backed_up(home: Home) -> None:
    good, bad = home.secret("good.password", PASSWORD), home.secret("bad.password", "not-the-password")
    accounts = home.secret("accounts", f"# two of them\n{ANN}:{good}\n{EVE}:{bad}\n")
    home.configure(f'layout = "imap"\naccounts_file = "{accounts}"\n' + home.imap())
    report = home.backup(status=1)
    assert (report["result"], report["messages"]["total"]) == ("incomplete", 12)
    assert [missing["mailbox"] for missing in report["missing"]] == [EVE]
    access = home.findings(1)["ssh-access"]
    assert access["severity"] == "fail"
    assert f"1 of 2 mailbox(es) cannot be read over IMAP: {EVE}: " in access["text"]
    assert "not-the-password" not in json.dumps([report, access])


def test_a_returned_primary_is_proved_by_ssh_and_by_its_mailboxes_over_imap(home: Home, sshd: Sshd) -> None:
    good = home.secret("good.password", PASSWORD)
    accounts = home.secret("accounts", f"{ANN}:{good}\n{EVE}:{good}\n")
    ssh = f'ssh = "{sshd.address}"\nssh_key = "{sshd.key}"\nknown_hosts = "{sshd.known_hosts}"\n'
    home.configure(f'layout = "imap"\naccounts_file = "{accounts}"\n{ssh}' + home.imap())
    home.backup()
    app = App(load_config(home.folder / "failsafe.toml"), home.folder / "failsafe.toml")
    found = {check.code: check for check in _over_ssh(app, "vps")}
    assert {code for code, check in found.items() if not check.ok} <= {"disk", "queue"}  # those are of this machine
    assert found["accounts"].text == "all 2 mailboxes are there"
    home.secret("good.password", "not-the-password")
    found = {check.code: check for check in _over_ssh(app, "vps")}
    assert not found["accounts"].ok
    assert EVE in found["accounts"].text


def test_without_ssh_nothing_proves_that_an_imap_server_is_ours(home: Home) -> None:
    accounts = home.secret("accounts", f"{ANN}:{home.secret('good.password', PASSWORD)}\n")
    home.configure(f'layout = "imap"\naccounts_file = "{accounts}"\n' + home.imap())
    app = App(load_config(home.folder / "failsafe.toml"), home.folder / "failsafe.toml")
    (check,) = _over_ssh(app, "vps")
    assert (check.code, check.ok) == ("login", False)


def test_faults_of_the_accounts_file_are_told_by_config_check_with_their_lines(home: Home) -> None:
    accounts = home.secret("accounts", f"{ANN}\n{EVE}:hunter2\n{BOB}:/nowhere/at-all\n")
    home.configure(f'layout = "imap"\naccounts_file = "{accounts}"\n' + home.imap())
    out, err = home.run("config", "check", status=2)
    assert "accounts_file line 1" in out + err
    assert "accounts_file line 2" in out + err
    assert "hunter2" not in out + err


# ---------------------------------------------------------------- through doveadm


def docker(folder: Path, server: Dovecot) -> Path:
    """A `docker` whose only container runs its programs here, with the test's Dovecot: `docker exec -i mail doveadm …`."""
    script = folder / "bin" / "docker"
    script.parent.mkdir(exist_ok=True)
    script.write_text(
        '#!/bin/sh\n[ "$1 $2 $3 $4" = "exec -i mail doveadm" ] || { echo "docker: $*: no" >&2; exit 125; }\n'
        f'shift 4\nexec /usr/bin/doveadm -c {server.folder}/dovecot.conf "$@"\n'
    )
    script.chmod(0o755)
    return script


def test_every_mailbox_of_a_container_is_read_through_doveadm_without_a_password(home: Home) -> None:
    bin_folder = str(docker(home.folder, home.server).parent)
    for part in ("mail-data", "config", "mail-state"):
        (home.folder / "dms" / part).mkdir(parents=True)
    (home.folder / "dms" / "config" / "postfix-accounts.cf").write_text("")
    home.configure(f'layout = "docker-mailserver"\ncontainer = "mail"\npath = "{home.folder}/dms"\nread = "doveadm"\n')
    first = home.backup(path=bin_folder)
    assert (first["result"], first["messages"]["total"]) == ("ok", 36)
    assert home.backup(path=bin_folder)["unchanged"]
    assert home.findings(1, path=bin_folder)["ssh-access"]["text"] == "3 mailbox(es) can be read over IMAP"


def test_doveadm_over_ssh_reads_the_same_as_a_login(server: Dovecot, sshd: Sshd, tmp_path: Path) -> None:
    store = ImapStore(tmp_path, server, (ANN, BOB, EVE))
    host = SshHost("vps", sshd.address, key=sshd.key, known_hosts=sshd.known_hosts)
    source = DoveadmSource(host, (str(docker(tmp_path, server)), "exec", "-i", "mail"))
    report = store.pull(source)
    assert (report.result, report.total) == (Result.OK, 36)
    assert store.archived() == store.on_server()
    assert store.pull().unchanged  # the same mailboxes, folders and UIDs, whichever way
    with pytest.raises((MailError, ProcessError), match="Unknown user"):
        source.open("nobody@example.org")


def test_a_container_that_is_not_there_fails_the_backup_with_its_own_words(home: Home) -> None:
    bin_folder = str(docker(home.folder, home.server).parent)
    home.configure('layout = "docker-mailserver"\ncontainer = "other"\nread = "doveadm"\n')
    report = home.backup(status=4, path=bin_folder)
    assert report["result"] == "failed"
    assert "docker: exec -i other doveadm user *: no" in report["errors"][0]["text"]
