"""How a homecoming stands, as the journal and the table of duties have it, and how often the daemon begins one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from failsafe.config.load import parse_config
from failsafe.daemon.jobs import verb_of
from failsafe.model import Severity, Side
from failsafe.status.build import build_status
from failsafe.status.homecoming import Standing
from failsafe.status.roster import duties_of
from failsafe.status.words import render_plain
from failsafe.web.metrics import render_metrics
from tests.unit.status.world import NOW, ROSTER, ago, healthy, watch

TOML = b"""
[mail_server.vps]
layout = "maildir"
path = "/mail"
[repository.nas]
url = "/backup"
password_file = "/p"
[domain."example.org"]
server = "vps"
primary = ["mail.example.org"]
secondary = ["mx.away.example"]
strategy = "on-demand"
[domain."example.org".homecoming]
host = "imap.away.example"
port = 993
catch_all = { user = "all", password_file = "/b" }
"""


def came_home(**details: Any) -> dict[str, Any]:
    at = ago(minutes=7)
    return {"name": "came-home:example.org", "started_at": None, "ended_at": at, "ok_at": at, "result": "", "details": details}


def test_a_homecoming_is_a_duty_of_the_daemon_and_a_child_of_its_own() -> None:
    names = [duty.name for duty in duties_of(parse_config(TOML, "failsafe.toml"))]

    assert "homecoming:example.org" in names
    assert verb_of("homecoming:example.org") == ["homecoming", "example.org", "--scheduled"]


@pytest.mark.parametrize(
    ("state", "serving", "away"),
    [
        ("normal", "primary", False),
        ("suspect", "primary", False),
        ("failing-over", "primary", True),
        ("failed-over", "secondary", True),
        ("halted", "secondary", True),
        ("halted", "primary", False),
    ],
)
def test_mail_goes_home_where_the_primary_serves(state: str, serving: str, away: bool) -> None:
    assert Standing.of({"state": state, "serving": serving, "draining_until": None}).is_away is away


def test_a_domain_that_never_moved_is_at_home_and_drains_not() -> None:
    assert (Standing.of(None).is_away, Standing.of(None).drains(NOW), Standing.of(None).serving) == (False, False, Side.PRIMARY)


def test_a_domain_drains_until_the_time_is_over() -> None:
    standing = Standing(draining_until=NOW)

    assert (standing.drains(NOW - timedelta(seconds=1)), standing.drains(NOW)) == (True, False)


def test_what_came_home_and_what_waits_is_shown_counted_and_a_finding() -> None:
    row = came_home(home=12, already_there=3, waiting=2, reasons={"Quota exceeded": 2})
    status = build_status(ROSTER, healthy(duty=(watch(), row)), NOW)

    said = "\n".join(render_plain(status, NOW.tzinfo))  # type: ignore[arg-type]
    assert "12 came home, 3 were already there, 2 wait (Quota exceeded)" in said
    (finding,) = [each for each in status.findings if each.code == "homecoming"]
    assert (finding.severity, finding.mend) == (Severity.WARN, "failsafe homecoming example.org")
    metrics = render_metrics(status)
    assert 'failsafe_homecoming_home{domain="example.org"} 12.0' in metrics
    assert 'failsafe_homecoming_waiting{domain="example.org"} 2.0' in metrics


def test_a_homecoming_with_nothing_that_waits_is_no_finding() -> None:
    status = build_status(ROSTER, healthy(duty=(watch(), came_home(home=1))), NOW)

    assert not [each for each in status.findings if each.code == "homecoming"]
