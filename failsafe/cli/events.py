"""`failsafe events`: the audit trail."""

from __future__ import annotations

import typer

from failsafe.cli.common import JSON_OPTION, answer, answer_json, open_app, verbs_app
from failsafe.events import Event

app = verbs_app()

FOLLOW_SECONDS = 1.0


@app.command()
def events(
    since: str = typer.Option("", "--since", metavar="T", help="2026-11-20, 2026-11-20T18:00, yesterday 18:00, or 2h (ago)."),
    follow: bool = typer.Option(False, "--follow", help="Go on with what happens from now on; Ctrl-C ends it."),
    runbook: str = typer.Option(
        "", "--runbook", metavar="EVENT", help="Instead: what to do about an event, as its notice names it."
    ),
    as_json: bool = JSON_OPTION,
) -> None:
    """What happened, oldest first: a line each with time, name, subject and text.

    Examples: failsafe events --since 2h --follow
              failsafe events --runbook flip.blocked
    """
    from failsafe.cli.times import parse_time

    if runbook:
        _tell_runbook(runbook, as_json=as_json)
        return

    everything = open_app()
    clock, zone = everything.clock, everything.time_zone
    after = parse_time(since, clock.now(), zone) if since else None
    last = 0
    for number, event in everything.events.since(after):
        _print(event, as_json=as_json, zone=zone)
        last = number
    if follow and not last:
        last = next((number for number, _ in everything.events.since(limit=1)), 0)
    while follow:
        clock.sleep(FOLLOW_SECONDS)
        for number, event in everything.events.since(after_id=last):
            _print(event, as_json=as_json, zone=zone)
            last = number


def _tell_runbook(name: str, *, as_json: bool) -> None:
    """Needs no configuration: it is asked for on a bad day."""
    from failsafe.runbooks import read_runbook

    page = read_runbook(name)
    if as_json:
        answer_json({"event": name, "page": page})
    else:
        answer(page.rstrip())


def _print(event: Event, *, as_json: bool, zone: object) -> None:
    from datetime import tzinfo

    from failsafe.render import one_line, spoken_instant
    from failsafe.status.as_json import instant

    assert isinstance(zone, tzinfo)
    if as_json:
        answer_json({"at": instant(event.at), "event": event.name, "subject": event.subject, "text": event.text})
    else:
        answer(f"{spoken_instant(event.at, zone)}  {event.name:<22} {event.subject}: {one_line(event.text)}")
