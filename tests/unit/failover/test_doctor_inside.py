"""What the doctor says of the queue, the certificate and the canary, for each thing that can be wrong with them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from failsafe.failover.canary import Arrival, CanaryBook
from failsafe.failover.doctor_inside import InsideCheckup, Shown, judge_inside
from failsafe.failover.vitals import Certificate, Queue, Vitals
from failsafe.mail.canary import Canary
from failsafe.model import Finding, Severity
from tests.unit.failover.world import AWAY, MAIL, NOW, minutes

FAIL, WARN, OK, SKIPPED = Severity.FAIL, Severity.WARN, Severity.OK, Severity.SKIPPED
DAY = timedelta(days=1)


def sent(ago: float, number: str = "0123456789abcdef") -> Canary:
    return Canary("vps", number, NOW - minutes(ago))


ARRIVED = CanaryBook(newest=Arrival(sent(10), NOW - minutes(10) + timedelta(seconds=4)), tried_at=NOW - minutes(10), arrived=7)
WELL = Vitals((0.1, 0.1, 0.1), 2, queue=Queue({"deferred": (3, NOW - DAY)}))
GOOD = InsideCheckup(
    "vps",
    WELL,
    shown=Shown(f"{MAIL}:25", "verified", NOW + 60 * DAY),
    exchanges=frozenset({MAIL}),
    book=ARRIVED,
    third_party="smtp.other.example",
    secondaries=frozenset({AWAY}),
    mailbox_known=True,
)


def found(code: str, seen: InsideCheckup) -> Finding:
    """Of that code; the two others must be as they were."""
    findings = {finding.code: finding for finding in judge_inside(seen, NOW)}
    assert {finding.code for finding in findings.values() if finding.severity is not OK} <= {code}
    return findings[code]


def with_queue(**values: object) -> InsideCheckup:
    return replace(GOOD, vitals=replace(WELL, queue=Queue(**values)))  # type: ignore[arg-type]


@pytest.mark.parametrize("code", ["queue", "certificate", "canary"])
def test_a_good_server_is_green(code: str) -> None:
    assert found(code, GOOD).severity is OK


@pytest.mark.parametrize(
    ("seen", "severity", "says"),
    [
        (with_queue(queues={"active": (1, NOW - minutes(16))}), FAIL, "untried"),
        (with_queue(queues={"deferred": (4, NOW)}, own=4, reasons=(("connect to …: refused", 4),)), FAIL, "own delivery"),
        (with_queue(queues={"deferred": (1001, NOW)}), WARN, "1001 messages"),
        (replace(GOOD, vitals=replace(WELL, queue=None)), SKIPPED, "no Postfix"),
        (replace(GOOD, vitals=None, why="ssh to the server is not configured"), SKIPPED, "not configured"),
    ],
)
def test_a_queue_that_waits_is_told(seen: InsideCheckup, severity: Severity, says: str) -> None:
    finding = found("queue", seen)
    assert (finding.severity, says in finding.text) == (severity, True), finding.text


def shown(tls: str, days: float | None = None) -> InsideCheckup:
    return replace(GOOD, shown=Shown(f"{MAIL}:25", tls, None if days is None else NOW + days * DAY))


def with_file(seen: InsideCheckup, days: float, name: str = MAIL) -> InsideCheckup:
    certificate = Certificate("/etc/letsencrypt/live/x/fullchain.pem", NOW + days * DAY, (name,))
    return replace(seen, vitals=replace(WELL, certificates=(certificate,)))


@pytest.mark.parametrize(
    ("seen", "severity", "says"),
    [
        (shown("not offered"), FAIL, "no STARTTLS"),
        (shown("certificate has expired"), FAIL, "does not verify: certificate has expired"),
        (shown("Hostname mismatch"), FAIL, "Hostname mismatch"),
        (shown("verified", 13), WARN, "ends on"),
        (with_file(shown("verified", 13), 80), WARN, "a newer one lies on its disk"),
        (with_file(shown("verified", 13), 80, "imap.example.net"), WARN, "ends on"),
        (with_file(shown("not reached"), 13, "*.example.org"), WARN, "on its disk ends"),
        (with_file(shown("not reached"), -1), FAIL, "on its disk ended"),
        (shown("not reached"), SKIPPED, "not seen"),
        (replace(GOOD, shown=None, why_not_shown="no probe is configured"), SKIPPED, "no probe"),
    ],
)
def test_a_certificate_that_ends_or_does_not_fit_is_told(seen: InsideCheckup, severity: Severity, says: str) -> None:
    finding = found("certificate", seen)
    assert (finding.severity, says in finding.text) == (severity, True), finding.text


@pytest.mark.parametrize(
    ("changes", "severity", "says"),
    [
        ({"book": None}, SKIPPED, "no canary is configured"),
        ({"mailbox_known": False}, FAIL, "mailbox is not known"),
        ({"third_party": "smtp.away.example"}, WARN, "belongs to a secondary"),
        ({"book": replace(ARRIVED, refused="the login is refused")}, WARN, "could not be sent"),
        ({"book": replace(ARRIVED, newest=Arrival(sent(70), NOW - minutes(70)), sent=(sent(40),))}, FAIL, "never arrived"),
        ({"book": CanaryBook(sent=(sent(40),))}, FAIL, "none has ever arrived"),
        ({"book": CanaryBook()}, WARN, "no canary was sent yet"),
        ({"book": replace(ARRIVED, newest=Arrival(sent(61), NOW - minutes(61)))}, WARN, "lately"),
    ],
)
def test_a_canary_that_proves_nothing_is_told(changes: dict[str, object], severity: Severity, says: str) -> None:
    finding = found("canary", replace(GOOD, **changes))  # type: ignore[arg-type]
    assert (finding.severity, says in finding.text) == (severity, True), finding.text
