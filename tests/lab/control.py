"""How another terminal speaks to the lab that a person has opened: one request, one answer, on a Unix socket."""

import os
import threading
from collections.abc import Callable
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path

from tests.lab.host import Host
from tests.lab.lab import Lab

SOCKET = Path(os.environ.get("FAILSAFE_LAB_SOCKET", "/run/failsafe-lab.sock"))

ACTIONS: dict[str, Callable[[Host], None]] = {
    "off": lambda host: host.power_off(),
    "on": lambda host: host.boot() if not host.powered else None,
    "unplug": lambda host: host.link("down"),
    "plug": lambda host: host.link("up"),
}
SERVICE_ACTIONS: dict[str, Callable[[Host, str], None]] = {
    "kill": Host.kill_service,
    "freeze": Host.freeze_service,
    "thaw": Host.thaw_service,
    "start": lambda host, service: host.start(service),
}


class NoLabError(RuntimeError):
    """No lab is open, or it refused; the message says which."""


class Control:
    """Serves requests for a lab until the process ends."""

    def __init__(self, lab: Lab) -> None:
        """Raises NoLabError if another open lab has the socket."""
        self._lab = lab
        try:
            Client(str(SOCKET)).close()
        except FileNotFoundError:
            pass
        except ConnectionRefusedError:
            SOCKET.unlink()  # left by a lab that was killed
        else:
            raise NoLabError(f"another lab is open; for a second one set FAILSAFE_LAB_SOCKET (now {SOCKET})")
        self._listener = Listener(str(SOCKET))
        SOCKET.chmod(0o600)
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Answer no more."""
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection = self._listener.accept()
            except EOFError:
                continue  # somebody only looked whether we are here
            except OSError:
                return  # closed
            with connection:
                self._answer(connection)

    def _answer(self, connection: Connection) -> None:
        try:
            connection.send(("ok", self._do(*connection.recv())))
        except EOFError:
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, the person who asked is told
            connection.send(("failed", str(error) or repr(error)))

    def _do(self, verb: str, host_name: str, *words: str) -> list[str]:
        if host_name not in self._lab.hosts:
            raise NoLabError(f"no host {host_name}; there are {', '.join(self._lab.hosts)}")
        host = self._lab.hosts[host_name]
        if verb == "in":
            return host.argv(*words)
        if verb in SERVICE_ACTIONS:
            SERVICE_ACTIONS[verb](host, *words)
        else:
            ACTIONS[verb](host)
        return []


def ask(verb: str, host: str, *words: str) -> list[str]:
    """Have the open lab do something. Raises NoLabError with the reason if it cannot."""
    try:
        with Client(str(SOCKET)) as connection:
            connection.send((verb, host, *words))
            status, answer = connection.recv()
    except (FileNotFoundError, ConnectionRefusedError):
        raise NoLabError(f"no lab is open at {SOCKET}: run `./dev lab` in another terminal") from None
    if status != "ok":
        raise NoLabError(answer)
    return list(answer)
