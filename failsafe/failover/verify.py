"""Judges how far a plan has come by what the zone now says. Pure.

Success is what the world is told: every authoritative server that answers gives the planned set, at least one does, and the provider
agrees. A silent server is named, not waited for: a self-hoster's first name server is often the dead primary.
"""

from __future__ import annotations

from enum import StrEnum

from failsafe.failover.facts import ZoneReading
from failsafe.failover.zone import describe
from failsafe.model import Intent, MxSet, ServerAnswer


class Progress(StrEnum):
    DONE = "done"
    NOT_WRITTEN = "not-written"  # the zone still holds exactly what it held before
    UNSHOWN = "unshown"  # the provider holds the plan, but not every server that answers shows it
    WAITING = "waiting"  # nobody can be asked
    DRIFT = "drift"  # the zone holds something else


def judge_progress(intent: Intent, reading: ZoneReading) -> tuple[Progress, str]:
    """How far the plan has come, with a sentence for a person."""
    if reading.provider is None:
        return Progress.WAITING, f"the DNS provider cannot be read back: {reading.provider_error}"
    answers = [(answer.nameserver, answer.mx) for answer in reading.answers if answer.mx is not None]
    if reading.provider.same_records(intent.desired):
        late = [f"{who} still says {describe(mx)}" for who, mx in answers if not mx.same_records(intent.desired)]
        if late:
            return Progress.UNSHOWN, "; ".join(late[:8])
        if not answers:
            return Progress.WAITING, reading.unreadable or "no authoritative server answered"
        silent = f"; silent: {', '.join(reading.silent)}" if reading.silent else ""
        return Progress.DONE, f"{len(answers)} authoritative server(s) give {describe(intent.desired)}{silent}"
    if reading.provider.same_records(intent.before) and not any(mx.same_records(intent.desired) for _, mx in answers):
        return Progress.NOT_WRITTEN, f"the zone still holds {describe(intent.before)}"
    return Progress.DRIFT, f"the provider says {describe(reading.provider)}, the plan was {describe(intent.desired)}"


def describe_public(desired: MxSet, answers: tuple[ServerAnswer, ...]) -> str:
    """How far a change has come into the caches of public resolvers, for a person; "" where none answered."""
    heard = [(answer.nameserver, answer.mx) for answer in answers if answer.mx is not None]
    new = [who for who, mx in heard if mx.same_records(desired)]
    old = [f"{who} still gives {describe(mx)}{_left(mx)}" for who, mx in heard if not mx.same_records(desired)]
    said = [f"{', '.join(new)} give{'s' if len(new) == 1 else ''} {describe(desired)}"] if new else []
    return "; ".join([*said, *old])


def _left(found: MxSet) -> str:
    return "" if found.ttl_seconds is None else f" for at most {found.ttl_seconds} s more"
