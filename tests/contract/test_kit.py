"""The recovery kit proves itself: the controller is gone, and what its kit prints brings the mail back, from each kind of place, in an empty home."""

from __future__ import annotations

import hashlib
import html
import json
import os
import pty
import re
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from failsafe.adapters.restic.escrow import ask_files, copy_files, prove
from failsafe.adapters.restic.reach import with_credentials
from failsafe.app import App
from failsafe.backup.kit import KitFile, KitRepository
from failsafe.backup.kit_commands import open_block, put_back_block
from failsafe.backup.kit_state import judge_kit
from failsafe.config.load import load_config
from failsafe.errors import KitError, ResticError
from failsafe.kits.file import read_kit, write_kit
from failsafe.kits.gather import look_at_kit
from failsafe.kits.page import parse_kit
from failsafe.secrets import Secret
from tests.contract.mailstore import Store
from tests.contract.processes import run
from tests.contract.restics import PASSWORD, make_repository, programs, put_empty_repository, version_of
from tests.contract.s3_servers import KINDS, S3Server, ceph_server, moto_server
from tests.contract.sshd import Sshd
from tests.contract.test_restic_places import append_only, needs_rest_server, rest_credentials

__all__ = ["append_only"]
pytestmark = [
    pytest.mark.skipif(not programs(), reason="restic is not installed (Debian: restic)"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed (Debian: openssl)"),
]
ANN, BERT = "ann@example.org", "bert@example.org"
PHRASE = "four words' $that `nobody` \"says"
PLACES = ("friend", "nas", "offsite")
# What may be on the PATH of the machine that brings the mail back: the three programs, ssh for sftp, and what every system has.
ON_PATH = ("restic", "openssl", "ssh", "sftp", "sh", "mkdir", "cat", "cp", "cmp", "sed")


@dataclass
class Lost:
    """A controller that is gone, its repositories, and its kit, plain and the same one locked. `mail`: (mailbox, folder, digest) of what it had."""

    folder: Path
    gateway: S3Server
    mail: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    report: dict[str, object] = field(default_factory=dict)

    @property
    def plain(self) -> Path:
        return self.folder / "kit.html"

    @property
    def locked(self) -> Path:
        return self.folder / "kit of nas.html"

    def block(self, name: str, page: Path | None = None) -> str:
        text = (page or self.plain).read_text()
        found = re.search(rf'<pre data-block="{re.escape(name)}">\n(.*?)</pre>', text, re.DOTALL)
        assert found, name
        return html.unescape(found[1])


def failsafe(folder: Path, *words: str, status: int = 0) -> str:
    return run(folder / "etc/failsafe.toml", *words, status=status, cwd=folder)[0]


@pytest.fixture(scope="module", params=KINDS)
def gateway(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with (moto_server if request.param == "moto" else ceph_server)(tmp_path_factory.mktemp(request.param)) as made:
        yield made


def secret(folder: Path, name: str, text: str) -> Path:
    path = folder / "etc" / name
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def configure(folder: Path, sshd: Sshd, gateway: S3Server) -> None:
    (folder / "etc").mkdir()
    put_empty_repository(folder / "nas", PASSWORD)
    put_empty_repository(folder / "far away" / "friend's", PASSWORD)
    put_empty_repository(folder / "empty", PASSWORD)
    client = gateway.client()
    client.create_bucket(Bucket="kit-mail")
    for path in (folder / "empty").rglob("*"):
        if path.is_file():
            key = f"my mail/{path.relative_to(folder / 'empty').as_posix()}"
            client.put_object(Bucket="kit-mail", Key=key, Body=path.read_bytes())
    secret(folder, "repository.password", PASSWORD + "\n")
    secret(folder, "offsite.env", f"AWS_ACCESS_KEY_ID='{gateway.key}'\nexport AWS_SECRET_ACCESS_KEY={gateway.secret}\n")
    secret(folder, "id", sshd.key.read_text())
    shutil.copy(sshd.known_hosts, folder / "etc" / "known_hosts")
    password = f'password_file = "{folder}/etc/repository.password"'
    (folder / "etc/failsafe.toml").write_text(
        f'[controller]\nid = "nas"\nstate_dir = "{folder}/state"\n'
        f'[mail_server.vps]\nlayout = "maildir"\npath = "{folder}/mail"\n[own_line]\nreferences = ["127.0.0.1:1"]\n'
        f'[repository.nas]\nurl = "{folder}/nas"\n{password}\n'
        f'[repository.offsite]\nurl = "{gateway.url("kit-mail", "my mail")}"\n{password}\nenvironment_file = "{folder}/etc/offsite.env"\n'
        f'[repository.friend]\nurl = "sftp://{sshd.user}@127.0.0.1:{sshd.port}/{folder}/far away/friend\'s"\n{password}\n'
        f'ssh_key = "{folder}/etc/id"\nknown_hosts = "{folder}/etc/known_hosts"\n'
    )


@pytest.fixture(scope="module")
def lost(sshd: Sshd, gateway: S3Server) -> Iterator[Lost]:
    """Backed up into a folder, over sftp and to S3; then a kit was made, and state, configuration, secrets and mail were deleted."""
    with tempfile.TemporaryDirectory(prefix="failsafe-kit-", dir="/tmp") as name:
        made = Lost(Path(name), gateway)
        folder = made.folder
        configure(folder, sshd, gateway)
        store = Store(folder)
        store.fill(ANN, "", 3)
        store.fill(ANN, ".Archive.2026", 2, size=2000)
        store.put(BERT, "", "1.strange name:2,FS", b"Subject: \xff\xfe\n\nbytes \x00 of any kind\r\n")
        store.calm()
        made.mail = store.on_server()
        failsafe(folder, "backup")
        made.report = json.loads(failsafe(folder, "kit", "--plain", "--output", "kit.html", "--json"))
        write_kit(made.locked, parse_kit(made.plain.read_text()), Secret(PHRASE))
        for path in ("state", "etc", "mail", "empty"):
            shutil.rmtree(folder / path)
        yield made


@dataclass
class Stranger:
    """Another computer: an empty home, and only those programs."""

    home: Path
    programs: Path

    def environment(self) -> dict[str, str]:
        return {"PATH": str(self.programs), "HOME": str(self.home)}

    def paste(self, commands: str, status: int = 0) -> str:
        done = subprocess.run(
            ["/bin/sh", "-c", commands],
            env=self.environment(),
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == status, (done.stdout, done.stderr)
        return done.stdout + done.stderr

    def mail(self, repository: str) -> Counter[tuple[str, str, str]]:
        """(mailbox, folder, digest) of the Maildirs that came out."""
        found: Counter[tuple[str, str, str]] = Counter()
        base = self.home / "failsafe-restore" / repository / "mail-of-vps"
        for path in base.rglob("cur/*"):
            domain, user, *rest = path.relative_to(base).parts
            directory = "/".join(rest[:-2])
            name = directory[1:].replace(".", "/") if directory else "INBOX"
            found[f"{user}@{domain}", name, hashlib.sha256(path.read_bytes()).hexdigest()] += 1
        return found


@pytest.fixture
def stranger(tmp_path: Path) -> Stranger:
    made = Stranger(tmp_path / "home of a stranger", tmp_path / "programs")
    made.home.mkdir()
    made.programs.mkdir()
    for name in ON_PATH:
        (made.programs / name).symlink_to(shutil.which(name) or f"/usr/bin/{name}")
    (made.programs / "python3").symlink_to("/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable)
    return made


@pytest.mark.parametrize("place", PLACES)
def test_what_the_kit_prints_brings_all_mail_back_from_each_kind_of_place(lost: Lost, stranger: Stranger, place: str) -> None:
    listed = stranger.paste(lost.block(f"{place} open"))
    stranger.paste(lost.block(f"{place} restore vps"))

    assert "failsafe-vps" in listed
    assert stranger.mail(place) == lost.mail
    assert stat.S_IMODE((stranger.home / "failsafe-restore" / place).stat().st_mode) == 0o700


def lose(lost: Lost, place: str, kind: str) -> None:
    """Deletes config, or all keys, where the repository lies."""
    if place == "offsite":
        client = lost.gateway.client()
        for each in client.list_objects_v2(Bucket="kit-mail", Prefix=f"my mail/{kind}")["Contents"]:
            client.delete_object(Bucket="kit-mail", Key=each["Key"])
        return
    gone = lost.folder / {"nas": "nas", "friend": "far away/friend's"}[place] / kind
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()


@pytest.mark.parametrize("place", PLACES)
def test_a_repository_that_lost_keys_and_config_gets_them_back_from_the_kit(lost: Lost, stranger: Stranger, place: str) -> None:
    for kind in ("keys", "config"):
        lose(lost, place, kind)
        refused = stranger.paste(lost.block(f"{place} open"), status=1)
        assert "wrong password" in refused or "config" in refused

        listed = stranger.paste(lost.block(f"{place} put-back"))

        assert "failsafe-vps" in listed
    stranger.paste(lost.block(f"{place} restore vps"))
    assert stranger.mail(place) == lost.mail


def test_putting_back_what_is_not_lost_changes_nothing(lost: Lost, stranger: Stranger) -> None:
    place = lost.folder / "nas"
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in [place / "config", *(place / "keys").iterdir()]}

    stranger.paste(lost.block("nas open"))
    stranger.paste(lost.block("nas put-back"))

    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before} == before
    assert len(list((place / "keys").iterdir())) + 1 == len(before)


def test_another_config_at_the_place_is_never_overwritten(lost: Lost, stranger: Stranger) -> None:
    """A wrong address leads to a repository of somebody else: it must stay what it is."""
    stranger.paste(lost.block("nas open"))
    put_empty_repository(stranger.home / "other", "another password")
    before = (stranger.home / "other/config").read_bytes()
    environment = stranger.home / "failsafe-restore/nas/environment"
    environment.write_text(
        environment.read_text().replace(f"RESTIC_REPOSITORY={lost.folder}/nas", f"RESTIC_REPOSITORY='{stranger.home}/other'")
    )

    stranger.paste(lost.block("nas put-back"), status=1)

    assert (stranger.home / "other/config").read_bytes() == before


def in_terminal(command: str, answers: dict[str, str], environment: dict[str, str], cwd: Path) -> int:
    """Runs it through sh on a terminal of its own, and types each answer when its question comes."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(cwd)
        os.execve("/bin/sh", ["/bin/sh", "-c", command], environment)
    heard, left = b"", dict(answers)
    try:
        while select.select([terminal], [], [], 60)[0]:
            try:
                data = os.read(terminal, 4096)
            except OSError:
                break
            if not data:
                break
            heard += data
            for question in [each for each in left if each.encode() in heard]:
                os.write(terminal, left.pop(question).encode() + b"\n")
        assert not left, heard
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    finally:
        os.close(terminal)


def test_the_printed_openssl_command_opens_the_locked_kit_with_its_passphrase_typed_at_a_terminal(
    lost: Lost, stranger: Stranger
) -> None:
    shutil.copy(lost.locked, stranger.home)

    status = in_terminal(lost.block("unlock", lost.locked), {"password:": PHRASE}, stranger.environment(), stranger.home)

    opened = stranger.home / "kit of nas-open.html"
    assert status == 0
    assert stat.S_IMODE(opened.stat().st_mode) == 0o600
    assert opened.read_text() == lost.plain.read_text()


def test_with_another_passphrase_openssl_and_we_refuse(lost: Lost, stranger: Stranger) -> None:
    shutil.copy(lost.locked, stranger.home)

    assert (
        in_terminal(lost.block("unlock", lost.locked), {"password:": "another phrase"}, stranger.environment(), stranger.home)
        != 0
    )
    with pytest.raises(KitError, match="passphrase"):
        read_kit(lost.locked, lambda: Secret("another phrase"))


def test_a_locked_kit_shows_nothing_of_what_is_in_it(lost: Lost) -> None:
    text = lost.locked.read_text()

    assert [word for word in (PASSWORD, lost.gateway.secret, "repository", "sftp", "example.org") if word in text] == []
    assert stat.S_IMODE(lost.locked.stat().st_mode) == stat.S_IMODE(lost.plain.stat().st_mode) == 0o600


def test_what_a_new_controller_needs_is_in_the_kit_too(lost: Lost) -> None:
    kit = read_kit(lost.locked, lambda: Secret(PHRASE))

    files = {Path(file.path).name: file for file in kit.files}
    assert set(files) == {"repository.password", "offsite.env", "id", "known_hosts"}
    assert (files["repository.password"].content, files["id"].mode) == (PASSWORD.encode() + b"\n", 0o600)
    assert files["repository.password"].keys == tuple(f"repository.{name}.password_file" for name in ("nas", "offsite", "friend"))
    assert b"[repository.friend]" in kit.config.content
    assert kit.all_lacking == ()
    assert lost.report["lacking"] == []


def test_a_drill_on_any_machine_proves_the_kit_of_a_controller_that_is_gone(lost: Lost, tmp_path: Path) -> None:
    """No configuration, no state: the kit alone, its passphrase, and the repositories."""
    words = ("drill", "restore", "--kit", str(lost.locked), "--passphrase-file", str(phrase_file(tmp_path)), "--json")

    answer = json.loads(failsafe(tmp_path, *words))

    assert answer["kit"]["controller"] == "nas"
    assert {each["repository"]: (each["result"], each["messages"]) for each in answer["repositories"]} == dict.fromkeys(
        PLACES, ("passed", lost.mail.total())
    )
    assert [path.name for path in tmp_path.iterdir()] == ["phrase"]


def phrase_file(folder: Path) -> Path:
    path = folder / "phrase"
    path.touch(mode=0o600)
    path.write_text(PHRASE + "\n")
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A controller with a repository of its own and one that does not answer; nothing was backed up."""
    (tmp_path / "etc").mkdir()
    put_empty_repository(tmp_path / "nas", PASSWORD)
    secret(tmp_path, "repository.password", PASSWORD + "\n")
    password = f'password_file = "{tmp_path}/etc/repository.password"'
    (tmp_path / "etc/failsafe.toml").write_text(
        f'[controller]\nid = "nas"\nstate_dir = "{tmp_path}/state"\n[own_line]\nreferences = ["127.0.0.1:1"]\n'
        f'[repository.nas]\nurl = "{tmp_path}/nas"\n{password}\n'
    )
    return tmp_path


def test_a_passphrase_is_typed_twice_and_the_kit_opens_with_it(small: Path) -> None:
    command = f"{sys.executable} -m failsafe --config etc/failsafe.toml kit --output kit.html"
    environment = {"PATH": os.environ["PATH"], "HOME": str(small), "PYTHONPATH": str(Path(__file__).parents[2])}

    assert in_terminal(command, {"Passphrase:": PHRASE, "Once more:": "another one of words"}, environment, small) == 2
    assert not (small / "kit.html").exists()
    assert in_terminal(command, {"Passphrase:": PHRASE, "Once more:": PHRASE}, environment, small) == 0
    assert read_kit(small / "kit.html", lambda: Secret(PHRASE)).repositories[0].password == PASSWORD


def finding(folder: Path) -> tuple[str, str]:
    """What the doctor says, now and of this configuration."""
    config = folder / "etc/failsafe.toml"
    found = judge_kit(look_at_kit(App(load_config(config), config)))
    return str(found.severity), found.text


def test_the_doctor_nags_until_a_kit_was_made_after_the_last_change(small: Path) -> None:
    assert finding(small)[0] == "warn"
    failsafe(small, "kit", "--plain", "--output", "1.html")
    assert finding(small)[0] == "ok"
    key = next((small / "nas/keys").iterdir())
    shutil.copy(key, key.with_name("ab" * 32))
    severity, text = finding(small)
    assert (severity, "the keys of repository nas" in text) == ("warn", True)
    key.with_name("ab" * 32).unlink()
    secret(small, "repository.password", "another\n")
    assert "repository.password" in finding(small)[1]


def test_a_repository_that_cannot_be_asked_is_named_and_the_kit_is_made_all_the_same(small: Path) -> None:
    table = f'[repository.gone]\nurl = "{small}/not/there"\npassword_file = "{small}/etc/repository.password"\n'
    config = small / "etc/failsafe.toml"
    config.write_text(config.read_text() + table)

    report = json.loads(failsafe(small, "kit", "--plain", "--output", "kit.html", "--json", status=1))

    assert [(each["repository"], each["has_keys"]) for each in report["repositories"]] == [("gone", False), ("nas", True)]
    assert "gone: its keys/ and config could not be had" in report["lacking"][0]
    assert parse_kit((small / "kit.html").read_text()).repositories[0].password == PASSWORD
    assert finding(small)[0] == "warn"
    assert PASSWORD not in (small / "state/failsafe.sqlite").read_bytes().decode("latin-1")


def test_the_doctor_knows_whether_a_drill_proved_the_newest_kit(small: Path) -> None:
    config = small / "etc/failsafe.toml"
    config.write_text(config.read_text() + f'[mail_server.vps]\nlayout = "maildir"\npath = "{small}/mail"\n')
    store = Store(small)
    store.fill(ANN, "", 3)
    store.calm()
    failsafe(small, "backup")
    failsafe(small, "kit", "--plain", "--output", "kit.html")
    assert "no drill has proved it yet" in finding(small)[1]

    failsafe(small, "drill", "restore", "--kit", "kit.html")

    assert "a drill proved it on" in finding(small)[1]
    assert list((small / "state/drill").iterdir()) == []
    wrong = parse_kit((small / "kit.html").read_text())
    write_kit(small / "wrong.html", replace(wrong, repositories=(replace(wrong.repositories[0], password="x"),)), None)
    answer = json.loads(failsafe(small, "drill", "restore", "--kit", "wrong.html", "--json", status=1))["repositories"][0]
    assert (answer["result"], answer["servers"][-1]["server"]) == ("failed", "the kit itself")
    assert "do not open" in answer["servers"][-1]["findings"][0]["text"]
    assert (finding(small)[0], "mail does not come back" in finding(small)[1]) == ("warn", True)


@pytest.mark.parametrize("program", programs(), ids=version_of)
def test_keys_and_config_that_came_through_restic_open_alone_in_every_version(program: str, tmp_path: Path) -> None:
    put_empty_repository(tmp_path / "repository", PASSWORD)
    repository = make_repository(program, tmp_path)
    held = ask_files(repository._driver)

    assert keys_of(held) == keys_of(copy_files(tmp_path / "repository"))
    for name, data in held.items():
        (tmp_path / "alone/repository/keys").mkdir(parents=True, exist_ok=True)
        (tmp_path / "alone/repository" / name).write_bytes(data)
    assert make_repository(program, tmp_path / "alone").open() == repository.open()


def keys_of(files: dict[str, bytes]) -> list[object]:
    return [json.loads(data) for name, data in files.items() if name.startswith("keys/")]


def test_copies_of_another_repository_are_no_proof(tmp_path: Path) -> None:
    put_empty_repository(tmp_path / "repository", PASSWORD)
    repository = make_repository(programs()[0], tmp_path)
    files = repository.key_files()

    with pytest.raises(ResticError, match="not 0000000000"):
        prove(files, "0" * 64, lambda _folder: repository.open())
    with pytest.raises(ResticError):
        prove({**files, "config": files["config"][::-1]}, repository.opened_id, opened_alone)


def opened_alone(folder: Path) -> str:
    return make_repository(programs()[0], folder.parent).open()


@needs_rest_server
def test_an_append_only_rest_server_gets_its_keys_and_config_back(tmp_path: Path, append_only: str, stranger: Stranger) -> None:
    repository = make_repository(programs()[0], tmp_path, url=append_only, environment=rest_credentials)
    files = tuple(KitFile(name, 0o400, data) for name, data in repository.key_files().items())
    login = {name: each.reveal() for name, each in rest_credentials().items()}
    address = with_credentials(append_only, rest_credentials())
    kit = KitRepository("far", append_only, repository.opened_id, PASSWORD, address, environment=login, files=files)
    block = put_back_block(kit)
    assert block is not None
    stranger.paste(open_block(kit).commands)
    for kind in ("keys", "config"):
        gone = tmp_path / "rest/mail" / kind
        shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
        stranger.paste(open_block(kit).commands, status=1)

        stranger.paste(block.commands)

    assert repository.open() == kit.restic_id
