"""What deploy/ hands to systemd, cron and logrotate, judged by those programs themselves."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.contract.wheels import ROOT

UNIT = ROOT / "deploy" / "systemd" / "failsafe.service"
CRON = ROOT / "deploy" / "cron" / "failsafe"
ROTATE = ROOT / "deploy" / "logrotate" / "failsafe"
MOST_EXPOSED = 2.0  # of 10, as `systemd-analyze security` counts; "OK" ends at 4.9

systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed here")
logrotate = pytest.mark.skipif(
    shutil.which("logrotate", path="/usr/sbin:/usr/bin") is None, reason="logrotate is not installed here"
)


@systemd
def test_the_daemon_is_exposed_to_little(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--json=short", str(UNIT)]
    rows = json.loads(subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout)
    words = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(UNIT)]
    told = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout

    figure = re.search(r"Overall exposure level for failsafe\.service: ([0-9.]+)", told)
    assert figure is not None
    with capsys.disabled():
        print(f"\nsystemd-analyze security failsafe.service: {figure[1]} of 10 ({len(rows)} tests)")
    assert float(figure[1]) <= MOST_EXPOSED


@systemd
def test_systemd_understands_every_line_of_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "failsafe.service"
    unit.write_text(UNIT.read_text().replace("/usr/local/bin/failsafe", shutil.which("true") or "/bin/true"))

    outcome = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60, check=False)

    ours = [line for line in outcome.stderr.splitlines() if "failsafe.service" in line and "User=failsafe" not in line]
    assert ours == []


def test_the_unit_lets_jobs_lower_their_own_priority_and_gives_a_slow_machine_time_to_start() -> None:
    """Seen under a real systemd: with @resources denied `ionice` fails, and no backup ever begins; in 90 s a busy NAS has not started."""
    lines = [line for line in UNIT.read_text().splitlines() if not line.startswith("#")]
    denied = {word for line in lines if line.startswith("SystemCallFilter=~") for word in line.partition("~")[2].split()}

    assert not denied & {"@resources", "@process", "@file-system", "@network-io"}
    assert "TimeoutStartSec=10min" in lines


def cron_line() -> tuple[str, dict[str, str]]:
    """(the command, the environment) as cron reads the file; fields and user are checked on the way."""
    lines = [line for line in CRON.read_text().splitlines() if line and not line.startswith("#")]
    environment = dict(line.split("=", 1) for line in lines[:-1])
    fields = lines[-1].split(None, 6)
    assert fields[:6] == ["*", "*", "*", "*", "*", "failsafe"]
    assert "%" not in lines[-1], "cron makes a line's end of it"
    return fields[6], environment


def run_cron_line(folder: Path) -> subprocess.CompletedProcess[str]:
    command, environment = cron_line()
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    program = programs / "failsafe"
    program.write_text('#!/bin/sh\necho answer; echo told "$@" >&2\n')
    program.chmod(0o755)
    moved = command.replace("/etc/failsafe", f"{folder}/etc").replace("/var/lib/failsafe", str(folder))
    return subprocess.run(
        [environment["SHELL"], "-c", moved],
        env={"PATH": f"{programs}:{environment['PATH']}"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_the_cron_line_does_nothing_until_there_is_a_configuration(tmp_path: Path) -> None:
    outcome = run_cron_line(tmp_path)

    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (0, "", "")
    assert not (tmp_path / "failsafe.log").exists()


def test_the_cron_line_mails_nothing_and_keeps_what_a_tick_says(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "failsafe.toml").write_text("")

    for _twice in range(2):
        outcome = run_cron_line(tmp_path)
        assert (outcome.returncode, outcome.stdout, outcome.stderr) == (0, "", "")

    told = f"told --config {tmp_path}/etc/failsafe.toml tick\n"
    assert (tmp_path / "failsafe.log").read_text() == told * 2
    assert (tmp_path / "failsafe.log").stat().st_mode & 0o077 == 0


def test_a_file_for_cron_d_has_no_dot_in_its_name_and_ends_with_a_line(tmp_path: Path) -> None:
    assert "." not in CRON.name
    assert CRON.read_text().endswith("\n")
    assert CRON.stat().st_mode & 0o022 == 0


@logrotate
@pytest.mark.skipif(os.getuid() != 0, reason="needs root: logrotate changes owners")
def test_logrotate_turns_the_log_over_and_a_daemon_that_has_it_open_writes_on_into_it(tmp_path: Path) -> None:
    log, rules = tmp_path / "failsafe.log", tmp_path / "rules"
    tmp_path.chmod(0o700)
    rules.write_text(ROTATE.read_text().replace("/var/lib/failsafe", str(tmp_path)).replace("failsafe failsafe", "root root"))
    rules.chmod(0o644)
    rotate = ["/usr/sbin/logrotate", "--state", str(tmp_path / "state")]
    with log.open("a") as held:
        held.write("before\n")
        held.flush()

        checked = subprocess.run([*rotate, "--debug", rules], capture_output=True, text=True, timeout=30, check=False)
        turned = subprocess.run([*rotate, "--force", rules], capture_output=True, text=True, timeout=30, check=False)
        held.write("after\n")

    assert "error" not in checked.stderr
    assert (checked.returncode, turned.returncode, turned.stderr) == (0, 0, "")
    assert ((tmp_path / "failsafe.log.1").read_text(), log.read_text()) == ("before\n", "after\n")
