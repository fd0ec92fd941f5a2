"""`failsafe replay`: recorded evidence run through other thresholds."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo
from typing import TYPE_CHECKING, Any

import typer

from failsafe.cli.common import JSON_OPTION, answer, answer_json, open_app, verbs_app
from failsafe.cli.names import domains
from failsafe.errors import EXIT_OK, NothingFound, UsageError

if TYPE_CHECKING:
    from datetime import timedelta

    from failsafe.failover.recording import Coverage
    from failsafe.replays import Replayed

app = verbs_app()
LAST_QUARTER = "90d"
FLIPS_SHOWN = 20
HEAD = ("down for", "up for", "quorum", "flips", "false", "unproven", "real", "asked", "blocked", "blips", "at the secondary")


@app.command()
def replay(
    domains: list[str] = typer.Argument(None, autocompletion=domains, metavar="DOMAIN…", help="Which domains (default: all)."),
    since: str = typer.Option(LAST_QUARTER, "--since", metavar="T", help="2026-11-20, yesterday 18:00, or 30d (ago)."),
    until: str = typer.Option("", "--until", metavar="T", help="Default: now."),
    down_for: list[str] = typer.Option(None, "--down-for", metavar="D", help="Try this, such as 5m; repeat it to try several."),
    up_for: list[str] = typer.Option(None, "--up-for", metavar="D", help="Likewise, before a failback."),
    quorum: list[int] = typer.Option(None, "--quorum", metavar="N", min=1, help="Likewise, vantages that must say down."),
    as_json: bool = JSON_OPTION,
) -> None:
    """How many flips would there have been, and how many of them false? With the thresholds that are configured, and with others.

    The evidence that the watch recorded is shown again to the code that decides, as in mode auto with a secondary that is ready and a provider
    that always answers. A flip is false where the recording shows that it was not the primary: another vantage saw it take mail while
    those that voted still said down, or our own line was down. What one vantage alone saw is unproven. Gaps in the evidence are told.

    Examples: failsafe replay
              failsafe replay example.org --since 30d --down-for 5m --down-for 15m --down-for 1h --quorum 1
    """
    from failsafe.cli.times import parse_time
    from failsafe.replays import Thresholds, replay_domain

    everything = open_app()
    now, zone = everything.clock.now(), everything.time_zone
    begin = parse_time(since, now, zone)
    end = min(parse_time(until, now, zone, end_of_day=True), now) if until else now
    if begin >= end:
        raise UsageError(f"--since {since} is not before --until {until or 'now'}")
    wanted = Thresholds(_durations("--down-for", down_for), _durations("--up-for", up_for), tuple(quorum or ()))
    names = list(dict.fromkeys(domains or sorted(everything.config.domain)))
    if not names:
        raise UsageError("no domain is configured", mend='add a [domain."NAME"] to the configuration')
    for name in names:
        everything.domain(name)
    found = [replay_domain(everything, name, begin, end, wanted) for name in names]
    if as_json:
        answer_json(
            {
                "since": f"{begin:%Y-%m-%dT%H:%M:%SZ}",
                "until": f"{end:%Y-%m-%dT%H:%M:%SZ}",
                "domains": [each.to_json() for each in found],
            }
        )
    else:
        for line in (line for each in found for line in _lines(each, zone)):
            answer(line)
    if not any(each.rows for each in found):
        raise NothingFound(
            "no evidence is recorded in this time", mend="`failsafe run`, or `failsafe tick` from cron, records it"
        )
    raise typer.Exit(EXIT_OK)


def _durations(option: str, texts: list[str] | None) -> tuple[timedelta, ...]:
    from failsafe.config.types import parse_duration

    try:
        found: tuple[Any, ...] = tuple(parse_duration(text) for text in texts or ())
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None
    return found


def _lines(found: Replayed, zone: tzinfo) -> Iterator[str]:
    from failsafe.render import spoken_age, spoken_instant
    from failsafe.replays import explain

    recording = found.recording
    span = spoken_age(recording.until - recording.since)
    yield f"{found.domain}: {spoken_instant(recording.since, zone)} to {spoken_instant(recording.until, zone)} ({span})"
    for each in found.coverage:
        yield f"  {each.vantage}: {_covered(each, zone)}"
    if found.rows:
        yield from _table(found)
    for place, row in enumerate(found.rows):
        for flip in row.flips[:FLIPS_SHOWN]:
            back = "not back in this time" if flip.back_at is None else f"back after {spoken_age(flip.back_at - flip.at)}"
            mark = " *" if place == 0 else ""
            yield f"  down for {spoken_age(row.policy.down_for)}{mark}: {spoken_instant(flip.at, zone)}, {back}: {flip.verdict}: {flip.why}"
        if len(row.flips) > FLIPS_SHOWN:
            yield f"  … and {len(row.flips) - FLIPS_SHOWN} more (--json lists all)"
    yield from (f"  {meaning}" for meaning in explain(found.rows))
    yield from (f"  note: {note}" for note in found.notes)


def _covered(each: Coverage, zone: tzinfo) -> str:
    from failsafe.render import spoken_age, spoken_instant

    said = f"knew {each.known:.1%} of the time, looked and could not tell {each.unknown:.1%}"
    if not each.gaps:
        return f"{said}; no gap"
    begin, end = each.gaps[0]
    return f"{said}; {len(each.gaps)} gap(s), the longest {spoken_age(end - begin)} from {spoken_instant(begin, zone)}: what happened in them nobody knows"


def _table(found: Replayed) -> Iterator[str]:
    from failsafe.render import spoken_age

    rows = [
        (
            f"{spoken_age(row.policy.down_for)}{' *' if place == 0 else ''}", spoken_age(row.policy.up_for), str(row.policy.quorum), str(len(row.flips)),
            str(row.count("false")), str(row.count("unproven")), str(row.count("real")), str(row.asked), str(row.blocked), str(row.blips),
            spoken_age(row.at_secondary),
        )
        for place, row in enumerate(found.rows)
    ]  # fmt: skip
    widths = [max(len(each) for each in column) for column in zip(HEAD, *rows, strict=True)]
    for cells in (HEAD, *rows):
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
    yield "  * as configured"
