"""Paramiko's modules import each other in circles: two threads that import them for the first time at the same time get half of one, and an ImportError.

Whoever needs Paramiko or Fabric calls `load_paramiko` first; the imports that follow find everything there.
"""

from __future__ import annotations

import threading

_LOCK = threading.Lock()


def load_paramiko() -> None:
    """Takes half a second the first time, and nothing afterwards."""
    with _LOCK:
        import paramiko.hostkeys  # noqa: F401 - both are only to be there
