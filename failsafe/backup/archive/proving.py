"""Before a generation is written: everything that it names is here, down to each message."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from failsafe.backup.archive.layout import index_path, path_of
from failsafe.backup.archive.reader import Archive
from failsafe.errors import ArchiveError
from failsafe.mail.manifest import Generation, MailboxManifest

PROVED_AT_ONCE = 200_000  # ids looked for in one pass over a mailbox's index files: some 20 MB


def prove(archive: Archive, generation: Generation, newest: Generation | None) -> None:
    """Every file is here, every message of every shard that is new in this generation lies in a segment of its mailbox."""
    before = dict(newest.mailboxes) if newest else {}
    messages = 0
    for listed in (archive.files(generation), archive.controller_files(generation)):
        _demand(archive, (path_of("files", file.digest) for file in listed))
    for mailbox, name in generation.mailboxes.items():
        manifest = archive.manifest(name)
        messages += sum(folder.messages for folder in manifest.folders)
        if before.get(mailbox) == name:
            continue
        if manifest.mailbox != mailbox:
            raise ArchiveError(f"mailbox {mailbox}: its manifest is that of {manifest.mailbox}", transient=False)
        _demand(archive, _manifest_paths(manifest))
        old = archive.manifest(before[mailbox]) if mailbox in before else None
        _prove_mailbox(archive, manifest, old)
    if messages != generation.messages:
        raise ArchiveError(f"the folders hold {messages} entries, the generation says {generation.messages}", transient=False)


def _prove_mailbox(archive: Archive, manifest: MailboxManifest, old: MailboxManifest | None) -> None:
    same_segments = old is not None and set(old.segments) <= set(manifest.segments)
    proved = {shard for folder in old.folders for shard in folder.shards} if old is not None and same_segments else set()
    ids: set[str] = set()
    for folder in manifest.folders:
        for shard in folder.shards:
            if shard not in proved:
                ids |= archive.shard_ids(shard)
            if len(ids) >= PROVED_AT_ONCE:
                _demand_messages(archive, manifest, ids)
                ids = set()
    _demand_messages(archive, manifest, ids)


def _demand_messages(archive: Archive, manifest: MailboxManifest, ids: set[str]) -> None:
    for segment in reversed(manifest.segments):  # new messages lie in the newest, which come last
        if not ids:
            return
        ids -= archive.index_ids(segment)
    if ids:
        raise ArchiveError(
            f"mailbox {manifest.mailbox}: {len(ids)} message(s) are in no segment, such as {min(ids)}; the generation was not written",
            transient=False,
        )


def _demand(archive: Archive, paths: Iterable[str]) -> None:
    for path in paths:
        if not (archive.folder / path).is_file():
            raise ArchiveError(f"{archive.folder / path} is named and not here; the generation was not written", transient=False)


def _manifest_paths(manifest: MailboxManifest) -> Iterator[str]:
    yield from (path_of("shards", shard) for folder in manifest.folders for shard in folder.shards)
    yield from (path_of("files", file.digest) for file in manifest.files)
    for segment in manifest.segments:
        yield path_of("segments", segment)
        yield index_path(segment)
