"""Gathers what the doctor judges of a domain's secondary. Judges nothing itself."""

from __future__ import annotations

from datetime import datetime

from failsafe.app import App
from failsafe.checkup.recipients import Recipients, ask_secondary, recipients_here
from failsafe.config.homecomings import Account, CatchAll, Homecoming
from failsafe.config.secondaries import secondary_of
from failsafe.dns_ports import Lookups
from failsafe.failover.doctor_secondary import HomecomingLogin, SecondaryCheckup
from failsafe.model import ProbeClass
from failsafe.secondaries.known import provider_of
from failsafe.secondaries.provider import SecondaryProvider

MOST_LOGINS = 20  # in one run


def look_at_secondary(app: App, domain: str, lookups: Lookups, now: datetime, *, refuses: bool = False) -> SecondaryCheckup:
    """`refuses`: it has just refused the recipient that it was tried with, so the others are not risked too. Raises StoreError."""
    table = app.domain(domain)
    provider = provider_of(table.secondary)
    texts, texts_error = _texts(provider, domain, lookups)
    wanted = Recipients(unknown="it refuses mail for the domain already") if refuses else recipients_here(app, domain)
    asked = None if wanted.unknown else ask_secondary(app, domain, wanted, now)
    return SecondaryCheckup(
        provider=provider,
        texts=texts,
        texts_error=texts_error,
        has_homecoming=table.homecoming is not None,
        logins=() if table.homecoming is None else _logins(app, domain, table.homecoming, now),
        recipients=asked,
        recipients_error=wanted.unknown,
        unaskable=wanted.unaskable,
    )


def _texts(provider: SecondaryProvider | None, domain: str, lookups: Lookups) -> tuple[tuple[str, ...] | None, str]:
    wanted = None if provider is None else provider.verification.value
    if wanted is None or not wanted.is_needed:
        return (), ""
    found = lookups.ask(wanted.place(domain), "TXT")
    return (None, found.error) if found.unknown else (found.records, "")


# -- the way home ------------------------------------------------------------------------------------------------------


def _logins(app: App, domain: str, home: Homecoming, now: datetime) -> tuple[HomecomingLogin, ...]:
    from failsafe.adapters.imap_room import RoomSight, look_at_room
    from failsafe.logins import LoginMemory

    memory, found = LoginMemory(app, secondary_of(domain), home.endpoint()), list[HomecomingLogin]()
    logins: list[Account | CatchAll] = [*home.accounts, *([home.catch_all] if home.catch_all is not None else [])]
    memory.forget_others({login.user for login in logins}, now)
    for login in logins[:MOST_LOGINS]:
        held = memory.held(login.user, login.password_file, now)
        if held:
            sight = RoomSight(ProbeClass.UNKNOWN, held)
        else:
            sight = look_at_room(home.endpoint(), login.user, login.password_file)
            if sight.seen is ProbeClass.UP or sight.login_refused:
                memory.note(login.user, login.password_file, now, refused=sight.seen is not ProbeClass.UP)
        found.append(HomecomingLogin(login.user, sight.seen, sight.text, sight.quota))
    return tuple(found)
