"""The destinations on disk: bytes, names, running twice, and names that want to get out."""

from __future__ import annotations

import dataclasses
import mailbox
import zipfile
from pathlib import Path

import pytest

from failsafe.backup.destinations import (
    Destination,
    EmlDestination,
    MaildirDestination,
    MboxDestination,
    Rejected,
    ZipDestination,
)
from failsafe.backup.destinations.base import safe_component
from failsafe.backup.restore_plan import Wanted
from failsafe.mail.identity import digests
from failsafe.model import Body
from tests.contract.mailstore import Silent

BODIES = [
    b"Subject: a\r\n\r\nFrom the start\r\n>From quoted\r\n",
    b"Subject: b\n\nno newline at the end",
    b"Subject: c\n\nends with empty lines\n\n\n",
    b"Subject: d\n\n\x00\xff\r bare\n",
    b"",
]
KINDS = {"maildir": MaildirDestination, "eml": EmlDestination, "mbox": MboxDestination, "zip": ZipDestination}


def wanted(data: bytes, folder: str = "INBOX", **more: object) -> Wanted:
    id_, canonical = digests(data)
    item = Wanted(
        server="vps", mailbox="ann@example.org", id=id_, canonical=canonical, size=len(data), flags="FS", keywords=(),
        internal_date=1_600_000_000, first_generation=1, last_generation=1, target_mailbox="ann@example.org", target_folder=folder,
        directory="" if folder == "INBOX" else "." + folder.replace("/", "."),
    )  # fmt: skip
    return dataclasses.replace(item, **more)  # type: ignore[arg-type]


def run(destination: Destination, items: dict[Wanted, bytes]) -> tuple[int, dict[Wanted, str]]:
    """Adds what is missing, as a restore does; gives how many, and what was wrong when it was read back."""
    there = destination.there(list(items), Silent())
    missing = [item for item in items if item.id not in there.get(item.target_mailbox, {}).get(item.target_folder, frozenset())]
    for item in missing:
        destination.add(item, Body.of(items[item]))
    wrong = destination.finish() | destination.verify(missing, Silent())
    destination.close()
    return len(missing), wrong


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_run_adds_nothing_and_a_third_only_what_is_new(kind: str, tmp_path: Path) -> None:
    items = {wanted(data, folder): data for data in BODIES for folder in ("INBOX", "Archive/2026")}
    assert run(KINDS[kind](tmp_path / "out"), items) == (10, {})
    assert run(KINDS[kind](tmp_path / "out"), items) == (0, {})
    items[wanted(b"Subject: new\n\n")] = b"Subject: new\n\n"
    assert run(KINDS[kind](tmp_path / "out"), items) == (1, {})


def test_a_maildir_keeps_bytes_flags_keywords_and_dates(tmp_path: Path) -> None:
    keywords = tuple(f"word{number}" for number in range(30))
    data = BODIES[0]
    item = wanted(data, "Archive/2026", keywords=keywords)
    destination = MaildirDestination(tmp_path)
    assert run(destination, {item: data}) == (1, {})
    folder = tmp_path / "example.org/ann/.Archive.2026"
    (path,) = (folder / "cur").iterdir()
    assert path.read_bytes() == data
    assert path.name.endswith(":2,FSabcdefghijklmnopqrstuvwxyz")
    assert int(path.stat().st_mtime) == 1_600_000_000
    assert (folder / "dovecot-keywords").read_text().splitlines()[:2] == ["0 word0", "1 word1"]
    assert len(destination.notes()) == 4  # of 30 keywords, 26 have letters
    assert len(mailbox.Maildir(tmp_path / "example.org/ann", create=False).get_folder("Archive.2026")) == 1


def test_leftovers_of_a_killed_restore_are_no_messages(tmp_path: Path) -> None:
    data = BODIES[0]
    place = tmp_path / "example.org/ann/tmp"
    place.mkdir(parents=True)
    (place / ".failsafe-1234").write_bytes(data)
    assert run(MaildirDestination(tmp_path), {wanted(data): data}) == (1, {})


def test_an_mbox_is_one_that_others_can_read(tmp_path: Path) -> None:
    run(MboxDestination(tmp_path / "m"), {wanted(data): data for data in BODIES[:3]})
    assert [message["Subject"] for message in mailbox.mbox(tmp_path / "m", create=False)] == ["a", "b", "c"]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64])
def test_a_message_in_pieces_makes_the_same_files_as_a_whole_one(size: int, tmp_path: Path) -> None:
    bodies = [*BODIES, b"From a\n>>From b\nFro\n\nFrom", b"\n", b"F", b">From \n\n", b"x\nFrom \nFrom \n"]
    whole, cut = MboxDestination(tmp_path / "whole"), MboxDestination(tmp_path / "cut")
    for data in bodies:
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        whole.add(wanted(data), Body.of(data))
        cut.add(wanted(data), Body(len(data), lambda pieces=pieces: pieces))  # type: ignore[misc]
    items = [wanted(data) for data in bodies]
    assert (whole.verify(items, Silent()), cut.verify(items, Silent())) == ({}, {})
    assert (tmp_path / "cut").read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_zip_is_whole_and_has_its_folders(tmp_path: Path) -> None:
    run(ZipDestination(tmp_path / "m.zip"), {wanted(BODIES[0], "Archive/2026"): BODIES[0]})
    with zipfile.ZipFile(tmp_path / "m.zip") as archive:
        assert archive.testzip() is None
        assert [name.rsplit("/", 1)[0] for name in archive.namelist()] == ["example.org/ann/Archive/2026"]


@pytest.mark.parametrize("kind", ["eml", "mbox", "zip"])
def test_ciphertext_is_never_written_as_a_message(kind: str, tmp_path: Path) -> None:
    destination = KINDS[kind](tmp_path / "out")
    with pytest.raises(Rejected, match="encrypted"):
        destination.add(wanted(b"CRYPTED\x03\x07"), Body.of(b"CRYPTED\x03\x07"))
    destination.close()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("kind", ["maildir", "eml"])
@pytest.mark.parametrize("name", ["../../escape", "/etc", "..", "a/../../../b", "x\0y", ".", "." * 300])
def test_no_name_leads_out_of_the_destination(kind: str, name: str, tmp_path: Path) -> None:
    item = wanted(BODIES[0], name, directory=name, target_mailbox=f"{name}@{name}")
    assert run(KINDS[kind](tmp_path / "out"), {item: BODIES[0]}) == (1, {})
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_long_names_stay_different() -> None:
    assert safe_component("x" * 300 + "1") != safe_component("x" * 300 + "2")
    assert len(safe_component("ü" * 300).encode()) <= 200
