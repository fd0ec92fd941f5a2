"""Lines of shards straight from rows of the inventory: the bytes that `encode_entry` makes, at a third of the cost.

A thousand changed flags are a hundred shards, and so fifty thousand lines to be written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from failsafe.backup.archive.shards import Line, line_of
from failsafe.mail.maildir import flags_of, keywords_of
from failsafe.mail.manifest import Entry, encode_entry

PLAIN = re.compile(rb"[ !#-\[\]-~]+")  # a name that JSON writes as it is
NOTHING = "0" * 64

# base name, size, date, letters, UID, content, canonical content, when it was gone: as the inventory has them
Row = tuple[bytes, int, int, str, int | None, bytes, bytes, str | None]


class EntryLines:
    """Of one folder, whose keyword letters mean `names`."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._endings: dict[str, str] = {}  # by letters: what stands after a line's own facts

    def lines(self, rows: Iterable[Row]) -> list[Line]:
        """One for each row, in their order. Raises ArchiveError for what no reader would take."""
        made: list[Line] = []
        is_plain, endings = PLAIN.fullmatch, self._endings
        for row in rows:
            base, size, mtime, letters, uid, content, canonical, gone_at = row
            usual = gone_at is None and uid is not None and 0 < uid < 2**32 and size >= 0
            if not usual or len(content) != 32 or len(canonical) != 32 or not is_plain(base):
                made.append(self._unusual(*row))
                continue
            id_ = content.hex()
            other = "" if canonical == content else f',"canonical":"{canonical.hex()}"'
            facts = f'{{"id":"{id_}","name":"{base.decode("ascii")}","size":{size},"internal_date":{mtime},"uid":{uid}{other}'
            ending = endings.get(letters)
            if ending is None:
                ending = endings[letters] = self._ending(letters)
            made.append((f"0{uid:010d}", (facts + ending).encode("ascii")))
        return made

    def _unusual(
        self,
        base: bytes,
        size: int,
        mtime: int,
        letters: str,
        uid: int | None,
        content: bytes,
        canonical: bytes,
        gone_at: str | None,
    ) -> Line:
        name = base.decode("utf-8", "surrogateescape")
        return line_of(Entry(uid, content.hex(), canonical.hex(), *self._marks(letters), mtime, name, size, gone_at))

    def _marks(self, letters: str) -> tuple[str, tuple[str, ...]]:
        return flags_of(letters), keywords_of(letters, self._names)

    def _ending(self, letters: str) -> str:
        bare = encode_entry(Entry(None, NOTHING, NOTHING, *self._marks(letters), 0, "x", 0)).decode("ascii")
        return bare.partition('"internal_date":0')[2]
