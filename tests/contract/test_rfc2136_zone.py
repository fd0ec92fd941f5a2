"""The RFC 2136 adapter on a real Knot and a real BIND: keys, clocks, lost answers; and what their authoritative servers give."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.query
import dns.tsig
import pytest

from failsafe.adapters.dns_wire import read_tsig_key
from failsafe.adapters.lookups import NameLookups
from failsafe.adapters.public_resolvers import ask_public
from failsafe.adapters.resolver import AuthoritativeServers
from failsafe.errors import DnsError, OutcomeUnknown, SecretError
from failsafe.failover.prove import prove_cas
from failsafe.model import MxSet
from tests.contract.dns_providers import OUTAGE, PEACE, change, client
from tests.contract.dns_servers import ZONE, NameServer, missing, name_server


@pytest.fixture(params=["knot", "bind"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NameServer]:
    if missing(request.param):
        pytest.skip(missing(request.param))
    with name_server(request.param, tmp_path / request.param) as running:
        yield running


def test_a_scratch_record_that_the_key_may_not_write_is_told(server: NameServer) -> None:
    with pytest.raises(DnsError, match=r"refuses|rejects") as caught:
        prove_cas(client(server, key_name="reader.").scratch(ZONE, ZONE), 0)
    assert not caught.value.transient


def test_a_key_file_may_be_a_block_as_bind_writes_it(server: NameServer) -> None:
    server.key_file.write_text(f'key "failsafe." {{\n\talgorithm hmac-sha256;\n\tsecret "{server.secret}";\n}};\n')
    client(server).apply(change(PEACE, OUTAGE))
    assert client(server).read(ZONE, ZONE) == OUTAGE


def test_a_key_that_may_not_write_is_a_mistake_in_the_configuration(server: NameServer) -> None:
    with pytest.raises(DnsError, match=r"refuses|rejects") as caught:
        client(server, key_name="reader.").apply(change(PEACE, OUTAGE))
    assert not isinstance(caught.value, OutcomeUnknown)
    assert "not an outage" in caught.value.mend
    assert client(server).read(ZONE, ZONE) == PEACE


@pytest.mark.parametrize("fault", ["name", "secret"])
def test_a_key_that_the_server_does_not_know_is_a_mistake_in_the_configuration(server: NameServer, fault: str) -> None:
    if fault == "secret":
        server.key_file.write_text("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
    zone = client(server, **({"key_name": "stranger."} if fault == "name" else {}))
    for attempt in (lambda: zone.apply(change(PEACE, OUTAGE)), lambda: zone.read(ZONE, ZONE)):
        with pytest.raises(DnsError, match="rejects our key") as caught:
            attempt()
        assert not isinstance(caught.value, OutcomeUnknown)
        assert "not an outage" in caught.value.mend
        assert server.secret not in str(caught.value)


def test_a_wrong_clock_is_named(server: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    import dns.message

    real = dns.message.time.time

    class HourAhead:
        time = staticmethod(lambda: real() + 3600)

    monkeypatch.setattr(dns.message, "time", HourAhead)
    with pytest.raises(DnsError, match="BADTIME") as caught:
        client(server).apply(change(PEACE, OUTAGE))
    assert "clock" in caught.value.mend


def test_a_server_that_hangs_leaves_an_unknown_outcome(server: NameServer) -> None:
    server.pause()
    with pytest.raises(OutcomeUnknown):
        client(server, answer_seconds=0.5).apply(change(PEACE, OUTAGE))
    with pytest.raises(DnsError) as caught:
        client(server, answer_seconds=0.5).read(ZONE, ZONE)
    assert not isinstance(caught.value, OutcomeUnknown)


def test_a_server_that_is_not_there_is_no_unknown_outcome(server: NameServer) -> None:
    server.process.terminate()
    server.process.wait(20)
    with pytest.raises(DnsError, match="cannot connect") as caught:
        client(server).apply(change(PEACE, OUTAGE))
    assert not isinstance(caught.value, OutcomeUnknown)


def test_a_key_file_that_is_no_key_is_told(server: NameServer) -> None:
    server.key_file.write_text("not base64 at all!")
    with pytest.raises(SecretError, match="base64"):
        client(server).read(ZONE, ZONE)


def test_a_key_for_an_algorithm_that_is_not_known_is_told(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text('key "failsafe." {\n\talgorithm hmac-sha3;\n\tsecret "c2VjcmV0";\n};\n')
    file.chmod(0o600)
    with pytest.raises(SecretError, match="a key for hmac-sha3, which is not known here"):
        read_tsig_key(str(file), "failsafe.", "hmac-sha256")


def test_an_alias_is_told(server: NameServer) -> None:
    with pytest.raises(DnsError, match="alias"):
        client(server).read(ZONE, f"alias.{ZONE}")


def test_every_authoritative_server_is_asked_and_silent_ones_are_named(server: NameServer) -> None:
    dead = "127.0.0.1:1"
    answers = AuthoritativeServers([server.address, dead], query_seconds=0.5).mx(ZONE)
    assert [answer.nameserver for answer in answers] == [server.address, dead]
    assert answers[0].mx == PEACE
    assert answers[1].mx is None
    assert answers[1].error


def test_a_server_that_is_given_by_name_is_asked_by_whoever_asks(server: NameServer) -> None:
    named = f"localhost:{server.address.rpartition(':')[2]}"  # known to this machine alone (/etc/hosts)
    answers = AuthoritativeServers([named], query_seconds=0.5).mx(ZONE)
    assert PEACE in [answer.mx for answer in answers]
    assert {answer.nameserver.partition(" ")[0] for answer in answers} == {"localhost"}
    assert PEACE in [answer.mx for answer in AuthoritativeServers(["127.0.0.1:1", named], query_seconds=0.5).mx(ZONE)]
    assert NameLookups(own={ZONE: [named]}).ask(ZONE, "MX").records == ("10 mail.example.org",)
    assert ask_public([named], ZONE, 0.5)[0].mx == PEACE


def test_a_server_given_by_a_name_that_is_none_is_told_and_ends_nothing() -> None:
    with pytest.raises(DnsError, match=r"none of the configured name servers has an address \(nowhere\.invalid\)"):
        AuthoritativeServers(["nowhere.invalid:53"]).mx(ZONE)
    answers = AuthoritativeServers(["127.0.0.1:1", "nowhere.invalid:53"], query_seconds=0.2).mx(ZONE)
    assert [(answer.nameserver, answer.mx) for answer in answers] == [("127.0.0.1:1", None), ("nowhere.invalid", None)]
    assert "no address" in NameLookups(own={ZONE: ["nowhere.invalid:53"]}).ask(ZONE, "MX").error
    assert "no address" in ask_public(["nowhere.invalid:53"], ZONE, 0.2)[0].error


def test_a_server_that_is_not_authoritative_is_no_witness(server: NameServer) -> None:
    (answer,) = AuthoritativeServers([server.address]).mx("example.net")
    assert answer.mx is None
    assert answer.error


def test_a_large_set_is_read_over_tcp(server: NameServer) -> None:
    many = MxSet.of(
        *((number, f"a-rather-long-name-of-host-number-{number}.mail.example.net") for number in range(60)), ttl_seconds=60
    )
    client(server).apply(change(PEACE, many))
    (answer,) = AuthoritativeServers([server.address]).mx(ZONE)
    assert answer.mx == many


def test_both_real_servers_are_there_where_everything_is_installed() -> None:
    if shutil.which("apt-get") is None:
        pytest.skip("no apt-get: servers are installed by hand here")
    assert [kind for kind in ("knot", "bind") if missing(kind)] == []


def test_exactly_the_previewed_update_is_sent(server: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[bytes] = []
    real = dns.query.send_tcp

    def send(connection: object, message: dns.message.Message, expiration: float) -> object:
        sent.append(message.to_wire())
        return real(connection, message, expiration)

    zone = client(server)
    head, *lines = zone.preview(change(PEACE, OUTAGE))
    monkeypatch.setattr(dns.query, "send_tcp", send)
    zone.apply(change(PEACE, OUTAGE))
    assert head == f"DNS UPDATE to {server.address} over TCP, signed with the key failsafe."
    key = dns.tsig.Key("failsafe.", server.secret, "hmac-sha256")
    arrived = dns.message.from_wire(sent[0], keyring={key.name: key})
    sections = [("zone", arrived.sections[0]), ("prerequisite", arrived.sections[1]), ("update", arrived.sections[2])]
    assert lines == [f"{name}: {line}" for name, sets in sections for each in sets for line in each.to_text().splitlines()]
