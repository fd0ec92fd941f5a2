"""A snapshot stands alone: bare restic and a bare Python bring every message back, and a real Dovecot serves it with its UIDs."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from failsafe.backup.archive import Archive, Staging
from failsafe.mail.manifest import GenerationDraft
from failsafe.model import Result
from tests.unit.backup.archive.sample import ANNA, BERT, WORLD, Folder, contents, mails, store
from tests.unit.backup.archive.test_rebuild import expected, written
from tests.unit.backup.archive.test_staging import reflagged

needs_restic = pytest.mark.skipif(shutil.which("restic") is None, reason="restic is not installed")
needs_dovecot = pytest.mark.skipif(shutil.which("doveadm") is None, reason="Dovecot is not installed")
NOBODY = 65534
PYTHON = next(path for path in ("/usr/bin/python3", shutil.which("python3") or "") if Path(path).exists())


class Restic:
    """The bare program, as README.txt tells a stranger to use it."""

    def __init__(self, folder: Path) -> None:
        (folder / "password").write_text("test")
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "RESTIC_REPOSITORY": str(folder / "repository"),
            "RESTIC_PASSWORD_FILE": str(folder / "password"),
        }

    def __call__(self, *arguments: str, cwd: Path | None = None) -> str:
        outcome = subprocess.run(
            ["restic", *arguments], env=self.environment, cwd=cwd, capture_output=True, text=True, timeout=240, check=False
        )
        assert outcome.returncode == 0, outcome.stderr
        return outcome.stdout

    def backup(self, staging: Staging, number: int) -> str:
        excludes = [f"--exclude={pattern}" for pattern in staging.restic_excludes(number)]
        return self("backup", "--host", f"failsafe-{staging.server}", *excludes, ".", cwd=staging.folder)


@pytest.fixture
def restic(tmp_path: Path) -> Restic:
    bare = Restic(tmp_path)
    bare("init")
    return bare


def rebuild(folder: Path, dest: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PYTHON, "-I", "-S", "rebuild.py", str(dest)],
        cwd=folder,
        env={},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@needs_restic
def test_bare_restic_and_python_bring_every_message_back(tmp_path: Path, restic: Restic) -> None:
    with Staging.open(tmp_path / "staging", "vps") as staging:
        restic.backup(staging, store(staging, WORLD).number)
    shutil.rmtree(tmp_path / "staging")

    restic("restore", "latest", "--host", "failsafe-vps", "--target", str(tmp_path / "restored"))
    outcome = rebuild(tmp_path / "restored", tmp_path / "out")

    assert outcome.returncode == 0, outcome.stderr
    assert written(tmp_path / "out/example.org/anna") == expected(WORLD[ANNA][1])
    assert written(tmp_path / "out/example.org/bert") == expected(WORLD[BERT][1])


@needs_restic
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_snapshot_holds_the_generation_it_was_made_for_and_no_other(tmp_path: Path, restic: Restic, number: int) -> None:
    with Staging.open(tmp_path / "generations/staging", "vps") as staging:  # a name like one of ours on the way there
        generation = store(staging, WORLD)
        for uid in (3, 4):
            generation = reflagged(staging, generation, ANNA, uid)
        restic.backup(staging, number)
        needed = set(staging.archive.files_needed(staging.generation(number)))

    restic("restore", "latest", "--target", str(tmp_path / "restored"))

    restored = Archive(tmp_path / "restored")
    assert restored.numbers() == (number,)
    assert restored.verify(restored.generation(), read_messages=True) == []
    assert needed <= set(contents(restored.folder))
    assert not [path for path in contents(restored.folder) if path.startswith(".failsafe")]
    assert rebuild(restored.folder, tmp_path / "out").returncode == 0


class Dovecot:
    """doveadm with a configuration of its own and no daemon, on a copy of one rebuilt Maildir; never as root, which Dovecot refuses."""

    def __init__(self, folder: Path, maildir: Path, layout: str) -> None:
        shutil.copytree(maildir, folder / "mail", dirs_exist_ok=False)
        self.configuration = folder / "dovecot.conf"
        self.configuration.write_text(
            f"""
            base_dir = {folder}/base
            log_path = /dev/stderr
            mail_location = maildir:{folder}/mail{":LAYOUT=fs" if layout == "fs" else ""}
            first_valid_uid = 0
            first_valid_gid = 0
            namespace inbox {{
              inbox = yes
              separator = /
            }}
            """
        )
        self.user = NOBODY if os.geteuid() == 0 else None
        if self.user is not None:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, self.user, self.user)
        self.environment = {"PATH": os.environ["PATH"], "USER": "test", "HOME": str(folder)}

    def __call__(self, *arguments: str) -> str:
        outcome = subprocess.run(
            ["doveadm", "-c", str(self.configuration), *arguments],
            env=self.environment,
            user=self.user,
            group=self.user,
            extra_groups=None if self.user is None else [],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert outcome.returncode == 0, outcome.stderr
        return outcome.stdout

    def flags(self, folder: str) -> dict[int, set[str]]:
        rows = self("-f", "tab", "fetch", "uid flags", "mailbox", folder, "all").splitlines()[1:]
        return {int(uid): set(flags.split()) - {"\\Recent"} for uid, flags in (row.split("\t") for row in rows)}


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that an unprivileged Dovecot can reach: pytest's own are closed to others."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="failsafe-") as name:
        yield Path(name)


IMAP = {"D": "\\Draft", "F": "\\Flagged", "P": "$Forwarded", "R": "\\Answered", "S": "\\Seen", "T": "\\Deleted"}


@needs_dovecot
@pytest.mark.parametrize(("mailbox", "layout"), [(ANNA, "maildir++"), (BERT, "fs")])
def test_a_real_dovecot_serves_what_was_rebuilt(tmp_path: Path, open_folder: Path, mailbox: str, layout: str) -> None:
    with Staging.open(tmp_path / "staging", "vps") as staging:
        store(staging, WORLD)
    assert rebuild(tmp_path / "staging", tmp_path / "out").returncode == 0
    dovecot = Dovecot(open_folder, tmp_path / "out/example.org" / mailbox.partition("@")[0], layout)

    assert set(dovecot("mailbox", "list").split("\n")) >= {folder.name for folder in WORLD[mailbox][1]}
    for folder in WORLD[mailbox][1]:
        wanted = {mail.uid or 1: {IMAP[flag] for flag in mail.flags} | set(mail.keywords) for mail in folder.mails}
        assert dovecot.flags(folder.name) == wanted, folder.name
        for mail in folder.mails:
            text = dovecot("-f", "flow", "fetch", "date.received.unixtime", "mailbox", folder.name, "uid", str(mail.uid or 1))
            assert text.strip().endswith(str(mail.internal_date)), folder.name
        if folder.uid_validity is not None:
            status = dovecot("-f", "flow", "mailbox", "status", "uidvalidity uidnext guid", folder.name)
            assert f"uidvalidity={folder.uid_validity}" in status
            assert f"uidnext={folder.uid_next}" in status
            assert folder.guid in status


@needs_dovecot
def test_dovecot_reads_the_subscriptions_that_rebuild_wrote(tmp_path: Path, open_folder: Path) -> None:
    folders = (Folder("INBOX", "", mails(1)), Folder("Entwürfe/a b", ".Entw&APw-rfe.a b", (), subscribed=True))
    with Staging.open(tmp_path / "staging", "vps") as staging:
        generation = store(staging, {ANNA: ("maildir++", folders)})
        manifest = replace(staging.archive.mailbox(generation, ANNA), files=())
        draft = GenerationDraft(generation.at, Result.OK, 1, {ANNA: staging.write_mailbox(manifest)})
        staging.commit(draft)
        staging.collect(())
    assert rebuild(tmp_path / "staging", tmp_path / "out").returncode == 0

    assert Dovecot(open_folder, tmp_path / "out/example.org/anna", "maildir++")("mailbox", "list", "-s").split("\n") == [
        "Entwürfe/a b",
        "",
    ]
