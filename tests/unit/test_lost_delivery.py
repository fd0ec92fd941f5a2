"""Evidence of lost delivery, from the store to the decision: the way in is open, and mail does not arrive."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from failsafe.app import App
from failsafe.backup.serverside import vitals
from failsafe.checkup.inside import look_at_inside
from failsafe.clock import SystemClock
from failsafe.config.load import load_config, parse_config
from failsafe.domains import Domains
from failsafe.failover.delivery import lost_delivery
from failsafe.failover.evidence import judge_down
from failsafe.looks.every import looks_of
from failsafe.model import Axis, Evidence, ProbeClass
from failsafe.store.vitals import VitalRow
from tests.ports import free_port
from tests.unit.daemon.test_watch import CONFIG, DOMAIN
from tests.unit.failover.world import Scene

UP, DEGRADED, DOWN, UNKNOWN = ProbeClass.UP, ProbeClass.DEGRADED, ProbeClass.DOWN, ProbeClass.UNKNOWN
MINUTE = timedelta(minutes=1)
CANARY = """
[canary.vps]
every = "15m"
smtp = "smtp.other.example:587"
user = "me@other.example"
password_file = "{folder}/canary.password"
from = "me@other.example"
to = "probe@example.test"
"""


class Seen:
    """Evidence of the last hour."""

    def __init__(self, folder: Path) -> None:
        file = folder / "failsafe.toml"
        text = CONFIG.format(folder=folder, port=free_port(), recipient="probe@example.test") + CANARY.format(folder=folder)
        file.write_text(text.replace("quorum = 1", "quorum = 2"))
        self.app = App(load_config(file), file)
        self.now: datetime = SystemClock().now()
        self.domains = Domains(self.app, None, self.now, watching=True)

    def saw(self, axis: Axis, vantage: str, seen: ProbeClass, begin: float, end: float, every: float) -> None:
        """From `begin` to `end` minutes ago."""
        for number in range(int((begin - end) / every) + 1):
            at = self.now - (begin - number * every) * MINUTE
            self.app.history.record(Evidence("vps", vantage, axis, seen, at, "as seen", "there"), every * MINUTE)

    def is_down(self) -> bool:
        policy = self.domains.policy(DOMAIN)
        views = tuple(view for view in self.domains.views(DOMAIN, self.now) if view.axis is Axis.INBOUND)
        facts = replace(
            Scene.peace(),
            policy=policy,
            views=views,
            delivery=self.domains._delivery(self.domains.evidence(policy.server), policy, self.now),
        )
        return judge_down(facts, self.now) and bool(lost_delivery(facts))


@pytest.fixture
def seen(tmp_path: Path) -> Iterator[Seen]:
    seen = Seen(tmp_path)
    seen.saw(Axis.INBOUND, "here", UP, 40, 0, 2)
    seen.saw(Axis.DELIVERY, "canary", UP, 40, 30, 5)
    seen.saw(Axis.DELIVERY, "inside", UP, 40, 30, 5)
    yield seen
    seen.app.store.close()


def test_canary_and_inside_together_outvote_a_way_in_that_is_open(seen: Seen) -> None:
    seen.saw(Axis.DELIVERY, "canary", DOWN, 25, 0, 5)
    seen.saw(Axis.DELIVERY, "inside", DOWN, 25, 0, 5)
    assert seen.app.domain(DOMAIN).quorum == 2
    assert seen.is_down()


@pytest.mark.parametrize(
    ("canary", "inside"),
    [(DOWN, UP), (DOWN, DEGRADED), (DOWN, UNKNOWN), (UNKNOWN, DOWN), (UP, DOWN), (UP, DEGRADED)],
)
def test_one_of_them_alone_never_does(seen: Seen, canary: ProbeClass, inside: ProbeClass) -> None:
    seen.saw(Axis.DELIVERY, "canary", canary, 25, 0, 5)
    seen.saw(Axis.DELIVERY, "inside", inside, 25, 0, 5)
    assert not seen.is_down()


def test_what_both_saw_too_short_a_time_is_not_believed_yet(seen: Seen) -> None:
    seen.saw(Axis.DELIVERY, "canary", UP, 25, 15, 5)
    seen.saw(Axis.DELIVERY, "inside", UP, 25, 15, 5)
    seen.saw(Axis.DELIVERY, "canary", DOWN, 10, 0, 5)
    seen.saw(Axis.DELIVERY, "inside", DOWN, 10, 0, 5)
    assert not seen.is_down()


def test_what_both_saw_long_ago_says_nothing_of_now(seen: Seen) -> None:
    seen.now += timedelta(hours=2)
    seen.saw(Axis.INBOUND, "here", UP, 120, 0, 3)
    assert not seen.is_down()


def test_the_canary_is_looked_for_three_times_as_often_as_it_is_sent_where_its_mailbox_is_known(tmp_path: Path) -> None:
    text = CONFIG.format(folder=tmp_path, port=free_port(), recipient="probe@example.test") + CANARY.format(folder=tmp_path)
    imap = 'imap = { host = "mail.example.test", port = 993, user = "probe@example.test", password_file = "/x" }\n[own_line]'

    def looks(config: str) -> list[tuple[str, timedelta]]:
        app = App(parse_config(config.encode(), "failsafe.toml"), tmp_path / "failsafe.toml")
        return [(look.vantage, look.interval) for look in looks_of(app, "vps") if look.axis is Axis.DELIVERY]

    assert looks(text) == []
    assert looks(text.replace("[own_line]", imap)) == [("canary", 5 * MINUTE)]


@pytest.mark.parametrize(("lines", "names"), [(0, False), (1, True), (None, None)])
def test_the_doctor_knows_from_what_was_recorded_whether_the_mail_log_names_canaries(
    seen: Seen, lines: int | None, names: bool | None
) -> None:
    for number in range(24):
        at = seen.now - (125 - 5 * number) * MINUTE
        log = None if lines is None else {"taken": lines}
        seen.app.vitals.record(VitalRow("vps", "inside", at, {"log": log}))
        seen.app.vitals.record(VitalRow("vps", "canary", at, {"new": number % 3 == 0, "place": ""}))
    assert look_at_inside(seen.app, "vps", seen.now).log_names is names


def test_a_mail_log_that_may_not_be_read_is_told_as_unknown_and_not_as_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vitals, "MAIL_LOGS", (b"/nonexistent/mail.log",))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(vitals, "TOOLS", str(tmp_path))
    settings = {"root": os.fsencode(tmp_path / "mail"), "postfix": ""}
    answers = {}
    for name, does in (
        ("refused", "exit 1"),
        ("allowed", "echo 'Nov 22 11:59:04 mail postfix/lmtp[1]: 4F1: to=<a@b.example>, status=sent'"),
    ):
        (tmp_path / "journalctl").write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / "journalctl").chmod(0o755)
        answers[name] = vitals.log_seen(settings, "@1", {"a@b.example"})
    assert answers["refused"] is None
    assert answers["allowed"]["taken"] == 1
