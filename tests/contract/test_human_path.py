"""A person at night, on a real name server: a refusal names every guard and its mend, a halted domain explains itself, and the ways out lead out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from failsafe.adapters.lock import FileLock
from failsafe.model import DomainState, MxSet
from failsafe.store.engine import Store
from failsafe.store.journal import Journal
from failsafe.store.lease import LeaseStore
from tests.contract.dns_providers import change, client
from tests.contract.dns_servers import NameServer, missing, name_server
from tests.contract.test_by_hand import AWAY, CONFIG
from tests.contract.verbs import run_verb
from tests.unit.failover.world import DOMAIN, PEACE

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NameServer]:
    if missing("knot"):
        pytest.skip(missing("knot"))
    with name_server("knot", tmp_path_factory.mktemp("knot")) as running:
        yield running


@pytest.fixture
def config(server: NameServer, tmp_path: Path) -> Path:
    file = tmp_path / "failsafe.toml"
    file.write_text(CONFIG.format(folder=tmp_path, address=server.address, key=server.key_file))
    (tmp_path / "state").mkdir()
    return file


def halt(config: Path) -> None:
    """As after a failover that could not be verified."""
    with closing(Store.sqlite(config.parent / "state" / "failsafe.sqlite")) as store:
        store.upgrade(NOW)
        journal = Journal(store, LeaseStore(store).acquire("nas", NOW))
        record = journal.load(DOMAIN, NOW)
        halted = replace(record, state=DomainState.HALTED, reason="not verified within 0:05:00", attempted=AWAY, previous=PEACE)
        journal.change(record, halted, [])


def test_a_refusal_names_every_guard_with_what_to_do(server: NameServer, config: Path) -> None:
    foreign = MxSet.of((10, "mx.stranger.example"), ttl_seconds=60)
    client(server).apply(change(PEACE, foreign))
    try:
        code, out, told = run_verb(config, "failover", DOMAIN, "--yes", "--json")
    finally:
        client(server).apply(change(foreign, PEACE))
    assert code == 3
    [guards] = [domain["guards"] for domain in json.loads(out)["domains"]]
    assert {guard["code"] for guard in guards if guard["refuses"]} == {"drift"}
    assert [guard["code"] for guard in guards if not guard["mend"]] == []
    lines = told.splitlines()
    place = next(
        number for number, line in enumerate(lines) if line.startswith("  drift: mx.stranger.example should not be listed")
    )
    assert lines[place + 1].startswith("    what to do: put the records back")
    notes = [line for line in lines if line.startswith("  note: ")]
    assert notes
    assert [line for line in notes if "; what to do: " not in line] == []


def test_a_plan_says_what_was_last_seen_of_the_primary(config: Path) -> None:
    code, _, told = run_verb(config, "failover", DOMAIN, "--dry-run")
    assert (code, "  of the primary: no vantage has looked yet" in told.splitlines()) == (0, True)


def test_a_halted_domain_says_what_was_found_what_was_expected_and_the_ways_out_lead_out(config: Path) -> None:
    halt(config)
    code, out, told = run_verb(config, "failover", DOMAIN, "--yes")
    assert (code, out) == (3, "")
    for line in (
        "why: not verified within 0:05:00",
        "found: 10 mail.example.org",
        "expected: 5 mx.away.example, 10 mail.example.org",
        "failsafe acknowledge example.org --serving primary ",
        "failsafe acknowledge example.org --serving secondary ",
        "failsafe adopt-mx example.org ",
    ):
        assert line in told
    with FileLock(config.parent / "state" / "locks" / "jobs.lock", "a test").hold():  # it looks, and leaves jobs alone
        run_verb(config, "tick")
    shown = run_verb(config, "status")[1]
    assert "halted: not verified within 0:05:00" in shown
    assert "found: 10 mail.example.org" in shown
    wrong = run_verb(config, "acknowledge", DOMAIN, "--serving", "secondary")
    assert wrong[0] == 3
    assert "--serving primary" in wrong[2]
    assert run_verb(config, "acknowledge", DOMAIN, "--serving", "primary")[0] == 0
    assert run_verb(config, "adopt-mx", DOMAIN, "--dry-run")[0] == 0
    [domain] = json.loads(run_verb(config, "status", "--json")[1])["domains"]
    assert (domain["state"], domain["halt"]) == ("normal", None)
