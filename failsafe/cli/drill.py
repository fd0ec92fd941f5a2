"""`failsafe drill`: rehearsals that leave evidence."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from failsafe.cli.common import JSON_OPTION, answer, answer_json, open_app, progress, say, verbs_app
from failsafe.cli.names import domains, repositories
from failsafe.cli.search import for_terminal
from failsafe.clock import SystemClock
from failsafe.errors import EXIT_EXTERNAL, EXIT_FINDINGS, EXIT_OK, ConfigError, UsageError

if TYPE_CHECKING:
    from failsafe.backup.kit import Kit

app = verbs_app(
    "Rehearsals that leave evidence. Nothing live is touched.\n\n"
    "Examples: failsafe drill restore --repository nas\n          failsafe drill failover example.org"
)
SHOWN = 20  # findings of a server, for a person
ONE_REPOSITORY = typer.Option(None, "--repository", autocompletion=repositories, metavar="R", help="Only this repository.")


KIT = typer.Option(None, "--kit", metavar="FILE", help="From this recovery kit alone, in an empty home directory.")
PASSPHRASE_FILE = typer.Option(None, "--passphrase-file", metavar="FILE", help="Of the kit; mode 0600. Default: asked for.")


@app.command()
def restore(
    repository: str | None = ONE_REPOSITORY,
    kit: Path | None = KIT,
    passphrase_file: Path | None = PASSPHRASE_FILE,
    as_json: bool = JSON_OPTION,
) -> None:
    """Brings mail back from each repository, opens it, and compares every message with the manifest: count, content, flags, dates.

    A rotating choice of mailboxes and always the newest message; with the credential that a restore would use, and without locks. The daemon
    does it every `drill_every`. Exit 1: something did not come back as it should be; exit 4: it could not be tried.

    Examples: failsafe drill restore
              failsafe drill restore --repository offsite --json
              failsafe drill restore --kit /media/stick/failsafe-kit-nas-2026-11-29.html
    """
    if kit is not None:
        _from_kit(kit, passphrase_file, repository, as_json=as_json)
    if passphrase_file is not None:
        raise UsageError("--passphrase-file goes with --kit", mend="name the kit, or leave it out")
    from failsafe.drills import drill_repository

    everything = open_app()
    names = [repository] if repository else sorted(everything.config.repository)
    if not names:
        raise UsageError("no repository is configured", mend="add a [repository.NAME] to the configuration")
    reports = []
    for name in names:
        shown = progress(quiet=as_json)
        try:
            reports.append(drill_repository(everything, name, shown))
        finally:
            shown.close()
        if not as_json:
            _tell(reports[-1], everything.time_zone)
    if as_json:
        answer_json({"repositories": [report.to_json() for report in reports]})
    raise typer.Exit(_exit_code(reports))


def _from_kit(file: Path, passphrase_file: Path | None, repository: str | None, *, as_json: bool) -> NoReturn:
    """Needs no configuration; where there is one, and it is that of the kit's controller, the evidence is kept."""
    from failsafe.cli.passphrase import known_passphrase
    from failsafe.kits.drill import drill_kit, keep_proof
    from failsafe.kits.file import read_kit

    made = read_kit(file, known_passphrase(passphrase_file))
    names = [each.name for each in made.repositories if repository in (None, each.name)]
    if not names:
        held = ", ".join(each.name for each in made.repositories)
        raise UsageError(f"there is no repository {repository} in {file}", mend=f"in it are: {held}")
    everything = _app_of(made)
    reports = []
    with _room(everything) as folder:
        for name in names:
            shown = progress(quiet=as_json)
            try:
                before = () if everything is None else everything.duties.drills(name)
                with _alone(everything, name):
                    reports.append(drill_kit(made, name, folder, before, SystemClock(), shown))
            finally:
                shown.close()
            if not as_json:
                _tell(reports[-1], SystemClock().now().astimezone().tzinfo if everything is None else everything.time_zone)
    if everything is not None and repository is None:
        keep_proof(everything, made, reports)
    if as_json:
        about = {"file": str(file), "controller": made.controller, "made_at": made.made_at.strftime("%Y-%m-%dT%H:%M:%SZ")}
        answer_json({"kit": about, "repositories": [report.to_json() for report in reports]})
    raise typer.Exit(_exit_code(reports))


def _app_of(made: Kit) -> Any:
    """The controller that made the kit, if this is it; None on any other machine."""
    try:
        everything = open_app()
    except ConfigError:
        return None
    return everything if everything.config.controller.id == made.controller else None


@contextlib.contextmanager
def _room(everything: Any) -> Iterator[Path]:
    """A folder for the drill, which empties it."""
    if everything is not None:
        from failsafe.drills import FOLDER

        everything.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        yield everything.state_dir / FOLDER / ".kit"  # no repository can have this name
        return
    import tempfile

    with tempfile.TemporaryDirectory(prefix="failsafe-drill-") as name:
        yield Path(name) / "kit"


def _alone(everything: Any, name: str) -> contextlib.AbstractContextManager[None]:
    """On the controller, no other job of ours in that repository meanwhile."""
    if everything is None or name not in everything.config.repository:
        return contextlib.nullcontext()
    from failsafe.maintenance import alone

    return alone(everything, name, "drill of a recovery kit")


def _exit_code(reports: list[Any]) -> int:
    codes = [report.exit_code for report in reports]
    return EXIT_EXTERNAL if EXIT_EXTERNAL in codes else EXIT_FINDINGS if EXIT_FINDINGS in codes else EXIT_OK


@app.command()
def failover(domain: str = typer.Argument(..., autocompletion=domains, metavar="DOMAIN"), as_json: bool = JSON_OPTION) -> None:
    """Rehearses a failover there and back at failsafe-drill.DOMAIN: real writes, verified at every authoritative server, and measured.

    The live MX records are read before and after, and never written. Nothing is left behind; what a killed drill left, the next one clears.
    The DNS key or token must be allowed to change MX records at the shadow name. Exit 1: it did not go as it should; 3: the domain is not at
    peace, or its failover would be refused; 4: it could not be tried.

    Examples: failsafe drill failover example.org
              failsafe drill failover example.org --json
    """
    from failsafe.failover_drills import drill_failover

    everything = open_app()
    everything.domain(domain)
    report = drill_failover(everything, domain, (lambda _text: None) if as_json else say)
    if as_json:
        answer_json(report.to_json())
    else:
        for line in report.lines():
            answer(line)
    if report.trouble:
        say(f"failsafe: {report.trouble}")
        if report.mend:
            say(f"  what to do: {report.mend}")
    raise typer.Exit(EXIT_FINDINGS if report.findings else EXIT_EXTERNAL if report.trouble else EXIT_OK)


def _tell(report: Any, zone: Any) -> None:
    from datetime import UTC, datetime

    from failsafe.drills import spoken
    from failsafe.render import spoken_instant

    answer(f"{report.repository}: {report.result}; {spoken(report)}")
    steps = report.timing
    answer(
        f"  restic {steps.restic:.1f} s, rebuild {steps.rebuild:.1f} s, open {steps.open:.1f} s; compare {steps.compare:.1f} s"
    )
    for server in report.servers:
        for each in server.mailboxes:
            answer(
                f"  {server.server} {for_terminal(each.mailbox)}: {each.part}, {each.messages} message(s), {'right' if each.ok else 'NOT right'}"
            )
        if server.canary is not None:
            canary = server.canary
            at = datetime.fromtimestamp(canary.entry.internal_date, UTC).astimezone(zone)
            answer(
                f"  {server.server} canary: {for_terminal(canary.mailbox)} {for_terminal(canary.folder)}, of {spoken_instant(at, zone)}"
            )
        for fault in server.faults[:SHOWN]:
            answer(f"  finding: {for_terminal(str(fault))}")
        if server.fault_count > SHOWN:
            answer(f"  … and {server.fault_count - SHOWN} more (--json lists up to 100)")
        for note in server.notes:
            say(f"note: {for_terminal(note)}")
    for trouble in (report.trouble, *(server.trouble for server in report.servers)):
        if trouble is not None:
            say(f"failsafe: {trouble.text}")
            if trouble.mend:
                say(f"  what to do: {trouble.mend}")
