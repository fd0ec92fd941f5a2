"""One conformance suite for every DNS provider: the fake in memory, a real Knot, a real BIND, strict Cloudflare and Route 53 servers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import dns.message
import dns.query
import dns.tsig
import pytest

from failsafe.adapters.cloudflare import CloudflareZone
from failsafe.adapters.resolver import AuthoritativeServers
from failsafe.adapters.rfc2136 import Rfc2136Zone
from failsafe.adapters.route53 import Route53Zone
from failsafe.errors import DnsError, OutcomeUnknown, SecretError, ZoneChanged
from failsafe.failover.prove import prove_cas
from failsafe.model import MxChange, MxSet
from failsafe.ports import ProviderZone
from tests.contract.dns_servers import ZONE, NameServer, missing, name_server
from tests.fakes.cloudflare_server import TOKEN, ZONE_ID, CloudflareServer
from tests.fakes.route53_server import KEY_ID, SECRET_KEY, Route53Server, Set
from tests.fakes.route53_server import ZONE_ID as HOSTED_ZONE_ID
from tests.fakes.zone import FakeZone

MAIL, AWAY, AWAY_TOO = "mail.example.org", "mx.away.example", "mx2.away.example"
PEACE = MxSet.of((10, MAIL), ttl_seconds=60)
OUTAGE = MxSet.of((5, AWAY), (10, MAIL), ttl_seconds=60)
SCRATCH, OURS, STRANGER = f"failsafe-proof.{ZONE}", "failsafe-proof.invalid", "mx.stranger.example"
AWAY_ALONE = MxSet.of((10, AWAY), (11, AWAY_TOO), ttl_seconds=60)


@dataclass
class Provider:
    """A provider whose zone holds PEACE for example.org; `make` gives another client of the same zone."""

    name: str
    zone: ProviderZone
    make: Callable[[], ProviderZone]
    squat: Callable[[int | None], None]  # somebody else's record comes to lie at the scratch name, beside ours of this number
    compares: bool  # the provider itself compares the records, whoever changed them
    server: NameServer | None = None


@pytest.fixture(params=["fake", "knot", "bind", "cloudflare", "route53"])
def provider(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Provider]:
    kind = request.param
    if kind == "fake":
        fake = FakeZone({ZONE: PEACE})
        yield Provider(kind, fake, lambda: fake, lambda beside: fake.put(SCRATCH, _squatted(beside)), compares=True)
    elif kind == "cloudflare":
        token_file = tmp_path / "token"
        token_file.write_text(TOKEN)
        token_file.chmod(0o600)
        with CloudflareServer.running({ZONE: [(10, MAIL, 60)]}) as server:
            zone = CloudflareZone(ZONE_ID, token_file=token_file, base_url=server.url)

            def fresh() -> CloudflareZone:
                return CloudflareZone(ZONE_ID, token_file=token_file, base_url=server.url)

            yield Provider(kind, zone, fresh, lambda _: server.put_txt(SCRATCH, STRANGER), compares=False)
    elif kind == "route53":
        file = tmp_path / "credentials"
        file.write_text(f"[default]\naws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET_KEY}\n")
        file.chmod(0o600)
        with Route53Server.running(ZONE, [f"10 {MAIL}."]) as amazon:
            amazon.pending_looks = 0
            settings = {"credentials_file": file, "base_url": amazon.url}

            def make() -> Route53Zone:
                return Route53Zone(HOSTED_ZONE_ID, **settings)  # type: ignore[arg-type]

            def squat(beside: int | None) -> None:
                values = tuple(f"{record.preference} {record.exchange}." for record in _squatted(beside).records)
                amazon.by_hand((f"{SCRATCH}.", "MX"), Set(60, values))

            yield Provider(kind, make(), make, squat, compares=True)
    else:
        if missing(kind):
            pytest.skip(missing(kind))
        with name_server(kind, tmp_path / kind) as server:

            def written(beside: int | None) -> None:
                ours = MxSet(()) if beside is None else MxSet.of((beside, OURS))
                client(server).apply(change(ours, _squatted(beside), SCRATCH))

            yield Provider(kind, client(server), lambda: client(server), written, compares=True, server=server)


def _squatted(beside: int | None) -> MxSet:
    ours = [] if beside is None else [(beside, OURS)]
    return MxSet.of((10, STRANGER), *ours, ttl_seconds=60)


def client(server: NameServer, **more: object) -> Rfc2136Zone:
    settings = {"key_name": "failsafe.", "key_file": server.key_file, **more}
    return Rfc2136Zone(server.address, **settings)  # type: ignore[arg-type]


def change(expected: MxSet, desired: MxSet, domain: str = ZONE) -> MxChange:
    return MxChange(domain, ZONE, expected, desired, "failsafe failover epoch 1")


def test_reading_gives_the_records_and_their_ttl(provider: Provider) -> None:
    assert provider.zone.read(ZONE, ZONE) == PEACE


def test_a_name_without_mx_records_reads_as_an_empty_set(provider: Provider) -> None:
    assert provider.zone.read(ZONE, f"empty.{ZONE}") == MxSet(())


@pytest.mark.parametrize("desired", [OUTAGE, AWAY_ALONE, MxSet.of((30, MAIL), ttl_seconds=60)], ids=["add", "replace", "move"])
def test_a_change_is_written_and_can_be_taken_back(provider: Provider, desired: MxSet) -> None:
    provider.zone.apply(change(PEACE, desired))
    assert provider.zone.read(ZONE, ZONE) == desired
    provider.zone.apply(change(desired, PEACE))
    assert provider.zone.read(ZONE, ZONE) == PEACE


def test_the_ttl_is_written_where_the_plan_says_one(provider: Provider) -> None:
    provider.zone.apply(change(PEACE, MxSet(OUTAGE.records, 120)))
    assert provider.zone.read(ZONE, ZONE).ttl_seconds == 120


def test_the_ttl_is_kept_where_the_plan_knows_none(provider: Provider) -> None:
    provider.zone.apply(change(PEACE, MxSet(OUTAGE.records)))
    assert provider.zone.read(ZONE, ZONE).ttl_seconds == 60


@pytest.mark.parametrize(
    "expected",
    [MxSet.of((11, MAIL)), MxSet.of((10, MAIL), (20, AWAY)), MxSet.of((10, AWAY)), OUTAGE],
    ids=["preference", "superset", "exchange", "another layout"],
)
def test_a_zone_that_holds_something_else_is_not_touched(provider: Provider, expected: MxSet) -> None:
    with pytest.raises(ZoneChanged):
        provider.zone.apply(change(expected, AWAY_ALONE))
    assert provider.zone.read(ZONE, ZONE) == PEACE


def test_part_of_the_set_is_not_the_set(provider: Provider) -> None:
    provider.zone.apply(change(PEACE, OUTAGE))
    with pytest.raises(ZoneChanged):
        provider.zone.apply(change(PEACE, AWAY_ALONE))
    assert provider.zone.read(ZONE, ZONE) == OUTAGE


def test_of_many_writers_at_once_exactly_one_wins(provider: Provider) -> None:
    def write(number: int) -> str:
        try:
            provider.make().apply(change(PEACE, MxSet.of((10, MAIL), (100 + number, AWAY), ttl_seconds=60)))
        except ZoneChanged:
            return "lost"
        return str(100 + number)

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(write, range(16)))
    (winner,) = [outcome for outcome in outcomes if outcome != "lost"]
    assert provider.zone.read(ZONE, ZONE) == MxSet.of((10, MAIL), (int(winner), AWAY), ttl_seconds=60)


def test_a_provider_shows_on_a_scratch_record_that_it_refuses_a_stale_change_and_nothing_is_left(provider: Provider) -> None:
    scratch = provider.zone.scratch(ZONE, ZONE)
    assert prove_cas(scratch) == ""
    assert scratch.read() == ()
    assert provider.zone.read(ZONE, ZONE) == PEACE


@pytest.mark.parametrize("left", [(1,), (1, 2)], ids=["created", "changed"])
def test_what_a_killed_proof_has_left_is_cleared_by_the_next(provider: Provider, left: tuple[int, ...]) -> None:
    killed = provider.make().scratch(ZONE, ZONE)
    for expected, number in zip((None, *left), left, strict=False):
        killed.write(expected, number)
        assert killed.read() == (number,)
    assert prove_cas(provider.zone.scratch(ZONE, ZONE)) == ""
    assert killed.read() == ()


@pytest.mark.parametrize("beside", [None, 1], ids=["alone", "beside ours"])
def test_a_strangers_record_at_the_scratch_name_is_named_and_left_alone(provider: Provider, beside: int | None) -> None:
    if beside is not None:
        provider.zone.scratch(ZONE, ZONE).write(None, beside)
    provider.squat(beside)
    before = provider.zone.read(ZONE, SCRATCH)
    with pytest.raises(DnsError, match=rf"{SCRATCH} is not failsafe's: .*stranger") as caught:
        prove_cas(provider.zone.scratch(ZONE, ZONE))
    assert not isinstance(caught.value, ZoneChanged | OutcomeUnknown)
    assert "take away " in caught.value.mend
    assert provider.zone.read(ZONE, SCRATCH) == before


def test_a_scratch_name_is_written_where_there_is_none_and_cleared_whole(provider: Provider) -> None:
    name = f"failsafe-drill.{ZONE}"
    for _ in range(2):
        provider.zone.apply(change(MxSet(()), PEACE, name))
        with pytest.raises(ZoneChanged):
            provider.make().apply(change(MxSet(()), OUTAGE, name))
        provider.zone.apply(change(PEACE, OUTAGE, name))
        provider.zone.clear(ZONE, name)
        assert provider.zone.read(ZONE, name) == MxSet(())
    provider.zone.clear(ZONE, name)
    with pytest.raises(AssertionError):
        provider.zone.clear(ZONE, ZONE)


def test_the_first_mx_record_of_a_live_name_is_never_sent(provider: Provider) -> None:
    for name in (f"empty.{ZONE}", ZONE):
        with pytest.raises(AssertionError, match="written by a person"):
            provider.zone.apply(change(MxSet(()), OUTAGE, name))
    assert provider.zone.read(ZONE, f"empty.{ZONE}") == MxSet(())
    assert provider.zone.read(ZONE, ZONE) == PEACE


def test_an_empty_set_is_never_sent(provider: Provider) -> None:
    with pytest.raises(AssertionError, match="never written"):
        provider.zone.apply(change(PEACE, MxSet(())))
    assert provider.zone.read(ZONE, ZONE) == PEACE


def test_nothing_is_locked_and_no_credential_ends_where_nothing_is_said_of_it(provider: Provider) -> None:
    assert provider.zone.protected(ZONE, ZONE) == ()
    assert provider.zone.credential_ends() is None


def test_the_promises_are_said(provider: Provider) -> None:
    assert provider.zone.promises.atomic
    assert provider.zone.promises.compare_and_set is provider.compares


@pytest.fixture(params=["knot", "bind"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NameServer]:
    if missing(request.param):
        pytest.skip(missing(request.param))
    with name_server(request.param, tmp_path / request.param) as running:
        yield running


def test_a_scratch_record_that_the_key_may_not_write_is_told(server: NameServer) -> None:
    with pytest.raises(DnsError, match=r"refuses|rejects") as caught:
        prove_cas(client(server, key_name="reader.").scratch(ZONE, ZONE))
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


def test_a_preview_names_every_record_tells_no_secret_and_writes_nothing(provider: Provider) -> None:
    text = "\n".join(provider.zone.preview(change(PEACE, OUTAGE)))
    for record in OUTAGE.records:
        if record not in PEACE.records:
            assert record.exchange in text
            assert str(record.preference) in text
    for secret in (TOKEN, SECRET_KEY, *([provider.server.secret] if provider.server is not None else [])):
        assert secret not in text
    assert provider.zone.read(ZONE, ZONE) == PEACE


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


def test_exactly_the_previewed_batch_goes_to_cloudflare(tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN)
    token_file.chmod(0o600)
    with CloudflareServer.running({ZONE: [(10, MAIL, 60)]}) as running:
        zone = CloudflareZone(ZONE_ID, token_file=token_file, base_url=running.url)
        head, *lines = zone.preview(change(PEACE, AWAY_ALONE))
        assert running.writes == 0
        zone.apply(change(PEACE, AWAY_ALONE))
        assert head == f"POST {running.url}/zones/{ZONE_ID}/dns_records/batch"
        assert json.loads("\n".join(lines)) == running.batches[-1]
