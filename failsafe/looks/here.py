"""Looks from this machine: as a sender at the way in, as its owner at a mailbox, as a mail program at the way out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from failsafe.adapters.way import DIRECT, Way
from failsafe.app import App
from failsafe.failover.delivery import INSIDE, INSIDE_ROUNDS
from failsafe.looks.look import HERE, Look
from failsafe.looks.sparing import sparing
from failsafe.model import Axis, ProbeClass

if TYPE_CHECKING:
    from failsafe.adapters.smtp import SmtpProbe
    from failsafe.looks.surroundings import Door

OTHERS_TRIED = 2  # exchanges of the secondary
ACCESS_EVERY_ROUNDS = 5  # people's access moves no MX: one IMAP login in five rounds is enough, and spares the server's log
# Looks that log in: vantage, axis, rounds between two, what they see where they were let in, how a person knows it.
_AT_LEAST_IN = frozenset({ProbeClass.UP, ProbeClass.DEGRADED, ProbeClass.DOWN})
LOGINS = (
    (HERE, Axis.ACCESS, ACCESS_EVERY_ROUNDS, frozenset({ProbeClass.UP}), "IMAP, with a login"),
    (INSIDE, Axis.HOST, INSIDE_ROUNDS, _AT_LEAST_IN, "SSH, with a login"),
)


def inbound_addresses(app: App, server: str) -> list[str]:
    """Where its mail comes in, "host:port" in a sender's order: as configured, else the primary exchanges of its domains."""
    domains = [domain for domain in app.config.domain.values() if domain.server == server]
    configured = [str(address) for address in app.config.probe[server].smtp]
    return configured or sorted({f"{name}:25" for domain in domains for name in domain.primary})


def other_exchanges(app: App, server: str, helo: str | None, *, way: Way = DIRECT) -> dict[str, SmtpProbe]:
    """By name: they tell whether port 25 works at all, exchanges of a secondary asked without a recipient. Empty where no domain has one, or the probe is not at port 25."""
    from failsafe.adapters.smtp import SmtpProbe
    from failsafe.looks.surroundings import port_patience

    if not any(address.endswith(":25") for address in inbound_addresses(app, server)):
        return {}
    names = sorted({name for domain in app.config.domain.values() if domain.server == server for name in domain.secondary})
    names = names[:OTHERS_TRIED]
    patience = port_patience(app.config.probe[server].every / max(len(names), 1))
    return {name: SmtpProbe(server, [f"{name}:25"], None, helo, patience=patience, way=way) for name in names}


def side_doors(app: App, server: str) -> list[Door]:
    """Its other ports, in the order in which they are tried: what a mail server answers to most politely first."""
    from failsafe.adapters.sockets import split_address
    from failsafe.looks.surroundings import Door

    table, probe = app.server(server), app.config.probe[server]
    host = split_address(inbound_addresses(app, server)[0], 25)[0]
    imap = Door("993", host, 993) if probe.imap is None else Door(str(probe.imap.port), probe.imap.host, probe.imap.port)
    ssh = [] if table.ssh is None else [Door("SSH", table.ssh.host, table.ssh.port)]
    return [imap, Door("465", host, 465), *ssh]


def stands(app: App, server: str, now: datetime) -> str:
    """How somebody has just logged in there: then nobody need knock at its doors, which strict filters count. "" where nobody has."""
    for vantage, axis, rounds, seen, told in LOGINS:
        newest = next(iter(app.history.newest(server, vantage, axis)), None)
        is_in = newest is not None and newest.evidence.seen in seen
        if newest is not None and is_in and timedelta(0) <= now - newest.last_at <= app.config.probe[server].every * rounds * 2:
            return told
    return ""


def inbound(app: App, server: str) -> Iterator[Look]:
    from failsafe.adapters.smtp import Patience, SmtpProbe
    from failsafe.looks.bans import banned_now
    from failsafe.looks.exchanges import KeptRefusals
    from failsafe.looks.surroundings import InboundLook, Surroundings

    table = app.config.probe[server]
    addresses = inbound_addresses(app, server)
    ca_file = None if table.ca_file is None else str(table.ca_file)
    if addresses:
        probe = SmtpProbe(
            server,
            addresses,
            table.recipient,
            table.helo,
            patience=Patience.within(table.every),
            ca_file=ca_file,
            sender=table.sender,
        )
        around = Surroundings(
            other_exchanges(app, server, table.helo),
            side_doors(app, server),
            table.every,
            refusals=KeptRefusals(app),
            stands=partial(stands, app, server),
            banned=partial(banned_now, app, server),
        )
        look = InboundLook(probe, around, sparing(app, probe, server))
        yield Look(server, Axis.INBOUND, table.every, look.see, probe.target)


def access(app: App, server: str) -> Iterator[Look]:
    table = app.config.probe[server]
    if table.imap is not None:
        from failsafe.adapters.imap_probe import ImapProbe

        imap = ImapProbe(server, table.imap.endpoint(), table.imap.user, str(table.imap.password_file))
        yield Look(
            server,
            Axis.ACCESS,
            table.every * ACCESS_EVERY_ROUNDS,
            imap.probe,
            imap.target,
            password_file=str(table.imap.password_file),
        )


def submission(app: App, server: str) -> Iterator[Look]:
    table = app.config.probe[server]
    if table.submission:
        from failsafe.adapters.submission_probe import Login, SubmissionProbe

        own = table.imap if table.submission_login else None
        login = None if own is None else Login(own.user, str(own.password_file))
        probe = SubmissionProbe(server, [place.endpoint() for place in table.submission], login, table.helo)
        password_file = "" if login is None else login.password_file
        interval = table.every * ACCESS_EVERY_ROUNDS
        yield Look(server, Axis.SUBMISSION, interval, probe.probe, probe.target, password_file=password_file)
