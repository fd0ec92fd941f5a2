"""What is said before a flip, and instead of one: the warning at half of `down_for`, and what `observe` would have done. Each once, also across restarts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from failsafe.errors import Refused
from failsafe.failover.decide import Order, decide, decide_by_hand
from failsafe.failover.facts import DomainFacts
from failsafe.failover.guards import CODES
from failsafe.failover.halt import explain_halt
from failsafe.failover.notices import coming_event, stuck_event
from failsafe.failover.runner import FlipRunner
from failsafe.failover.ways_out import way_out
from failsafe.model import DomainState, FlipKind, Guard, Mode, Notice, ObservedFlip, Verdict
from failsafe.store.engine import Store
from failsafe.store.events import EventStore
from failsafe.store.journal import Journal
from failsafe.store.lease import LeaseStore
from tests.fakes.zone import FakeAuthorities, FakeClock, FakeZone
from tests.unit.failover.world import DOMAIN, NOW, OUTAGE, PEACE, Scene, minutes, reading, record, view


def expected(facts: DomainFacts) -> Notice:
    notice = coming_event(facts, decide(facts, NOW), NOW).notice
    assert notice is not None
    return notice


def mode(facts: DomainFacts, wanted: Mode) -> DomainFacts:
    return replace(facts, policy=replace(facts.policy, mode=wanted))


@pytest.mark.parametrize(("lasts", "warned"), [(5, False), (7.4, False), (7.5, True), (14, True)])
def test_at_half_of_down_for_the_expected_time_is_told(lasts: float, warned: bool) -> None:
    decision = decide(Scene.down(lasts), NOW)
    assert (Order.TELL_COMING in decision.orders) is warned
    if warned:
        assert decision.due_at == NOW + minutes(15 - lasts)


def test_the_time_is_that_of_the_vote_that_completes_the_quorum() -> None:
    views = (view("here", Verdict.DOWN, 14), view("vps2", Verdict.DOWN, 9), view("vps3", Verdict.DOWN, 2))
    assert decide(replace(Scene.down(14), views=views), NOW).due_at == NOW + minutes(6)


@pytest.mark.parametrize("other", [Verdict.UP, Verdict.UNKNOWN])
def test_too_few_votes_expect_nothing(other: Verdict) -> None:
    facts = replace(Scene.down(14), views=(view("here", Verdict.DOWN, 14), view("vps2", other, 14)))
    assert decide(facts, NOW).orders == ()


def test_the_warning_says_when_and_how_to_keep_it_from_happening() -> None:
    notice = expected(Scene.down(8))
    assert notice.subject == "example.org: failover is expected at 12:07 UTC, if nothing changes"
    assert notice.must_do.endswith("failsafe hold example.org --for 2h --reason TEXT")


def test_the_warning_of_a_held_domain_says_that_it_is_blocked_and_by_what() -> None:
    facts = Scene.down(8)
    notice = expected(replace(facts, record=replace(facts.record, held_until=NOW + timedelta(hours=2), hold_reason="new disk")))
    assert "blocked so far" in notice.subject
    assert notice.must_do == "failsafe release example.org"
    assert "held: held until 2026-11-22 14:00 UTC: new disk; what to do: failsafe release example.org" in notice.details
    assert "no-quorum" not in notice.details  # that is the time that still runs


def test_the_warning_in_the_other_modes_promises_nothing() -> None:
    assert "would be made" in expected(mode(Scene.down(8), Mode.OBSERVE)).subject
    manual = expected(mode(Scene.down(8), Mode.MANUAL))
    assert "wait for you" in manual.subject
    assert manual.must_do == "nothing yet; then failsafe failover example.org"


# -- through the journal -------------------------------------------------------------------------------------------------


@dataclass
class Desk:
    """A domain in a real database; every pass is by a program that has just started."""

    store: Store
    journal: Journal

    def step(self, facts: DomainFacts, at: float) -> None:
        now = NOW + minutes(at)
        zone, clock = FakeZone({DOMAIN: PEACE}), FakeClock(now)
        lease = LeaseStore(self.store).acquire("nas", now)
        self.journal = Journal(self.store, lease)
        views = tuple(replace(each, last_at=now) for each in facts.views)  # type: ignore[type-var]
        line = replace(facts.own_line, at=now) if facts.own_line is not None else None
        facts = replace(facts, record=self.journal.load(DOMAIN, now), views=views, own_line=line)
        FlipRunner(zone, FakeAuthorities(zone), self.journal, clock).act(facts, decide(facts, now), by="nas")

    def events(self) -> list[str]:
        return [event.name for _, event in EventStore(self.store).since() if event.name.startswith("flip.")]

    def observed(self) -> tuple[ObservedFlip, ...]:
        return self.journal.load(DOMAIN, NOW).observed


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with closing(Store.sqlite(tmp_path / "failsafe.sqlite")) as store:
        store.upgrade(NOW)
        yield Desk(store, Journal(store, None))


def down(begun: float) -> DomainFacts:
    """Down since that many minutes after NOW."""
    views = tuple(replace(view(name, Verdict.DOWN, 0), since_at=NOW + minutes(begun)) for name in ("here", "vps2"))
    return mode(replace(Scene.down(), views=views), Mode.OBSERVE)


def up() -> DomainFacts:
    return mode(Scene.peace(), Mode.OBSERVE)


def test_the_warning_and_the_observed_flip_are_told_once_each_also_across_restarts(desk: Desk) -> None:
    for minute in range(30):
        desk.step(down(0), minute)
    assert desk.events() == ["flip.coming", "flip.observed"]
    desk.step(up(), 31)
    for minute in range(40, 70):
        desk.step(down(40), minute)
    assert desk.events() == ["flip.coming", "flip.observed"] * 2


def test_each_flip_that_observe_would_have_made_is_kept_with_why_and_when_it_was_over(desk: Desk) -> None:
    for minute in (*range(20), 21):
        desk.step(down(0) if minute < 20 else up(), minute)
    [flip] = desk.observed()
    assert (flip.kind, flip.at, flip.over_at) == (FlipKind.FAILOVER, NOW + minutes(15), NOW + minutes(21))
    assert flip.guards == ()
    assert flip.why == ("here says down for 15 min", "vps2 says down for 15 min")
    assert flip.change == ("add MX 5 mx.away.example",)


def test_a_flip_that_would_have_been_held_up_is_kept_as_such_until_it_would_have_been_made(desk: Desk) -> None:
    line = Scene.peace().own_line
    assert line is not None
    for minute in range(20):
        facts = down(0)
        desk.step(facts if minute != 15 else replace(facts, own_line=replace(line, answered=0)), minute)
        if minute == 15:
            assert [guard.split(":")[0] for guard in desk.observed()[0].guards] == ["own-line-down"]
    [flip] = desk.observed()
    assert (flip.at, flip.guards) == (NOW + minutes(16), ())


def test_only_the_newest_are_kept_with_the_domain(desk: Desk) -> None:
    for number in range(23):
        desk.step(down(number * 60), number * 60)
        desk.step(down(number * 60), number * 60 + 16)
        desk.step(up(), number * 60 + 20)
    assert len(desk.observed()) == 20
    assert desk.observed()[-1].at == NOW + minutes(22 * 60 + 16)


# -- refusals and halts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", CODES)
def test_every_guard_has_something_to_do(code: str) -> None:
    said = way_out(Guard(code, "stands"), DOMAIN)
    assert said
    assert "DOMAIN" not in said


def test_a_refusal_lists_every_guard_with_what_to_do() -> None:
    error = Refused(
        "the failover is refused", [Guard("held", "held until noon", "failsafe release x"), Guard("drift", "other", "look")]
    )
    assert str(error).splitlines() == [
        "the failover is refused",
        "  held: held until noon",
        "    what to do: failsafe release x",
        "  drift: other",
        "    what to do: look",
    ]


def test_a_halted_domain_says_what_was_found_what_was_expected_and_three_ways_out() -> None:
    lines = explain_halt(DOMAIN, "ns1 says 10 mail.example.org; ns2 says 5 mx.away.example", OUTAGE).lines()
    assert lines[0] == "found: ns1 says 10 mail.example.org; ns2 says 5 mx.away.example"
    assert lines[1] == "expected: 5 mx.away.example, 10 mail.example.org"
    commands = [line.split("  ")[1] for line in lines[4:]]
    assert commands == [
        "failsafe acknowledge example.org --serving primary",
        "failsafe acknowledge example.org --serving secondary",
        "failsafe adopt-mx example.org",
    ]


def test_a_primary_without_its_mail_says_how_it_gets_it_back() -> None:
    reason = "restore required: nothing in anna@example.org"
    halt = explain_halt(DOMAIN, "", None, reason=reason, server="vps", store_lost=True)
    assert halt.found == "nothing in anna@example.org"
    assert [command for command, _ in halt.ways] == [
        "failsafe restore --to server:vps",
        "failsafe accept vps --reason TEXT",
        "failsafe acknowledge example.org --serving secondary",
    ]
    assert "DNS" not in "\n".join(halt.lines())


def test_words_alone_do_not_make_a_halt_one_of_lost_mail() -> None:
    assert "restore" not in "\n".join(explain_halt(DOMAIN, "", None, reason="restore required: said a provider").lines())


def test_an_order_to_a_halted_domain_is_refused_with_that_explanation() -> None:
    halted = record(DomainState.HALTED, attempted=OUTAGE, reason="not verified within 5 min")
    with pytest.raises(Refused) as caught:
        decide_by_hand(replace(Scene.peace(), record=halted, zone=reading(PEACE)), FlipKind.FAILOVER, NOW)
    said = str(caught.value)
    for part in (
        "why: not verified within 5 min",
        "found: 10 mail.example.org",
        "expected: 5 mx.away.example",
        "--serving secondary",
    ):
        assert part in said


def test_the_notice_of_a_halt_says_it_too() -> None:
    notice = stuck_event(
        record(DomainState.FAILING_OVER, attempted=OUTAGE), FlipKind.FAILOVER, "the provider says 10 x", NOW
    ).notice
    assert notice is not None
    assert notice.details.startswith("found: the provider says 10 x\nexpected: 5 mx.away.example")
