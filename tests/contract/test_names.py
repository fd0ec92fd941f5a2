"""Names and contents that break tools: through the real pull, a real restic snapshot, and back by bare restic and rebuild.py and by
`failsafe restore`, byte for byte. What cannot be archived is named, and nothing outside the store is ever read.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from failsafe.backup.archive.staging import Staging
from failsafe.backup.inventory import mailbox_name
from failsafe.backup.serverside.ground import DEPTH
from tests.contract.mailstore import LONG_AGO, Store
from tests.contract.processes import run
from tests.contract.restics import PASSWORD, programs, put_empty_repository

pytestmark = pytest.mark.skipif(not programs(), reason="restic is not installed (Debian: restic)")
ANNA = "anna@example.org"

MESSAGES: dict[bytes, bytes] = {
    b"new\nline.host:2,S": b"a newline in the name\n",
    b"carriage\rreturn.host:2,": b"x\n",
    b"quote'\"`$(touch x)`;&|<>*?[a]{b}!#~ \\.host:2,F": b"shell\n",
    b"-rf:2,S": b"a leading dash\n",
    b"--help:2,": b"two of them\n",
    b"a..b:2,S": b"dots\n",
    b"\xff\xfe\xe9.host:2,RS": b"no UTF-8\n",
    "é.host:2,".encode(): b"composed\n",
    "e\u0301.host:2,".encode(): b"decomposed\n",
    "\u202eevil\u2066.host:2,".encode(): b"directions\n",
    b"\x01\x1b[31m\x07\x7f\t.host:2,": b"control characters\n",
    b"%s%n{}\\x00.host:2,": b"formats\n",
    b"x" * 251 + b":2,S": b"255 bytes, flags included\n",
    b"y" * 255: b"255 bytes without any\n",
    b"plain.host": b"no flags in cur\n",
    b"twice.host:2,S:2,F": b"two marks\n",
    b"1.host,S=9,W=9:2,S": b"its size is another one\n",
    b"2.host,S=abc:2,ab": b"letters of keywords\n",
    b"odd.host:2,SXz9": b"letters that mean nothing\n",
    b"old.host:1,x": b"another version\n",
    b":2,S": b"nothing before the flags\n",
    b" ": b"a blank\n",
    b"empty.host:2,S": b"",
    b"nul.host:2,": b"Subject: \0\n\n\0\0\n",
    b"cr.host:2,": b"a\rb\r\nc\n\rd\r",
    b"no-end.host:2,": b"From here on, no newline",
    b"from.host:2,": b"From nobody\n>From somebody\n\nFrom x\n",
    b"long.host:2,": b"z" * 100_000,
    b"bytes.host:2,": bytes(range(256)) * 3,
}
FOLDERS: tuple[bytes, ...] = (
    b".Archive.2026", b".-rf", b". leading blank", b".trailing ", b".new\nline", b".quote'\"$(x)", b".\xff\xfe", b".Entw&APw-rfe",
    b".not&utf7", b".a..b", b"...", b".name:2,S", b".cur", b".tmp", b".\x1b[31m", b"." + b"f" * 254, ".Übung".encode(), b".dovecot-uidlist",
    b".INBOX", b".%00",
)  # fmt: skip
ALL = bool(os.environ.get("FAILSAFE_ALL"))
MOVED = {
    "new\nline",
    "x",
    "y",
    "quote'\"x",
}  # users whose folder gets another name: no good ones, and those that other systems cannot have
BIG = 200_000_000  # bytes
BOUND = 150  # MB that a program of ours may take, whatever the size of a message; a pull of small ones takes 60
USERS: tuple[bytes, ...] = (
    b"example.org/user+tag", b"example.org/UPPER", b"example.org/sp ace", "example.org/ünï".encode(), b"example.org/-rf",
    b"example.org/quote'\"x", b"example.org/a@b", b"example.org/_server", b"example.org/$(x)", b"example.org/\xff\xfe",
    b"example.org/new\nline", b"-rf/--help", b"EXAMPLE.org/anna", "münchen.example/josé".encode(), b"_local/x", b"_server/y",
    b"sp ace.example/%s", b"example.org/" + b"u" * 200,
)  # fmt: skip


def text(name: bytes) -> str:
    return os.fsdecode(name)


@dataclass
class World:
    """A store on this machine, a repository, and the program."""

    base: Path

    @property
    def store(self) -> Store:
        return Store(self.base)

    def put(self, box: bytes, directory: bytes, name: bytes, body: bytes, sub: str = "cur") -> Path:
        folder = self.store.root / text(box) / text(directory)
        for part in ("cur", "new", "tmp"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        path = folder / sub / text(name)
        path.write_bytes(body)
        os.utime(path, (LONG_AGO, LONG_AGO))
        return path

    def failsafe(self, *words: str, status: int = 0) -> str:
        return run(self.base / "failsafe.toml", *words, status=status, errors="replace")[0]

    def back_up(self, status: int = 0) -> dict[str, Any]:
        self.store.calm()
        return dict(json.loads(self.failsafe("backup", "--json", status=status)))

    def rebuild(self, status: int = 0) -> tuple[Path, str]:
        """As README.txt tells a stranger to do it."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.base),
            "RESTIC_PASSWORD": PASSWORD,
            "RESTIC_REPOSITORY": str(self.base / "repository"),
        }
        restored, out = self.base / "restored", self.base / "rebuilt"
        words = ["restic", "restore", "latest", "--host", "failsafe-vps", "--target", str(restored)]
        subprocess.run(words, env=environment, check=True, capture_output=True, timeout=250)
        command = [sys.executable, "-I", "-S", "rebuild.py", str(out)]
        done = subprocess.run(command, cwd=restored, env={}, capture_output=True, timeout=250, check=False)
        assert done.returncode == status, done.stderr.decode(errors="replace")
        return out, done.stderr.decode(errors="replace")


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / "repository.password").touch(mode=0o600)
    (tmp_path / "repository.password").write_text(PASSWORD + "\n")
    put_empty_repository(tmp_path / "repository", PASSWORD)
    (tmp_path / "failsafe.toml").write_text(
        f'[controller]\nid = "test"\nstate_dir = "{tmp_path}/state"\n[mail_server.vps]\nlayout = "maildir"\npath = "{tmp_path}/mail"\n'
        f'[repository.nas]\nurl = "{tmp_path}/repository"\npassword_file = "{tmp_path}/repository.password"\n'
    )
    return World(tmp_path)


def contents(root: Path) -> Counter[str]:
    """SHA-256 of every message below, however its folder is called."""
    return Counter(digest for digest, _ in messages(root))


def messages(root: Path) -> Iterator[tuple[str, Path]]:
    """(SHA-256, path below `root`) of every message."""
    for path in root.rglob("*"):
        if path.parent.name in ("cur", "new") and path.is_file() and not path.is_symlink():
            yield hashlib.sha256(path.read_bytes()).hexdigest(), path.relative_to(root)


def test_whatever_its_name_every_message_comes_back_byte_for_byte(world: World) -> None:
    for name, body in MESSAGES.items():
        world.put(b"example.org/anna", b"", name, body)
    world.put(b"example.org/anna", b"", b"fresh\n'host", b"in new\n", "new")
    for number, folder in enumerate(FOLDERS):
        world.put(b"example.org/anna", folder, b"1.host:2,S", b"in folder %d\n" % number)
    (world.store.root / "example.org/anna/.Empty/cur").mkdir(parents=True)
    deepest = b"/".join(b"d%d" % number for number in range(DEPTH))
    for folder in (b"", b"Archive/v1.2/x", b"-rf/'", deepest):
        world.put(b"example.org/deep", folder, b"1.host:2,", b"in " + folder)
    for number, user in enumerate(USERS):
        world.put(user, b"", b"1.host:2,F", b"of user %d\n" % number)
    there = contents(world.store.root)

    report = world.back_up()

    assert (report["result"], report["missing"], report["messages"]["total"]) == ("ok", [], there.total())
    with Staging.open(world.base / "state/staging/vps", "vps") as staging:
        generation = world.store.newest(staging)
        assert staging.archive.verify(generation, read_messages=True) == []
        names = set(generation.mailboxes)
        folders = {folder.directory for folder in staging.archive.mailbox(generation, ANNA).folders}
    assert names >= {mailbox_name(os.fsdecode(user)) for user in USERS}
    assert folders == {"", ".Empty", *(os.fsdecode(folder) for folder in FOLDERS)}
    assert world.back_up()["unchanged"] is True
    rebuilt, _ = world.rebuild()
    assert contents(rebuilt) == there
    chosen = () if ALL else ("--mailbox", ANNA)  # each mailbox takes restic a few seconds
    world.failsafe("restore", *chosen, "--to", f"maildir:{world.base}/out", "--yes", "--json")
    annas = contents(world.store.root / "example.org/anna")
    assert contents(world.base / "out") == (there if ALL else annas + contents(world.store.root / "EXAMPLE.org/anna"))
    known = dict(messages(world.store.root))
    for root in (rebuilt, world.base / "out"):
        assert contents(root / "example.org/anna") == annas
        moved = {known[digest].parts[1] for digest, path in messages(root) if path.parts[:2] != known[digest].parts[:2]}
        assert moved <= MOVED


def test_what_is_no_message_is_named_and_nothing_outside_is_read(world: World) -> None:
    """Links, pipes, sockets, devices and folders where messages are expected; links out of the store at every level."""
    world.put(b"example.org/anna", b"", b"1.host:2,S", b"a message\n")
    outside = world.base / "outside"
    for sub in ("cur", "new", "tmp"):
        (outside / sub).mkdir(parents=True)
    (outside / "cur/secret:2,").write_text("of somebody else")
    cur = world.store.root / "example.org/anna/cur"
    (cur / "link:2,").symlink_to(outside / "cur/secret:2,")
    (cur / "dangling:2,").symlink_to("/nowhere")
    os.mkfifo(cur / "pipe:2,")
    (cur / "folder:2,").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(cur / "s:2,"))
        if os.geteuid() == 0:
            os.mknod(cur / "device:2,", 0o600 | stat.S_IFCHR, os.makedev(1, 5))
        (cur.parent / ".Linked").symlink_to(outside)
        (world.store.root / "example.org/linked").symlink_to(outside)
        (world.store.root / "linked.example").symlink_to(world.store.root / "example.org")
        report = world.back_up(status=1)
    assert (report["result"], report["messages"]["total"]) == ("incomplete", 1)
    named = {one["name"]: one["why"] for one in report["missing"] if one["folder"]}
    expected = {"link:2,", "dangling:2,", "pipe:2,", "folder:2,", "s:2,"} | ({"device:2,"} if os.geteuid() == 0 else set())
    assert named == dict.fromkeys(expected, "not a regular file")
    whole = [(one["mailbox"], one["name"]) for one in report["missing"] if not one["folder"]]
    assert sorted(whole) == [(ANNA, ".Linked"), ("linked.example", ""), ("linked@example.org", "")]
    rebuilt, said = world.rebuild(status=1)
    assert contents(rebuilt) == contents(world.store.root / "example.org/anna")
    assert "pipe:2, was not in the backup: not a regular file" in said


PULL = """
import sys
from pathlib import Path
from tests.contract.mailstore import Store
report = Store(Path(sys.argv[1])).pull()
print(report.result, report.total)
"""
# ru_maxrss begins with the parent's: a child of a large test process would be called large
PEAK = "print(next(int(line.split()[1]) // 1024 for line in open('/proc/self/status') if line.startswith('VmHWM')))"


def test_a_message_of_200_mb_takes_no_more_memory_than_others(tmp_path: Path) -> None:
    """On the server's disk it is a sparse file. Both programs that carry it, the pull and rebuild.py, are watched."""
    store = Store(tmp_path)
    store.put(ANNA, "", "small.host:2,S")
    with store.put(ANNA, "", "big.host:2,S").open("r+b") as file:
        file.truncate(BIG)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    pulled = subprocess.run(
        [sys.executable, "-c", PULL + PEAK, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=250,
        check=True,
    ).stdout.split()
    assert pulled[:2] == ["ok", "2"]
    rebuild = f"import runpy, sys; sys.argv = ['rebuild.py', {str(tmp_path / 'rebuilt')!r}]\ntry: runpy.run_path('rebuild.py', run_name='__main__')\nfinally: {PEAK}"
    rebuilt = subprocess.run(
        [sys.executable, "-c", rebuild], cwd=tmp_path / "staging", capture_output=True, text=True, timeout=250, check=True
    ).stdout.split()
    print(f"peak memory: pull {pulled[2]} MB, rebuild.py {rebuilt[-1]} MB")
    assert contents(tmp_path / "rebuilt") == contents(store.root)
    assert max(int(pulled[2]), int(rebuilt[-1])) < BOUND
