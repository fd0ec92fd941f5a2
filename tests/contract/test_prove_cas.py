"""`failsafe doctor --prove-cas` with each provider: what it shows, what it remembers, and that it leaves nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from failsafe.adapters.lock import FileLock, LockBusy
from failsafe.app import App
from failsafe.checkup.provider import look_at_provider
from failsafe.config.load import load_config
from failsafe.failover.doctor_provider import judge_provider
from failsafe.model import Severity
from tests.contract.dns_servers import ZONE, missing, name_server
from tests.contract.verbs import run_verb
from tests.fakes import cloudflare_server as cloudflare
from tests.fakes import route53_server as route53

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
CONFIG = """
[controller]
id = "nas"
state_dir = "{folder}/state"
[own_line]
references = ["127.0.0.1:1"]
[mail_server.vps]
layout = "maildir"
path = "{folder}/mail"
[dns.one]
{dns}
[domain."example.org"]
server = "vps"
dns = "one"
zone = "example.org"
primary = ["mail.example.org"]
secondary = ["mx.away.example"]
strategy = "on-demand"
nameservers = ["{nameserver}"]
"""


@contextmanager
def provider(kind: str, folder: Path) -> Iterator[tuple[Path, object]]:
    """A configuration that uses this provider, and its server."""
    config, secret, nameserver = folder / "failsafe.toml", folder / "secret", "127.0.0.1:1"

    def write(dns: str) -> Path:
        config.write_text(CONFIG.format(folder=folder, dns=dns, nameserver=nameserver))
        return config

    def keep(text: str) -> None:
        secret.write_text(text)
        secret.chmod(0o600)

    if kind == "cloudflare":
        keep(cloudflare.TOKEN)
        with cloudflare.CloudflareServer.running({ZONE: [(10, "mail.example.org", 60)]}) as api:
            zone = f'token_file = "{secret}"\nzone_id = "{cloudflare.ZONE_ID}"\nbase_url = "{api.url}"'
            yield write(f'provider = "cloudflare"\n{zone}'), api
    elif kind == "route53":
        keep(f"[default]\naws_access_key_id = {route53.KEY_ID}\naws_secret_access_key = {route53.SECRET_KEY}\n")
        with route53.Route53Server.running(ZONE, ["10 mail.example.org."]) as amazon:
            yield write(f'provider = "route53"\ncredentials_file = "{secret}"\nbase_url = "{amazon.url}"'), amazon
    else:
        if missing(kind):
            pytest.skip(missing(kind))
        with name_server(kind, folder / kind) as server:
            nameserver = server.address
            key = f'key_name = "failsafe."\nkey_file = "{server.key_file}"'
            yield write(f'provider = "rfc2136"\nserver = "{server.address}"\n{key}'), server


@pytest.mark.parametrize("kind", ["knot", "bind", "cloudflare", "route53"])
def test_each_provider_shows_what_it_promises_and_it_is_remembered(kind: str, tmp_path: Path) -> None:
    with provider(kind, tmp_path) as (config, _server):
        app = App(load_config(config), config)
        before = look_at_provider(app, ZONE, ZONE, NOW, prove=False)
        proved = look_at_provider(app, ZONE, ZONE, NOW, prove=True)
        after = look_at_provider(app, ZONE, ZONE, NOW, prove=False)
        assert before is not None and proved is not None
        assert before.proof is None
        assert proved.proof is not None and proved.proof.holds
        assert after == proved
        found = {each.code: each.severity for each in judge_provider(ZONE, proved, NOW)}
        assert found.pop("provider-token-scope") is (Severity.OK if kind == "cloudflare" else Severity.SKIPPED)
        assert set(found.values()) == {Severity.OK}
        scratch = app.provider(ZONE)
        assert scratch is not None
        assert scratch.scratch(ZONE, ZONE).read() == ()


def test_a_provider_that_ignores_what_a_change_expects_is_found_out(tmp_path: Path) -> None:
    with provider("cloudflare", tmp_path) as (config, server):
        assert isinstance(server, cloudflare.CloudflareServer)
        server.lenient = True
        app = App(load_config(config), config)
        seen = look_at_provider(app, ZONE, ZONE, NOW, prove=True)
        assert seen is not None and seen.proof is not None
        assert "was accepted" in seen.proof.fault
        assert {record["type"] for record in server.records.values()} == {"MX"}


def test_a_scratch_record_that_may_not_be_written_is_told_with_its_name(tmp_path: Path) -> None:
    with provider("route53", tmp_path) as (config, server):
        assert isinstance(server, route53.Route53Server)
        server.write_faults.append("denied")
        seen = look_at_provider(App(load_config(config), config), ZONE, ZONE, NOW, prove=True)
        assert seen is not None and seen.proof is not None
        assert "refuses our key" in seen.proof.error
        assert f"failsafe-proof.{ZONE}" in seen.proof.mend


def test_while_one_proof_is_at_work_a_second_one_is_refused_and_writes_nothing(tmp_path: Path) -> None:
    with provider("route53", tmp_path) as (config, server):
        assert isinstance(server, route53.Route53Server)
        app = App(load_config(config), config)
        with FileLock(app.lock_file(f"prove-cas:{ZONE}"), f"doctor --prove-cas of {ZONE}").hold():
            with pytest.raises(LockBusy, match=f"doctor --prove-cas of {ZONE} \\(process ") as caught:
                look_at_provider(app, ZONE, ZONE, NOW, prove=True)
            assert server.writes == 0
        assert "wait until it has ended" in caught.value.mend
        assert look_at_provider(app, ZONE, ZONE, NOW, prove=False) is not None  # who only looks need not wait


def test_the_verb_says_it_in_its_findings(tmp_path: Path) -> None:
    with provider("knot", tmp_path) as (config, _server):
        code, out, err = run_verb(config, "doctor", "--prove-cas", "--json")
        found = {each["code"]: each for each in json.loads(out)["findings"]}
        assert code == 1, err  # an empty world has other findings
        assert (found["provider-cas"]["severity"], found["provider-write"]["severity"]) == ("ok", "skipped")
        assert "every stale change was refused" in found["provider-cas"]["text"]
        assert f"written at failsafe-proof.{ZONE}" in found["provider-write"]["text"]
