"""Evidence on disk: one row while nothing changes, few writes, nothing lost that matters."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select

from failsafe.failover.delivery import CANARY, is_undelivered
from failsafe.failover.health import JudgePolicy, judge
from failsafe.model import Axis, Evidence, OwnLine, ProbeClass, Verdict
from failsafe.store.engine import Store
from failsafe.store.history import FLUSH_EVERY, FRESH_TROUBLE, KEPT, HistoryStore
from failsafe.store.schema import evidence, own_line

START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def seen(
    number: float, what: ProbeClass = ProbeClass.UP, text: str = "fine", *, vantage: str = "here", target: str = "mx:25"
) -> Evidence:
    return Evidence("vps", vantage, Axis.INBOUND, what, START + number * MINUTE, text, target, 0.1, "S: 220 hello")


def rows(store: Store) -> int:
    with store.read() as connection:
        return connection.execute(select(func.count()).select_from(evidence)).scalar_one()


def last_written(store: Store) -> datetime:
    with store.read() as connection:
        return connection.execute(select(evidence.c.last_at).order_by(evidence.c.id.desc()).limit(1)).scalar_one()


def test_the_same_for_a_day_is_one_row(store: Store) -> None:
    history = HistoryStore(store)
    for number in range(24 * 60):
        history.record(seen(number), MINUTE)
    history.flush(START + timedelta(days=1))

    assert rows(store) == 1
    assert [run.count for run in HistoryStore(store).runs("vps")] == [24 * 60]


def test_nothing_new_is_written_at_most_every_ten_minutes(store: Store) -> None:
    history = HistoryStore(store)
    writes = []
    for number in range(61):
        history.record(seen(number), MINUTE)
        writes.append(last_written(store))

    assert len(set(writes)) == 7
    assert all(
        later - earlier >= FLUSH_EVERY for earlier, later in zip(sorted(set(writes)), sorted(set(writes))[1:], strict=False)
    )


def test_a_change_is_written_at_once_and_told(store: Store) -> None:
    history = HistoryStore(store)
    history.record(seen(0), MINUTE)
    history.record(seen(1), MINUTE)

    assert history.record(seen(2, ProbeClass.DOWN, "dead"), MINUTE)
    assert [run.evidence.seen for run in HistoryStore(store).runs("vps")] == [ProbeClass.UP, ProbeClass.DOWN]
    assert not history.record(seen(3, ProbeClass.DOWN, "dead"), MINUTE)


def test_every_look_of_a_fresh_outage_is_on_disk(store: Store) -> None:
    history = HistoryStore(store)
    history.record(seen(0), MINUTE)
    for number in range(1, 15):
        history.record(seen(number, ProbeClass.DOWN, "dead"), MINUTE)

        assert last_written(store) == START + number * MINUTE


def test_an_outage_that_lasts_lets_the_disk_sleep_again(store: Store) -> None:
    history = HistoryStore(store)
    late = int(FRESH_TROUBLE / MINUTE)
    written = set()
    for number in range(late + 62):
        history.record(seen(number, ProbeClass.DOWN, "dead"), MINUTE)
        if number > late + 1:
            written.add(last_written(store))

    assert len(written) <= 7


def test_a_crash_in_an_outage_does_not_restart_its_clock(store: Store) -> None:
    history = HistoryStore(store)
    history.record(seen(0), MINUTE)
    for number in range(1, 10):
        history.record(seen(number, ProbeClass.DOWN, "dead"), MINUTE)
    after_the_crash = HistoryStore(store)
    after_the_crash.record(seen(11, ProbeClass.DOWN, "dead"), MINUTE)
    view = judge(after_the_crash.runs("vps"), START + 11 * MINUTE, JudgePolicy(MINUTE, 15 * MINUTE))

    assert view is not None
    assert (view.verdict, view.since_at) == (Verdict.DOWN, START + MINUTE)


def test_a_gap_begins_a_new_run(store: Store) -> None:
    history = HistoryStore(store)
    history.record(seen(0), MINUTE)
    history.record(seen(60), MINUTE)

    assert [run.count for run in history.runs("vps")] == [1, 1]


def test_a_clock_that_goes_back_begins_a_new_run(store: Store) -> None:
    history = HistoryStore(store)
    history.record(seen(60), MINUTE)
    history.record(seen(0), MINUTE)

    assert [run.count for run in history.runs("vps")] == [1, 1]


def test_another_sentence_begins_a_new_run_without_a_write(store: Store) -> None:
    history = HistoryStore(store)
    history.record(seen(0), MINUTE)
    history.record(seen(1, text="fine; STARTTLS not offered"), MINUTE)

    assert [run.evidence.text for run in history.runs("vps")] == ["fine", "fine; STARTTLS not offered"]
    assert rows(store) == 1


def test_a_countdown_in_the_words_is_still_the_same(store: Store) -> None:
    history = HistoryStore(store)
    history.record(seen(0, ProbeClass.GREYLISTED, "greylisted for 287 seconds"), MINUTE)
    history.record(seen(1, ProbeClass.GREYLISTED, "greylisted for 227 seconds"), MINUTE)

    assert [run.count for run in history.runs("vps")] == [2]


def test_reading_includes_what_is_only_in_memory_and_counts_nothing_twice(store: Store) -> None:
    history = HistoryStore(store)
    for number in range(5):
        history.record(seen(number), MINUTE)
    history.record(seen(5, text="other"), MINUTE)
    history.record(seen(6, text="fine"), MINUTE)
    before = history.runs("vps")
    history.flush(START + 7 * MINUTE)

    assert [(run.evidence.text, run.count) for run in before] == [("fine", 5), ("other", 1), ("fine", 1)]
    assert HistoryStore(store).runs("vps") == before


def test_vantages_and_axes_are_kept_apart(store: Store) -> None:
    history = HistoryStore(store)
    history.record(seen(0), MINUTE)
    history.record(seen(0.1, ProbeClass.DOWN, "dead", vantage="vps2"), MINUTE)
    history.record(seen(1), MINUTE)

    assert sorted((run.evidence.vantage, run.count) for run in history.runs("vps")) == [("here", 2), ("vps2", 1)]


def test_the_last_up_is_read_and_kept_however_old(store: Store) -> None:
    history = HistoryStore(store)
    history.record(seen(0), MINUTE)
    later = KEPT + timedelta(days=20)
    history.record(seen(later / MINUTE, ProbeClass.DOWN, "dead"), MINUTE)
    history.tidy(START + later)

    assert [run.evidence.seen for run in history.runs("vps", since=START + later)] == [ProbeClass.UP, ProbeClass.DOWN]


def test_what_is_old_and_proves_nothing_goes(store: Store) -> None:
    history = HistoryStore(store)
    for number in range(6):
        history.record(seen(number, ProbeClass.UP if number % 2 else ProbeClass.DOWN), MINUTE)
    history.tidy(START + 2 * KEPT)

    assert [run.evidence.seen for run in history.runs("vps")] == [ProbeClass.UP]


def test_old_transcripts_go_before_their_evidence(store: Store) -> None:
    history = HistoryStore(store)
    history.record(seen(0), MINUTE)
    history.tidy(START + timedelta(days=30))

    assert [run.evidence.transcript for run in HistoryStore(store).runs("vps")] == [""]


def test_own_line_is_run_length_and_says_when_it_changes(store: Store) -> None:
    history = HistoryStore(store)
    told = [
        history.record_line(OwnLine(START + number * MINUTE, answered, 3)) for number, answered in enumerate([3, 3, 2, 1, 0, 3])
    ]
    history.flush(START + 6 * MINUTE)
    with store.read() as connection:
        found = [tuple(row) for row in connection.execute(select(own_line.c.up, own_line.c["count"]).order_by(own_line.c.id))]

    assert told == [False, False, False, True, False, True]
    assert found == [(True, 3), (False, 2), (True, 1)]


def test_own_line_is_remembered_after_a_restart(store: Store) -> None:
    HistoryStore(store).record_line(OwnLine(START, 1, 3))

    assert HistoryStore(store).last_line() == OwnLine(START, 1, 3)
    assert HistoryStore(store).record_line(OwnLine(START + MINUTE, 3, 3))


HOUR = 60.0


def judged(history: HistoryStore, number: float) -> Verdict:
    view = judge(history.runs("vps"), START + number * MINUTE, JudgePolicy(MINUTE, 15 * MINUTE))
    assert view is not None
    return view.verdict


def test_a_clock_that_was_ahead_for_hours_does_not_blind_us_for_hours(store: Store) -> None:
    history = HistoryStore(store)
    for number in range(5):
        history.record(seen(5 * HOUR + number), MINUTE)  # five hours ahead
    for number in range(17):
        history.record(seen(number, ProbeClass.DOWN, "no answer"), MINUTE)
    assert judged(history, 16) is Verdict.DOWN
    assert judged(HistoryStore(store), 16) is Verdict.DOWN


def test_what_was_seen_before_a_clock_went_back_is_not_joined_with_what_came_after(store: Store) -> None:
    history = HistoryStore(store)
    history.record(seen(-1), MINUTE)
    for number in range(14):
        history.record(seen(number, ProbeClass.DOWN, "no answer"), MINUTE)
    for number in range(14, 120):
        history.record(seen(number), MINUTE)  # well again for nearly two hours, then the clock goes back to its 14th minute
    history.record(seen(14, ProbeClass.DOWN, "no answer"), MINUTE)
    view = judge(history.runs("vps"), START + 14 * MINUTE, JudgePolicy(MINUTE, 15 * MINUTE))
    assert view is not None
    assert (view.verdict, view.since_at) == (Verdict.DOWN, START + 14 * MINUTE)


def test_that_a_canary_was_lost_is_known_also_after_the_clock_went_back(store: Store) -> None:
    history = HistoryStore(store)
    for number in range(0, 60, 5):
        history.record(seen(number), 5 * MINUTE)
    for number, what in (
        (30, ProbeClass.UP),
        (35, ProbeClass.DOWN),
        (40, ProbeClass.DOWN),
        (45, ProbeClass.UNKNOWN),
        (38, ProbeClass.UNKNOWN),
    ):
        canary = replace(seen(number, what, str(what), vantage=CANARY), axis=Axis.DELIVERY)
        history.record(canary, 5 * MINUTE)  # mail goes to the secondary; then the clock is set back by ten minutes

    assert is_undelivered(history.runs("vps"))
    assert is_undelivered(HistoryStore(store).runs("vps"))


def test_what_a_controller_sees_that_does_not_lead_is_none_of_the_leaders_evidence(store: Store) -> None:
    """Both call it "here": the follower's line to the server is broken, the leader's is not."""
    leader, follower = HistoryStore(store), HistoryStore(store)
    follower.following = True
    follower.record(seen(0), MINUTE)
    for number in range(1, 31):
        leader.record(seen(number), MINUTE)
        assert follower.record(seen(number + 0.1, ProbeClass.DOWN, "no route"), MINUTE) is (number == 1)
        view = judge(leader.runs("vps"), START + (number + 0.2) * MINUTE, JudgePolicy(MINUTE, 15 * MINUTE))
        assert view is not None
        assert view.verdict is Verdict.UP
    leader.flush(START + 30 * MINUTE)
    assert rows(store) == 1

    follower.following = False
    follower.record(seen(31.1, ProbeClass.DOWN, "no route"), MINUTE)
    view = judge(follower.runs("vps"), START + 31.2 * MINUTE, JudgePolicy(MINUTE, 15 * MINUTE))
    assert view is not None
    assert (view.verdict, view.since_at) == (Verdict.DOWN, START + 1.1 * MINUTE)
