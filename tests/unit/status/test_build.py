"""The state of everything: the promised shape, and never green by silence."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from failsafe.model import DomainState, Severity
from failsafe.status.as_json import to_json
from failsafe.status.build import build_status
from failsafe.status.values import RepositoryStatus
from failsafe.store.glance import Glance
from tests.unit.status.world import NOW, ROSTER, ago, duty, healthy, repository, run, state, watch


def codes(glance: Glance) -> set[tuple[str, str]]:
    return {(finding.code, finding.subject) for finding in build_status(ROSTER, glance, NOW).findings}


def test_when_all_is_well_there_is_no_finding() -> None:
    assert codes(healthy()) == set()


def test_the_json_has_exactly_the_promised_shape() -> None:
    told = to_json(build_status(ROSTER, healthy(), NOW))
    assert told["at"] == "2026-11-22T17:00:00Z"
    assert set(told["controller"]) == {"id", "leader", "version"}
    assert told["controller"]["leader"] is True
    [domain] = told["domains"]
    assert domain["mx"] == [{"preference": 10, "exchange": "mail.example.org"}]
    assert set(domain["health"]) == {"inbound", "delivery", "access", "submission", "host"}
    assert domain["vantages"] == [{"vantage": "here", "verdict": "up", "at": "2026-11-22T16:59:00Z"}]
    assert {"domain", "state", "since", "serving", "guards", "held_until", "draining"} <= set(domain)
    assert told["servers"] == [
        {
            "server": "vps",
            "status": "ok",
            "last_backup": {"at": "2026-11-22T16:55:00Z", "result": "ok", "messages": 1200},
            "recovery_point_age_seconds": 300,
            "guards": [],
            "mailboxes": [],
        }
    ]
    assert told["repositories"][0] == {
        "repository": "nas",
        "status": "ok",
        "snapshots": 41,
        "last_snapshot_at": "2026-11-22T16:55:00Z",
        "last_check_at": "2026-11-22T16:55:00Z",
        "last_drill_at": None,
        "last_drill": None,
    }


def test_an_empty_database_is_not_green() -> None:
    found = codes(Glance())
    assert ("recovery-point", "vps") in found
    assert ("watch", "example.org") in found
    assert ("repository", "nas") in found


def test_what_is_configured_is_shown_even_if_nothing_is_known_of_it() -> None:
    status = build_status(ROSTER, Glance(), NOW)
    assert [domain.state for domain in status.domains] == [DomainState.NORMAL]
    assert status.domains[0].health["inbound"] == "unknown"
    assert [server.status for server in status.servers] == ["never"]
    assert [each.status for each in status.repositories] == ["never", "never"]
    assert not status.leader


@pytest.mark.parametrize("result", ["incomplete", "failed"])
def test_a_backup_that_is_not_proven_complete_is_a_finding_and_the_old_recovery_point_stays(result: str) -> None:
    glance = healthy(backup_run=(run(result),), good_run=(run(at=ago(hours=3)),))
    assert ("recovery-point", "vps") in codes(glance)
    [server] = build_status(ROSTER, glance, NOW).servers
    assert (server.status, server.recovery_point_at) == (result, ago(hours=3))


def test_a_good_backup_that_is_too_old_is_overdue() -> None:
    old = duty("backup:vps", ago(hours=3))
    glance = healthy(duty=(watch(), old, duty("doctor", ago(hours=5))), backup_run=(run(at=ago(hours=3)),))
    assert build_status(ROSTER, glance, NOW).servers[0].status == "overdue"
    assert ("overdue", "vps") in codes(glance)


def test_one_failing_repository_is_told_although_the_other_is_well() -> None:
    glance = healthy(repository_state=(repository("nas"), repository("offsite", "failed", "connection refused")))
    assert codes(glance) == {("repository", "offsite")}


def test_an_old_watch_makes_every_verdict_unknown() -> None:
    rows = (watch(ago(hours=1)), duty("backup:vps", ago(minutes=5)), duty("doctor", ago(hours=5)))
    status = build_status(ROSTER, healthy(duty=rows), NOW)
    assert set(status.domains[0].health.values()) == {"unknown"}
    assert [vantage.verdict for vantage in status.domains[0].vantages] == ["unknown"]
    assert ("watch", "example.org") in codes(healthy(duty=rows))


@pytest.mark.parametrize("name", [each for each in DomainState if each is not DomainState.NORMAL])
def test_every_state_but_normal_is_a_finding(name: DomainState) -> None:
    assert ("domain-state", "example.org") in codes(healthy(domain_state=(state(name, serving="secondary"),)))


def test_a_domain_that_left_the_configuration_while_mail_went_to_the_secondary_is_told_for_a_month() -> None:
    def left(name: DomainState, **more: object) -> set[tuple[str, str]]:
        return codes(
            healthy(
                domain_state=(state(DomainState.NORMAL), {**state(name, serving="secondary"), "domain": "left.example", **more})
            )
        )

    assert left(DomainState.FAILED_OVER) == {("domain-state", "left.example")}
    assert left(DomainState.NORMAL) == set()
    assert left(DomainState.FAILED_OVER, since_at=ago(days=31)) == set()


@pytest.mark.parametrize("name", [DomainState.NORMAL, DomainState.FAILED_OVER, DomainState.HALTED])
def test_a_domain_that_was_taken_over_is_only_observed_and_says_what_ends_that(name: DomainState) -> None:
    side = "primary" if name is DomainState.NORMAL else "secondary"
    taken = state(name, serving=side, details={"taken_over_at": "2026-11-22T16:00:00.000000Z"})

    status = build_status(ROSTER, healthy(domain_state=(taken,)), NOW)

    assert to_json(status)["domains"][0]["mode"] == "observe"
    assert status.findings[0].code == "taken-over"
    assert {finding.mend for finding in status.findings} == {f"failsafe acknowledge example.org --serving {side}"}


def test_a_hold_and_draining_are_shown_until_they_end() -> None:
    held = state("normal", held_until=NOW + timedelta(hours=1), draining_until=NOW + timedelta(days=1))
    [domain] = build_status(ROSTER, healthy(domain_state=(held,)), NOW).domains
    assert domain.held_until == NOW + timedelta(hours=1)
    assert domain.draining
    over = state("normal", held_until=NOW - timedelta(hours=1), draining_until=NOW - timedelta(days=1))
    [domain] = build_status(ROSTER, healthy(domain_state=(over,)), NOW).domains
    assert domain.held_until is None
    assert not domain.draining


def test_after_a_flip_by_hand_the_records_and_guards_of_the_look_before_are_not_shown() -> None:
    written = {"records": [[5, "mx.example.net"], [10, "mail.example.org"]], "ttl_seconds": 60}
    flipped = state("failed-over", serving="secondary", details={"reason": "by hand", "written": written})
    before, after = (watch(epoch=epoch, guards=[DRIFT]) for epoch in (6, 7))
    [domain] = build_status(ROSTER, healthy(duty=(before,), domain_state=(flipped,)), NOW).domains
    assert (domain.mx, domain.guards) == (((5, "mx.example.net"), (10, "mail.example.org")), ())
    [domain] = build_status(ROSTER, healthy(duty=(after,), domain_state=(flipped,)), NOW).domains
    assert (domain.mx[0], domain.guards[0].code) == ((10, "mail.example.org"), "drift")


def test_notices_that_cannot_be_delivered_are_a_finding() -> None:
    assert ("notify-path", "controller") in codes(healthy(notice=({"waiting": 2, "oldest_at": ago(hours=1)},)))


def test_faults_that_the_doctor_found_are_a_finding() -> None:
    sick = {"code": "mx-explicit", "severity": "fail", "subject": "example.org", "text": "", "mend": ""}
    assert ("doctor", "controller") in codes(healthy(doctor_run=({"at": ago(hours=5), "findings": [sick], "ready": {}},)))


def test_a_credential_that_ends_is_a_finding_by_its_own_name_before_it_is_a_fault() -> None:
    ending = {"code": "provider-token-expiry", "subject": "example.org", "text": "in 20 days", "mend": "make a new one"}
    for severity, shown in (("warn", True), ("fail", True), ("ok", False), ("skipped", False)):
        found = codes(healthy(doctor_run=({"at": ago(hours=5), "findings": [{**ending, "severity": severity}], "ready": {}},)))
        assert (("provider-token-expiry", "example.org") in found) is shown
        assert ("doctor", "controller") not in found


DRIFT = {"code": "drift", "text": "mx.elsewhere.example should not be listed", "mend": "put the records back"}


def test_mx_records_that_failsafe_does_not_expect_are_a_finding_also_in_peace() -> None:
    assert ("mx-drift", "example.org") in codes(healthy(duty=(watch(guards=[DRIFT]),)))


def test_while_a_plan_runs_the_records_may_be_anything() -> None:
    moving = healthy(duty=(watch(guards=[DRIFT]),), domain_state=(state("failing-over"),))
    assert ("mx-drift", "example.org") not in codes(moving)


def test_a_zone_that_cannot_be_read_is_a_finding() -> None:
    guard = {"code": "zone-unreadable", "text": "the DNS provider could not be read", "mend": "check the token"}
    assert ("zone-unreadable", "example.org") in codes(healthy(duty=(watch(guards=[guard]),)))


def test_a_look_that_lies_in_the_future_is_not_taken_for_a_fresh_one() -> None:
    glance = healthy(duty=(watch(at=NOW + timedelta(days=2)), duty("backup:vps", ago(minutes=5))))
    assert ("watch", "example.org") in codes(glance)
    assert build_status(ROSTER, glance, NOW).domains[0].health["inbound"] == "unknown"


@pytest.mark.parametrize(
    ("guard", "wanted"),
    [("no-quorum", "nothing yet; failsafe events"), ("secondary-not-ready", "failsafe failover example.org")],
)
def test_an_outage_that_failsafe_does_not_end_by_itself_says_what_to_type(guard: str, wanted: str) -> None:
    down = watch(health={"inbound": "down"}, guards=[{"code": guard, "text": "said so", "mend": ""}])
    glance = healthy(duty=(down, duty("backup:vps", ago(minutes=5))), domain_state=(state("suspect"),))
    assert [each.mend for each in build_status(ROSTER, glance, NOW).findings if each.code == "domain-state"] == [wanted]


def test_a_long_snapshot_shows_how_far_it_is_and_one_that_stands_still_does_not() -> None:
    def far(moved_at: datetime) -> RepositoryStatus:
        details = {"moved_at": moved_at.isoformat(), "done": 50_000_000_000, "total": 200_000_000_000, "unit": "B"}
        row = {**duty("snapshot:offsite", ago(days=2)), "ended_at": None, "ok_at": None, "details": details}
        rows = (watch(), duty("backup:vps", ago(minutes=5)), duty("doctor", ago(hours=5)), row)
        return build_status(ROSTER, healthy(duty=rows), NOW).repositories[1]

    moving = far(ago(minutes=3))
    assert moving.upload is not None
    assert (moving.upload.percent, moving.upload.since) == (25, ago(days=2))
    assert far(ago(hours=3)).upload is None


def test_the_day_on_which_the_disk_will_be_full_is_told_and_warned_of() -> None:
    samples = [[ago(days=10 - day).isoformat(), (30 - day) * 10**9] for day in range(11)]
    space = {**duty("space", ago(hours=1)), "details": {"samples": samples}}
    rows = (watch(), duty("backup:vps", ago(minutes=5)), duty("doctor", ago(hours=5)), space)

    status = build_status(ROSTER, healthy(duty=rows), NOW)

    assert to_json(status)["disk_full_at"] == "2026-12-12T17:00:00Z"
    assert [finding.code for finding in status.findings] == ["staging-space"]


def test_a_secondary_is_shown_once_it_was_gathered_from_and_is_a_warning_at_most() -> None:
    roster = replace(ROSTER, secondaries=("example.org:secondary", "example.net:secondary"))
    away = {**run("failed"), "server": "example.org:secondary"}
    status = build_status(roster, healthy(backup_run=(run(), away), good_run=(run(),)), NOW)
    assert [(server.server, server.status, server.is_secondary) for server in status.servers] == [
        ("vps", "ok", False),
        ("example.org:secondary", "failed", True),
    ]
    (finding,) = [finding for finding in status.findings if finding.subject == "example.org:secondary"]
    assert (finding.severity, finding.mend) == (
        Severity.WARN,
        "failsafe homecoming example.org; failsafe doctor tries its logins",
    )
