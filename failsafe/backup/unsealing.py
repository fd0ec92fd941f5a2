"""Messages that a server stores encrypted or compressed, made messages again with the keys in their own snapshot.

What cannot be opened is named, with the reason: ciphertext is no message, and goes nowhere but into a Maildir as it is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import islice
from typing import Protocol

from failsafe.backup.archive.layout import path_of
from failsafe.backup.recall import Source
from failsafe.backup.restore_plan import Wanted
from failsafe.errors import ArchiveError, ResticError
from failsafe.mail.headers import HEAD_LIMIT, MAGIC_BYTES, Storage, parse_headers, storage_of
from failsafe.mail.identity import digests
from failsafe.mail.manifest import FileRef
from failsafe.mail.packed import Unreadable, unpack
from failsafe.model import Body
from failsafe.ports import Narrator

MEND = "--to maildir:DIR gives it as it is stored, for the server that has its keys"
KEY_ENDINGS = (".pem", ".key")
KEY_BYTES = 16 << 10  # a file that is larger is no key
KEYS_LIMIT = 200  # files that are looked at for keys
LAYERS = 4  # compressed, then encrypted; one more for who did it twice, and a last look


class Keys(Protocol):
    def decrypt(self, data: bytes) -> bytes:
        """Raises Unreadable."""
        ...


class Unsealer:
    """Opens messages; the keys of each state of a server are read once, when its first encrypted message comes."""

    def __init__(
        self, make_keys: Callable[[Iterable[bytes]], Keys], zstd: Callable[[bytes, int], bytes] | None, narrate: Narrator
    ) -> None:
        self._make_keys, self._zstd, self._narrate = make_keys, zstd, narrate
        self._known: dict[tuple[str, str, int], Keys] = {}

    def unseal(self, body: Body, source: Source, server: str, number: int) -> Body:
        """The message, in memory. Raises Unreadable; what is stored plainly is given back."""
        if storage_of(body.head(MAGIC_BYTES)) is Storage.PLAIN:
            return body
        data = b"".join(body.pieces())
        for _ in range(LAYERS):
            kind = storage_of(data[:MAGIC_BYTES])
            if kind is Storage.PLAIN:
                return Body.of(data)
            packed = kind is Storage.COMPRESSED
            data = unpack(data, zstd=self._zstd) if packed else self._keys(source, server, number).decrypt(data)
        raise Unreadable("it is packed more than twice")

    def _keys(self, source: Source, server: str, number: int) -> Keys:
        """Of the snapshot that the message was read from."""
        place = (source.name, server, number)
        if place not in self._known:
            texts: list[bytes] = []
            try:
                texts += _key_files(source, server, number)
            except (ResticError, ArchiveError) as error:
                self._narrate(f"{source.name}: the keys of {server} cannot be read: {error}")
            self._known[place] = self._make_keys(texts)
        return self._known[place]


def may_be_key(file: FileRef) -> bool:
    return file.size <= KEY_BYTES and file.path.lower().endswith(KEY_ENDINGS)


def _key_files(source: Source, server: str, number: int) -> list[bytes]:
    generation = source.generation(server, number)
    if generation.files is None:
        return []
    archive = source.with_files(server, number, [path_of("lists", generation.files)])
    chosen = list(islice(filter(may_be_key, archive.files(generation)), KEYS_LIMIT))
    archive = source.with_files(server, number, [path_of("files", file.digest) for file in chosen])
    return [archive.read_file(file) for file in chosen]


class Learned:
    """Takes messages as a destination does, and keeps only what they are: for a plan, before anything is written."""

    def __init__(self) -> None:
        self.as_opened: dict[Wanted, Wanted] = {}

    def add(self, item: Wanted, body: Body) -> None:
        id_, canonical = digests(body.pieces())
        known = replace(item, canonical=canonical, size=body.size, message_id=parse_headers(body.head(HEAD_LIMIT)).message_id)
        self.as_opened[item] = replace(known, opened_id=id_) if id_ != item.id else replace(known, sealed=False)


def merged(wanted: Sequence[Wanted], learned: Learned) -> tuple[Wanted, ...]:
    """With what was learned; what turned out to be one message twice in a folder is there once, as it is with plain mail."""
    chosen: dict[tuple[str, str, str], Wanted] = {}
    for item in wanted:
        known = learned.as_opened.get(item, item)
        chosen.setdefault((known.target_mailbox, known.target_folder, known.content_id), known)
    return tuple(chosen.values())
