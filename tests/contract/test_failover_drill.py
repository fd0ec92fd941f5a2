"""`failsafe drill failover` on a real Knot, a real BIND, and strict stand-ins of Cloudflare and Route 53: measured, verified, and nothing left, also when killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from failsafe.clock import SystemClock
from failsafe.failover.drill import run_drill
from failsafe.model import MxSet, ServerAnswer
from failsafe.ports import DnsZone
from tests.contract.dns_providers import change, client, cloudflare, route53
from tests.contract.dns_servers import NameServer, missing, name_server
from tests.contract.drill_child import WRITES
from tests.contract.test_by_hand import CONFIG
from tests.contract.verbs import run_verb
from tests.fakes.cloudflare_server import CloudflareServer
from tests.unit.failover.world import DOMAIN, MAIL, PEACE, Scene

ROOT = Path(__file__).parents[2]
SHADOW = "failsafe-drill.example.org"


@pytest.fixture(params=["knot", "bind"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NameServer]:
    if missing(request.param):
        pytest.skip(missing(request.param))
    with name_server(request.param, tmp_path / request.param) as running:
        yield running


def configured(server: NameServer, folder: Path, key_name: str = "failsafe.") -> Path:
    file = folder / "failsafe.toml"
    text = CONFIG.format(folder=folder, address=server.address, key=server.key_file)
    file.write_text(text.replace('key_name = "failsafe."', f'key_name = "{key_name}"'))
    return file


def test_a_drill_is_measured_verified_kept_and_leaves_the_zone_as_it_was(server: NameServer, tmp_path: Path) -> None:
    file = configured(server, tmp_path)
    code, out, told = run_verb(file, "drill", "failover", DOMAIN, "--json")
    assert code == 0, told
    report = json.loads(out)
    assert (report["result"], report["shadow"], report["live"]["untouched"]) == ("passed", SHADOW, True)
    assert report["there"]["mx"] == [{"preference": 5, "exchange": "mx.away.example"}, {"preference": 10, "exchange": MAIL}]
    assert report["back"]["mx"] == report["live"]["before"] == report["live"]["after"]
    for name in ("there", "back"):
        leg, (shown,), spent = report[name], report[name]["servers"], report["seconds"]
        assert shown["nameserver"] == server.address
        assert 0 <= shown["seconds"] <= leg["verify"] <= spent[name] <= spent["whole"]
        assert abs(spent[name] - (leg["plan"] + leg["write"] + leg["verify"])) < 0.003  # each is rounded
    assert client(server).read(DOMAIN, DOMAIN) == PEACE
    assert client(server).read(DOMAIN, SHADOW) == MxSet(())
    kept = json.loads(run_verb(file, "status", "--json")[1])["domains"][0]["last_drill"]
    assert (kept["result"], kept["servers"]) == ("passed", 1)
    assert "last failover drill" in run_verb(file, "status")[1]
    assert "failover-drill.passed" in run_verb(file, "events", "--json")[1]


def test_a_key_that_may_not_write_the_shadow_name_is_told_with_what_to_allow(tmp_path: Path) -> None:
    if missing("bind"):
        pytest.skip(missing("bind"))
    with name_server("bind", tmp_path / "bind") as server:
        code, out, told = run_verb(configured(server, tmp_path, "reader."), "drill", "failover", DOMAIN)
        assert code == 4
        assert out.startswith(f"{DOMAIN}: untried")
        assert f"let this key update the MX records of {SHADOW}" in told
        assert client(server).read(DOMAIN, DOMAIN) == PEACE


def test_a_drill_killed_at_any_write_leaves_live_mx_alone_and_the_next_one_clears_up(tmp_path: Path) -> None:
    if missing("knot"):
        pytest.skip(missing("knot"))
    with name_server("knot", tmp_path / "knot") as server:
        file = configured(server, tmp_path)
        left = []
        for number in range(1, WRITES + 1):
            argv = [sys.executable, "-m", "tests.contract.drill_child", str(file), str(number)]
            killed = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
            assert killed.returncode == -signal.SIGKILL, killed.stderr
            assert client(server).read(DOMAIN, DOMAIN) == PEACE
            left.append(bool(client(server).read(DOMAIN, SHADOW)))
        assert left == [False, True, True, True, False]  # each began by clearing what the one before had left
        client(server).apply(change(MxSet(()), PEACE, SHADOW))
        code, out, told = run_verb(file, "drill", "failover", DOMAIN)
        assert code == 0, told
        assert "an earlier drill had left" in out
        assert client(server).read(DOMAIN, SHADOW) == MxSet(())
        assert client(server).read(DOMAIN, DOMAIN) == PEACE


def test_a_wildcard_in_the_zone_is_no_leftover(tmp_path: Path) -> None:
    if missing("knot"):
        pytest.skip(missing("knot"))
    with name_server("knot", tmp_path / "knot", more=f"* 60 IN MX 10 {MAIL}.") as server:
        code, out, told = run_verb(configured(server, tmp_path), "drill", "failover", DOMAIN)
        assert code == 0, told
        assert "earlier drill" not in out
        assert client(server).read(DOMAIN, SHADOW) == PEACE  # the wildcard's, as before


def test_a_domain_without_a_provider_has_nothing_to_rehearse(tmp_path: Path) -> None:
    file = tmp_path / "failsafe.toml"
    file.write_text(CONFIG.format(folder=tmp_path, address="127.0.0.1:1", key="/nowhere").replace('dns = "knot"\n', ""))
    code, out, told = run_verb(file, "drill", "failover", DOMAIN)
    assert (code, out) == (3, "")
    assert f"no DNS provider is configured for {DOMAIN}, so there is nothing to rehearse" in told
    assert f"failsafe failover {DOMAIN} says what a person would do" in told


class Shown:
    """The one authoritative server of the stand-in: what is visible there."""

    def __init__(self, server: CloudflareServer) -> None:
        self._server = server

    def mx(self, domain: str) -> tuple[ServerAnswer, ...]:
        found = [record for record in self._server.visible.values() if record["name"] == domain]
        answer = MxSet.of(*((int(each["priority"]), each["content"]) for each in found))
        return (ServerAnswer("ada.ns.cloudflare.example", answer),)


def test_a_drill_at_cloudflare_touches_the_shadow_name_alone(tmp_path: Path) -> None:
    with cloudflare(tmp_path) as provider:
        server, live = provider.server, dict(provider.server.records)
        report = run_drill(provider.zone, Shown(server), SystemClock(), Scene.peace(), lambda _text: None)
        assert report.result == "passed", report.lines()
        assert server.records == live
        written = [entry for batch in server.batches for entries in batch.values() for entry in entries]
        assert {entry["name"] for entry in written if "name" in entry} == {SHADOW, f"_failsafe.{SHADOW}"}  # the lock of that name
        assert not {entry["id"] for entry in written if "id" in entry} & set(live)


class Listed:
    """One authoritative server that gives what the provider lists."""

    def __init__(self, zone: DnsZone) -> None:
        self._zone = zone

    def mx(self, domain: str) -> tuple[ServerAnswer, ...]:
        return (ServerAnswer("ns-1.awsdns-01.example", self._zone.read(DOMAIN, domain)),)


def test_a_drill_at_route_53_leaves_every_set_as_it_was(tmp_path: Path) -> None:
    with route53(tmp_path) as provider:
        amazon, live = provider.server, dict(provider.server.sets)
        report = run_drill(provider.zone, Listed(provider.zone), SystemClock(), Scene.peace(), lambda _text: None)
        assert report.result == "passed", report.lines()
        assert amazon.sets == live
        assert {key[0] for batch in amazon.batches for _action, key, _set in batch} == {f"{SHADOW}.", f"_failsafe.{SHADOW}."}
