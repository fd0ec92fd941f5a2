"""Small real archives for tests: a dictionary of folders becomes a generation in a staging folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from failsafe.backup.archive import Staging
from failsafe.mail.identity import digests
from failsafe.mail.manifest import Entry, FolderManifest, Generation, GenerationDraft, MailboxManifest
from failsafe.model import Result


@dataclass(frozen=True)
class Mail:
    """A message in a folder. `name` is its file's base name."""

    data: bytes
    name: str
    flags: str = ""
    keywords: tuple[str, ...] = ()
    internal_date: int = 1_700_000_000
    uid: int | None = None
    gone_at: str | None = None

    @property
    def id(self) -> str:
        return digests(self.data)[0]

    @property
    def canonical(self) -> str:
        return digests(self.data)[1]


def mail(
    number: int, *, subject: str | None = None, sender: str = "ann@example.org", body: str = "Hello\n", **more: object
) -> Mail:
    """A plain message; equal numbers give equal bytes."""
    text = (
        f"From: {sender}\nTo: bob@example.org\nSubject: {subject or f'message {number}'}\n"
        f"Message-ID: <{number}@test>\nDate: Tue, 14 Nov 2023 22:13:{number % 60:02d} +0000\n\n{body}"
    )
    return Mail(text.encode(), f"1700000000.M{number}.host", internal_date=1_700_000_000 + number, **more)  # type: ignore[arg-type]


class World:
    """One server's staging folder, filled generation by generation."""

    def __init__(self, folder: Path, server: str = "vps") -> None:
        self.staging = Staging.open(folder, server)
        self.segments: dict[str, tuple[str, ...]] = {}
        self.places: dict[str, str] = {}  # id -> segment

    def commit(
        self, at: datetime, mailboxes: Mapping[str, Mapping[str, Sequence[Mail]]], *, result: Result = Result.OK
    ) -> Generation:
        manifests, messages = {}, 0
        for mailbox, folders in mailboxes.items():
            self._store(mailbox, [message for held in folders.values() for message in held])
            rows = []
            for name, held in folders.items():
                entries = [_entry(message) for message in held]
                directory = "" if name == "INBOX" else "." + name.replace("/", ".")
                rows.append(FolderManifest(name, directory, self.staging.write_shards(entries), len(entries), 1, 1000))
                messages += len(entries)
            manifest = MailboxManifest(mailbox, "maildir++", tuple(rows), self.segments[mailbox])
            manifests[mailbox] = self.staging.write_mailbox(manifest)
        return self.staging.commit(GenerationDraft(at=at, result=result, messages=messages, mailboxes=manifests))

    def _store(self, mailbox: str, messages: Sequence[Mail]) -> None:
        with self.staging.segment_writer(mailbox, known=lambda id_: id_ in self.places) as writer:
            for message in messages:
                writer.add([message.data])
        self.places |= {line.id: sealed.name for sealed in writer.sealed for line in sealed.lines}
        self.segments[mailbox] = tuple(
            dict.fromkeys((*self.segments.get(mailbox, ()), *(self.places[held.id] for held in messages)))
        )


def moment(hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 11, 20, hour, minute, tzinfo=UTC)


def _entry(message: Mail) -> Entry:
    id_, canonical = digests(message.data)
    return Entry(
        message.uid,
        id_,
        canonical,
        message.flags,
        message.keywords,
        message.internal_date,
        message.name,
        len(message.data),
        message.gone_at,
    )
