"""Judges what a login with the key of every night showed: is failsafe's side installed there, is it this failsafe's, does its list name what is wanted. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from failsafe.backup.doctor_access import INSTALLED
from failsafe.config.types import SshTarget
from failsafe.server_install.script import as_root

LACKING = 10  # named at once


@dataclass(frozen=True, slots=True)
class Shown:
    """`error`: why nothing was shown; `refused`: since the server does not take the key."""

    mode: str = ""
    program: str = ""
    python: str = ""
    lacking: tuple[str, ...] = ()  # what the list there does not allow
    error: str = ""
    mend: str = ""
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one server. `line`: what is missing in authorized_keys there; "" where nothing is."""

    server: str
    text: str
    line: str = ""
    mend: str = ""
    ok: bool = False
    reached: bool = True


def judge_shown(name: str, place: SshTarget, shown: Shown, line: str, ours: str) -> Verdict:
    """`line`: for authorized_keys; `ours`: the digest of the program that this failsafe would install."""
    mend = f"failsafe config server {name} | {as_root(place)}"
    if shown.refused:
        return Verdict(name, f"our key is not let in: {shown.error}", line, mend)
    if shown.error:
        return Verdict(name, shown.error, mend=shown.mend, reached=False)
    if shown.mode != INSTALLED:
        text = f"our key is let in and may run anything: the forced command is missing in authorized_keys of {place.user}"
        return Verdict(name, text, line, mend)
    if shown.program != ours:
        return Verdict(name, "the program installed there is not the one of this failsafe", mend=mend)
    if shown.lacking:
        named = "; ".join(shown.lacking[:LACKING])
        return Verdict(name, f"the list there does not allow what the configuration wants: {named}", mend=mend)
    return Verdict(name, f"our key starts the installed program and nothing else (Python {shown.python})", ok=True)
