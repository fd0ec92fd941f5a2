"""Gathers what the doctor judges of what a domain publishes: delegation, signatures, policies, registration. Judges nothing itself.

Everything is looked up as the world would, at the same time where that is possible; each part has deadlines of its own. What changes slowly or is
asked of strangers (the registry) is asked once a day at most, and what senders remember (an MTA-STS policy) is remembered here too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from failsafe.app import App
from failsafe.dns_ports import Lookups
from failsafe.errors import DnsError, SecretError
from failsafe.failover.domain_checks.dane import ExchangeTlsa
from failsafe.failover.domain_checks.delegation import Delegated, DelegationSeen
from failsafe.failover.domain_checks.dkim import DkimSeen, key_of
from failsafe.failover.domain_checks.dmarc import read_dmarc
from failsafe.failover.domain_checks.dnssec import Signed, Signing
from failsafe.failover.domain_checks.mta_sts import RememberedPolicy, StsSeen, remember
from failsafe.failover.domain_checks.published import Published, SecondaryNeeds
from failsafe.failover.domain_checks.registration import Registration, parse_registration, servers_for
from failsafe.failover.domain_checks.spf import read_spf
from failsafe.failover.domain_checks.tls_rpt import TlsRptSeen
from failsafe.looks.exchanges import LeftAlone, ask_in_turn
from failsafe.model import Side
from failsafe.secondaries.known import provider_of

if TYPE_CHECKING:
    from failsafe.adapters.certificates import CertificateSight

Kept = TypeVar("Kept")

THREADS = 8  # of one domain
ASK_AGAIN = timedelta(hours=20)  # a daily doctor asks daily, one that is called by hand again and again does not
POLICY_BYTES = 64 * 1024  # RFC 8461 section 3.3
BOOTSTRAP_BYTES = 2 << 20  # it had 60 KB in 2026
# The selector that a layout signs with by default.
SELECTORS = {"docker-mailserver": ("mail",), "mailcow": ("dkim",), "mailu": ("dkim",)}


def make_lookups(app: App) -> Lookups:
    """One for a whole run of the doctor: nothing is asked twice."""
    from failsafe.adapters.lookups import NameLookups

    resolver = app.config.doctor.resolver
    own = {
        table.zone or name: [str(each) for each in table.nameservers]
        for name, table in app.config.domain.items()
        if table.nameservers
    }
    return NameLookups("" if resolver is None else str(resolver), own=own)


def addresses_of(host: str, lookups: Lookups) -> tuple[str, ...]:
    return tuple(each for kind in ("A", "AAAA") for each in lookups.ask(host, kind).records)


def look_at_published(app: App, domain: str, zone: str, lookups: Lookups, now: datetime, *, may_speak: bool) -> Published:
    """`may_speak`: no server refuses this machine, so SMTP may be spoken where a certificate must be seen. Raises StoreError."""
    table = app.domain(domain)
    needs = needs_of(app, domain)
    with ThreadPoolExecutor(THREADS, thread_name_prefix=f"doctor {domain}") as pool:
        delegation = pool.submit(_delegation, app, domain, zone, lookups)
        sts = pool.submit(_sts, app, domain, lookups, now)
        spf = pool.submit(read_spf, domain, lookups)
        dkim = pool.submit(_dkim, app, domain, needs, lookups)
        dmarc = pool.submit(read_dmarc, domain, lookups)
        registration = pool.submit(_registration, app, zone, lookups, now)
        reports = lookups.ask(f"_smtp._tls.{domain}", "TXT")
        primary = frozenset(each for name in table.primary for each in addresses_of(name, lookups))
        registry = delegation.result().registry
        signed = pool.submit(_signed, app, domain, zone, "MX", domain, registry, lookups)
        helo = None if app.config.probe.get(table.server) is None else app.config.probe[table.server].helo
        sides = [*((name, Side.PRIMARY) for name in table.primary), *((name, Side.SECONDARY) for name in table.secondary)]
        speaking = Speaking(app, table.server, helo if may_speak else None, now)
        tlsa = [pool.submit(_tlsa, name, side, lookups, speaking) for name, side in sides]
        return Published(
            delegation=delegation.result(),
            signed=signed.result(),
            tlsa=tuple(each.result() for each in tlsa),
            sts=sts.result(),
            tls_rpt=TlsRptSeen(reports.records, reports.error),
            spf=spf.result(),
            dkim=dkim.result(),
            dmarc=dmarc.result(),
            registration=registration.result(),
            needs=needs,
            watched=tuple(sorted(name for name, other in app.config.domain.items() if other.server == table.server)),
            primary_addresses=primary,
        )


def needs_of(app: App, domain: str) -> SecondaryNeeds:
    """As configured; where nothing is, what is known of the secondary's provider. A fact that nobody knows stays unknown."""
    table = app.domain(domain)
    spf, dkim, provider = table.secondary_spf, table.secondary_dkim, provider_of(table.secondary)
    if provider is not None and spf is None and provider.spf_include.value is not None:
        spf = (provider.spf_include.value,)
    if provider is not None and dkim is None:
        dkim = provider.dkim_selectors.value
    return SecondaryNeeds(spf, dkim)


# -- the zone ------------------------------------------------------------------------------------------------------------


def _delegation(app: App, domain: str, zone: str, lookups: Lookups) -> DelegationSeen:
    from failsafe.adapters.zone_chain import delegation_of

    if app.domain(domain).nameservers:
        return DelegationSeen(skipped="`nameservers` says whom to ask, so the delegation is not used")
    registry = delegation_of(zone, lookups)
    provider = app.provider(domain)
    if provider is None:
        return DelegationSeen(registry=registry, skipped="no DNS provider is configured: there is nothing to compare with")
    try:
        return DelegationSeen(provider.name_servers(zone), registry=registry)
    except (DnsError, SecretError) as error:
        return DelegationSeen(
            provider_error=f"the provider does not tell its name servers: {error}", provider_mend=error.mend, registry=registry
        )


def _signed(app: App, domain: str, zone: str, kind: str, name: str, registry: Delegated, lookups: Lookups) -> Signed:
    from failsafe.adapters.zone_chain import signing_of

    servers = [str(each) for each in app.domain(domain).nameservers] or list(registry.names)
    if not servers:
        return Signed(Signing.UNKNOWN, registry.error or "no name server of it is known")
    return signing_of(zone, name, kind, servers, lookups)


@dataclass(frozen=True, slots=True)
class Speaking:
    """How the exchanges of a domain are asked for their certificates. `helo` None: not at all. `server`: whose exchanges the primary's are."""

    app: App
    server: str
    helo: str | None
    now: datetime

    def ask(self, exchange: str, side: Side, port: int = 25) -> CertificateSight | LeftAlone:
        from failsafe.adapters.certificates import CertificateSight, certificate_of

        if self.helo is None:
            return CertificateSight(error="no SMTP was spoken: [probe] has no helo, or a server refuses this machine")
        ask = functools.partial(certificate_of, exchange, self.helo, port)
        server = self.server if side is Side.PRIMARY else ""
        return ask_in_turn(self.app, exchange, self.now, ask, lambda sight: sight.seen, server=server)


def _tlsa(exchange: str, side: Side, lookups: Lookups, speaking: Speaking) -> ExchangeTlsa:
    """Speaks SMTP only where there are TLSA records to compare with."""
    from failsafe.adapters.zone_chain import delegation_of, signing_of

    place = f"_25._tcp.{exchange}"
    found = lookups.ask(place, "TLSA")
    if found.unknown or not found.records:
        return ExchangeTlsa(exchange, side, error=found.error)
    signed = Signed(Signing.SECURE, "our resolver checked the signatures")
    if not found.validated:
        zone = _zone_of(exchange, lookups)
        servers = delegation_of(zone, lookups)
        signed = signing_of(zone, found.aliases[-1] if found.aliases else place, "TLSA", servers.names, lookups)
    if signed.signing not in (Signing.SECURE, Signing.UNKNOWN):
        return ExchangeTlsa(exchange, side, found.records, signed=signed, shown_error="not asked")
    sight = speaking.ask(exchange, side)
    if isinstance(sight, LeftAlone):
        return ExchangeTlsa(exchange, side, found.records, signed=signed, shown_error=f"no SMTP was spoken: {sight}")
    return ExchangeTlsa(exchange, side, found.records, signed=signed, shown=sight.shown, shown_error=sight.error)


def _zone_of(name: str, lookups: Lookups) -> str:
    """The nearest name above that has an SOA record."""
    zone = name
    while zone and not lookups.ask(zone, "SOA").records:
        zone = zone.partition(".")[2]
    return zone or name


# -- policies ------------------------------------------------------------------------------------------------------------


def _sts(app: App, domain: str, lookups: Lookups, now: datetime) -> StsSeen:
    from failsafe.adapters.https_get import fetch

    duty = f"mta-sts:{domain}"
    known = _remembered(
        app, duty, lambda row: RememberedPolicy(row["id"], row["text"], datetime.fromisoformat(row["at"]), row["was"])
    )
    found = lookups.ask(f"_mta-sts.{domain}", "TXT")
    seen = StsSeen(found.records, found.error, remembered=known)
    if found.unknown or not seen.published:
        return seen
    host = f"mta-sts.{domain}"
    addresses = addresses_of(host, lookups)
    answer = fetch(f"https://{host}/.well-known/mta-sts.txt", lambda _host: addresses, most_bytes=POLICY_BYTES)
    error = answer.error or ("" if answer.status == 200 else f"{host} answers {answer.status}")
    seen = replace(
        seen,
        policy="" if error else answer.body.decode("utf-8", "replace"),
        policy_error=error,
        kind=answer.kind,
        addresses=addresses,
    )
    kept = remember(seen, now)
    if kept is not None:
        app.duties.ended(duty, now, ok=True, details={**asdict(kept), "at": kept.at.isoformat()})
        seen = replace(seen, remembered=kept)
    return seen


def _dkim(app: App, domain: str, needs: SecondaryNeeds, lookups: Lookups) -> tuple[DkimSeen, ...]:
    table = app.domain(domain)
    configured = table.dkim_selectors
    own = SELECTORS.get(app.server(table.server).layout, ()) if configured is None else configured
    wanted = [*((each, Side.PRIMARY) for each in own), *((each, Side.SECONDARY) for each in needs.dkim_selectors or ())]
    return tuple(
        _key(domain, selector, side, lookups, guessed=configured is None and side is Side.PRIMARY) for selector, side in wanted
    )


def _key(domain: str, selector: str, side: Side, lookups: Lookups, *, guessed: bool) -> DkimSeen:
    from failsafe.adapters.certificates import dkim_key_bits

    found = lookups.ask(f"{selector}._domainkey.{domain}", "TXT")
    seen = DkimSeen(selector, side, guessed, found.records, found.error)
    if not found.records:
        return seen
    try:
        kind, text = key_of(found.records)
        return replace(seen, kind=kind, bits=dkim_key_bits(kind, text))
    except ValueError as error:
        return replace(seen, fault=str(error))


# -- the registry --------------------------------------------------------------------------------------------------------


def _registration(app: App, zone: str, lookups: Lookups, now: datetime) -> Registration:
    """Asked once a day at most; in between the last answer is judged."""
    duty = f"registration:{zone}"
    known = _remembered(app, duty, _to_registration)
    if known is not None and known.asked_at is not None and timedelta(0) <= now - known.asked_at < ASK_AGAIN:
        return known
    if not app.config.doctor.registry:
        return Registration(error="[doctor] registry is empty: no registry is asked")
    found = _ask_registry(app.config.doctor.registry, zone, functools.partial(addresses_of, lookups=lookups), now)
    if not found.error:
        ends_at = None if found.ends_at is None else found.ends_at.isoformat()
        details = {"domain": found.domain, "ends_at": ends_at, "statuses": list(found.statuses), "asked_at": now.isoformat()}
        app.duties.ended(duty, now, ok=True, details=details)
    return found


def _ask_registry(bootstrap: str, zone: str, addresses: Callable[[str], tuple[str, ...]], now: datetime) -> Registration:
    """The zone itself, then what lies above it: the one that is registered is not known beforehand."""
    from failsafe.adapters.https_get import fetch

    listing = fetch(bootstrap, addresses, redirects=2, most_bytes=BOOTSTRAP_BYTES)
    if listing.status != 200:
        return Registration(error=f"the list of registries cannot be read: {listing.error or listing.status}")
    try:
        servers = servers_for(zone.rpartition(".")[2], listing.body)
        if not servers:
            return Registration(error=f"the registry of .{zone.rpartition('.')[2]} cannot be asked (it has no RDAP server)")
        name = zone
        while "." in name:
            answer = fetch(f"{servers[0]}domain/{name}", addresses, redirects=3)
            if answer.status == 200:
                return parse_registration(name, answer.body, now)
            if answer.status != 404:
                return Registration(error=f"the registry does not answer: {answer.error or answer.status}")
            name = name.partition(".")[2]
    except ValueError as error:
        return Registration(error=str(error))
    return Registration(error=f"the registry knows no domain {zone}")


def _to_registration(row: dict[str, Any]) -> Registration:
    ends_at = None if row["ends_at"] is None else datetime.fromisoformat(row["ends_at"])
    return Registration(row["domain"], ends_at, tuple(row["statuses"]), asked_at=datetime.fromisoformat(row["asked_at"]))


def _remembered(app: App, duty: str, read: Callable[[dict[str, Any]], Kept]) -> Kept | None:
    """What an earlier run kept; None where that is nothing, or cannot be read any more."""
    row = app.duties.all().get(duty)
    try:
        return None if row is None or not row.details else read(row.details)
    except (KeyError, TypeError, ValueError):
        return None
