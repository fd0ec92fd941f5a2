"""Values of the archive and their JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.errors import ArchiveError
from failsafe.mail.manifest import (
    Entry,
    FileRef,
    FolderManifest,
    Generation,
    MailboxManifest,
    Missing,
    decode_entry,
    decode_file,
    decode_generation,
    decode_mailbox,
    encode_entry,
    encode_files,
    encode_generation,
    encode_mailbox,
)
from failsafe.model import Result

digest = st.binary(min_size=32, max_size=32).map(bytes.hex)
file_name = st.binary(min_size=1, max_size=40).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
word = st.text(st.characters(codec="utf-8"), min_size=1, max_size=10)
entries = st.builds(
    Entry,
    uid=st.none() | st.integers(1, 2**32 - 1),
    id=digest,
    canonical=digest,
    flags=st.sets(st.sampled_from("DFPRST")).map(lambda flags: "".join(sorted(flags))),
    keywords=st.sets(word, max_size=4).map(lambda words: tuple(sorted(words))),
    internal_date=st.integers(-(2**40), 2**40),
    name=file_name,
    size=st.integers(0, 2**40),
    gone_at=st.none() | st.just("2026-11-22T17:00:00Z"),
)
files = st.builds(FileRef, path=file_name, digest=digest, size=st.integers(0, 2**40), mode=st.integers(0, 0o7777))
folders = st.builds(
    FolderManifest,
    name=word,
    directory=file_name,
    shards=st.lists(digest, max_size=3).map(tuple),
    messages=st.integers(0, 10**6),
    uid_validity=st.none() | st.integers(1, 2**32 - 1),
    uid_next=st.none() | st.integers(1, 2**32),
    keyword_letters=st.lists(st.just("") | word, max_size=4).map(tuple),
    subscribed=st.booleans(),
)
mailboxes = st.builds(
    MailboxManifest,
    mailbox=word,
    layout=st.sampled_from(["maildir++", "fs"]),
    folders=st.lists(folders, max_size=3).map(tuple),
    segments=st.lists(digest, max_size=3).map(tuple),
    files=st.lists(files, max_size=3).map(tuple),
)
generations = st.builds(
    Generation,
    number=st.integers(1, 99_999_999),
    server=word,
    at=st.datetimes(min_value=datetime(1990, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - the strategy adds the zone
    result=st.sampled_from(Result),
    messages=st.integers(0, 10**9),
    mailboxes=st.dictionaries(word, digest, max_size=3),
    files=st.none() | digest,
    controller=st.none() | digest,
    missing=st.lists(st.builds(Missing, word, word, file_name, word), max_size=2).map(tuple),
    notes=st.dictionaries(word, st.lists(word, max_size=2), max_size=2),
)
PLAIN = Entry(1, "a" * 64, "b" * 64, "FS", ("x",), 1_700_000_000, "1.a", 10)


@given(entries)
def test_an_entry_survives_its_line(entry: Entry) -> None:
    line = encode_entry(entry)

    assert decode_entry(line) == entry
    assert line.count(b"\n") == 1
    assert line.isascii()


@given(mailboxes)
def test_a_mailbox_manifest_survives_its_file(manifest: MailboxManifest) -> None:
    assert decode_mailbox(encode_mailbox(manifest)) == manifest


@given(generations)
def test_a_generation_survives_its_file(generation: Generation) -> None:
    assert decode_generation(encode_generation(generation)) == generation


@given(st.lists(files, unique_by=lambda file: file.path))
def test_a_list_of_files_survives_its_lines_in_order_of_path(given_files: list[FileRef]) -> None:
    assert [decode_file(line) for line in encode_files(given_files)] == sorted(given_files, key=lambda file: file.path)


@given(generations, st.data())
def test_no_changed_byte_of_a_generation_goes_unnoticed(generation: Generation, data: st.DataObject) -> None:
    raw = bytearray(encode_generation(generation))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))

    with pytest.raises(ArchiveError):
        decode_generation(bytes(raw))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"flags": "SF"}, "sorted"),
        ({"flags": "Sx"}, "letters"),
        ({"uid": 0}, "UID"),
        ({"uid": 2**32}, "UID"),
        ({"id": "../../etc/passwd"}, "digest"),
        ({"keywords": ("b", "a")}, "keywords"),
        ({"name": ""}, "name"),
        ({"name": "\ud83d"}, "surrogate"),
        ({"size": -1}, "size"),
    ],
)
def test_an_entry_that_no_reader_would_take_is_not_written(change: dict[str, object], said: str) -> None:
    with pytest.raises(ArchiveError, match=said):
        encode_entry(replace(PLAIN, **change))  # type: ignore[arg-type]


@given(
    st.binary(max_size=60) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda v: json.dumps(v).encode())
)
def test_what_is_no_manifest_is_an_archive_error(data: bytes) -> None:
    for decode in (decode_entry, decode_mailbox, decode_generation, decode_file):
        with pytest.raises(ArchiveError):
            decode(data)


def test_a_later_format_says_that_a_newer_program_is_needed() -> None:
    later = encode_mailbox(MailboxManifest("a@b", "fs")).replace(b'"format": 1', b'"format": 2')

    with pytest.raises(ArchiveError, match="format 2") as raised:
        decode_mailbox(later)

    assert "newer failsafe" in raised.value.mend


def test_unknown_keys_are_left_for_later_versions() -> None:
    line = encode_entry(PLAIN).replace(b"{", b'{"colour":"red",', 1)

    assert decode_entry(line) == PLAIN
