"""`forget` and `prune`: what `keep` lets go, and the room it took."""

from __future__ import annotations

from typing import Any

import typer

from failsafe.cli.common import JSON_OPTION, YES_OPTION, answer, answer_json, confirm, open_app, progress, say, verbs_app
from failsafe.cli.names import repositories
from failsafe.errors import EXIT_EXTERNAL, EXIT_OK, UsageError

app = verbs_app()
ONE_REPOSITORY = typer.Option(None, "--repository", autocompletion=repositories, metavar="R", help="Only this repository.")


@app.command()
def forget(
    repository: str = ONE_REPOSITORY,
    dry_run: bool = typer.Option(False, "--dry-run", help="Only show what would be forgotten, and why."),
    yes: bool = YES_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """Takes the snapshots off the list that `keep` lets go, each with its reasons; their data stays until `failsafe prune`.

    While a guard of a backup stands, while a domain of the server is not normal, or where a check found damage, nothing is forgotten: exit 1.

    Examples: failsafe forget --dry-run
              failsafe forget --repository nas --yes
    """
    from failsafe.maintenance import plan_repository, rules_of

    everything = open_app()
    names = _names(everything, repository)
    if repository is None:  # of those that others maintain it is only told
        names = [name for name in names if not _is_elsewhere(everything, name, told=not as_json)]
    plans = {}
    for name in names:
        plans[name] = plan_repository(everything, name)
        if not as_json:
            _show(everything, plans[name], str(rules_of(everything.config.repository[name])))
    reports = list(plans.values()) if dry_run else _forget(everything, plans, yes=yes, quiet=as_json)
    for report in reports:
        _complain(report.trouble)
    if as_json:
        answer_json({"repositories": [report.to_json() for report in reports]})
    raise typer.Exit(max((report.exit_code for report in reports), default=EXIT_OK))


@app.command()
def prune(repository: str = ONE_REPOSITORY, as_json: bool = JSON_OPTION) -> None:
    """Removes the data that no snapshot needs any more. What stops `forget` stops this too: exit 1.

    A terminal shows how far it is; elsewhere `failsafe status` does.

    Example: failsafe prune --repository nas
    """
    from failsafe.backup.coverage import spoken_size
    from failsafe.maintenance import prune_repository

    everything = open_app()
    names = _names(everything, repository)
    if repository is None:
        names = [name for name in names if not _is_elsewhere(everything, name, told=not as_json)]
    outcomes, shown = [], progress(quiet=as_json)
    for name in names:
        try:
            outcomes.append(prune_repository(everything, name, shown))
        finally:
            shown.close()
        outcome = outcomes[-1]
        _complain(outcome.trouble)
        if as_json:
            continue
        if outcome.done:
            freed, left = (("?" if each is None else spoken_size(each)) for each in (outcome.bytes_freed, outcome.bytes_left))
            answer(f"{name}: {freed} freed, {left} left")
        _show_frozen(outcome.frozen, f"{name}: nothing is pruned")
    if as_json:
        answer_json({"repositories": [outcome.to_json() for outcome in outcomes]})
    raise typer.Exit(max((outcome.exit_code for outcome in outcomes), default=EXIT_OK))


def _forget(everything: Any, plans: dict[str, Any], *, yes: bool, quiet: bool) -> list[Any]:
    from failsafe.maintenance import forget_repository

    going = sum(len(plan.going) for plan in plans.values())
    if going:
        confirm(f"Forget {going} snapshot(s)?", yes=yes)
    reports = []
    for name, plan in plans.items():
        if plan.exit_code == EXIT_EXTERNAL and not plan.plans:
            reports.append(plan)
            continue
        report = forget_repository(everything, name, only=plan.going)
        reports.append(report)
        if not quiet:
            answer(f"{name}: {len(report.forgotten)} forgotten, {report.kept} kept")
    return reports


def _names(everything: Any, repository: str | None) -> list[str]:
    if repository is not None:
        everything.repository(repository)  # raises UsageError
        return [repository]
    names = sorted(everything.config.repository)
    if not names:
        raise UsageError("no repository is configured", mend="add a [repository.NAME] to the configuration")
    return names


def _is_elsewhere(everything: Any, name: str, *, told: bool) -> bool:
    elsewhere = everything.config.repository[name].maintenance == "elsewhere"
    if elsewhere and told:
        answer(f'{name}: maintenance is "elsewhere", so this machine neither forgets nor prunes there')
    return bool(elsewhere)


def _show(everything: Any, report: Any, rules: str) -> None:
    answer(f"{report.repository}: keeps {rules}")
    for plan in report.plans:
        for each in plan.decisions:
            local = each.snapshot.at.astimezone(everything.time_zone)
            what = "pinned" if each.pinned else "keep" if each.kept else "forget"
            answer(
                f"  {local:%Y-%m-%d %H:%M %z}  {plan.server or '-':<12} {each.snapshot.id[:8]}  {what:<7} {'; '.join(each.reasons)}"
            )
    _show_frozen(report.frozen, f"{report.repository}: nothing is forgotten of what this concerns")


def _show_frozen(frozen: Any, head: str) -> None:
    if frozen:
        answer(head)
    for guard in frozen:
        answer(f"  {guard.code}: {guard.text}")
        answer(f"    what to do: {guard.mend}")


def _complain(trouble: Any) -> None:
    if trouble is not None:
        say(f"failsafe: {trouble.text}")
        if trouble.mend:
            say(f"  what to do: {trouble.mend}")
