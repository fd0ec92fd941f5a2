"""Judges what a failover needs of the secondary besides its exchanges: proof of whose domain it is, recipients, the way mail comes home. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from failsafe.model import Finding, ProbeClass, Severity
from failsafe.secondaries.provider import SecondaryProvider

FAIL, WARN, OK, SKIPPED = Severity.FAIL, Severity.WARN, Severity.OK, Severity.SKIPPED
NAMED = 5  # addresses named in a sentence
NEARLY_FULL = 0.9  # of a quota

CODES: dict[str, tuple[bool, str]] = {
    "secondary-verified": (True, "the record that shows the secondary whose domain it is is still published"),
    "secondary-imap": (False, "the homecoming's logins are let in at the secondary, and there is room"),
    "secondary-recipients": (False, "the secondary takes mail for every mailbox and alias of the last backup"),
}


@dataclass(frozen=True, slots=True)
class HomecomingLogin:
    """One login at the homecoming's place. `seen` None: it was not tried, `text` says why. Quota in KiB, (used, limit), where it is told."""

    user: str
    seen: ProbeClass | None
    text: str
    quota: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class RecipientsAsked:
    """What the secondary said to RCPT for each address, at `at`. `undecided`: put off, or not asked after too many refusals."""

    at: datetime
    exchange: str
    accepted: int = 0
    refused: tuple[tuple[str, str], ...] = ()  # address, what was said
    undecided: tuple[str, ...] = ()
    error: str = ""  # why nobody could be asked
    vantage: str = "here"  # where it was asked from


@dataclass(frozen=True, slots=True)
class SecondaryCheckup:
    """What was gathered. `texts` None: the TXT records could not be looked up, `texts_error` says why. `unaskable`: aliases that are no address."""

    provider: SecondaryProvider | None = None
    texts: tuple[str, ...] | None = ()
    texts_error: str = ""
    has_homecoming: bool = True
    logins: tuple[HomecomingLogin, ...] = field(default_factory=tuple)
    recipients: RecipientsAsked | None = None
    recipients_error: str = ""  # why it was not tried
    unaskable: tuple[str, ...] = ()


def judge_secondary(name: str, seen: SecondaryCheckup) -> tuple[Finding, ...]:
    return _judge_verified(name, seen), _judge_imap(name, seen), _judge_recipients(name, seen)


def _judge_verified(name: str, seen: SecondaryCheckup) -> Finding:
    provider = seen.provider
    if provider is None:
        text = "the secondary is no provider that failsafe knows: what it asks for as a proof, if anything, is not known here"
        return Finding("secondary-verified", SKIPPED, name, text, "", blocks_failover=True)
    wanted = provider.verification.value
    if wanted is None:
        note = provider.verification.note or "what it asks for is not known"
        return Finding("secondary-verified", SKIPPED, name, f"{provider.name}: {note}", "", blocks_failover=True)
    if not wanted.is_needed:
        text = f"{provider.name} asks for no record that shows whose domain it is"
        return Finding("secondary-verified", OK, name, text, blocks_failover=True)
    place = wanted.place(name)
    if seen.texts is None:
        text = f"the TXT records of {place} could not be looked up: {seen.texts_error}"
        return Finding("secondary-verified", SKIPPED, name, text, "", blocks_failover=True)
    if not any(text.startswith(wanted.prefix) for text in seen.texts):
        gone = "; without it the domain is given up there" if provider.verification_for_ever.value else ""
        text = f'{place} has no TXT record that begins with "{wanted.prefix}", by which {provider.name} knows whose domain it is{gone}'
        mend = f'publish it again and leave it there: {place}. TXT "{wanted.prefix}…", with the code that {provider.name} shows for the domain'
        return Finding("secondary-verified", FAIL, name, text, mend, blocks_failover=True)
    return Finding("secondary-verified", OK, name, f"{provider.name}'s record is published at {place}", blocks_failover=True)


def _judge_imap(name: str, seen: SecondaryCheckup) -> Finding:
    if not seen.has_homecoming:
        kept = (
            ""
            if seen.provider is None or not seen.provider.is_forwarder
            else f" ({seen.provider.name} forwards it, and keeps nothing)"
        )
        text = f"no homecoming is configured: mail that lands at the secondary stays there until a person fetches it{kept}"
        return Finding("secondary-imap", SKIPPED, name, text, f'add [domain."{name}".homecoming]')
    mend = f'check host, port, user and password_file in [domain."{name}".homecoming], and certificate_sha256 where a fingerprint is told; the login is tried again when the file changes, or after eight days'
    bad = [login for login in seen.logins if login.seen is not None and login.seen is not ProbeClass.UP]
    if bad:
        told = "; ".join(f"{login.user}: {login.text}" for login in bad[:NAMED])
        return Finding("secondary-imap", FAIL, name, f"mail that lands at the secondary could not be fetched: {told}", mend)
    full = [login for login in seen.logins if login.quota is not None and login.quota[0] > login.quota[1] * NEARLY_FULL]
    if full:
        told = "; ".join(
            f"{login.user} has used {login.quota[0] >> 10} of {login.quota[1] >> 10} MiB" for login in full if login.quota
        )
        return Finding(
            "secondary-imap",
            WARN,
            name,
            f"there is little room at the secondary: {told}",
            "make room there, or take a larger plan",
        )
    good = [login for login in seen.logins if login.seen is ProbeClass.UP]
    if not good:
        told = "; ".join(f"{login.user}: {login.text}" for login in seen.logins[:NAMED]) or "no login is configured"
        return Finding("secondary-imap", SKIPPED, name, f"no login was tried: {told}", mend)
    return Finding("secondary-imap", OK, name, f"{len(good)} login(s) of the homecoming are let in at the secondary")


def _judge_recipients(name: str, seen: SecondaryCheckup) -> Finding:
    asked = seen.recipients
    left = (
        f"; {len(seen.unaskable)} alias(es) are no address and cannot be asked ({_named(seen.unaskable)})"
        if seen.unaskable
        else ""
    )
    if asked is None or asked.error:
        why = seen.recipients_error if asked is None else f"{asked.exchange}: {asked.error}"
        mend = (
            ""
            if asked is None
            else "where port 25 is blocked on this line, or this address is on a block list: it is asked from every [vantage.NAME] of kind ssh too"
        )
        return Finding("secondary-recipients", SKIPPED, name, f"which recipients the secondary takes is not known: {why}", mend)
    place = "" if asked.vantage == "here" else f", from {asked.vantage},"
    when = f"{asked.exchange} was asked on {asked.at:%Y-%m-%d}{place}"
    if asked.refused:
        told = _named(tuple(address for address, _ in asked.refused))
        more = f"; {len(asked.undecided)} more are not decided" if asked.undecided else ""
        text = f"{when} and refuses {len(asked.refused)} recipient(s) that exist here: {told} ({asked.refused[0][1]}){more}: their mail would bounce"
        return Finding(
            "secondary-recipients",
            FAIL,
            name,
            text,
            "add them at the secondary, or a catch-all, then run the doctor again tomorrow",
        )
    if asked.undecided:
        text = f"{when}: {asked.accepted} recipient(s) are taken, {len(asked.undecided)} are not decided ({_named(asked.undecided)}){left}"
        return Finding("secondary-recipients", SKIPPED, name, text, "they are asked again tomorrow")
    return Finding("secondary-recipients", OK, name, f"{when} and takes all {asked.accepted} recipient(s){left}")


def _named(addresses: tuple[str, ...]) -> str:
    return ", ".join(addresses[:NAMED]) + (f" and {len(addresses) - NAMED} more" if len(addresses) > NAMED else "")
