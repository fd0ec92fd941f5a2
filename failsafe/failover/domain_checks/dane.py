"""Judges TLSA records of the exchanges against the certificates that they show (RFC 7672). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from failsafe.failover.domain_checks.dnssec import NOT_ASKED, Signed, Signing
from failsafe.mail.tlsa import TO_SERVER, ShownCertificate, Tlsa, fitting, parse_tlsa, record_for
from failsafe.model import Finding, Severity, Side

CODES = {"dane": (False, "TLSA records of the exchanges, where there are any, fit the certificates that they show")}


@dataclass(frozen=True, slots=True)
class ExchangeTlsa:
    """`records` in presentation format; an error says why the fact before it is not known."""

    exchange: str
    side: Side
    records: tuple[str, ...] = ()
    error: str = ""
    signed: Signed = NOT_ASKED
    shown: ShownCertificate | None = None
    shown_error: str = ""


def judge_dane(name: str, seen: Sequence[ExchangeTlsa]) -> Finding:
    judged = [_judge(each) for each in seen]
    for severity in (Severity.FAIL, Severity.WARN, Severity.SKIPPED):
        found = [(text, mend) for each, text, mend in judged if each is severity]
        if found:
            return Finding(
                "dane", severity, name, "; ".join(text for text, _ in found), next((mend for _, mend in found if mend), "")
            )
    texts = [text for _, text, _ in judged if text]
    return Finding("dane", Severity.OK, name, "; ".join(texts) or "no exchange has TLSA records: nothing to keep in step")


def _judge(seen: ExchangeTlsa) -> tuple[Severity, str, str]:
    """(severity, text, mend)"""
    place = f"_25._tcp.{seen.exchange}"
    if seen.error:
        return Severity.SKIPPED, f"{place}: {seen.error}", ""
    if not seen.records:
        return Severity.OK, "", ""
    if seen.signed.signing is Signing.BOGUS:
        return Severity.FAIL, f"{place}: {seen.signed.text}: senders that heed DANE keep their mail back", _signing_mend(seen)
    if seen.signed.signing is Signing.UNSIGNED:
        text = f"{place} has TLSA records, but its zone is not signed: senders do not heed them"
        return Severity.WARN, text, f"sign the zone of {seen.exchange} (DNSSEC), or take the TLSA records away"
    try:
        records = [parse_tlsa(text) for text in seen.records]
    except ValueError:
        return Severity.WARN, f"{place} has TLSA records that cannot be read: {seen.records[0][:80]}", _mend(seen)
    if not any(record.is_of_use for record in records):
        text = f"{place} has only TLSA records that mail does not use (usage 0 or 1): {records[0]}"
        return Severity.WARN, text, _mend(seen)
    if seen.shown is None:
        return (
            Severity.SKIPPED,
            f"the certificate of {seen.exchange} could not be compared with its TLSA records: {seen.shown_error}",
            "",
        )
    return _compare(seen, place, records, seen.shown)


def _compare(seen: ExchangeTlsa, place: str, records: Sequence[Tlsa], shown: ShownCertificate) -> tuple[Severity, str, str]:
    if fitting(records, shown):
        return Severity.OK, f"{place} fits the certificate that {seen.exchange} shows", ""
    if any(record.is_of_use and record.usage != TO_SERVER for record in records):
        return Severity.SKIPPED, f"{place} names an authority (usage 2): whether it fits is not checked", ""
    text = f"{place} does not fit the certificate that {seen.exchange} shows: senders that heed DANE keep their mail back"
    return Severity.FAIL, text, _mend(seen)


def _mend(seen: ExchangeTlsa) -> str:
    if seen.side is Side.SECONDARY:
        return f"this record is the secondary's own: tell the provider of {seen.exchange}, and do not rely on it meanwhile"
    fresh = "3 1 1 …" if seen.shown is None else str(record_for(seen.shown))
    return f"publish: _25._tcp.{seen.exchange}. IN TLSA {fresh} (and take those away that do not fit)"


def _signing_mend(seen: ExchangeTlsa) -> str:
    return f"mend the signatures of the zone that holds {seen.exchange}, or take its DS record away at the registrar"
