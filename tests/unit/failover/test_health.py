"""From what a vantage saw to what it concludes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import example, given, settings
from hypothesis import strategies as st

from failsafe.failover.health import ACCEPTING, EvidenceRun, JudgePolicy, VantageView, discount, judge, judge_all
from failsafe.model import TESTIMONY, Axis, Evidence, OwnLine, ProbeClass, Sign, Verdict

START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
POLICY = JudgePolicy(interval=MINUTE, down_for=15 * MINUTE)
LETTERS = {
    "u": ProbeClass.UP, "g": ProbeClass.GREYLISTED, "d": ProbeClass.DOWN, "l": ProbeClass.LYING,
    "o": ProbeClass.DEGRADED, "?": ProbeClass.UNKNOWN, "b": ProbeClass.PROBE_BLOCKED,
}  # fmt: skip


def minute(number: int) -> datetime:
    return START + number * MINUTE


def seen(letter: str, number: int, target: str = "mx:25") -> Evidence:
    return Evidence("vps", "here", Axis.INBOUND, LETTERS[letter], minute(number), f"saw {letter}", target)


def history(letters: str) -> list[EvidenceRun]:
    """One look a minute; a space is a minute without one."""
    return [EvidenceRun.of(seen(letter, number)) for number, letter in enumerate(letters) if letter != " "]


def view(letters: str, *, late: timedelta = timedelta(0)) -> VantageView:
    judged = judge(history(letters), minute(len(letters) - 1) + late, POLICY)
    assert judged is not None
    return judged


def test_without_evidence_there_is_no_view() -> None:
    assert judge([], START, POLICY) is None


def test_one_that_accepts_is_up_since_the_first_look() -> None:
    assert (view("uuu").verdict, view("uuu").since_at) == (Verdict.UP, minute(0))


def test_greylisting_does_not_interrupt_up() -> None:
    assert (view("ugu").verdict, view("ugu").since_at) == (Verdict.UP, minute(0))


def test_down_counts_from_the_first_look_that_failed() -> None:
    assert (view("uuddd").verdict, view("uuddd").since_at) == (Verdict.DOWN, minute(2))


def test_one_accepting_look_restarts_the_count() -> None:
    assert view("udddudd").since_at == minute(5)


def test_down_and_lying_are_one_unbroken_run_with_the_newest_verdict() -> None:
    assert (view("uddll").verdict, view("uddll").since_at) == (Verdict.LYING, minute(1))


def test_an_unknown_look_breaks_the_run() -> None:
    assert (view("udd?d").verdict, view("udd?d").since_at) == (Verdict.DOWN, minute(4))


def test_a_blocked_prober_is_unknown_and_says_so() -> None:
    assert (view("uub").verdict, view("uub").blocked) == (Verdict.UNKNOWN, True)


def test_degraded_is_up_at_first() -> None:
    assert (view("uuooo").verdict, view("uuooo").since_at) == (Verdict.UP, minute(0))


def test_degraded_for_as_long_as_down_for_is_down_since_its_first_look() -> None:
    assert view("u" + "o" * 15).verdict is Verdict.UP
    assert (view("u" + "o" * 16).verdict, view("u" + "o" * 16).since_at) == (Verdict.DOWN, minute(1))


def test_failing_in_turns_is_down_once_nothing_was_accepted_for_down_for() -> None:
    letters = "u" + "do" * 8

    assert (view(letters).verdict, view(letters).since_at) == (Verdict.DOWN, minute(1))


def test_down_after_a_short_degraded_time_counts_from_the_down() -> None:
    assert (view("uoodd").verdict, view("uoodd").since_at) == (Verdict.DOWN, minute(3))


def test_a_vantage_that_never_saw_it_up_is_no_witness() -> None:
    judged = view("d" * 40)

    assert judged.verdict is Verdict.UNKNOWN
    assert "no witness" in judged.reasons[0]


def test_a_lying_server_that_never_accepted_this_recipient_is_not_believed() -> None:
    assert view("llll").verdict is Verdict.UNKNOWN


def test_being_up_with_another_recipient_makes_no_witness() -> None:
    runs = [*history("uuu"), *(EvidenceRun.of(seen("l", number, "typo at mx:25")) for number in range(3, 30))]
    judged = judge(runs, minute(29), POLICY)

    assert judged is not None
    assert judged.verdict is Verdict.UNKNOWN


def test_old_evidence_is_unknown() -> None:
    judged = view("uuu", late=4 * MINUTE)

    assert (judged.verdict, judged.since_at) == (Verdict.UNKNOWN, minute(2) + 3 * MINUTE)
    assert "nothing was seen for 4 min" in judged.reasons[0]


def test_three_intervals_are_not_old_yet() -> None:
    assert view("uuu", late=3 * MINUTE).verdict is Verdict.UP


def test_a_reader_of_the_database_allows_for_what_is_not_written_yet() -> None:
    policy = JudgePolicy(MINUTE, 15 * MINUTE, slack=10 * MINUTE)
    judged = judge(history("uuu"), minute(12), policy)

    assert judged is not None
    assert judged.verdict is Verdict.UP


def test_a_gap_in_the_looking_restarts_the_count() -> None:
    assert (view("udd      dd").verdict, view("udd      dd").since_at) == (Verdict.DOWN, minute(9))


def test_evidence_from_the_future_is_unknown() -> None:
    judged = judge(history("uuuuuuuuuudd"), minute(2), POLICY)

    assert judged is not None
    assert judged.verdict is Verdict.UNKNOWN


def test_the_newest_words_are_the_reason() -> None:
    assert view("uud").reasons == ("saw d",)


def test_every_axis_and_vantage_gets_its_own_view() -> None:
    imap = Evidence("vps", "here", Axis.ACCESS, ProbeClass.UP, minute(2), "in", "imap")
    far = Evidence("vps", "vps2", Axis.INBOUND, ProbeClass.UP, minute(2), "in", "mx:25")
    views = judge_all([*history("uud"), EvidenceRun.of(imap), EvidenceRun.of(far)], minute(2), POLICY)

    assert [(each.axis, each.vantage, each.verdict) for each in views] == [
        (Axis.ACCESS, "here", Verdict.UP), (Axis.INBOUND, "here", Verdict.DOWN), (Axis.INBOUND, "vps2", Verdict.UP),
    ]  # fmt: skip


UP_LINE, DEAD_LINE = OwnLine(START, 3, 3), OwnLine(START, 1, 3)


def test_failure_seen_through_a_dead_line_says_nothing() -> None:
    for before, after in ((DEAD_LINE, UP_LINE), (UP_LINE, DEAD_LINE)):
        assert discount(seen("d", 0), before, after).seen is ProbeClass.UNKNOWN
        assert discount(seen("l", 0), before, after).seen is ProbeClass.UNKNOWN


def test_what_was_seen_through_a_dead_line_testifies_to_nothing_and_what_it_brought_about_is_kept() -> None:
    """A server in our own network sees our logins and our recipients, whatever our line does; it bans for them."""
    through = discount(replace(seen("d", 0), signs=frozenset(Sign)), DEAD_LINE, DEAD_LINE)

    assert through.signs == frozenset(Sign) - TESTIMONY
    assert {Sign.LOGIN_REFUSED, Sign.COUNTED, Sign.BAD_CERTIFICATE} <= through.signs


def test_failure_seen_through_a_good_line_stands() -> None:
    assert discount(seen("d", 0), UP_LINE, UP_LINE) == seen("d", 0)


def test_up_cannot_be_faked_by_a_dead_line() -> None:
    assert discount(seen("u", 0), DEAD_LINE, DEAD_LINE) == seen("u", 0)


def compressed(runs: Sequence[EvidenceRun]) -> list[EvidenceRun]:
    """As the history stores them: equal neighbours without a gap are one run."""
    packed: list[EvidenceRun] = []
    for run in runs:
        last = packed[-1] if packed else None
        if last is not None and last.evidence.seen is run.evidence.seen and run.first_at - last.last_at <= POLICY.stale_after:
            packed[-1] = EvidenceRun(run.evidence, last.first_at, run.last_at, last.count + 1)
        else:
            packed.append(run)
    return packed


SEQUENCES = st.text(alphabet="uugdddlo?b ", min_size=1, max_size=60).filter(lambda letters: letters.strip() != "")


@settings(deadline=None)
@given(SEQUENCES)
def test_run_length_storage_changes_no_verdict(letters: str) -> None:
    now = minute(len(letters) - 1)

    assert judge(compressed(history(letters)), now, POLICY) == judge(history(letters), now, POLICY)


@given(SEQUENCES)
@example("gd   ")  # the newest look is exactly three intervals old: not older than that, so it still counts
def test_down_needs_dense_failing_evidence_since_it_began_and_an_earlier_up(letters: str) -> None:
    judged = judge(history(letters), minute(len(letters) - 1), POLICY)
    assert judged is not None
    if judged.verdict not in {Verdict.DOWN, Verdict.LYING}:
        return
    assert judged.since_at is not None
    first = int((judged.since_at - START) / MINUTE)

    assert set(letters[first:]) <= set("dlo ")
    assert "   " not in letters[first:].rstrip()
    assert not letters.endswith("    ")
    assert any(LETTERS[letter] in ACCEPTING for letter in letters[:first].replace(" ", ""))


@given(SEQUENCES)
def test_up_needs_an_accepting_or_briefly_degraded_newest_look(letters: str) -> None:
    judged = judge(history(letters), minute(len(letters) - 1), POLICY)
    assert judged is not None

    if judged.verdict is Verdict.UP:
        assert letters.strip()[-1] in "ugo"
