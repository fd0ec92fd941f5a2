"""What this controller knows of erased mailboxes, wherever it is written down; `search`, `restore`, backups and the catalog go by it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from failsafe.app import App
from failsafe.backup.archive import Archive
from failsafe.backup.erased import Erased, Tombstone, erased_in, erased_of_rows
from failsafe.backup.erasure_book import read_erased
from failsafe.backup.recall import Source
from failsafe.errors import ArchiveError, ExternalError, StoreError
from failsafe.mail.manifest import Generation
from failsafe.ports import Narrator

if TYPE_CHECKING:
    from failsafe.backup.catalog_search import Query

DUTY = "erased"  # a row of the database for each server: its tombstones


def known_erased(app: App, server: str, origins: Sequence[Source] = ()) -> Erased:
    """From the database, the inventory and the newest generation in staging; where staging has none and the database knows of no backup,
    so that it was lost too, from the newest snapshot of each of `origins`. An inventory alone proves nothing: it is made by whoever opens it.

    One of them that cannot be read is passed over: the others know the same.
    """
    found, remembers = Erased(), False
    with contextlib.suppress(StoreError):
        found = stored_erased(app, server)
        remembers = server in app.glance().by("good_run", "server")
    with contextlib.suppress(ArchiveError):
        found = found.joined(read_erased(app.inventory_file(server)))
    archive = Archive(app.staging_folder(server))
    if archive.numbers():
        with contextlib.suppress(ArchiveError):
            return found.joined(erased_in(archive.generation()))
    for source in () if remembers else origins:
        with contextlib.suppress(ExternalError):
            if moments := source.moments(server):
                found = found.joined(erased_in(source.generation(server, moments[-1].number)))
    return found


def stored_erased(app: App, server: str) -> Erased:
    """What the database alone says."""
    row = app.glance().by("duty", "name").get(f"{DUTY}:{server}")
    return Erased() if row is None else erased_of_rows((row["details"] or {}).get("tombstones"))


def first_without(app: App, server: str, name: str) -> int | None:
    """The first generation that has nothing of an erased mailbox; None where nobody knows."""
    row = app.duties.all().get(f"{DUTY}:{server}")
    number = None if row is None else (row.details.get("first") or {}).get(name.lower())
    return number if isinstance(number, int) else None


def keep_erased(app: App, server: str, erased: Erased, *, first: dict[str, int] | None = None) -> None:
    """Writes it to the database. `first`: by name in lower case, the first generation without it, where that is news."""
    row = app.duties.all().get(f"{DUTY}:{server}")
    known = {} if row is None else row.details
    details = {"tombstones": erased.rows(), "first": {**(known.get("first") or {}), **(first or {})}}
    if details != known:
        app.duties.ended(f"{DUTY}:{server}", app.clock.now(), ok=True, details=details)


class Veil:
    """Hides erased mailboxes from one search or restore; what is known of a server is read once."""

    def __init__(self, app: App, origins: Sequence[Source] = ()) -> None:
        self._app, self._origins = app, origins
        self._known: dict[str, Erased] = {}

    def hides(self, server: str, mailbox: str) -> bool:
        return self._of(server).covers(mailbox)

    def words(self, query: Query, *, nothing_found: bool) -> list[str]:
        """For a person who asks for what was erased; and, where nothing was found, what was not looked at."""
        found = []
        for server in [query.server] if query.server is not None else sorted(self._app.config.archived):
            for each in self._of(server).standing:
                if query.mailbox is not None and _asks_for(query.mailbox, each):
                    found.append(
                        f"{each.name} was erased on {each.at.astimezone(self._app.time_zone):%Y-%m-%d}: nothing of it is found or restored"
                    )
                elif query.mailbox is None and nothing_found:
                    found.append(f"{each.name} was erased and is not looked at")
        return found

    def without_erased(self, generation: Generation, narrate: Narrator) -> Generation:
        """A state without mailboxes that were erased since; each is told."""
        hidden = [mailbox for mailbox in generation.mailboxes if self.hides(generation.server, mailbox)]
        for mailbox in hidden:
            narrate(f"{mailbox} was erased and is not restored")
        return replace(
            generation, mailboxes={name: digest for name, digest in generation.mailboxes.items() if name not in hidden}
        )

    def _of(self, server: str) -> Erased:
        if server not in self._known:
            self._known[server] = known_erased(self._app, server, self._origins)
        return self._known[server]


def _asks_for(pattern: str, tombstone: Tombstone) -> bool:
    from failsafe.backup.catalog_search import matches_mailbox

    return matches_mailbox(pattern, tombstone.name) or Erased.of([tombstone]).covers(pattern)
