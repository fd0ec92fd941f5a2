"""A small mail world for the archive's tests: the same every time, and awkward wherever mail is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from failsafe.backup.archive import Staging
from failsafe.mail.manifest import Entry, FolderManifest, Generation, GenerationDraft, MailboxManifest
from failsafe.model import Result

AT = datetime(2026, 11, 22, 17, 0, tzinfo=UTC)
ANNA = "anna@example.org"
BERT = "bert@example.org"


@dataclass(frozen=True)
class Mail:
    """A message as it lies on the server."""

    data: bytes
    name: str
    uid: int | None = None
    flags: str = ""
    keywords: tuple[str, ...] = ()
    internal_date: int = 1_700_000_000


@dataclass(frozen=True)
class Folder:
    name: str
    directory: str
    mails: tuple[Mail, ...]
    uid_validity: int | None = 1_600_000_000
    uid_next: int | None = 1000
    guid: str = ""
    subscribed: bool = False
    keyword_letters: tuple[str, ...] = ()


def message(text: str) -> bytes:
    return f"From: a@example.net\nTo: {ANNA}\nSubject: {text}\nMessage-ID: <{text}@example.net>\n\n{text}\n".encode()


def mails(count: int, start: int = 1, **changes: object) -> tuple[Mail, ...]:
    """Messages numbered from `start`; a third of them flagged, read and marked in turn."""
    made = []
    for uid in range(start, start + count):
        plain = Mail(message(f"number {uid}"), f"17{uid:08d}.M1P1.host,S=1", uid, ("", "S", "FS")[uid % 3])
        made.append(replace(plain, keywords=("$Work",) if uid % 5 == 0 else (), internal_date=1_600_000_000 + uid, **changes))  # type: ignore[arg-type]
    return tuple(made)


WORLD: dict[str, tuple[str, tuple[Folder, ...]]] = {
    ANNA: (
        "maildir++",
        (
            Folder("INBOX", "", mails(20), guid="0123456789abcdef" * 2, subscribed=True, keyword_letters=("", "$Work")),
            Folder("Entwürfe", ".Entw&APw-rfe", (Mail(b"a NUL \0 and a CR \r alone\r\n", "1.draft", 7, "DS"),), subscribed=True),
            Folder("Archive/2026", ".Archive.2026", (Mail(message("number 3"), "1700000003.copy", 1, "S", ("a", "b")),)),
            Folder(
                "with space", ".with space", (Mail(message("odd"), "1.\udcff.odd", None, "", ("$Label1",)),), uid_validity=None
            ),
        ),
    ),
    BERT: (
        "fs",
        (
            Folder("INBOX", "", (Mail(b"", "1.empty", 1), Mail(b"no end of line", "2.short", 2, "S"))),
            Folder("a.b/Entwürfe", "a.b/Entw&APw-rfe", mails(3, 5), guid="f" * 32),
        ),
    ),
}


def store(staging: Staging, world: dict[str, tuple[str, tuple[Folder, ...]]], **changes: object) -> Generation:
    """Everything as a pull would do it: segments, shards, manifests, one generation."""
    manifests: dict[str, str] = {}
    total = 0
    for mailbox, (layout, folders) in world.items():
        with staging.segment_writer(mailbox) as writer:
            kept = [(folder, tuple(_entries(writer, folder.mails))) for folder in folders]
        segments = tuple(sealed.name for sealed in writer.sealed)
        subscriptions = staging.store_file("subscriptions", b"V\t2\n\nINBOX\n", mode=0o640, mtime=1_650_000_000)
        manifest = MailboxManifest(
            mailbox,
            layout,
            tuple(folder_manifest(staging, folder, entries) for folder, entries in kept),
            segments,
            (subscriptions,),
        )
        manifests[mailbox] = staging.write_mailbox(manifest)
        total += sum(len(entries) for _, entries in kept)
    files = [staging.store_file("etc/postfix/main.cf", b"myhostname = mail.example.org\n", uid=5, gid=6, mode=0o644)]
    draft = GenerationDraft(AT, Result.OK, total, manifests, files, notes={"exclude_folders": ["Trash"]})
    return staging.commit(replace(draft, **changes))  # type: ignore[arg-type]


def folder_manifest(staging: Staging, folder: Folder, entries: Iterable[Entry]) -> FolderManifest:
    listed = tuple(entries)
    return FolderManifest(
        folder.name,
        folder.directory,
        staging.write_shards(listed),
        len(listed),
        folder.uid_validity,
        folder.uid_next,
        folder.guid,
        folder.subscribed,
        folder.keyword_letters,
    )


def _entries(writer: object, given: Iterable[Mail]) -> Iterable[Entry]:
    for mail in given:
        stored = writer.add([mail.data])  # type: ignore[attr-defined]
        yield Entry(mail.uid, stored.id, stored.canonical, mail.flags, mail.keywords, mail.internal_date, mail.name, stored.size)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
