"""What a backup costs beside the usual way: `rsync -a --delete` over the same sshd and `restic backup` of the copy, run in turns."""

import json
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import sshd
from bench.mailstore import MailStore, made
from bench.report import ROOT, Line, Report
from bench.status import program
from bench.watched import Run, run

PLACE = Path(os.environ.get("FAILSAFE_BENCH_FOLDER", "/var/tmp/failsafe-bench"))  # the store stays there for the next time
CALM = 3.0  # seconds after a change: mail comes minutes before a backup, not in the same second
MEAN = 11_400  # bytes of a message; of a million messages a quarter of that, so that four copies fit on a small disk
FIRST = "first pull"
TARGETS = {FIRST: 1.0, "nothing changed": 0.25, "one new message": 0.65, "1,000 flag changes": 0.7}
MILLION = {"one new message": 0.4}
PASSWORD = "correct horse battery staple"
MB = 1_000_000


@dataclass(frozen=True)
class Taken:
    """One run of one side."""

    run: Run
    down: int  # bytes from the server
    up: int
    grown: int  # bytes of the repository
    server_cpu: float
    settling: float  # seconds until the disk has all of it, after a first pull


@dataclass
class Side:
    """One way to back up. `commands` gives what is run, one after the other; `keeps` is all that it keeps, the repository apart."""

    name: str
    folder: Path
    restic: Path
    server: sshd.Server
    commands: Callable[["Side"], list[list[str]]]
    taken: dict[str, list[Taken]] = field(default_factory=dict)

    @property
    def repository(self) -> Path:
        return self.folder / "repository"

    @property
    def environment(self) -> dict[str, str]:
        return restic_environment(self.restic, self.folder, self.repository)

    def measure(self, what: str) -> None:
        before, spent = _size(self.repository), self.server.cpu()
        self.server.counter.take()
        runs = [run(command, self.environment, also=self.server.pid) for command in self.commands(self)]
        settling = _seconds_of_a_sync() if what == FIRST else 0.0
        time.sleep(0.2)  # sshd counts a session's processor time when it has ended
        memory: dict[str, int] = {}
        for one in runs:
            for name, peak in one.memory.items():
                memory[name] = max(memory.get(name, 0), peak)
        whole = Run(
            sum(one.seconds for one in runs),
            sum(one.cpu for one in runs),
            memory,
            max(one.together for one in runs),
            runs[-1].output,
        )
        down, up = self.server.counter.take()
        taken = Taken(whole, down, up, _size(self.repository) - before, self.server.cpu() - spent, settling)
        self.taken.setdefault(what, []).append(taken)

    def median(self, what: str, of: Callable[[Taken], float]) -> float:
        return statistics.median(of(taken) for taken in self.taken[what])


@dataclass
class Plan:
    """How much is measured."""

    messages: int = 100_000
    runs: int = 7
    quick: bool = False  # fewer runs, no second restic: to see whether it works


def measure(plan: Plan) -> Report:
    """The figures for `backup`."""
    resolved = restic_for_benches()
    name = "backup" if plan.messages == 100_000 else f"backup-{plan.messages}"
    mean = MEAN if plan.messages < 500_000 else MEAN // 4
    PLACE.mkdir(parents=True, exist_ok=True)
    store = made(PLACE, plan.messages, mean)
    report = Report(name, _how(plan, store))
    for version, restic in resolved if not plan.quick and plan.messages <= 100_000 else resolved[:1]:
        first = version == resolved[0][0]
        runs = plan.runs if first else min(3, plan.runs)
        with _world(store, restic) as (ours, peer):
            _measure_all(store, ours, peer, runs, firsts=runs if first and plan.messages <= 100_000 and not plan.quick else 1)
            _tell(report, f"restic {version}: ", ours, peer, aims=(_aims(plan) if first else {}))
            if first:
                _growth(report, store, ours, peer, whole=plan.messages <= 200_000)
                _memory(report, ours, peer, plan)
    return report


def _aims(plan: Plan) -> dict[str, float]:
    return TARGETS if plan.messages == 100_000 else MILLION if plan.messages == 1_000_000 else {}


def _how(plan: Plan, store: MailStore) -> str:
    return (
        f"{plan.messages:,} messages, {store.size() / 1e9:.2f} GB, half of them in one folder. Ours: `failsafe backup vps --scheduled` as a process "
        "(so the daemon runs it). The peer: `rsync -a --delete` over the same sshd, then `restic backup` of the copy. In turns, on one disk, "
        f"warm caches, one local repository each, no merge due; median of {plan.runs} ({3 if plan.messages <= 100_000 else 1} for the older restic); "
        "the catalog of a first pull is made by the first run after it; changes are in the large folder, 3 s before a run, flag changes spread evenly over it. Wire: both ways, counted by a forwarder before sshd. "
        "Ratio: ours / peer."
    )


def _measure_all(store: MailStore, ours: Side, peer: Side, runs: int, *, firsts: int) -> None:
    for _ in range(firsts):
        for side in (ours, peer):
            _clear(side)
            side.measure(FIRST)
    changes: list[tuple[str, Callable[[], object]]] = [
        ("nothing changed", lambda: None),
        ("one new message", lambda: store.deliver(1)),
        ("1,000 flag changes", lambda: store.flag(1_000)),
    ]
    for what, change in changes:
        for _ in range(runs):
            change()
            time.sleep(CALM if what != "nothing changed" else 0)
            for side in (ours, peer):
                side.measure(what)


def _tell(report: Report, prefix: str, ours: Side, peer: Side, aims: dict[str, float]) -> None:
    for what in ours.taken:
        mine, theirs = (side.median(what, lambda taken: taken.run.seconds) for side in (ours, peer))
        words = f"{mine / theirs:.2f} ({mine:.2f} s / {theirs:.2f} s)"
        aim = aims.get(what)
        report.lines.append(
            Line(prefix + what, words, f"<= {aim:g}" if aim else "", None if aim is None else mine / theirs <= aim)
        )
    settled = [side.median(FIRST, lambda taken: taken.run.seconds + taken.settling) for side in (ours, peer)]
    report.fact(
        f"{prefix}{FIRST}, until the disk has all of it",
        f"{settled[0] / settled[1]:.2f} ({settled[0]:.2f} s / {settled[1]:.2f} s)",
    )
    for what in ours.taken:
        wires = [side.median(what, lambda taken: taken.down + taken.up) / MB for side in (ours, peer)]
        grown = [side.median(what, lambda taken: taken.grown) / MB for side in (ours, peer)]
        cpus = [side.median(what, lambda taken: taken.run.cpu) for side in (ours, peer)]
        there = [side.median(what, lambda taken: taken.server_cpu) for side in (ours, peer)]
        report.fact(
            f"{prefix}{what}: wire; growth; CPU here, there",
            f"{wires[0]:.2f} / {wires[1]:.2f} MB; {grown[0]:.2f} / {grown[1]:.2f} MB; {cpus[0]:.1f} / {cpus[1]:.1f} s, {there[0]:.1f} / {there[1]:.1f} s",
        )
    if aims is TARGETS:
        share = ours.median("1,000 flag changes", lambda taken: taken.down + taken.up) / peer.median(
            "1,000 flag changes", lambda taken: taken.down + taken.up
        )
        report.lines.append(Line("on the wire for 1,000 flag changes", f"{share:.0%} of rsync's", "<= 20%", share <= 0.2))
    fetched = {json.loads(taken.run.output.splitlines()[-1])["messages"]["new"] for taken in ours.taken["1,000 flag changes"]}
    report.lines.append(Line(f"{prefix}messages fetched for 1,000 flag changes", f"{max(fetched)}", "<= 0", max(fetched) == 0))
    for what in ours.taken:
        ranges = " / ".join(_range([taken.run.seconds for taken in side.taken[what]]) for side in (ours, peer))
        report.fact(f"{prefix}{what}: shortest and longest", f"{ranges} s")


def _range(seconds: Sequence[float]) -> str:
    return f"{min(seconds):.2f} to {max(seconds):.2f}"


def _growth(report: Report, store: MailStore, ours: Side, peer: Side, *, whole: bool) -> None:
    """What a snapshot adds to the repository."""
    store.flag(1)
    time.sleep(CALM)
    for side in (ours, peer):
        side.measure("one flag change")
    grown = [side.taken["one flag change"][0].grown / MB for side in (ours, peer)]
    report.lines.append(
        Line(
            "added to the repository by one flag change",
            f"{grown[0]:.3f} MB (peer: {grown[1]:.2f} MB)",
            "<= 0.1 MB",
            grown[0] <= 0.1,
        )
    )
    if not whole:
        return
    messages = store.deliver(1_000)
    time.sleep(CALM)
    ours.measure("1,000 new messages")
    packed, limit = _packed(messages, ours) / MB, 0.5
    added = ours.taken["1,000 new messages"][0].grown / MB
    report.lines.append(
        Line(
            "added to the repository by 1,000 new messages", f"{added:.2f} MB (packed alone: {packed:.2f} MB)",
            f"<= {packed + limit:.2f} MB", added <= packed + limit,
        )
    )  # fmt: skip


def _memory(report: Report, ours: Side, peer: Side, plan: Plan) -> None:
    peaks: dict[str, int] = {}
    for taken in (taken for many in ours.taken.values() for taken in many):
        for name, peak in taken.run.memory.items():
            peaks[name] = max(peaks.get(name, 0), peak)
    own = max(peak for name, peak in peaks.items() if "restic" not in name and "ssh" not in name)
    together = max(taken.run.together for many in ours.taken.values() for taken in many)
    theirs = max(taken.run.together for many in peer.taken.values() for taken in many)
    aim = 300 if plan.messages == 1_000_000 else None
    shown = ", ".join(f"{name} {peak / MB:.0f}" for name, peak in sorted(peaks.items()))
    report.lines.append(
        Line(
            "highest memory of a process of ours",
            f"{own / MB:.0f} MB",
            f"<= {aim} MB" if aim else "",
            own / MB <= aim if aim else None,
        )
    )
    aim = 512 if plan.messages == 200_000 else None
    report.lines.append(
        Line(
            "highest memory here at one moment, restic's included", f"{together / MB:.0f} MB (peer: {theirs / MB:.0f} MB)",
            f"<= {aim} MB" if aim else "", together / MB <= aim if aim else None,
        )
    )  # fmt: skip
    report.fact("highest memory by program, MB", shown)


# ---------------------------------------------------------------- the two sides


@contextmanager
def _world(store: MailStore, restic: Path) -> Iterator[tuple[Side, Side]]:
    work = PLACE / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        with sshd.running(work / "sshd") as server:
            sides = tuple(
                Side(name, work / name, restic, server, commands)
                for name, commands in (("ours", lambda side: _ours(side, store)), ("peer", lambda side: _peer(side, store)))
            )
            yield sides[0], sides[1]
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _seconds_of_a_sync() -> float:
    """rsync and restic leave much to the kernel; we wait for the disk before anything is called kept."""
    began = time.monotonic()
    os.sync()
    return time.monotonic() - began


def _clear(side: Side) -> None:
    shutil.rmtree(side.folder, ignore_errors=True)
    side.folder.mkdir()
    subprocess.run(["restic", "init"], env=side.environment, check=True, capture_output=True)
    os.sync()  # the deletion is nobody's cost


def _ours(side: Side, store: MailStore) -> list[list[str]]:
    config, server = side.folder / "failsafe.toml", side.server
    if not config.exists():
        (side.folder / "password").touch(mode=0o600)
        (side.folder / "password").write_text(PASSWORD + "\n")
        config.write_text(
            f'[controller]\nid = "nas"\nstate_dir = "{side.folder}/state"\ntime_zone = "UTC"\n'
            f'[mail_server.vps]\nlayout = "maildir"\npath = "{store.root}"\nssh = "root@127.0.0.1:{server.port}"\n'
            f'ssh_key = "{server.key}"\nknown_hosts = "{server.known_hosts}"\n'
            f'[repository.nas]\nurl = "{side.repository}"\npassword_file = "{side.folder}/password"\n'
        )
    return [[*program(), "--config", str(config), "backup", "vps", "--scheduled", "--json"]]


def _peer(side: Side, store: MailStore) -> list[list[str]]:
    copy = side.folder / "copy"
    return [
        ["rsync", "-a", "--delete", "-e", " ".join(side.server.ssh), f"root@127.0.0.1:{store.root}/", f"{copy}/"],
        ["restic", "backup", "--quiet", str(copy)],
    ]


def _packed(messages: list[Path], side: Side) -> int:
    """What these messages alone need in an empty repository."""
    folder = side.folder / "alone"
    shutil.copytree(messages[0].parent, folder, ignore=lambda _, names: set(names) - {path.name for path in messages})
    alone = {**side.environment, "RESTIC_REPOSITORY": str(side.folder / "alone-repository")}
    for words in (["init"], ["backup", str(folder)]):
        subprocess.run(["restic", *words], env=alone, check=True, capture_output=True)
    return _size(side.folder / "alone-repository" / "data")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def restic_environment(restic: Path, folder: Path, repository: Path) -> dict[str, str]:
    """For everything that is measured: this restic first, a home and a cache of its own below `folder`."""
    return {
        "PATH": f"{restic.parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "RESTIC_PASSWORD": PASSWORD,
        "RESTIC_REPOSITORY": str(repository),
        "RESTIC_CACHE_DIR": str(folder / "cache"),
    }


def restic_for_benches() -> list[tuple[str, Path]]:
    """(version, program), 0.18 first, then 0.14: those of Debian 13 and 12."""
    told = subprocess.run([str(ROOT / "tests" / "tools" / "more-restics.sh")], capture_output=True, text=True, check=True).stdout
    found = [Path(path) for path in told.strip().split(":") if path] + [Path(shutil.which("restic") or "restic")]
    versions = {
        path: subprocess.run([path, "version"], capture_output=True, text=True, check=True).stdout.split()[1] for path in found
    }
    wanted = [(version, path) for wanted in ("0.18", "0.14") for path, version in versions.items() if version.startswith(wanted)]
    if not wanted:
        raise RuntimeError(f"no restic 0.18 or 0.14 was found, only {sorted(versions.values())}")
    return wanted
