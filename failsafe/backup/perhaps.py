"""Whether a digest may be among many, told from 2 MB of memory: one that is not there needs no question to the database.

A Bloom filter with one hash function, which is the digest itself: of a million, six in a hundred strangers are taken for known ones and asked for.
"""

from __future__ import annotations

from collections.abc import Iterable

BITS = 24
DIGITS = BITS // 4  # of the digest in hexadecimal


class Perhaps:
    """Digests are 64 hexadecimal digits."""

    def __init__(self) -> None:
        self._seen = bytearray(1 << (BITS - 3))

    def add(self, ids: Iterable[str]) -> None:
        seen = self._seen
        for id_ in ids:
            number = int(id_[:DIGITS], 16)
            seen[number >> 3] |= 1 << (number & 7)

    def among(self, ids: Iterable[str]) -> list[str]:
        """Those that were added, and a few more."""
        seen = self._seen
        return [id_ for id_ in ids if seen[(number := int(id_[:DIGITS], 16)) >> 3] & (1 << (number & 7))]
