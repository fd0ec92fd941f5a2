"""What is known of a provider of secondaries, as frozen values, and which provider a domain's exchanges belong to. Pure.

Nothing here is guessed: a fact without a value is unknown, and whoever uses it says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import Generic, Literal, TypeVar

from failsafe.model import normal_name

T = TypeVar("T")
OWN_SERVER = "own-server"  # the key of what is no provider


@dataclass(frozen=True, slots=True)
class Fact(Generic[T]):
    """`value` None: unknown. `source`: the address where it was read, on the day `read`."""

    value: T | None = None
    source: str = ""
    read: date | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Verification:
    """The TXT record that shows the provider whose domain it is. `name` "@" is the domain itself; "" where none is asked for."""

    name: str
    prefix: str

    @property
    def is_needed(self) -> bool:
        return bool(self.name)

    def place(self, domain: str) -> str:
        """The record's whole name."""
        return domain if self.name == "@" else f"{self.name}.{domain}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a plan may hold; None: unknown."""

    plan: str
    domains: int | None = None
    addresses: int | None = None


@dataclass(frozen=True, slots=True)
class SecondaryProvider:
    """`key` is stable; `recognised_by`: what its exchanges end in."""

    key: str
    name: str
    recognised_by: tuple[str, ...] = ()
    kind: Fact[Literal["mailbox", "forwarder"]] = field(default_factory=Fact)
    exchanges: Fact[tuple[str, ...]] = field(default_factory=Fact)
    verification: Fact[Verification] = field(default_factory=Fact)
    verification_for_ever: Fact[bool] = field(default_factory=Fact)
    spf_include: Fact[str] = field(default_factory=Fact)
    dkim_selectors: Fact[tuple[str, ...]] = field(default_factory=Fact)
    mta_sts_names: Fact[tuple[str, ...]] = field(default_factory=Fact)
    accepts_without_mx: Fact[bool] = field(default_factory=Fact)
    imap: Fact[Literal["yes", "bridge", "no"]] = field(default_factory=Fact)
    internal_delivery_ignores_mx: Fact[bool] = field(default_factory=Fact)
    catch_all: Fact[bool] = field(default_factory=Fact)
    plans: Fact[tuple[Plan, ...]] = field(default_factory=Fact)

    @property
    def is_forwarder(self) -> bool:
        return self.kind.value == "forwarder"

    def holds(self, exchange: str) -> bool:
        name = normal_name(exchange)
        return any(name == suffix or name.endswith(f".{suffix}") for suffix in self.recognised_by)


FACTS = (
    "kind", "exchanges", "verification", "verification_for_ever", "spf_include", "dkim_selectors", "mta_sts_names", "accepts_without_mx",
    "imap", "internal_delivery_ignores_mx", "catch_all", "plans",
)  # fmt: skip


def recognise(exchanges: Iterable[str], providers: Iterable[SecondaryProvider]) -> SecondaryProvider | None:
    """The provider that every one of these exchanges belongs to; None where it is a server of your own, or one that is not known here."""
    names = tuple(exchanges)
    return next((each for each in providers if names and all(each.holds(name) for name in names)), None)
