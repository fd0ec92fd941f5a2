"""`backup`, `snapshots`, `verify`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from failsafe.cli.common import JSON_OPTION, answer, answer_json, open_app, progress, say, verbs_app
from failsafe.cli.names import repositories, servers
from failsafe.cli.search import for_terminal
from failsafe.errors import EXIT_EXTERNAL, EXIT_FINDINGS, EXIT_OK, UsageError

if TYPE_CHECKING:
    from failsafe.app import App

app = verbs_app()
SERVERS = typer.Argument(None, autocompletion=servers, metavar="[SERVER]…", help="Which mail servers (default: all).")
ONE_SERVER = typer.Option(None, "--server", autocompletion=servers, metavar="S", help="Only this mail server.")
PROBLEMS_NAMED = 100  # of a repository's archives; `archives` has each one's own
ONE_REPOSITORY = typer.Option(None, "--repository", autocompletion=repositories, metavar="R", help="Only this repository.")


@app.command()
def backup(
    servers: list[str] = SERVERS,
    scheduled: bool = typer.Option(
        False, "--scheduled", help="Keep to the windows and intervals of the repositories, as the daemon does."
    ),
    repository: str = typer.Option(
        None,
        "--repository",
        autocompletion=repositories,
        metavar="R",
        help="Bring only this repository up to date with what was pulled already; pull nothing.",
    ),
    as_json: bool = JSON_OPTION,
) -> None:
    """Pulls mail, proves that it is complete, and snapshots it into every repository, all at the same time, now.

    Examples: failsafe backup
              failsafe backup vps --json
              failsafe backup --repository offsite
    """
    everything = open_app()
    names = list(servers or []) or sorted(everything.config.mail_server)
    if not names:
        raise UsageError("no mail server is configured", mend="add a [mail_server.NAME] to the configuration")
    for name in names:
        everything.server(name)
    if repository is not None:
        whose = servers or everything.archived_servers()
        raise typer.Exit(_catch_up(everything, repository, whose, as_json=as_json, scheduled=scheduled))
    worst = EXIT_OK
    for name in names:
        shown = progress(quiet=as_json)
        try:
            with _logged_in_ahead(everything, name):
                from failsafe.backups import back_up

                report = back_up(everything, name, shown, say, by_hand=not scheduled)
        finally:
            shown.close()
        _show(report, as_json=as_json)
        worst = max(worst, report.exit_code, EXIT_FINDINGS if report.skipped and not scheduled else EXIT_OK)
    raise typer.Exit(worst)


@contextmanager
def _logged_in_ahead(everything: App, server: str) -> Iterator[None]:
    """Begins at once to log in where this server's files are read over SSH, while what its backup needs is still being loaded."""
    table = everything.server(server)
    if table.ssh is None or table.layout == "imap":
        yield
        return
    from failsafe.adapters.login_ahead import LoginAhead
    from failsafe.adapters.one_import import load_paramiko
    from failsafe.backup.protocol import COMMAND, opening

    load_paramiko()  # before anything else is: of two threads that load at the same time each takes as long as both
    login = everything.ahead[server] = LoginAhead(everything.mail_host(server), COMMAND, opening())
    try:
        yield
    finally:
        del everything.ahead[server]
        login.drop()


def _catch_up(everything: Any, repository: str, servers: Sequence[str], *, as_json: bool, scheduled: bool) -> int:
    """One repository, without a pull; gives the exit code."""
    from failsafe.repositories import begin_duty, end_duty, serve_repository

    everything.repository(repository)
    begin_duty(everything, repository)
    reports = []
    for name in servers:
        shown = progress(quiet=as_json)
        try:
            reports.append(serve_repository(everything, repository, name, shown, by_hand=not scheduled))
        finally:
            shown.close()
        _show(reports[-1], as_json=as_json)
    end_duty(everything, repository, reports)
    worst = max(report.exit_code for report in reports)
    return max(worst, EXIT_FINDINGS) if any(report.skipped for report in reports) else worst


def _show(report: Any, *, as_json: bool) -> None:
    _complain(report)
    if as_json:
        answer_json(report.to_json())
    else:
        _tell(report)


def _complain(report: Any) -> None:
    """What failed, with its mend: on stderr, in both forms."""
    troubles = [*report.troubles, *(snapshot.trouble for snapshot in report.snapshots if snapshot.trouble is not None)]
    for trouble in troubles:
        say(f"failsafe: {trouble.text}")
        if trouble.mend:
            say(f"  what to do: {trouble.mend}")


def _tell(report: Any) -> None:
    counts = report.messages
    answer(
        f"{report.server}: {report.result}; {counts.total} messages, {counts.new} new, {counts.moved} moved, {counts.reflagged} reflagged, {counts.gone} gone"
    )
    if report.unchanged:
        answer("  nothing changed; no snapshot was needed")
    for snapshot in report.snapshots:
        answer(
            f"  {snapshot.repository}: {snapshot.result}"
            + (f", snapshot {snapshot.snapshot_id[:8]}, {_size(snapshot.bytes_added)} added" if snapshot.snapshot_id else "")
        )
    for skipped in report.skipped:
        answer(f"  {skipped.repository}: skipped, its turn comes later: {skipped.why}")
    for missing in report.missing[:20]:
        answer(f"  missing: {for_terminal(f'{missing.mailbox} {missing.folder} {missing.name}')}: {missing.why}")
    if len(report.missing) > 20:
        answer(f"  … and {len(report.missing) - 20} more (--json lists all of them)")
    for guard in report.guards:
        answer(f"  guard {guard.code}: {guard.text}")
        answer(f"    what to do: {guard.mend}")


@app.command()
def snapshots(server: str = ONE_SERVER, repository: str = ONE_REPOSITORY, as_json: bool = JSON_OPTION) -> None:
    """Lists what is stored where.

    Example: failsafe snapshots --repository offsite
    """
    from failsafe.backups import stored_snapshots

    everything = open_app()
    if server is not None:
        everything.server(server)
    found, silent = stored_snapshots(everything, server, repository)
    for stored in found:
        line = stored.to_json()
        if as_json:
            answer_json(line)
        else:
            local = stored.info.at.astimezone(everything.time_zone)
            pinned = f"  pinned: {stored.pinned}" if stored.pinned else ""
            answer(
                f"{local:%Y-%m-%d %H:%M %z}  {line['repository']:<12} {line['server']:<12} {line['snapshot_id'][:8]}  {line['result'] or '?':<10} {line['messages'] or 0} messages{pinned}"
            )
    for _name, error in silent:
        say(f"failsafe: {error}")
        if error.mend:
            say(f"  what to do: {error.mend}")
    if silent:
        raise typer.Exit(EXIT_EXTERNAL)


@app.command()
def verify(
    repository: str = ONE_REPOSITORY,
    whole: bool = typer.Option(False, "--whole", help="Read all of the data now, not only the next share of it."),
    as_json: bool = JSON_OPTION,
) -> None:
    """failsafe's own check: repositories (restic check, reading a share of the data) and the archive against its manifests.

    `--whole` without `--repository` reads this machine's own staging folders too; what is damaged there the next backup brings back from a snapshot.
    Damage that was found stops forget and prune until the same data reads well again: after a repair, `--whole` shows it at once.

    Examples: failsafe verify --repository offsite
              failsafe verify --whole
    """
    from failsafe.backup.verify import exit_code
    from failsafe.verification import check_repository

    everything = open_app()
    names = [repository] if repository else sorted(everything.config.repository)
    if not names:
        raise UsageError("no repository is configured", mend="add a [repository.NAME] to the configuration")
    verdicts = []
    for name in names:
        shown = progress(quiet=as_json)
        try:
            verdicts.append(check_repository(everything, name, shown, whole=whole))
        finally:
            shown.close()
        if not as_json:
            _tell_verdict(*verdicts[-1])
    repositories = [one for one, _archives in verdicts]
    archives = [archive for _one, many in verdicts for archive in many]
    if whole and not repository:
        archives += _check_stagings(everything, quiet=as_json)
    if as_json:
        answer_json(
            {"repositories": [_verdict_json(*pair) for pair in verdicts], "archives": [one.to_json() for one in archives]}
        )
    raise typer.Exit(exit_code(repositories, archives))


def _check_stagings(everything: Any, *, quiet: bool) -> list[Any]:
    from failsafe.verification import check_staging

    found = []
    for server in sorted(everything.config.archived):
        shown = progress(quiet=quiet)
        try:
            verdict = check_staging(everything, server, shown)
        finally:
            shown.close()
        if verdict is None:
            continue
        found.append(verdict)
        if not quiet:
            answer(f"staging of {server}: {'sound' if verdict.ok else 'NOT sound'}; all of it was read")
            for problem in verdict.problems[:20]:
                answer(f"  {problem}")
    return found


def _verdict_json(repository: Any, archives: Any) -> dict[str, Any]:
    """A repository is ok only if the archives in it are: a script looks nowhere else."""
    problems = [f"{archive.server}: {problem}" for archive in archives for problem in archive.problems]
    line: dict[str, Any] = repository.to_json()
    ok = repository.ok and all(archive.ok for archive in archives)
    return {**line, "ok": ok, "damaged": [*line["damaged"], *problems[:PROBLEMS_NAMED]]}


def _tell_verdict(repository: Any, archives: Any) -> None:
    ok = repository.ok and all(archive.ok for archive in archives)
    answer(f"{repository.repository}: {'sound' if ok else 'NOT sound'}; {repository.read_percent:g} % of the data was read")
    for damage in repository.damaged:
        answer(f"  {damage}")
    for archive in archives:
        for problem in archive.problems[:20]:
            answer(f"  {archive.server}: {problem}")
    for trouble in (one.trouble for one in (repository, *archives) if one.trouble is not None):
        say(f"failsafe: {trouble.text}")
        if trouble.mend:
            say(f"  what to do: {trouble.mend}")


def _size(count: int) -> str:
    for unit, size in (("GB", 1000**3), ("MB", 1000**2), ("kB", 1000)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
