"""Gathers what this controller knows for the archive: its configuration, known host keys, and what its database and inventories hold."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from failsafe.app import App
from failsafe.backup.archive.staging import Staging
from failsafe.backup.guardbook import GuardBook
from failsafe.backup.inventory import Inventory
from failsafe.backup.own_files import CONFIGURATION, HUNDREDS, STATE, TENS, OwnFiles, carry, cut, digest_of, encode_rows
from failsafe.config.load import parse_config
from failsafe.config.servers import MailServer
from failsafe.errors import ConfigError, FailsafeError, HostKeyError
from failsafe.events import ROUTINE
from failsafe.ports import Narrator
from failsafe.store.version import HEAD

if TYPE_CHECKING:
    from failsafe.store.portable import Row

MAXIMUM_BYTES = 1 << 18  # of a known_hosts file
JOURNAL, DRILLS, NEWEST = "journal.jsonl", "drills.jsonl", "evidence/newest.jsonl"


def own_files(app: App, narrate: Narrator) -> OwnFiles:
    """As things are now; the larger part is read only where a generation is made. Raises StoreError."""
    from failsafe.store.portable import read_pulse

    beside = dict(_beside(app, narrate))
    pulse = read_pulse(app.store)
    digests = {path: hashlib.sha256(data).hexdigest() for path, data in beside.items()}
    return OwnFiles(
        digest_of(pulse.pressing, digests),
        digest_of(pulse.news),
        lambda: {**beside, **_state(app)},
        {"controller": app.config.controller.id, "schema": HEAD},
    )


def carry_own_files(app: App, server: str, staging: Staging, narrate: Narrator) -> tuple[int, int] | None:
    """After a pull that failed: what happened here goes into repositories all the same. Gives the numbers of (the last generation, its repetition)."""
    made = carry(staging, own_files(app, narrate), app.clock.now())
    if made is None:
        return None
    before, after = made
    with Inventory.open(app.inventory_file(server)) as inventory:
        inventory.repeated(before.number, after.number)
    row = app.duties.all().get(f"mailboxes:{server}")
    if row is not None and row.details.get("generation") == before.number:  # whoever holds the repetition holds this
        app.duties.ended(row.name, app.clock.now(), ok=True, details={**row.details, "generation": after.number})
    return before.number, after.number


def _state(app: App) -> dict[str, bytes]:
    from failsafe.store.portable import read_holdings

    held = read_holdings(app.store)
    events, new_events = cut("events", held.events, TENS, held.last["event"], lasting=lambda row: row["name"] not in ROUTINE)
    runs, new_runs = cut("evidence", held.evidence, HUNDREDS, held.last["evidence"])
    lines, new_lines = cut("own-line", held.lines, HUNDREDS, held.last["own_line"])
    homecomings, new_homecomings = cut("homecoming", held.homecomings, HUNDREDS, held.last["homecoming"])
    own = {
        STATE: encode_rows([*held.present, *_guards(app), *new_events, *new_homecomings]),
        JOURNAL: encode_rows(held.intents),
        DRILLS: encode_rows(held.drills),
        NEWEST: encode_rows([*new_runs, *new_lines]),
    }
    return {path: data for path, data in {**events, **runs, **lines, **homecomings, **own}.items() if data}


def _guards(app: App) -> Iterator[Row]:
    for server in sorted(app.config.archived):
        for one in GuardBook(app.inventory_file(server), server).standing():
            words = {"place": one.place, "code": one.code, "text": one.text, "raised_at": one.raised_at.isoformat()}
            yield {"table": "guard", "server": server, **words}


def _beside(app: App, narrate: Narrator) -> Iterator[tuple[str, bytes]]:
    """The configuration, which by its rules holds no secret, and known host keys. What cannot be read is told."""
    try:
        data = app.config_file.read_bytes()
        parse_config(data, str(app.config_file))  # it may have been changed since: what the rules refuse is not carried away
        yield CONFIGURATION, data
    except (OSError, ConfigError) as error:
        narrate(f"the configuration does not go along into the backup: {error}")
    for name, server in sorted(app.config.mail_server.items()):
        if server.ssh is not None:
            yield from _known(f"mail_server.{name}", server.known_hosts, _own_lines(app, name, server), narrate)
    for kind, tables in (("repository", app.config.repository), ("vantage", app.config.vantage)):
        for name, file in sorted((name, table.known_hosts) for name, table in tables.items() if table.known_hosts is not None):
            yield from _known(f"{kind}.{name}", file, b"", narrate)


def _known(name: str, file: Path | None, lines: bytes, narrate: Narrator) -> Iterator[tuple[str, bytes]]:
    """A file that the configuration names goes along whole; of a person's own only the lines of this host."""
    try:
        data = lines if file is None else file.read_bytes()
        if len(data) > MAXIMUM_BYTES:
            narrate(f"{file} does not go along into the backup: it is larger than {MAXIMUM_BYTES >> 10} KiB")
        elif data:
            yield f"known_hosts/{name}", data
    except OSError as error:
        narrate(f"{file} does not go along into the backup: {error.strerror}")


def _own_lines(app: App, name: str, server: MailServer) -> bytes:
    if server.known_hosts is not None:
        return b""
    from failsafe.adapters.host_keys import known_keys, name_of

    (host, port), file = app.ssh_place(name)
    try:
        return "".join(f"{name_of(host, port)} {key.line}\n" for key in known_keys(file, host, port)).encode()
    except HostKeyError:
        return b""  # there is none: the connection says so, and how to mend it


def own_files_or_less(app: App, narrate: Narrator) -> OwnFiles:
    """Mail is never left out because failsafe's own knowledge cannot be read."""
    try:
        return own_files(app, narrate)
    except FailsafeError as error:
        narrate(f"the journal does not go along into the backup: {error}")
        return OwnFiles.fixed(dict(_beside(app, narrate)))
