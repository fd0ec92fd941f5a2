"""systemd's notification protocol (sd_notify(3)): a datagram to $NOTIFY_SOCKET. Nothing is sent where there is none."""

from __future__ import annotations

import contextlib
import os
import socket


def notify(message: str) -> None:
    """ "READY=1", "WATCHDOG=1", "STOPPING=1", "STATUS=…"; never raises."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path or path[0] not in "/@":
        return
    address = "\0" + path[1:] if path[0] == "@" else path  # "@" stands for the abstract namespace
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.settimeout(1.0)
        sender.sendto(message.encode(), address)


def watchdog_seconds() -> float | None:
    """How often systemd wants to hear from us (half of its patience); None where it does not."""
    try:
        patience = int(os.environ.get("WATCHDOG_USEC", "0")) / 1_000_000
    except ValueError:
        return None
    return patience / 2 if patience > 0 else None
