"""Whether the recovery kit is still true: what it was made of, as digests under a key that never leaves this machine, compared with now. Pure."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from failsafe.model import Finding, Severity

NAMED = 5  # changes named in a finding
LOST = "a repository without its keys/, its config or its password is lost for ever"
MEND = "failsafe kit, then carry the file to another place"


@dataclass(frozen=True, slots=True)
class KitCheckup:
    """`made_at` None: never; of the newest. `then`, `now`: label -> digest of everything that a kit depends on, at that time and now."""

    has_repositories: bool
    made_at: datetime | None = None
    written_to: str = ""
    encrypted: bool = True
    lacking: tuple[str, ...] = ()
    then: Mapping[str, str] = field(default_factory=dict)
    now: Mapping[str, str] = field(default_factory=dict)
    proved_at: datetime | None = None  # by a drill that used this kit alone
    drill_failed: tuple[str, ...] = ()  # what the last such drill could not bring back


NO_KIT = KitCheckup(has_repositories=False)


def digest_of(key: bytes, content: bytes) -> str:
    """Nobody without the key can try passwords against it; 16 hexadecimal digits are enough to see a change."""
    return hmac.new(key, content, hashlib.sha256).hexdigest()[:16]


def find_changes(then: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    """Labels of what is new, gone or different, in order."""
    return tuple(label for label in sorted({*then, *now}) if then.get(label) != now.get(label))


def judge_kit(seen: KitCheckup) -> Finding:
    if not seen.has_repositories:
        return Finding("kit", Severity.SKIPPED, "controller", "no repository is configured, so there is nothing to keep")
    if seen.made_at is None:
        return Finding("kit", Severity.WARN, "controller", f"no recovery kit was ever made; {LOST}", MEND)
    made = f"the recovery kit of {seen.made_at:%Y-%m-%d %H:%M} UTC"
    changes = find_changes(seen.then, seen.now)
    if changes:
        more = f" and {len(changes) - NAMED} more" if len(changes) > NAMED else ""
        text = f"{made} is out of date: changed since: {', '.join(changes[:NAMED])}{more}"
        return Finding("kit", Severity.WARN, "controller", text, MEND)
    if seen.lacking:
        return Finding("kit", Severity.WARN, "controller", f"{made} lacks something: {'; '.join(seen.lacking[:NAMED])}", MEND)
    if seen.drill_failed:
        text = f"with {made} alone mail does not come back: {'; '.join(seen.drill_failed[:NAMED])}"
        return Finding("kit", Severity.WARN, "controller", text, f"make another: {MEND}")
    kind = "" if seen.encrypted else ", not encrypted"
    proof = "no drill has proved it yet" if seen.proved_at is None else f"a drill proved it on {seen.proved_at:%Y-%m-%d}"
    text = f"{made} ({seen.written_to}{kind}) is up to date, {proof}; keep a copy away from this machine"
    return Finding(
        "kit", Severity.OK, "controller", text, "" if seen.proved_at else f"failsafe drill restore --kit {seen.written_to}"
    )
