"""Those who look without asking failsafe: restic itself, kdig, the files on the servers' disks."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tests.demo.telling import NotVerifiedError
from tests.lab.controller import REPOSITORIES
from tests.lab.job import Job
from tests.lab.lab import Lab
from tests.lab.names import ALICE, AUTHORITATIVE, DOMAIN, RESOLVER
from tests.support import NotInTimeError, wait_until

TOOLS = Path(__file__).resolve().parent / "tools"
PASSWORD_FILE = "/etc/failsafe/repository.password"
NO_ANSWER = "no-answer"


class Stored(NamedTuple):
    """One message file of a Maildir: all that must come back."""

    folder: str
    base: str
    flags: str
    sha256: str
    modified: int
    """Seconds; Dovecot's internal date."""


def maildir(root: Path) -> set[Stored]:
    """Every message below a Maildir, `new` or `cur` alike."""
    found = set()
    for file in root.rglob("*"):
        if file.parent.name in {"cur", "new"} and file.is_file():
            base, _, flags = file.name.partition(":2,")
            folder = str(file.parent.parent.relative_to(root))
            found.add(Stored(folder, base, flags, hashlib.sha256(file.read_bytes()).hexdigest(), int(file.stat().st_mtime)))
    return found


def restic(lab: Lab, repository: str, *words: str, password_file: str = PASSWORD_FILE) -> tuple[int, str]:
    """Bare restic, as a person without failsafe would call it: exit status and standard output."""
    environment = {"RESTIC_PASSWORD_FILE": password_file, "RESTIC_REPOSITORY": REPOSITORIES[repository]}
    done = lab.nas.run("restic", "--no-cache", *words, env=environment, timeout=120, check=False)
    return done.returncode, done.stdout or done.stderr


def snapshots(lab: Lab, repository: str) -> list[Any]:
    """What restic lists in a repository."""
    status, text = restic(lab, repository, "snapshots", "--json")
    if status:
        raise NotVerifiedError(f"restic opens the repository {repository}", "exit 0", f"exit {status}: {text}")
    return list(json.loads(text))


def resolved(lab: Lab) -> list[str]:
    """The MX records as everybody's resolver gives them, by kdig."""
    return sorted(lab.nas.run("kdig", "+short", f"@{RESOLVER}", DOMAIN, "MX").stdout.split("\n")[:-1], key=preference)


def preference(record: str) -> int:
    """Of `10 mx1.example.test.`; lower is preferred."""
    return int(record.partition(" ")[0])


def union(lab: Lab, tag: str) -> dict[str, list[str]]:
    """Where each numbered message of the story lies: id -> the servers, one entry for each copy."""
    found: dict[str, list[str]] = {}
    for host in (lab.primary, lab.secondary):
        for lab_id in host.maildir_ids(ALICE):
            if lab_id.startswith(f"{tag}-"):
                found.setdefault(lab_id, []).append(host.name)
    return found


class Look(NamedTuple):
    """One answer of the authoritative name server."""

    at: float
    """Seconds since 1970."""
    records: str
    """Such as `9 mx2.example.test.;10 mx1.example.test.`; empty if it has none."""


class MxWatch:
    """kdig, asking the authoritative name server five times a second through the whole story."""

    def __init__(self, lab: Lab) -> None:
        self._job: Job = lab.nas.popen("bash", TOOLS / "watch_mx.sh", AUTHORITATIVE, DOMAIN)

    def looks(self) -> list[Look]:
        """All answers so far, the oldest first. A line that is just being written is left for next time."""
        whole, _, _ = self._job.stdout().rpartition("\n")
        return [Look(float(at), records) for at, _, records in (line.partition(" ") for line in whole.splitlines())]

    def wait_for(self, wanted: Callable[[str], bool], what: str, *, after: float, seconds: float) -> Look:
        """The first look after an instant with such records. Raises NotVerifiedError after `seconds`."""

        def seen() -> Look | None:
            return next((look for look in self.looks() if look.at > after and wanted(look.records)), None)

        try:
            found = wait_until(seen, seconds, what, every=0.1)
        except NotInTimeError:
            last = self.looks()[-1:] or [Look(0, NO_ANSWER)]
            expected = f"{what} within {seconds:g} s"
            raise NotVerifiedError("the records at the authoritative name server, by kdig", expected, last[0].records) from None
        assert found is not None
        return found

    def sets_seen(self) -> list[str]:
        """The different sets in the order they were seen; a look without an answer is no set."""
        seen: list[str] = []
        for look in self.looks():
            if look.records != NO_ANSWER and look.records not in seen[-1:]:
                seen.append(look.records)
        return seen

    def close(self) -> None:
        self._job.close()
