"""Where port 25 is blocked on the way out, and what can be said of the mail server all the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from failsafe.failover.blocked_port import Beside, judge_unreached
from failsafe.failover.health import EvidenceRun, JudgePolicy, judge
from failsafe.model import Axis, Evidence, ProbeClass, Sign, Verdict

AT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ALIVE = Beside(port_works=False, doors=(("993", False), ("SSH", True)), tried="mx2:25")
DEAD = Beside(port_works=False, doors=(("993", False), ("465", False), ("SSH", False)), tried="mx2:25")


def unreached(at: datetime = AT, beside: Beside = ALIVE) -> Evidence:
    return judge_unreached(Evidence("vps", "here", Axis.INBOUND, ProbeClass.DOWN, at, "no answer", "mx:25"), beside)


def verdict(*evidence: Evidence) -> Verdict:
    view = judge([EvidenceRun.of(each) for each in evidence], evidence[-1].at, JudgePolicy(MINUTE, 15 * MINUTE))
    assert view is not None
    return view.verdict


def port_works(evidence: Evidence) -> bool | None:
    """What a view of it says to the doctor."""
    view = judge([EvidenceRun.of(evidence)], evidence.at, JudgePolicy(MINUTE, 15 * MINUTE))
    assert view is not None
    return view.port_works


def test_where_another_exchange_answers_a_server_that_does_not_is_down() -> None:
    seen = unreached(beside=Beside(port_works=True, tried="mx2:25"))

    assert (seen.seen, "mx2:25 answers" in seen.text) == (ProbeClass.DOWN, True)
    assert port_works(seen) is True


def test_where_there_is_no_other_exchange_to_try_the_evidence_stays_as_it_is() -> None:
    assert unreached(beside=Beside(None)) == Evidence("vps", "here", Axis.INBOUND, ProbeClass.DOWN, AT, "no answer", "mx:25")


def test_where_port_25_is_blocked_and_a_door_opens_nothing_is_known_of_mail() -> None:
    seen = unreached()

    assert seen.seen is ProbeClass.UNKNOWN
    assert "port 25 is blocked from here" in seen.text
    assert "SSH" in seen.text
    assert (port_works(seen), Sign.STANDS in seen.signs) == (False, True)


def test_where_port_25_is_blocked_and_all_doors_are_dead_it_is_down() -> None:
    seen = unreached(beside=DEAD)

    assert seen.seen is ProbeClass.DOWN
    assert "993, 465, SSH are dead" in seen.text
    assert (port_works(seen), Sign.STANDS in seen.signs) == (False, False)


def test_where_port_25_is_blocked_and_no_door_is_known_nothing_is_known() -> None:
    seen = unreached(beside=Beside(port_works=False))

    assert (seen.seen, port_works(seen)) == (ProbeClass.UNKNOWN, False)


def test_where_nothing_was_tried_beside_it_nobody_knows_whether_port_25_works() -> None:
    assert port_works(unreached(beside=Beside(None))) is None


def test_it_may_say_down_when_it_has_seen_a_door_open_before() -> None:
    assert verdict(unreached(AT), unreached(AT + MINUTE, DEAD)) is Verdict.DOWN


def test_it_is_no_witness_of_doors_that_it_never_saw_open() -> None:
    assert verdict(unreached(AT, DEAD), unreached(AT + MINUTE, DEAD)) is Verdict.UNKNOWN


def test_it_never_says_up_for_inbound_however_often_a_door_opens() -> None:
    assert verdict(*(unreached(AT + number * MINUTE) for number in range(5))) is Verdict.UNKNOWN


def test_an_open_door_is_no_witness_of_lies() -> None:
    lie = Evidence("vps", "here", Axis.INBOUND, ProbeClass.LYING, AT + MINUTE, "550", "mx:25")

    assert verdict(unreached(AT), lie) is Verdict.UNKNOWN
