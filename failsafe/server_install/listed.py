"""The list of what may be read and run on a mail server: from its table, and from where its layout was found to lie there. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from failsafe.backup.layouts import Sight, Source, judge_source, plan_look
from failsafe.backup.reach import Look
from failsafe.config.servers import MailServer
from failsafe.config.vantages import stack_of
from failsafe.config.wanted import whole_wanted_of
from failsafe.errors import UsageError


def needs_a_look(server: MailServer) -> bool:
    """Whether only the server itself can tell where its mail lies: its layout is found by looking at containers."""
    wanted = whole_wanted_of(server)
    return wanted.reads_mail and not judge_source(wanted, Sight()).reach.root


def settings_of(server: MailServer, source: Source | None = None) -> dict[str, Any]:
    """What stands in the list. `source`: what was found there; without it, what the table alone says. Raises UsageError where that is not enough."""
    if server.read == "doveadm":
        raise UsageError(
            'mail that is read by doveadm (read = "doveadm") has no forced command',
            mend='set read = "files", or keep a key there that may run docker',
        )
    wanted = whole_wanted_of(server)
    found = judge_source(wanted, Sight()) if source is None else source
    if wanted.reads_mail and not found.reach.root:
        raise UsageError(
            f"where the mail lies is only known once the server was looked at{f': {found.fault}' if source else ''}",
            mend=found.mend
            if source is not None and found.mend
            else "say --look-as root@… (a login of your own, for this once), or set path",
        )
    look = plan_look(wanted)
    settings = replace(found.reach, look=look or Look()).settings()
    if look is None:
        del settings["look"]
    settings["bans"] = stack_of(server).container
    return {key: value for key, value in settings.items() if value or key == "root"}
