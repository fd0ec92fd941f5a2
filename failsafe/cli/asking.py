"""One question to a person at a terminal. Questions on stderr, answers from stdin."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from failsafe.cli.common import say
from failsafe.cli.search import for_terminal
from failsafe.errors import Interrupted


def ask_line(prompt: str, default: str, explained: Sequence[str], nothing: str) -> str:
    """What was typed; `default`, which stands in brackets, for an empty line. `?` shows `explained`.

    q and the end of the input leave: raises Interrupted, saying `nothing` ("nothing was done").
    """
    shown = f" [{for_terminal(default)}]" if default else ""
    while True:
        print(f"{prompt}{shown}: ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        text = line.strip()
        if not line or text.lower() in ("q", "quit", "exit"):
            say()
            raise Interrupted(nothing)
        if text != "?":
            say()
            return text or default
        for one in explained or (f"q quits, and {nothing}.",):
            say(f"  {one}")
