"""One conformance suite for every DNS provider that is asked over HTTP: an answer that is none, a lost answer, a refused credential, the lock record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from failsafe.errors import DnsError, OutcomeUnknown, SecretError, ZoneChanged
from tests.contract.dns_providers import FAULTS, OUTAGE, PEACE, Api, change, previewed, provider_of
from tests.contract.dns_servers import ZONE
from tests.ports import free_port


@pytest.fixture(params=list(FAULTS))
def api(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Api]:
    with provider_of(request.param, tmp_path) as running:
        assert isinstance(running, Api)
        yield running


def each(phase: str) -> pytest.MarkDecorator:
    cases = [(kind, fault) for kind, faults in FAULTS.items() for fault in faults[phase]]
    return pytest.mark.parametrize(("api", "fault"), cases, indirect=["api"], ids=["-".join(case) for case in cases])


@each("read")
def test_an_answer_that_cannot_be_trusted_is_never_an_empty_set_and_nothing_is_written_on_it(api: Api, fault: str) -> None:
    api.zone.apply(change())
    api.zone.apply(change(OUTAGE, PEACE))  # so that there is a lock record, where the provider has one
    written = api.server.writes
    api.zone.read(ZONE, ZONE)
    for attempt in (lambda: api.zone.read(ZONE, ZONE), lambda: api.zone.apply(change())):
        api.server.read_faults.append(fault)
        with pytest.raises(DnsError) as caught:
            attempt()
        assert not isinstance(caught.value, OutcomeUnknown)
        assert not api.server.read_faults
        assert not any(secret in str(caught.value) for secret in api.secrets)
    assert api.server.writes == written


@each("committed")
def test_a_change_that_was_made_and_not_confirmed_is_an_unknown_outcome_and_is_not_repeated(api: Api, fault: str) -> None:
    api.server.write_faults.append(fault)
    with pytest.raises(OutcomeUnknown):
        api.zone.apply(change())
    assert api.server.writes == 1
    assert api.zone.read(ZONE, ZONE) == OUTAGE


@each("write")
def test_a_change_that_was_not_made_and_not_denied_is_an_unknown_outcome_and_is_not_repeated(api: Api, fault: str) -> None:
    api.server.write_faults.append(fault)
    with pytest.raises(OutcomeUnknown):
        api.zone.apply(change())
    assert api.server.writes == 1
    assert api.zone.read(ZONE, ZONE) == PEACE


def test_an_api_that_cannot_be_reached_is_no_unknown_outcome(api: Api) -> None:
    zone = api.at(f"http://127.0.0.1:{free_port()}")
    for attempt in (lambda: zone.read(ZONE, ZONE), lambda: zone.apply(change())):
        with pytest.raises(DnsError, match="cannot") as caught:
            attempt()
        assert not isinstance(caught.value, OutcomeUnknown)


def test_exactly_the_previewed_request_is_sent(api: Api) -> None:
    wanted = previewed(api.zone, change())
    assert api.server.writes == 0
    api.zone.apply(change())
    assert api.sent() == wanted


def test_a_change_that_another_controller_has_made_and_taken_back_is_noticed_by_the_lock(api: Api) -> None:
    api.zone.read(ZONE, ZONE)
    other = api.make()
    other.apply(change())
    other.apply(change(OUTAGE, PEACE))
    with pytest.raises(ZoneChanged):
        api.zone.apply(change())
    assert api.server.writes == 2
    assert api.zone.read(ZONE, ZONE) == PEACE


def test_a_record_in_the_place_of_our_lock_that_is_not_ours_is_named_and_left_alone(api: Api) -> None:
    api.occupy_lock()
    for attempt in (lambda: api.zone.read(ZONE, ZONE), lambda: api.zone.apply(change())):
        with pytest.raises(DnsError, match=rf"TXT _failsafe\.{ZONE} is not failsafe's: .*v=something") as caught:
            attempt()
        assert not caught.value.transient
    assert api.server.writes == 0


def test_a_wrong_credential_is_a_mistake_in_the_configuration_and_a_new_one_is_used_at_once(api: Api) -> None:
    right = api.secret_file.read_text()
    api.zone.read(ZONE, ZONE)
    api.secret_file.write_text(api.wrong_secret)
    for attempt in (lambda: api.zone.read(ZONE, ZONE), lambda: api.zone.apply(change())):
        with pytest.raises(DnsError, match="refuses") as caught:
            attempt()
        assert not isinstance(caught.value, OutcomeUnknown)
        assert not caught.value.transient
        assert caught.value.mend
        assert api.wrong_secret not in str(caught.value)
    api.secret_file.write_text(right)
    assert api.zone.read(ZONE, ZONE) == PEACE


def test_a_credential_that_others_can_read_is_refused(api: Api) -> None:
    api.secret_file.chmod(0o644)
    with pytest.raises(SecretError, match="readable by others"):
        api.zone.read(ZONE, ZONE)
    assert api.server.requests == []


def test_the_environment_can_neither_redirect_the_credential_nor_change_who_we_are_nor_repeat_a_write(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, nowhere)
    for name, value in api.environment.items():
        monkeypatch.setenv(name, nowhere if value == "nowhere" else value)
    zone = api.make()
    assert zone.read(ZONE, ZONE) == PEACE
    api.server.write_faults.append("500")
    with pytest.raises(OutcomeUnknown):
        zone.apply(change())
    assert api.server.writes == 1
