"""From a mail server's table to what its layout needs to know."""

from __future__ import annotations

from dataclasses import replace

from failsafe.backup.layouts import Wanted
from failsafe.config.servers import MailServer


def wanted_of(table: MailServer) -> Wanted:
    """For looking at the mail alone: without extra paths and commands."""
    return Wanted(table.layout, "" if table.path is None else str(table.path), table.container or "")


def whole_wanted_of(table: MailServer) -> Wanted:
    """As every backup wants it: with extra paths and commands."""
    reads_mail = table.layout != "imap" and table.read == "files"
    looked = wanted_of(table)
    return replace(looked, extra_paths=tuple(map(str, table.extra_paths)), commands=dict(table.commands), reads_mail=reads_mail)
