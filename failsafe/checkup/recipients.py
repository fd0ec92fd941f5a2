"""Asks a secondary whom it takes mail for. Judges nothing itself, and asks no more than is polite: daily, and who refused us is left alone.

Whom to ask for is what the newest backup says, and not the mail server itself: a backup is minutes old, says the same while the server is dead (when it
matters), and holds whose mail would have to come home.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from failsafe.adapters.way import DIRECT, Way
from failsafe.app import App
from failsafe.errors import ArchiveError
from failsafe.failover.doctor_secondary import RecipientsAsked
from failsafe.looks.exchanges import REFUSING, LeftAlone, ask_in_turn
from failsafe.looks.look import HERE
from failsafe.looks.refused import RATIONED, RefusedRecipients
from failsafe.mail.recipients import recipients_of
from failsafe.secondaries.known import provider_of

ASK_AGAIN = timedelta(hours=20)  # at most daily
ASK_OTHERS = timedelta(hours=1)  # sooner, where they are not those of the last time
# A secondary that is no known provider may be a server of one's own, whose fail2ban counts refusals: five in a week, together with what is asked besides.
REFUSED_AGAIN = timedelta(hours=47)
FIRST_REFUSED, AGAIN_REFUSED = 2, 1  # so many end the session


@dataclass(frozen=True, slots=True)
class Recipients:
    """Of one domain. `unaskable`: aliases that are no address. `unknown`: why nobody knows."""

    addresses: tuple[str, ...] = ()
    unaskable: tuple[str, ...] = ()
    unknown: str = ""

    @property
    def mark(self) -> str:
        """Changes when they do."""
        return hashlib.sha256("\n".join(self.addresses).encode()).hexdigest()[:16]


def recipients_here(app: App, domain: str) -> Recipients:
    """As the newest backup knows them."""
    from failsafe.backup.accounts import read_accounts
    from failsafe.backup.archive.reader import Archive

    archive = Archive(app.staging_folder(app.domain(domain).server))
    try:
        generation = archive.generation()
        accounts = read_accounts(archive, generation)
    except ArchiveError:
        return Recipients(unknown="there is no backup yet that says which there are")
    addresses, unaskable = recipients_of(domain, generation.mailboxes, accounts)
    return Recipients(addresses, unaskable, "" if addresses else f"the last backup has nobody at {domain}")


def ask_secondary(app: App, domain: str, wanted: Recipients, now: datetime, *, port: int = 25) -> RecipientsAsked:
    """In one session with the first exchange that answers, at most daily; else what it said last. From elsewhere where it cannot be asked from here.

    Raises StoreError.
    """
    table, duty = app.domain(domain), f"recipients:{domain}"
    last = app.duties.all().get(duty)
    rationed = provider_of(table.secondary) is None
    is_known = last is not None and last.details.get("secondary") == list(table.secondary)
    refused_before = last is not None and is_known and bool(last.details.get("refused"))
    if last is not None and last.ended_at is not None and is_known:
        rest = ASK_AGAIN if last.details.get("mark") == wanted.mark else ASK_OTHERS
        if rationed and refused_before:
            rest = REFUSED_AGAIN
        if timedelta(0) <= now - last.ended_at < rest:
            return _remembered(last.details, last.ended_at)
    probe = app.config.probe.get(table.server)
    risk = (AGAIN_REFUSED if refused_before else FIRST_REFUSED) if rationed else None
    asking = _Asking(app, table.secondary, wanted.addresses, None if probe is None else probe.helo, now, port, risk)
    asked = asking.ask_from(HERE, DIRECT)
    if asked.error:
        asked = next((there for there in _elsewhere(app, table.server, asking) if not there.error), asked)
    if not asked.error:  # who could not be reached may be tried again in the next run; who refused us is remembered by name
        details = {**asdict(asked), "at": now.isoformat(), "secondary": list(table.secondary), "mark": wanted.mark}
        app.duties.ended(duty, now, ok=True, result="asked", details=details)
    return asked


def _elsewhere(app: App, server: str, asking: _Asking) -> Iterator[RecipientsAsked]:
    """From the other machines that speak SMTP for this one: port 25 may be blocked here, or this address be on a block list."""
    from failsafe.adapters.ssh_way import SshWay, WayLost
    from failsafe.config.vantages import looks_at
    from failsafe.looks.elsewhere import vantage_host

    for name, vantage in sorted(app.config.vantage.items()):
        if vantage.kind == "ssh" and server in app.config.probe and looks_at(app.config, vantage, server):
            way = SshWay(vantage_host(name, vantage, app.config.probe[server].every))
            with contextlib.suppress(WayLost), way.opened():
                yield asking.ask_from(name, way, vantage.helo)


@dataclass(frozen=True, slots=True)
class _Asking:
    """One question, to be asked from one place or another."""

    app: App
    exchanges: tuple[str, ...]
    addresses: tuple[str, ...]
    helo: str | None
    now: datetime
    port: int
    risk: int | None  # refusals, where they are rationed

    def ask_from(self, place: str, way: Way, helo: str | None = None) -> RecipientsAsked:
        """One that refuses the prober there is left alone, and ends it: the others of a secondary are its provider's too."""
        from failsafe.adapters.recipients import REFUSALS, ask_recipients

        asked = RecipientsAsked(self.now, self.exchanges[0], vantage=place, error="it has no exchange")
        for exchange in self.exchanges:
            rations = None if self.risk is None else RefusedRecipients(self.app, exchange, place)
            most = REFUSALS if rations is None or self.risk is None else min(self.risk, rations.left(self.now))
            if most <= 0:
                return RecipientsAsked(self.now, exchange, vantage=place, error=RATIONED)
            addresses, whom = self.addresses, helo or self.helo
            ask = partial(ask_recipients, exchange, addresses, whom, port=self.port, way=way, most_refused=most)
            sight = ask_in_turn(self.app, exchange, self.now, ask, lambda sight: sight.seen, vantage=place)
            if isinstance(sight, LeftAlone):
                return RecipientsAsked(self.now, exchange, vantage=place, error=str(sight))
            if rations is not None and sight.counted:
                rations.note(sight.counted, self.now)
            decided = bool(sight.accepted or sight.refused)
            error = "" if decided else sight.error or "it decided nothing"
            asked = RecipientsAsked(
                self.now, exchange, len(sight.accepted), tuple(sight.refused), tuple(sight.undecided), error, place
            )
            if decided or sight.seen in REFUSING:
                break
        return asked


def _remembered(details: Mapping[str, Any], at: datetime) -> RecipientsAsked:
    refused = tuple((str(address), str(said)) for address, said in details["refused"])
    return RecipientsAsked(
        at,
        details["exchange"],
        details["accepted"],
        refused,
        tuple(details["undecided"]),
        str(details.get("error", "")),
        str(details.get("vantage", HERE)),
    )
