"""One conformance suite for every DNS provider: the fake in memory, a real Knot, a real BIND, strict Cloudflare and Route 53 servers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from failsafe.errors import DnsError, OutcomeUnknown, ZoneChanged
from failsafe.failover.prove import prove_cas
from failsafe.model import MxSet
from tests.contract.dns_providers import AWAY, AWAY_ALONE, KINDS, MAIL, OUTAGE, PEACE, PROOF, Provider, change, provider_of
from tests.contract.dns_servers import ZONE


@pytest.fixture(params=KINDS)
def provider(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Provider]:
    with provider_of(request.param, tmp_path) as running:
        yield running


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

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(write, range(8)))
    (winner,) = [outcome for outcome in outcomes if outcome != "lost"]
    assert provider.zone.read(ZONE, ZONE) == MxSet.of((10, MAIL), (int(winner), AWAY), ttl_seconds=60)


def test_a_provider_shows_on_a_scratch_record_that_it_refuses_a_stale_change_and_nothing_is_left(provider: Provider) -> None:
    scratch = provider.zone.scratch(ZONE, ZONE)
    assert prove_cas(scratch, provider.zone.promises.minimum_ttl_seconds) == ""
    assert scratch.read() == ()
    assert provider.zone.read(ZONE, ZONE) == PEACE


@pytest.mark.parametrize("left", [(1,), (1, 2)], ids=["created", "changed"])
def test_what_a_killed_proof_has_left_is_cleared_by_the_next(provider: Provider, left: tuple[int, ...]) -> None:
    killed = provider.make().scratch(ZONE, ZONE)
    for expected, number in zip((None, *left), left, strict=False):
        killed.write(expected, number)
        assert killed.read() == (number,)
    assert prove_cas(provider.zone.scratch(ZONE, ZONE), provider.zone.promises.minimum_ttl_seconds) == ""
    assert killed.read() == ()


@pytest.mark.parametrize("beside", [None, 1], ids=["alone", "beside ours"])
def test_a_strangers_record_at_the_scratch_name_is_named_and_left_alone(provider: Provider, beside: int | None) -> None:
    if beside is not None:
        provider.zone.scratch(ZONE, ZONE).write(None, beside)
    provider.squat(beside)
    before = provider.zone.read(ZONE, PROOF)
    with pytest.raises(DnsError, match=rf"{PROOF} is not failsafe's: .*stranger") as caught:
        prove_cas(provider.zone.scratch(ZONE, ZONE), provider.zone.promises.minimum_ttl_seconds)
    assert not isinstance(caught.value, ZoneChanged | OutcomeUnknown)
    assert "take away " in caught.value.mend
    assert provider.zone.read(ZONE, PROOF) == before


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


def test_a_credential_of_this_zone_alone_reaches_no_other_where_that_is_told(provider: Provider) -> None:
    assert not provider.zone.other_zones(ZONE)


def test_a_provider_names_the_servers_on_which_it_publishes_the_zone(provider: Provider) -> None:
    assert provider.zone.name_servers(ZONE) == (f"ns1.{ZONE}",)


def test_the_promises_are_said(provider: Provider) -> None:
    assert provider.zone.promises.atomic
    assert provider.zone.promises.compare_and_set is provider.compares


def test_a_preview_names_every_record_tells_no_secret_and_writes_nothing(provider: Provider) -> None:
    text = "\n".join(provider.zone.preview(change(PEACE, OUTAGE)))
    for record in OUTAGE.records:
        if record not in PEACE.records:
            assert record.exchange in text
            assert str(record.preference) in text
    assert not any(secret in text for secret in provider.secrets)
    assert provider.zone.read(ZONE, ZONE) == PEACE
