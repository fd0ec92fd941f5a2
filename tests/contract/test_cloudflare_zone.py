"""The Cloudflare adapter against a strict server: never an empty MX set, never a blind repeat, whatever is answered."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from failsafe.adapters.cloudflare import CloudflareZone
from failsafe.adapters.cloudflare_api import CloudflareApi
from failsafe.errors import DnsError, OutcomeUnknown, SecretError, ZoneChanged
from failsafe.failover.zone import MxLayout, plan_failover
from failsafe.model import MxChange, MxSet, Strategy
from tests.fakes.cloudflare_server import TOKEN, ZONE_ID, CloudflareServer

DOMAIN, MAIL, SECOND, AWAY, AWAY_TOO = (
    "example.org",
    "mail.example.org",
    "mail2.example.org",
    "mx.away.example",
    "mx2.away.example",
)
PEACE = MxSet.of((10, MAIL), ttl_seconds=60)
OUTAGE = MxSet.of((5, AWAY), (10, MAIL), ttl_seconds=60)
VISIBLE_OUTAGE = frozenset({(5, AWAY), (10, MAIL)})


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o600)
    return file


@pytest.fixture
def server() -> Iterator[CloudflareServer]:
    with CloudflareServer.running({DOMAIN: [(10, MAIL, 60)]}) as running:
        yield running


@pytest.fixture
def zone(server: CloudflareServer, token_file: Path) -> CloudflareZone:
    return client(server, token_file)


def client(server: CloudflareServer, token_file: Path) -> CloudflareZone:
    return CloudflareZone(ZONE_ID, token_file=token_file, base_url=server.url, answer_seconds=1.0)


def change(expected: MxSet = PEACE, desired: MxSet = OUTAGE) -> MxChange:
    return MxChange(DOMAIN, DOMAIN, expected, desired, "failsafe failover epoch 7 " + "x" * 200)


SIDES = [((MAIL,), (AWAY,)), ((MAIL, SECOND), (AWAY,)), ((MAIL,), (AWAY, AWAY_TOO)), ((MAIL, SECOND), (AWAY, AWAY_TOO))]


@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize("sides", SIDES, ids=["1+1", "2+1", "1+2", "2+2"])
def test_no_state_that_anybody_can_see_is_empty(
    strategy: Strategy, sides: tuple[tuple[str, ...], tuple[str, ...]], token_file: Path
) -> None:
    layout = MxLayout(strategy, *sides)
    records = [(10 + index, name) for index, name in enumerate(layout.primaries)]
    if strategy is Strategy.SWAP:
        records += [(20 + index, name) for index, name in enumerate(layout.secondaries)]
    peace = MxSet.of(*records, ttl_seconds=60)
    outage = plan_failover(peace, layout)
    with CloudflareServer.running({DOMAIN: [(preference, name, 60) for preference, name in records]}) as server:
        zone = client(server, token_file)
        for _ in range(3):
            zone.apply(change(peace, outage))
            zone.apply(change(outage, peace))
        assert all(server.states), "a set was seen empty"
        assert server.writes == 6


def test_a_swap_with_one_primary_is_one_record_changed_in_place(server: CloudflareServer, token_file: Path) -> None:
    with CloudflareServer.running({DOMAIN: [(10, MAIL, 60), (20, AWAY, 60)]}) as both:
        client(both, token_file).apply(change(MxSet.of((10, MAIL), (20, AWAY)), MxSet.of((20, AWAY), (30, MAIL))))
        (batch,) = both.batches
    assert set(batch) == {"patches", "posts"}
    assert [(post["type"], post["content"]) for post in batch["posts"]] == [("TXT", '"failsafe lock 1"')]
    assert [set(patch) for patch in batch["patches"]] == [{"id", "priority", "comment"}]


def test_what_is_added_bears_our_mark_and_the_ttl_found(server: CloudflareServer, zone: CloudflareZone) -> None:
    zone.apply(change())
    (added,) = [record for record in server.records.values() if record["content"] == AWAY]
    assert added["comment"].startswith("failsafe failover epoch 7")
    assert len(added["comment"]) <= 100
    assert added["ttl"] == 60


@pytest.mark.parametrize(
    ("found", "left"), [(None, None), ("failsafe failback epoch 3", None), ("ours since 2019", "ours since 2019")]
)
def test_what_is_changed_in_place_bears_our_mark_unless_a_person_has_written_there(
    server: CloudflareServer, zone: CloudflareZone, found: str | None, left: str | None
) -> None:
    (identifier,) = server.records
    server.by_hand(identifier, comment=found)
    zone.apply(change(PEACE, MxSet.of((30, MAIL), ttl_seconds=60)))
    comment = server.records[identifier]["comment"]
    assert comment == left if left else comment.startswith("failsafe failover epoch 7")


def test_an_automatic_ttl_stays_automatic(token_file: Path) -> None:
    with CloudflareServer.running({DOMAIN: [(10, MAIL, 1)]}) as server:
        zone = client(server, token_file)
        found = zone.read(DOMAIN, DOMAIN)
        assert found.ttl_seconds == 300
        zone.apply(change(found, MxSet(OUTAGE.records, found.ttl_seconds)))
        assert {record["ttl"] for record in server.records.values() if record["type"] == "MX"} == {1}


def test_names_that_cloudflare_shows_in_their_own_letters_are_read_as_dns_has_them(token_file: Path) -> None:
    with CloudflareServer.running({DOMAIN: [(10, "Mail.Bücher.example", 60)]}) as server:
        zone = client(server, token_file)
        assert zone.read(DOMAIN, DOMAIN) == MxSet.of((10, "mail.xn--bcher-kva.example"), ttl_seconds=60)
        for record in server.records.values():
            record["content"] = "mail..bücher.example"
        with pytest.raises(DnsError, match="makes no sense"):
            zone.read(DOMAIN, DOMAIN)


def test_a_set_larger_than_one_page_is_read_whole(token_file: Path) -> None:
    many = [(number, f"mx{number}.example.net", 60) for number in range(150)]
    with CloudflareServer.running({DOMAIN: many}) as server:
        found = client(server, token_file).read(DOMAIN, DOMAIN)
        assert len(found.records) == 150
        assert len(server.requests) == 2 + 1  # two pages, and the lock


def test_the_rate_limit_is_told_with_its_time_and_nothing_is_repeated(server: CloudflareServer, zone: CloudflareZone) -> None:
    server.write_faults.append("429")
    with pytest.raises(DnsError, match="not before 271 s") as caught:
        zone.apply(change())
    assert not isinstance(caught.value, OutcomeUnknown)
    assert server.writes == 1


def test_a_record_touched_between_reading_and_writing_is_noticed(server: CloudflareServer, zone: CloudflareZone) -> None:
    zone.read(DOMAIN, DOMAIN)
    (identifier,) = server.records
    server.by_hand(identifier, comment="mine")
    with pytest.raises(ZoneChanged, match="touched"):
        zone.apply(change())
    assert server.writes == 0


def test_the_lock_is_moved_on_in_the_same_batch(server: CloudflareServer, zone: CloudflareZone) -> None:
    zone.apply(change())
    (first,) = [record for record in server.records.values() if record["type"] == "TXT"]
    zone.apply(change(OUTAGE, PEACE))
    (second,) = [record for record in server.records.values() if record["type"] == "TXT"]
    assert server.batches[1]["deletes"][-1] == {"id": first["id"]}
    assert (second["name"], second["content"]) == (f"_failsafe.{DOMAIN}", '"failsafe lock 2"')
    assert second["comment"].startswith("failsafe failover epoch 7")


def test_a_writer_that_was_overtaken_is_refused_by_cloudflare_itself_though_the_records_are_what_it_expects(
    server: CloudflareServer, zone: CloudflareZone, token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone.apply(change())
    zone.apply(change(OUTAGE, PEACE))
    real, others = zone._api.batch, client(server, token_file)

    def late(*arguments: object) -> None:
        monkeypatch.setattr(zone._api, "batch", real)
        others.apply(change(PEACE, MxSet.of((30, MAIL), ttl_seconds=60)))
        others.apply(change(MxSet.of((30, MAIL), ttl_seconds=60), PEACE))
        real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(zone._api, "batch", late)
    with pytest.raises(ZoneChanged, match="81044"):
        zone.apply(change())
    assert server.mx() == frozenset({(10, MAIL)})


def test_a_writer_that_comes_between_our_two_questions_is_noticed(
    server: CloudflareServer, zone: CloudflareZone, token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is read before the records: whoever writes after that has moved it on."""
    rival, ask, asked = client(server, token_file), CloudflareApi.records, list[str]()

    def records(api: CloudflareApi, connection: Any, name: str, kind: str) -> list[dict[str, Any]]:
        answer = ask(api, connection, name, kind)
        if api is zone._api:
            asked.append(kind)
            if len(asked) == 1:
                rival.apply(change(PEACE, OUTAGE))
                rival.apply(change(OUTAGE, PEACE))
        return answer

    rival.apply(change(PEACE, OUTAGE))  # the lock is there
    rival.apply(change(OUTAGE, PEACE))
    monkeypatch.setattr(CloudflareApi, "records", records)
    with pytest.raises(ZoneChanged):
        zone.apply(change())
    assert asked == ["TXT", "MX"]
    assert rival.read(DOMAIN, DOMAIN) == PEACE


def test_a_record_that_email_routing_has_locked_is_told_before_anything_is_sent(
    server: CloudflareServer, zone: CloudflareZone
) -> None:
    (identifier,) = server.records
    server.by_hand(identifier, meta={"read_only": True, "email_routing": True})
    assert zone.protected(DOMAIN, DOMAIN) == (f"MX {MAIL} (Email Routing)",)
    with pytest.raises(DnsError, match="belongs to Email Routing") as caught:
        zone.apply(change(PEACE, MxSet.of((10, AWAY), ttl_seconds=60)))
    assert "disable Email Routing" in caught.value.mend
    assert not caught.value.transient
    assert server.writes == 0


@pytest.mark.parametrize("code", [1046, 890190])
def test_a_zone_that_email_routing_manages_is_told_when_cloudflare_refuses(
    server: CloudflareServer, zone: CloudflareZone, code: int
) -> None:
    server.routed = code
    with pytest.raises(DnsError, match="belongs to Email Routing") as caught:
        zone.apply(change())
    assert not isinstance(caught.value, OutcomeUnknown)
    assert server.states == [frozenset({(10, MAIL)})]


@pytest.mark.parametrize("owner", ["user", "account"])
def test_the_end_of_a_token_is_known_whoever_owns_it(server: CloudflareServer, zone: CloudflareZone, owner: str) -> None:
    server.token_owner = owner
    assert zone.credential_ends() is None
    server.token_ends = "2027-01-31T23:59:59Z"
    assert zone.credential_ends() == datetime(2027, 1, 31, 23, 59, 59, tzinfo=UTC)


def test_a_token_that_does_not_tell_its_end_is_no_error_of_the_zone(server: CloudflareServer, zone: CloudflareZone) -> None:
    server.token_owner = "nobody"
    with pytest.raises(DnsError):
        zone.credential_ends()
    assert zone.read(DOMAIN, DOMAIN) == PEACE


def test_a_token_that_sees_other_zones_names_them_and_one_that_is_told_of_none_says_nothing(
    server: CloudflareServer, zone: CloudflareZone
) -> None:
    assert zone.other_zones(DOMAIN) == ()
    server.zones_beside = ("shop.example", "Blog.example")
    assert zone.other_zones(DOMAIN) == ("blog.example", "shop.example")
    server.tells_zones = False
    assert zone.other_zones(DOMAIN) is None


def test_a_ttl_outside_the_documented_range_is_refused_whole(server: CloudflareServer, zone: CloudflareZone) -> None:
    with pytest.raises(DnsError, match="9021") as caught:
        zone.apply(change(desired=MxSet(OUTAGE.records, 30)))
    assert 'ttl = "60s"' in caught.value.mend
    assert not isinstance(caught.value, OutcomeUnknown)
    assert server.states == [frozenset({(10, MAIL)})]


def test_a_wrong_zone_id_is_an_error_and_not_an_empty_set(server: CloudflareServer, token_file: Path) -> None:
    with pytest.raises(DnsError, match="7003"):
        CloudflareZone("0" * 32, token_file=token_file, base_url=server.url).read(DOMAIN, DOMAIN)


@pytest.mark.parametrize("token", ["\ufeff" + TOKEN, f"“{TOKEN}”", f"{TOKEN}\nand a note"], ids=["mark", "quotes", "lines"])
def test_a_token_that_no_request_can_bear_is_told_without_it(
    server: CloudflareServer, zone: CloudflareZone, token_file: Path, token: str
) -> None:
    token_file.write_text(token)
    with pytest.raises(SecretError, match="not ASCII") as caught:
        zone.read(DOMAIN, DOMAIN)
    assert TOKEN not in f"{caught.value} {caught.value.mend} {caught.value.__cause__}"
    assert server.requests == []


def test_the_version_of_the_api_is_pinned(server: CloudflareServer, zone: CloudflareZone) -> None:
    zone.apply(change())
    assert {headers["api-version"] for headers in server.headers} == {"2026-11-01"}


def test_the_strict_server_rolls_a_batch_back_whole(server: CloudflareServer) -> None:
    (identifier,) = server.records
    before = dict(server.records)
    broken = {"deletes": [{"id": identifier}], "posts": [{"type": "MX", "name": DOMAIN, "content": AWAY, "ttl": 60}]}
    with pytest.raises(Exception, match="valid priority"):
        server.batch(broken)
    assert server.records == before
