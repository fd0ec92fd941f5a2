"""`failsafe doctor`."""

from __future__ import annotations

import typer

from failsafe.cli.common import JSON_OPTION, answer, answer_json, open_app, verbs_app
from failsafe.cli.names import domains
from failsafe.errors import EXIT_FINDINGS
from failsafe.model import Finding, Severity

app = verbs_app()

ORDER = {Severity.FAIL: 0, Severity.WARN: 1, Severity.SKIPPED: 2, Severity.OK: 3}


@app.command()
def doctor(
    domain: str = typer.Option(
        None,
        "--domain",
        autocompletion=domains,
        metavar="D",
        help="Show only this domain, its server and this machine (everything is looked at).",
    ),
    prove_cas: bool = typer.Option(
        False,
        "--prove-cas",
        help="Also writes, changes and deletes a scratch record (failsafe-proof.DOMAIN) at each DNS provider, and shows that a stale change is refused.",
    ),
    as_json: bool = JSON_OPTION,
) -> None:
    """Checks everything a backup and a failover rely on; changes nothing, but for --prove-cas. Exit 1 if anything is wrong; 3: another --prove-cas is at work.

    Examples: failsafe doctor --domain example.org; failsafe doctor --prove-cas
    """
    from failsafe.checkup.run import run_checkup
    from failsafe.events import Event

    everything = open_app()
    server = everything.domain(domain).server if domain else ""
    proved = ([domain] if domain else list(everything.config.domain)) if prove_cas else []
    whole = run_checkup(everything, proved)
    diagnosis = whole.about(domain, server) if domain else whole
    counts = {severity: sum(finding.severity is severity for finding in diagnosis.findings) for severity in Severity}
    text = ", ".join(f"{count} {severity}" for severity, count in counts.items() if count)
    details: dict[str, object] = {str(severity): count for severity, count in counts.items()}
    everything.events.record(Event("doctor.done", everything.config.controller.id, text, diagnosis.at, details))
    if as_json:
        answer_json(diagnosis.to_json())
    else:
        for finding in sorted(diagnosis.findings, key=lambda each: ORDER[each.severity]):
            _show(finding)
        for name, ready in diagnosis.ready.items():
            answer(f"{name}: {'ready for a failover' if ready else 'NOT ready for a failover'}")
    if counts[Severity.FAIL] or counts[Severity.WARN]:
        raise typer.Exit(EXIT_FINDINGS)


def _show(finding: Finding) -> None:
    blocks = " (blocks a failover)" if finding.blocks_failover and finding.severity is Severity.FAIL else ""
    answer(f"{finding.severity:<8}{finding.code:<22}{finding.subject}: {finding.text}{blocks}")
    if finding.mend and finding.severity is not Severity.OK:
        answer(f"{'':<30}{finding.mend}")
