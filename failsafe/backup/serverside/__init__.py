"""failsafe's side on a mail server, in parts; there it is one file. `python3 -m failsafe.backup.serverside` prints that file, to be installed."""

from __future__ import annotations

import hashlib
import zlib
from functools import cache
from pathlib import Path

from failsafe.backup.programs import assemble

PARTS = ("ground", "survey", "listing", "reading", "engines", "vitals", "asking", "settings", "session")


@cache
def program() -> str:
    return assemble(Path(__file__).parent, PARTS)


@cache
def digest() -> str:
    """What the program, installed, tells of itself (settings.py, own_digest): it is this one, or another."""
    return hashlib.sha256(program().partition("\n")[2].encode()).hexdigest()[:16]


@cache
def packed_program() -> bytes:
    """As it is sent along with a session."""
    return zlib.compress(program().encode(), 9)
