"""A flip there and back changes the MX records of its domain and nothing else of the zone, at every provider."""

from __future__ import annotations

from pathlib import Path

import dns.message
import dns.query
import pytest

from failsafe.adapters.cloudflare import CloudflareZone
from failsafe.adapters.rfc2136 import Rfc2136Zone
from failsafe.adapters.route53 import Route53Zone
from failsafe.model import MxChange, MxSet
from failsafe.ports import DnsZone
from tests.contract.dns_servers import ZONE, NameServer, missing, name_server
from tests.fakes.cloudflare_server import TOKEN, ZONE_ID, CloudflareServer
from tests.fakes.route53_server import KEY_ID, SECRET_KEY, Route53Server, Set
from tests.fakes.route53_server import ZONE_ID as HOSTED_ZONE_ID

MAIL, AWAY = "mail.example.org", "mx.away.example"
PEACE = MxSet.of((10, MAIL), ttl_seconds=60)
SETS = [MxSet.of((5, AWAY), (10, MAIL), ttl_seconds=60), PEACE, MxSet.of((10, AWAY), ttl_seconds=60), PEACE]
OTHERS = """
@ 300 IN TXT "v=spf1 ip4:198.51.100.25 -all"
@ 300 IN A 198.51.100.25
@ 300 IN CAA 0 issue "letsencrypt.org"
list 60 IN MX 10 mail.example.org.
_dmarc 300 IN TXT "v=DMARC1; p=reject"
"""
ASKED = [
    ("@", "TXT"),
    ("@", "A"),
    ("@", "CAA"),
    ("@", "NS"),
    ("list", "MX"),
    ("_dmarc", "TXT"),
    ("ns1", "A"),
    ("mail", "A"),
    ("alias", "CNAME"),
]


def flip_there_and_back(zone: DnsZone) -> None:
    for desired in SETS:
        found = zone.read(ZONE, ZONE)
        zone.apply(MxChange(ZONE, ZONE, found, desired, "failsafe failover epoch 1"))
        assert zone.read(ZONE, ZONE).same_records(desired)


def answers(server: NameServer) -> list[str]:
    found = []
    for name, kind in ASKED:
        query = dns.message.make_query(ZONE if name == "@" else f"{name}.{ZONE}", kind)
        answer = dns.query.udp(query, "127.0.0.1", port=server.port, timeout=5)
        assert answer.answer, (name, kind)
        found += sorted(line for rrset in answer.answer for line in rrset.to_text().splitlines())
    return found


@pytest.mark.parametrize("kind", ["knot", "bind"])
def test_a_name_server_keeps_every_other_record(kind: str, tmp_path: Path) -> None:
    if missing(kind):
        pytest.skip(missing(kind))
    with name_server(kind, tmp_path / kind, more=OTHERS) as server:
        before = answers(server)
        flip_there_and_back(Rfc2136Zone(server.address, key_name="failsafe.", key_file=server.key_file))
        assert answers(server) == before


def test_cloudflare_keeps_every_other_record(tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN)
    token_file.chmod(0o600)
    with CloudflareServer.running({ZONE: [(10, MAIL, 60)], f"list.{ZONE}": [(10, MAIL, 60)]}) as server:
        server.put_txt(ZONE, "v=spf1 -all")
        others = {key: record for key, record in server.records.items() if (record["type"], record["name"]) != ("MX", ZONE)}
        assert len(others) == 2
        flip_there_and_back(CloudflareZone(ZONE_ID, token_file=token_file, base_url=server.url))
        assert {key: server.records.get(key) for key in others} == others
        ours = {record["name"] for key, record in server.records.items() if key not in others and record["type"] != "MX"}
        assert ours == {f"_failsafe.{ZONE}"}


def test_route_53_keeps_every_other_record(tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    file.write_text(f"[default]\naws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET_KEY}\n")
    file.chmod(0o600)
    with Route53Server.running(ZONE, [f"10 {MAIL}."]) as amazon:
        amazon.pending_looks = 0
        for name, kind, value in (
            (f"{ZONE}.", "TXT", '"v=spf1 -all"'),
            (f"list.{ZONE}.", "MX", f"10 {MAIL}."),
            (f"{ZONE}.", "A", "198.51.100.25"),
        ):
            amazon.by_hand((name, kind), Set(300, (value,)))
        others = {key: found for key, found in amazon.sets.items() if key != (f"{ZONE}.", "MX")}
        assert len(others) >= 3
        flip_there_and_back(Route53Zone(HOSTED_ZONE_ID, credentials_file=file, base_url=amazon.url))
        after = {key: found for key, found in amazon.sets.items() if key != (f"{ZONE}.", "MX")}
        assert {key: after.get(key) for key in others} == others
        assert set(after) - set(others) == {(f"_failsafe.{ZONE}.", "TXT")}
