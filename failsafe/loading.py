"""Loads libraries while this program waits for others: for a server, or for restic."""

from __future__ import annotations

import contextlib
import threading
from importlib import import_module


def load_meanwhile(*modules: str) -> None:
    """In a thread of its own; nobody waits for it. What cannot be loaded says so where it is used."""

    def load() -> None:
        for name in modules:
            with contextlib.suppress(Exception):
                import_module(name)

    threading.Thread(target=load, name="loading", daemon=True).start()
