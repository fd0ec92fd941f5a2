"""What the archive knows about messages, folders and mailboxes: frozen values, and their JSON (docs/archive-format.md).

Names of files and folders are bytes on a server; here they are text by surrogateescape, and JSON carries the odd byte as `\\udcXX`.
Every decoder raises ArchiveError saying what is wrong; unknown keys are ignored, so a later version may add some.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import combinations
from json.encoder import encode_basestring_ascii as quoted
from typing import TypeVar

from failsafe.errors import ArchiveError
from failsafe.model import Result

FORMAT = 1  # of generations, manifests, shards, lists and segments together
FLAGS = "DFPRST"  # Maildir's letters: draft, flagged, passed, replied, seen, trashed
DIGEST = re.compile(r"[0-9a-f]{64}\Z")
LAYOUTS = ("maildir++", "fs")
_DIGEST_LINE = b'\n"digest": "'

_ENCODER = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"))
_FLAG_SETS = frozenset("".join(letters) for count in range(len(FLAGS) + 1) for letters in combinations(FLAGS, count))

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry:
    """One message in one folder."""

    uid: int | None  # None: the server had not numbered it yet
    id: str  # SHA-256 of the stored bytes
    canonical: str  # see failsafe/mail/identity.py
    flags: str  # letters of FLAGS, sorted
    keywords: tuple[str, ...]  # names, sorted
    internal_date: int  # seconds since the epoch: the file's mtime
    name: str  # the file's base name, before ":2,"
    size: int  # bytes as stored
    gone_at: str | None = None  # ISO 8601 UTC: vanished on the server while a guard stood


@dataclass(frozen=True, slots=True)
class FolderManifest:
    """One folder: what a mail server keeps beside its messages, and the shards that hold its entries."""

    name: str  # IMAP name in UTF-8 with "/", "INBOX" for the root
    directory: str  # below the mailbox's folder, as on the server; "" for INBOX
    shards: tuple[str, ...] = ()
    messages: int = 0  # entries in the shards, those that are gone included
    uid_validity: int | None = None
    uid_next: int | None = None
    guid: str = ""  # 32 hexadecimal digits, or "" where not known
    subscribed: bool = False
    keyword_letters: tuple[str, ...] = ()  # names in the order of the letters a…z on the server, "" for a free letter
    uses: tuple[str, ...] = ()  # what the server says that it is for (RFC 6154), in lower case; only over IMAP


@dataclass(frozen=True, slots=True)
class FileRef:
    """A file kept beside the mail. `path` is relative: to the mailbox's folder, or to the server's root."""

    path: str
    digest: str  # SHA-256 of the content, and its name below files/
    size: int  # bytes
    mode: int = 0o600
    uid: int = 0
    gid: int = 0
    mtime: int = 0  # seconds since the epoch


@dataclass(frozen=True, slots=True)
class MailboxManifest:
    mailbox: str  # user@domain
    layout: str  # one of LAYOUTS
    folders: tuple[FolderManifest, ...] = ()
    segments: tuple[str, ...] = ()  # all that hold its messages, other mailboxes' among them
    files: tuple[FileRef, ...] = ()  # control files: subscriptions, acl, sieve…


@dataclass(frozen=True, slots=True)
class Missing:
    """A message that is known to exist and is not in the archive, and why."""

    mailbox: str
    folder: str
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class GenerationDraft:
    """A generation before it is committed: all that its number and the lists' names do not depend on."""

    at: datetime  # aware UTC: when the pull that made it ended
    result: Result
    messages: int  # entries in all mailboxes; a copy counts twice
    mailboxes: Mapping[str, str]  # mailbox -> name of its manifest
    files: Iterable[FileRef] = ()
    controller: Iterable[FileRef] = ()
    missing: tuple[Missing, ...] = ()
    notes: Mapping[str, object] = field(default_factory=dict)  # JSON values: excluded folders and the like


@dataclass(frozen=True, slots=True)
class Generation:
    """One complete state of a server's archive; names every file that belongs to it."""

    number: int
    server: str
    at: datetime
    result: Result
    messages: int
    mailboxes: Mapping[str, str]
    files: str | None = None  # name of the list below lists/, None where there are no files
    controller: str | None = None
    missing: tuple[Missing, ...] = ()
    notes: Mapping[str, object] = field(default_factory=dict)
    format: int = FORMAT


def is_digest(text: object) -> bool:
    return isinstance(text, str) and DIGEST.match(text) is not None


def encode_entry(entry: Entry) -> bytes:
    """One line of a shard, the newline included. What is empty is left out; `canonical` too where it equals `id`."""
    _check_entry(entry)
    parts = [f'{{"id":"{entry.id}","name":{quoted(entry.name)},"size":{entry.size},"internal_date":{entry.internal_date}']
    if entry.uid is not None:
        parts.append(f'"uid":{entry.uid}')
    if entry.canonical != entry.id:
        parts.append(f'"canonical":"{entry.canonical}"')
    if entry.flags:
        parts.append(f'"flags":"{entry.flags}"')
    if entry.keywords:
        parts.append(f'"keywords":{_json(entry.keywords)}')
    if entry.gone_at is not None:
        parts.append(f'"gone_at":{quoted(entry.gone_at)}')
    return (",".join(parts) + "}\n").encode("ascii")


def decode_entry(line: bytes | str) -> Entry:
    def build(row: dict[str, object]) -> Entry:
        id_ = _text(row["id"])
        entry = Entry(
            uid=None if row.get("uid") is None else _integer(row["uid"]),
            id=id_,
            canonical=_text(row.get("canonical", id_)),
            flags=_text(row.get("flags", "")),
            keywords=_texts(row.get("keywords", [])),
            internal_date=_integer(row["internal_date"]),
            name=_text(row["name"]),
            size=_integer(row["size"]),
            gone_at=None if row.get("gone_at") is None else _text(row["gone_at"]),
        )
        _check_entry(entry)
        return entry

    return _decoded("an entry", line, build)


def encode_mailbox(manifest: MailboxManifest) -> bytes:
    """The file of one mailbox: one folder or file a line, so that a person can read it too."""
    if manifest.layout not in LAYOUTS:
        raise ArchiveError(f"mailbox {manifest.mailbox}: unknown layout {manifest.layout!r}")
    head = {"format": FORMAT, "mailbox": manifest.mailbox, "layout": manifest.layout}
    parts = [f'"{key}": {_json(value)}' for key, value in head.items()]
    for key, rows in (
        ("folders", [_json(_folder_row(folder)) for folder in manifest.folders]),
        ("files", [_json(_file_row(file)) for file in manifest.files]),
        ("segments", [_json(name) for name in manifest.segments]),
    ):
        parts.append(f'"{key}": [' + ",".join(f"\n {row}" for row in rows) + "]")
    return ("{" + ",\n".join(parts) + "}\n").encode("ascii")


def decode_mailbox(data: bytes) -> MailboxManifest:
    def build(row: dict[str, object]) -> MailboxManifest:
        _check_format(row)
        layout = _text(row["layout"])
        if layout not in LAYOUTS:
            raise ValueError(f"unknown layout {layout!r}")
        return MailboxManifest(
            mailbox=_text(row["mailbox"]),
            layout=layout,
            folders=tuple(_folder(item) for item in _rows(row["folders"])),
            segments=_digests(row["segments"]),
            files=tuple(_file(item) for item in _rows(row["files"])),
        )

    return _decoded("a mailbox manifest", data, build)


def encode_files(files: Iterable[FileRef]) -> Iterator[bytes]:
    """The lines of a list of files, sorted by path so that equal files make an equal list."""
    for file in sorted(files, key=lambda file: file.path):
        yield _line(_file_row(file))


def decode_file(line: bytes) -> FileRef:
    return _decoded("a list of files", line, _file)


def encode_generation(generation: Generation) -> bytes:
    """The file of a generation. Its last line is the SHA-256 of all bytes before that line."""
    row: dict[str, object] = {
        "format": generation.format,
        "number": generation.number,
        "server": generation.server,
        "at": generation.at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "result": generation.result.value,
        "messages": generation.messages,
        "mailboxes": dict(sorted(generation.mailboxes.items())),
        "files": generation.files,
        "controller": generation.controller,
        "missing": [{"mailbox": m.mailbox, "folder": m.folder, "name": m.name, "why": m.why} for m in generation.missing],
        "notes": dict(generation.notes),
    }
    head = ("{" + "".join(f"\n{_json(key)}: {_json(value)}," for key, value in row.items()) + "\n").encode("ascii")
    return head + f'"digest": "{hashlib.sha256(head).hexdigest()}"}}\n'.encode("ascii")


def decode_generation(data: bytes) -> Generation:
    head, found, tail = data.rpartition(_DIGEST_LINE)
    if not found or tail != f'{hashlib.sha256(head + bytes([10])).hexdigest()}"}}\n'.encode("ascii"):
        raise ArchiveError("a generation: its digest does not match its content", transient=False)
    return _decoded("a generation", data, _generation)


def _generation(row: dict[str, object]) -> Generation:
    _check_format(row)
    mailboxes, notes = row["mailboxes"], row.get("notes", {})
    if not isinstance(mailboxes, dict) or not isinstance(notes, dict):
        raise TypeError("mailboxes and notes are objects")
    _digests(list(mailboxes.values()))
    lists = [None if row.get(key) is None else _digests([row[key]])[0] for key in ("files", "controller")]
    return Generation(
        number=_integer(row["number"]),
        server=_text(row["server"]),
        at=datetime.fromisoformat(_text(row["at"])).astimezone(UTC),
        result=Result(_text(row["result"])),
        messages=_integer(row["messages"]),
        mailboxes=mailboxes,
        files=lists[0],
        controller=lists[1],
        missing=tuple(
            Missing(*(_text(item[key]) for key in ("mailbox", "folder", "name", "why"))) for item in _rows(row["missing"])
        ),
        notes=notes,
        format=_integer(row["format"]),
    )


def _folder_row(folder: FolderManifest) -> dict[str, object]:
    return {
        "name": folder.name,
        "directory": folder.directory,
        "uid_validity": folder.uid_validity,
        "uid_next": folder.uid_next,
        "guid": folder.guid,
        "subscribed": folder.subscribed,
        "keyword_letters": folder.keyword_letters,
        "messages": folder.messages,
        "shards": folder.shards,
        **({"uses": folder.uses} if folder.uses else {}),
    }


def _folder(row: dict[str, object]) -> FolderManifest:
    return FolderManifest(
        name=_text(row["name"]),
        directory=_text(row["directory"]),
        shards=_digests(row["shards"]),
        messages=_integer(row["messages"]),
        uid_validity=None if row.get("uid_validity") is None else _integer(row["uid_validity"]),
        uid_next=None if row.get("uid_next") is None else _integer(row["uid_next"]),
        guid=_text(row.get("guid", "")),
        subscribed=row.get("subscribed") is True,
        keyword_letters=_texts(row.get("keyword_letters", [])),
        uses=_texts(row.get("uses", [])),
    )


def _file_row(file: FileRef) -> dict[str, object]:
    return {
        "path": file.path,
        "digest": file.digest,
        "size": file.size,
        "mode": file.mode,
        "uid": file.uid,
        "gid": file.gid,
        "mtime": file.mtime,
    }


def _file(row: dict[str, object]) -> FileRef:
    numbers = (_integer(row[key]) for key in ("size", "mode", "uid", "gid", "mtime"))
    return FileRef(_text(row["path"]), _digests([row["digest"]])[0], *numbers)


def _check_entry(entry: Entry) -> None:
    """What a reader relies on; raised here, where the fault is made, instead of years later."""
    fault = _fault(entry)
    if fault:
        raise ArchiveError(f"message {entry.name!r} ({entry.id}): {fault}", transient=False)


def _fault(entry: Entry) -> str:
    """The first thing that is wrong with an entry; called for every message, so nothing is formatted before it is needed."""
    try:
        for text in (entry.name, *entry.keywords):
            if not text.isascii():
                text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        return f"{error.object!r} holds a lone surrogate that is no escaped byte"
    if not is_digest(entry.id) or not is_digest(entry.canonical):
        return "a digest is not 64 hexadecimal digits"
    if entry.flags not in _FLAG_SETS:
        return f"flags {entry.flags!r} are not sorted letters of {FLAGS}"
    if len(entry.keywords) > 1 and list(entry.keywords) != sorted(set(entry.keywords)):
        return "keywords are not sorted, or not unique"
    if entry.uid is not None and not 0 < entry.uid < 2**32:
        return f"UID {entry.uid} is outside 1…4294967295 (RFC 3501)"
    if entry.size < 0:
        return "a negative size"
    return "" if entry.name else "an empty name"


def _json(value: object) -> str:
    return _ENCODER.encode(value)


def _line(row: dict[str, object]) -> bytes:
    return _json(row).encode("ascii") + b"\n"


def _decoded(what: str, data: bytes | str, build: Callable[[dict[str, object]], T]) -> T:
    try:
        return build(_rows([json.loads(data)])[0])
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise ArchiveError(f"{what} is not readable: {type(error).__name__} {error}", transient=False) from error


def _check_format(row: Mapping[str, object]) -> None:
    number = _integer(row["format"])
    if number != FORMAT:
        raise ArchiveError(
            f"archive format {number} is not known here (known: {FORMAT})",
            mend="use a newer failsafe, or the rebuild.py beside it",
        )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    value.encode("utf-8", "surrogateescape")  # raises for what cannot be a file's name: a lone surrogate that is no escaped byte
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"{value!r} is not a list")
    return tuple(_text(item) for item in value)


def _digests(value: object) -> tuple[str, ...]:
    texts = _texts(value)
    if not all(is_digest(text) for text in texts):
        raise ValueError("a name is not 64 hexadecimal digits")
    return texts


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is not a whole number")
    return value


def _rows(value: object) -> list[dict[str, object]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise TypeError("not a list of objects")
    return value
