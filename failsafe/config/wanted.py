"""From a mail server's table to what its layout needs to know."""

from __future__ import annotations

from failsafe.backup.layouts import Wanted
from failsafe.config.servers import MailServer


def wanted_of(table: MailServer) -> Wanted:
    """For looking at the mail alone: without extra paths and commands."""
    return Wanted(table.layout, "" if table.path is None else str(table.path), table.container or "")
