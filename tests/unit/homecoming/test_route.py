"""Where a message goes that was found at the secondary."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from failsafe.homecoming.found import Found
from failsafe.homecoming.people import Addresses
from failsafe.homecoming.route import NOT_BUILT, REPAIRED, Route, Routing, Rules, judge_found, route
from failsafe.homecoming.window import begin_of, counts
from failsafe.mail.accounts import Accounts, Alias
from failsafe.mail.canary import Canary
from tests.contract.bridge_rebuild import failed_to_build

AT = datetime(2026, 11, 16, 9, tzinfo=UTC)
ANNA, BOB, POSTMASTER = "anna@example.org", "bob@example.org", "postmaster@example.org"
ALIASES = (
    Alias("info@example.org", (ANNA,)),
    Alias("team@example.org", (ANNA, BOB)),
    Alias("out@example.org", ("eve@elsewhere.test",)),
)
TABLE = Addresses("example.org", (ANNA, BOB, POSTMASTER), Accounts(aliases=ALIASES))
CAUGHT = Found("everything@example.org", "INBOX", "0" * 64, "0" * 64, 9, frozenset(), (), AT, by_catch_all=True)
OWN = replace(CAUGHT, mailbox=ANNA, by_catch_all=False)
KEY = bytes(32)
RULES = Rules(TABLE, AT - timedelta(hours=1), KEY, catch_all="everything@example.org")


def head(*fields: str) -> bytes:
    return "".join(f"{field}\r\n" for field in fields).encode() + b"\r\nbody"


def people(*fields: str, found: Found = CAUGHT) -> list[str]:
    routing = route(found, head(*fields), TABLE, "")
    assert all(each.folder == "INBOX" and not each.why for each in routing.routes)
    return [each.mailbox for each in routing.routes]


def test_a_mailbox_of_its_own_goes_to_the_mailbox_of_its_name_whoever_is_named() -> None:
    assert people("To: bob@example.org, x@elsewhere.test", found=OWN) == [ANNA]


@pytest.mark.parametrize("name", ["X-Original-To", "Delivered-To", "Envelope-To", "X-Forwarded-To", "X-Delivered-To"])
def test_the_envelope_tells_whom_a_blind_copy_is_for(name: str) -> None:
    assert people(f"{name}: Anna@Example.org", "To: x@elsewhere.test") == [ANNA]


def test_what_the_catch_all_says_of_itself_tells_nothing() -> None:
    assert people("Delivered-To: everything@example.org", "X-Original-To: info@example.org", "To: x@elsewhere.test") == [ANNA]
    assert people("Delivered-To: everything@example.org", "To: bob@example.org") == [BOB]


def test_a_catch_all_that_is_somebodys_own_mailbox_gets_what_nobody_else_is_named_in() -> None:
    at_annas = replace(CAUGHT, mailbox=ANNA)

    assert people("Delivered-To: anna@example.org", "To: bob@example.org", found=at_annas) == [BOB]
    assert people("Delivered-To: anna@example.org", "To: x@elsewhere.test", found=at_annas) == [ANNA]
    assert people("Delivered-To: anna@example.org", "To: anna@example.org", found=at_annas) == [ANNA]


def test_the_topmost_hop_that_names_somebody_counts() -> None:
    earlier = ("Received: from a by b", "Delivered-To: bob@example.org", "To: x@elsewhere.test")

    assert people("X-Original-To: anna@example.org", *earlier) == [ANNA]
    assert people("Delivered-To: everything@example.org", *earlier) == [BOB]


def test_the_recipient_in_received_stands_in_for_an_envelope_that_nobody_wrote_down() -> None:
    assert people(
        "Received: from a (b [1.2.3.4])\r\n by mx with ESMTP id 1\r\n for <bob@example.org>; Mon", "To: list@elsewhere.test"
    ) == [BOB]


def test_one_copy_for_two_of_us_goes_to_both() -> None:
    assert people("X-Original-To: anna@example.org", "To: anna@example.org, B <bob@example.org>", "Cc: z@elsewhere.test") == [
        ANNA,
        BOB,
    ]
    assert people("Envelope-To: anna@example.org, bob@example.org", "To: z@elsewhere.test") == [ANNA, BOB]
    assert people("To: team@example.org", "Cc: info@example.org") == [ANNA, BOB]


def test_mail_of_a_list_goes_to_whom_it_was_sent_alone() -> None:
    assert people("X-Original-To: anna@example.org", "List-Id: <l.example.net>", "To: l@example.net, bob@example.org") == [ANNA]


def test_a_message_that_was_sent_on_goes_to_whom_it_was_sent_on_to() -> None:
    assert people("Resent-To: bob@example.org", "To: anna@example.org") == [BOB]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        (("To: x@elsewhere.test",), "its header names nobody of the domain"),
        (("To: gone@example.org",), "nobody at the primary has gone@example.org"),
        (
            ("X-Original-To: out@example.org", "To: out@example.org"),
            "out@example.org leads to eve@elsewhere.test, outside, where nothing is sent",
        ),
        ((), "its header names nobody of the domain"),
    ],
)
def test_what_cannot_be_routed_goes_to_a_folder_that_says_why(fields: tuple[str, ...], why: str) -> None:
    assert route(CAUGHT, head(*fields), TABLE, "").routes == (Route(POSTMASTER, "Unrouted", why),)
    assert route(CAUGHT, head(*fields), TABLE, "bob@example.org/Lost/Found").routes == (Route(BOB, "Lost/Found", why),)


def test_an_envelope_for_nobody_is_told_even_where_others_get_the_message_and_a_name_in_to_alone_is_not() -> None:
    missed = Route(POSTMASTER, "Unrouted", "nobody at the primary has gone@example.org")

    assert route(CAUGHT, head("X-Original-To: gone@example.org", "To: anna@example.org"), TABLE, "").routes == (
        Route(ANNA, "INBOX"),
        missed,
    )
    assert people("To: anna@example.org, gone@example.org") == [ANNA]


def test_unroutable_mail_goes_to_whoever_is_postmaster() -> None:
    table = Addresses("example.org", (ANNA,), Accounts(aliases=(Alias("postmaster@example.org", (ANNA,)),)))

    assert route(CAUGHT, head(), table, "").routes[0].mailbox == ANNA


def test_junk_goes_to_junk_and_a_catch_alls_own_folders_to_inbox() -> None:
    junk, sorted_by_hand = (
        route(replace(CAUGHT, folder=folder), head("To: anna@example.org"), TABLE, "") for folder in ("Spam", "Done")
    )

    assert junk.routes == (Route(ANNA, "Junk"),)
    assert sorted_by_hand.routes == (Route(ANNA, "INBOX"),)
    assert route(replace(OWN, folder="Done"), head(), TABLE, "").routes == (Route(ANNA, "Done"),)


def test_junk_for_nobody_lies_with_the_postmasters_junk() -> None:
    routing = route(replace(CAUGHT, folder="Spam"), head("To: made-up@example.org"), TABLE, "")

    assert routing.routes == (Route(POSTMASTER, "Junk", "nobody at the primary has made-up@example.org"),)


def test_more_people_than_anybody_writes_to_are_told_of() -> None:
    names = [f"p{number}@example.org" for number in range(1_001)]

    routing = route(CAUGHT, head("To: " + ", ".join(names)), Addresses("example.org", (*names, POSTMASTER)), "")

    assert [each.mailbox for each in routing.routes] == [*names[:1_000], POSTMASTER]
    assert "more than 1000" in routing.routes[-1].why


def test_sent_mail_goes_to_the_senders_sent() -> None:
    sent = replace(CAUGHT, folder="Sent")

    assert route(sent, head("From: Bob <bob@example.org>", "To: anna@example.org"), TABLE, "").routes == (Route(BOB, "Sent"),)
    assert route(replace(OWN, folder="Sent"), head("From: info@example.org"), TABLE, "").routes == (Route(ANNA, "Sent"),)
    assert route(replace(OWN, folder="Sent"), head("From: me@elsewhere.test"), TABLE, "").left


def test_a_canary_is_neither_home_nor_waiting_and_a_feigned_one_is_mail() -> None:
    real = Canary("vps", "0" * 16, AT).write(KEY, "c@elsewhere.test", ANNA)
    feigned = Canary("vps", "0" * 16, AT).write(b"x" * 32, "c@elsewhere.test", ANNA)

    assert judge_found(CAUGHT, real, RULES) == Routing(left="a canary")
    assert judge_found(CAUGHT, feigned, RULES) == Routing((Route(ANNA, "INBOX"),))


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ({"internal_date": AT - timedelta(hours=1, seconds=1)}, "it came before the homecoming's time"),
        ({"folder": "Drafts"}, "a draft"),
        ({"flags": frozenset("DS")}, "a draft"),
        ({"folder": "All Mail"}, "it lies in another folder too"),
    ],
)
def test_what_does_not_come_home_says_why(change: dict[str, object], left: str) -> None:
    assert judge_found(replace(OWN, **change), head("To: anna@example.org"), RULES) == Routing(left=left)  # type: ignore[arg-type]


def test_what_proton_has_not_sent_yet_is_a_draft_and_a_folder_of_that_name_elsewhere_is_none() -> None:
    scheduled = replace(OWN, folder="Scheduled")

    assert judge_found(scheduled, head("X-Pm-Internal-Id: abc=="), RULES) == Routing(left="a draft")
    assert judge_found(scheduled, head("To: anna@example.org"), RULES) == Routing((Route(ANNA, "Scheduled"),))


def test_a_message_that_bridge_could_not_build_waits() -> None:
    assert judge_found(OWN, failed_to_build("Hello", AT, "abc=="), RULES) == Routing(waits=NOT_BUILT)
    assert judge_found(replace(OWN, gone=True), failed_to_build("Hello", AT, "abc=="), RULES) == Routing(left=REPAIRED)


def test_mail_counts_from_before_the_flip_on() -> None:
    begin = begin_of(AT, [AT - timedelta(days=1), AT], timedelta(minutes=5))

    assert begin == AT - timedelta(days=1, hours=1)
    assert begin_of(AT, [], timedelta(days=2)) == AT - timedelta(days=2)
    assert begin_of(AT, [], None) == AT - timedelta(hours=1)
    assert counts(replace(OWN, internal_date=begin), begin)
    assert not counts(replace(OWN, internal_date=begin - timedelta(seconds=1)), begin)
