"""How a restore drill went: evidence as frozen values, for people, scripts and the store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from failsafe.backup.drill import Canary
from failsafe.backup.drill_words import FAILED, PASSED
from failsafe.backup.report import Trouble
from failsafe.errors import EXIT_EXTERNAL, EXIT_FINDINGS, EXIT_OK

FAULTS_NAMED = 100  # in the evidence; all are counted


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that did not come back as the manifest promises. What is not known or not meant is empty."""

    text: str
    mailbox: str = ""
    folder: str = ""
    message: str = ""

    def __str__(self) -> str:
        place = " / ".join(part for part in (self.mailbox, self.folder, self.message) if part)
        return f"{place}: {self.text}" if place else self.text


@dataclass(frozen=True, slots=True)
class Timing:
    """The recovery time, in seconds, by what it was spent on."""

    restic: float = 0.0  # from the question for snapshots to the last file fetched
    rebuild: float = 0.0  # rebuild.py
    open: float = 0.0  # until the first folder of each mailbox could be read
    compare: float = 0.0  # every message read and compared: a person who restores would not wait for it

    def __add__(self, other: Timing) -> Timing:
        return Timing(
            self.restic + other.restic, self.rebuild + other.rebuild, self.open + other.open, self.compare + other.compare
        )

    @property
    def recovery(self) -> float:
        """Until the mail could be read again."""
        return self.restic + self.rebuild + self.open

    def to_json(self) -> dict[str, float]:
        return {name: round(getattr(self, name), 3) for name in ("restic", "rebuild", "open", "compare")}


@dataclass(frozen=True, slots=True)
class MailboxDrill:
    """One mailbox of a drill, or a part of it."""

    mailbox: str
    part: str  # whole | sample | canary: that message alone
    messages: int  # compared
    bytes: int  # of those messages
    ok: bool

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("mailbox", "part", "messages", "bytes", "ok")}


@dataclass(frozen=True, slots=True)
class ServerDrill:
    """One server's part. `snapshot_id` "": there was none to try. `trouble`: it could not be tried, which says nothing about the mail."""

    server: str
    snapshot_id: str = ""
    snapshot_at: datetime | None = None
    generation: int | None = None
    mailboxes: tuple[MailboxDrill, ...] = ()
    canary: Canary | None = None
    opened_with: str = ""
    timing: Timing = field(default_factory=Timing)
    faults: tuple[Fault, ...] = ()  # the first of them
    fault_count: int = 0
    notes: tuple[str, ...] = ()
    trouble: Trouble | None = None

    @property
    def ok(self) -> bool:
        return self.trouble is None and not self.fault_count

    def to_json(self) -> dict[str, Any]:
        canary = self.canary
        return {
            "server": self.server,
            "ok": self.ok,
            "snapshot_id": self.snapshot_id or None,
            "snapshot_at": _instant(self.snapshot_at),
            "generation": self.generation,
            "mailboxes": [each.to_json() for each in self.mailboxes],
            "canary": None
            if canary is None
            else {
                "mailbox": canary.mailbox,
                "folder": canary.folder,
                "id": canary.entry.id,
                "internal_date": canary.entry.internal_date,
            },
            "opened_with": self.opened_with or None,
            "seconds": self.timing.to_json(),
            "findings": [
                {"mailbox": each.mailbox, "folder": each.folder, "message": each.message, "text": each.text}
                for each in self.faults[:FAULTS_NAMED]
            ],
            "finding_count": self.fault_count,
            "notes": list(self.notes),
            **({} if self.trouble is None else {"error": self.trouble.text, "mend": self.trouble.mend}),
        }


@dataclass(frozen=True, slots=True)
class DrillReport:
    """One repository's drill: every server whose mail it holds."""

    repository: str
    started_at: datetime
    ended_at: datetime
    servers: tuple[ServerDrill, ...] = ()
    trouble: Trouble | None = None  # the repository could not be asked at all

    @property
    def result(self) -> str:
        """`passed` only where something was brought back, and all of it was right."""
        tried = any(server.snapshot_id for server in self.servers)
        return PASSED if tried and self.trouble is None and all(server.ok for server in self.servers) else FAILED

    @property
    def was_tried(self) -> bool:
        """False: something in between failed, so that nobody knows how the mail is."""
        return self.trouble is None and all(server.trouble is None for server in self.servers)

    @property
    def exit_code(self) -> int:
        if not self.was_tried:
            return EXIT_EXTERNAL
        return EXIT_OK if self.result == PASSED else EXIT_FINDINGS

    @property
    def timing(self) -> Timing:
        return sum((server.timing for server in self.servers), Timing())

    @property
    def messages(self) -> int:
        return sum(each.messages for server in self.servers for each in server.mailboxes)

    @property
    def bytes(self) -> int:
        return sum(each.bytes for server in self.servers for each in server.mailboxes)

    @property
    def mailboxes(self) -> int:
        return sum(len(server.mailboxes) for server in self.servers)

    @property
    def opened_with(self) -> str:
        return ", ".join(dict.fromkeys(server.opened_with for server in self.servers if server.opened_with))

    @property
    def first_fault(self) -> str:
        """What is wrong, in one line; "" where it passed."""
        troubles = [trouble.text for trouble in (self.trouble, *(server.trouble for server in self.servers)) if trouble]
        faults = [str(fault) for server in self.servers for fault in server.faults]
        count = sum(server.fault_count for server in self.servers)
        more = f" (and {count - 1} more)" if count > 1 and not troubles else ""
        return "" if self.result == PASSED else next(iter((*troubles, *faults)), "nothing could be tried").splitlines()[0] + more

    def to_json(self) -> dict[str, Any]:
        line = {
            "repository": self.repository,
            **self.summary(),
            "servers": [server.to_json() for server in self.servers],
        }
        return line if self.trouble is None else {**line, "error": self.trouble.text, "mend": self.trouble.mend}

    def summary(self) -> dict[str, Any]:
        """What `status` shows of it: JSON values."""
        timing = self.timing
        return {
            "at": _instant(self.ended_at),
            "result": self.result,
            "seconds": round(timing.recovery, 3),
            "seconds_by_step": timing.to_json(),
            "mailboxes": self.mailboxes,
            "messages": self.messages,
            "bytes": self.bytes,
            "opened_with": self.opened_with or None,
            "finding": self.first_fault or None,
            "findings": sum(server.fault_count for server in self.servers),
            "tried": self.was_tried,
        }


def last_drilled(reports: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], datetime]:
    """(server, mailbox) -> when it last came back well. Only a drill that passed counts: another is made again, with the same choice."""
    found: dict[tuple[str, str], datetime] = {}
    for report in (each for each in reports if each["result"] == PASSED):
        at = datetime.fromisoformat(report["at"])
        for server in report["servers"]:
            for each in server["mailboxes"]:
                key = server["server"], each["mailbox"]
                if each["part"] != "canary" and at > found.get(key, at.min.replace(tzinfo=at.tzinfo)):
                    found[key] = at
    return found


def _instant(at: datetime | None) -> str | None:
    return None if at is None else f"{at:%Y-%m-%dT%H:%M:%SZ}"
