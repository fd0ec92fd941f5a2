"""Which strategy a secondary calls for, and what else must be known of it. Pure; the facts are those of failsafe/secondaries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from failsafe.model import Strategy
from failsafe.secondaries.provider import SecondaryProvider
from failsafe.setting_up.sight import SecondarySight

MEANINGS = {
    Strategy.ON_DEMAND: "in peace your server alone is listed; an outage adds the secondary before it",
    Strategy.SWAP: "both are always listed, and an outage changes their order; needs a login that fetches mail from the secondary in peace too",
    Strategy.REPLACE: "in peace your server alone is listed; an outage lists the secondary alone",
}


@dataclass(frozen=True, slots=True)
class Advice:
    strategy: Strategy
    why: str
    warnings: tuple[str, ...] = ()


def advise(provider: SecondaryProvider, exchanges: Sequence[str], listed: Sequence[str]) -> Advice:
    """`exchanges` of the secondary; `listed`: those in the MX records now."""
    warnings = tuple(_warnings(provider))
    both = bool(exchanges) and set(exchanges) <= set(listed)
    takes = provider.accepts_without_mx.value
    if takes is True:
        more = "; it is listed now, so mail may reach it in peace: `failsafe adopt-mx` takes it out" if both else ""
        return Advice(
            Strategy.ON_DEMAND,
            f"{provider.name} takes mail for a domain whose MX records point elsewhere, so it need not be listed in peace{more}",
            warnings,
        )
    if takes is False and not provider.is_forwarder:
        return Advice(
            Strategy.SWAP, f"{provider.name} takes mail only while it is listed, so it must be listed in peace too", warnings
        )
    if takes is False:
        return Advice(Strategy.ON_DEMAND, f"{provider.name} cannot stand in the records beside your own server", warnings)
    if both:
        return Advice(
            Strategy.SWAP,
            f"{provider.name} is listed beside your server now, and whether it takes mail when it is not is written nowhere",
            warnings,
        )
    unknown = (
        f"whether {provider.name} takes mail while the MX records point elsewhere is written nowhere: the doctor asks it each day "
        "(secondary-accepts); if it refuses, take swap"
    )
    return Advice(
        Strategy.ON_DEMAND, f"no mail goes to the secondary in peace, and nothing must be fetched there; {unknown}", warnings
    )


def _warnings(provider: SecondaryProvider) -> list[str]:
    said = []
    if provider.is_forwarder:
        note = provider.accepts_without_mx.note or "it cannot be made ready in advance"
        said.append(
            f"{provider.name} is a forwarder: it keeps no mail, and {note}. Another place serves you better as a secondary."
        )
    if provider.internal_delivery_ignores_mx.value is True and provider.recognised_by:
        said.append(f"Mail from other customers of {provider.name} lands there in peace time too: a homecoming brings it home.")
    if provider.imap.value == "bridge":
        said.append(
            f"{provider.name} gives its mail back through a bridge, a program of theirs on a machine of yours ({provider.imap.note})."
        )
    return said


def told(provider: SecondaryProvider, seen: SecondarySight, domain: str) -> tuple[str, ...]:
    """What DNS says of the secondary, a line each."""
    lines = [f"{name} has no address in DNS: is it written right?" for name in seen.unresolved]
    verification = provider.verification.value
    if verification is not None and verification.is_needed and seen.verified is not None:
        place = f"{verification.place(domain)} TXT {verification.prefix}…"
        stay = ", which must stay for ever" if provider.verification_for_ever.value else ""
        lines.append(f"{place} {'is published' if seen.verified else f'is not published: {provider.name} asks for it'}{stay}.")
    include = provider.spf_include.value
    if include and seen.in_spf is not None:
        lines.append(
            f"SPF {'includes' if seen.in_spf else 'lacks'} include:{include}{'' if seen.in_spf else ', which replies sent from there need'}."
        )
    return tuple(lines)
