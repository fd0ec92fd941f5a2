"""A part of an archive that is an archive itself, so that rebuild.py can be run on it: a sample of a mailbox, or one message.

Only the manifest, the shards and the generation are ours; every message comes from the snapshot's own segments.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from failsafe.backup.archive.layout import generation_path, path_of
from failsafe.mail.manifest import (
    Entry,
    FolderManifest,
    Generation,
    MailboxManifest,
    encode_entry,
    encode_generation,
    encode_mailbox,
)


@dataclass(frozen=True, slots=True)
class Part:
    """Some entries of a mailbox, by the place of their folder in its manifest, and the segments that hold them."""

    manifest: MailboxManifest
    entries: Mapping[int, Sequence[Entry]]
    segments: tuple[str, ...]


def write_part(folder: Path, part: Part) -> tuple[str, MailboxManifest]:
    """(the name of the new manifest, the manifest itself), durable enough for one drill."""
    folders: list[FolderManifest] = []
    for place, old in enumerate(part.manifest.folders):
        entries = part.entries.get(place, ())
        data = b"".join(encode_entry(entry) for entry in entries)
        shards = (_put(folder, "shards", data),) if entries else ()
        folders.append(replace(old, shards=shards, messages=len(entries)))
    manifest = replace(part.manifest, folders=tuple(folders), segments=part.segments, files=())
    return _put(folder, "mailboxes", encode_mailbox(manifest)), manifest


def write_generation(folder: Path, whole: Generation, mailboxes: Mapping[str, str], messages: int) -> int:
    """A generation of parts beside the snapshot's own; gives its number."""
    made = replace(
        whole,
        number=whole.number + 1,
        messages=messages,
        mailboxes=dict(mailboxes),
        files=None,
        controller=None,
        missing=(),
        notes={},
    )
    (folder / generation_path(made.number)).write_bytes(encode_generation(made))
    return made.number


def _put(folder: Path, kind: str, data: bytes) -> str:
    name = hashlib.sha256(data).hexdigest()
    path = folder / path_of(kind, name)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_bytes(data)
    return name
