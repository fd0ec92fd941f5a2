"""`failsafe run` and `failsafe tick`."""

from __future__ import annotations

import os

from failsafe.cli.common import JSON_OPTION, answer, answer_json, live_long, open_app, say, verbs_app

app = verbs_app()


@app.command()
def run() -> None:
    """The daemon: watches, decides, starts backups and checks when they are due. SIGTERM stops it cleanly, SIGHUP reads the configuration again.

    Example: failsafe --config /etc/failsafe/failsafe.toml run
    """
    from failsafe.daemon.loop import Daemon
    from failsafe.logs import configure_logs

    configure_logs(level=os.environ.get("FAILSAFE_LOG_LEVEL", "info"))
    live_long()
    Daemon(open_app()).run()


@app.command()
def tick(as_json: bool = JSON_OPTION) -> None:
    """One pass of everything that is due, for cron: probes and decides first, then starts due jobs and waits for them.

    Example, every minute: * * * * * root failsafe tick
    """
    from failsafe.daemon.once import run_tick
    from failsafe.logs import configure_logs

    configure_logs(level=os.environ.get("FAILSAFE_LOG_LEVEL", "warning"))
    report = run_tick(open_app())
    if as_json:
        answer_json(
            {
                "busy": report.busy or None,
                "looked": report.looked,
                "jobs": list(report.jobs),
                "jobs_elsewhere": report.jobs_elsewhere,
            }
        )
        return
    if report.busy:
        answer(f"{report.busy} is at work: it does everything, and this tick did nothing")
        return
    if report.jobs_elsewhere:
        say("an earlier tick still waits for its jobs: this one watched and decided only")
    answer(f"looked at {report.looked} mail server(s); jobs: {', '.join(report.jobs) or 'none were due'}")
