"""A Maildir store on disk for tests of the pull, and what its archive should hold."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from failsafe.adapters.local import LocalHost
from failsafe.backup.archive.staging import Staging
from failsafe.backup.inventory import Inventory
from failsafe.backup.pull import PullOptions, PullReport, pull
from failsafe.clock import SystemClock
from failsafe.mail.manifest import Entry, Generation
from failsafe.ports import MailHost

LONG_AGO = 1_600_000_000


class Silent:
    """Progress that nobody looks at."""

    def stage(self, text: str, total: int | None = None, unit: str = "") -> None: ...

    def advance(self, amount: int) -> None: ...


@dataclass
class Store:
    """`base`/mail is the server's root; staging and inventory lie beside it."""

    base: Path
    host: MailHost = field(default_factory=LocalHost)

    @property
    def root(self) -> Path:
        return self.base / "mail"

    def folder(self, mailbox: str, directory: str = "") -> Path:
        user, _, domain = mailbox.partition("@")
        folder = self.root / domain / user / directory
        for sub in ("cur", "new", "tmp"):
            (folder / sub).mkdir(parents=True, exist_ok=True)
        return folder

    def put(self, mailbox: str, directory: str, name: str, body: bytes = b"", *, sub: str = "cur", date: int = LONG_AGO) -> Path:
        path = self.folder(mailbox, directory) / sub / name
        path.write_bytes(body or f"Subject: {name}\n\n{mailbox} {directory}\n".encode())
        os.utime(path, (date, date))
        return path

    def fill(self, mailbox: str, directory: str, count: int, *, size: int = 300, prefix: str = "m") -> None:
        for number in range(count):
            self.put(mailbox, directory, f"{prefix}{number}.host:2,S", f"Subject: {number}\n\n".encode() + os.urandom(size))

    def calm(self) -> None:
        """Folders that nobody touched for a while, so that one pass is exact and the test need not wait."""
        for folder in self.root.rglob("*"):
            if folder.name in {"cur", "new"} and folder.is_dir():
                before = folder.stat().st_mtime_ns
                os.utime(folder, ns=(before - 10 * 10**9, before - 10 * 10**9))

    def open_staging(self) -> Staging:
        return Staging.open(self.base / "staging", "vps")

    def open_inventory(self) -> Inventory:
        return Inventory.open(self.base / "inventory.sqlite")

    def pull(self, *, calm: bool = True, host: MailHost | None = None, **options: object) -> PullReport:
        if calm:
            self.calm()
        wanted = PullOptions("vps", str(self.root), **options)  # type: ignore[arg-type]
        with self.open_staging() as staging, self.open_inventory() as inventory:
            return pull(host or self.host, staging, inventory, wanted, SystemClock(), Silent())

    def newest(self, staging: Staging) -> Generation:
        newest = staging.newest()
        assert newest is not None
        return newest

    def entries(self) -> dict[tuple[str, str], list[Entry]]:
        """(mailbox, folder) -> entries of the newest generation."""
        with self.open_staging() as staging:
            newest = self.newest(staging)
            return {
                (mailbox, folder.name): list(staging.archive.entries(folder))
                for mailbox in newest.mailboxes
                for folder in staging.archive.mailbox(newest, mailbox).folders
            }

    def archived(self) -> Counter[tuple[str, str, str]]:
        """(mailbox, folder, SHA-256) of what the newest generation holds, read back and verified."""
        with self.open_staging() as staging:
            assert staging.archive.verify(self.newest(staging), read_messages=True) == []
        found = (
            (box, folder, entry.id) for (box, folder), entries in self.entries().items() for entry in entries if not entry.gone_at
        )
        return Counter(found)

    def on_server(self) -> Counter[tuple[str, str, str]]:
        """The same of the files that are there; Maildir++ folders of ASCII names only."""
        found: Counter[tuple[str, str, str]] = Counter()
        for path in self.root.rglob("*"):
            if path.is_file() and path.parent.name in {"cur", "new"}:
                domain, user, *rest = path.relative_to(self.root).parts
                directory = "/".join(rest[:-2])
                folder = directory[1:].replace(".", "/") if directory.startswith(".") else directory or "INBOX"
                found[f"{user}@{domain}", folder, hashlib.sha256(path.read_bytes()).hexdigest()] += 1
        return found

    def stored_ids(self) -> Counter[str]:
        """How often each message's bytes lie in the newest state: segments that were merged lie beside it until they are collected."""
        with self.open_staging() as staging:
            manifests = [staging.archive.manifest(name) for name in self.newest(staging).mailboxes.values()]
            named = {segment for manifest in manifests for segment in manifest.segments}
            return Counter(line.id for name in named for line in staging.index(name))
