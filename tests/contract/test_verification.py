"""What the authoritative servers say, over UDP and TCP, IPv4 and IPv6, with a real Knot and a real BIND behind whatever stands between."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from failsafe.adapters.public_resolvers import ask_public
from failsafe.adapters.resolver import AuthoritativeServers
from failsafe.failover.facts import ZoneReading
from failsafe.failover.verify import Progress, describe_public, judge_progress
from failsafe.model import ServerAnswer
from tests.contract.dns_providers import OUTAGE, PEACE, change, client
from tests.contract.dns_relay import has_ipv6, relay
from tests.contract.dns_servers import ZONE, NameServer, missing, name_server
from tests.unit.failover.world import flip


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NameServer]:
    """Still gives the old set."""
    if missing("knot"):
        pytest.skip(missing("knot"))
    with name_server("knot", tmp_path_factory.mktemp("knot") / "zone") as server:
        yield server


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NameServer]:
    """Has the new set."""
    if missing("bind"):
        pytest.skip(missing("bind"))
    with name_server("bind", tmp_path_factory.mktemp("bind") / "zone") as server:
        client(server).apply(change(PEACE, OUTAGE))
        yield server


def ask(*addresses: str) -> tuple[ServerAnswer, ...]:
    return AuthoritativeServers(addresses, query_seconds=1.0).mx(ZONE)


def progress(*addresses: str) -> Progress:
    return judge_progress(flip(outcome=None), ZoneReading(OUTAGE, ask(*addresses)))[0]


def test_a_server_that_gives_the_same_over_udp_and_tcp_is_one_witness(new: NameServer) -> None:
    with relay(new, new) as address:
        (answer,) = ask(address)
    assert (answer.mx, answer.error) == (OUTAGE, "")


@pytest.mark.parametrize("silent", ["UDP", "TCP"])
def test_a_server_that_answers_over_one_of_them_is_a_witness_and_what_is_silent_is_told(new: NameServer, silent: str) -> None:
    with relay(None if silent == "UDP" else new, None if silent == "TCP" else new) as address:
        (answer,) = ask(address)
        assert progress(address) is Progress.DONE
    assert answer.mx == OUTAGE
    assert answer.error.startswith(f"over {silent}: ")


def test_a_server_that_gives_the_old_set_over_tcp_is_waited_for(new: NameServer, old: NameServer) -> None:
    with relay(new, old) as address:
        udp, tcp = ask(address)
        assert progress(address) is Progress.UNSHOWN
    assert (udp.nameserver, udp.mx) == (f"{address} over UDP", OUTAGE)
    assert (tcp.nameserver, tcp.mx) == (f"{address} over TCP", PEACE)


def test_an_address_of_ipv6_is_asked_as_one_of_ipv4_is(new: NameServer, old: NameServer) -> None:
    if not has_ipv6():
        pytest.skip("this machine has no IPv6 loopback")
    with relay(new, new) as four, relay(old, old, host="::1") as six:
        answers = ask(four, six)
        assert progress(four, six) is Progress.UNSHOWN
    assert [(answer.nameserver, answer.mx) for answer in answers] == [(four, OUTAGE), (six, PEACE)]


def test_a_stale_server_holds_the_verification_up_and_a_silent_one_does_not(new: NameServer, old: NameServer) -> None:
    assert progress(new.address, "127.0.0.1:1") is Progress.DONE
    assert progress(new.address, "127.0.0.1:1", old.address) is Progress.UNSHOWN


def test_what_public_resolvers_give_is_told_for_information_and_a_silent_one_says_nothing(
    new: NameServer, old: NameServer
) -> None:
    answers = ask_public([new.address, old.address, "127.0.0.1:1"], ZONE, query_seconds=1.0)
    assert [answer.mx for answer in answers] == [OUTAGE, PEACE, None]
    told = describe_public(OUTAGE, answers)
    assert told == (
        f"{new.address} gives 5 mx.away.example, 10 mail.example.org; "
        f"{old.address} still gives 10 mail.example.org for at most 60 s more"
    )
    assert describe_public(OUTAGE, answers[2:]) == ""
