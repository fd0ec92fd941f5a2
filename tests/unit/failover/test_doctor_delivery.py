"""What the doctor says of whether lost mail could be proved: one witness is not the quorum, and the second needs the mail log."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from failsafe.failover.doctor_delivery import ENOUGH, judge_delivery, log_names_canaries
from failsafe.failover.doctor_inside import InsideCheckup
from failsafe.failover.vitals import MailLog
from failsafe.model import Severity
from tests.unit.failover.test_doctor_inside import GOOD, WELL
from tests.unit.failover.world import NOW, minutes

WARN, OK, SKIPPED = Severity.WARN, Severity.OK, Severity.SKIPPED
LOGGED = replace(WELL, log=MailLog("/var/log/mail.log:1:2"))
PROVABLE = replace(GOOD, vitals=LOGGED, quorums=(2,))


@pytest.mark.parametrize(
    ("seen", "severity", "says"),
    [
        (PROVABLE, OK, "can be read"),
        (replace(PROVABLE, log_names=True), OK, "names the canaries"),
        (replace(PROVABLE, log_names=False), WARN, "names none"),
        (replace(PROVABLE, vitals=replace(LOGGED, log=None)), WARN, "mail log cannot be read"),
        (replace(PROVABLE, vitals=replace(LOGGED, queue=None)), WARN, "queue cannot be asked"),
        (replace(PROVABLE, vitals=None, why="the host key has changed"), WARN, "the host key has changed"),
        (replace(PROVABLE, vitals=None, by_ssh=False, why="ssh is not configured"), WARN, "ssh is not configured"),
        (replace(PROVABLE, vitals=None, quorums=(1,)), OK, "the canary alone"),
        (replace(PROVABLE, vitals=None, quorums=(1, 2)), WARN, "quorum 2"),
        (replace(PROVABLE, quorums=(3,)), SKIPPED, "quorum of 3"),
        (replace(PROVABLE, quorums=()), SKIPPED, "no domain"),
        (replace(PROVABLE, book=None), SKIPPED, "no canary"),
    ],
)
def test_what_keeps_lost_mail_from_being_proved_is_told_in_peace(seen: InsideCheckup, severity: Severity, says: str) -> None:
    finding = judge_delivery(seen)
    assert (finding.severity, says in finding.text) == (severity, True), finding.text
    assert finding.code == "lost-delivery"
    assert bool(finding.mend) == (severity is WARN)
    assert not finding.blocks_failover


def every(step: float, count: int) -> list[datetime]:
    """The last `count` times, `step` minutes apart."""
    return [NOW - minutes(step * number) for number in range(count)]


def test_a_log_that_tells_of_one_canary_names_them() -> None:
    looks: list[tuple[datetime, int | None]] = [(at, 0) for at in every(5, 12)]
    looks[3] = (looks[3][0], 1)
    assert log_names_canaries(every(15, 4), looks) is True


def test_a_log_that_tells_of_none_of_several_canaries_names_none() -> None:
    looks = [(at, 0) for at in every(5, 30)]
    assert log_names_canaries(every(15, ENOUGH + 1), looks) is False


@pytest.mark.parametrize(
    ("arrived", "looks"),
    [
        (every(15, ENOUGH), [(at, 0) for at in every(5, 30)]),  # the first may have been taken before the first look
        (every(15, 9), [(at, None) for at in every(5, 30)]),  # it could not be read
        (every(15, 9), [(NOW, 0)]),  # the first look tells of nothing
        ([at + timedelta(hours=5) for at in every(15, 9)], [(at, 0) for at in every(5, 30)]),  # not in that time
        ([], []),
    ],
)
def test_of_a_log_that_had_little_to_tell_nothing_is_claimed(
    arrived: list[datetime], looks: list[tuple[datetime, int | None]]
) -> None:
    assert log_names_canaries(arrived, looks) is None
