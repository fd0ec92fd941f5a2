"""Gathers what the doctor judges of a domain's secondary. Judges nothing itself."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from failsafe.app import App
from failsafe.checkup.recipients import ask_secondary, recipients_here
from failsafe.config.schema import Account, CatchAll, Homecoming
from failsafe.dns_ports import Lookups
from failsafe.errors import SecretError
from failsafe.failover.doctor_secondary import HomecomingLogin, SecondaryCheckup
from failsafe.failover.rounds import LOGIN_REFUSED
from failsafe.model import ProbeClass
from failsafe.secondaries.known import provider_of
from failsafe.secondaries.provider import SecondaryProvider

LOGIN_AGAIN = timedelta(days=1)  # a refused login waits so long, unless its password file changed
MOST_LOGINS = 20  # in one run


def look_at_secondary(app: App, domain: str, lookups: Lookups, now: datetime) -> SecondaryCheckup:
    """Raises StoreError."""
    table = app.domain(domain)
    provider = provider_of(table.secondary)
    texts, texts_error = _texts(provider, domain, lookups)
    wanted = recipients_here(app, domain)
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
