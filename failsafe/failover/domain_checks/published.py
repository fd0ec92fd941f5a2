"""Everything that was gathered of what a domain publishes, and of how its mail server looks to receivers; judged file by file. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from failsafe.failover.domain_checks import (
    block_lists,
    dane,
    delegation,
    dkim,
    dmarc,
    dnssec,
    mta_sts,
    registration,
    sending,
    spf,
    tls_rpt,
    top_level,
)
from failsafe.failover.domain_checks.block_lists import ListSeen, judge_dnsbl
from failsafe.failover.domain_checks.dane import ExchangeTlsa, judge_dane
from failsafe.failover.domain_checks.delegation import DelegationSeen, judge_delegation
from failsafe.failover.domain_checks.dkim import DkimSeen, judge_dkim
from failsafe.failover.domain_checks.dmarc import DmarcSeen, judge_dmarc
from failsafe.failover.domain_checks.dnssec import Signed, judge_dnssec
from failsafe.failover.domain_checks.mta_sts import StsSeen, judge_mta_sts, judge_sts_host
from failsafe.failover.domain_checks.registration import Registration, judge_registration
from failsafe.failover.domain_checks.sending import NO_GREETING, AddressName, HeloSeen, judge_helo, judge_ptr
from failsafe.failover.domain_checks.spf import SpfSeen, judge_spf
from failsafe.failover.domain_checks.tls_rpt import TlsRptSeen, judge_tls_rpt
from failsafe.failover.domain_checks.top_level import judge_top_level
from failsafe.failover.sends_from import SendsFrom
from failsafe.failover.zone import MxLayout
from failsafe.model import Finding

CODES: Mapping[str, tuple[bool, str]] = {
    **delegation.CODES,
    **dnssec.CODES,
    **dane.CODES,
    **mta_sts.CODES,
    **tls_rpt.CODES,
    **spf.CODES,
    **dkim.CODES,
    **dmarc.CODES,
    **registration.CODES,
    **top_level.CODES,
    **sending.CODES,
    **block_lists.CODES,
}


@dataclass(frozen=True, slots=True)
class SecondaryNeeds:
    """What the secondary's own mail needs in this domain's zone. None: not known."""

    spf_includes: tuple[str, ...] | None = None
    dkim_selectors: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """Of one domain. `watched`: the domains whose mail goes to the same server; `primary_addresses`: of the primary exchanges."""

    delegation: DelegationSeen
    signed: Signed
    tlsa: tuple[ExchangeTlsa, ...]
    sts: StsSeen
    tls_rpt: TlsRptSeen
    spf: SpfSeen
    dkim: tuple[DkimSeen, ...]
    dmarc: DmarcSeen
    registration: Registration
    needs: SecondaryNeeds = SecondaryNeeds()
    watched: tuple[str, ...] = ()
    primary_addresses: frozenset[str] = frozenset()
    sends_from: tuple[str, ...] = ()  # public addresses to which the primary binds itself when it sends


@dataclass(frozen=True, slots=True)
class SendingSeen:
    """Of one mail server. `lists_from`: who asked the block lists; `lists_why`: why nobody did. `received_at`: addresses of its exchanges."""

    server: str
    names: tuple[AddressName, ...] = ()
    helo: HeloSeen = NO_GREETING
    lists: tuple[ListSeen, ...] = ()
    lists_from: str = "here"
    lists_why: str = ""
    received_at: tuple[str, ...] = ()
    sends_from: SendsFrom | None = None  # None: not known


def judge_published(name: str, zone: str, layout: MxLayout, seen: Published, now: datetime) -> tuple[Finding, ...]:
    has_policy = seen.sts.published or any(each.records for each in seen.tlsa)
    return (
        judge_delegation(name, zone, seen.delegation),
        judge_dnssec(name, zone, seen.signed),
        judge_dane(name, seen.tlsa),
        judge_mta_sts(name, seen.sts, layout, now),
        judge_sts_host(name, seen.sts, seen.primary_addresses),
        judge_tls_rpt(name, seen.tls_rpt, seen.watched, has_policy=has_policy),
        judge_spf(name, seen.spf, seen.needs.spf_includes or (), layout.primaries, seen.sends_from),
        judge_dkim(name, seen.dkim, secondary_known=seen.needs.dkim_selectors is not None),
        judge_dmarc(name, seen.dmarc),
        judge_registration(name, seen.registration, now),
        judge_top_level(name),
    )


def judge_sending(seen: SendingSeen) -> tuple[Finding, ...]:
    relay = "" if seen.sends_from is None else seen.sends_from.relay
    bound = () if seen.sends_from is None else seen.sends_from.public
    elsewhere = tuple(each for each in bound if each not in seen.received_at)
    return (
        judge_ptr(seen.server, seen.names, seen.helo.said, elsewhere=elsewhere, relay=relay),
        judge_helo(seen.server, seen.helo),
        judge_dnsbl(seen.server, seen.lists, seen.lists_from, seen.lists_why, relay=relay),
    )
