"""What the doctor says of a DNS provider, and what of it blocks a failover."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from failsafe.failover.doctor import is_ready, judge_domain
from failsafe.failover.doctor_provider import Proof, ProviderCheckup
from failsafe.model import Finding, Severity, ZonePromises
from tests.unit.failover.test_doctor import NOW, WELL, with_zone
from tests.unit.failover.test_doctor import reading as zone_reading

PROMISES = ZonePromises(atomic=True, compare_and_set=True, minimum_ttl_seconds=60)
PROVED = ProviderCheckup(PROMISES, ttl_seconds=60, proof=Proof(NOW - timedelta(days=2)), beside=())


def found(code: str, seen: ProviderCheckup, **more: object) -> Finding:
    whole = replace(WELL, provider=seen, **more)  # type: ignore[arg-type]
    return next(each for each in judge_domain(whole, NOW) if each.code == code)


def test_a_provider_that_has_shown_everything_has_only_good_findings() -> None:
    findings = judge_domain(replace(WELL, provider=PROVED), NOW)
    assert {each.severity for each in findings} == {Severity.OK}


@pytest.mark.parametrize("by", ["proof", "drill"])
def test_a_scratch_name_that_was_written_does_not_show_that_the_live_records_may_be(by: str) -> None:
    seen = PROVED if by == "proof" else replace(PROVED, proof=None)
    write = found("provider-write", seen, last_write_at=None, drill=None if by == "proof" else WELL.drill)
    assert write.severity is Severity.SKIPPED
    assert f"written at failsafe-{by}.example.org on 2026-11-20" in write.text
    assert "one of example.org itself is taken, too, is not shown" in write.text
    assert "MX records of example.org" in write.mend


def test_a_scratch_name_that_was_written_long_ago_shows_nothing() -> None:
    old = replace(PROVED, proof=Proof(NOW - timedelta(days=91)))
    assert "was not tried" in found("provider-write", old, last_write_at=None, drill=None).text


def test_a_provider_that_cannot_be_read_blocks_whatever_was_proved_before() -> None:
    seen = replace(with_zone(replace(zone_reading(), provider=None, provider_error="HTTP 403")), provider=PROVED)
    (write,) = [each for each in judge_domain(seen, NOW) if each.code == "provider-write"]
    assert (write.severity, write.blocks_failover) == (Severity.FAIL, True)


def test_a_ttl_that_the_provider_does_not_take_blocks_before_a_failover_meets_it() -> None:
    write = found("provider-write", replace(PROVED, ttl_seconds=30))
    assert (write.severity, write.blocks_failover) == (Severity.FAIL, True)
    assert 'ttl = "60s"' in write.mend


@pytest.mark.parametrize(
    ("proof", "severity", "said"),
    [
        (None, Severity.SKIPPED, "not shown here yet"),
        (Proof(NOW), Severity.OK, "every stale change was refused"),
        (Proof(NOW, fault="a stale change was accepted"), Severity.FAIL, "overwrite each other"),
        (Proof(NOW, fault="a TTL of 0 s was written and became 300 s"), Severity.WARN, "stale changes were refused, but a TTL"),
        (Proof(NOW, error="REFUSED", mend="let the key"), Severity.WARN, "could not be shown"),
    ],
    ids=["none", "holds", "accepted", "ttl", "error"],
)
def test_the_proof_of_compare_and_set_is_told_and_never_blocks(proof: Proof | None, severity: Severity, said: str) -> None:
    cas = found("provider-cas", replace(PROVED, proof=proof))
    assert (cas.severity, cas.blocks_failover) == (severity, False)
    assert said in cas.text
    assert severity is Severity.OK or cas.mend


def test_what_the_provider_has_locked_blocks() -> None:
    seen = replace(PROVED, protected=("MX example.org: frozen",))
    protected = found("zone-locked", seen)
    assert (protected.severity, protected.blocks_failover) == (Severity.FAIL, True)
    assert not is_ready(judge_domain(replace(WELL, provider=seen), NOW))
    unknown = found("zone-locked", replace(PROVED, protected_error="not allowed", protected_mend="let the key ask"))
    assert (unknown.severity, unknown.mend) == (Severity.SKIPPED, "let the key ask")


@pytest.mark.parametrize(
    ("days", "severity"), [(400, Severity.OK), (29, Severity.WARN), (-1, Severity.FAIL)], ids=["later", "soon", "over"]
)
def test_the_end_of_a_credential_is_warned_of_a_month_before(days: int, severity: Severity) -> None:
    end = found("provider-token-expiry", replace(PROVED, ends_at=NOW + timedelta(days=days, hours=1)))
    assert (end.severity, end.blocks_failover) == (severity, False)
    assert bool(end.mend) is (severity is not Severity.OK)


def test_a_credential_that_does_not_tell_its_end_is_no_fault() -> None:
    assert found("provider-token-expiry", replace(PROVED, ends_error="not allowed")).severity is Severity.SKIPPED


@pytest.mark.parametrize(
    ("beside", "severity", "said"),
    [
        ((), Severity.OK, "no zone but those"),
        (("a.example", "b.example", "c.example", "d.example"), Severity.WARN, "a.example, b.example, c.example and 1 more"),
        (None, Severity.SKIPPED, "does not tell"),
    ],
    ids=["alone", "others", "silent"],
)
def test_a_credential_that_reaches_other_zones_is_a_fault_that_never_blocks(
    beside: tuple[str, ...] | None, severity: Severity, said: str
) -> None:
    scope = found("provider-token-scope", replace(PROVED, beside=beside))
    assert (scope.severity, scope.blocks_failover) == (severity, False)
    assert said in scope.text
    assert severity is Severity.OK or scope.mend
