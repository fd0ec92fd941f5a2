"""The system's log for one program: what it says to /dev/log goes into a file, line by line as syslog daemons write it."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

_PRIORITY = re.compile(rb"<\d{1,3}>")
# A /dev of its own, so that this machine's own log is left alone: the few devices that a daemon needs, and our socket.
DEV = """\
set -e
mkdir -p "$0/dev"
mount -t tmpfs tmpfs "$0/dev"
for name in null zero random urandom tty; do touch "$0/dev/$name"; mount --bind "/dev/$name" "$0/dev/$name"; done
touch "$0/dev/log"
mount --bind "$0/socket" "$0/dev/log"
mount --rbind "$0/dev" /dev
exec "$@"
"""


@contextlib.contextmanager
def logging_to(file: Path, folder: Path) -> Iterator[tuple[str, ...]]:
    """Words to put before a command, as root: it logs into `file`. `folder` is for what that needs."""
    place = folder / "socket"
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.bind(str(place))
    place.chmod(0o666)
    host = os.uname().nodename.encode() or b"vm"

    def write() -> None:
        with file.open("ab", buffering=0) as log:
            while text := receiver.recv(8192):
                said = _PRIORITY.sub(b"", text, count=1).rstrip(b"\0\r\n")
                log.write(said[:16] + host + b" " + said[16:] + b"\n")  # "Nov 30 14:50:34 ", then who says what

    writer = threading.Thread(target=write, name=f"log of {file.name}", daemon=True)
    writer.start()
    try:
        yield ("unshare", "-m", "sh", "-c", DEV, str(folder))
    finally:
        with contextlib.suppress(OSError):
            receiver.shutdown(socket.SHUT_RDWR)
        writer.join(10)
        receiver.close()
