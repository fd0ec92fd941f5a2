"""Both ways to open what a drill rebuilt: a real Dovecot and Python's mailbox see the same mail, and the same differences."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from failsafe.adapters import dovecot
from failsafe.adapters.dovecot import DovecotOpener, configuration
from failsafe.adapters.maildir_files import FilesOpener
from failsafe.adapters.rebuilding import rebuild
from failsafe.backup.archive import Staging
from failsafe.backup.drill_run import drill_server
from failsafe.backup.opening import MailOpener, Rebuilt
from failsafe.drills import choose_opener
from tests.unit.backup.archive.sample import WORLD, Folder, Mail, mails, message, store
from tests.unit.backup.test_drill_run import job, snapshot, told

ANNA = "anna@example.org"
ODD = "100%s an'n=a @example.org"
HAS_DOVECOT = shutil.which("dovecot", path=dovecot.PLACES) is not None
NEEDS_DOVECOT = pytest.mark.skipif(not HAS_DOVECOT, reason="Dovecot is not installed (Debian: dovecot-imapd)")
Opener = Callable[[Path], MailOpener]
OPENERS = [
    pytest.param(lambda _room: FilesOpener(), id="python"),
    pytest.param(DovecotOpener, id="dovecot", marks=NEEDS_DOVECOT),
]
AWKWARD = {
    **WORLD,
    ODD: ("maildir++", (Folder("INBOX", "", mails(3)), Folder("INBOX/inner", ".INBOX.inner", mails(2)))),
    "many@example.org": (
        "maildir++",
        (
            Folder(
                "INBOX", "", tuple(Mail(message(f"word {n}"), f"17.M{n}.host", n, "S", (f"Word{n:02}",)) for n in range(1, 31))
            ),
            Folder("Wrong size", ".Wrong size", (Mail(os.urandom(5000), "17.M1P1.host,S=9,W=12", 1, "RT"),)),
            Folder("Empty", ".Empty", ()),
        ),
    ),
}


@pytest.mark.parametrize("make", OPENERS)
def test_awkward_mail_is_seen_as_its_manifests_say(make: Opener, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with Staging.open(tmp_path / "staging", "vps") as staging:
        repository = snapshot(staging, store(staging, AWKWARD))
    opener = make(tmp_path / "opened")

    drill = drill_server(job(repository, tmp_path, opener=opener))

    assert told(drill) == []
    assert {each.mailbox for each in drill.mailboxes} == set(AWKWARD)
    assert sum(each.messages for each in drill.mailboxes) == sum(len(f.mails) for _, folders in AWKWARD.values() for f in folders)
    assert any("INBOX/inner: its files were compared" in note for note in drill.notes)
    assert not (tmp_path / "opened" / dovecot.BOX).exists(), "mail in the clear does not stay"


def meddled(change: Callable[[Path], None]) -> Callable[..., Rebuilt]:
    """rebuild.py, and then somebody who changes what it made."""

    def run(archive: Path, target: Path, mailboxes: Sequence[str], *, generation: int | None, size: int) -> Rebuilt:
        said = rebuild(archive, target, mailboxes, generation=generation, size=size)
        change(target / "example.org" / "anna")
        return said

    return run


def only(maildir: Path, pattern: str) -> Path:
    (found,) = maildir.glob(pattern)
    return found


def unflag(maildir: Path) -> None:
    path = only(maildir, "cur/*00000002*:2,FS")
    path.rename(path.with_name(path.name.replace(":2,FS", ":2,S")))


def redate(maildir: Path) -> None:
    os.utime(only(maildir, "cur/*00000002*:2,FS"), (1, 1))


def rewrite(maildir: Path) -> None:
    path = only(maildir, "cur/*00000002*:2,FS")
    path.write_bytes(path.read_bytes().replace(b"number", b"nothing"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (unflag, "has the flags S instead of FS"),
        (redate, "has the date 1970-01-01T00:00:01Z"),
        (lambda maildir: only(maildir, "cur/*00000002*:2,FS").unlink(), "did not come back"),
        (rewrite, "content"),
    ],
    ids=["flag", "date", "missing", "content"],
)
@pytest.mark.parametrize("make", OPENERS)
def test_every_difference_is_seen_and_named(make: Opener, change: Callable[[Path], None], says: str, tmp_path: Path) -> None:
    with Staging.open(tmp_path / "staging", "vps") as staging:
        repository = snapshot(staging, store(staging, {ANNA: ("maildir++", (Folder("INBOX", "", mails(5)),))}))

    drill = drill_server(job(repository, tmp_path, opener=make(tmp_path / "opened"), rebuild=meddled(change)))

    found = "\n".join(told(drill))
    assert says in found or (says == "content" and "did not come back" in found)
    assert f"{ANNA} / INBOX / " in found
    assert drill.fault_count <= 2


@NEEDS_DOVECOT
def test_dovecot_says_when_uids_are_not_those_of_the_server(tmp_path: Path) -> None:
    with Staging.open(tmp_path / "staging", "vps") as staging:
        repository = snapshot(staging, store(staging, {ANNA: ("maildir++", (Folder("INBOX", "", mails(3, start=40)),))}))

    def renumber(maildir: Path) -> None:
        (maildir / "dovecot-uidlist").unlink()

    opener = DovecotOpener(tmp_path / "opened")
    drill = drill_server(job(repository, tmp_path, opener=opener, rebuild=meddled(renumber)))

    found = "\n".join(told(drill))
    assert "instead of 1600000000" in found, "UIDVALIDITY"
    assert "(UID 40): came back as UID 1" in found


@NEEDS_DOVECOT
def test_dovecot_opens_a_million_paths_deep_as_nobody_and_reads_none_of_the_systems_settings(tmp_path: Path) -> None:
    room = tmp_path / "closed" / "opened"
    tmp_path.chmod(0o700)

    opener = DovecotOpener(room)

    assert opener.name.startswith("Dovecot 2.")
    if os.geteuid() == 0:
        assert room.stat().st_uid != 0
        assert (tmp_path / "closed").stat().st_mode & 0o077 == 0 or tmp_path.stat().st_mode & 0o077 == 0
    said = subprocess.run(
        ["doveconf", "-c", str(room / "dovecot.conf"), "-n"], capture_output=True, text=True, check=True, timeout=30
    ).stdout
    assert "/proc/self/cwd/box" in said
    assert "!include" not in (room / "dovecot.conf").read_text()


def test_a_dovecot_that_does_not_work_here_is_told_and_python_opens_the_mail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "dovecot"
    program.write_text("#!/bin/sh\necho '2.3.99 (0123456)'\n")
    program.chmod(0o755)
    monkeypatch.setattr(dovecot, "PLACES", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(dovecot, "HERE", "/nonexistent")

    opener, notes = choose_opener(tmp_path / "opened")

    assert opener.name == "Python's mailbox"
    assert "Dovecot is installed and did not work here" in notes[0]


def test_the_configuration_speaks_the_language_of_its_dovecot() -> None:
    old, new = configuration("2.3.19.1", "fs"), configuration("2.4.1", "fs")

    assert "mail_location = maildir:/proc/self/cwd/box:LAYOUT=fs" in old
    assert "dovecot_config_version" not in old
    assert new.startswith("dovecot_config_version = 2.4.1\ndovecot_storage_version = 2.4.1\n")
    assert "mailbox_list_layout = fs" in new
    assert "mail_location" not in new
