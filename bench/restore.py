"""What a restore costs beside the usual ways: one message, a mailbox to files, a mailbox to a server. Staging is absent: all comes from restic."""

import contextlib
import os
import random
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.backup import PASSWORD, PLACE, restic_environment, restic_for_benches
from bench.mailstore import TEXT
from bench.report import Line, Report, file_system_of
from bench.status import program
from bench.watched import Run, run
from tests.contract import dovecot

DOMAIN, MAILBOXES = "example.org", 10
WANTED = "user3"  # the mailbox that comes back
MEAN = 11_400  # bytes of a message
FORMAT = 1  # of the world: another number makes it anew
AIMS = {"one message, found and fetched": 0.6, "a mailbox to a Maildir, verified": 2.0, "a mailbox to IMAP, read back": 3.0}
MBSYNC = """\
CopyArrivalDate yes
FSync yes
IMAPStore server
Host localhost
Port {port}
User {user}
PassCmd "cat {password}"
{tls} IMAPS
CertificateFile {ca}

MaildirStore here
Path {maildir}/
Inbox {maildir}/INBOX
SubFolders Verbatim

Channel all
Far :server:
Near :here:
Create Far
Sync Push
SyncState *
"""


@dataclass
class World:
    """`messages` in ten mailboxes, arrived over `rounds` pulls; backed up by us and, as they lie on the server, by restic alone."""

    folder: Path
    messages: int
    rounds: int
    restic: Path
    taken: dict[str, tuple[list[Run], list[Run]]] = field(default_factory=dict)

    @property
    def mail(self) -> Path:
        return self.folder / "mail"

    @property
    def config(self) -> Path:
        return self.folder / "failsafe.toml"

    @property
    def environment(self) -> dict[str, str]:
        return restic_environment(self.restic, self.folder, self.folder / "peer")

    def ours(self, *words: str) -> Run:
        return run([*program(), "--config", str(self.config), *words], self.environment)

    def peer(self, *words: str) -> Run:
        return run(["restic", "--quiet", *words], self.environment)

    def take(self, what: str, ours: Run, *peer: Run) -> None:
        mine, theirs = self.taken.setdefault(what, ([], []))
        mine.append(ours)
        theirs.append(Run(sum(one.seconds for one in peer), sum(one.cpu for one in peer)))


def measure(messages: int, rounds: int, runs: int) -> Report:
    """The figures for `restore`."""
    version, restic = restic_for_benches()[0]
    world = World(PLACE / f"restore-{FORMAT}-{messages}-{rounds}", messages, rounds, restic)
    if not (world.folder / "ready").exists():
        _make(world)
    with _without_staging(world):
        for number in range(runs):
            _one_message(world, number)
        for _ in range(min(runs, 3)):
            _to_maildir(world)
            _to_imap(world)
    return _told(world, version, runs)


def _told(world: World, version: str, runs: int) -> Report:
    each = world.messages // MAILBOXES
    report = Report(
        "restore",
        f"{world.messages:,} messages of {MEAN / 1000:.1f} kB on average, {each:,} in each of {MAILBOXES} mailboxes, arrived interleaved "
        f"over {world.rounds} pulls; restic {version}, one local repository each, warm caches, no staging. The peer keeps the same mail as raw "
        "Maildirs, one snapshot a pull. One message: `failsafe restore --message-id` against `restic find` of its file's name in the latest "
        f"snapshot and `restic dump` (median of {runs}, another message each time). A mailbox: against `restic restore --include`, and into an empty "
        f"mailbox of a Dovecot over TLS against `mbsync` pushing the same Maildir (medians of {min(runs, 3)}). Ratio: ours / peer.",
    )
    for what, (ours, peer) in world.taken.items():
        mine, theirs = (statistics.median(one.seconds for one in side) for side in (ours, peer))
        words, aim = f"{mine / theirs:.2f} ({mine:.2f} s / {theirs:.2f} s)", AIMS[what]
        report.lines.append(Line(what, words, f"<= {aim:g}", mine / theirs <= aim))
    report.fact("the world lies on", file_system_of(world.folder))
    for what, (ours, peer) in world.taken.items():
        cpus = [statistics.median(one.cpu for one in side) for side in (ours, peer)]
        peak = max(max(one.memory.values(), default=0) for one in ours) / 1e6
        report.fact(f"{what}: CPU; highest memory of a process", f"{cpus[0]:.2f} / {cpus[1]:.2f} s; {peak:.0f} MB")
    return report


# ---------------------------------------------------------------- what is measured


def _one_message(world: World, number: int) -> None:
    source = random.Random(f"{time.time_ns()} {number}")
    file = source.choice(sorted((world.mail / DOMAIN / WANTED / "cur").iterdir()))
    target = world.folder / "out"
    shutil.rmtree(target, ignore_errors=True)
    ours = world.ours("restore", "--message-id", _id_of(file), "--to", f"eml:{target}", "--yes", "--json")
    (made,) = (path for path in target.rglob("*.eml"))
    assert made.read_bytes() == file.read_bytes(), "ours is another message"
    found = world.peer("find", "--snapshot", "latest", file.name.partition(":2,")[0] + "*")
    assert file.name in found.output
    dumped = world.peer("dump", "latest", str(file), "--target", str(target / "peer.eml"))
    world.take("one message, found and fetched", ours, found, dumped)


def _to_maildir(world: World) -> None:
    ours_to, peer_to = world.folder / "out", world.folder / "out-peer"
    for folder in (ours_to, peer_to):
        shutil.rmtree(folder, ignore_errors=True)
    os.sync()
    ours = world.ours("restore", "--mailbox", f"{WANTED}@{DOMAIN}", "--to", f"maildir:{ours_to}", "--yes", "--json")
    os.sync()
    peer = world.peer("restore", "latest", "--target", str(peer_to), "--include", str(world.mail / DOMAIN / WANTED))
    for folder in (ours_to, peer_to):
        count = sum(1 for path in folder.rglob("*") if path.is_file() and path.parent.name in ("cur", "new"))
        assert count == world.messages // MAILBOXES, f"{folder}: {count} messages"
    world.take("a mailbox to a Maildir, verified", ours, peer)


def _to_imap(world: World) -> None:
    """The same Maildir into two empty mailboxes of one Dovecot."""
    if shutil.which("mbsync") is None:
        raise RuntimeError("mbsync is not installed (Debian: isync)")
    password = world.folder / "imap-password"
    password.touch(mode=0o600)
    password.write_text(dovecot.PASSWORD + "\n")
    with dovecot.running([f"{WANTED}@{DOMAIN}", f"peer@{DOMAIN}"]) as server:
        endpoint = server.endpoint
        where = (
            f'imap = {{ host = "{endpoint.host}", port = {endpoint.port}, tls = "implicit", ca_file = "{endpoint.ca_file}" }}\n'
        )
        world.config.write_text(_config(world) + where + _repository(world))
        words = ("--mailbox", f"{WANTED}@{DOMAIN}", "--to", "imap", "--imap-password-file", str(password))
        ours = world.ours("restore", *words, "--yes", "--json")
        maildir = world.folder / "mbsync"
        shutil.rmtree(maildir, ignore_errors=True)
        shutil.copytree(world.mail / DOMAIN / WANTED, maildir / "INBOX")
        old = "1.4" in subprocess.run(["mbsync", "--version"], capture_output=True, text=True, check=True).stdout
        settings = world.folder / "mbsyncrc"
        settings.write_text(
            MBSYNC.format(
                port=endpoint.port, user=f"peer@{DOMAIN}", password=password, ca=endpoint.ca_file, maildir=maildir,
                tls="SSLType" if old else "TLSType",
            )
        )  # fmt: skip
        peer = run(["mbsync", "-q", "-c", str(settings), "all"], world.environment)
        for user in (WANTED, "peer"):
            held = len(dovecot.look(server, f"{user}@{DOMAIN}")["INBOX"])
            assert held == world.messages // MAILBOXES, f"{user}: {held} messages"
    world.take("a mailbox to IMAP, read back", ours, peer)


@contextlib.contextmanager
def _without_staging(world: World) -> Iterator[None]:
    staging, aside = world.folder / "state" / "staging", world.folder / "state" / "aside"
    staging.rename(aside)
    try:
        yield
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        aside.rename(staging)


# ---------------------------------------------------------------- the world


def _make(world: World) -> None:
    """Takes some minutes; it stays for the next time."""
    shutil.rmtree(world.folder, ignore_errors=True)
    world.folder.mkdir(parents=True)
    password = world.folder / "password"
    password.touch(mode=0o600)
    password.write_text(PASSWORD + "\n")
    world.config.write_text(_config(world) + _repository(world))
    world.peer("init")
    for user in _users():
        for sub in ("cur", "new", "tmp"):
            (world.mail / DOMAIN / user / sub).mkdir(parents=True)
    deliver = _postman(world)
    for number in range(world.rounds):
        deliver(number)
        world.ours("backup", "vps", "--scheduled")
        world.peer("backup", str(world.mail))
    (world.folder / "ready").touch()


def _users() -> list[str]:
    return [f"user{number}" for number in range(MAILBOXES)]


def _postman(world: World) -> Callable[[int], None]:
    source, uids = random.Random(FORMAT), dict.fromkeys(_users(), 0)
    each = world.messages // world.rounds // MAILBOXES

    def deliver(number: int) -> None:
        for place in range(each):
            for user in _users():
                uids[user] += 1
                _write(world, source, user, uids[user], 1_700_000_000 + number * 86_400 + place * 60)
        for user in _users():
            lines = "".join(f"{uid} :{_base(user, uid)}\n" for uid in range(1, uids[user] + 1))
            head = f"3 V1700000000 N{uids[user] + 1} G{'e' * 32}\n"
            (world.mail / DOMAIN / user / "dovecot-uidlist").write_text(head + lines)
        time.sleep(2.1)  # a listing is exact two seconds after the last change

    return deliver


def _write(world: World, source: random.Random, user: str, uid: int, at: int) -> None:
    size = min(int(source.lognormvariate(0, 0.9) * MEAN * 0.67), 400_000)
    head = f"Message-ID: <{user}.{uid}@example.net>\nFrom: s{uid}@example.net\nTo: {user}@{DOMAIN}\nSubject: message {uid}\nDate: {time.ctime(at)} +0000\n\n"
    path = world.mail / DOMAIN / user / "cur" / f"{_base(user, uid)}:2,S"
    path.write_bytes(head.encode() + source.randbytes(size).translate(TEXT) + b"\n")
    os.utime(path, (at, at))


def _base(user: str, uid: int) -> str:
    return f"1700000000.M{uid}P{user[4:]}.mail"


def _id_of(file: Path) -> str:
    first = file.read_bytes().partition(b"\n")[0].decode()
    return first.removeprefix("Message-ID: ")


def _config(world: World) -> str:
    return (
        f'[controller]\nid = "nas"\nstate_dir = "{world.folder}/state"\ntime_zone = "UTC"\n'
        f'[mail_server.vps]\nlayout = "maildir"\npath = "{world.mail}"\n'
    )


def _repository(world: World) -> str:
    return f'[repository.nas]\nurl = "{world.folder}/ours"\npassword_file = "{world.folder}/password"\n'
