"""What it costs to bring mail home beside mbsync between the same two servers; and what a second look costs where nothing is new."""

import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path

from bench.backup import PASSWORD, PLACE, restic_environment, restic_for_benches
from bench.mailstore import TEXT
from bench.report import Line, Report, file_system_of
from bench.status import program
from bench.watched import Run, run
from tests.contract import dovecot
from tests.contract.dovecot import Dovecot

DOMAIN, OURS, PEER = "example.org", "alice@example.org", "peer@example.org"
FOLDERS = ("", ".Projects", ".Lists", ".Junk")  # of the secondary: INBOX has most
SHARES = (0.7, 0.1, 0.1, 0.1)
MEAN = 11_400  # bytes of a message
RATIO, TURNS = 3.0, 6.0
MBSYNC = """\
CopyArrivalDate yes
FSync yes
IMAPStore secondary
Host localhost
Port {source.port}
User {ours}
PassCmd "cat {password}"
{tls} IMAPS
CertificateFile {source.certificates.authority}

IMAPStore primary
Host localhost
Port {target.port}
User {peer}
PassCmd "cat {password}"
{tls} IMAPS
CertificateFile {target.certificates.authority}

Channel all
Far :secondary:
Near :primary:
Patterns *
Create Near
Sync Pull New
SyncState {folder}/states/
"""


@dataclass
class World:
    """A full secondary that stays as it is, and a folder for each run."""

    folder: Path
    source: Dovecot
    restic: Path
    messages: int
    ours: list[Run] = field(default_factory=list)
    peer: list[Run] = field(default_factory=list)
    again: list[Run] = field(default_factory=list)
    turns: list[int] = field(default_factory=list)
    connections: list[int] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        return restic_environment(self.restic, self.folder, self.folder / "none")


def measure(messages: int, runs: int) -> Report:
    """The figures for `homecoming`."""
    if shutil.which("mbsync") is None:
        raise RuntimeError("mbsync is not installed (Debian: isync)")
    version, restic = restic_for_benches()[0]
    folder = PLACE / "homecoming"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, secret in (("password", PASSWORD), ("imap-password", dovecot.PASSWORD)):
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(secret + "\n")
    with dovecot.running([OURS], more=JUNK) as source:
        world = World(folder, source, restic, messages)
        _fill(world)
        for _ in range(runs):
            _one_run(world)
    return _told(world, version, runs)


JUNK = "namespace inbox {\n  mailbox Junk {\n    special_use = \\Junk\n  }\n}\n"


def _told(world: World, version: str, runs: int) -> Report:
    report = Report(
        "homecoming",
        f"{world.messages:,} messages of {MEAN / 1000:.1f} kB on average in {len(FOLDERS)} folders of one mailbox, from one Dovecot to another on loopback over "
        f"TLS; restic {version}, a local repository. Ours: `failsafe homecoming`, which also archives all of it (staging and one snapshot), keeps a ledger, knows "
        f"each message by its contents, and reads back what it gave. The peer: `mbsync` from server to server, dates kept. Medians of {runs}, a new primary each "
        "time. A turn is a piece of the client's after a piece of the server's, counted over both connections without TLS.",
    )
    mine, theirs = (statistics.median(one.seconds for one in side) for side in (world.ours, world.peer))
    ratio = mine / theirs
    report.lines.append(
        Line("all of it home, read back", f"{ratio:.2f} ({mine:.2f} s / {theirs:.2f} s)", f"<= {RATIO:g}", ratio <= RATIO)
    )
    turns = statistics.median(world.turns) / len(FOLDERS)
    report.at_most("again, nothing new: turns for each folder, both servers together", turns, "turns", TURNS, 1)
    report.fact(
        "again, nothing new: turns and connections in all",
        f"{statistics.median(world.turns):g} turns, {statistics.median(world.connections):g} connections",
    )
    report.fact("again, nothing new", f"{statistics.median(one.seconds for one in world.again):.2f} s")
    cpus = [statistics.median(one.cpu for one in side) for side in (world.ours, world.peer)]
    peak = max(max(one.memory.values(), default=0) for one in world.ours) / 1e6
    report.fact("CPU; highest memory of a process of ours", f"{cpus[0]:.2f} / {cpus[1]:.2f} s; {peak:.0f} MB")
    report.fact("the world lies on", file_system_of(world.folder))
    return report


# ---------------------------------------------------------------- what is measured


def _one_run(world: World) -> None:
    for name in ("state", "repository", "states"):
        shutil.rmtree(world.folder / name, ignore_errors=True)
    (world.folder / "states").mkdir()
    with dovecot.running([OURS, PEER], more=JUNK) as target, ExitStack() as lines:
        config = _configured(world, target, world.source.port, target.port, tls="implicit")
        _failsafe(world, config, "backup", "vps", "--scheduled")
        os.sync()
        world.ours.append(_failsafe(world, config, "homecoming", DOMAIN, "--json"))
        told = json.loads(world.ours[-1].output.splitlines()[-1])
        assert (told["home"], told["waiting"]) == (world.messages, []), told
        os.sync()
        world.peer.append(run(["mbsync", "-q", "-c", str(_mbsync(world, target)), "all"], world.environment))
        for user in (OURS, PEER):
            held = sum(len(each) for each in dovecot.look(target, user).values())
            assert held == world.messages, f"{user}: {held} messages"
        watched = [lines.enter_context(counting(server.plain)) for server in (world.source, target)]
        config = _configured(world, target, watched[0].port, watched[1].port, tls="none")
        _failsafe(world, config, "homecoming", DOMAIN, "--json")
        for line in watched:
            line.turns = line.connections = 0
        world.again.append(_failsafe(world, config, "homecoming", DOMAIN, "--json"))
        world.turns.append(sum(line.turns for line in watched))
        world.connections.append(sum(line.connections for line in watched))


def _failsafe(world: World, config: Path, *words: str) -> Run:
    return run([*program(), "--config", str(config), *words], world.environment)


def _mbsync(world: World, target: Dovecot) -> Path:
    old = "1.4" in subprocess.run(["mbsync", "--version"], capture_output=True, text=True, check=True).stdout
    settings = world.folder / "mbsyncrc"
    values = {"ours": OURS, "peer": PEER, "password": world.folder / "imap-password", "folder": world.folder}
    settings.write_text(MBSYNC.format(source=world.source, target=target, tls="SSLType" if old else "TLSType", **values))
    return settings


class Counting:
    """A TCP line to a port on loopback that counts how often the client spoke after the server had."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.turns = self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            server = socket.create_connection(("127.0.0.1", self._target))
            said = threading.Event()

            def heard(said: threading.Event = said) -> None:
                if said.is_set():
                    said.clear()
                    self.turns += 1

            threading.Thread(target=self._copy, args=(server, client, said.set), daemon=True).start()
            threading.Thread(target=self._copy, args=(client, server, heard), daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket, noted: Callable[[], None]) -> None:
        try:
            while data := source.recv(65536):
                noted()
                target.sendall(data)
        except OSError:
            pass
        for line in (source, target):
            line.close()

    def close(self) -> None:
        self._listener.close()


@contextmanager
def counting(port: int) -> Iterator[Counting]:
    line = Counting(port)
    try:
        yield line
    finally:
        line.close()


# ---------------------------------------------------------------- the world


def _configured(world: World, target: Dovecot, source_port: int, target_port: int, *, tls: str) -> Path:
    folder, config = world.folder, world.folder / "failsafe.toml"

    def at(server: Dovecot, port: int) -> str:
        trust = f', ca_file = "{server.certificates.authority}"' if tls == "implicit" else ""
        return f'host = "{"localhost" if tls == "implicit" else "127.0.0.1"}", port = {port}, tls = "{tls}"{trust}'

    secret = f"{folder}/imap-password"
    source = at(world.source, source_port).replace(", ", "\n")
    config.write_text(
        f'[controller]\nid = "nas"\nstate_dir = "{folder}/state"\ntime_zone = "UTC"\n'
        f'[mail_server.vps]\nlayout = "maildir"\npath = "{target.folder}/mail"\n'
        f'[domain."{DOMAIN}"]\nserver = "vps"\nzone = "{DOMAIN}"\nprimary = ["mail.{DOMAIN}"]\nsecondary = ["mx.away.example"]\nstrategy = "on-demand"\n'
        f'[domain."{DOMAIN}".homecoming]\n{source}\naccounts = [{{ mailbox = "{OURS}", user = "{OURS}", password_file = "{secret}" }}]\n'
        f'deliver = {{ {at(target, target_port)}, master_user = "{dovecot.MASTER}", password_file = "{secret}" }}\n'
        f'[repository.nas]\nurl = "{folder}/repository"\npassword_file = "{folder}/password"\n'
    )
    return config


def _fill(world: World) -> None:
    """The secondary's mailbox: all of it came within the last half hour."""
    source, began, number = random.Random(1), int(time.time()) - 1800, 0
    root = world.source.folder / "mail" / DOMAIN / "alice"
    for name, share in zip(FOLDERS, SHARES, strict=True):
        folder = root / name
        for sub in ("cur", "new", "tmp"):
            (folder / sub).mkdir(parents=True, exist_ok=True)
        for _ in range(int(world.messages * share)):
            number += 1
            _write(folder / "cur", source, number, began + number * 1600 // world.messages)
    assert number == world.messages
    for path in (root.parent, root, *root.rglob("*")):
        os.chown(path, 5000, 5000)


def _write(folder: Path, source: random.Random, number: int, at: int) -> None:
    size = min(int(source.lognormvariate(0, 0.9) * MEAN * 0.67), 400_000)
    head = (
        f"Return-Path: <s{number}@example.net>\nDelivered-To: {OURS}\nReceived: from mx.example.net by mx.away.example; {formatdate(at)}\n"
        f"Message-ID: <{number}.{source.getrandbits(64):x}@example.net>\nFrom: S {number} <s{number}@example.net>\nTo: {OURS}\n"
        f"Subject: message {number}\nDate: {formatdate(at)}\n\n"
    )
    path = folder / f"{at}.M{number}P1.away:2,{source.choice(('', 'S', 'RS'))}"
    path.write_bytes(head.encode() + source.randbytes(size).translate(TEXT) + b"\n")
    os.utime(path, (at, at))
