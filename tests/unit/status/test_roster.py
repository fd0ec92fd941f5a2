"""The roster: the same from memory as from the file, and never older than the file."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from failsafe.backup.due import LastRun, plan_due
from failsafe.config.load import load_config
from failsafe.errors import ConfigError
from failsafe.status.roster import from_json, read_roster, roster_of, to_json

CONFIG = """
[controller]
id = "nas"
state_dir = "{state}"
[mail_server.vps]
layout = "maildir"
path = "/srv/mail"
backup_every = "{every}"
[repository.offsite]
url = "s3:https://s3.example.net/my-mail"
password_file = "/etc/failsafe/repository.password"
window = "23:00-06:00"
[domain."example.org"]
server = "vps"
primary = ["mail.example.org"]
secondary = ["mx.example.net"]
strategy = "on-demand"
"""


def write(tmp_path: Path, every: str = "15m") -> Path:
    state = tmp_path / "state"
    state.mkdir(exist_ok=True)
    file = tmp_path / "failsafe.toml"
    file.write_text(CONFIG.format(state=state, every=every))
    return file


def test_a_remembered_roster_is_the_same_as_a_validated_one(tmp_path: Path) -> None:
    file = write(tmp_path)
    validated = roster_of(load_config(file))
    assert from_json(to_json(validated)) == validated
    assert read_roster(file) == validated  # writes the memory
    assert (tmp_path / "state" / "cache" / "roster.json").exists()
    assert read_roster(file) == validated  # reads it


def test_a_changed_configuration_is_seen_at_once(tmp_path: Path) -> None:
    read_roster(write(tmp_path))
    roster = read_roster(write(tmp_path, every="1h"))
    assert {duty.every for duty in roster.duties if duty.name == "backup:vps"} == {timedelta(hours=1)}


def test_a_fault_is_told_although_a_good_file_is_remembered(tmp_path: Path) -> None:
    file = write(tmp_path)
    read_roster(file)
    file.write_text(file.read_text() + "\nnonsense = 1\n")
    with pytest.raises(ConfigError, match="nonsense"):
        read_roster(file)


def test_a_damaged_memory_is_made_anew(tmp_path: Path) -> None:
    file = write(tmp_path)
    before = read_roster(file)
    memory = tmp_path / "state" / "cache" / "roster.json"
    memory.write_text('{"digest": 7')
    assert read_roster(file) == before
    assert "roster" in memory.read_text()


def test_the_doctor_looks_by_itself_once_a_day_and_a_whole_day_after_it_ended(tmp_path: Path) -> None:
    duties = roster_of(load_config(write(tmp_path))).duties
    now = datetime(2026, 11, 22, 17, 0, tzinfo=UTC)

    def due(hours: float) -> list[str]:
        ended = now - timedelta(hours=hours)
        last = {duty.name: LastRun(ended, ended, ended) for duty in duties}
        return [duty.name for duty in plan_due(duties, last, now, UTC) if duty.name == "doctor"]

    assert (due(20), due(25)) == ([], ["doctor"])
