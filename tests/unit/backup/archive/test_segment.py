"""Segments: tar files that seal themselves."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from failsafe.backup.archive import Sealed, Staging, segment
from failsafe.backup.archive.segment import HELD, decode_index, encode_index, salvage_segment, scan_segment, tar_header
from failsafe.errors import ArchiveError, SshError
from failsafe.mail.identity import digests

LIMIT = 10_000


@pytest.fixture
def staging(tmp_path: Path) -> Iterator[Staging]:
    with Staging.open(tmp_path / "staging", "vps") as opened:
        yield opened


def tar_of(staging: Staging, name: str) -> Path:
    return staging.folder / f"segments/{name[:2]}/{name}.tar"


def test_tar_lists_a_segment_by_the_digests_of_its_messages(staging: Staging) -> None:
    with staging.segment_writer("a@b") as writer:
        ids = [writer.add([data]).id for data in (b"one\n", b"two\n")]

    (sealed,) = writer.sealed
    listing = subprocess.run(["tar", "tf", tar_of(staging, sealed.name)], capture_output=True, text=True, check=True)
    assert listing.stdout.split() == ids
    assert listing.stderr == ""


def test_a_segment_is_named_by_its_own_digest(staging: Staging) -> None:
    with staging.segment_writer("a@b") as writer:
        writer.add([b"one\n"])

    (sealed,) = writer.sealed
    data = tar_of(staging, sealed.name).read_bytes()
    assert hashlib.sha256(data).hexdigest() == sealed.name
    assert len(data) == sealed.size


@settings(max_examples=30, deadline=None)
@given(messages=st.lists(st.integers(0, 3 * LIMIT), max_size=12), piece=st.integers(100, 2 * LIMIT))
def test_every_message_is_found_and_no_segment_is_too_large(
    tmp_path_factory: pytest.TempPathFactory, messages: list[int], piece: int
) -> None:
    datas = [bytes([number]) * size for number, size in enumerate(messages)]
    with Staging.open(tmp_path_factory.mktemp("s"), "vps") as staging:
        with staging.segment_writer("a@b", limit=LIMIT) as writer:
            ids = [writer.add(data[i : i + piece] for i in range(0, len(data), piece)).id for data in datas]

        places = staging.archive.locate([sealed.name for sealed in writer.sealed], ids)
        assert [staging.archive.read_message(places[id_]) for id_ in ids] == datas
        for sealed in writer.sealed:
            assert sealed.size <= LIMIT or len(sealed.lines) == 1
            assert list(scan_segment(tar_of(staging, sealed.name))) == [(x.id, x.offset, x.size) for x in sealed.lines]


def test_equal_messages_make_equal_segments(tmp_path: Path) -> None:
    names = []
    for number in (1, 2):
        with Staging.open(tmp_path / str(number), "vps") as staging, staging.segment_writer("a@b") as writer:
            writer.add([b"one", b"\n"])
        names.append(writer.sealed[0].name)

    assert names[0] == names[1]


def test_a_message_is_kept_once(staging: Staging) -> None:
    with staging.segment_writer("a@b", known=lambda id_: id_ == digests(b"old\n")[0]) as writer:
        stored = [writer.add([data]) for data in (b"one\n", b"one\n", b"old\n", b"two\n")]

    assert [one.known for one in stored] == [False, True, True, False]
    assert [line.id for line in writer.sealed[0].lines] == [stored[0].id, stored[3].id]
    assert stored[0].canonical == digests(b"one\r\n")[0]


def test_a_cut_in_a_message_takes_back_that_message_alone(staging: Staging) -> None:
    def cut() -> Iterator[bytes]:
        yield b"half"
        raise SshError("the line broke")

    with pytest.raises(SshError, match="broke"), staging.segment_writer("a@b") as writer:
        first = writer.add([b"one\n"])
        writer.add(cut())

    assert [line.id for sealed in writer.sealed for line in sealed.lines] == [first.id]
    assert [id_ for id_, _, _ in scan_segment(tar_of(staging, writer.sealed[0].name))] == [first.id]


def test_a_segment_is_durable_before_anyone_is_told(staging: Staging) -> None:
    seen: list[tuple[Sealed, bool]] = []

    def told(sealed: Sealed) -> None:
        seen.append((sealed, staging.index(sealed.name) == sealed.lines and tar_of(staging, sealed.name).is_file()))

    with staging.segment_writer("a@b", on_sealed=told, limit=LIMIT) as writer:
        for number in range(5):
            writer.add([bytes([number]) * 3500])

    assert len(seen) == 3
    assert all(there for _, there in seen)


def test_a_large_message_is_not_held_in_memory(staging: Staging) -> None:
    piece = bytes(range(256)) * 256
    tracemalloc.start()
    with staging.segment_writer("a@b") as writer:
        writer.add([b"small\n"])
        stored = writer.add(piece for _ in range(1000))  # 65 MB
    place = staging.archive.locate([sealed.name for sealed in writer.sealed], [stored.id])[stored.id]
    total = sum(map(len, staging.archive.message_chunks(place)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert total == stored.size == 65_536_000
    assert peak < 20_000_000


def test_an_index_with_a_changed_byte_is_refused(staging: Staging) -> None:
    with staging.segment_writer("a@b") as writer:
        writer.add([b"one\n"])
    good = encode_index(writer.sealed[0].lines)
    assert decode_index(good) == writer.sealed[0].lines

    for place in range(len(good)):
        with pytest.raises(ArchiveError):
            decode_index(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])


@given(st.binary(max_size=40), st.one_of(st.integers(0, 8**11 - 1), st.integers(8**11, 8**12)))
def test_a_header_is_what_tarfile_makes(name: bytes, size: int) -> None:
    id_ = hashlib.sha256(name).hexdigest()

    assert tar_header(id_, size) == segment._tar_header(id_, size)


@settings(deadline=None, max_examples=15)
@given(st.lists(st.binary(max_size=3000), max_size=30, unique=True))
def test_a_message_given_whole_is_stored_as_one_given_in_pieces(messages: list[bytes]) -> None:
    made = []
    for whole in (True, False):
        with tempfile.TemporaryDirectory() as folder, Staging.open(Path(folder), "vps") as staging:
            with staging.segment_writer("a@b", limit=8_000) as writer:
                for message in messages:
                    _ = writer.add_whole(message) if whole else writer.add([message[:100], message[100:]])
            made.append([sealed.name for sealed in writer.sealed])

    assert made[0] == made[1]


@pytest.mark.parametrize("hole", [(0, 700), (512, 100), (1024, 4000), (3000, 50_000)])
def test_of_a_segment_with_a_hole_every_message_beside_it_is_found(staging: Staging, hole: tuple[int, int]) -> None:
    bodies = {
        hashlib.sha256(body).hexdigest(): body for body in (bytes([number + 1]) * (900 * number + 1) for number in range(12))
    }
    with staging.segment_writer("a@b") as writer:
        for body in bodies.values():
            writer.add([body])
    (sealed,) = writer.sealed
    path, (start, length) = tar_of(staging, sealed.name), hole
    data = bytearray(path.read_bytes())
    data[start : start + length] = bytes(len(data[start : start + length]))
    path.write_bytes(data)

    found = {
        id_ for id_, offset, size in salvage_segment(path) if hashlib.sha256(data[offset : offset + size]).hexdigest() == id_
    }

    whole = {line.id for line in sealed.lines if line.offset - 512 >= start + length or line.offset + line.size <= start}
    assert whole <= found
    assert found < set(bodies)


@settings(deadline=None, max_examples=15)
@given(st.lists(st.tuples(st.binary(max_size=3000), st.booleans()), max_size=20, unique_by=lambda pair: pair[0]))
def test_messages_given_whole_and_in_pieces_come_into_a_segment_in_their_order(messages: list[tuple[bytes, bool]]) -> None:
    made = []
    for mixed in (True, False):
        with tempfile.TemporaryDirectory() as folder, Staging.open(Path(folder), "vps") as staging:
            with staging.segment_writer("a@b", limit=600_000) as writer:
                for message, whole in messages:
                    data = message * 60  # some of them together are more than what is held, and than a segment
                    _ = writer.add_whole(data) if mixed and whole else writer.add([data[:100], data[100:]])
            made.append([sealed.name for sealed in writer.sealed])

    assert made[0] == made[1]


def test_whole_messages_that_a_disk_refused_are_written_when_it_takes_them_again(staging: Staging) -> None:
    unfinished = staging.folder / ".failsafe-unfinished"
    messages = [bytes([number]) * (HELD // 2) for number in range(3)]
    unfinished.rmdir()  # as a disk that refuses every new file
    with staging.segment_writer("a@b") as writer:
        writer.add_whole(messages[0])
        with pytest.raises(ArchiveError, match="cannot write"):
            writer.add_whole(messages[1])
        unfinished.mkdir()
        writer.add_whole(messages[2])

    (sealed,) = writer.sealed
    assert [line.id for line in sealed.lines] == [digests(message)[0] for message in messages]
    assert hashlib.sha256(tar_of(staging, sealed.name).read_bytes()).hexdigest() == sealed.name


@contextmanager
def no_place_for_segments(staging: Staging) -> Iterator[None]:
    """A file where each segment's folder is to be."""
    places = [staging.folder / f"segments/{number:02x}" for number in range(256)]
    for path in places:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    yield
    for path in places:
        path.unlink()


def test_a_seal_that_failed_before_its_segment_was_there_is_made_anew(staging: Staging) -> None:
    with staging.segment_writer("a@b", limit=20_000) as writer:
        first = writer.add_whole(b"x" * 15_000)
        with no_place_for_segments(staging), pytest.raises(ArchiveError):
            writer.add_whole(b"y" * 15_000)

    (sealed,) = writer.sealed
    assert [line.id for line in sealed.lines] == [first.id]
    assert hashlib.sha256(tar_of(staging, sealed.name).read_bytes()).hexdigest() == sealed.name


def test_a_segment_that_could_not_be_put_in_place_is_not_tried_again(staging: Staging) -> None:
    """After an fsync that failed, the next one may succeed although pages are lost."""
    with tempfile.TemporaryDirectory() as folder, Staging.open(Path(folder), "vps") as other:
        with other.segment_writer("a@b") as writer:
            writer.add_whole(b"x")
        (there,) = writer.sealed
    tar_of(staging, there.name).mkdir(parents=True)
    with pytest.raises(ArchiveError), staging.segment_writer("a@b") as writer:
        writer.add_whole(b"x")
        try:
            writer.close()
        finally:
            tar_of(staging, there.name).rmdir()

    assert writer.sealed == []
    assert staging.segments() == ()
    with staging.segment_writer("a@b") as writer:
        writer.add_whole(b"x")
    assert staging.segments() == (there.name,)


def test_what_the_disk_did_not_keep_gets_no_name_after_a_fault(staging: Staging) -> None:
    with pytest.raises(ArchiveError, match="not what was written"), staging.segment_writer("a@b", limit=20_000) as writer:
        writer.add_whole(b"x" * 15_000)
        with no_place_for_segments(staging), pytest.raises(ArchiveError):
            writer.add_whole(b"y" * 15_000)
        (written,) = (staging.folder / ".failsafe-unfinished").iterdir()
        with written.open("r+b") as file:
            file.seek(1_000)
            file.write(b"z")

    assert staging.segments() == ()
