"""Lost delivery moves mail only with the quorum, refuted by one canary that arrives; a queue that waits never does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from failsafe.failover.canary import Arrival, CanaryBook, book_of_json, book_to_json, judge_canary, lost_from
from failsafe.failover.decide import Order, decide, why_not_automatic
from failsafe.failover.delivery import CANARY, INSIDE, is_undelivered, judge_witness, lost_delivery, witnesses
from failsafe.failover.facts import DomainFacts
from failsafe.failover.health import EvidenceRun, JudgePolicy
from failsafe.failover.machine import Trigger
from failsafe.failover.notices import LOST, losing_mail
from failsafe.mail.canary import Canary
from failsafe.model import Axis, DomainState, Evidence, FlipKind, ProbeClass, Verdict
from tests.unit.failover.world import NOW, Scene, minutes, record, view

UP, DOWN, UNKNOWN = Verdict.UP, Verdict.DOWN, Verdict.UNKNOWN
EVERY = minutes(15)


def losing(
    lasts: float = 20, *, inside: Verdict = DOWN, canary: Verdict = DOWN, state: DomainState = DomainState.SUSPECT
) -> DomainFacts:
    """Both probes say up; canaries are lost, and do not wait in the queue."""
    seen = (view(CANARY, canary, lasts), view(INSIDE, inside, lasts))
    return replace(Scene.peace(), record=record(state, lasts), delivery=witnesses(seen))


def test_mail_that_is_taken_and_lost_moves_the_mx_though_the_way_in_is_up() -> None:
    decision = decide(losing(), NOW)

    assert (decision.trigger, decision.orders) == (Trigger.PRIMARY_DOWN, (Order.FLIP,)), decision
    assert any("does not arrive" in reason for reason in decision.reasons)
    assert losing_mail(losing()) == LOST


def test_it_begins_as_a_suspicion() -> None:
    assert decide(losing(1, state=DomainState.NORMAL), NOW).trigger is Trigger.PRIMARY_SUSPECT


def test_it_waits_for_down_for() -> None:
    assert Order.FLIP not in decide(losing(14), NOW).orders


@pytest.mark.parametrize(
    "facts",
    [
        losing(inside=UNKNOWN),
        losing(inside=UP),
        losing(canary=UNKNOWN),
        losing(canary=UP),
    ],
    ids=["nobody can look inside", "inside nothing is missed", "the canary could not be sent", "the canary arrives"],
)
def test_one_witness_alone_is_not_the_quorum(facts: DomainFacts) -> None:
    assert lost_delivery(facts) == ()
    assert Order.FLIP not in decide(facts, NOW).orders
    assert decide(facts, NOW).trigger is Trigger.PRIMARY_WELL


def test_with_a_quorum_of_one_the_canary_is_enough() -> None:
    facts = losing(inside=UNKNOWN)
    assert Order.FLIP in decide(replace(facts, policy=replace(facts.policy, quorum=1)), NOW).orders


def test_with_a_quorum_of_one_a_canary_that_arrives_refutes_what_inside_says() -> None:
    facts = losing(canary=UP)
    assert lost_delivery(replace(facts, policy=replace(facts.policy, quorum=1))) == ()


def test_mail_that_waits_in_the_queue_is_no_witness_however_long() -> None:
    waits = replace(view(INSIDE, DOWN, 600), degraded=True)
    facts = replace(Scene.peace(), delivery=witnesses((waits,)))
    assert lost_delivery(replace(facts, policy=replace(facts.policy, quorum=1))) == ()
    assert decide(facts, NOW).trigger is None


def test_mail_that_waits_in_the_queue_is_safe_also_where_the_canary_alone_is_the_quorum() -> None:
    waits = replace(view(INSIDE, UNKNOWN, 600), degraded=True)
    facts = replace(Scene.peace(), delivery=witnesses((view(CANARY, DOWN, 600), waits)))
    assert lost_delivery(replace(facts, policy=replace(facts.policy, quorum=1))) == ()


def test_the_time_in_which_mail_waited_is_no_part_of_the_time_in_which_it_was_lost() -> None:
    every, seen = minutes(5), (ProbeClass.UP, *[ProbeClass.DEGRADED] * 6, ProbeClass.DOWN)
    looks = [Evidence("vps", INSIDE, Axis.DELIVERY, what, NOW - every * (7 - number), "") for number, what in enumerate(seen)]
    policy = JudgePolicy(every, minutes(15))

    waits = judge_witness(map(EvidenceRun.of, looks[:-1]), NOW - every, policy)
    gone = judge_witness(map(EvidenceRun.of, looks), NOW, policy)

    assert waits is not None and (waits.verdict, waits.degraded) == (UNKNOWN, True)
    assert gone is not None and (gone.verdict, gone.degraded, gone.since_at) == (DOWN, False, NOW)
    old = judge_witness(map(EvidenceRun.of, looks[:-1]), NOW + minutes(60), policy)
    assert old is not None and not old.degraded, "what waited long ago refutes nothing"


def test_a_vantage_that_the_server_bans_keeps_nobody_from_leaving_where_mail_is_lost() -> None:
    facts = losing()
    banned = replace(facts, views=(view("here", UP, 600), view("vps2", DOWN, 600)))
    assert Order.FLIP in decide(banned, NOW).orders


def test_after_a_start_both_have_to_look_again_before_mail_is_called_lost() -> None:
    started = replace(losing(), started_at=NOW - minutes(4))  # longer than the grace of those that probe
    old = tuple(replace(each, last_at=NOW - minutes(6)) for each in started.delivery)

    waits = decide(replace(started, delivery=old), NOW)

    assert "start-grace" in {guard.code for guard in waits.guards}
    assert Order.FLIP not in waits.orders
    assert Order.FLIP in decide(started, NOW).orders


def test_the_way_home_from_lost_delivery_waits_for_a_person_or_a_canary_at_the_primary() -> None:
    home = Scene.recovered()
    assert why_not_automatic(home, FlipKind.FAILBACK) == ()
    assert any("canary" in reason for reason in why_not_automatic(replace(home, undelivered=True), FlipKind.FAILBACK))


# -- the book -------------------------------------------------------------------------------------------------------------


def canary(ago: float) -> Canary:
    return Canary("vps", f"{int(ago):016x}", NOW - minutes(ago))


def arrival(ago: float, place: str = "") -> Arrival:
    return Arrival(canary(ago), NOW - minutes(ago), place)


@pytest.mark.parametrize(
    ("book", "seen"),
    [
        (CanaryBook(), ProbeClass.UNKNOWN),
        (CanaryBook(sent=(canary(5),)), ProbeClass.UNKNOWN),
        (CanaryBook(sent=(canary(100),)), ProbeClass.UNKNOWN),  # none ever arrived: the way itself may be wrong
        (CanaryBook(newest=arrival(20)), ProbeClass.UP),
        (CanaryBook(newest=arrival(40), sent=(canary(29),)), ProbeClass.UP),
        (CanaryBook(newest=arrival(45), sent=(canary(31),)), ProbeClass.DOWN),
        (CanaryBook(newest=arrival(45), sent=(canary(31),), refused="451"), ProbeClass.UNKNOWN),
        (CanaryBook(newest=arrival(10), sent=(canary(31),)), ProbeClass.UP),  # one was overtaken: not lost delivery
        (CanaryBook(newest=arrival(10, "imap.away.example:993")), ProbeClass.UNKNOWN),
    ],
)
def test_what_a_book_of_canaries_says(book: CanaryBook, seen: ProbeClass) -> None:
    assert judge_canary(book, NOW, EVERY)[0] is seen
    assert book_of_json("vps", book_to_json(book)) == book


def test_what_later_ones_have_overtaken_is_counted_once_and_forgotten() -> None:
    book = CanaryBook(newest=arrival(10), sent=(canary(40), canary(31), canary(20), canary(5))).settle(NOW, EVERY)
    assert (book.lost, [each.sent_at for each in book.sent]) == (2, [NOW - minutes(20), NOW - minutes(5)])
    assert book.settle(NOW, EVERY) == book


def test_a_late_one_that_turns_up_ends_the_loss() -> None:
    lost = CanaryBook(newest=arrival(70), sent=(canary(55), canary(40)))
    assert lost_from(lost, NOW, EVERY) == NOW - minutes(55)
    assert not lost_from(lost.note_found(arrival(40)), NOW, EVERY)
    assert not lost_from(replace(lost, away=True), NOW, EVERY)


def test_a_late_older_one_does_not_end_it() -> None:
    assert lost_from(CanaryBook(newest=arrival(70), sent=(canary(55), canary(40))).note_found(arrival(55)), NOW, EVERY)


def run(seen: ProbeClass, ago: float, vantage: str = CANARY, axis: Axis = Axis.DELIVERY) -> EvidenceRun:
    return EvidenceRun.of(Evidence("vps", vantage, axis, seen, NOW - minutes(ago), ""))


def test_undelivered_is_what_the_last_canary_of_the_primary_knew() -> None:
    way_in = run(ProbeClass.UP, 60, "here", Axis.INBOUND)
    assert is_undelivered([way_in, run(ProbeClass.UP, 90), run(ProbeClass.DOWN, 60), run(ProbeClass.UNKNOWN, 5)])
    assert not is_undelivered([way_in, run(ProbeClass.DOWN, 60), run(ProbeClass.UP, 5)])
    assert not is_undelivered([])


@pytest.mark.parametrize("arrived_from", [60, 20])
def test_a_canary_that_was_lost_before_the_clock_was_set_back_is_not_hidden_by_one_that_arrived_before_it(
    arrived_from: float,
) -> None:
    way_in = replace(run(ProbeClass.UP, 60, "here", Axis.INBOUND), last_at=NOW)
    arrived = replace(run(ProbeClass.UP, arrived_from), last_at=NOW - minutes(20))

    assert is_undelivered([way_in, arrived, run(ProbeClass.DOWN, 20)])


def test_canaries_that_could_not_arrive_at_a_dead_way_in_keep_nobody_from_going_home() -> None:
    before = run(ProbeClass.UP, 90, "here", Axis.INBOUND)
    assert not is_undelivered([before, run(ProbeClass.DOWN, 60, "here", Axis.INBOUND), run(ProbeClass.DOWN, 60)])


def test_a_way_in_that_is_down_decides_itself_since_when_it_is() -> None:
    down = (view("here", DOWN, 40), view("vps2", DOWN, 40))
    facts = replace(losing(1), views=down)
    assert Order.FLIP in decide(facts, NOW).orders
    assert losing_mail(facts) != LOST


def test_a_clock_that_was_ahead_does_not_let_an_old_arrival_hide_a_later_loss() -> None:
    """Sent and found by a clock an hour ahead, then three that are lost by the right one."""
    ahead = CanaryBook(newest=arrival(-15), sent=(canary(-30),)).settle(NOW - minutes(45), EVERY)
    lost = replace(ahead, sent=(*ahead.sent, canary(44), canary(31)))

    assert lost_from(lost.settle(NOW, EVERY), NOW, EVERY) == NOW - minutes(44)


def test_what_waited_in_the_queue_is_not_lost_before_the_mailbox_was_read_again() -> None:
    facts = losing()
    canary, inside = facts.delivery
    assert inside.since_at is not None
    unread = replace(canary, last_at=inside.since_at - minutes(1))

    assert lost_delivery(replace(facts, delivery=(unread, inside))) == ()
    assert lost_delivery(replace(facts, delivery=(replace(unread, last_at=inside.since_at + minutes(1)), inside))) != ()


def test_a_clock_set_back_makes_no_canary_arrive_anew() -> None:
    before = CanaryBook(newest=arrival(-15), sent=(canary(5),))
    settled = before.settle(NOW, EVERY)

    assert settled.arrived_since(before) is None
    assert settled.note_found(arrival(5)).arrived_since(before) is None  # an older one
    assert settled.note_found(Arrival(canary(-30), NOW)).arrived_since(before) is not None
