"""Judges whether the zone that failsafe writes to is the one that the registry delegates to. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from failsafe.model import Finding, Severity

CODES = {
    "ns-delegation": (True, "the registry delegates the zone to the name servers of the DNS provider that failsafe writes to")
}


@dataclass(frozen=True, slots=True)
class Delegated:
    """Whom the zone above names. No names and no error: it names nobody."""

    names: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class DelegationSeen:
    """`skipped` says why nobody was asked."""

    provider: tuple[str, ...] = ()
    provider_error: str = ""
    provider_mend: str = ""
    registry: Delegated = Delegated()
    skipped: str = ""


def judge_delegation(name: str, zone: str, seen: DelegationSeen) -> Finding:
    why = seen.skipped or seen.provider_error or seen.registry.error
    if why:
        return Finding("ns-delegation", Severity.SKIPPED, name, why, seen.provider_mend, blocks_failover=True)
    ours, theirs = set(seen.provider), set(seen.registry.names)
    mend = f"at the registrar, set the name servers of {zone} to exactly: {', '.join(seen.provider)}"
    if not theirs:
        text = f"the zone above delegates {zone} to nobody"
        return Finding("ns-delegation", Severity.FAIL, name, text, mend, blocks_failover=True)
    named = ", ".join(seen.registry.names)
    if not ours & theirs:
        text = (
            f"{zone} is delegated to {named}, but the zone that failsafe writes to is served by {', '.join(seen.provider)}: "
            "no sender would see a failover"
        )
        mend += "; or put the provider that serves it into [dns]"
        return Finding("ns-delegation", Severity.FAIL, name, text, mend, blocks_failover=True)
    if ours != theirs:
        odd = [f"{each} is not the provider's" for each in sorted(theirs - ours)]
        odd += [f"{each} is not in the delegation" for each in sorted(ours - theirs)]
        return Finding("ns-delegation", Severity.WARN, name, "; ".join(odd), mend, blocks_failover=True)
    return Finding("ns-delegation", Severity.OK, name, f"{zone} is delegated to {named}", blocks_failover=True)
