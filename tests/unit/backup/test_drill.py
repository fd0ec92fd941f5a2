"""Restore drills: which mail is brought back, what counts as a difference, and what the doctor says of them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from failsafe.backup.archive import Location
from failsafe.backup.drill import (
    Bounds,
    Canary,
    Choice,
    MailboxSize,
    choose_canary,
    choose_mailboxes,
    choose_segments,
    choose_shards,
)
from failsafe.backup.drill_compare import Sight, compare_folder, is_plain
from failsafe.backup.drill_doctor import DrillCheckup, judge_drill
from failsafe.backup.drill_report import DrillReport, Fault, MailboxDrill, ServerDrill, Timing, last_drilled
from failsafe.backup.drill_words import drill_failed_at
from failsafe.backup.opening import SeenMessage
from failsafe.backup.report import Trouble
from failsafe.mail.manifest import Entry
from failsafe.model import Finding, Severity

NOW = datetime(2026, 11, 22, 17, 0, tzinfo=UTC)
BOUNDS = Bounds(bytes=1000, messages=100, mailboxes=3)
SIGHT = Sight("DFRST")


def size(name: str, taken: int = 100, messages: int = 10) -> MailboxSize:
    return MailboxSize(name, messages, taken)


def entry(number: int = 1, *, uid: int | None = 7, flags: str = "S", keywords: tuple[str, ...] = (), date: int = 1000) -> Entry:
    return Entry(uid, f"{number:064x}", f"{number + 1000:064x}", flags, keywords, date, f"name{number}", 10)


def seen(of: Entry, **changes: object) -> SeenMessage:
    return replace(SeenMessage(of.uid, "", of.canonical, of.flags, of.keywords, of.internal_date), **changes)  # type: ignore[arg-type]


def differences(expected: list[Entry], shown: list[SeenMessage], sight: Sight = SIGHT) -> list[tuple[str, str]]:
    return list(compare_folder(expected, shown, sight))


# -- the choice ----------------------------------------------------------------------------------------------------------


def test_what_was_not_drilled_for_longest_comes_first_and_what_never_was_before_all() -> None:
    drilled = {"a": NOW - timedelta(days=1), "b": NOW - timedelta(days=30), "c": NOW - timedelta(days=9)}
    sizes = [size(name) for name in "abcd"]

    assert choose_mailboxes(sizes, drilled, BOUNDS, "seed").whole == ("d", "b", "c")


def test_a_rotation_reaches_every_mailbox() -> None:
    sizes = [size(f"box{number}", 400) for number in range(7)]
    drilled: dict[str, datetime] = {}
    for day in range(4):
        chosen = choose_mailboxes(sizes, drilled, BOUNDS, f"day {day}").whole
        assert len(chosen) == 2
        drilled |= dict.fromkeys(chosen, NOW + timedelta(days=day))

    assert set(drilled) == {each.mailbox for each in sizes}


def test_the_bounds_hold_for_bytes_messages_and_mailboxes_together() -> None:
    assert choose_mailboxes([size("a", 700), size("b", 700)], {"a": NOW}, BOUNDS, "").whole == ("b",)
    assert choose_mailboxes([size("a", 1, 70), size("b", 1, 70)], {"a": NOW}, BOUNDS, "").whole == ("b",)
    assert len(choose_mailboxes([size(name, 1, 1) for name in "abcdefg"], {}, BOUNDS, "").whole) == 3


def test_a_mailbox_that_is_larger_than_the_bounds_is_sampled_and_the_others_have_their_turn_too() -> None:
    chosen = choose_mailboxes([size("huge", 5000), size("b", 700)], {"b": NOW}, BOUNDS, "")

    assert chosen == Choice(("b",), "huge", 250)


def test_the_same_seed_makes_the_same_choice_and_another_seed_another_one() -> None:
    sizes = [size(f"box{number}") for number in range(30)]
    first = choose_mailboxes(sizes, {}, BOUNDS, "one")

    assert choose_mailboxes(reversed(sizes), {}, BOUNDS, "one") == first
    assert any(choose_mailboxes(sizes, {}, BOUNDS, seed) != first for seed in ("two", "three"))


def test_a_nearly_full_disk_makes_the_bounds_smaller() -> None:
    assert BOUNDS.within(300).bytes == 100
    assert BOUNDS.within(-1).bytes == 0
    assert BOUNDS.within(10**12) == BOUNDS


def test_the_canary_is_the_newest_message_that_is_not_from_the_future() -> None:
    found = [Canary("a", "INBOX", entry(number, date=date)) for number, date in enumerate((10, 30, 99_999_999_999))]

    assert choose_canary(found, (), datetime.fromtimestamp(50, UTC)) == found[1]
    assert choose_canary([], (), NOW) is None


def test_the_canary_comes_from_the_mailbox_that_probes_are_sent_to_where_there_is_mail_in_it() -> None:
    probe, newer = Canary("probe@example.org", "INBOX", entry(1, date=10)), Canary("a", "INBOX", entry(2, date=20))

    assert choose_canary([probe, newer], ("probe@example.org",), NOW) == probe
    assert choose_canary([newer], ("probe@example.org",), NOW) == newer


def test_a_sample_takes_some_shards_and_at_least_one_segment() -> None:
    shards = [(0, f"{number:064x}") for number in range(50)]
    places = [Location(str(number), f"segment{number}", 0, 1) for number in range(10)]

    assert len(choose_shards(shards, "seed")) == 12
    assert len(choose_segments(places, {f"segment{number}": 100 for number in range(10)}, 350, "seed")) == 3
    assert len(choose_segments(places, {f"segment{number}": 100 for number in range(10)}, 0, "seed")) == 1
    assert choose_segments([], {}, 1000, "seed") == frozenset()


# -- the comparison ------------------------------------------------------------------------------------------------------


def test_equal_mail_has_no_difference_in_whatever_order_it_is_shown() -> None:
    expected = [entry(1, uid=1), entry(2, uid=2, flags="", keywords=("Work",)), entry(3, uid=None)]
    shown = [seen(expected[2], uid=9), seen(expected[1]), seen(expected[0])]

    assert differences(expected, shown) == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"flags": ""}, "has the flags none instead of S"),
        ({"keywords": ("Work",)}, "has the keywords Work instead of none"),
        ({"internal_date": 2000}, "has the date 1970-01-01T00:33:20Z instead of 1970-01-01T00:16:40Z"),
        ({"canonical": "f" * 64}, "came back with another content"),
    ],
)
def test_every_difference_is_told_with_the_message(changes: dict[str, object], says: str) -> None:
    assert differences([entry()], [seen(entry(), **changes)]) == [("name1 (UID 7)", says)]


def test_a_missing_message_and_one_too_many_are_both_told() -> None:
    stranger = seen(entry(5), uid=8)

    assert differences([entry()], [stranger]) == [
        ("name1 (UID 7)", "did not come back"),
        (f"(content {stranger.canonical[:16]}, UID 8)", "is not in the manifest"),
    ]


def test_a_message_under_another_uid_is_a_difference_only_where_the_server_had_numbered_it() -> None:
    assert differences([entry(uid=None)], [seen(entry(), uid=3)]) == []
    told = differences([entry(uid=7)], [seen(entry(), uid=3)])
    assert told == [("name1 (UID 7)", "came back as UID 3")]


def test_of_two_messages_that_claim_one_uid_the_second_may_be_numbered_anew() -> None:
    expected = [entry(1, uid=7), entry(2, uid=7)]

    assert differences(expected, [seen(expected[0]), seen(expected[1], uid=40)]) == []


def test_of_two_equal_messages_each_finds_its_own() -> None:
    read, unread = entry(uid=None), replace(entry(uid=None, flags=""), name="copy")
    shown = [replace(seen(each), uid=None, id=each.id) for each in (read, unread)]

    assert differences([unread, read], shown) == []
    assert differences([unread, read], shown[:1]) == [("copy", "did not come back")]


def test_what_an_opener_cannot_show_is_not_asked_of_it() -> None:
    expected = entry(flags="PS", keywords=("lost", "kept"))

    assert differences([expected], [seen(expected, flags="S", keywords=("kept",))], Sight("DFRST", frozenset({"lost"}))) == []
    assert differences([expected], [seen(expected, flags="S")], Sight("DFPRST")) != []


@pytest.mark.parametrize(
    ("name", "directory", "plain"),
    [
        ("INBOX", "", True),
        ("Archive/2026", ".Archive.2026", True),
        ("Entwürfe", ".Entw&APw-rfe", True),
        ("INBOX/Odd", ".INBOX.Odd", False),
        ("~root", ".~root", False),
        ("a\udcff", ".a\udcff", False),
        ("Entwürfe", ".Entwürfe", False),
    ],
)
def test_a_strange_folder_name_is_not_expected_of_every_mail_server(name: str, directory: str, plain: bool) -> None:
    assert is_plain(name, directory, "maildir++") is plain


# -- the evidence --------------------------------------------------------------------------------------------------------


def server(*faults: Fault, **changes: object) -> ServerDrill:
    boxes = (MailboxDrill("a", "whole", 3, 30, ok=not faults), MailboxDrill("b", "canary", 1, 10, ok=True))
    made = ServerDrill("vps", "5" * 64, NOW, 1, boxes, None, "Dovecot 2.3.19", Timing(1.0, 2.0, 0.5, 0.25), faults, len(faults))
    return replace(made, **changes)  # type: ignore[arg-type]


def report(*servers: ServerDrill, at: datetime = NOW) -> DrillReport:
    return DrillReport("nas", at, at, servers)


def test_a_drill_passes_only_where_something_came_back_and_all_of_it_was_right() -> None:
    assert (report(server()).result, report(server()).exit_code) == ("passed", 0)
    assert (report(server(Fault("x"))).result, report(server(Fault("x"))).exit_code) == ("failed", 1)
    untried = ServerDrill("new", notes=("nothing there yet",))
    assert report(server(), untried).result == "passed"
    assert (report(untried).result, report(untried).exit_code) == ("failed", 1)
    assert (report().result, report().exit_code) == ("failed", 1)


def test_what_could_not_be_tried_is_exit_4_and_no_word_on_the_mail() -> None:
    away = report(server(trouble=Trouble("connection refused")))

    assert (away.result, away.exit_code, away.was_tried, away.first_fault) == ("failed", 4, False, "connection refused")
    assert drill_failed_at({"drill": away.summary()}) is None
    assert drill_failed_at({"drill": report(server(Fault("x"))).summary()}) == NOW
    assert drill_failed_at({"drill": report(server()).summary()}) is None
    assert drill_failed_at({}) is None


def test_the_recovery_time_ends_when_the_mail_can_be_read() -> None:
    told = report(server(), server()).summary()

    assert (told["seconds"], told["seconds_by_step"]["compare"]) == (7.0, 0.5)
    assert (told["messages"], told["bytes"], told["mailboxes"]) == (8, 80, 4)


def test_only_what_a_passed_drill_brought_back_counts_as_drilled_and_a_canary_alone_does_not() -> None:
    older, newer = report(server(), at=NOW - timedelta(days=9)), report(server(), at=NOW - timedelta(days=2))
    failed = report(server(Fault("x", "b")), at=NOW)

    assert last_drilled(each.to_json() for each in (failed, newer, older)) == {("vps", "a"): NOW - timedelta(days=2)}


# -- the doctor ----------------------------------------------------------------------------------------------------------

WEEKLY = DrillCheckup("nas", timedelta(days=7), NOW - timedelta(days=100), NOW - timedelta(days=3), "passed; 12 message(s)")


@pytest.mark.parametrize(
    ("changes", "severity"),
    [
        ({}, Severity.OK),
        ({"passed_at": NOW - timedelta(days=13)}, Severity.OK),
        ({"passed_at": NOW - timedelta(days=15)}, Severity.FAIL),
        ({"failed": True}, Severity.FAIL),
        ({"passed_at": None}, Severity.FAIL),
        ({"passed_at": None, "first_snapshot_at": NOW - timedelta(days=8)}, Severity.SKIPPED),
        ({"passed_at": None, "first_snapshot_at": None}, Severity.SKIPPED),
    ],
)
def test_a_late_or_failed_drill_is_a_fault_and_a_new_repository_has_time(changes: dict[str, object], severity: Severity) -> None:
    found: Finding = judge_drill(replace(WEEKLY, **changes), NOW)  # type: ignore[arg-type]

    assert (found.code, found.severity, found.blocks_failover) == ("drill-restore", severity, False)
    assert (severity is Severity.OK) is (found.mend == "")
