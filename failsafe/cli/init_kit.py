"""`failsafe init --from-kit`: a new machine becomes the controller."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from failsafe.cli.common import answer, answer_json, confirm, progress, say
from failsafe.errors import EXIT_EXTERNAL, EXIT_OK, EXIT_REFUSED, UsageError

if TYPE_CHECKING:
    from failsafe.backup.kit import Kit
    from failsafe.secrets import Secret
    from failsafe.takeover.places import Placing
    from failsafe.takeover.run import TakeoverReport


def take_over(kit_file: Path, passphrase_file: Path | None, prefix: Path | None, *, yes: bool, as_json: bool) -> None:
    """From the kit to a controller, with what came of it. Raises typer.Exit, and what the takeover raises."""
    from failsafe.kits.file import read_kit
    from failsafe.takeover.places import plan_places
    from failsafe.takeover.run import run_takeover
    from failsafe.takeover.writing import demand_no_conflict

    kit = read_kit(kit_file, partial(_passphrase, passphrase_file))
    placing = plan_places(kit, _wish(), None if prefix is None else prefix.absolute())
    _show(kit, placing)
    demand_no_conflict(placing.all)
    confirm("Make this machine the controller?", yes=yes)
    shown = progress(quiet=as_json)
    try:
        report = run_takeover(kit, placing, shown, say)
    finally:
        shown.close()
    if as_json:
        answer_json(_json(report, placing))
    else:
        _tell(report)
    raise typer.Exit(EXIT_REFUSED if report.refused else EXIT_EXTERNAL if report.failed else EXIT_OK)


def _wish() -> Path | None:
    """The configuration that was named by --config or $FAILSAFE_CONFIG; None where nobody named one."""
    from failsafe.config.find import named_config

    named = named_config()
    return None if named is None else named.absolute()


def _passphrase(file: Path | None) -> Secret:
    from failsafe.secrets import Secret, read_secret

    if file is not None:
        return read_secret(file)
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            "the kit is encrypted, and nobody is there to type its passphrase",
            mend="name a file that holds it with --passphrase-file",
        )
    from getpass import getpass

    return Secret(getpass("Passphrase of the kit: "), "typed")


def _show(kit: Kit, placing: Placing) -> None:
    """What was found in the kit and what would be done, for a person: on stderr."""
    say(f"The kit of controller {kit.controller}, made at {kit.made_at:%Y-%m-%d %H:%M} UTC by failsafe {kit.failsafe}:")
    for repository in kit.repositories:
        known = f"id {repository.restic_id[:10]}…" if repository.restic_id else "its id is not known"
        say(f"  repository {repository.name}: {repository.url} ({known})")
    for server in kit.servers:
        say(f"  mail server {server.name}: {server.layout}{f' over SSH, {server.ssh}' if server.ssh else ''}")
    for text in kit.all_lacking:
        say(f"  the kit lacks: {text}")
    say("To be written, with mode 0600, unless they are there already:")
    for file in placing.all:
        say(f"  {file.path}")
    if placing.moved:
        say("Paths in the configuration are changed to these places:")
        for old, new in placing.moved:
            say(f"  {old} -> {new}")
    say(f"State (database, staging, caches): {placing.state_dir}")
    for key, path in placing.lacking:
        say(f"  not in the kit, to be put there by you: {path} ({key})")
    say("Make sure that the lost machine stays off: nothing here can stop it from writing DNS records.")


def _tell(report: TakeoverReport) -> None:
    answer(f"configuration: {report.config}")
    for repository in report.repositories:
        answer(f"repository {repository.name}: {repository.error or f'adopted, id {repository.restic_id[:10]}…'}")
        if repository.error and repository.mend:
            answer(f"  what to do: {repository.mend}")
    journal = report.journal
    answer(f"journal: {f'from {journal.repository}, {journal.rows} rows' if journal.snapshot else 'none was found'}")
    for server in report.servers:
        held = (
            f"generation {server.generation}, {server.messages} messages, of {server.at:%Y-%m-%d %H:%M} UTC"
            if server.at
            else server.error
        )
        answer(f"mail server {server.server}: {held}")
        if server.error and server.mend:
            answer(f"  what to do: {server.mend}")
    for text in report.remarks:
        answer(text)
    for domain in report.domains:
        from failsafe.failover.zone import describe

        holds = f"holds {describe(domain.found)}" if domain.found is not None else f"cannot be read: {domain.unreadable}"
        answer(f"{domain.domain}: {domain.state}, serving {domain.serving}; the zone {holds}")
        if domain.unfinished:
            answer(f"  {domain.unfinished}; it is not gone on with")
        if domain.must_do:
            answer(f"  only observed until you say: {domain.must_do}")
    answer(
        f"Then: failsafe --config {report.config} status; failsafe doctor; start `failsafe run`; and make a new kit: failsafe kit"
    )


def _json(report: TakeoverReport, placing: Placing) -> dict[str, Any]:
    from failsafe.status.as_json import instant

    journal = report.journal
    return {
        "config": str(report.config),
        "state_dir": str(placing.state_dir),
        "written": [str(path) for path in report.written],
        "repositories": [
            {
                "repository": each.name,
                "restic_id": each.restic_id,
                "adopted": not each.error,
                "error": each.error,
                "mend": each.mend,
            }
            for each in report.repositories
        ],
        "journal": {"snapshot_id": journal.snapshot or None, "repository": journal.repository or None, "rows": journal.rows},
        "domains": [
            {
                "domain": each.domain,
                "state": each.state,
                "serving": each.serving,
                "mx": None
                if each.found is None
                else [{"preference": record.preference, "exchange": record.exchange} for record in each.found.records],
                "unfinished": each.unfinished,
                "must_do": each.must_do,
            }
            for each in report.domains
        ],
        "servers": [
            {
                "server": each.server,
                "generation": each.generation,
                "messages": each.messages,
                "at": instant(each.at),
                "error": each.error,
            }
            for each in report.servers
        ],
        "remarks": list(report.remarks),
    }
