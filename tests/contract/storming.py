"""Pulls while a storm blows over the store, judged by the storm's own witness; and the same with rsync and restic in our place."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from failsafe.backup.pull import PullReport
from failsafe.ports import MailHost
from tests.contract import imap_storm, storm
from tests.contract.dovecot import PASSWORD, Dovecot
from tests.contract.mailstore import Store
from tests.support import wait_until

SLOWEST = 300  # renames a second that a storm must have made to be one
PATIENCE = 120.0  # seconds for a storm to begin, to tell and to end


@dataclass
class Blowing:
    """A storm in a process of its own."""

    process: subprocess.Popen[str]
    folder: Path
    marks: int = 0

    def mark(self) -> dict[str, object]:
        """What was there all the time since the mark before, and how it blew meanwhile."""
        self.marks += 1
        told = self.folder / f"mark-{self.marks}"
        self._say(f"mark {told}")
        wait_until(lambda: told.exists() or self.process.poll() is not None, PATIENCE, "the storm tells")
        return dict(json.loads(told.read_text()))

    def stop(self) -> str:
        self._say("stop")
        return self.process.communicate(timeout=PATIENCE)[0].strip()

    def _say(self, words: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(words + "\n")
        self.process.stdin.flush()


@contextmanager
def blowing(base: Path, seed: int, *, messages: int = storm.MESSAGES) -> Iterator[Blowing]:
    """A storm over `base`/mail that has begun to blow. Afterwards what it remembers is compared with what lies on the disk."""
    base.mkdir(parents=True, exist_ok=True)
    with _blowing(base, [storm.__file__, str(base / "mail"), str(seed), str(messages)]) as made:
        yield made


@contextmanager
def clients_at_work(base: Path, server: Dovecot, user: str, seed: int) -> Iterator[Blowing]:
    """Real clients over IMAP, on a real server."""
    with _blowing(base, [imap_storm.__file__, str(server.port), user, PASSWORD, str(seed)]) as made:
        yield made


@contextmanager
def _blowing(base: Path, words: list[str]) -> Iterator[Blowing]:
    command = [sys.executable, *words]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline().strip() == "built"
        made = Blowing(process, base)
        made._say("storm")
        made.mark()  # it answers, so it blows
        yield made
        assert made.stop() == "the witness is right"
    finally:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class Judged:
    """One run in a storm. `lost`: contents that were there all the time and are not in what it made."""

    seed: int
    result: str
    lost: int
    there: int  # contents that were there all the time
    named: int  # places that it called missing
    rate: float  # renames a second while it ran
    seconds: float
    report: PullReport | None = None

    @property
    def is_true(self) -> bool:
        """`ok` with nothing lost, or something named."""
        return self.lost == 0 if self.result == "ok" else self.named > 0

    @property
    def row(self) -> str:
        return (
            f"{self.seed:>5} {self.result:<10} {self.lost:>5} lost of {self.there:,}; {self.named} named; "
            f"{self.rate:.0f} renames/s for {self.seconds:.0f} s"
        )


def judge(
    blow: Blowing, seed: int, run: Callable[[], tuple[str, int, PullReport | None]], held: Callable[[], set[str]]
) -> Judged:
    """Runs it between two marks; `run` gives result, places named, report; `held` the contents it kept."""
    blow.mark()
    result, named, report = run()
    told = blow.mark()
    throughout = told["throughout"]
    rate, seconds = told["rate"], told["seconds"]
    assert isinstance(throughout, list)
    assert isinstance(rate, float)
    assert isinstance(seconds, float)
    lost = set(throughout) - held()
    return Judged(seed, result, len(lost), len(throughout), named, rate, seconds, report)


def judge_ours(store: Store, host: MailHost, blow: Blowing, seed: int) -> Judged:
    def run() -> tuple[str, int, PullReport]:
        report = store.pull(calm=False, host=host)
        return str(report.result), len(report.missing), report

    return judge(blow, seed, run, lambda: {id_ for _, _, id_ in store.archived()})


def judge_peer(base: Path, ssh: list[str], address: str, blow: Blowing, seed: int) -> Judged:
    """`rsync -a --delete` over the same sshd, then `restic backup`, judged by what restic gives back. Its exit codes are its only word."""
    copy, back = base / "copy", base / "back"
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(base), "RESTIC_REPOSITORY": str(base / "repository"), "RESTIC_PASSWORD": "test",
    }  # fmt: skip

    def restic(*words: str, cwd: Path = base) -> int:
        return subprocess.run(
            ["restic", *words], env=environment, cwd=cwd, capture_output=True, timeout=600, check=False
        ).returncode

    copy.mkdir()
    assert restic("init") == 0

    def run() -> tuple[str, int, None]:
        pulled = ["rsync", "-a", "--delete", "-e", " ".join(ssh), f"{address}:{base}/mail/", f"{copy}/"]
        codes = [
            subprocess.run(pulled, capture_output=True, timeout=600, check=False).returncode,
            restic("backup", ".", cwd=copy),
        ]
        # 24: files vanished, which every guide tells people to take for success
        return "ok" if codes[0] in (0, 24) and codes[1] == 0 else "failed", 0, None

    def held() -> set[str]:
        assert restic("restore", "latest", "--target", str(back)) == 0
        found = {hashlib.sha256(path.read_bytes()).hexdigest() for path in back.rglob("*") if path.parent.name in ("cur", "new")}
        shutil.rmtree(back)
        return found

    return judge(blow, seed, run, held)
