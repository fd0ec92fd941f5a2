"""A mail server that is pulled over IMAP, for tests: staging and inventory beside it, and what its archive should hold."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from failsafe.adapters.imap_login import Login, LoginSource
from failsafe.backup.archive.staging import Staging
from failsafe.backup.imap_pull import pull_over_imap
from failsafe.backup.inventory import Inventory
from failsafe.backup.pull import PullOptions, PullReport
from failsafe.clock import SystemClock
from failsafe.mail.identity import digests
from failsafe.mail.manifest import Entry, Generation, MailboxManifest
from failsafe.model import Endpoint
from failsafe.ports import MailHost, MailSource, Progress
from tests.contract.dovecot import PASSWORD, Dovecot
from tests.contract.mailstore import Silent

DATE = datetime(2021, 3, 28, 2, 30, 59, tzinfo=UTC)
FLAGS = {"D": "\\Draft", "F": "\\Flagged", "R": "\\Answered", "S": "\\Seen", "T": "\\Deleted"}


def message(text: str, body: bytes = b"") -> bytes:
    return (
        f"From: a@example.org\r\nMessage-ID: <{text}@test>\r\nSubject: {text}\r\n\r\n".encode()
        + (body or b"body of " + text.encode())
        + b"\r\n"
    )


@dataclass
class ImapStore:
    """Beside `base`: staging, inventory, a password. `server` is a real Dovecot; `endpoint` where to reach it, if not directly."""

    base: Path
    server: Dovecot
    mailboxes: tuple[str, ...]
    endpoint: Endpoint | None = None
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        password = self.base / "imap.password"
        password.touch(mode=0o600)
        password.write_text(PASSWORD + "\n")

    def source(self, passwords: Mapping[str, Path] | None = None) -> MailSource:
        file = self.base / "imap.password"
        logins = {mailbox: Login(mailbox, (passwords or {}).get(mailbox, file)) for mailbox in self.mailboxes}
        return LoginSource("vps", self.endpoint or self.server.endpoint, lambda: logins, limit=None, mend="")

    def pull(
        self,
        source: MailSource | None = None,
        progress: Progress | None = None,
        host: MailHost | None = None,
        **options: object,
    ) -> PullReport:
        wanted = PullOptions("vps", "", layout="imap", **options)  # type: ignore[arg-type]
        with self.open_staging() as staging, self.open_inventory() as inventory:
            return pull_over_imap(
                source or self.source(), host, staging, inventory, wanted, SystemClock(), progress or Silent(), self.said.append
            )

    def open_staging(self) -> Staging:
        return Staging.open(self.base / "staging", "vps")

    def open_inventory(self) -> Inventory:
        return Inventory.open(self.base / "inventory.sqlite")

    def newest(self, staging: Staging) -> Generation:
        newest = staging.newest()
        assert newest is not None
        return newest

    def manifest(self, mailbox: str) -> MailboxManifest:
        with self.open_staging() as staging:
            return staging.archive.mailbox(self.newest(staging), mailbox)

    def entries(self) -> dict[tuple[str, str], list[Entry]]:
        with self.open_staging() as staging:
            assert staging.archive.verify(self.newest(staging), read_messages=True) == []
            newest = self.newest(staging)
            return {
                (mailbox, folder.name): list(staging.archive.entries(folder))
                for mailbox in newest.mailboxes
                for folder in staging.archive.mailbox(newest, mailbox).folders
            }

    def archived(self) -> Counter[tuple[str, str, str, frozenset[str], int]]:
        """(mailbox, folder, SHA-256, flags and keywords, internal date) of what the newest generation holds, each byte verified."""
        return Counter(
            (*place, entry.id, frozenset([*(FLAGS[letter] for letter in entry.flags), *entry.keywords]), entry.internal_date)
            for place, entries in self.entries().items()
            for entry in entries
            if not entry.gone_at
        )

    def on_server(self) -> Counter[tuple[str, str, str, frozenset[str], int]]:
        """The same, as a client sees it."""
        found: Counter[tuple[str, str, str, frozenset[str], int]] = Counter()
        for mailbox in self.mailboxes:
            box = self.server.open(mailbox)
            for folder in box.folders():
                listed = {one.uid: one for one in box.messages(folder)}
                for uid, data in box.fetch(folder, listed):
                    one = listed[uid]
                    found[mailbox, folder, digests(data)[0], one.flags, int(one.internal_date.timestamp())] += 1
            box.close()
        return found

    def stored_ids(self) -> Counter[str]:
        """How often each message's bytes lie in staging."""
        with self.open_staging() as staging:
            return Counter(line.id for name in staging.segments() for line in staging.index(name))


class Proxy:
    """A TCP line to `port` on loopback. `forward(data, sent)` gives what reaches the client of a piece from the server, None to cut the line,
    b"" to swallow it; `sent` is how many bytes went before on this connection."""

    def __init__(self, port: int, forward: Callable[[bytes, int], bytes | None]) -> None:
        self._target, self.forward = port, forward
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.connections = 0
        self.down = 0  # bytes that came from the server
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            server = socket.create_connection(("127.0.0.1", self._target))
            threading.Thread(target=self._up, args=(client, server), daemon=True).start()
            threading.Thread(target=self._down, args=(client, server), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        try:
            while data := client.recv(65536):
                server.sendall(data)
        except OSError:
            pass
        hang_up(server)

    def _down(self, client: socket.socket, server: socket.socket) -> None:
        sent = 0
        try:
            while data := server.recv(16384):
                self.down += len(data)
                passed = self.forward(data, sent)
                if passed is None:
                    break
                sent += len(data)
                client.sendall(passed)
        except OSError:
            pass
        hang_up(client)
        hang_up(server)

    def close(self) -> None:
        self._listener.close()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def hang_up(line: socket.socket) -> None:
    """Also where another thread is reading from it."""
    with contextlib.suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)
    line.close()
