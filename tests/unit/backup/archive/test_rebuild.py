"""rebuild.py, run as a stranger would: by a bare Python, beside the archive, with nothing of failsafe in reach."""

from __future__ import annotations

import ast
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from failsafe.backup.archive import Staging, readme
from failsafe.mail.manifest import GenerationDraft, Missing
from failsafe.model import Result
from tests.unit.backup.archive.sample import ANNA, AT, BERT, WORLD, Folder, Mail, contents, mails, message, store

World = dict[str, tuple[str, tuple[Folder, ...]]]


def rebuild(folder: Path, dest: Path, *options: str, largest: int = -1) -> subprocess.CompletedProcess[str]:
    """`largest`: bytes that a file may have there."""
    command = [sys.executable, "-I", "-S", str(folder / "rebuild.py"), str(dest), *options]
    return subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=False, timeout=120, env={"PATH": "/usr/bin"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest)),
    )  # fmt: skip


def archive_of(tmp_path: Path, world: World, **changes: object) -> Path:
    with Staging.open(tmp_path / "archive", "vps") as staging:
        store(staging, world, **changes)
    return tmp_path / "archive"


def one(*folders: Folder, layout: str = "maildir++") -> World:
    return {ANNA: (layout, folders)}


def expected(folders: tuple[Folder, ...]) -> dict[str, tuple[bytes, int]]:
    """path -> (bytes, date) of every message of these folders, none of which uses two dozen keywords."""
    made: dict[str, tuple[bytes, int]] = {}
    for folder in folders:
        known = [*folder.keyword_letters, *sorted({w for m in folder.mails for w in m.keywords} - set(folder.keyword_letters))]
        for mail in folder.mails:
            letters = "".join(sorted("abcdefghijklmnopqrstuvwxyz"[known.index(word)] for word in mail.keywords))
            path = f"{folder.directory}/" * bool(folder.directory) + f"cur/{mail.name}:2,{mail.flags}{letters}"
            made[path] = (mail.data, mail.internal_date)
    return made


def written(maildir: Path) -> dict[str, tuple[bytes, int]]:
    files = (path for path in maildir.rglob("*") if path.is_file() and path.parent.name in ("cur", "new"))
    return {path.relative_to(maildir).as_posix(): (path.read_bytes(), int(path.stat().st_mtime)) for path in files}


def test_every_message_comes_back_with_its_bytes_name_flags_and_date(tmp_path: Path) -> None:
    outcome = rebuild(archive_of(tmp_path, WORLD), tmp_path / "out")

    assert outcome.returncode == 0, outcome.stderr
    assert written(tmp_path / "out/example.org/anna") == expected(WORLD[ANNA][1])
    assert written(tmp_path / "out/example.org/bert") == expected(WORLD[BERT][1])
    total = sum(len(folder.mails) for _, folders in WORLD.values() for folder in folders)
    assert f"{total} messages" in outcome.stderr.splitlines()[-1]


def test_the_control_files_are_those_of_a_mail_server(tmp_path: Path) -> None:
    rebuild(archive_of(tmp_path, WORLD), tmp_path / "out")

    anna = tmp_path / "out/example.org/anna"
    uidlist = (anna / "dovecot-uidlist").read_text().splitlines()
    assert uidlist[:2] == [f"3 V1600000000 N1000 G{'0123456789abcdef' * 2}", "1 :1700000001.M1P1.host,S=1"]
    assert len(uidlist) == 21
    assert (anna / "dovecot-keywords").read_text() == "1 $Work\n"
    assert (anna / ".Archive.2026/dovecot-keywords").read_text() == "0 a\n1 b\n"
    assert (anna / ".Archive.2026/maildirfolder").read_bytes() == b""
    assert not (anna / "maildirfolder").exists()
    assert not (anna / ".with space/dovecot-uidlist").exists()
    assert (anna / "subscriptions").read_bytes() == b"V\t2\n\nINBOX\n"
    assert int((anna / "subscriptions").stat().st_mtime) == 1_650_000_000
    assert {child.name for child in (anna / ".Archive.2026").iterdir() if child.is_dir()} == {"cur", "new", "tmp"}


def test_the_files_of_the_server_come_with_the_word_of_whose_they_were(tmp_path: Path) -> None:
    rebuild(archive_of(tmp_path, WORLD), tmp_path / "out")

    assert (tmp_path / "out/_server/etc/postfix/main.cf").read_bytes() == b"myhostname = mail.example.org\n"
    assert (tmp_path / "out/_server-owners.txt").read_text() == '5:6 0644 "etc/postfix/main.cf"\n'


def test_one_mailbox_alone_can_be_rebuilt(tmp_path: Path) -> None:
    outcome = rebuild(archive_of(tmp_path, WORLD), tmp_path / "out", "--mailbox", BERT)

    assert outcome.returncode == 0, outcome.stderr
    assert [path.name for path in (tmp_path / "out/example.org").iterdir()] == ["bert"]
    assert not (tmp_path / "out/_server").exists()


def test_a_mailbox_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    outcome = rebuild(archive_of(tmp_path, WORLD), tmp_path / "out", "--mailbox", "nobody@example.org")

    assert outcome.returncode == 1
    assert "nobody@example.org: is not in this snapshot" in outcome.stderr


def test_it_needs_no_failsafe_and_no_newer_python_than_3_9() -> None:
    tree = ast.parse(readme.rebuild(), feature_version=(3, 9))

    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import) else [getattr(node, "module", None) or ""]
        )
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert imported <= sys.stdlib_module_names | {"__future__"}


def test_two_messages_of_one_name_are_both_kept(tmp_path: Path) -> None:
    pair = (Mail(message("first"), "same", 1, "S"), Mail(message("second"), "same", 2, "S"))

    outcome = rebuild(archive_of(tmp_path, one(Folder("INBOX", "", pair))), tmp_path / "out")

    maildir = tmp_path / "out/example.org/anna"
    found = written(maildir)
    assert sorted(data for data, _ in found.values()) == sorted(mail.data for mail in pair)
    assert "cur/same:2,S" in found
    assert {line.split(":")[1] for line in (maildir / "dovecot-uidlist").read_text().splitlines()[1:]} == {
        path.removeprefix("cur/").removesuffix(":2,S") for path in found
    }
    assert outcome.returncode == 0
    assert "note:" in outcome.stderr


def test_gone_messages_are_written_only_when_asked_for(tmp_path: Path) -> None:
    with Staging.open(tmp_path / "archive", "vps") as staging:
        generation = store(staging, one(Folder("INBOX", "", mails(2))))
        manifest = staging.archive.mailbox(generation, ANNA)
        inbox = manifest.folders[0]
        entries = [replace(e, gone_at="2026-11-22T17:00:00Z") if e.uid == 2 else e for e in staging.archive.entries(inbox)]
        changed = replace(manifest, folders=(replace(inbox, shards=staging.write_shards(entries)),))
        world_files = tuple(staging.archive.files(generation))
        staging.commit(GenerationDraft(AT, Result.OK, 2, {ANNA: staging.write_mailbox(changed)}, world_files))
        staging.collect(())

    rebuild(tmp_path / "archive", tmp_path / "out")
    rebuild(tmp_path / "archive", tmp_path / "all", "--with-gone")

    assert len(written(tmp_path / "out/example.org/anna")) == 1
    assert len(written(tmp_path / "all/example.org/anna")) == 2


def test_keywords_beyond_the_26th_are_written_down_and_the_most_used_are_kept(tmp_path: Path) -> None:
    words = [f"word{number:02d}" for number in range(30)]
    box = tuple(Mail(message(f"m{n}"), f"m{n}", n + 1, "", tuple(sorted(words[n:]))) for n in range(30))

    outcome = rebuild(archive_of(tmp_path, one(Folder("INBOX", "", box))), tmp_path / "out")

    maildir = tmp_path / "out/example.org/anna"
    assert outcome.returncode == 0
    assert "keywords-lost.txt" in outcome.stderr
    lost = [line.split("\t")[1] for line in (maildir / "keywords-lost.txt").read_text().splitlines()]
    assert lost == ["word03", "word02", "word01", "word00"]  # a word of a higher number is on more messages
    assert len((maildir / "dovecot-keywords").read_text().splitlines()) == 26


def test_an_incomplete_backup_says_so_again(tmp_path: Path) -> None:
    missing = (Missing(ANNA, "INBOX", "1.vanished", "seen once, gone since"),)

    outcome = rebuild(archive_of(tmp_path, WORLD, result=Result.INCOMPLETE, missing=missing), tmp_path / "out")

    assert outcome.returncode == 1
    assert "anna@example.org / INBOX / 1.vanished was not in the backup: seen once, gone since" in outcome.stderr


def test_a_mailbox_folder_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    folder = archive_of(tmp_path, WORLD)
    (tmp_path / "out/example.org/anna").mkdir(parents=True)
    (tmp_path / "out/example.org/anna/mine").write_text("precious")

    outcome = rebuild(folder, tmp_path / "out")

    assert outcome.returncode == 1
    assert "is not empty" in outcome.stderr
    assert contents(tmp_path / "out/example.org/anna") == {"mine": b"precious"}
    assert written(tmp_path / "out/example.org/bert") == expected(WORLD[BERT][1])


def test_a_link_in_the_way_is_refused(tmp_path: Path) -> None:
    folder = archive_of(tmp_path, WORLD)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/example.org").symlink_to(tmp_path / "elsewhere")

    outcome = rebuild(folder, tmp_path / "out")

    assert outcome.returncode == 1
    assert "is a link" in outcome.stderr
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("count", [0, 2])
def test_none_or_several_generations_are_no_snapshot(tmp_path: Path, count: int) -> None:
    with Staging.open(tmp_path / "archive", "vps") as staging:
        for _ in range(count):
            store(staging, WORLD)

    outcome = rebuild(tmp_path / "archive", tmp_path / "out")

    assert outcome.returncode == 2
    assert f"holds {count} generation files" in outcome.stderr
    assert not (tmp_path / "out").exists()


HOSTILE = ("../../evil", "/etc/evil", "..", "a/../../../evil", ".", "", "cur", "a\0b", ".x\n1 :y", "dovecot-uidlist", "x" * 300)


@pytest.mark.parametrize("layout", ["maildir++", "fs"])
def test_no_name_leads_outside_the_destination(tmp_path: Path, layout: str) -> None:
    hostile = tuple(Mail(message(f"h{n}"), name or "e", n + 1) for n, name in enumerate(HOSTILE))
    folders = tuple(Folder(f"bad{n}/{name}", name, hostile) for n, name in enumerate(HOSTILE))
    folder = archive_of(tmp_path / "deep/er", one(Folder("INBOX", "", hostile), *folders, layout=layout))
    before = {path for path in tmp_path.rglob("*") if "/out" not in str(path)}

    outcome = rebuild(folder, tmp_path / "deep/er/out")

    maildir = tmp_path / "deep/er/out/example.org/anna"
    assert outcome.returncode == 0, outcome.stderr
    assert {path for path in tmp_path.rglob("*") if "/out" not in str(path)} == before
    assert len(written(maildir)) == len(hostile) * (1 + len(folders))
    assert sorted({data for data, _ in written(maildir).values()}) == sorted(mail.data for mail in hostile)
    assert {line.count(":") for line in (maildir / "dovecot-uidlist").read_text().splitlines()[1:]} == {1}


def test_no_control_file_or_server_file_leads_outside_either(tmp_path: Path) -> None:
    with Staging.open(tmp_path / "archive", "vps") as staging:
        evil = [staging.store_file(path, b"evil") for path in ("../../../evil", "/evil", "a/../../evil")]
        generation = store(staging, WORLD, files=evil)
        staging.collect(())

    outcome = rebuild(tmp_path / "archive", tmp_path / "out")

    assert outcome.returncode == 1
    assert outcome.stderr.count("has no safe name and is not written") == len(evil)
    assert not list(tmp_path.rglob("evil"))
    assert generation.number == 1


@pytest.mark.parametrize("mailbox", ["../x@example.org", "a@..", "@", "a/b@example.org", "_server@_server"])
def test_no_mailbox_name_leads_outside_either(tmp_path: Path, mailbox: str) -> None:
    folder = archive_of(tmp_path, {mailbox: ("fs", (Folder("INBOX", "", mails(1)),))})

    assert rebuild(folder, tmp_path / "out").returncode == 0

    assert {path.name for path in tmp_path.iterdir()} == {"archive", "out"}
    (home,) = (path for path in (tmp_path / "out").iterdir() if not path.name.startswith(("_server", "_controller")))
    assert home.name == ("__server" if mailbox == "_server@_server" else "_odd")
    (maildir,) = home.iterdir()
    assert len(list((maildir / "cur").iterdir())) == 1, "and its mail is there"


def test_a_uid_in_use_twice_is_given_to_one(tmp_path: Path) -> None:
    box = (Mail(message("a"), "a", 5), Mail(message("b"), "b", 5))

    rebuild(archive_of(tmp_path, one(Folder("INBOX", "", box, uid_next=2))), tmp_path / "out")

    lines = (tmp_path / "out/example.org/anna/dovecot-uidlist").read_text().splitlines()
    assert lines[0].startswith("3 V1600000000 N6")
    assert len(lines) == 2


def test_a_missing_segment_names_each_message(tmp_path: Path) -> None:
    folder = archive_of(tmp_path, one(Folder("INBOX", "", mails(3))))
    next(folder.rglob("*.tar")).unlink()

    outcome = rebuild(folder, tmp_path / "out")

    assert outcome.returncode == 1
    assert [outcome.stderr.count(f"PROBLEM: anna@example.org / INBOX / {mail.name}") for mail in mails(3)] == [1, 1, 1]


def test_the_rebuilt_files_are_private(tmp_path: Path) -> None:
    rebuild(archive_of(tmp_path, one(Folder("INBOX", "", mails(3)))), tmp_path / "out")

    modes = {path.stat().st_mode & 0o077 for path in (tmp_path / "out/example.org").rglob("*") if path.name != "subscriptions"}
    assert modes == {0}
    assert (tmp_path / "out/example.org").stat().st_mode & 0o077 == 0


def test_what_the_disk_ended_has_a_code_of_its_own(tmp_path: Path) -> None:
    archive = archive_of(tmp_path, WORLD)

    ended = rebuild(archive, tmp_path / "out", largest=10)

    assert ended.returncode == 3, ended.stderr
    assert "PROBLEM: stopped early: [Errno 27]" in ended.stderr
