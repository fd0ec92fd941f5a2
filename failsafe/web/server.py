"""Serves the dashboard: uvicorn on a socket that we open ourselves, so that a taken port is a clear error."""

from __future__ import annotations

import contextlib
import socket
import threading
from datetime import datetime

import uvicorn

from failsafe.app import App
from failsafe.errors import ConfigError
from failsafe.status.build import build_status
from failsafe.status.roster import roster_of
from failsafe.status.values import Status
from failsafe.web.page import make_page

STOP_SECONDS = 5
CONNECTIONS = 32  # at a time; a page for one household


class WebServer:
    """The dashboard of one controller. Raises ConfigError where it cannot listen."""

    def __init__(self, app: App) -> None:
        table = app.config.web
        if table is None:
            raise ConfigError(str(app.config_file), [("web", 'is not configured; add [web] with listen = "127.0.0.1:8025"')])
        self.use(app)
        page = make_page(self.status, app.clock, app.time_zone, table.password_file)
        self._tls = table.certificate_file is not None
        self._socket = _listen(table.listen.host, table.listen.port)
        settings = uvicorn.Config(
            page,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            http="h11",
            loop="asyncio",
            limit_concurrency=CONNECTIONS,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=STOP_SECONDS,
            ssl_certfile=None if table.certificate_file is None else str(table.certificate_file),
            ssl_keyfile=None if table.key_file is None else str(table.key_file),
        )
        self._server = uvicorn.Server(settings)
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)

    def use(self, app: App) -> None:
        """From now on the page shows what this configuration names."""
        self._source = (app, roster_of(app.config))

    def status(self, now: datetime) -> Status:
        app, roster = self._source
        return build_status(roster, app.glance(), now)

    @property
    def address(self) -> str:
        host, port = self._socket.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        return f"{'https' if self._tls else 'http'}://{shown}:{port}/"

    def serve(self) -> None:
        """Until SIGTERM or SIGINT (uvicorn's own handlers)."""
        self._run()

    def start(self) -> None:
        """In a thread, until `stop`."""
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS + 1)
        self._socket.close()

    def _run(self) -> None:
        with contextlib.suppress(SystemExit):
            self._server.run(sockets=[self._socket])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
        except OSError:
            listener.close()
            raise
        return listener
    except OSError as error:
        raise ConfigError(
            "[web]", [("web.listen", f"cannot listen on {host}:{port}: {error.strerror}; is another failsafe serving it?")]
        ) from error
