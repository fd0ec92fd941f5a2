"""What is decided from one frozen value of facts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from failsafe.errors import Refused
from failsafe.failover.decide import Decision, Order, decide, decide_by_hand, still_wanted
from failsafe.failover.evidence import recovery_time
from failsafe.failover.facts import DomainFacts, Readiness, ZoneReading
from failsafe.failover.guards import CODES, judge_guards
from failsafe.failover.health import EvidenceRun, JudgePolicy, judge
from failsafe.failover.machine import Trigger
from failsafe.failover.readiness import judge_readiness
from failsafe.model import (
    Axis,
    DomainState,
    Evidence,
    Finding,
    FlipKind,
    Guard,
    Mode,
    MxSet,
    OwnLine,
    ProbeClass,
    ServerAnswer,
    Severity,
    Verdict,
)
from tests.unit.failover.world import (
    AWAY,
    DOMAIN,
    LAYOUT,
    MAIL,
    NOW,
    OUTAGE,
    PEACE,
    POLICY,
    Scene,
    flip,
    minutes,
    proof,
    reading,
    record,
    view,
)


def policy(facts: DomainFacts, **more: object) -> DomainFacts:
    return replace(facts, policy=replace(facts.policy, **more))  # type: ignore[arg-type]


def codes(decision: Decision) -> set[str]:
    return {guard.code for guard in decision.guards}


def test_in_peace_nothing_happens_and_no_guard_stands() -> None:
    decision = decide(Scene.peace(), NOW)
    assert decision.trigger is None
    assert decision.orders == ()
    assert decision.guards == ()


def test_one_vantage_that_says_down_makes_the_domain_suspect() -> None:
    facts = replace(Scene.peace(), views=(view("here", Verdict.DOWN, 1), view("vps2", Verdict.UP, 600)))
    assert decide(facts, NOW).trigger is Trigger.PRIMARY_SUSPECT


def test_unknown_is_not_down() -> None:
    facts = replace(Scene.peace(), views=(view("here", Verdict.UNKNOWN, 100), view("vps2", Verdict.UNKNOWN, 100)))
    assert decide(facts, NOW).trigger is None
    suspect = replace(facts, record=record(DomainState.SUSPECT))
    assert decide(suspect, NOW).trigger is None


def test_a_quorum_that_said_down_for_long_enough_flips() -> None:
    decision = decide(Scene.down(), NOW)
    assert decision.trigger is Trigger.PRIMARY_DOWN
    assert decision.orders == (Order.FLIP,)
    assert decision.plan is not None
    assert decision.plan.change.expected == PEACE
    assert decision.plan.change.desired == OUTAGE


def test_lying_counts_as_down() -> None:
    facts = replace(Scene.down(), views=(view("here", Verdict.LYING, 16), view("vps2", Verdict.DOWN, 16)))
    assert decide(facts, NOW).trigger is Trigger.PRIMARY_DOWN


def test_down_for_too_short_a_time_waits() -> None:
    assert decide(Scene.down(lasts=14), NOW).trigger is None


def test_each_vote_needs_the_whole_time() -> None:
    facts = replace(Scene.down(), views=(view("here", Verdict.DOWN, 60), view("vps2", Verdict.DOWN, 3)))
    decision = decide(facts, NOW)
    assert decision.trigger is None
    assert "no-quorum" in codes(decision)


def test_one_vantage_that_says_up_is_believed_against_many() -> None:
    views = (view("here", Verdict.DOWN, 60), view("vps2", Verdict.DOWN, 60), view("robot", Verdict.UP, 1))
    assert decide(replace(Scene.down(), views=views), NOW).trigger is None


def test_a_primary_that_takes_mail_again_ends_the_suspicion() -> None:
    facts = replace(Scene.down(), views=(view("here", Verdict.UP, 1), view("vps2", Verdict.UNKNOWN, 1)))
    assert decide(facts, NOW).trigger is Trigger.PRIMARY_WELL


GUARDED: dict[str, DomainFacts] = {
    "held": replace(Scene.down(), record=replace(Scene.down().record, held_until=NOW + minutes(5), hold_reason="upgrade")),
    "not-leader": replace(Scene.down(), leader=False),
    "own-line-down": replace(Scene.down(), own_line=OwnLine(NOW, 1, 3)),
    "secondary-not-ready": replace(Scene.down(), readiness=Readiness((Guard("secondary-not-ready", "refused RCPT"),))),
    "dwell": replace(Scene.down(), flips=(flip(FlipKind.FAILBACK, ago=30),)),
    "flip-budget": replace(Scene.down(), flips=tuple(flip(ago=hours * 60) for hours in (20, 10, 5))),
    "drift": replace(Scene.down(), zone=reading(MxSet.of((10, "mx.foreign.example")))),
    "zone-unreadable": replace(Scene.down(), zone=ZoneReading(None, (), "refused", "")),
    "proof-of-life": replace(Scene.down(), proof_of_life_at=NOW - minutes(2)),
    "start-grace": policy(replace(Scene.down(1), started_at=NOW - timedelta(seconds=70)), down_for=timedelta(seconds=30)),
    "doctor": replace(Scene.down(), readiness=Readiness((Guard("doctor", "never looked"),))),
}


@pytest.mark.parametrize("code", GUARDED)
def test_each_guard_blocks_an_automatic_failover_and_is_told(code: str) -> None:
    decision = decide(GUARDED[code], NOW)
    assert decision.trigger is None
    assert codes(decision) == {code}
    assert decision.orders == (Order.TELL_BLOCKED,)


def test_a_banned_vantage_whose_vote_is_missing_is_a_guard() -> None:
    views = (view("here", Verdict.UNKNOWN, 20, blocked=True), view("vps2", Verdict.DOWN, 20))
    assert {"monitor-banned", "no-quorum"} == codes(decide(replace(Scene.down(), views=views), NOW))


def test_a_blocked_flip_lists_all_of_its_guards_in_the_order_of_the_reference() -> None:
    facts = replace(Scene.down(), leader=False, own_line=None, proof_of_life_at=NOW - minutes(1), flips=(flip(ago=1),))
    found = [guard.code for guard in decide(facts, NOW).guards]
    assert found == ["not-leader", "own-line-down", "dwell", "proof-of-life"]
    assert found == sorted(found, key=CODES.index)


def test_a_stale_reading_of_our_own_line_is_not_up() -> None:
    facts = replace(Scene.down(), own_line=OwnLine(NOW - minutes(4), 3, 3))
    assert codes(decide(facts, NOW)) == {"own-line-down"}


def test_proof_of_life_from_before_the_outage_does_not_count() -> None:
    assert decide(replace(Scene.down(), proof_of_life_at=NOW - minutes(17)), NOW).trigger is Trigger.PRIMARY_DOWN


def test_a_proof_of_life_from_a_clock_that_was_years_ahead_does_not_count() -> None:
    assert decide(replace(Scene.down(), proof_of_life_at=NOW + timedelta(days=400)), NOW).trigger is Trigger.PRIMARY_DOWN


def test_a_proof_of_life_from_before_the_clock_was_set_back_by_an_hour_counts() -> None:
    assert codes(decide(replace(Scene.down(), proof_of_life_at=NOW + minutes(50)), NOW)) == {"proof-of-life"}


def test_a_flip_recorded_in_days_to_come_is_refused_with_the_way_to_flip_all_the_same() -> None:
    (guard,) = decide(replace(Scene.down(), flips=(flip(ago=-400 * 24 * 60),)), NOW).guards
    assert guard.code == "dwell"
    assert "still to come" in guard.text
    assert "failsafe failover" in guard.mend


def test_proof_of_life_ends_after_half_of_down_for() -> None:
    facts = replace(Scene.down(lasts=30), proof_of_life_at=NOW - minutes(8))
    assert decide(facts, NOW).trigger is Trigger.PRIMARY_DOWN


def test_evidence_from_before_a_restart_needs_no_grace() -> None:
    facts = replace(Scene.down(), started_at=NOW - timedelta(seconds=5))
    assert decide(facts, NOW).trigger is Trigger.PRIMARY_DOWN


def test_after_a_restart_every_vantage_is_heard_anew_before_a_failover_for_two_intervals() -> None:
    """What `vps3` saw up until the crash was not written; it has not looked since, and looks unknown meanwhile."""
    down, silent = Scene.down(), replace(view("vps3", Verdict.UNKNOWN, 6), last_at=NOW - minutes(9))
    facts = replace(down, views=(*down.views, silent), policy=replace(down.policy, vantages=3))
    assert codes(decide(replace(facts, started_at=NOW - timedelta(seconds=30)), NOW)) == {"start-grace"}
    assert decide(replace(facts, started_at=NOW - minutes(3)), NOW).trigger is Trigger.PRIMARY_DOWN


def test_a_clock_that_was_set_back_since_the_start_leaves_no_grace_behind() -> None:
    facts = replace(Scene.down(), started_at=NOW + minutes(50))
    assert decide(facts, NOW).trigger is Trigger.PRIMARY_DOWN


def test_a_vantage_that_knows_nothing_is_no_older_evidence() -> None:
    young = GUARDED["start-grace"]
    facts = replace(young, views=(*young.views, view("robot", Verdict.UNKNOWN, 600)))
    assert codes(decide(facts, NOW)) == {"start-grace"}


def test_a_silent_name_server_on_the_dead_primary_guards_nothing() -> None:
    zone = ZoneReading(PEACE, (ServerAnswer("ns1", None, "no answer"), ServerAnswer("ns2", PEACE)))
    assert decide(replace(Scene.down(), zone=zone), NOW).trigger is Trigger.PRIMARY_DOWN


def test_servers_that_disagree_are_drift() -> None:
    zone = ZoneReading(PEACE, (ServerAnswer("ns1", PEACE), ServerAnswer("ns2", OUTAGE)))
    assert codes(decide(replace(Scene.down(), zone=zone), NOW)) == {"drift"}


def test_with_fewer_vantages_than_the_quorum_auto_behaves_as_manual_and_says_so() -> None:
    facts = policy(replace(Scene.down(), views=(view("here", Verdict.DOWN, 16),)), vantages=1)
    decision = decide(facts, NOW)
    assert decision.orders == (Order.TELL_PREPARED,)
    assert decision.trigger is None
    assert decision.plan is not None
    assert any("auto behaves as manual" in reason for reason in decision.reasons)


def test_too_few_vantages_are_shown_in_peace_too_and_to_a_person_who_flips_by_hand() -> None:
    short = policy(Scene.peace(), vantages=1)
    [guard] = decide(short, NOW).guards
    assert (guard.code, guard.text) == ("no-quorum", "1 of 2 vantages are configured, so nothing is flipped automatically")
    by_hand = decide_by_hand(short, FlipKind.FAILOVER, NOW)
    assert by_hand.guards == (guard,)
    assert (by_hand.refusing, by_hand.orders) == ((), (Order.FLIP,))


def test_a_hold_expires_by_itself() -> None:
    held = GUARDED["held"]
    assert decide(held, NOW + minutes(4.9)).trigger is None
    views = tuple(replace(each, last_at=NOW + minutes(5)) for each in held.views)
    later = replace(held, views=views, own_line=OwnLine(NOW + minutes(5), 3, 3))
    assert decide(later, NOW + minutes(5)).trigger is Trigger.PRIMARY_DOWN


@pytest.mark.parametrize(("mode", "order"), [(Mode.MANUAL, Order.TELL_PREPARED), (Mode.OBSERVE, Order.TELL_OBSERVED)])
def test_manual_prepares_and_observe_only_tells(mode: Mode, order: Order) -> None:
    decision = decide(policy(Scene.down(), mode=mode), NOW)
    assert decision.orders == (order,)
    assert decision.trigger is None


def test_what_is_told_has_the_same_name_while_nothing_changes() -> None:
    first = decide(policy(Scene.down(), mode=Mode.MANUAL), NOW)
    later = decide(policy(Scene.down(), mode=Mode.MANUAL), NOW + minutes(1))
    assert first.told == later.told
    assert first.told


def test_a_refused_plan_waits_before_the_next_try() -> None:
    waiting = replace(Scene.down(), record=replace(Scene.down().record, failures=1, retry_at=NOW + minutes(1)))
    assert decide(waiting, NOW).trigger is None
    assert decide(waiting, NOW + minutes(1)).trigger is Trigger.PRIMARY_DOWN


def test_a_plan_refused_for_ever_halts() -> None:
    facts = replace(Scene.down(), record=replace(Scene.down().record, failures=101))
    assert decide(facts, NOW).trigger is Trigger.PLAN_STUCK


def test_a_well_primary_begins_to_recover_and_a_failing_one_starts_anew() -> None:
    facts = replace(Scene.recovered(1), record=record(DomainState.FAILED_OVER))
    assert decide(facts, NOW).trigger is Trigger.PRIMARY_WELL
    again = replace(Scene.recovered(), views=(view("here", Verdict.DOWN, 1), view("vps2", Verdict.UP, 31)))
    assert decide(again, NOW).trigger is Trigger.PRIMARY_SUSPECT


def test_a_recovered_and_proved_primary_gets_the_exact_previous_set_back() -> None:
    decision = decide(Scene.recovered(), NOW)
    assert decision.trigger is Trigger.PRIMARY_RECOVERED
    assert decision.plan is not None
    assert decision.plan.change.desired == PEACE


def test_the_recovery_time_must_be_over() -> None:
    assert decide(Scene.recovered(29), NOW).trigger is None


def test_the_primary_is_looked_at_before_a_failback() -> None:
    decision = decide(replace(Scene.recovered(), primary=None), NOW)
    assert decision.orders == (Order.CHECK_PRIMARY,)
    assert decision.trigger is None


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        ("tls", "doctor"),
        ("host-key", "doctor"),
        ("login", "doctor"),
        ("accounts", "accounts-missing"),
        ("disk", "doctor"),
    ],
)
def test_a_primary_that_is_not_proved_ours_gets_no_mail_back(broken: str, code: str) -> None:
    decision = decide(replace(Scene.recovered(), primary=proof(broken)), NOW)
    assert decision.trigger is None
    assert codes(decision) == {code}


def test_an_empty_store_halts_with_restore_required_when_the_recovery_time_is_over() -> None:
    decision = decide(replace(Scene.recovered(), primary=proof("store")), NOW)
    assert decision.trigger is Trigger.STORE_LOST
    assert decision.reasons == ("restore required: store looked at",)
    assert codes(decision) == {"store-suspect"}
    assert decide(replace(Scene.recovered(29), primary=proof("store")), NOW).trigger is None


def test_a_store_that_the_last_pull_found_made_anew_halts_too_also_without_ssh() -> None:
    rebuilt = replace(Scene.recovered(), store_suspect="store-rebuilt: new", store_lost="store-rebuilt: new")
    assert decide(rebuilt, NOW).trigger is Trigger.STORE_LOST
    assert decide(policy(replace(rebuilt, primary=None), ssh=False), NOW).trigger is Trigger.STORE_LOST


def test_a_store_that_lost_much_is_a_guard_and_no_halt() -> None:
    decision = decide(replace(Scene.recovered(), store_suspect="mass-loss: 40 of 100"), NOW)
    assert decision.trigger is None
    assert codes(decision) == {"store-suspect"}


def test_without_ssh_failback_waits_for_a_person() -> None:
    decision = decide(policy(replace(Scene.recovered(), primary=None), ssh=False), NOW)
    assert decision.orders == (Order.TELL_PREPARED,)


def test_a_manual_failback_is_prepared() -> None:
    assert decide(policy(Scene.recovered(), auto_failback=False), NOW).orders == (Order.TELL_PREPARED,)


def test_a_set_that_is_not_what_was_written_is_never_overwritten() -> None:
    facts = replace(Scene.recovered(), zone=reading(MxSet.of((4, AWAY), (10, MAIL))))
    assert codes(decide(facts, NOW)) == {"drift"}


def test_an_unfinished_plan_is_gone_on_with_before_anything_else() -> None:
    facts = replace(Scene.down(), unfinished=flip(ago=1, outcome=None))
    assert decide(facts, NOW).orders == (Order.RESUME,)


def test_a_halted_domain_does_nothing() -> None:
    decision = decide(replace(Scene.down(), record=record(DomainState.HALTED)), NOW)
    assert decision.trigger is None
    assert decision.orders == ()
    assert any("acknowledge" in reason for reason in decision.reasons)


def test_without_a_provider_the_change_is_prepared_and_then_seen() -> None:
    by_hand = policy(Scene.down(), writable=False)
    assert decide(by_hand, NOW).orders == (Order.TELL_PREPARED,)
    made = replace(by_hand, zone=ZoneReading(None, (ServerAnswer("ns1", OUTAGE),)))
    assert decide(made, NOW).trigger is Trigger.SEEN_AT_SECONDARY


def test_a_change_that_a_lost_answer_hid_is_recognised() -> None:
    late = replace(Scene.down(), record=replace(Scene.down().record, attempted=OUTAGE), zone=reading(OUTAGE))
    assert decide(late, NOW).trigger is Trigger.SEEN_AT_SECONDARY


def test_months_after_a_lost_answer_the_same_change_is_somebody_elses() -> None:
    tried = replace(Scene.peace().record, attempted=OUTAGE, attempted_at=NOW - timedelta(hours=23))
    late = replace(Scene.peace(), record=tried, zone=reading(OUTAGE))
    assert decide(late, NOW).trigger is Trigger.SEEN_AT_SECONDARY
    by_a_person = replace(late, record=replace(tried, attempted_at=NOW - timedelta(days=60)))
    assert decide(by_a_person, NOW).trigger is None
    assert "drift" in codes(decide(by_a_person, NOW))


def test_a_failover_that_was_refused_while_the_clock_was_days_ahead_is_tried_again_once_it_is_right() -> None:
    """TSIG refuses a clock that is wrong, so the wait for the next try is noted by that clock."""
    refused = replace(Scene.down().record, failures=1, reason="BADTIME")
    soon = replace(Scene.down(), record=replace(refused, retry_at=NOW + minutes(30)))
    assert decide(soon, NOW).orders == ()
    ahead = replace(soon, record=replace(refused, retry_at=NOW + timedelta(days=2, minutes=1)))
    assert decide(ahead, NOW).orders == (Order.FLIP,)


def test_a_recovery_that_began_while_the_clock_was_days_ahead_lasts_no_longer_than_it_is_seen() -> None:
    def begun(lasts: float) -> DomainFacts:
        ahead = replace(record(DomainState.RECOVERING), since_at=NOW + timedelta(days=2))
        return replace(Scene.recovered(lasts), record=ahead)

    assert decide(begun(29), NOW).orders == ()
    assert decide(begun(31), NOW).trigger is Trigger.PRIMARY_RECOVERED


def test_by_hand_only_the_named_guards_refuse() -> None:
    facts = policy(replace(Scene.peace(), own_line=None, proof_of_life_at=NOW, flips=(flip(ago=1),)), vantages=1)
    decision = decide_by_hand(facts, FlipKind.FAILOVER, NOW)
    assert decision.refusing == ()
    assert decision.trigger is Trigger.FAILOVER_ORDERED
    assert {"own-line-down", "dwell", "no-quorum"} <= codes(decision)


def test_that_the_program_of_an_order_has_just_started_is_not_told() -> None:
    facts = replace(Scene.peace(), started_at=NOW)
    assert "start-grace" not in codes(decide_by_hand(facts, FlipKind.FAILOVER, NOW))


def test_force_lifts_what_may_be_forced_and_nothing_else() -> None:
    unready = replace(Scene.peace(), readiness=Readiness((Guard("secondary-not-ready", "no"),)))
    assert decide_by_hand(unready, FlipKind.FAILOVER, NOW).orders == ()
    assert decide_by_hand(unready, FlipKind.FAILOVER, NOW, force=True).orders == (Order.FLIP,)
    follower = replace(unready, leader=False)
    assert decide_by_hand(follower, FlipKind.FAILOVER, NOW, force=True).orders == ()


def test_a_failover_of_a_domain_that_is_failed_over_is_refused() -> None:
    with pytest.raises(Refused, match="failed-over") as caught:
        decide_by_hand(replace(Scene.recovered(), record=record(DomainState.FAILED_OVER)), FlipKind.FAILOVER, NOW)
    assert f"failsafe failback {DOMAIN}" in caught.value.mend


def test_by_hand_without_a_provider_the_exact_change_is_told() -> None:
    with pytest.raises(Refused) as caught:
        decide_by_hand(policy(Scene.peace(), writable=False), FlipKind.FAILOVER, NOW)
    assert f"1. add     {DOMAIN}. 60 IN MX 5 {AWAY}." in caught.value.mend


def test_an_unfinished_plan_is_wanted_only_while_its_evidence_holds() -> None:
    begun = replace(Scene.down(), record=record(DomainState.FAILING_OVER, 1), unfinished=flip(ago=1, outcome=None))
    assert still_wanted(begun, NOW)
    assert not still_wanted(replace(begun, views=(view("here", Verdict.UP, 1),)), NOW)
    assert not still_wanted(replace(begun, leader=False), NOW)


@pytest.mark.parametrize("by", ["nas", "person"])
def test_a_plan_of_an_earlier_configuration_is_not_sent_again(by: str) -> None:
    plan = replace(flip(ago=1, outcome=None), by=by)
    begun = replace(Scene.down(), record=record(DomainState.FAILING_OVER, 1), unfinished=plan)
    assert still_wanted(begun, NOW)
    assert still_wanted(policy(begun, layout=replace(LAYOUT, secondaries=("mx2.away.example",))), NOW) is False
    assert still_wanted(policy(begun, layout=replace(LAYOUT, primaries=("mail2.example.org",))), NOW) is False


def test_whether_an_unfinished_plan_is_wanted_is_not_known_until_the_vantages_were_heard_again() -> None:
    begun = replace(Scene.down(), record=record(DomainState.FAILING_OVER, 1), unfinished=flip(ago=1, outcome=None))
    restarted = replace(begun, started_at=NOW + timedelta(seconds=1), own_line=None)
    now = NOW + timedelta(seconds=2)
    assert still_wanted(restarted, now) is None
    assert still_wanted(replace(restarted, leader=False), now) is False
    assert still_wanted(replace(restarted, views=(view("here", Verdict.UP, 1),)), now) is False


def test_readiness_lapses_after_seven_days_counted_from_the_incident() -> None:
    run_at = NOW - timedelta(days=6)
    assert judge_readiness(DOMAIN, run_at, (), NOW - minutes(20), NOW + timedelta(days=3)).guards == ()
    assert [guard.code for guard in judge_readiness(DOMAIN, run_at, (), None, NOW + timedelta(days=3)).guards] == ["doctor"]
    assert [guard.code for guard in judge_readiness(DOMAIN, None, (), None, NOW).guards] == ["doctor"]


def test_only_findings_that_block_failover_guard_it() -> None:
    findings = (
        Finding("secondary-accepts", Severity.FAIL, DOMAIN, "550", blocks_failover=True),
        Finding("mx-layout", Severity.FAIL, DOMAIN, "foreign", blocks_failover=True),
        Finding("spf", Severity.FAIL, DOMAIN, "missing"),
        Finding("vantages", Severity.OK, DOMAIN, "two", blocks_failover=True),
    )
    guards = judge_readiness(DOMAIN, NOW, findings, None, NOW).guards
    assert [guard.code for guard in guards] == ["secondary-not-ready", "doctor"]


def test_no_guard_of_a_failover_comes_from_what_a_dead_primary_breaks() -> None:
    facts = replace(Scene.down(), primary=proof("tls", "login", "accounts", "store"), store_suspect="empty")
    assert judge_guards(facts, FlipKind.FAILOVER, NOW) == ()
    assert POLICY.mode is Mode.AUTO


def flapped(times: int, lasts: float) -> DomainFacts:
    """Recovering for `lasts` minutes, after so many failovers within the day."""
    there = tuple(flip(ago=lasts + 70 + 180 * number) for number in reversed(range(times)))
    return replace(policy(Scene.recovered(lasts), flips_per_day=20), flips=there)


@pytest.mark.parametrize(("failovers", "waits"), [(1, 30), (2, 60), (3, 120), (4, 240)])
def test_each_failover_of_a_day_doubles_the_recovery_time_of_the_next_failback(failovers: int, waits: float) -> None:
    early = decide(flapped(failovers, waits - 1), NOW)
    assert early.trigger is None
    assert any("the recovery time of" in reason for reason in early.reasons)
    assert decide(flapped(failovers, waits), NOW).trigger is Trigger.PRIMARY_RECOVERED


def waited_for(facts: DomainFacts) -> timedelta:
    return recovery_time(facts.policy.up_for, facts.flips, NOW)


def test_a_grown_recovery_time_ends_at_twelve_hours_and_never_shortens_what_was_configured() -> None:
    assert waited_for(flapped(6, 30)) == timedelta(hours=12)
    patient = policy(flapped(3, 30), up_for=timedelta(days=1))
    assert waited_for(patient) == timedelta(days=1)


def test_a_failover_of_yesterday_is_no_flap() -> None:
    facts = replace(flapped(1, 31), flips=(flip(ago=24 * 60), flip(ago=100)))
    assert waited_for(facts) == timedelta(minutes=30)


def seen_by_here(*seen: tuple[ProbeClass, float, float], **policies: object) -> DomainFacts:
    """Recovering; (class, from, to) in minutes ago, a look a minute."""
    runs = [EvidenceRun(Evidence("vps", "here", Axis.INBOUND, each, NOW - minutes(to), "said so", MAIL), NOW - minutes(begin), NOW - minutes(to), 9)
            for each, begin, to in seen]  # fmt: skip
    facts = policy(replace(Scene.recovered(), record=record(DomainState.RECOVERING, 40)), **policies)
    judged = judge(runs, NOW, JudgePolicy(minutes(1), facts.policy.down_for))
    assert judged is not None
    return replace(facts, views=(judged,))


UP, DOWN, DEGRADED = ProbeClass.UP, ProbeClass.DOWN, ProbeClass.DEGRADED


def test_a_primary_that_only_puts_mail_off_is_nothing_to_come_home_to() -> None:
    """Also where the recovery time is shorter than the time after which 4xx counts as down."""
    facts = seen_by_here((UP, 300, 100), (DOWN, 99, 12), (DEGRADED, 11, 0), up_for=minutes(10), down_for=timedelta(hours=2))
    assert facts.views[0].verdict is Verdict.UP
    assert decide(facts, NOW).trigger is None
    away = replace(facts, record=record(DomainState.FAILED_OVER, 100))
    assert decide(away, NOW).trigger is None


def test_the_recovery_time_begins_with_mail_that_is_taken() -> None:
    assert decide(seen_by_here((UP, 300, 100), (DOWN, 99, 41), (DEGRADED, 40, 30), (UP, 29, 0)), NOW).trigger is None
    assert (
        decide(seen_by_here((UP, 300, 100), (DOWN, 99, 45), (DEGRADED, 44, 32), (UP, 31, 0)), NOW).trigger
        is Trigger.PRIMARY_RECOVERED
    )


def test_a_look_that_was_put_off_does_not_begin_the_recovery_time_anew_but_is_not_the_last_before_a_failback() -> None:
    before = ((UP, 300, 100), (DOWN, 99, 41), (UP, 40, 11), (DEGRADED, 10, 9))
    assert decide(seen_by_here(*before, (UP, 8, 0)), NOW).trigger is Trigger.PRIMARY_RECOVERED
    assert decide(seen_by_here((UP, 300, 100), (DOWN, 99, 41), (UP, 40, 1), (DEGRADED, 0, 0)), NOW).trigger is None


def test_a_primary_that_puts_mail_off_is_not_left_before_down_for() -> None:
    facts = seen_by_here((UP, 300, 15), (DEGRADED, 14, 0))
    assert decide(replace(facts, record=record(DomainState.NORMAL)), NOW).trigger is None
