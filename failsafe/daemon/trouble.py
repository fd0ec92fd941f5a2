"""Tells people what no flip mends: mail that waits in the queue, canaries that are lost, a host that is short of something."""

from __future__ import annotations

from datetime import datetime, timedelta

from failsafe.app import App
from failsafe.events import Event
from failsafe.model import Axis, Evidence, Notice, ProbeClass, Severity

AGAIN = timedelta(hours=6)  # the same trouble that comes and goes is told once in this time
_TROUBLE = {
    (Axis.HOST, ProbeClass.DEGRADED): "host.trouble",
    (Axis.HOST, ProbeClass.DOWN): "host.trouble",
    (Axis.DELIVERY, ProbeClass.DEGRADED): "delivery.waits",
    (Axis.DELIVERY, ProbeClass.DOWN): "delivery.lost",
}
_WELL = {"host.trouble": "host.well", "delivery.waits": "delivery.moves", "delivery.lost": "delivery.arrives"}
_SAID = {  # subject, is mail being lost, what to do
    "host.trouble": ("the mail server needs a look", "no", "look after the mail server: failsafe doctor"),
    "delivery.waits": ("mail waits in the queue", "no: it is safe in the server's queue, and nothing is flipped", "look at the queue there: postqueue -p"),
    "delivery.lost": (
        "mail does not arrive",
        "perhaps: messages that a third party took for it are found nowhere",
        "send yourself a message from outside and look for it in the mail log; to move mail: failsafe failover --server {0}",
    ),
}  # fmt: skip


def tell_trouble(app: App, seen: Evidence) -> None:
    """Called where what was seen of an axis has changed. Raises StoreError."""
    trouble = _TROUBLE.get((seen.axis, seen.seen))
    if trouble is not None:
        last = app.events.last(trouble, seen.server)
        if last is None or seen.at - last.at >= AGAIN or _ended_after(app, trouble, seen.server, last.at):
            app.record(_event(trouble, seen))
    elif seen.seen is ProbeClass.UP:
        for told in _ends(seen):
            last = app.events.last(told, seen.server)
            if last is not None and not _ended_after(app, told, seen.server, last.at):
                app.record(_well(_WELL[told], seen, last.at))


def _ends(seen: Evidence) -> tuple[str, ...]:
    if seen.axis is Axis.HOST:
        return ("host.trouble",)
    if seen.axis is not Axis.DELIVERY:
        return ()
    return ("delivery.waits",) if seen.vantage == "inside" else ("delivery.lost",)


def _ended_after(app: App, trouble: str, server: str, at: datetime) -> bool:
    well = app.events.last(_WELL[trouble], server)
    return well is not None and well.at >= at


def _event(name: str, seen: Evidence) -> Event:
    subject, losing, must_do = _SAID[name]
    notice = Notice(
        subject=f"{seen.server}: {subject}",
        losing_mail=losing,
        mail_goes="where it went before",
        must_do=must_do.format(seen.server),
        since=seen.at,
        thread=f"{name}/{seen.server}",
        severity=Severity.FAIL if name == "delivery.lost" else Severity.WARN,
        details=f"{seen.vantage}: {seen.text}",
    )
    return Event(name, seen.server, f"{seen.vantage}: {seen.text}", seen.at, {}, notice)


def _well(name: str, seen: Evidence, since: datetime) -> Event:
    notice = Notice(
        f"{seen.server}: {seen.axis} is well again",
        "no",
        "where it went before",
        "nothing",
        since,
        f"{name}/{seen.server}",
        Severity.OK,
        seen.text,
    )
    return Event(name, seen.server, f"{seen.vantage}: {seen.text}", seen.at, {}, notice)
