"""failsafe's side on a mail server, in parts; there it is one file. `python3 -m failsafe.backup.serverside` prints that file, to be installed."""

from __future__ import annotations

import zlib
from functools import cache
from pathlib import Path

from failsafe.backup.programs import assemble

PARTS = ("ground", "survey", "listing", "reading", "engines", "vitals", "asking", "settings", "session")


@cache
def program() -> str:
    return assemble(Path(__file__).parent, PARTS)


@cache
def packed_program() -> bytes:
    """As it is sent along with a session."""
    return zlib.compress(program().encode(), 9)
