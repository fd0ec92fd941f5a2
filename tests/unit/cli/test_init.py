"""`failsafe init` with flags alone, for mail on this machine: what is written, what is kept, and what is said where an answer is missing."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

from failsafe.cli.root import app
from failsafe.config.load import load_config
from failsafe.errors import FailsafeError
from failsafe.model import Mode
from tests.fakes.resolver import resolving
from tests.unit.docs.commands import commands_in, demand_taken

FLAGS = {
    "domain": "example.org", "primary": "mail.example.org", "ssh": "local", "layout": "maildir", "path": "{mail}", "imap": "mail.example.org:993",
    "secondary": "fastmail", "strategy": "on-demand", "dns": "none", "state-dir": "{folder}/state", "repository": "{folder}/repository",
    "offsite": "none", "probe": "failsafe-probe@example.org", "resolver": "{resolver}",
}  # fmt: skip


@dataclass
class Desk:
    """A machine with a mail store and nobody at its terminal."""

    folder: Path
    resolver: str
    capsys: pytest.CaptureFixture[str]

    @property
    def home(self) -> Path:
        return self.folder / "etc"

    @property
    def config(self) -> Path:
        return self.home / "failsafe.toml"

    def flags(self, **changed: str) -> list[str]:
        said = {**FLAGS, **{key.replace("_", "-"): value for key, value in changed.items()}}
        places = {"folder": self.folder, "mail": self.folder / "mail", "resolver": self.resolver}
        return [word for key, value in said.items() if value for word in (f"--{key}", value.format(**places))]

    def init(self, *words: str) -> tuple[int, str, str]:
        """(exit code, stdout, stderr and the error with its mend)."""
        code, more = 0, ""
        try:
            outcome = app(["--config", str(self.config), "init", "--no-doctor", *words], standalone_mode=False)
            code = outcome if isinstance(outcome, int) else 0
        except typer.Exit as error:
            code = error.exit_code
        except FailsafeError as error:
            code, more = error.exit_code, f"{error}\n{error.mend}"
        shown = self.capsys.readouterr()
        return code, shown.out, shown.err + more

    def everything(self) -> dict[str, tuple[bytes, int]]:
        files = [path for path in self.home.rglob("*") if path.is_file()] if self.home.exists() else []
        return {path.name: (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) for path in files}


@pytest.fixture(scope="module")
def resolver() -> Iterator[str]:
    with resolving({("example.org", "MX"): ["10 mail.example.org."], ("example.org", "NS"): ["ns1.example.org."]}) as address:
        yield address


@pytest.fixture
def desk(tmp_path: Path, resolver: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("FAILSAFE_CONFIG", "")  # put back at the end, whatever --config made of it
    monkeypatch.setattr("sys.argv", ["failsafe", "init"])
    for user in ("ann", "bob"):
        (tmp_path / "mail" / "example.org" / user / "cur").mkdir(parents=True)
        (tmp_path / "mail" / "example.org" / user / "cur" / "1.host:2,S").write_bytes(b"x" * 1000)
    return Desk(tmp_path, resolver, capsys)


def test_with_a_flag_for_each_question_nobody_is_asked(desk: Desk) -> None:
    code, out, _err = desk.init(*desk.flags(), "--json")
    assert code == 0
    told = json.loads(out)
    assert (told["config"], told["missing"], told["kept"]) == (str(desk.config), [], [])
    assert set(told["written"]) == {str(desk.home / name) for name in ("failsafe.toml", "probe.password", "repository.password")}
    assert all(mode == 0o600 for _data, mode in desk.everything().values())
    assert stat.S_IMODE(desk.home.stat().st_mode) == 0o700
    loaded = load_config(desk.config)
    assert loaded.domain["example.org"].mode is Mode.OBSERVE
    assert loaded.mail_server["mail"].path == desk.folder / "mail"
    assert "# 2 KB of mail lay on the server" in desk.config.read_text()


@pytest.mark.parametrize("left_out", [name for name in FLAGS if name != "resolver"])
def test_without_a_terminal_a_missing_answer_is_exit_2_and_names_its_flag(left_out: str, desk: Desk) -> None:
    code, out, err = desk.init(*desk.flags(**{left_out: ""}))
    assert (code, out) == (2, "")
    assert f"say --{left_out}." in err
    assert not desk.home.exists()


@pytest.mark.parametrize(
    ("flag", "wrong"),
    [
        ("domain", "not a name"), ("primary", "192.0.2.1"), ("ssh", "nobody"), ("layout", "exchange"), ("path", "relative"), ("imap", "a:b:c"),
        ("secondary", "nobody"), ("strategy", "always"), ("dns", "godaddy"), ("state-dir", "state"), ("repository", "ftp:x"),
        ("offsite", "s3"), ("probe", "nobody"),
    ],
)  # fmt: skip
def test_a_wrong_answer_is_exit_2_with_the_reason_and_nothing_is_written(flag: str, wrong: str, desk: Desk) -> None:
    code, _out, err = desk.init(*desk.flags(**{flag: wrong}), "--yes")
    assert code == 2
    assert f"--{flag}: " in err
    assert not desk.home.exists()


def test_yes_takes_what_was_found(desk: Desk) -> None:
    some = desk.flags(strategy="", dns="", offsite="", probe="", imap="", layout="maildir")
    assert desk.init(*some, "--yes")[0] == 0
    probe = load_config(desk.config).probe["mail"]
    assert (probe.recipient, [str(each) for each in probe.smtp]) == ("failsafe-probe@example.org", ["mail.example.org:25"])


def test_a_second_run_changes_no_byte_and_says_what_is_missing(desk: Desk) -> None:
    desk.init(*desk.flags())
    desk.config.write_text(desk.config.read_text() + "\n# a person's own words\n")
    before = desk.everything()
    code, out, _err = desk.init()
    assert code == 0
    assert f"there already, and as it was: {desk.config}" in out
    assert "What is left" in out
    code, out, _err = desk.init(*desk.flags(layout="imap"), "--yes")
    assert (code, "not used" in out, "--layout" in out) == (0, True, True)
    assert desk.everything() == before
    (desk.home / "repository.password").unlink()
    assert "missing: repository.nas.password_file" in desk.init()[1]
    assert not (desk.home / "repository.password").exists()


def test_one_more_domain_is_added_behind_what_a_person_wrote(desk: Desk) -> None:
    desk.init(*desk.flags())
    before = desk.config.read_bytes() + b"# no newline at the end"
    desk.config.write_bytes(before)
    desk.config.chmod(0o640)
    more = ["--domain", "example.net", "--primary", "mail.example.net", "--secondary", "migadu", "--resolver", desk.resolver]
    dns = ["--dns", "rfc2136", "--dns-server", "ns.example.net"]
    assert desk.init(*more, *dns)[0] == 2
    assert desk.config.read_bytes() == before
    assert desk.init(*more, *dns, "--yes")[0] == 0
    after = desk.config.read_bytes()
    assert after.startswith(before)
    assert stat.S_IMODE(desk.config.stat().st_mode) == 0o640
    loaded = load_config(desk.config)
    assert (set(loaded.domain), loaded.domain["example.net"].dns) == ({"example.org", "example.net"}, "rfc2136")
    assert (desk.home / "rfc2136.key").exists()
    assert "stays as it is" in desk.init(*more, "--yes")[1]
    assert desk.config.read_bytes() == after


def test_every_command_that_is_printed_is_one_that_the_command_line_takes(desk: Desk) -> None:
    out = desk.init(*desk.flags(dns="rfc2136", dns_server="ns1.example.org"), "--yes", "--json")[1]
    commands = [words for step in json.loads(out)["steps"] for words in commands_in(step["command"])]
    assert {words[2] for words in commands} >= {"config", "backup", "kit", "doctor", "notify", "run"}
    for words in commands:
        demand_taken(words)


def test_stopped_at_any_write_it_goes_on_with_what_is_there(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped before and after each file is put in its place; then run again."""
    flags = desk.flags(
        ssh="none", mailbox="a@example.org", dns="rfc2136", dns_server="ns1.example.org", offsite="sftp:me@host:/mail"
    )
    stops = 0
    for after in (False, True):
        for number in range(1, 8):
            held = Desk(desk.folder / f"{after}{number}", desk.resolver, desk.capsys)
            with monkeypatch.context() as patched:
                patched.setattr(os, "link", _stopping(os.link, number, after=after))
                try:
                    held.init(*flags, "--yes")
                except StoppedError:
                    stops += 1
            before = held.everything()
            if "failsafe.toml" in before:
                load_config(held.config)
            assert held.init(*flags, "--yes")[0] == 0
            now = held.everything()
            assert not [name for name in now if name.startswith(".")]
            assert {name: now[name] for name in before if not name.endswith(".pub")} == {
                name: held for name, held in before.items() if not name.endswith(".pub")
            }
            assert len(now) == 7
    assert stops == 14


class StoppedError(BaseException):
    """As a kill: nobody catches it."""


def _stopping(link: Callable[..., Any], number: int, *, after: bool) -> Callable[..., Any]:
    count = 0

    def stopped(*arguments: Any, **named: Any) -> None:
        nonlocal count
        count += 1
        if count == number and not after:
            raise StoppedError
        link(*arguments, **named)
        if count == number:
            raise StoppedError

    return stopped
