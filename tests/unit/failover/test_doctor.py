"""The doctor of a domain: what it finds, what blocks a failover, and what a dead primary may never block."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from failsafe.failover.bans import BanList, Jail, Stack
from failsafe.failover.doctor import DomainCheckup, Exchange, is_ready, judge_domain
from failsafe.failover.doctor_homecoming import DeliveryCheckup
from failsafe.failover.doctor_secondary import HomecomingLogin
from failsafe.failover.doctor_vantages import BanCheckup, VantageCheckup
from failsafe.failover.drilled import FailoverDrilled
from failsafe.failover.facts import DomainFacts, Policy, Readiness, ZoneReading
from failsafe.failover.health import VantageView
from failsafe.failover.weigh import Standing
from failsafe.failover.zone import MxLayout
from failsafe.model import (
    Axis,
    DomainRecord,
    DomainState,
    Finding,
    Mode,
    MxSet,
    ProbeClass,
    ServerAnswer,
    Severity,
    Side,
    Strategy,
    Verdict,
)
from tests.unit.failover.test_doctor_secondary import WELL as READY

NOW = datetime(2026, 11, 22, 17, 0, tzinfo=UTC)
PEACE = MxSet.of((10, "mail.example.org"), ttl_seconds=60)
LAYOUT = MxLayout(Strategy.ON_DEMAND, ("mail.example.org",), ("mx.example.net",))
POLICY = Policy("example.org", "example.org", "vps", LAYOUT, Mode.AUTO, vantages=1, quorum=1)
UP = VantageView("here", Verdict.UP, NOW, NOW, ("accepted",), Axis.INBOUND)


def reading(provider: MxSet | None = PEACE, *answers: MxSet | None) -> ZoneReading:
    sets = answers or (PEACE, PEACE)
    return ZoneReading(provider, tuple(ServerAnswer(f"ns{n}", mx, "" if mx else "silent") for n, mx in enumerate(sets)))


FACTS = DomainFacts(
    policy=POLICY,
    record=DomainRecord("example.org", DomainState.NORMAL, NOW, Side.PRIMARY),
    views=(UP,),
    own_line=None,
    zone=reading(),
    readiness=Readiness(),
    leader=False,
    started_at=NOW,
)
DRILL = FailoverDrilled(NOW - timedelta(days=2), "passed", 0.3, 0.3, 2, None)
BANS = BanCheckup(Stack("maildir"), BanList("192.0.2.9", (Jail("postfix", (), ("192.0.2.9",)),)))
WELL = DomainCheckup(
    facts=FACTS,
    exchanges={
        "mail.example.org": Exchange("mail.example.org", ("192.0.2.1",)),
        "mx.example.net": Exchange("mx.example.net", ("192.0.2.2",), seen=ProbeClass.UP, text="accepted"),
    },
    views=(UP,),
    probe_configured=True,
    recipient="probe@example.org",
    helo="nas.example.org",
    last_write_at=NOW - timedelta(days=3),
    drill=DRILL,
    secondary=READY,
    delivery=DeliveryCheckup(
        configured=True, has_homecoming=True, logins=(HomecomingLogin("anna@example.org", ProbeClass.UP, "logged in"),)
    ),
    watch=VantageCheckup(("here",), (UP,), BANS),
)


def finding(seen: DomainCheckup, code: str) -> Finding:
    return next(found for found in judge_domain(seen, NOW) if found.code == code)


def watched(*views: VantageView, names: tuple[str, ...] = ("here",), bans: BanCheckup = BANS, quorum: int = 1) -> DomainCheckup:
    seen = with_policy(vantages=len(names), quorum=quorum, standing=Standing(shallow=frozenset({"robot"})))
    return replace(seen, watch=VantageCheckup(names, views, bans))


def with_zone(zone: ZoneReading) -> DomainCheckup:
    return replace(WELL, facts=replace(FACTS, zone=zone))


def with_policy(**values: object) -> DomainCheckup:
    return replace(WELL, facts=replace(FACTS, policy=replace(POLICY, **values)))  # type: ignore[arg-type]


def with_secondary(**values: object) -> DomainCheckup:
    secondary = replace(WELL.exchanges["mx.example.net"], **values)  # type: ignore[arg-type]
    return replace(WELL, exchanges={**WELL.exchanges, "mx.example.net": secondary})


def test_a_healthy_domain_has_only_good_findings_and_is_ready() -> None:
    findings = judge_domain(WELL, NOW)
    assert {found.severity for found in findings} == {Severity.OK}
    assert is_ready(findings)


def test_every_bad_finding_says_how_to_mend_it() -> None:
    sick = [
        with_zone(reading(MxSet(()), MxSet(()))), with_zone(reading(MxSet.of((10, "foreign.example"), ttl_seconds=3600))), with_secondary(addresses=(), error="no such name"),
        with_secondary(seen=ProbeClass.LYING), watched(names=()), with_policy(quorum=2), replace(WELL, helo=None, views=()),
    ]  # fmt: skip
    bad = [found for seen in sick for found in judge_domain(seen, NOW) if found.severity in (Severity.FAIL, Severity.WARN)]
    assert len(bad) > len(sick)
    assert [found for found in bad if not found.mend or not found.text] == []


def test_no_mx_record_blocks() -> None:
    found = finding(with_zone(reading(MxSet(()), MxSet(()))), "mx-explicit")
    assert (found.severity, found.blocks_failover) == (Severity.FAIL, True)
    assert "adopt-mx" not in found.mend, "it makes no first record"
    assert "`example.org. IN MX 10 mail.example.org.`" in found.mend


def test_a_null_mx_is_replaced_and_never_taken_away_first() -> None:
    found = finding(with_zone(reading(None, MxSet.of((0, ".")))), "mx-explicit")
    assert found.severity is Severity.FAIL
    assert found.mend.startswith("failsafe adopt-mx example.org writes the peace layout in its place")


def test_while_the_secondary_serves_a_layout_that_does_not_fit_names_no_adopt_mx() -> None:
    away = replace(
        WELL, facts=replace(WELL.facts, record=replace(WELL.facts.record, state=DomainState.FAILED_OVER, serving=Side.SECONDARY))
    )
    found = finding(away, "mx-layout")
    assert found.severity is Severity.FAIL
    assert "adopt-mx" not in found.mend
    assert "failsafe acknowledge example.org" in found.mend


def test_a_layout_that_does_not_fit_the_strategy_blocks_and_names_adopt_mx() -> None:
    found = finding(with_zone(reading(None, MxSet.of((10, "mail.example.org"), (20, "mx.example.net")))), "mx-layout")
    assert found.severity is Severity.FAIL
    assert "adopt-mx" in found.mend


def test_a_zone_that_cannot_be_read_now_does_not_block_a_failover_later() -> None:
    seen = with_zone(reading(None, None, None))
    findings = judge_domain(seen, NOW)
    assert finding(seen, "mx-explicit").severity is Severity.SKIPPED
    assert is_ready(findings)


def test_a_provider_that_refuses_us_blocks() -> None:
    seen = with_zone(ZoneReading(None, reading().answers, provider_error="401: the token is not valid"))
    assert finding(seen, "provider-write").severity is Severity.FAIL
    assert not is_ready(judge_domain(seen, NOW))


def test_the_right_to_write_is_not_claimed_without_a_write() -> None:
    assert finding(replace(WELL, last_write_at=None, drill=None), "provider-write").severity is Severity.SKIPPED
    assert (
        finding(replace(WELL, last_write_at=NOW - timedelta(days=91), drill=None), "provider-write").severity is Severity.SKIPPED
    )


def test_a_provider_and_servers_that_disagree_are_drift() -> None:
    other = MxSet.of((10, "other.example.org"))
    assert finding(with_zone(reading(other, PEACE, PEACE)), "mx-drift").severity is Severity.FAIL


def test_a_silent_name_server_is_a_warning_that_blocks_nothing() -> None:
    """A self-hoster's first name server is often the primary itself."""
    seen = with_zone(reading(PEACE, PEACE, None))
    assert finding(seen, "ns-agree").severity is Severity.WARN
    assert is_ready(judge_domain(seen, NOW))


def test_a_high_ttl_is_told_with_its_cost() -> None:
    found = finding(with_zone(reading(None, MxSet.of((10, "mail.example.org"), ttl_seconds=3600))), "ttl-high")
    assert found.severity is Severity.WARN
    assert "3600 s" in found.text


@pytest.mark.parametrize("values", [{"addresses": (), "error": "no such name"}, {"alias_of": "real.example.net"}])
def test_a_secondary_that_does_not_resolve_or_is_an_alias_blocks(values: dict[str, object]) -> None:
    seen = with_secondary(**values)
    assert finding(seen, "secondary-resolves").severity is Severity.FAIL
    assert not is_ready(judge_domain(seen, NOW))


@pytest.mark.parametrize("values", [{"addresses": (), "error": "no such name"}, {"alias_of": "real.example.org"}])
def test_a_primary_that_does_not_resolve_or_is_an_alias_blocks(values: dict[str, object]) -> None:
    primary = replace(WELL.exchanges["mail.example.org"], **values)  # type: ignore[arg-type]
    seen = replace(WELL, exchanges={**WELL.exchanges, "mail.example.org": primary})
    assert finding(seen, "mx-target").severity is Severity.FAIL
    assert not is_ready(judge_domain(seen, NOW))


def test_a_line_whose_port_25_is_blocked_is_told_and_blocks_nothing() -> None:
    blocked = VantageView("here", Verdict.UNKNOWN, NOW, NOW, ("550 blocked by a list",), Axis.INBOUND, blocked=True)
    found = finding(watched(blocked), "port-25")
    assert (found.severity, found.blocks_failover) == (Severity.WARN, False)
    assert "550 blocked by a list" in found.text
    assert finding(watched(), "port-25").severity is Severity.SKIPPED
    assert finding(watched(names=()), "port-25").severity is Severity.SKIPPED


def test_a_secondary_that_refuses_our_recipient_blocks() -> None:
    assert finding(with_secondary(seen=ProbeClass.LYING, text="550 no such user"), "secondary-accepts").severity is Severity.FAIL


def test_an_unreachable_secondary_blocks_only_where_port_25_is_known_to_work() -> None:
    silent = with_secondary(seen=ProbeClass.DOWN, text="timed out")
    assert finding(silent, "secondary-accepts").severity is Severity.FAIL
    assert finding(replace(silent, views=()), "secondary-accepts").severity is Severity.SKIPPED


def test_that_another_place_reaches_port_25_says_nothing_of_our_own_line() -> None:
    silent = with_secondary(seen=ProbeClass.DOWN, text="timed out")
    blocked = place("here", Verdict.UNKNOWN, "the server answers elsewhere", port_works=False)
    seen = replace(silent, views=(blocked, place("vps2", Verdict.UP)))
    found = finding(seen, "secondary-accepts")

    assert (found.severity, is_ready(judge_domain(seen, NOW))) == (Severity.SKIPPED, True), found.text


def test_a_dead_primary_blocks_nothing() -> None:
    down = VantageView("here", Verdict.DOWN, NOW, NOW, ("timed out",), Axis.INBOUND)
    dead = replace(WELL, views=(down,), facts=replace(FACTS, views=(down,), zone=reading(PEACE, None, PEACE)))
    assert is_ready(judge_domain(dead, NOW))


def test_too_few_vantages_warn_and_none_in_mode_auto_blocks() -> None:
    assert finding(with_policy(quorum=2), "vantages").severity is Severity.WARN
    assert finding(watched(names=()), "vantages").severity is Severity.FAIL
    nobody = with_policy(mode=Mode.OBSERVE)
    assert finding(replace(nobody, watch=VantageCheckup((), (), BANS)), "vantages").severity is Severity.WARN


def place(
    name: str, verdict: Verdict, text: str = "seen", *, blocked: bool = False, port_works: bool | None = None
) -> VantageView:
    return VantageView(name, verdict, NOW, NOW, (text,), Axis.INBOUND, blocked=blocked, port_works=port_works)


def test_another_place_that_says_nothing_is_named_with_its_reason() -> None:
    found = finding(watched(UP, place("vps2", Verdict.UNKNOWN, "not reachable"), names=("here", "vps2"), quorum=2), "vantages")

    assert (found.severity, "vps2 says nothing: not reachable" in found.text) == (Severity.WARN, True)


def test_each_place_that_speaks_smtp_is_judged_for_port_25_and_monitors_are_not() -> None:
    blocked = place("vps2", Verdict.UNKNOWN, "the server answers elsewhere (SSH)", port_works=False)
    works = place("vps3", Verdict.DOWN, "no answer", port_works=True)
    nobody_knows = place("vps4", Verdict.DOWN, "550 port 25 is blocked from here, port 25 works from here")
    views = (UP, blocked, works, nobody_knows, place("robot", Verdict.UP))
    seen = watched(*views, names=("here", "robot", "vps2", "vps3", "vps4"))

    found = [each for each in judge_domain(seen, NOW) if each.code == "port-25"]

    assert [each.severity for each in found] == [Severity.OK, Severity.WARN, Severity.OK, Severity.WARN]
    assert ["open outbound port 25" in each.mend for each in found] == [False, True, False, False]


def test_a_ban_that_fail2ban_shows_blocks_with_the_words_that_lift_it() -> None:
    banned = BanCheckup(Stack("docker-mailserver", "mailserver"), BanList("192.0.2.9", (Jail("postfix", ("192.0.2.9",)),)))

    found = finding(watched(UP, bans=banned), "monitor-banned")

    assert (found.severity, found.blocks_failover) == (Severity.FAIL, True)
    assert "docker exec mailserver setup fail2ban unban 192.0.2.9" in found.mend
    assert "docker-data/dms/config/fail2ban-jail.cf" in found.mend


def test_a_place_that_alone_cannot_reach_the_server_seems_banned_and_where_enough_are_left_it_only_warns() -> None:
    views = (place("here", Verdict.DOWN), place("vps2", Verdict.UP), place("vps3", Verdict.UP))

    assert finding(watched(*views, names=("here", "vps2", "vps3"), quorum=2), "monitor-banned").severity is Severity.WARN
    assert finding(watched(*views, names=("here", "vps2", "vps3"), quorum=3), "monitor-banned").severity is Severity.FAIL


def test_an_address_that_fail2ban_may_ban_one_day_is_told_with_the_line_to_write() -> None:
    changed = BanCheckup(Stack("maildir"), BanList("192.0.2.9", (Jail("postfix", (), ("198.51.100.3",)),)), before="198.51.100.3")

    found = finding(watched(UP, bans=changed), "fail2ban-ignore")

    assert (found.severity, "our address was 198.51.100.3 before" in found.text) == (Severity.WARN, True)
    assert "ignoreip = 127.0.0.1/8 ::1 198.51.100.3 192.0.2.9" in found.mend


def test_where_fail2ban_cannot_be_asked_nothing_is_claimed() -> None:
    unasked = BanCheckup(Stack("maildir"), BanList(error="ssh is not configured"))

    assert finding(watched(UP, bans=unasked), "fail2ban-ignore").severity is Severity.SKIPPED
    assert finding(watched(place("here", Verdict.DOWN), bans=unasked), "monitor-banned").severity is Severity.SKIPPED


def test_a_probe_without_a_name_or_recipient_is_told() -> None:
    assert finding(replace(WELL, helo=None, recipient=None), "probe-identity").severity is Severity.WARN


@pytest.mark.parametrize(
    ("drill", "severity"),
    [
        (None, Severity.SKIPPED),
        (DRILL, Severity.OK),
        (replace(DRILL, at=NOW - timedelta(days=200)), Severity.WARN),
        (replace(DRILL, result="failed", finding="ns2 still gives the old set"), Severity.FAIL),
    ],
)
def test_a_failover_that_was_not_rehearsed_lately_or_went_wrong_is_told_and_never_blocks(
    drill: FailoverDrilled | None, severity: Severity
) -> None:
    findings = {each.code: each for each in judge_domain(replace(WELL, drill=drill), NOW)}
    found = findings["drill-failover"]
    assert (found.severity, found.blocks_failover) == (severity, False)
    assert found.mend == ("" if severity is Severity.OK else "failsafe drill failover example.org")


def test_where_nothing_was_written_the_doctor_says_how_to_try() -> None:
    findings = {each.code: each for each in judge_domain(replace(WELL, last_write_at=None, drill=None), NOW)}
    assert findings["provider-write"].mend.endswith("failsafe drill failover example.org")


def test_a_secondary_that_refuses_this_machine_alone_says_nothing_of_senders() -> None:
    for seen in (ProbeClass.PROBE_BLOCKED, ProbeClass.BANNED, ProbeClass.UNKNOWN):
        told = finding(with_secondary(seen=seen, text="blocked using zen"), "secondary-accepts")
        assert told.severity is Severity.SKIPPED
    for seen in (ProbeClass.DOWN, ProbeClass.DEGRADED):
        assert finding(with_secondary(seen=seen, text="timed out"), "secondary-accepts").severity is Severity.FAIL
