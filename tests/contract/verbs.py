"""A verb of the command line, run in this process."""

from __future__ import annotations

import contextlib
import io
import signal
import sys
from pathlib import Path


def run_verb(config: Path, *argv: str) -> tuple[int, str, str]:
    """Its exit code, stdout and stderr."""
    from failsafe.cli.common import run_cli
    from failsafe.cli.root import app as verbs

    out, told = io.StringIO(), io.StringIO()
    before, handler = sys.argv, signal.getsignal(signal.SIGTERM)
    sys.argv = ["failsafe", "--config", str(config), *argv]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(told):
            code = run_cli(verbs)
    finally:
        sys.argv = before
        signal.signal(signal.SIGTERM, handler)  # a verb takes SIGTERM for its own, and tests after this one fork
    return code, out.getvalue(), told.getvalue()
