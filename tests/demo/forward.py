"""A door from this machine into a host of the lab: a port on 127.0.0.1 that leads to a port inside the host's network.

The listening socket is made out here and handed to a helper that has entered the host's network namespace: a socket stays in the
namespace it was made in, so the helper accepts out here and connects in there. Standard library only.

Run by `Door`, never by a person: python -m tests.demo.forward LISTENING_FD PORT
"""

import contextlib
import socket
import subprocess
import sys
import threading
from typing import Self

from tests.lab.host import Host
from tests.lab.names import PYTHON, REPOSITORY

USUAL_PORT = 8025
AT_ONCE = 32  # connections; a browser opens six
IDLE_SECONDS = 120
CHUNK = 65536


class Door:
    """Open while used as a context manager; `url` is what a browser on this machine needs."""

    def __init__(self, host: Host, port: int) -> None:
        """`port`: of the server inside the host, on its loopback."""
        self._listener = _listen()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        number = self._listener.fileno()
        self._helper = subprocess.Popen(
            ["nsenter", "-t", str(host.pid), "-n", str(PYTHON), "-m", "tests.demo.forward", str(number), str(port)],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,  # the helper ends when this pipe does, however we end
            pass_fds=[number],
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._helper.stdin is not None
        self._helper.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._helper.wait(5)
        self._helper.kill()
        self._helper.wait()
        self._listener.close()


def _listen() -> socket.socket:
    """The usual port where it is free, else any."""
    for port in (USUAL_PORT, 0):
        with contextlib.suppress(OSError):
            return socket.create_server(("127.0.0.1", port), backlog=AT_ONCE)
    raise OSError("no port is free on 127.0.0.1")


def _serve(listener: socket.socket, port: int) -> None:
    free = threading.BoundedSemaphore(AT_ONCE)
    while True:
        inner, _ = listener.accept()
        free.acquire()
        threading.Thread(target=_lead, args=(inner, port, free), daemon=True).start()


def _lead(browser: socket.socket, port: int, free: threading.BoundedSemaphore) -> None:
    try:
        with browser, contextlib.suppress(OSError):
            browser.settimeout(IDLE_SECONDS)
            try:
                server = socket.create_connection(("127.0.0.1", port), timeout=5)
            except OSError as error:
                body = f"The dashboard in the lab does not answer: {error}\n".encode()
                head = f"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
                browser.sendall(head.encode() + body)
                return
            with server:
                server.settimeout(IDLE_SECONDS)
                back = threading.Thread(target=_pump, args=(server, browser), daemon=True)
                back.start()
                _pump(browser, server)
                back.join(IDLE_SECONDS)
    finally:
        free.release()


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Everything from one to the other until there is no more."""
    with contextlib.suppress(OSError):
        while data := source.recv(CHUNK):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    given = socket.socket(fileno=int(sys.argv[1]))
    threading.Thread(target=_serve, args=(given, int(sys.argv[2])), daemon=True).start()
    sys.stdin.buffer.read()
