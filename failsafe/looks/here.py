"""Looks from this machine: as a sender at the way in, as its owner at a mailbox, as a mail program at the way out."""

from __future__ import annotations

from collections.abc import Iterator

from failsafe.app import App
from failsafe.looks.look import Look
from failsafe.looks.sparing import sparing
from failsafe.model import Axis

ACCESS_EVERY_ROUNDS = 5  # people's access moves no MX: one IMAP login in five rounds is enough, and spares the server's log


def inbound_addresses(app: App, server: str) -> list[str]:
    """Where its mail comes in, "host:port" in a sender's order: as configured, else the primary exchanges of its domains."""
    domains = [domain for domain in app.config.domain.values() if domain.server == server]
    configured = [str(address) for address in app.config.probe[server].smtp]
    return configured or sorted({f"{name}:25" for domain in domains for name in domain.primary})


def inbound(app: App, server: str) -> Iterator[Look]:
    from failsafe.adapters.smtp import Patience, SmtpProbe

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
        yield Look(server, Axis.INBOUND, table.every, sparing(app, probe, server), probe.target)


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
