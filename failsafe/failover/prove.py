"""Shows on a scratch record what the adapter of a DNS provider promises: a change made from a stale reading is refused, and refused whole, and the
least TTL is taken as it is.

Everything goes through the same means as a flip (prerequisites, exact deletes, a lock's id). Nothing is left behind; what a killed run left
is taken away by the next one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from failsafe.errors import DnsError, ZoneChanged
from failsafe.ports import ScratchRecord

FIRST, SECOND, STALE = 1, 2, 3


def prove_cas(scratch: ScratchRecord, least_ttl_seconds: int) -> str:
    """Creates, changes, tries two stale changes, deletes. "" if the provider keeps its promises; else what it did. Raises DnsError, SecretError."""
    scratch.clear()
    try:
        fault = _try(scratch, least_ttl_seconds)
    except DnsError:
        with suppress(DnsError):  # the first error is the one to be told; the next run clears
            scratch.clear()
        raise
    scratch.clear()
    left = scratch.read()
    if left:
        raise DnsError(f"{scratch.name} was deleted and still holds {left[0]}", mend="look at the zone; the next run clears it")
    return fault


def _try(scratch: ScratchRecord, least_ttl_seconds: int) -> str:
    _written(scratch, None, FIRST)
    given = scratch.ttl_seconds()
    _written(scratch, FIRST, SECOND)
    if _accepted(lambda: scratch.write(FIRST, STALE)):
        return f"a change that expected {FIRST} where {SECOND} stood was accepted"
    if _accepted(lambda: scratch.write(None, SECOND)):
        return f"a change that expected nothing where {SECOND} stood was accepted"
    found = scratch.read()
    if found != (SECOND,):
        return f"after refused changes {scratch.name} holds {found} instead of {SECOND}"
    return "" if given == least_ttl_seconds else f"a TTL of {least_ttl_seconds} s was written and became {given} s"


def _written(scratch: ScratchRecord, expected: int | None, number: int) -> None:
    scratch.write(expected, number)
    found = scratch.read()
    if found != (number,):
        raise DnsError(f"{scratch.name} was written and holds {found} instead of {number}", mend="look at the zone")


def _accepted(write: Callable[[], None]) -> bool:
    try:
        write()
    except ZoneChanged:
        return False
    return True
