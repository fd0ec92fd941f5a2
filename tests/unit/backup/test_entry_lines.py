"""The quick way to a line of a shard gives what the plain way gives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.backup.archive.shards import line_of
from failsafe.backup.entry_lines import EntryLines
from failsafe.errors import ArchiveError
from failsafe.mail.maildir import flags_of, keywords_of
from failsafe.mail.manifest import Entry

NAMES = ("Work", "", "Größe", "$Label1", 'quo"te', '"internal_date":0')
digests = st.binary(min_size=32, max_size=32)


@given(
    base=st.binary(min_size=1, max_size=40) | st.from_regex(rb"\A[0-9]{10}\.M[0-9]+P[0-9]\.host\Z"),
    size=st.integers(0, 10**9),
    mtime=st.integers(-(10**10), 10**11),
    letters=st.text("DFPRSTabcdefZ", max_size=6),
    uid=st.none() | st.integers(1, 2**32 - 1),
    digest=st.tuples(digests, digests) | digests.map(lambda one: (one, one)),
    gone_at=st.none() | st.just("2026-01-01T00:00:00Z"),
)
def test_a_line_is_the_one_of_its_entry(
    base: bytes, size: int, mtime: int, letters: str, uid: int | None, digest: tuple[bytes, bytes], gone_at: str | None
) -> None:
    content, canonical = digest
    name = base.decode("utf-8", "surrogateescape")
    marks = flags_of(letters), keywords_of(letters, NAMES)
    entry = Entry(uid, content.hex(), canonical.hex(), *marks, mtime, name, size, gone_at)
    row = (base, size, mtime, letters, uid, content, canonical, gone_at)
    assert EntryLines(NAMES).lines([row, row]) == [line_of(entry)] * 2


@pytest.mark.parametrize(
    ("what", "value"), [("base", b""), ("size", -1), ("uid", 0), ("uid", 2**32), ("content", b"short"), ("canonical", b"")]
)
def test_what_no_reader_would_take_is_refused_here_too(what: str, value: object) -> None:
    row = {
        "base": b"a",
        "size": 1,
        "mtime": 0,
        "letters": "S",
        "uid": 1,
        "content": b"x" * 32,
        "canonical": b"y" * 32,
        "gone_at": None,
    }
    with pytest.raises(ArchiveError):
        EntryLines(NAMES).lines([tuple({**row, what: value}.values())])  # type: ignore[list-item]
