"""Everything of a mail server besides messages: configuration, keys, states, outputs of commands, and who has an account."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from failsafe.backup.accounts import FILE, find_accounts, note_accounts
from failsafe.backup.archive.staging import Staging
from failsafe.backup.extras import Extras, server_files
from failsafe.backup.inventory import Inventory
from failsafe.backup.layouts import Source
from failsafe.mail.accounts import encode_accounts
from failsafe.mail.manifest import FileRef, Generation, Missing
from failsafe.ports import Narrator

SHOWN = 1000  # of a list in the notes


class Belongings:
    """`take` while the session lasts, `files` and `notes` when the mailboxes are known. `source` None: the server could not be asked."""

    def __init__(self, inventory: Inventory, staging: Staging, layout: str, source: Source | None = None) -> None:
        self.inventory, self.staging, self.layout, self.source = inventory, staging, layout, source
        self.missing: list[Missing] = list(source.missing) if source is not None else []
        self.skipped: list[str] = []
        self.links: dict[str, str] = {}
        self.accounts: dict[str, Any] = {}

    def take(self, extras: Extras, now: int) -> None:
        assert self.source is not None
        reach = self.source.reach
        extras.paths(reach.trees, now)
        extras.commands(reach.commands, reach.stock)
        self.skipped, self.links = extras.skipped, extras.links

    def tell(self, newest: Generation | None, narrate: Narrator) -> None:
        """Where everything was found, when that is another place than last time."""
        lines = list(self.source.shown) if self.source is not None else []
        if lines != (list(newest.notes.get("sources", ())) if newest is not None else []):  # type: ignore[call-overload]
            for line in lines:
                narrate(line)

    def files(self, mailboxes: Iterable[str]) -> list[FileRef]:
        """What the next generation names, accounts.json among it."""
        found = server_files(self.inventory, self.source.reach if self.source is not None else None)
        accounts, sources, faults = find_accounts(self.staging.archive, found, self.layout)
        self.missing += [Missing("", "", FILE, f"accounts cannot be read from {fault}") for fault in faults]
        if accounts is None:
            return found
        self.accounts = note_accounts(accounts, mailboxes)
        return sorted([*found, self.staging.store_file(FILE, encode_accounts(accounts, sources))], key=lambda file: file.path)

    def notes(self) -> dict[str, object]:
        """For a generation: where its files are from, what was left out, links that were not followed, accounts."""
        source = self.source
        return {
            "sources": list(source.shown) if source is not None else [],
            "left_out": list(source.left_out) if source is not None else [],
            "skipped": sorted(set(self.skipped))[:SHOWN],
            "links": dict(sorted(self.links.items())[:SHOWN]),
            "accounts": self.accounts,
        }
