"""The plan of an uninstallation names every trace that the configuration knows of, and removes nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from failsafe.config.load import parse_config
from failsafe.uninstalling import KINDS, Trace, traces

CONFIG = """
[mail_server.vps]
layout = "docker-mailserver"
path = "/srv/dms"
ssh = "failsafe@mail.example.org:2222"
[mail_server.here]
layout = "maildir"
path = "/var/vmail"
[repository.nas]
url = "/volume1/backup"
password_file = "/etc/failsafe/nas.password"
[repository.far]
url = "s3:https://s3.example.net/bucket"
password_file = "/etc/failsafe/far.password"
environment_file = "/etc/failsafe/far.env"
[dns.cf]
provider = "cloudflare"
token_file = "/etc/failsafe/cf.token"
zone_id = "abc"
[dns.knot]
provider = "rfc2136"
server = "192.0.2.1:53"
key_name = "failsafe."
key_file = "/etc/failsafe/tsig"
[domain."example.org"]
server = "vps"
primary = ["mail.example.org"]
secondary = ["mx.example.net"]
strategy = "swap"
dns = "cf"
[domain."example.org".homecoming]
host = "imap.example.net"
port = 993
mark = "keyword"
accounts = [{ mailbox = "anna@example.org", user = "anna-there", password_file = "/etc/failsafe/anna" }]
deliver = { host = "mail.example.org", port = 993, master_user = "home-master", password_file = "/etc/failsafe/master" }
[domain."example.net"]
server = "here"
primary = ["mail.example.net"]
secondary = ["mx.example.com"]
strategy = "on-demand"
dns = "knot"
[probe.vps]
recipient = "probe@example.org"
imap = { host = "mail.example.org", port = 993, user = "probe@example.org", password_file = "/etc/failsafe/probe" }
[canary.vps]
smtp = "smtp.example.com:465"
user = "canary-user"
password_file = "/etc/failsafe/canary"
from = "canary@example.com"
to = "probe@example.org"
[vantage.elsewhere]
kind = "ssh"
ssh = "watch@vps2.example.net"
[vantage.robot]
kind = "uptimerobot"
monitor = "4711"
key_file = "/etc/failsafe/robot"
[vantage.page]
kind = "http"
url = "https://status.example.net/api?key=never-printed"
up_when = "status = 200"
[notify]
urls_file = "/etc/failsafe/notify.urls"
heartbeat_url_file = "/etc/failsafe/heartbeat"
"""


@pytest.fixture(scope="module")
def plan() -> tuple[Trace, ...]:
    return traces(parse_config(CONFIG.encode(), "test"), Path("/etc/failsafe/failsafe.toml"))


@pytest.mark.parametrize(
    "named",
    [
        "failsafe config server vps --remove | ssh root@mail.example.org sh",
        "fail2ban-jail.cf",
        "TXT _failsafe.example.org",
        "failsafe-drill.example.org",
        "/etc/failsafe/cf.token",
        "the key failsafe. in /etc/failsafe/tsig",
        "mx.example.net",
        "the probe's mailbox probe@example.org",
        "canary-user",
        "anna-there",
        "home-master",
        "marks (keyword)",
        "watch@vps2.example.net",
        "monitor 4711",
        "status.example.net",
        "/etc/failsafe/heartbeat",
        "/etc/failsafe/notify.urls",
        "recovery kits",
        "/var/lib/failsafe",
        "failsafe failback example.org",
    ],
)
def test_every_trace_is_named_with_a_way_to_remove_it(plan: tuple[Trace, ...], named: str) -> None:
    assert any(named in f"{trace.what} {trace.how}" for trace in plan)
    assert all(trace.how for trace in plan)


def test_every_table_of_the_configuration_has_its_traces(plan: tuple[Trace, ...]) -> None:
    assert {trace.kind for trace in plan} == set(KINDS)


def test_each_repository_is_named_and_stays_with_its_password(plan: tuple[Trace, ...]) -> None:
    backups = {trace.place: trace for trace in plan if trace.kind == "backup"}

    assert set(backups) == {"nas", "far"}
    assert all(trace.how.startswith("STAYS") and ".password" in trace.how for trace in backups.values())
    assert not any(trace.what in other.how for trace in backups.values() for other in plan if "rm " in other.how)


def test_what_is_outside_goes_first_and_this_machine_last(plan: tuple[Trace, ...]) -> None:
    order = [KINDS.index(trace.kind) for trace in plan]

    assert order == sorted(order)
    assert KINDS[-1] == "here"


def test_a_server_on_this_machine_and_a_zone_by_rfc2136_have_fewer_traces(plan: tuple[Trace, ...]) -> None:
    assert not any("config server here" in trace.how for trace in plan)
    assert not any("_failsafe.example.net" in trace.what for trace in plan)


def test_what_stands_behind_a_monitors_question_mark_is_not_printed(plan: tuple[Trace, ...]) -> None:
    assert not any("never-printed" in f"{trace.what} {trace.how}" for trace in plan)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "failsafe.toml"
    file.write_text(CONFIG)
    return file


def failsafe(config: Path, *words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "failsafe", "--config", str(config), "uninstall", *words]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)


def test_without_plan_nothing_is_done_and_the_way_is_told(config: Path) -> None:
    outcome = failsafe(config)

    assert (outcome.returncode, outcome.stdout) == (2, "")
    assert "uninstall --plan" in outcome.stderr


def test_the_plan_is_printed_for_people_and_for_scripts(config: Path) -> None:
    told, as_json = failsafe(config, "--plan"), failsafe(config, "--plan", "--json")

    assert told.returncode == as_json.returncode == 0
    assert f"failsafe --config {config} config server vps --remove" in told.stdout
    assert {trace["kind"] for trace in json.loads(as_json.stdout)["traces"]} == set(KINDS)
