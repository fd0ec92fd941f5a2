"""The daily digest: when it is due, also across restarts, days without power and the change of clocks; and what it says."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from failsafe.failover.health import EvidenceRun
from failsafe.model import Axis, Evidence, ProbeClass, Severity
from failsafe.render import BODY_LENGTH, render_notice
from failsafe.status.build import build_status
from failsafe.status.digest import DigestFacts, ServerDay, digest_due, make_digest
from tests.unit.status.world import NOW, ROSTER, ago, healthy, run, state, watch

AT = time(7, 30)
WARSAW = ZoneInfo("Europe/Warsaw")  # one hour ahead of UTC in November, two in summer


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "made", "begun", "due"),
    [
        ("2026-11-22T06:29", "2026-11-21T06:30", None, False),
        ("2026-11-22T06:30", "2026-11-21T06:30", None, True),
        ("2026-11-22T18:00", "2026-11-22T06:31", None, False),  # made already, whoever began anew since
        ("2026-11-25T03:00", "2026-11-21T06:30", None, True),  # after days without power: one
        ("2026-11-22T18:00", None, "2026-11-22T10:00", False),  # set up today: nothing to say yet
        ("2026-11-23T06:30", None, "2026-11-22T10:00", True),
        ("2026-11-22T18:00", None, None, False),
        ("2026-11-22T18:00", "2026-11-29T06:30", None, False),  # the clock went back
        ("2026-07-22T05:30", "2026-07-21T05:30", None, True),
    ],
)
def test_it_is_due_once_for_each_morning(now: str, made: str | None, begun: str | None, due: bool) -> None:
    assert digest_due(AT, at(now), WARSAW, None if made is None else at(made), None if begun is None else at(begun)) is due


def seen(axis: Axis, kind: ProbeClass, first: float, last: float, count: int) -> EvidenceRun:
    """Hours ago."""
    evidence = Evidence("vps", "here", axis, kind, ago(hours=last), "")
    return EvidenceRun(evidence, ago(hours=first), ago(hours=last), count)


INSIDE = {
    "load": [0.1, 0.2, 0.3],
    "processors": 2,
    "rooms": [["/srv/mail", 1000, 420, 10, 5], ["/var", 1000, 900, 10, 5]],
    "queue": {"queues": {"deferred": [3, ago(hours=2).isoformat()]}, "own": 0, "reasons": []},
    "services": ["postfix"],
    "certificates": [["/etc/c.pem", (NOW + timedelta(days=57, hours=1)).isoformat()]],
    "log": {"position": "", "kinds": {"postfix/smtpd warning: hostname … does not resolve": 9}, "rest": 1, "flow": {"sent": 40}},
}
CANARY = {"seconds": 4.0, "place": "", "new": True, "awaited": 0, "overdue": 0, "lost": 0, "arrived": 1}
DAY = ServerDay(
    "vps",
    (
        seen(Axis.INBOUND, ProbeClass.UP, 48, 4, 2640),  # of 44 hours, 20 lie in the day
        seen(Axis.INBOUND, ProbeClass.DOWN, 4, 3, 60),
        seen(Axis.INBOUND, ProbeClass.UP, 3, 0, 180),
    ),
    (INSIDE, INSIDE),
    (CANARY, {**CANARY, "seconds": 30.0}, {**CANARY, "new": False, "lost": 2}),
)


def facts(**changed: object) -> DigestFacts:
    values: dict[str, object] = {
        "since": ago(days=1),
        "now": NOW,
        "status": build_status(ROSTER, healthy(), NOW),
        "servers": (DAY,),
    }
    return DigestFacts(**{**values, **changed})  # type: ignore[arg-type]


def test_a_quiet_day_is_told_as_well() -> None:
    notice = make_digest(facts(), WARSAW)

    assert (notice.severity, notice.losing_mail, notice.must_do) == (Severity.OK, "no", "nothing")
    assert notice.subject == "the day: all is well"
    lines = notice.details.splitlines()
    assert "backup of vps: ok, complete 5 min ago, 1200 messages" in lines
    assert any(line.startswith("repository nas: ok, snapshot 5 min ago, checked 5 min ago") for line in lines)
    assert "flips: none" in lines
    assert "probes of vps: inbound from here 1380 of 1440 up (60 down)" in lines
    assert (
        "inside vps: 42% of its room is free at /srv/mail; 3 in the queue, the oldest for 2 h; certificate /etc/c.pem lasts 57 days; load 0.2"
        in lines
    )
    assert "mail log of vps: 80 sent; 20 line(s) of warnings and errors" in lines
    assert "  18 x postfix/smtpd warning: hostname … does not resolve" in lines
    assert "canaries of vps: 2 arrived, most in 17 s, the slowest in 30 s; 2 lost" in lines


def test_faults_come_first_with_their_mend() -> None:
    status = build_status(ROSTER, healthy(backup_run=(run("failed"),)), NOW)
    notice = make_digest(facts(status=status), WARSAW)

    assert notice.severity is Severity.FAIL
    assert notice.must_do == "failsafe backup vps"
    assert notice.details.splitlines()[0].startswith("! vps: the last backup failed")


def test_flips_of_the_day_are_told() -> None:
    happened = ((ago(hours=3), "failover.done", "example.org", "failover done: x"), (ago(hours=2), "backup.done", "vps", "y"))
    lines = make_digest(facts(happened=happened), WARSAW).details.splitlines()

    assert lines[lines.index("flips:") + 1] == "  2026-11-22 15:00 +01:00 example.org: failover done: x"
    assert "flips: none" not in lines


def test_mail_that_does_not_arrive_is_told_in_the_first_line() -> None:
    health = {"inbound": "up", "delivery": "down", "access": "up", "submission": "up", "host": "up"}
    status = build_status(ROSTER, healthy(duty=(watch(health=health),), domain_state=(state("normal"),)), NOW)

    assert make_digest(facts(status=status), WARSAW).losing_mail == "perhaps: look at example.org"


def test_a_long_day_stays_within_what_a_chat_service_takes() -> None:
    kinds = {f"postfix/smtpd warning: {'x' * 200} {number}": number for number in range(40)}
    loud = {**INSIDE, "log": {**INSIDE["log"], "kinds": kinds}}  # type: ignore[dict-item]
    servers = tuple(ServerDay(f"vps{number}", DAY.runs, (loud,), DAY.canaries) for number in range(3))
    notice = make_digest(facts(servers=servers), WARSAW)

    assert max(len(line) for line in notice.details.splitlines()) < 200
    assert len(render_notice(notice, "nas", WARSAW)[1]) <= BODY_LENGTH
