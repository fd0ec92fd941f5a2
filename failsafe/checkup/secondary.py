"""Gathers what the doctor judges of a domain's secondary. Judges nothing itself, and asks no more than is polite: who refused us is left alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from failsafe.app import App
from failsafe.config.schema import Account, CatchAll, Domain, Homecoming
from failsafe.dns_ports import Lookups
from failsafe.errors import ArchiveError, SecretError
from failsafe.failover.doctor_secondary import HomecomingLogin, RecipientsAsked, SecondaryCheckup
from failsafe.failover.rounds import LOGIN_REFUSED, REFUSED_PROBER_PAUSE
from failsafe.mail.recipients import recipients_of
from failsafe.model import ProbeClass
from failsafe.secondaries.known import provider_of
from failsafe.secondaries.provider import SecondaryProvider

ASK_AGAIN = timedelta(hours=20)  # recipients are asked at most daily
LOGIN_AGAIN = timedelta(days=1)  # a refused login waits so long, unless its password file changed
MOST_LOGINS = 20  # in one run
REFUSING = (ProbeClass.PROBE_BLOCKED, ProbeClass.BANNED)


def look_at_secondary(app: App, domain: str, lookups: Lookups, now: datetime) -> SecondaryCheckup:
    """Raises StoreError."""
    table = app.domain(domain)
    provider = provider_of(table.secondary)
    texts, texts_error = _texts(provider, domain, lookups)
    addresses, unaskable, unknown = _recipients(app, domain, table)
    asked = None if unknown else _ask(app, domain, table, addresses, now)
    return SecondaryCheckup(
        provider=provider,
        texts=texts,
        texts_error=texts_error,
        has_homecoming=table.homecoming is not None,
        logins=() if table.homecoming is None else _logins(app, domain, table.homecoming, now),
        recipients=asked,
        recipients_error=unknown,
        unaskable=unaskable,
    )


def _texts(provider: SecondaryProvider | None, domain: str, lookups: Lookups) -> tuple[tuple[str, ...] | None, str]:
    wanted = None if provider is None else provider.verification.value
    if wanted is None or not wanted.is_needed:
        return (), ""
    found = lookups.ask(wanted.place(domain), "TXT")
    return (None, found.error) if found.unknown else (found.records, "")


# -- an exchange that refuses this machine ---------------------------------------------------------------------------------


def refused_until(known: Mapping[str, Any], exchange: str, now: datetime) -> datetime | None:
    """Until when an exchange that refused this machine itself is left alone. `known`: the duties' rows."""
    row = known.get(f"exchange:{exchange}")
    if row is None or row.ended_at is None or row.details.get("seen") not in REFUSING:
        return None
    until: datetime = row.ended_at + REFUSED_PROBER_PAUSE
    return until if now < until and row.ended_at <= now else None


def note_exchange(app: App, exchange: str, seen: ProbeClass, now: datetime) -> None:
    """Remembers a refusal, and that it is over. Raises StoreError."""
    known = app.duties.all().get(f"exchange:{exchange}")
    if seen in REFUSING or (known is not None and known.details.get("seen") in REFUSING):
        app.duties.ended(f"exchange:{exchange}", now, ok=seen not in REFUSING, result=str(seen), details={"seen": str(seen)})


# -- recipients --------------------------------------------------------------------------------------------------------


def _recipients(app: App, domain: str, table: Domain) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """(addresses, aliases that are none, why they are not known), of the last snapshot."""
    from failsafe.backup.accounts import read_accounts
    from failsafe.backup.archive.reader import Archive

    archive = Archive(app.staging_folder(table.server))
    try:
        generation = archive.generation()
        accounts = read_accounts(archive, generation)
    except ArchiveError:
        return (), (), "there is no backup yet that says which there are"
    addresses, unaskable = recipients_of(domain, generation.mailboxes, accounts)
    return addresses, unaskable, "" if addresses else f"the last backup has nobody at {domain}"


def _ask(app: App, domain: str, table: Domain, addresses: tuple[str, ...], now: datetime) -> RecipientsAsked | None:
    """In one session with the first exchange that answers, at most daily; else what it said last."""
    known = app.duties.all()
    duty = f"recipients:{domain}"
    last = known.get(duty)
    if last is not None and last.ended_at is not None and last.details.get("secondary") == list(table.secondary):
        refused = last.details.get("seen") in REFUSING
        if timedelta(0) <= now - last.ended_at < (REFUSED_PROBER_PAUSE if refused else ASK_AGAIN):
            return _remembered(last.details, last.ended_at)
    if any(refused_until(known, exchange, now) for exchange in table.secondary):
        return RecipientsAsked(now, table.secondary[0], error="it refuses this machine, and is left alone for some days")
    from failsafe.adapters.recipients import RecipientsSight, ask_recipients

    probe = app.config.probe.get(table.server)
    helo = None if probe is None else probe.helo
    sight, exchange = RecipientsSight(), table.secondary[0]
    for exchange in table.secondary:
        sight = ask_recipients(exchange, addresses, helo)
        if sight.accepted or sight.refused or sight.seen in REFUSING:
            break
    asked = RecipientsAsked(
        now, exchange, len(sight.accepted), tuple(sight.refused), tuple(sight.undecided), _why_not(sight.error, sight)
    )
    details = {**asdict(asked), "at": now.isoformat(), "secondary": list(table.secondary), "seen": str(sight.seen)}
    if not asked.error or sight.seen in REFUSING:  # who could not be reached may be tried again in the next run
        app.duties.ended(duty, now, ok=not asked.error, result=str(sight.seen), details=details)
    return asked


def _why_not(error: str, sight: Any) -> str:
    return "" if sight.accepted or sight.refused else error or "it decided nothing"


def _remembered(details: Mapping[str, Any], at: datetime) -> RecipientsAsked:
    refused = tuple((str(address), str(said)) for address, said in details["refused"])
    return RecipientsAsked(
        at, details["exchange"], details["accepted"], refused, tuple(details["undecided"]), str(details.get("error", ""))
    )


# -- the way home ------------------------------------------------------------------------------------------------------


def _logins(app: App, domain: str, home: Homecoming, now: datetime) -> tuple[HomecomingLogin, ...]:
    from failsafe.adapters.imap_room import RoomSight, look_at_room

    duty = f"homecoming-login:{domain}"
    row = app.duties.all().get(duty)
    before: dict[str, list[str]] = {} if row is None else dict(row.details.get("refused", {}))
    refused, found = dict[str, list[str]](), list[HomecomingLogin]()
    logins: list[Account | CatchAll] = [*home.accounts, *([home.catch_all] if home.catch_all is not None else [])]
    for login in logins[:MOST_LOGINS]:
        mark = _mark(login.password_file)
        at, known = before.get(login.user, ("", ""))
        if at and known == mark and timedelta(0) <= now - datetime.fromisoformat(at) < LOGIN_AGAIN:
            sight = RoomSight(ProbeClass.UNKNOWN, f"{LOGIN_REFUSED} on {at[:10]}, and not tried again since")
            refused[login.user] = [at, known]
        else:
            sight = look_at_room(home.endpoint(), login.user, login.password_file)
            if sight.text.startswith(LOGIN_REFUSED):
                refused[login.user] = [now.isoformat(), mark]
        found.append(HomecomingLogin(login.user, sight.seen, sight.text, sight.quota))
    if refused or before:
        app.duties.ended(duty, now, ok=not refused, details={"refused": refused})
    return tuple(found)


def _mark(password_file: Any) -> str:
    """Changes when the file does; says nothing of what is in it."""
    from failsafe.secrets import secret_path

    try:
        status = secret_path(password_file).stat()
    except (OSError, SecretError):
        return ""
    return f"{status.st_ino}/{status.st_mtime_ns}/{status.st_size}"
