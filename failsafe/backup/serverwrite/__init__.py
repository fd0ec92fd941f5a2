"""failsafe's side on a mail server that is being restored, in parts; it is sent there as one text, for one run."""

from __future__ import annotations

import zlib
from functools import cache
from pathlib import Path

from failsafe.backup.programs import assemble

PARTS = ("ground", "sight", "restore", "session")


@cache
def program() -> str:
    return assemble(Path(__file__).parent, PARTS)


@cache
def packed_program() -> bytes:
    """As it is sent along with a session."""
    return zlib.compress(program().encode(), 9)
