"""The one frozen value that a decision is made from. Adapters and the store fill it in; nothing here looks anything up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from failsafe.failover.weigh import Standing
from failsafe.failover.zone import MxLayout, describe, mx_layout_fault
from failsafe.model import DomainRecord, Guard, Intent, Mode, MxSet, OwnLine, ServerAnswer, Side, Verdict

AGAINST = (Verdict.DOWN, Verdict.LYING)


class View(Protocol):
    """What one vantage concludes about inbound mail (health.VantageView is one). `since_at`: first evidence of the unbroken run."""

    @property
    def vantage(self) -> str: ...
    @property
    def verdict(self) -> Verdict: ...
    @property
    def reasons(self) -> tuple[str, ...]: ...
    @property
    def since_at(self) -> datetime | None: ...
    @property
    def last_at(self) -> datetime | None: ...
    @property
    def blocked(self) -> bool:
        """The primary refuses or bans the prober itself."""
        ...

    @property
    def taking_since_at(self) -> datetime | None:
        """When it first saw mail taken since it last said anything but up; None where it never did."""
        ...

    @property
    def lying_since_at(self) -> datetime | None:
        """Since when it has seen nothing but 5xx to the known-good recipient; None where it does not say lying."""
        ...

    @property
    def degraded(self) -> bool:
        """The newest thing seen is a 4xx to the known-good recipient."""
        ...

    @property
    def answered(self) -> bool:
        """The newest thing seen is a call that the primary took and did not serve (it stays silent, hangs up, or refuses the session)."""
        ...


@dataclass(frozen=True, slots=True)
class Policy:
    """What a person configured for one domain."""

    domain: str
    zone: str
    server: str
    layout: MxLayout
    mode: Mode
    vantages: int  # configured, "here" included
    quorum: int = 2
    down_for: timedelta = timedelta(minutes=15)
    up_for: timedelta = timedelta(minutes=30)
    verify_for: timedelta = timedelta(minutes=5)
    min_dwell: timedelta = timedelta(hours=1)
    probe_every: timedelta = timedelta(minutes=1)
    flips_per_day: int = 3
    ttl_seconds: int | None = None
    auto_failback: bool = True
    unlist_lying: bool = (
        False  # a primary that lies is taken out of the records for the time of the failover, whatever the strategy
    )
    writable: bool = True  # a DNS provider is configured
    ssh: bool = True  # the primary can be asked over SSH; without it nobody can prove that it is ours
    standing: Standing = Standing()  # what the vantages' views are worth  # noqa: RUF009 - frozen
    unban: str = ""  # how a banned vantage is let in again, for this kind of server


@dataclass(frozen=True, slots=True)
class ZoneReading:
    """The live MX set: the provider's own word and every authoritative server's answer."""

    provider: MxSet | None
    answers: tuple[ServerAnswer, ...]
    provider_error: str = ""  # why `provider` is None although one is configured
    authorities_error: str = ""

    @property
    def silent(self) -> tuple[str, ...]:
        return tuple(answer.nameserver for answer in self.answers if answer.mx is None)

    @property
    def agreed(self) -> MxSet | None:
        """The set that everyone who answered gives; None where nobody did, or they differ (`disagreement` then says how)."""
        heard = self._heard()
        return heard[0][1] if heard and not self.unreadable and all(mx.same_records(heard[0][1]) for _, mx in heard) else None

    @property
    def unreadable(self) -> str:
        """Why the live set is not known; "" if it is."""
        if self.provider_error:
            return f"the DNS provider could not be read: {self.provider_error}"
        if self.authorities_error:
            return f"the authoritative servers could not be asked: {self.authorities_error}"
        if not any(answer.mx is not None for answer in self.answers):
            errors = "; ".join(f"{answer.nameserver}: {answer.error}" for answer in self.answers[:5])
            return f"no authoritative server answered ({errors or 'none is known'})"
        return ""

    @property
    def disagreement(self) -> str:
        heard = self._heard()
        if all(mx.same_records(heard[0][1]) for _, mx in heard):
            return ""
        return "; ".join(f"{who} says {describe(mx)}" for who, mx in heard[:8])

    @property
    def described(self) -> str:
        """What is there, in words, also where nobody agrees."""
        if self.agreed is not None:
            return describe(self.agreed)
        return "; ".join(text for text in (self.unreadable, self.disagreement) if text)

    def _heard(self) -> list[tuple[str, MxSet]]:
        provider = [("the provider", self.provider)] if self.provider is not None else []
        return [*provider, *((answer.nameserver, answer.mx) for answer in self.answers if answer.mx is not None)]


@dataclass(frozen=True, slots=True)
class PrimaryCheck:
    """One proof that the returned primary is ours and fit: tls, host-key, login, accounts, store, disk, queue."""

    code: str
    ok: bool
    text: str


@dataclass(frozen=True, slots=True)
class PrimaryProof:
    at: datetime
    checks: tuple[PrimaryCheck, ...]


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a failover may rely on what the doctor last saw; `guards` is empty when it may (see readiness.judge_readiness)."""

    guards: tuple[Guard, ...] = ()


@dataclass(frozen=True, slots=True)
class DomainFacts:
    """Everything a decision about one domain may know, read once."""

    policy: Policy
    record: DomainRecord
    views: tuple[View, ...]
    own_line: OwnLine | None  # the newest reading
    zone: ZoneReading
    readiness: Readiness
    leader: bool
    started_at: datetime  # when this controller began to act
    unfinished: Intent | None = None
    flips: tuple[Intent, ...] = ()  # done within the last day or the dwell time, oldest first
    primary: PrimaryProof | None = None  # gathered when `check-primary` is ordered
    proof_of_life_at: datetime | None = None  # newest message that the primary received from outside, canaries left out
    store_suspect: str = ""  # why the primary's mail store is not trusted; "" if it is
    store_lost: str = ""  # the same, where the last pull found it empty or made anew
    delivery: tuple[View, ...] = ()  # of lost delivery, while mail goes to the primary (delivery.witnesses)
    undelivered: bool = False  # mail goes to the secondary, and the last canary of the primary was lost there

    @property
    def mode(self) -> Mode:
        """As configured; after a takeover `observe`, until a person has acknowledged."""
        return self.policy.mode if self.record.taken_over_at is None else Mode.OBSERVE


def fitting(found: MxSet | None, policy: Policy, side: Side) -> bool:
    """Whether a set is known and is the layout in which `side` serves."""
    return found is not None and mx_layout_fault(found, policy.layout, side) is None


def votes_needed(facts: DomainFacts) -> int:
    """The quorum; with fewer vantages than that, all of them (then nothing happens by itself, a person decides)."""
    return max(1, min(facts.policy.quorum, facts.policy.vantages))
