"""Whole servers of each layout, lost and restored on this machine: files, owners, modes, links, mail; what is for a person is laid aside."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pty
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.contract.processes import run, start
from tests.contract.restics import put_empty_repository
from tests.contract.stacks import DockerMailserver, Mailcow, Mailu
from tests.contract.test_server_restore import calm

pytestmark = pytest.mark.timeout(300)

Facts = dict[str, tuple[object, ...]]


def facts(base: Path) -> Facts:
    """Every file and link below: kind, mode, owner, content; of messages not the mode, which the backup does not keep."""
    found: Facts = {}
    for path in sorted(base.rglob("*")):
        info, name = path.lstat(), str(path.relative_to(base))
        if stat.S_ISLNK(info.st_mode):
            found[name] = ("link", str(path.readlink()))
        elif stat.S_ISREG(info.st_mode):
            mode = 0 if path.parent.name in ("cur", "new") else stat.S_IMODE(info.st_mode)
            found[name] = (mode, info.st_uid, info.st_gid, int(info.st_mtime), hashlib.sha256(path.read_bytes()).hexdigest())
    return found


class Controller:
    def __init__(self, folder: Path, table: str, tools: Path) -> None:
        if shutil.which("restic") is None:
            pytest.skip("restic is not installed")
        if os.geteuid() != 0:
            pytest.skip("only root gives files to their owners")
        self.folder, self.tools = folder, tools
        (folder / "password").touch(mode=0o600)
        (folder / "password").write_text("secret\n")
        (folder / "far").mkdir()
        put_empty_repository(folder / "far" / "repository", "secret")
        (folder / "failsafe.toml").write_text(
            f'[controller]\nid = "test"\nstate_dir = "{folder}/state"\n[own_line]\nreferences = ["127.0.0.1:1"]\n[mail_server.vps]\n{table}\n'
            f'[repository.nas]\nurl = "{folder}/far/repository"\npassword_file = "{folder}/password"\n'
        )

    def run(self, *words: str, status: int = 0) -> dict[str, Any]:
        out, told = run(self.folder / "failsafe.toml", *words, "--json", status=status, path=str(self.tools))
        return dict(json.loads(out)) if out else {"said": told}

    def typed(self, answer: str, *words: str) -> tuple[int, str]:
        """On a terminal, where a person answers the question for the name: (exit code, all that was said)."""
        controller, terminal = pty.openpty()
        pipes = {"stdin": terminal, "stdout": subprocess.DEVNULL, "stderr": terminal}
        with start(self.folder / "failsafe.toml", *words, path=str(self.tools), **pipes) as child:
            os.close(terminal)
            said = b""
            with contextlib.suppress(OSError):  # the terminal is gone with the program
                while piece := os.read(controller, 4096):
                    said += piece
                    if b"Type the server's name" in said and answer:
                        os.write(controller, f"{answer}\n".encode())
                        answer = ""
            code = child.wait(120)
        os.close(controller)
        return code, said.decode("utf-8", "replace")


def lose(base: Path) -> None:
    for path in base.iterdir():
        if path.name != "bin":  # the container engine of the new machine
            shutil.rmtree(path)


def test_docker_mailserver_comes_back_by_its_path(tmp_path: Path) -> None:
    store = DockerMailserver(tmp_path / "server")
    store.build()
    there = Controller(tmp_path, f'layout = "docker-mailserver"\npath = "{store.path}"', store.engine().install())
    calm(store.root)
    assert there.run("backup")["missing"] == []
    before = facts(store.base)
    lose(store.base)

    code, said = there.typed("vsp", "restore", "--to", "server:vps")
    assert (code, "no mail is there" in said, store.root.exists()) == (5, True, False)
    code, said = there.typed("vps", "restore", "--to", "server:vps")

    assert code == 0, said
    after = facts(store.base)
    left_behind = {name for name in before if name not in after}
    assert {name for name in left_behind if not name.startswith("bin/")} == {
        f"srv/docker-data/dms/mail-state/{name}"
        for name in ("lib-clamav/main.cvd", "lib-fail2ban/fail2ban.sqlite3", "lib-rspamd/0a1b.hs", "spool-postfix/pid/master.pid")
    }
    assert {name: after[name] for name in before if name in after} == {name: before[name] for name in before if name in after}
    assert there.run("backup")["guards"] == []


def test_mailu_comes_back_with_its_database(tmp_path: Path) -> None:
    store = Mailu(tmp_path / "server")
    store.build()
    there = Controller(tmp_path, f'layout = "mailu"\npath = "{store.path}"', store.engine().install())
    calm(store.root)
    there.run("backup")
    before = facts(store.base)
    with store.database() as database:
        accounts = database.execute("SELECT email FROM user ORDER BY email").fetchall()
    database.close()
    lose(store.base)

    told = there.run("restore", "--to", "server:vps", "--yes")

    assert (told["added"], told["missing"], told["problems"]) == (4, [], [])
    after = facts(store.base)
    kept = [
        name
        for name in before
        if name.startswith(("mailu/mail/", "mailu/dkim", "mailu/certs", "mailu/mailu.env", "mailu/docker-compose"))
    ]
    assert {name: after.get(name) for name in kept} == {name: before[name] for name in kept}
    with store.database() as database:
        assert database.execute("SELECT email FROM user ORDER BY email").fetchall() == accounts
    database.close()


def test_mailcow_gets_mail_and_keys_back_and_its_dumps_are_laid_aside_with_the_commands(tmp_path: Path) -> None:
    store = Mailcow(tmp_path / "server")
    store.build()
    there = Controller(tmp_path, f'layout = "mailcow"\npath = "{store.path}"', store.engine().install())
    calm(store.root)
    there.run("backup")
    before = facts(store.base)
    lose(store.base)

    told = there.run("restore", "--to", "server:vps", "--yes")

    assert (told["added"], told["missing"], told["problems"]) == (5, [], [])
    after = facts(store.base)
    kept = [
        name
        for name in before
        if ("vmail-vol-1" in name and "/cur/" in name and "_garbage" not in name)
        or "crypt-vol-1" in name
        or name.endswith(("mailcow.conf", "key.pem"))
    ]
    assert len(kept) >= 9
    assert {name: after.get(name) for name in kept} == {name: before[name] for name in kept}
    assert (Path(told["work"]) / "by-hand" / "commands" / "mailcow-database.sql").read_bytes().startswith(b"-- MariaDB dump")
    assert any("mailcow-database.sql" in text for text in told["to_do"])


def test_a_server_that_is_read_over_imap_is_sent_to_restore_its_mail_instead(tmp_path: Path) -> None:
    table = 'layout = "imap"\nimap = { host = "localhost", port = 993 }\naccounts_file = "/dev/null"'
    there = Controller(tmp_path, table, tmp_path)

    assert "--to imap" in there.run("restore", "--to", "server:vps", "--yes", status=2)["said"]
