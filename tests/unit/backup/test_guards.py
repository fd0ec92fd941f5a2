"""What a person is told about a guard, and when a clock is not believed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from failsafe.backup.guards import ALIKE, CODES, KINDS, Clocks, Standing, join_alike, judge_clock, mend_of, raised_event

NOW = datetime(2026, 11, 22, 17, 0, tzinfo=UTC)
CALM = Clocks(NOW, NOW - timedelta(hours=1), NOW - timedelta(minutes=15), NOW, "vps")


def kind(clocks: Clocks) -> str:
    jump = judge_clock(clocks)
    return jump.kind if jump else ""


def test_every_code_has_one_kind_and_a_command_of_its_own() -> None:
    assert sorted(code for codes in KINDS.values() for code in codes) == sorted(CODES)
    for what, codes in KINDS.items():
        for code in codes:
            assert f"failsafe accept vps {'' if what == 'loss' else f'--what {what} '}--reason TEXT" in mend_of(code, "vps")


def test_an_odd_mailbox_is_quoted_in_the_command() -> None:
    assert "--mailbox 'a b@example.org'" in mend_of("mass-loss", "vps", "a b@example.org")
    assert "--mailbox" not in mend_of("repository-unknown", "vps", "repository:nas")


def test_a_notice_says_what_where_since_when_and_how_to_go_on() -> None:
    event = raised_event("vps", Standing("a@x", "mass-loss", "50 of 60 messages vanished from a@x", NOW), NOW)
    assert event.notice is not None
    assert (event.notice.since, event.notice.thread) == (NOW, "guard/vps/mass-loss/a@x")
    assert "still hold everything" in event.notice.losing_mail
    assert "failsafe accept vps --mailbox a@x --reason TEXT" in event.notice.must_do


def test_a_few_guards_are_told_one_by_one_and_many_as_one() -> None:
    many = [Standing(f"{number}@x", "mass-loss", f"text {number}", NOW) for number in range(ALIKE + 1)]
    assert join_alike(many[:-1]) == tuple(many[:-1])
    (one,) = join_alike(many)
    assert (one.place, one.text.startswith("4 times: text 0; text 1")) == ("", True)


def test_clocks_that_agree_are_believed_whatever_the_silence() -> None:
    assert kind(CALM) == ""
    assert kind(replace(CALM, pulled_at=NOW - timedelta(days=900), generation_at=NOW - timedelta(days=901))) == ""


def test_a_correction_by_a_time_server_is_no_jump() -> None:
    assert kind(replace(CALM, pulled_at=NOW + timedelta(minutes=4))) == ""
    assert kind(replace(CALM, server_at=NOW + timedelta(minutes=29))) == ""


def test_a_clock_before_the_last_pull_or_generation_went_back() -> None:
    assert kind(replace(CALM, pulled_at=NOW + timedelta(minutes=6))) == "back"
    assert kind(replace(CALM, generation_at=NOW + timedelta(days=400), server_at=None)) == "back"


def test_two_clocks_that_are_far_apart_are_told_with_both_times() -> None:
    jump = judge_clock(replace(CALM, server_at=NOW - timedelta(hours=1)))
    assert jump is not None
    assert (jump.kind, jump.apart) == ("apart", timedelta(hours=-1))
    assert ("2026-11-22 16:00 UTC" in jump.text, "2026-11-22 17:00 UTC" in jump.text) == (True, True)


def test_without_a_second_clock_a_long_silence_may_be_a_leap() -> None:
    assert kind(replace(CALM, server_at=None, pulled_at=NOW - timedelta(days=89))) == ""
    assert kind(replace(CALM, server_at=None, pulled_at=NOW - timedelta(days=91))) == "leap"
    assert kind(replace(CALM, server_at=None, pulled_at=None, generation_at=NOW - timedelta(days=400))) == ""
