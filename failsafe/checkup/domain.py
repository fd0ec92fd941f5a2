"""Gathers what the doctor judges of a domain, its exchanges and who watches it. Judges nothing itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime

from failsafe.app import App
from failsafe.checkup.homecoming import look_at_delivery
from failsafe.checkup.provider import look_at_provider
from failsafe.checkup.published import look_at_published
from failsafe.checkup.secondary import look_at_secondary
from failsafe.config.vantages import vantages_of
from failsafe.dns_ports import Lookups
from failsafe.domains import Domains
from failsafe.failover.doctor import DomainCheckup, Exchange
from failsafe.failover.doctor_provider import WRITE_PROOF
from failsafe.failover.doctor_vantages import BanCheckup, VantageCheckup
from failsafe.failover_drills import last_drill
from failsafe.looks.exchanges import LeftAlone, ask_in_turn
from failsafe.looks.refused import RATIONED, RefusedRecipients
from failsafe.model import Axis, ProbeClass, Sign
from failsafe.secondaries.known import provider_of


def look_at_domain(
    app: App,
    domains: Domains,
    lookups: Lookups,
    name: str,
    now: datetime,
    prove: Collection[str],
    bans: Mapping[str, Future[BanCheckup]],
) -> DomainCheckup:
    facts = domains.gather(name, now, fresh_zone=True)
    table = app.domain(name)
    probe = app.config.probe.get(table.server)
    recipient = None if probe is None else probe.recipient
    of_this_domain = recipient if recipient is not None and recipient.lower().endswith(f"@{name}") else None
    helo = None if probe is None else probe.helo
    ca_file = None if probe is None or probe.ca_file is None else str(probe.ca_file)
    written = [flip.outcome_at for flip in domains.journal.flips(name, now - WRITE_PROOF) if flip.outcome_at is not None]
    asking = Asking(table.server, of_this_domain, helo, ca_file, rationed=provider_of(table.secondary) is None)
    exchanges = {
        **{each: _exchange(each) for each in table.primary},
        **{each: ask_exchange(app, each, asking, now) for each in table.secondary},
    }
    refuses = asking.rationed and any(exchanges[each].seen is ProbeClass.LYING for each in table.secondary)
    views = domains.views(name, now)
    may_speak = not any(view.blocked for view in views)
    inbound = tuple(view for view in views if view.axis is Axis.INBOUND)
    return DomainCheckup(
        facts=facts,
        exchanges=exchanges,
        views=views,
        probe_configured=probe is not None,
        recipient=recipient,
        helo=helo,
        last_write_at=max(written, default=None),
        drill=last_drill(app, name),
        provider=look_at_provider(app, name, facts.policy.zone, now, prove=name in prove),
        published=look_at_published(app, name, facts.policy.zone, lookups, now, may_speak=may_speak),
        secondary=look_at_secondary(app, name, lookups, now, refuses=refuses),
        delivery=look_at_delivery(app, name),
        watch=VantageCheckup(vantages_of(app.config, table.server), inbound, bans[table.server].result()),
    )


@dataclass(frozen=True, slots=True)
class Asking:
    """How to speak with a secondary: as the probe speaks with the primary."""

    server: str
    recipient: str | None
    helo: str | None
    ca_file: str | None
    rationed: bool = False  # refusals: a server of one's own may ban for them


def ask_exchange(app: App, name: str, asking: Asking, now: datetime, *, port: int = 25) -> Exchange:
    """One that refuses this machine itself is left alone for some days: to ask on is what gets a prober banned.

    Domains with one secondary ask it one after the other, so that the first refusal is the last. Raises StoreError.
    """
    rations = RefusedRecipients(app, name) if asking.rationed and asking.recipient is not None else None
    if rations is not None and rations.left(now) <= 0:
        told = rations.told(asking.recipient or "")
        if told is not None:
            at, seen, text = told
            return replace(_exchange(name), seen=seen, text=f"{text} (said on {at:%Y-%m-%d}; {RATIONED})")
        rations, asking = None, replace(asking, recipient=None)
    asked = ask_in_turn(app, name, now, lambda: _exchange(name, asking, port), lambda exchange: exchange.seen)
    if isinstance(asked, LeftAlone):
        return replace(_exchange(name), text=str(asked))
    if rations is not None and asked.seen is not None and asked.counted:
        rations.note(1, now, (asking.recipient or "", asked.seen, asked.text))
    return asked


def _exchange(name: str, asking: Asking | None = None, port: int = 25) -> Exchange:
    from failsafe.adapters.exchange import look_at_exchange

    sight = look_at_exchange(name)
    if asking is None or not sight.addresses:
        return Exchange(
            name, sight.addresses, sight.alias_of, sight.error, None, sight.error or "not asked", unknown=sight.unknown
        )
    from failsafe.adapters.smtp import Patience, SmtpProbe

    patience = Patience(look_up=10, connect=10, greeting=20, command=15, whole=45)
    look = SmtpProbe(
        asking.server, [f"{name}:{port}"], asking.recipient, asking.helo, patience=patience, ca_file=asking.ca_file
    ).look()
    return Exchange(name, sight.addresses, sight.alias_of, sight.error, look.seen, look.text, counted=Sign.COUNTED in look.signs)
