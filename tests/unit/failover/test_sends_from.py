"""From where, and under which name, a mail server's own mail leaves, by what its Postfix says of its settings."""

from __future__ import annotations

from typing import Any

import pytest

from failsafe.failover.domain_checks.block_lists import ListSeen
from failsafe.failover.domain_checks.published import SendingSeen, judge_sending
from failsafe.failover.domain_checks.sending import AddressName, HeloSeen
from failsafe.failover.sends_from import SendsFrom, parse_sends_from
from failsafe.failover.vitals import parse_vitals
from failsafe.model import Severity

HERE, THERE, LONG = "198.51.100.7", "198.51.100.9", "2001:db8::9"
PLAIN = {
    "smtp_bind_address": "",
    "smtp_bind_address6": "",
    "smtp_helo_name": "mail.example.org",
    "inet_interfaces": "all",
    "relayhost": "",
}


def told(**settings: str) -> SendsFrom:
    found = parse_sends_from({**PLAIN, **{name.replace("__", "/unix/"): value for name, value in settings.items()}})
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("settings", "addresses"),
    [
        ({}, ()),
        ({"smtp_bind_address": THERE}, (THERE,)),
        ({"smtp_bind_address": THERE, "smtp_bind_address6": f"[{LONG}]"}, (THERE, LONG)),
        ({"smtp_bind_address": "0.0.0.0", "inet_interfaces": THERE}, ()),
        ({"smtp_bind_address": THERE, "smtp__smtp_bind_address": HERE}, (HERE,)),
        ({"smtp_bind_address": THERE, "smtp__smtp_bind_address": ""}, ()),
        ({"out1__smtp_bind_address": THERE, "out1__smtp_bind_address6": LONG}, (THERE, LONG)),
        ({"inet_interfaces": THERE}, (THERE,)),
        ({"inet_interfaces": f"{THERE}, [{LONG}]"}, (THERE, LONG)),
        ({"inet_interfaces": f"127.0.0.1, {THERE}"}, ()),  # two of that family: the system chooses
        ({"inet_interfaces": "127.0.0.1"}, ()),
        ({"inet_interfaces": f"localhost {THERE}"}, ()),  # what it takes a name for, nobody here knows
        ({"inet_interfaces": "loopback-only"}, ()),
        ({"smtp_bind_address": "mail.example.org"}, ()),
        ({"smtp_bind_address": LONG}, ()),
    ],
)
def test_the_address_that_postfix_binds_itself_to(settings: dict[str, str], addresses: tuple[str, ...]) -> None:
    assert told(**settings).addresses == addresses


def test_the_name_and_the_relay_are_those_of_the_service_that_sends() -> None:
    found = told(smtp__smtp_helo_name="Out.Example.Org.", relayhost="[smtp.example.net]:587")

    assert (found.helo, found.relay) == ("out.example.org", "[smtp.example.net]:587")


@pytest.mark.parametrize("answer", [None, {}, [], "x", {"inet_interfaces": "all"}, {"smtp_helo_name": 7}])
def test_of_an_older_program_or_a_server_without_postfix_nothing_is_known(answer: Any) -> None:
    assert parse_sends_from(answer) is None


def test_the_answer_of_an_older_program_is_read_as_before() -> None:
    seen = parse_vitals({"load": [0, 0, 0], "spaces": []})

    assert seen is not None
    assert seen.sends_from is None


@pytest.mark.parametrize(
    ("sends", "addresses"),
    [
        (SendsFrom(), (HERE, "2001:db8::7")),
        (SendsFrom((THERE,)), (THERE, "2001:db8::7")),
        (SendsFrom((THERE, LONG)), (THERE, LONG)),
        (SendsFrom(("10.0.0.5",)), (HERE, "2001:db8::7")),  # translated on its way: nobody here knows to what
    ],
)
def test_of_each_family_the_bound_address_takes_the_place_of_those_that_receive(
    sends: SendsFrom, addresses: tuple[str, ...]
) -> None:
    assert sends.instead_of((HERE, "2001:db8::7")) == addresses


# -- what the doctor makes of it --------------------------------------------------------------------------------------------

NAMED = AddressName(THERE, ("out.example.org",), ("out.example.org",))
GREETING = HeloSeen("out.example.org", (THERE,), server=(THERE,), sends=True)
POLICY = ListSeen("bl.example", codes={HERE: ("127.0.0.10",)})


def judged(sends: SendsFrom | None, **more: Any) -> dict[str, tuple[Severity, str]]:
    seen = SendingSeen("vps", **{"names": (NAMED,), "helo": GREETING, "received_at": (HERE,), "sends_from": sends, **more})
    return {each.code: (each.severity, each.text) for each in judge_sending(seen)}


def test_a_server_that_sends_from_another_address_is_judged_by_that_and_says_so() -> None:
    found = judged(SendsFrom((THERE,)))

    assert found["ptr"] == (
        Severity.OK,
        f"{THERE} is out.example.org and back; mail leaves from {THERE}, and is received at another address",
    )
    assert found["helo"] == (Severity.OK, "it sends as out.example.org, which leads to it")


def test_a_nameless_sending_address_is_a_fault_and_the_text_says_which_one_it_is() -> None:
    severity, text = judged(SendsFrom((THERE,)), names=(AddressName(THERE),))["ptr"]

    assert (severity, "is received at another address" in text) == (Severity.FAIL, True)


def test_a_name_that_leads_elsewhere_than_mail_leaves_from_is_told() -> None:
    astray = HeloSeen("mail.example.org", (HERE,), server=(THERE,), sends=True)

    severity, text = judged(SendsFrom((THERE,)), helo=astray)["helo"]

    assert (severity, f"leads to {HERE} and not to {THERE}" in text) == (Severity.WARN, True)


def test_behind_a_relay_the_servers_own_address_is_of_no_weight_but_for_what_it_did() -> None:
    relayed = SendsFrom(relay="[smtp.example.net]:587")

    assert judged(relayed, names=(AddressName(HERE),))["ptr"][0] is Severity.SKIPPED
    assert judged(relayed, lists=(POLICY,))["dnsbl"][0] is Severity.OK
    assert judged(None, lists=(POLICY,))["dnsbl"][0] is Severity.FAIL
    assert judged(relayed, lists=(ListSeen("bl.example", codes={HERE: ("127.0.0.4",)}),))["dnsbl"][0] is Severity.FAIL
