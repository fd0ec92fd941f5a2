"""A name server as a firewall shows it: relays UDP, TCP or both to real servers, on an address of its own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.contract.dns_servers import NameServer
from tests.ports import free_port


def has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True


@contextmanager
def relay(udp: NameServer | None, tcp: NameServer | None, host: str = "127.0.0.1") -> Iterator[str]:
    """Its address. None: nobody listens on that transport."""
    port, family = free_port(), socket.AF_INET6 if ":" in host else socket.AF_INET
    sockets: list[socket.socket] = []
    threads: list[threading.Thread] = []
    for kind, server in ((socket.SOCK_DGRAM, udp), (socket.SOCK_STREAM, tcp)):
        if server is None:
            continue
        listener = socket.socket(family, kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.settimeout(0.1)
        sockets.append(listener)
        target = _datagrams if kind is socket.SOCK_DGRAM else _streams
        threads.append(threading.Thread(target=target, args=(listener, server.port), daemon=True))
    for listener in sockets:
        if listener.type is socket.SOCK_STREAM:
            listener.listen(8)
    for thread in threads:
        thread.start()
    try:
        yield f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    finally:
        for listener in sockets:
            listener.close()
        for thread in threads:
            thread.join(5)


def _datagrams(listener: socket.socket, port: int) -> None:
    while True:
        try:
            data, sender = listener.recvfrom(4096)
        except TimeoutError:
            continue
        except OSError:
            return
        with socket.socket(type=socket.SOCK_DGRAM) as inner, suppress(OSError):
            inner.settimeout(2)
            inner.sendto(data, ("127.0.0.1", port))
            listener.sendto(inner.recv(4096), sender)


def _streams(listener: socket.socket, port: int) -> None:
    while True:
        try:
            outer, _ = listener.accept()
        except TimeoutError:
            continue
        except OSError:
            return
        threading.Thread(target=_pass_on, args=(outer, port), daemon=True).start()


def _pass_on(outer: socket.socket, port: int) -> None:
    with outer, suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2) as inner:
        outer.settimeout(2)
        inner.sendall(outer.recv(4096))  # one question, which fits into one segment
        while chunk := inner.recv(4096):
            outer.sendall(chunk)
