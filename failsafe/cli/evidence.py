"""`failsafe evidence`: what was seen of a mail server, from where, with the sessions as they were held."""

from __future__ import annotations

from datetime import timedelta

import typer

from failsafe.cli.common import JSON_OPTION, answer, answer_json, open_app, verbs_app
from failsafe.cli.names import servers
from failsafe.errors import UsageError
from failsafe.failover.health import EvidenceRun

app = verbs_app()

USUAL_SPAN = timedelta(days=1)


@app.command()
def evidence(
    server: str = typer.Argument(
        "", autocompletion=servers, metavar="[SERVER]", help="A mail server with a [probe] table; left out: all."
    ),
    axis: str = typer.Option("", "--axis", help="inbound, submission, access, delivery or host."),
    vantage: str = typer.Option("", "--vantage", metavar="V", help="From where; `here` is this machine."),
    since: str = typer.Option("", "--since", metavar="T", help="2026-11-20, yesterday 18:00, or 2h (ago); left out: a day."),
    transcript: bool = typer.Option(
        False, "--transcript", help="Show what was said (kept for 14 days; passwords are never in it)."
    ),
    as_json: bool = JSON_OPTION,
) -> None:
    """What was seen of a mail server, oldest first: the same thing seen many times is one line.

    Examples: failsafe evidence vps --axis inbound --transcript
              failsafe evidence --since 7d --json
    """
    from failsafe.cli.times import parse_time

    everything = open_app()
    known = sorted(everything.config.probe)
    if server and server not in known:
        raise UsageError(f"there is no [probe.{server}]", mend=f"name one of: {', '.join(known) or 'none is configured'}")
    now, zone = everything.clock.now(), everything.time_zone
    after = parse_time(since, now, zone) if since else now - USUAL_SPAN
    found = [
        run
        for name in ([server] if server else known)
        for run in everything.history.runs(name, since=after)
        if run.last_at >= after and axis in ("", run.evidence.axis) and vantage in ("", run.evidence.vantage)
    ]
    found.sort(key=lambda run: (run.last_at, run.first_at))
    if as_json:
        answer_json({"evidence": [_as_json(run) for run in found]})
        return
    for run in found:
        answer(_line(run, zone))
        if transcript and run.evidence.transcript:
            answer("".join(f"    {line}\n" for line in run.evidence.transcript.splitlines()).rstrip("\n"))
    if not found:
        answer("nothing was seen in this time")


def _line(run: EvidenceRun, zone: object) -> str:
    from datetime import tzinfo

    from failsafe.render import one_line, spoken_instant

    assert isinstance(zone, tzinfo)
    seen = run.evidence
    often = "" if run.count == 1 else f" ({run.count} times since {spoken_instant(run.first_at, zone)})"
    return f"{spoken_instant(run.last_at, zone)}  {seen.server} {seen.axis} from {seen.vantage}: {seen.seen}: {one_line(seen.text)}{often}"


def _as_json(run: EvidenceRun) -> dict[str, object]:
    from failsafe.status.as_json import instant

    seen = run.evidence
    return {
        "server": seen.server, "vantage": seen.vantage, "axis": str(seen.axis), "seen": str(seen.seen), "text": seen.text,
        "target": seen.target, "first_at": instant(run.first_at), "last_at": instant(run.last_at), "count": run.count,
        "seconds": seen.seconds, "transcript": seen.transcript,
    }  # fmt: skip
