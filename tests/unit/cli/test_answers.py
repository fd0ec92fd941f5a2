"""Answers that a script can read, whatever names a mail server has and whatever this machine's disk does."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from failsafe.backup.verify import ArchiveVerdict, RepositoryVerdict
from failsafe.cli.backup import _verdict_json

PROGRAM = r"""
import sys
from failsafe.cli.common import answer, answer_json, run_cli, verbs_app
app = verbs_app()
@app.command()
def show():
    answer_json({"name": "caf\udce9"})
    answer("caf\udce9")
sys.argv = ["show"]
sys.exit(run_cli(app))
"""


def test_a_name_that_is_no_utf8_can_be_answered() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.decode("utf-8").splitlines()
    assert json.loads(first) == {"name": "caf\udce9"}
    assert second == r"caf\udce9"


def test_a_repository_whose_snapshot_lacks_files_is_not_ok() -> None:
    whole = RepositoryVerdict("nas", ok=True, read_percent=8.0)
    lacking = ArchiveVerdict("vps", "nas", ok=False, generation=3, problems=("snapshot 12345678 lacks segments/ab",))
    assert _verdict_json(whole, (ArchiveVerdict("vps", "nas", ok=True),))["ok"] is True
    shown = _verdict_json(whole, (lacking,))
    assert (shown["ok"], shown["damaged"]) == (False, ["vps: snapshot 12345678 lacks segments/ab"])


def test_a_fault_of_this_machine_is_a_failed_backup_with_a_mend(tmp_path: Path) -> None:
    """Here: an inventory that lost a table."""
    for sub in ("cur", "new", "tmp"):
        (tmp_path / "mail/example.org/anna" / sub).mkdir(parents=True)
    config = tmp_path / "failsafe.toml"
    config.write_text(
        f'[controller]\nid = "test"\nstate_dir = "{tmp_path}/state"\n[mail_server.vps]\nlayout = "maildir"\npath = "{tmp_path}/mail"\n'
    )
    command = [sys.executable, "-m", "failsafe", "--config", str(config), "backup", "--json"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    with sqlite3.connect(tmp_path / "state/inventory/vps.sqlite") as db:
        db.execute("DROP TABLE guard")
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert done.returncode == 4, done.stderr
    assert "what to do" in done.stderr
    shown = json.loads(done.stdout)
    assert (shown["result"], bool(shown["errors"][0]["mend"])) == ("failed", True)


@pytest.mark.skipif(shutil.which("restic") is None, reason="restic is not installed")
def test_a_repository_out_of_reach_hides_no_other_and_an_empty_store_is_told(tmp_path: Path) -> None:
    (tmp_path / "mail").mkdir()
    (tmp_path / "password").touch(mode=0o600)
    (tmp_path / "password").write_text("a long secret\n")
    config = tmp_path / "failsafe.toml"
    config.write_text(
        f'[controller]\nid = "test"\nstate_dir = "{tmp_path}/state"\n[mail_server.vps]\nlayout = "maildir"\npath = "{tmp_path}/mail"\n'
        + "".join(
            f'[repository.{name}]\nurl = "{tmp_path}/{place}/repository"\npassword_file = "{tmp_path}/password"\n'
            for name, place in (("a-far", "not-mounted"), ("near", "."))
        )
    )
    command = [sys.executable, "-m", "failsafe", "--config", str(config)]
    backup = subprocess.run([*command, "backup", "--json"], capture_output=True, check=False, text=True)
    assert backup.returncode == 4, backup.stderr
    assert "no mailbox was found" in json.loads(backup.stdout)["notes"][0]
    done = subprocess.run([*command, "snapshots", "--json"], capture_output=True, check=False, text=True)
    assert (done.returncode, "not-mounted" in done.stderr) == (4, True), done.stderr
    assert [json.loads(line)["repository"] for line in done.stdout.splitlines()] == ["near"]


def test_an_interrupted_verb_ends_with_5_whatever_typer_makes_of_it() -> None:
    program = PROGRAM.replace("answer_json({", "raise KeyboardInterrupt; answer_json({")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (5, b"")
    assert b"goes on from here" in done.stderr
