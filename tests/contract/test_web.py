"""The dashboard, asked over HTTP."""

import re
from datetime import datetime
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from failsafe.clock import SystemClock
from failsafe.errors import StoreError
from failsafe.status.as_json import to_json
from failsafe.status.build import build_status
from failsafe.status.values import Status
from failsafe.store.glance import Glance
from failsafe.web.page import make_page
from tests.unit.status.test_drilled import EVIDENCE
from tests.unit.status.test_words import WARSAW
from tests.unit.status.world import NOW, ROSTER, ago, duty, healthy, repository, state, watch


def client(glance: Glance, password_file: Path | None = None) -> TestClient:
    return TestClient(make_page(lambda _now: build_status(ROSTER, glance, NOW), SystemClock(), WARSAW, password_file))


def test_the_page_answers_the_three_questions_at_the_top() -> None:
    text = client(healthy()).get("/").text
    places = [
        text.index(part)
        for part in (
            "Is my mail safe?",
            "Yes: everything up to 5 min ago",
            "Where does mail go now?",
            "What must I do?",
            "Nothing.",
            "Domains",
        )
    ]
    assert places == sorted(places)


def test_the_page_shows_a_prune_that_is_under_way() -> None:
    note = {"done": 3, "total": 5, "unit": "packs repacked", "moved_at": ago(minutes=1).isoformat()}
    row = {**duty("prune:nas", ago(days=8)), "started_at": ago(hours=1), "details": note}
    shown = healthy()
    text = client(healthy(duty=(*shown.all("duty"), row))).get("/").text
    assert "prune runs since" in text
    assert "3 of 5 packs repacked" in text
    assert "prune runs since" not in client(shown).get("/").text


def test_the_page_shows_the_last_restore_drill_with_its_recovery_time() -> None:
    row = {**repository("nas"), "details": {"drill": EVIDENCE}}
    text = client(healthy(repository_state=(row, repository("offsite")))).get("/").text
    assert "passed; 1,234 message(s) of 3 mailbox(es), 56.0 MB, back in 12.3 s, opened with Dovecot 2.3.19" in text
    assert "<dt>last drill</dt><dd>never</dd>" in text


def test_the_page_needs_no_script_and_fits_a_phone() -> None:
    text = client(healthy()).get("/").text
    assert "<script" not in text
    assert 'name="viewport"' in text
    assert 'http-equiv="refresh"' in text
    assert "prefers-color-scheme" in text
    assert not re.search(r"(src|href)=\"https?:", text)  # nothing is loaded from elsewhere


def test_the_page_says_what_was_found_in_a_halted_domain_and_the_ways_out() -> None:
    details = {"reason": "not verified", "attempted": {"records": [[5, "mx.example.net"]], "ttl_seconds": 60}}
    text = client(healthy(domain_state=(state("halted", details=details),))).get("/").text
    assert "found: 10 mail.example.org" in text
    assert "expected: 5 mx.example.net" in text
    assert "<code>failsafe acknowledge example.org --serving secondary</code>" in text


def test_what_a_server_said_cannot_become_markup() -> None:
    hostile = state("halted", details={"reason": "<script>alert(1)</script>"})
    text = client(healthy(domain_state=(hostile,))).get("/").text
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


def test_status_json_is_what_the_verb_says() -> None:
    assert client(healthy()).get("/status.json").json() == to_json(build_status(ROSTER, healthy(), NOW))


def test_metrics_are_parsed_by_prometheus_own_parser() -> None:
    from prometheus_client.parser import text_string_to_metric_families

    answer = client(healthy()).get("/metrics")
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert samples["failsafe_backup_ok", (("server", "vps"),)] == 1
    assert samples["failsafe_domain_state", (("domain", "example.org"), ("state", "normal"))] == 1
    assert samples["failsafe_health_up", (("axis", "delivery"), ("domain", "example.org"))] == -1
    assert samples["failsafe_vantage_up", (("domain", "example.org"), ("vantage", "here"))] == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/", "/status.json", "/metrics", "/healthz"])
def test_nothing_can_be_written(method: str, path: str) -> None:
    assert client(healthy()).request(method, path).status_code == 405


@pytest.mark.parametrize("path", ["/", "/status.json", "/metrics", "/healthz", "/nothing-here"])
def test_every_answer_carries_the_security_headers(path: str) -> None:
    headers = client(healthy()).get(path).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


def test_a_password_is_asked_for_and_read_at_every_request(tmp_path: Path) -> None:
    file = tmp_path / "web.password"
    file.write_text("geheim-ü\n")
    file.chmod(0o600)
    web = client(healthy(), file)
    assert web.get("/").status_code == 401
    assert web.get("/").headers["www-authenticate"].startswith("Basic")
    assert web.get("/", headers={"Authorization": "Basic !!!"}).status_code == 401
    assert web.get("/status.json", auth=("anyone", "wrong")).status_code == 401
    assert web.get("/", auth=("anyone", "geheim-ü".encode())).status_code == 200
    assert web.get("/healthz").status_code == 200
    file.write_text("new\n")
    assert web.get("/", auth=("anyone", "geheim-ü".encode())).status_code == 401
    file.unlink()
    assert web.get("/", auth=("anyone", "new")).status_code == 503


def test_a_database_that_fails_is_said_not_hidden() -> None:
    def broken(_now: datetime) -> Status:
        raise StoreError("the database cannot grow: the disk is full", mend="free some space")

    answer = TestClient(make_page(broken, SystemClock(), WARSAW, None)).get("/")
    assert answer.status_code == 503
    assert "disk is full" in answer.text


def test_the_last_failover_drill_is_on_the_page_and_in_the_metrics() -> None:
    kept = {
        "at": ago(days=2).isoformat(),
        "result": "passed",
        "seconds": {"there": 0.31, "back": 0.28},
        "servers": 2,
        "finding": None,
    }
    rows = (watch(), {**duty("drill-failover:example.org", ago(days=2)), "details": kept})
    asked = client(healthy(duty=rows))
    assert "passed; there in 0.31 s, back in 0.28 s, verified at 2 authoritative server(s)" in asked.get("/").text
    metrics = asked.get("/metrics").text
    assert 'failsafe_failover_drill_ok{domain="example.org"} 1.0' in metrics
    assert 'failsafe_failover_drill_seconds{domain="example.org",way="there"} 0.31' in metrics
