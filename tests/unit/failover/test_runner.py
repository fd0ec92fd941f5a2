"""A decision is carried out through the journal, the provider and the authoritative servers. The journal is the real one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from failsafe.errors import LeaseLost, Refused
from failsafe.failover.decide import Order, decide, decide_by_hand, still_wanted
from failsafe.failover.facts import DomainFacts
from failsafe.failover.gather import read_zone
from failsafe.failover.machine import Trigger
from failsafe.failover.operator import run_acknowledge, run_hold, run_release
from failsafe.failover.runner import Ending, FlipRunner
from failsafe.failover.zone import serving
from failsafe.model import DomainRecord, DomainState, FlipKind, Mode, MxSet, Outcome, OwnLine, Side, Verdict
from failsafe.store.engine import Store
from failsafe.store.events import EventStore
from failsafe.store.journal import Journal
from failsafe.store.lease import LeaseStore
from tests.fakes.zone import FakeAuthorities, FakeClock, FakeZone
from tests.unit.failover.world import DOMAIN, LAYOUT, NOW, OUTAGE, PEACE, Scene, minutes, proof, view

PATIENCE = timedelta(seconds=20)


class KilledError(BaseException):
    """The process dies here."""


@dataclass
class World:
    """One domain, its provider and servers, a journal in a real database, and a clock that stands still unless someone waits."""

    store: Store
    zone: FakeZone
    authorities: FakeAuthorities
    clock: FakeClock
    journal: Journal
    verdict: Verdict = Verdict.DOWN
    lasts: float = 30
    broken: tuple[str, ...] = ()  # what the primary cannot prove
    unheard: bool = False  # it has started just now

    @property
    def runner(self) -> FlipRunner:
        return FlipRunner(self.zone, self.authorities, self.journal, self.clock)

    def record(self) -> DomainRecord:
        return self.journal.load(DOMAIN, self.clock.now())

    def facts(self) -> DomainFacts:
        now = self.clock.now()
        began = now - self.lasts * minutes(1)
        heard = now - timedelta(seconds=10 if self.unheard else 0)
        views = tuple(
            replace(
                view(name, self.verdict, 0, heard), since_at=began, taking_since_at=began if self.verdict is Verdict.UP else None
            )
            for name in ("here", "vps2")
        )
        return replace(
            Scene.peace(),
            record=self.record(),
            views=views,
            own_line=OwnLine(now, 3, 3),
            zone=read_zone(self.zone, self.authorities, Scene.peace().policy),
            started_at=now if self.unheard else now - timedelta(days=1),
            unfinished=self.journal.unfinished(DOMAIN),
            flips=self.journal.flips(DOMAIN, now - timedelta(days=1)),
            primary=replace(proof(*self.broken), at=now),
        )

    def turn(self, patience: timedelta = PATIENCE) -> Ending:
        """One pass of the daemon."""
        facts, now = self.facts(), self.clock.now()
        return self.runner.act(facts, decide(facts, now), by="nas", patience=patience, wanted=still_wanted(facts, now))

    def until(self, state: DomainState, turns: int = 30) -> None:
        for _ in range(turns):
            if self.record().state is state:
                return
            self.turn()
            self.clock.pass_time(minutes(1))
        raise AssertionError(f"{self.record()} never became {state}")

    def events(self) -> list[str]:
        return [event.name for _, event in EventStore(self.store).since()]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    store = Store.sqlite(tmp_path / "failsafe.db")
    store.upgrade(NOW)
    clock = FakeClock(NOW)
    lease = LeaseStore(store).acquire("nas", NOW)
    assert lease is not None
    zone = FakeZone({DOMAIN: PEACE})
    with closing(store):
        yield World(store, zone, FakeAuthorities(zone), clock, Journal(store, lease))


def failed_over(world: World) -> World:
    world.until(DomainState.FAILED_OVER)
    return world


def test_a_failover_is_journalled_written_verified_and_told(world: World) -> None:
    world.until(DomainState.FAILED_OVER)
    record = world.record()
    assert world.zone.sets[DOMAIN] == OUTAGE
    assert (record.previous, record.written, record.serving) == (PEACE, OUTAGE, Side.SECONDARY)
    assert world.zone.attempts == 1
    assert world.events() == ["domain.state", "failover.planned", "failover.done"]


def test_a_failback_restores_the_exact_set_and_drains(world: World) -> None:
    failed_over(world)
    world.clock.pass_time(timedelta(hours=2))
    world.verdict, world.lasts = Verdict.UP, 120
    world.until(DomainState.NORMAL, turns=60)
    record = world.record()
    assert world.zone.sets[DOMAIN] == PEACE
    assert record.serving is Side.PRIMARY
    assert record.draining_until is not None
    assert record.suspected_at is None
    assert world.zone.attempts == 2


def test_a_primary_without_its_mail_halts_until_it_is_restored_and_a_person_says_so(world: World) -> None:
    failed_over(world)
    world.clock.pass_time(timedelta(hours=2))
    world.verdict, world.lasts, world.broken = Verdict.UP, 120, ("store",)
    world.until(DomainState.HALTED, turns=60)
    assert world.record().reason.startswith("restore required")
    assert world.record().store_lost
    assert world.events()[-1] == "failback.restore-required"
    [told] = [
        each.notice for each in EventStore(world.store).pending_notices(world.clock.now()) if "restore" in each.notice.subject
    ]
    assert told.must_do == "failsafe restore --to server:vps"
    for _ in range(30):
        world.turn()
        world.clock.pass_time(minutes(5))
    assert (world.zone.sets[DOMAIN], world.zone.attempts) == (OUTAGE, 1)
    world.broken = ()
    run_acknowledge(world.journal, world.record(), Side.SECONDARY, OUTAGE, Scene.peace().policy.layout, world.clock.now())
    world.until(DomainState.NORMAL, turns=90)
    assert world.zone.sets[DOMAIN] == PEACE


def test_the_intent_is_committed_before_the_provider_hears_of_it(world: World) -> None:
    world.turn()
    seen = []
    original = world.zone.apply
    world.zone.apply = lambda change: (seen.append(world.journal.unfinished(DOMAIN)), original(change))[1]  # type: ignore[method-assign]
    world.turn()
    assert seen[0] is not None
    assert (seen[0].before, seen[0].desired) == (PEACE, OUTAGE)


def test_a_silent_name_server_is_named_and_does_not_stop_a_failover(world: World) -> None:
    world.authorities.silent = {"ns1"}
    world.until(DomainState.FAILED_OVER)
    done = EventStore(world.store).last("failover.done", DOMAIN)
    assert done is not None
    assert done.details["silent"] == ["ns1"]


def test_a_slow_name_server_is_waited_for_over_several_turns(world: World) -> None:
    world.turn()
    world.authorities.frozen = {"ns2": PEACE}
    assert world.turn().unfinished
    assert world.record().state is DomainState.FAILING_OVER
    world.authorities.frozen = {}
    assert world.turn().done
    assert world.zone.attempts == 1


def test_a_name_server_that_never_follows_halts_the_domain(world: World) -> None:
    world.turn()
    world.authorities.frozen = {"ns2": PEACE}
    world.until(DomainState.HALTED)
    assert world.zone.attempts == 1
    assert "ns2 still says" in world.record().reason


def test_a_change_that_was_accepted_and_is_not_shown_is_an_alarm_of_its_own(world: World) -> None:
    world.turn()
    world.authorities.frozen = {"ns2": PEACE}
    world.until(DomainState.HALTED)
    assert world.events()[-2:] == ["flip.unshown", "flip.failed"]
    (told,) = [
        pending.notice for pending in EventStore(world.store).pending_notices(world.clock.now())
    ]  # one incident, one notice
    assert "accepted the failover, but DNS does not show it" in told.subject
    assert "ns2 still says" in told.mail_goes


def test_a_lost_answer_to_a_write_that_was_made_is_found_by_reading_back(world: World) -> None:
    world.zone.faults.extend(["lost-after"])
    world.until(DomainState.FAILED_OVER)
    assert world.zone.attempts == 1


def test_a_lost_request_is_sent_once_more_and_only_after_a_read_back(world: World) -> None:
    world.zone.faults.extend(["lost-before"])
    world.until(DomainState.FAILED_OVER)
    assert world.zone.attempts == 2


def test_a_write_is_never_sent_a_third_time_under_one_plan(world: World) -> None:
    world.zone.faults.extend(["lost-before"] * 10)
    world.turn()
    while world.record().state is not DomainState.FAILING_OVER:
        world.turn()
    for _ in range(3):
        world.turn()
    assert world.zone.attempts == 2
    assert world.record().state is DomainState.FAILING_OVER


def test_a_request_that_arrives_after_its_plan_was_given_up_is_recognised(world: World) -> None:
    world.zone.faults.extend(["late", "late"])
    world.turn()
    world.turn()
    while world.journal.unfinished(DOMAIN) is not None:
        world.turn()
        world.clock.pass_time(minutes(1))
    assert world.record().state is DomainState.SUSPECT
    world.zone.land()
    world.turn()
    assert world.record().state is DomainState.FAILED_OVER
    assert world.zone.attempts == 2


def test_a_provider_that_refuses_is_asked_again_later_and_not_at_once(world: World) -> None:
    world.zone.faults.extend(["refused"] * 2)
    world.turn()
    assert world.turn().text == "the provider refused"
    record = world.record()
    assert (record.state, record.failures) == (DomainState.SUSPECT, 1)
    world.turn()
    assert world.zone.attempts == 1
    world.until(DomainState.FAILED_OVER)
    assert world.zone.attempts == 3


@pytest.mark.parametrize(("verdict", "losing"), [(Verdict.LYING, "yes: "), (Verdict.DOWN, "no: ")])
def test_a_person_is_told_by_what_was_seen_whether_senders_get_their_mail_back(
    world: World, verdict: Verdict, losing: str
) -> None:
    world.verdict = verdict
    world.zone.faults.extend(["refused"])
    world.turn()
    world.turn()
    pending = EventStore(world.store).pending_notices(world.clock.now())
    [told] = [each.notice for each in pending if "could not be made" in each.notice.subject]
    assert told.losing_mail.startswith(losing)


def test_a_key_that_cannot_be_read_is_a_refusal_and_not_an_unknown_outcome(world: World) -> None:
    world.zone.faults.extend(["no-key"])
    world.turn()
    world.turn()
    assert (world.record().state, world.record().failures) == (DomainState.SUSPECT, 1)
    world.until(DomainState.FAILED_OVER)


def test_a_zone_that_a_person_changed_meanwhile_is_never_overwritten(world: World) -> None:
    world.turn()
    facts = world.facts()
    foreign = MxSet.of((1, "mx.foreign.example"), (10, "mail.example.org"))
    world.zone.put(DOMAIN, foreign)
    ending = world.runner.act(facts, decide(facts, world.clock.now()), by="nas", patience=PATIENCE)
    assert ending.record.state is DomainState.HALTED
    assert world.zone.sets[DOMAIN] == foreign


def test_a_zone_that_already_holds_the_plan_is_simply_verified(world: World) -> None:
    world.turn()
    facts = world.facts()
    world.zone.put(DOMAIN, OUTAGE)
    ending = world.runner.act(facts, decide(facts, world.clock.now()), by="nas", patience=PATIENCE)
    assert ending.done


def test_a_provider_that_says_yes_and_writes_nothing_is_noticed(world: World) -> None:
    world.zone.faults.extend(["deaf", "deaf"])
    world.turn()
    world.turn()
    assert world.record().state is DomainState.FAILING_OVER
    while world.journal.unfinished(DOMAIN) is not None:
        world.turn()
        world.clock.pass_time(minutes(1))
    assert world.zone.attempts == 1, "what it took is not sent again"
    assert world.record().state is DomainState.HALTED
    assert "took the change and does not show it" in world.record().reason
    assert "flip.unshown" in world.events()


def test_a_write_that_was_taken_and_could_not_be_read_back_at_first_is_not_sent_again(world: World) -> None:
    world.zone.faults.extend(["deaf"])
    world.turn()
    world.zone.read_faults.extend(["ok", *["down"] * 1000])
    world.turn(patience=timedelta(seconds=1))
    world.zone.read_faults.clear()
    assert world.record().state is DomainState.FAILING_OVER
    world.turn()
    assert world.zone.attempts == 1


def test_a_provider_that_cannot_be_read_back_in_time_halts(world: World) -> None:
    world.turn()
    world.zone.read_faults.extend(["ok", *["down"] * 10_000])
    world.turn()
    world.clock.pass_time(minutes(6))
    world.turn()
    assert world.record().state is DomainState.HALTED
    assert "cannot be read back" in world.record().reason


def test_a_plan_that_wrote_nothing_is_given_up_when_the_primary_comes_back(world: World) -> None:
    world.zone.faults.extend(["lost-before"])
    world.turn()
    world.turn()
    world.verdict, world.lasts = Verdict.UP, 1
    ending = world.turn()
    assert ending.intent is not None
    assert ending.intent.outcome is Outcome.VOID
    assert world.zone.sets[DOMAIN] == PEACE
    world.turn()
    assert world.record().state is DomainState.NORMAL


def test_after_a_restart_a_plan_that_wrote_nothing_waits_for_the_first_look_and_is_then_sent(world: World) -> None:
    world.zone.faults.extend(["lost-before"])
    world.turn()
    world.turn()
    world.unheard = True
    assert world.turn().unfinished
    assert world.zone.sets[DOMAIN] == PEACE
    world.unheard = False
    assert world.turn().done
    assert world.zone.sets[DOMAIN] == OUTAGE


def test_a_stale_controller_stops_at_its_next_change(world: World) -> None:
    world.turn()
    world.clock.pass_time(minutes(10))
    assert LeaseStore(world.store).acquire("other", world.clock.now()) is not None
    with pytest.raises(LeaseLost):
        world.turn()
    assert world.zone.attempts == 0


def test_a_record_read_before_another_change_cannot_be_written(world: World) -> None:
    stale = world.record()
    run_hold(world.journal, stale, NOW + minutes(60), "upgrade", NOW)
    with pytest.raises(LeaseLost, match="epoch"):
        run_hold(world.journal, stale, NOW + minutes(60), "again", NOW)


def test_a_second_plan_for_a_domain_is_refused_by_the_journal(world: World) -> None:
    world.turn()
    world.zone.faults.extend(["lost-before"])
    facts = world.facts()
    world.turn()
    decision = decide(facts, world.clock.now())
    assert decision.plan is not None
    with pytest.raises(Refused, match="being carried out"):
        world.runner.flip(facts.policy, world.record(), decision.plan, None, by="person", reason="x", patience=PATIENCE)


def test_observe_never_writes_and_tells_once(world: World) -> None:
    for _ in range(5):
        facts = world.facts()
        facts = replace(facts, policy=replace(facts.policy, mode=Mode.OBSERVE))
        world.runner.act(facts, decide(facts, world.clock.now()), by="nas", patience=PATIENCE)
    assert world.zone.attempts == 0
    assert world.events() == ["domain.state", "flip.observed"]


def test_a_person_can_flip_both_ways(world: World) -> None:
    world.verdict, world.lasts = Verdict.UP, 600
    for kind, expected in ((FlipKind.FAILOVER, OUTAGE), (FlipKind.FAILBACK, PEACE)):
        facts = world.facts()
        decision = decide_by_hand(facts, kind, world.clock.now())
        assert decision.refusing == ()
        assert world.runner.act(facts, decision, by="person", reason="a test", patience=PATIENCE).done
        assert world.zone.sets[DOMAIN] == expected
    assert [flip.by for flip in world.journal.flips(DOMAIN, NOW - minutes(1))] == ["person", "person"]


def test_a_hold_blocks_and_a_release_lets_go(world: World) -> None:
    world.turn()
    record = run_hold(world.journal, world.record(), NOW + timedelta(hours=2), "upgrade", NOW)
    facts = world.facts()
    assert [guard.code for guard in decide(facts, NOW).guards] == ["held"]
    run_release(world.journal, record, NOW)
    assert decide(world.facts(), NOW).trigger is Trigger.PRIMARY_DOWN


def test_a_halted_domain_goes_on_after_a_person_says_what_is_true(world: World) -> None:
    world.turn()
    world.authorities.frozen = {"ns2": PEACE}
    world.until(DomainState.HALTED)
    with pytest.raises(Refused, match="disagree"):
        run_acknowledge(world.journal, world.record(), Side.SECONDARY, world.facts().zone.agreed, LAYOUT, NOW)
    world.authorities.frozen = {}
    with pytest.raises(Refused, match="not to the primary"):
        run_acknowledge(world.journal, world.record(), Side.PRIMARY, world.facts().zone.agreed, LAYOUT, NOW)
    record = run_acknowledge(world.journal, world.record(), Side.SECONDARY, world.facts().zone.agreed, LAYOUT, NOW)
    assert (record.state, record.written) == (DomainState.FAILED_OVER, OUTAGE)


@pytest.mark.parametrize("moment", ["begin", "apply", "answer", "finish"])
def test_a_kill_at_any_moment_is_mended_by_the_next_start(world: World, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world.turn()

    def die(*_: object, **__: object) -> None:
        raise KilledError

    original = world.zone.apply
    with monkeypatch.context() as patch:
        if moment == "begin":
            patch.setattr(Journal, "begin", die)
        elif moment == "apply":
            patch.setattr(world.zone, "apply", die)
        elif moment == "answer":
            patch.setattr(world.zone, "apply", lambda change: (original(change), die()))
        else:
            patch.setattr(Journal, "finish", die)
        with pytest.raises(KilledError):
            world.turn()
    world.until(DomainState.FAILED_OVER)
    assert world.zone.sets[DOMAIN] == OUTAGE
    assert world.journal.unfinished(DOMAIN) is None


def test_a_process_that_was_stopped_before_the_request_sends_nothing_and_judges_anew(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meanwhile another controller may have led, gone on with the plan, and ended it."""
    world.turn()
    original = Journal.begin

    def begin(journal: Journal, *words: Any) -> Any:
        begun = original(journal, *words)
        world.clock.pass_time(minutes(10))
        return begun

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "begin", begin)
        assert world.turn().unfinished
    assert world.zone.attempts == 0
    world.until(DomainState.FAILED_OVER)
    assert world.zone.attempts == 1


FAULTS = ["ok", "ok", "refused", "no-key", "lost-before", "lost-after", "late", "deaf"]


@pytest.mark.parametrize("seed", range(30))
def test_whatever_the_provider_does_the_zone_is_always_one_of_the_two_layouts(world: World, seed: int) -> None:
    chance = random.Random(seed)
    world.zone.faults.extend(chance.choices(FAULTS, k=8))
    world.zone.read_faults.extend(chance.choices(["ok", "ok", "ok", "down"], k=40))
    for turn in range(60):
        if turn == 25:
            world.verdict, world.lasts = Verdict.UP, 0
        if turn > 25:
            world.lasts += 5
        world.turn(timedelta(seconds=2))
        if chance.random() < 0.2:
            world.zone.land()
        world.authorities.silent = {"ns1"} if chance.random() < 0.2 else set()
        world.clock.pass_time(minutes(5))
    assert {found.records for found in world.zone.history} <= {PEACE.records, OUTAGE.records}
    record = world.record()
    if record.state in (DomainState.NORMAL, DomainState.FAILED_OVER, DomainState.RECOVERING):
        assert serving(world.zone.sets[DOMAIN], LAYOUT) is record.serving


def test_a_flip_is_ordered_with_its_reasons(world: World) -> None:
    world.turn()
    decision = decide(world.facts(), world.clock.now())
    assert decision.orders == (Order.FLIP,)
    assert decision.reasons == ("here says down for 30 min", "vps2 says down for 30 min")


def test_after_a_takeover_nothing_is_written_until_the_word_of_a_person_fits_the_zone(world: World) -> None:
    failed_over(world)
    world.journal.change(world.record(), replace(world.record(), taken_over_at=NOW), [])
    world.clock.pass_time(timedelta(hours=2))
    world.verdict, world.lasts = Verdict.UP, 120
    for _ in range(40):
        world.turn()
        world.clock.pass_time(minutes(1))
    assert (world.zone.sets[DOMAIN], world.zone.attempts) == (OUTAGE, 1)
    assert "flip.observed" in world.events()
    with pytest.raises(Refused, match="to the secondary first"):
        run_acknowledge(world.journal, world.record(), Side.PRIMARY, world.facts().zone.agreed, LAYOUT, NOW)

    spoken = run_acknowledge(world.journal, world.record(), Side.SECONDARY, world.facts().zone.agreed, LAYOUT, NOW)

    assert (spoken.state, spoken.taken_over_at) == (DomainState.FAILED_OVER, None)
    world.until(DomainState.NORMAL, turns=60)
    assert world.zone.sets[DOMAIN] == PEACE
