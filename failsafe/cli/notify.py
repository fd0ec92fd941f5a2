"""`failsafe notify --test`."""

from __future__ import annotations

import typer

from failsafe.cli.common import JSON_OPTION, answer, answer_json, open_app, verbs_app
from failsafe.errors import EXIT_EXTERNAL, ConfigError, UsageError

app = verbs_app()


@app.command()
def notify(
    test: bool = typer.Option(False, "--test", help="Send a test notice to every address."), as_json: bool = JSON_OPTION
) -> None:
    """Sends a notice to every address of [notify] urls_file, and says which arrived; exit 4 if one did not. Notices that wait are tried again then.

    Example: failsafe notify --test
    """
    from failsafe.model import Notice, Severity

    if not test:
        raise UsageError("nothing to do", mend="failsafe notify --test")
    everything = open_app()
    notifier = everything.notifier()
    if notifier is None:
        raise ConfigError(
            str(everything.config_file), [("notify.urls_file", "is not set, so nobody is ever told; name a file of Apprise URLs")]
        )
    now = everything.clock.now()
    notice = Notice(
        subject="this is a test",
        losing_mail="No, this is only a test.",
        mail_goes="Where it went before.",
        must_do="nothing",
        since=now,
        thread="test",
        severity=Severity.OK,
    )
    deliveries = notifier.send(notice)
    if any(each.arrived for each in deliveries):
        everything.events.try_again(now)  # what has waited for a way out need not wait any longer
    if as_json:
        answer_json(
            {"addresses": [{"address": each.address, "arrived": each.arrived, "error": each.error} for each in deliveries]}
        )
    else:
        for each in deliveries:
            answer(f"{'arrived' if each.arrived else 'FAILED '}  {each.address}{'' if each.arrived else f': {each.error}'}")
    if not all(each.arrived for each in deliveries):
        raise typer.Exit(EXIT_EXTERNAL)
