"""The program that writes on a server: whole files or none, no way out of its places, nothing deleted. It runs here as it is sent."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from failsafe.adapters.local import LocalHost
from failsafe.backup.write_session import WriteSession

ME = (os.geteuid(), os.getegid())
BODY = b"Subject: x\n\nbody\n"


@pytest.fixture
def session(tmp_path: Path) -> Iterator[WriteSession]:
    with WriteSession(LocalHost("vps")) as one:
        one.begin(str(tmp_path / "mail"), ME)
        yield one


def message(folder: str, name: str, body: bytes = BODY, *, digest: str = "", scope: str = "mail") -> dict[str, object]:
    found = digest or hashlib.sha256(body).hexdigest()
    facts = [0o600, *ME, 1_600_000_000]
    return {"what": "message", "scope": scope, "folder": folder, "name": name, "size": len(body), "digest": found, "facts": facts}


def file(path: str, body: bytes, *, scope: str = "server") -> dict[str, object]:
    facts = [0o640, *ME, 1_600_000_000]
    digest = hashlib.sha256(body).hexdigest()
    return {"what": "file", "scope": scope, "path": path, "size": len(body), "digest": digest, "facts": facts, "stamp": "T"}


def maildir(session: WriteSession, folder: str, scope: str = "mail") -> None:
    parts = folder.split("/")
    above = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    session.folders(scope, [(path, 0o700, *ME) for path in (*above, *(f"{folder}/{sub}" for sub in ("cur", "new", "tmp")))])


def test_a_message_has_its_bytes_mode_and_date_and_leaves_nothing_in_tmp(session: WriteSession, tmp_path: Path) -> None:
    maildir(session, "d/u")
    session.put(message("d/u", "1.a:2,S"), [BODY])
    settled = session.settle()

    written = tmp_path / "mail" / "d" / "u" / "cur" / "1.a:2,S"
    assert (settled.written, settled.problems) == (1, ())
    assert (written.read_bytes(), written.stat().st_mode & 0o777, int(written.stat().st_mtime)) == (BODY, 0o600, 1_600_000_000)
    assert list((tmp_path / "mail" / "d" / "u" / "tmp").iterdir()) == []


def test_bytes_that_are_not_those_of_the_digest_are_not_written_and_the_next_file_still_is(
    session: WriteSession, tmp_path: Path
) -> None:
    maildir(session, "d/u")
    session.put(message("d/u", "1.a:2,", digest="0" * 64), [BODY])
    session.put(message("d/u", "2.b:2,"), [BODY])
    settled = session.settle()

    assert [path for path, _ in settled.problems] == ["d/u/1.a:2,"]
    assert [path.name for path in (tmp_path / "mail" / "d" / "u" / "cur").iterdir()] == ["2.b:2,"]


@pytest.mark.parametrize("name", ["../x", "/x", "d//x", "d/./x", "d/../../x"])
def test_no_path_leads_out_of_the_folder_of_mailboxes(session: WriteSession, tmp_path: Path, name: str) -> None:
    session.put(file(name, b"x", scope="mail"), [b"x"])

    assert len(session.settle().problems) == 1
    assert not (tmp_path / "x").exists()


def test_a_link_among_the_mailboxes_is_not_followed(session: WriteSession, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "mail" / "d").symlink_to(tmp_path / "elsewhere")
    maildir(session, "d/u")
    session.put(message("d/u", "1.a:2,"), [BODY])

    assert session.settle().written == 0
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_link_that_another_user_could_have_made_is_not_followed_for_files_of_the_server(
    session: WriteSession, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    (tmp_path / "target").mkdir()
    (shared / "etc").symlink_to(tmp_path / "target")
    session.put(file(f"{shared}/etc/x"[1:], b"x"), [b"x"])

    assert len(session.settle().problems) == 1
    assert list((tmp_path / "target").iterdir()) == []


def test_a_file_with_other_content_is_kept_before_it_is_replaced(session: WriteSession, tmp_path: Path) -> None:
    place = tmp_path / "main.cf"
    place.write_text("old")
    session.put(file(str(place)[1:], b"new"), [b"new"])

    assert session.settle().problems == ()
    assert (place.read_text(), place.stat().st_mode & 0o777) == ("new", 0o640)
    assert (tmp_path / "mail.failsafe-restore" / "replaced-T" / "server" / str(place)[1:]).read_text() == "old"


def test_what_is_there_and_right_is_told_from_what_is_torn_and_what_lacks(session: WriteSession, tmp_path: Path) -> None:
    maildir(session, "d/u")
    session.put(message("d/u", "1.a:2,"), [BODY])
    session.settle()
    cur = tmp_path / "mail" / "d" / "u" / "cur"
    (cur / "1.a:2,").rename(cur / "1.a:2,FS")  # somebody read it
    (cur / "2.b:2,").write_bytes(b"")  # a machine that lost its power
    digest = hashlib.sha256(BODY).hexdigest()

    rows = [("1.a", len(BODY), digest), ("2.b", len(BODY), digest), ("3.c", len(BODY), digest)]
    assert session.there("mail", "d/u", rows, whole=True) == [2, 1, 0]


def test_a_mailbox_appears_whole_and_what_was_made_meanwhile_is_moved_aside(session: WriteSession, tmp_path: Path) -> None:
    maildir(session, "d/u", "new")
    session.put(message("d/u", "1.a:2,", scope="new"), [BODY])
    session.settle()
    maildir(session, "d/u")
    session.put(message("d/u", "9.new:2,"), [BODY])
    session.settle()

    assert session.appear("d/u", "T") == 1
    assert [path.name for path in (tmp_path / "mail" / "d" / "u" / "cur").iterdir()] == ["1.a:2,"]
    kept = tmp_path / "mail.failsafe-restore" / "replaced-T" / "mail" / "d" / "u" / "cur" / "9.new:2,"
    assert kept.read_bytes() == BODY


def test_a_program_that_leaves_a_child_behind_does_not_hold_the_run_up(session: WriteSession) -> None:
    ended = session.run(["/bin/sh", "-c", "sleep 60 & echo started"], seconds=30)

    assert (ended.status, ended.late, ended.said) == (0, False, "started\n")


def test_a_program_that_does_not_end_is_ended(session: WriteSession) -> None:
    ended = session.run(["/bin/sh", "-c", "sleep 60"], seconds=0.5)

    assert ended.late
    assert not ended.is_good


def test_an_earlier_run_is_seen_with_all_that_it_had_done(session: WriteSession, tmp_path: Path) -> None:
    session.mark({"server": "vps", "generation": 3, "state": "restoring"})
    session.note("files")
    session.note("fresh:0")

    sight = session.look(str(tmp_path / "mail"))
    assert sight.marker == {"server": "vps", "generation": 3, "state": "restoring"}
    assert sight.journal == {"files", "fresh:0"}
