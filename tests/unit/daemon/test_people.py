"""What people are told again, and when the heartbeat may say that all is looked after."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from failsafe.app import App
from failsafe.config.load import load_config
from failsafe.daemon.people import People, ending_credentials, lasts, reminder
from failsafe.events import Event
from failsafe.model import DomainState, Notice, Severity, Side
from failsafe.ports import Delivery
from failsafe.status.build import build_status
from failsafe.status.values import DomainStatus
from failsafe.status.watched import watches_all
from failsafe.store.duties import DoctorRun
from failsafe.store.glance import Glance
from failsafe.store.journal import Journal
from tests.contract.configs import MAIL_HERE, domain_table
from tests.unit.status.world import NOW, ROSTER, ago, duty, healthy, watch

SINCE = NOW - timedelta(hours=6)


def domain(state: DomainState, inbound: str = "down") -> DomainStatus:
    [found] = build_status(ROSTER, healthy(), NOW).domains
    return replace(found, state=state, health={**found.health, "inbound": inbound})


def told(state: DomainState, inbound: str = "down") -> Notice:
    notice = reminder(domain(state, inbound), SINCE, "thread", NOW).notice
    assert notice is not None
    return notice


def test_an_outage_that_nothing_was_done_about_is_told_again() -> None:
    assert lasts(domain(DomainState.SUSPECT))
    notice = told(DomainState.SUSPECT)
    assert (notice.losing_mail[:3], notice.must_do) == ("no:", "failsafe failover example.org")
    assert told(DomainState.SUSPECT, "lying").losing_mail.startswith("yes:")


def test_mail_that_is_taken_and_does_not_arrive_is_told_again() -> None:
    found = domain(DomainState.SUSPECT, "up")
    lost = replace(found, health={**found.health, "delivery": "down"})
    assert lasts(lost)
    notice = reminder(lost, SINCE, "thread", NOW).notice
    assert notice is not None
    assert notice.losing_mail.startswith("yes, it seems")


@pytest.mark.parametrize("inbound", ["up", "unknown"])
def test_a_suspicion_without_evidence_is_not(inbound: str) -> None:
    assert not lasts(domain(DomainState.SUSPECT, inbound))


def test_a_failback_that_waits_for_a_person_is_told_again() -> None:
    assert lasts(domain(DomainState.RECOVERING, "up"))
    assert told(DomainState.RECOVERING, "up").must_do == "failsafe failback example.org"


def test_peace_is_not() -> None:
    assert not lasts(domain(DomainState.NORMAL, "up"))


def test_a_halted_domain_asks_for_a_word() -> None:
    assert told(DomainState.HALTED).must_do.startswith("failsafe acknowledge example.org")


def test_a_watch_that_stands_still_is_not_looked_after() -> None:
    assert watches_all(ROSTER, healthy(), NOW)
    assert not watches_all(ROSTER, healthy(duty=(watch(at=ago(hours=1)), duty("backup:vps", ago(minutes=5)))), NOW)
    assert not watches_all(ROSTER, Glance(), NOW)


CONFIG = MAIL_HERE + domain_table("example.org")


def test_reminders_are_counted_from_the_beginning_of_the_outage_each_once_also_across_restarts(tmp_path: Path) -> None:
    file = tmp_path / "failsafe.toml"
    file.write_text(CONFIG.format(folder=tmp_path))
    app = App(load_config(file), file)
    journal = Journal(app.store, app.leases.acquire("nas", NOW))
    began = NOW - timedelta(minutes=15)
    out = replace(journal.load("example.org", NOW), state=DomainState.FAILED_OVER, serving=Side.SECONDARY, suspected_at=began)
    record = journal.change(journal.load("example.org", NOW), replace(out, since_at=NOW), [])
    for quarter in range(4 * 24):
        now = NOW + timedelta(minutes=15 * quarter)
        # The primary comes and goes meanwhile, so the state is a new one every two hours.
        state = DomainState.RECOVERING if quarter // 8 % 2 else DomainState.FAILED_OVER
        if state is not record.state:
            record = journal.change(record, replace(record, state=state, since_at=now), [])
        People.of(app).step(now, leader=True)  # of a program that has just started
    reminded = [event.at for _, event in app.events.since() if event.name == "domain.reminded"]
    assert [(at - began) / timedelta(hours=1) for at in reminded] == [1, 6, 12, 20]
    app.store.close()


def test_a_credential_that_ends_is_told_once_a_week_until_there_is_a_new_one(tmp_path: Path) -> None:
    file = tmp_path / "failsafe.toml"
    file.write_text(CONFIG.format(folder=tmp_path))
    app = App(load_config(file), file)
    app.leases.acquire("nas", NOW)

    def look(day: int, severity: str) -> None:
        now = NOW + timedelta(days=day)
        rest = {"code": "provider-token-expiry", "mend": "make a new one", "blocks_failover": False}
        text = f"the credential ends on 2026-12-20, in {28 - day} days"
        findings = [{**rest, "subject": name, "severity": severity, "text": text} for name in ("example.net", "example.org")]
        app.duties.add_doctor_run(DoctorRun(now, findings, {}))
        People.of(app).step(now, leader=True)

    for day in range(20):
        look(day, "warn")
    [event] = ending_credentials(People.of(app).status(NOW), NOW)
    assert event.notice is not None
    assert (event.notice.must_do, event.notice.severity) == ("make a new one", Severity.WARN)
    look(20, "ok")
    look(30, "ok")
    told = [event for _, event in app.events.since() if event.name == "credential.ending"]
    assert [(event.at - NOW).days for event in told] == [0, 7, 14]
    assert all(event.subject == "example.net" and "example.net, example.org" in event.text for event in told)
    app.store.close()


class Heard:
    """A notifier that keeps what it sends; with `fails` nothing arrives."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails, self.notices = fails, list[Notice]()

    def send(self, notice: Notice) -> tuple[Delivery, ...]:
        self.notices.append(notice)
        return (Delivery("json://phone", not self.fails, "no answer" if self.fails else ""),)


def test_domains_of_one_server_that_flip_are_one_notice_which_is_sent_until_it_arrives(tmp_path: Path) -> None:
    file = tmp_path / "failsafe.toml"
    file.write_text(CONFIG.format(folder=tmp_path) + domain_table("example.net"))
    app = App(load_config(file), file)
    people, deaf, phone = People.of(app), Heard(fails=True), Heard()
    for seconds, name in enumerate(("example.org", "example.net")):
        notice = Notice(
            f"{name}: mail goes to the secondary", "no", "to the secondary", "look after the primary", SINCE, f"{name}:1"
        )
        app.record(Event("failover.done", name, "failover done", NOW + timedelta(seconds=seconds), notice=notice))
    app.notifier = lambda: deaf  # type: ignore[method-assign]
    people.step(NOW + timedelta(seconds=2), leader=True)
    app.notifier = lambda: phone  # type: ignore[method-assign]
    for minute in range(1, 5):
        people.step(NOW + timedelta(minutes=minute), leader=True)
    subject = "example.net and example.org: mail goes to the secondary"
    assert [notice.subject for notice in deaf.notices] == [subject]
    assert [notice.subject for notice in phone.notices] == [subject]
    assert [event.name for _, event in app.events.since()].count("notice.failed") == 1
    app.store.close()
