"""What a person does about a guard that stands against a flip. Pure, and light: `status` says it too."""

from __future__ import annotations

from collections.abc import Iterable

from failsafe.model import Guard

WAYS_OUT = {  # of guards that have no one command
    "dwell": "nothing: it ends by itself; a person may flip at once, by hand",
    "flip-budget": "find out why it flaps, then flip by hand",
    "no-quorum": "nothing: it ends when enough vantages have said so for long enough; a person may flip at once, by hand",
    "start-grace": "nothing: it ends after two looks",
    "proof-of-life": "look why the probes see it down: failsafe doctor --domain DOMAIN; it ends after half of down_for without mail",
    "doctor": "failsafe doctor --domain DOMAIN",
}


def way_out(guard: Guard, domain: str) -> str:
    """What a person does about it."""
    return guard.mend or WAYS_OUT.get(guard.code, "failsafe doctor --domain DOMAIN").replace("DOMAIN", domain)


def told_guards(guards: Iterable[Guard], domain: str) -> tuple[Guard, ...]:
    """Each with what to do."""
    return tuple(Guard(guard.code, guard.text, way_out(guard, domain)) for guard in guards)


def with_way_out(guard: Guard, domain: str) -> str:
    """`held: held until …; what to do: failsafe release example.org`."""
    return f"{guard.code}: {guard.text}; what to do: {way_out(guard, domain)}"
