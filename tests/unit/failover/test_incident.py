"""Several domains of one server: one incident, one notice."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from failsafe.failover.incident import HOLD, Bundle, Waiting, bundle_notices
from failsafe.model import Notice
from tests.unit.failover.world import NOW

SERVERS = {"example.org": "vps", "example.net": "vps", "other.example": "elsewhere"}
LATER = NOW + HOLD


def done(domain: str, number: int, at: datetime = NOW, **more: str) -> Waiting:
    notice = Notice(
        f"{domain}: mail goes to the secondary", "no", "to the secondary", "look after the primary", NOW - timedelta(minutes=16 + number),
        f"{domain}:20261122T114400", details=f"2 servers give 5 mx.away.example, 10 mail.{domain}",
    )  # fmt: skip
    return Waiting(number, replace(notice, **more), at)  # type: ignore[arg-type]


def sent(*waiting: Waiting, now: datetime = LATER, servers: dict[str, str] = SERVERS) -> tuple[Bundle, ...]:
    return bundle_notices(waiting, servers, now)


def test_what_is_said_of_all_domains_of_a_server_is_said_once() -> None:
    [bundle] = sent(done("example.org", 1), done("example.net", 2), now=NOW)
    assert bundle.numbers == (1, 2)
    assert bundle.notice.subject == "example.net and example.org: mail goes to the secondary"
    assert bundle.notice.thread == "vps:20261122T114400"
    assert bundle.notice.since == NOW - timedelta(minutes=18)
    assert bundle.notice.details.count("2 servers") == 1


def test_details_that_differ_are_all_there() -> None:
    [bundle] = sent(done("example.org", 1, details="a"), done("example.net", 2, details="b"))
    assert bundle.notice.details == "example.net:\nb\nexample.org:\na"


def test_the_first_waits_a_moment_for_the_others_and_no_longer() -> None:
    assert sent(done("example.org", 1), now=NOW + timedelta(seconds=5)) == ()
    assert [bundle.numbers for bundle in sent(done("example.org", 1), now=LATER)] == [(1,)]


def test_a_domain_that_is_alone_on_its_server_waits_for_nobody() -> None:
    [bundle] = sent(done("other.example", 1), now=NOW)
    assert bundle.notice == done("other.example", 1).notice
    assert [each.numbers for each in sent(done("example.org", 1), now=NOW, servers={"example.org": "vps"})] == [(1,)]


def test_what_differs_in_what_a_person_must_do_stays_apart() -> None:
    both = sent(done("example.org", 1), done("example.net", 2, must_do="failsafe release example.net"))
    assert [bundle.numbers for bundle in both] == [(1,), (2,)]


def test_one_command_serves_all_of_them_and_a_word_is_given_for_each() -> None:
    [held] = sent(*(done(name, at, must_do=f"failsafe release {name}") for at, name in enumerate(("example.org", "example.net"))))
    assert held.notice.must_do == "failsafe release example.net example.org"
    [halted] = sent(
        *(
            done(name, at, must_do=f"failsafe acknowledge {name} --serving primary")
            for at, name in enumerate(("example.org", "example.net"))
        )
    )
    assert halted.notice.must_do == (
        "failsafe acknowledge example.net --serving primary; failsafe acknowledge example.org --serving primary"
    )


def test_domains_of_two_servers_and_what_is_of_no_domain_stay_apart() -> None:
    overdue = replace(done("example.org", 3).notice, thread="duty/backup:vps", subject="backup vps is overdue")
    bundles = sent(done("example.org", 1), done("other.example", 2), Waiting(3, overdue, NOW))
    assert [bundle.numbers for bundle in bundles] == [(1,), (2,), (3,)]


def test_the_same_of_one_domain_twice_is_two_notices() -> None:
    bundles = sent(done("example.org", 1), done("example.org", 2), done("example.net", 3))
    assert sorted(bundle.numbers for bundle in bundles) == [(1, 3), (2,)]


def test_many_domains_leave_a_subject_that_a_phone_can_show() -> None:
    names = [f"d{number}.example" for number in range(9)]
    [bundle] = sent(*(done(name, at) for at, name in enumerate(names)), servers=dict.fromkeys(names, "vps"))
    assert bundle.notice.subject == "d0.example, d1.example and 7 more: mail goes to the secondary"
