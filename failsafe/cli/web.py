"""`failsafe web`: the dashboard alone."""

from __future__ import annotations

from failsafe.cli.common import live_long, open_app, say, verbs_app

app = verbs_app()


@app.command()
def web() -> None:
    """Serves the dashboard until it is stopped (`run` does it too when [web] is configured). It only reads.

    Example: failsafe web
    """
    from failsafe.logs import configure_logs
    from failsafe.web.server import WebServer

    configure_logs(level="warning")
    live_long()
    server = WebServer(open_app())
    say(f"failsafe: the dashboard is at {server.address}")
    server.serve()
