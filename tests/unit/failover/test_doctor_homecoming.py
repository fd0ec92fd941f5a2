"""The doctor of the way home: whether the primary would take today what was gathered at the secondary."""

from __future__ import annotations

from dataclasses import replace

from failsafe.failover.doctor_homecoming import DeliveryCheckup, FilterSight, judge_delivery
from failsafe.failover.doctor_secondary import HomecomingLogin
from failsafe.model import Finding, ProbeClass, Severity

IN = HomecomingLogin("ann@example.org", ProbeClass.UP, "logged in")
WELL = DeliveryCheckup(configured=True, has_homecoming=True, logins=(IN,), filters=(FilterSight("ann@example.org"),))


def found(**changed: object) -> Finding:
    finding = judge_delivery("example.org", replace(WELL, **changed))  # type: ignore[arg-type]
    assert finding.code == "homecoming-deliver"
    assert not finding.blocks_failover
    return finding


def test_a_credential_that_opens_the_mailboxes_is_well() -> None:
    assert found().severity is Severity.OK
    assert "filter rules" not in found(filters=()).text


def test_a_login_that_is_refused_or_not_answered_is_told_with_its_mailbox() -> None:
    for seen in (ProbeClass.UNKNOWN, ProbeClass.DOWN):
        bad = found(logins=(IN, HomecomingLogin("bob@example.org", seen, "it says no")))
        assert bad.severity is Severity.FAIL
        assert "bob@example.org: it says no" in bad.text
    assert found(error="accounts has no login for cleo").severity is Severity.FAIL


def test_rules_that_cannot_be_read_or_judged_are_a_warning_since_mail_comes_home_all_the_same() -> None:
    unread = found(filters=(FilterSight("ann@example.org", why="port 4190 does not answer"),))
    assert (unread.severity, "port 4190 does not answer" in unread.text) == (Severity.WARN, True)
    strange = found(filters=(FilterSight("ann@example.org", strange=("the test body",)),))
    assert (strange.severity, "ann@example.org: the test body" in strange.text) == (Severity.WARN, True)


def test_what_is_not_configured_or_not_known_is_skipped() -> None:
    assert found(configured=False, has_homecoming=False).severity is Severity.SKIPPED
    assert "does not come home" in found(configured=False).text
    assert found(logins=(), filters=()).severity is Severity.SKIPPED
