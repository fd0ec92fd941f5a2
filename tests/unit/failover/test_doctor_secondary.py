"""The doctor of a secondary: whose domain it is, who is known there, how mail comes home."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from failsafe.failover.doctor_secondary import HomecomingLogin, RecipientsAsked, SecondaryCheckup, judge_secondary
from failsafe.model import Finding, ProbeClass, Severity
from failsafe.secondaries.known import known_providers

NOW = datetime(2026, 11, 22, 17, 0, tzinfo=UTC)
BY_KEY = {each.key: each for each in known_providers()}
WELL = SecondaryCheckup(
    provider=BY_KEY["proton"],
    texts=("v=spf1 -all", "protonmail-verification=1234"),
    logins=(HomecomingLogin("anna", ProbeClass.UP, "logged in", (100 << 10, 1000 << 10)),),
    recipients=RecipientsAsked(NOW, "mail.protonmail.ch", 3),
)


def found(code: str, seen: SecondaryCheckup = WELL, **changed: object) -> Finding:
    findings = judge_secondary("example.org", replace(seen, **changed))  # type: ignore[arg-type]
    return next(finding for finding in findings if finding.code == code)


def test_a_secondary_that_is_ready_has_only_good_findings() -> None:
    assert {finding.severity for finding in judge_secondary("example.org", WELL)} == {Severity.OK}


def test_a_verification_record_that_is_gone_blocks_and_the_whole_record_is_told() -> None:
    gone = found("secondary-verified", texts=("v=spf1 -all",))
    assert (gone.severity, gone.blocks_failover) == (Severity.FAIL, True)
    assert 'example.org. TXT "protonmail-verification=' in gone.mend


@pytest.mark.parametrize(
    ("changed", "severity"),
    [
        ({"texts": None, "texts_error": "timed out"}, Severity.SKIPPED),
        ({"provider": None}, Severity.SKIPPED),
        ({"provider": BY_KEY["mailbox-org"], "texts": ()}, Severity.SKIPPED),
        ({"provider": BY_KEY["fastmail"], "texts": ()}, Severity.OK),
    ],
    ids=["not looked up", "no known provider", "its record is not known", "no record is asked for"],
)
def test_what_is_not_known_of_the_record_blocks_nothing(changed: dict[str, object], severity: Severity) -> None:
    assert found("secondary-verified", **changed).severity is severity


def test_a_login_that_is_refused_or_not_answered_means_that_mail_stays_there() -> None:
    for seen, text in ((ProbeClass.UNKNOWN, "login refused: NO"), (ProbeClass.DOWN, "connection refused")):
        bad = found("secondary-imap", logins=(*WELL.logins, HomecomingLogin("bob", seen, text)))
        assert bad.severity is Severity.FAIL
        assert "bob" in bad.text
        assert "homecoming" in bad.mend
        assert not bad.blocks_failover


def test_little_room_at_the_secondary_is_told_before_mail_bounces_there() -> None:
    full = found("secondary-imap", logins=(HomecomingLogin("anna", ProbeClass.UP, "logged in", (950 << 10, 1000 << 10)),))
    assert full.severity is Severity.WARN
    assert "950 of 1000 MiB" in full.text


def test_without_a_homecoming_the_doctor_says_that_mail_stays_there() -> None:
    none = found("secondary-imap", has_homecoming=False, logins=(), provider=BY_KEY["cloudflare-email-routing"])
    assert none.severity is Severity.SKIPPED
    assert "keeps nothing" in none.text
    assert found("secondary-imap", logins=()).severity is Severity.SKIPPED


def test_a_recipient_that_the_secondary_refuses_is_named_with_what_was_said() -> None:
    asked = RecipientsAsked(NOW, "mx.example.net", 2, (("info@example.org", "550 5.1.1 unknown"),), ("later@example.org",))
    bad = found("secondary-recipients", recipients=asked)
    assert bad.severity is Severity.FAIL
    assert "info@example.org (550 5.1.1 unknown)" in bad.text
    assert not bad.blocks_failover


@pytest.mark.parametrize(
    "changed",
    [
        {"recipients": None, "recipients_error": "there is no backup yet"},
        {"recipients": RecipientsAsked(NOW, "mx.example.net", error="port 25 is blocked")},
        {"recipients": RecipientsAsked(NOW, "mx.example.net", 2, undecided=("a@example.org",))},
    ],
    ids=["nobody is known", "nobody could be asked", "not all are decided"],
)
def test_recipients_that_are_not_decided_are_not_called_refused(changed: dict[str, object]) -> None:
    unknown = found("secondary-recipients", **changed)
    assert unknown.severity is Severity.SKIPPED


def test_aliases_that_cannot_be_asked_are_named() -> None:
    assert "@example.org" in found("secondary-recipients", unaskable=("@example.org",)).text
