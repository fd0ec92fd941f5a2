"""What a decision knows of a domain, gathered from the store."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from failsafe.app import App
from failsafe.config.load import load_config
from failsafe.domains import Domains
from failsafe.failover.guards import judge_guards
from failsafe.model import DomainState, FlipKind, Side
from failsafe.store.duties import DoctorRun
from tests.contract.mail_servers import free_port
from tests.unit.daemon.test_watch import CONFIG, DOMAIN


def test_a_store_that_the_last_backup_did_not_believe_guards_the_way_home(tmp_path: Path) -> None:
    file = tmp_path / "failsafe.toml"
    file.write_text(CONFIG.format(folder=tmp_path, port=free_port(), recipient="probe@example.test"))
    app = App(load_config(file), file)
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
    app.store.close()


def test_a_doctor_that_looked_through_a_dead_line_of_ours_does_not_stand_in_the_way(tmp_path: Path) -> None:
    file = tmp_path / "failsafe.toml"
    file.write_text(CONFIG.format(folder=tmp_path, port=free_port(), recipient="probe@example.test"))
    app = App(load_config(file), file)
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
    app.store.close()
