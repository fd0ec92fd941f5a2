"""All looks of one mail server."""

from __future__ import annotations

from failsafe.app import App
from failsafe.looks import canary, elsewhere, here, inside
from failsafe.looks.look import Look

# each: (app, server) -> looks, none where it is not configured
KINDS = (here.inbound, here.access, here.submission, elsewhere.machines, elsewhere.monitors, inside.inside, canary.canary)


def looks_of(app: App, server: str) -> tuple[Look, ...]:
    """Those of a server that has a [probe] table."""
    return tuple(look for kind in KINDS for look in kind(app, server))
