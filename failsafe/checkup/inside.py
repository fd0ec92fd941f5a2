"""Gathers for the doctor what lies behind an open way in: one look from inside, one at the certificate, and what is known of the canaries."""

from __future__ import annotations

from datetime import datetime, timedelta

from failsafe.app import App
from failsafe.canaries import read_book
from failsafe.errors import FailsafeError
from failsafe.failover.delivery import CANARY, INSIDE
from failsafe.failover.doctor_delivery import log_names_canaries
from failsafe.failover.doctor_inside import InsideCheckup, Shown
from failsafe.failover.vitals import Vitals
from failsafe.looks.exchanges import LeftAlone, ask_in_turn
from failsafe.looks.here import inbound_addresses
from failsafe.looks.inside import can_look_inside, read_vitals
from failsafe.model import Axis

LATELY = timedelta(days=1)


def look_at_inside(app: App, server: str, now: datetime) -> InsideCheckup:
    """Never raises for what the world does."""
    domains = [domain for domain in app.config.domain.values() if domain.server == server]
    probe, canary = app.config.probe.get(server), app.config.canary.get(server)
    vitals, why = _vitals(app, server)
    shown, why_not = _shown(app, server, now)
    return InsideCheckup(
        server,
        vitals,
        why,
        shown,
        why_not,
        exchanges=frozenset(name for domain in domains for name in domain.primary),
        book=None if canary is None else read_book(app.state_dir, server),
        canary_every=canary.every if canary is not None else timedelta(minutes=15),
        third_party=canary.smtp.host if canary is not None else "",
        secondaries=frozenset(name for domain in domains for name in domain.secondary),
        mailbox_known=probe is not None and probe.imap is not None,
        by_ssh=can_look_inside(app, server),
        quorums=tuple(sorted({domain.quorum for domain in domains})),
        log_names=None if canary is None else _log_names(app, server, now),
    )


def _log_names(app: App, server: str, now: datetime) -> bool | None:
    looks = [
        (row.at, row.numbers["log"].get("taken") if row.numbers.get("log") else None)
        for row in app.vitals.since(server, INSIDE, now - LATELY)
    ]
    canaries = app.vitals.since(server, CANARY, now - LATELY)
    return log_names_canaries((row.at for row in canaries if row.numbers.get("new") and not row.numbers.get("place")), looks)


def _vitals(app: App, server: str) -> tuple[Vitals | None, str]:
    if not can_look_inside(app, server):
        return None, "ssh to the server is not configured"
    try:
        found = read_vitals(app, server, "", ())
    except FailsafeError as error:
        return None, str(error)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError):
        return None, "the program there gave an answer that makes no sense"
    return found, "" if found is not None else "the program installed there is older than this one"


def _shown(app: App, server: str, now: datetime) -> tuple[Shown | None, str]:
    """A session as far as MAIL FROM; not while the server refuses this machine itself."""
    probe = app.config.probe.get(server)
    if probe is None:
        return None, "no probe is configured"
    targets = inbound_addresses(app, server)
    if not targets:
        return None, "no exchange is known"
    from failsafe.adapters.smtp import Patience, SmtpProbe

    patience = Patience(look_up=10, connect=10, greeting=20, command=15, whole=45)
    ca_file = None if probe.ca_file is None else str(probe.ca_file)
    asking = SmtpProbe(server, targets[:1], None, probe.helo, patience=patience, ca_file=ca_file)
    for run in app.history.newest(server, "here", Axis.INBOUND):
        asking.remember(run.evidence)  # TLS that was broken just now is not broken off once more
    sight = ask_in_turn(app, targets[0], now, asking.look, lambda sight: sight.seen, server=server)
    if isinstance(sight, LeftAlone):
        return None, str(sight)
    return Shown(targets[0], sight.tls, sight.certificate_until), ""
