"""What a decision knows of a domain, gathered from the store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from failsafe.app import App
from failsafe.config.load import load_config
from failsafe.domains import DECISION_LASTS, Domains, Round
from failsafe.errors import DnsError
from failsafe.failover.decide import Order, decide
from failsafe.failover.facts import PrimaryCheck, PrimaryProof
from failsafe.failover.guards import judge_guards
from failsafe.failover.runner import FlipRunner
from failsafe.model import DomainState, FlipKind, Side
from failsafe.store.duties import DoctorRun
from failsafe.store.lease import Lease
from tests.fakes.zone import FakeClock
from tests.ports import free_port
from tests.unit.daemon.test_watch import CONFIG, DOMAIN
from tests.unit.failover.world import NOW, Scene


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    file = tmp_path / "failsafe.toml"
    file.write_text(CONFIG.format(folder=tmp_path, port=free_port(), recipient="probe@example.test"))
    made = App(load_config(file), file)
    yield made
    made.store.close()


def test_a_store_that_the_last_backup_did_not_believe_guards_the_way_home(app: App) -> None:
    now = app.clock.now()
    domains = Domains(app, app.leases.acquire("nas", now), now)
    record = domains.journal.load(DOMAIN, now)
    domains.journal.change(record, replace(record, state=DomainState.RECOVERING, serving=Side.SECONDARY), [])

    def codes(*guards: dict[str, str]) -> list[str]:
        app.duties.ended("guards:vps", now, ok=not guards, details={"guards": list(guards)})
        facts = domains.gather(DOMAIN, now)
        return [guard.code for guard in judge_guards(facts, FlipKind.FAILBACK, now)]

    assert "store-suspect" not in codes()
    assert "store-suspect" in codes({"code": "store-rebuilt", "text": "the mail store is empty"})
    assert "store-suspect" not in codes({"code": "repository-unknown", "text": "another repository"})


def test_a_proof_of_life_noted_by_a_clock_years_ahead_gives_way_to_the_next_one(app: App) -> None:
    now = app.clock.now()
    domains = Domains(app, app.leases.acquire("nas", now), now)
    record = domains.journal.load(DOMAIN, now)
    domains.journal.change(record, replace(record, state=DomainState.SUSPECT), [])

    domains.note_alive("vps", now + timedelta(days=400), now + timedelta(days=400))
    domains.note_alive("vps", now - timedelta(minutes=1), now)
    assert domains.gather(DOMAIN, now).proof_of_life_at == now - timedelta(minutes=1)
    domains.note_alive("vps", now - timedelta(minutes=2), now)
    assert domains.gather(DOMAIN, now).proof_of_life_at == now - timedelta(minutes=1)


def test_a_doctor_that_looked_through_a_dead_line_of_ours_does_not_stand_in_the_way(app: App) -> None:
    now = app.clock.now()
    domains = Domains(app, None, now)

    def finding(code: str, severity: str, subject: str) -> dict[str, Any]:
        return {"code": code, "severity": severity, "subject": subject, "text": "said so", "mend": "", "blocks_failover": True}

    unresolved = finding("secondary-resolves", "fail", DOMAIN)
    blind = [finding("own-line", "warn", "controller"), unresolved]
    app.duties.add_doctor_run(DoctorRun(now - timedelta(hours=2), blind, {}))
    assert [found.code for found in domains._doctor(DOMAIN, None)[1]] == ["own-line", "secondary-resolves"]
    app.duties.add_doctor_run(DoctorRun(now - timedelta(hours=1), [finding("own-line", "ok", "controller")], {}))
    app.duties.add_doctor_run(DoctorRun(now, blind, {}))
    at, findings = domains._doctor(DOMAIN, None)
    assert (at, [found.severity for found in findings]) == (now - timedelta(hours=1), ["ok"])
    app.duties.add_doctor_run(DoctorRun(now, [finding("own-line", "ok", "controller"), unresolved], {}))
    assert [found.code for found in domains._doctor(DOMAIN, None)[1]] == ["own-line", "secondary-resolves"]


class Slow(Domains):
    """Decides on a failover, after `took`; fails the test where it begins to act."""

    took = timedelta(0)

    def decide(self, domain: str, now: datetime) -> Round:  # noqa: ARG002 - as overridden
        facts = Scene.down()
        self.app.clock.sleep(self.took.total_seconds())
        return Round(facts, decide(facts, now))

    def runner(self, domain: str) -> FlipRunner:  # noqa: ARG002 - as overridden
        raise ActedError


class ActedError(Exception):
    pass


def slow(lease: Lease | None, took: timedelta) -> Slow:
    domains = Slow(SimpleNamespace(clock=FakeClock(NOW), store=None, config=None), lease, NOW)  # type: ignore[arg-type]
    domains.took = took
    return domains


def test_facts_that_grew_old_while_the_process_was_stopped_are_not_acted_on() -> None:
    stopped = slow(Lease("nas", 1), DECISION_LASTS * 2).decide_and_act(DOMAIN, NOW)
    assert Order.FLIP in stopped.decision.orders
    assert stopped.ending is None
    with pytest.raises(ActedError):
        slow(Lease("nas", 1), DECISION_LASTS / 2).decide_and_act(DOMAIN, NOW)


def test_who_does_not_lead_does_not_even_try() -> None:
    assert slow(None, timedelta(0)).decide_and_act(DOMAIN, NOW).ending is None


def test_what_was_proved_by_a_clock_that_was_set_back_since_is_looked_at_anew(app: App) -> None:
    now = app.clock.now()
    domains = Domains(app, app.leases.acquire("nas", now), now)
    ahead = now + timedelta(days=400)
    domains._proofs[DOMAIN] = PrimaryProof(ahead, (PrimaryCheck("tls", ok=False, text="the certificate has expired"),))
    assert domains.gather(DOMAIN, ahead).primary is not None
    assert domains.gather(DOMAIN, now).primary is None
    assert domains._may_recheck(DOMAIN, now)


def test_a_zone_that_an_ill_resolver_named_is_asked_for_again(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    app.clock = FakeClock(NOW)  # type: ignore[assignment]
    domains = Domains(app, None, NOW)
    said: list[str | DnsError] = ["wrong.test", "example.test", DnsError("no answer")]

    def find_zone(_domain: str) -> str:
        answer = said.pop(0)
        if isinstance(answer, DnsError):
            raise answer
        return answer

    monkeypatch.setattr("failsafe.adapters.resolver.find_zone", find_zone)
    found = []
    for _ in range(4):
        found.append(domains._zone_name(DOMAIN))
        app.clock.sleep(1900)
    assert found == ["wrong.test", "wrong.test", "example.test", "example.test"]
    assert domains._zone_name(DOMAIN) == "example.test"
    assert said == []
