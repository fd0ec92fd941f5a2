"""Gathers the day for the digest, once a day, and puts it into the outbox: its event and its notice are one transaction, so a restart neither
loses nor repeats it."""

from __future__ import annotations

from datetime import datetime

from failsafe.app import App
from failsafe.events import Event
from failsafe.status.digest import DAY, DigestFacts, ServerDay, digest_due, make_digest
from failsafe.status.values import Status

EVENTS_READ = 2_000


def is_due(app: App, now: datetime) -> bool:
    """Raises StoreError."""
    at = app.config.notify.digest_at
    if at is None:
        return False
    last = app.events.last("digest.made", app.config.controller.id)
    first = None if last is not None else app.glance().one("first_event")
    begun_at = None if first is None else first["at"]
    return digest_due(at, now, app.time_zone, None if last is None else last.at, begun_at)


def tell_the_day(app: App, status: Status, now: datetime) -> None:
    """Raises StoreError."""
    notice = make_digest(gather_day(app, status, now), app.time_zone)
    app.record(Event("digest.made", app.config.controller.id, notice.subject, now, {}, notice))


def gather_day(app: App, status: Status, now: datetime) -> DigestFacts:
    since = now - DAY
    happened = tuple((event.at, event.name, event.subject, event.text) for _, event in app.events.since(since, limit=EVENTS_READ))
    servers = tuple(
        ServerDay(
            server,
            tuple(run for run in app.history.runs(server, since=since) if run.last_at >= since),
            tuple(row.numbers for row in app.vitals.since(server, "inside", since)),
            tuple(row.numbers for row in app.vitals.since(server, "canary", since)),
        )
        for server in app.config.mail_server
    )
    return DigestFacts(since, now, status, servers, happened)
