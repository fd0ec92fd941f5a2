"""Judges whether the domain's MX records are believed by resolvers that validate. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from failsafe.model import Finding, Severity

CODES = {"dnssec": (False, "where the zone is signed, its MX records validate up to the registry's DS record")}


class Signing(StrEnum):
    UNSIGNED = "unsigned"
    SECURE = "secure"
    BOGUS = "bogus"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Signed:
    signing: Signing
    text: str


NOT_ASKED = Signed(Signing.UNKNOWN, "not asked")


def judge_dnssec(name: str, zone: str, seen: Signed) -> Finding:
    if seen.signing is Signing.UNKNOWN:
        return Finding("dnssec", Severity.SKIPPED, name, seen.text)
    if seen.signing is Signing.BOGUS:
        text = f"{seen.text}: resolvers that validate get no answer, and mail through them waits or bounces"
        mend = (
            f"let the DNS provider sign {zone} anew, and put the DS record that it shows to the registrar; "
            "until that works, have the registrar take the DS record away: an unsigned zone is better than a broken one"
        )
        return Finding("dnssec", Severity.FAIL, name, text, mend)
    if seen.signing is Signing.UNSIGNED:
        return Finding("dnssec", Severity.OK, name, f"{zone} is not signed ({seen.text}), so nothing of it can break")
    return Finding("dnssec", Severity.OK, name, f"the MX records are {seen.text}")
