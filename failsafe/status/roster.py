"""What the configuration asks for, in a few plain values: enough for `status`, without the cost of validating the file again.

`read_roster` remembers the roster of a configuration it has validated, under the digest of the file's bytes: the same bytes of the same
version of failsafe on the same host mean the same roster, so a remembered one is never older than the file.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import tempfile
import tomllib
from dataclasses import asdict, dataclass
from datetime import time, timedelta, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

from failsafe import __version__
from failsafe.backup.due import Duty, Window
from failsafe.homecoming.cadence import IN_PEACE

if TYPE_CHECKING:
    from failsafe.config.schema import Config

FORMAT = 6  # grows when a field changes, so that an older memory is not read
OFFSITE_EVERY = timedelta(hours=6)  # between snapshots in a repository across a network, where `every` is left out
DOCTOR_EVERY = timedelta(days=1)  # a failover relies on findings of at most 7 days
FORGET_EVERY = timedelta(days=1)
PRUNE_EVERY = timedelta(days=7)
MAXIMUM_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class DomainRow:
    domain: str
    server: str
    primary: tuple[str, ...]
    secondary: tuple[str, ...]
    mode: str
    quorum: int
    vantages: int
    probe_every: timedelta


@dataclass(frozen=True, slots=True)
class Roster:
    """Names and intervals; no secret, no path of one."""

    controller: str
    state_dir: Path
    database: str
    time_zone: str | None
    servers: tuple[str, ...]
    repositories: tuple[str, ...]
    domains: tuple[DomainRow, ...]
    duties: tuple[Duty, ...]
    secondaries: tuple[str, ...] = ()  # what homecomings read: DOMAIN:secondary

    @property
    def database_file(self) -> Path | None:
        """None where the database is not SQLite."""
        return self.state_dir / "failsafe.sqlite" if self.database == "sqlite" else None

    @property
    def zone(self) -> tzinfo | None:
        """The configured time zone; None means the system's."""
        if self.time_zone is None:
            return None
        from zoneinfo import ZoneInfo

        return ZoneInfo(self.time_zone)


def roster_of(config: Config) -> Roster:
    """The roster of a validated configuration."""
    from failsafe.config.vantages import vantages_of

    controller = config.controller
    domains = tuple(
        DomainRow(
            name,
            table.server,
            table.primary,
            table.secondary,
            str(table.mode),
            table.quorum,
            len(vantages_of(config, table.server)),
            config.probe[table.server].every if table.server in config.probe else timedelta(minutes=1),
        )
        for name, table in config.domain.items()
    )
    return Roster(
        controller.id,
        controller.state_dir,
        controller.database,
        controller.time_zone,
        tuple(config.mail_server),
        tuple(config.repository),
        domains,
        duties_of(config),
        tuple(name for name in config.archived if name not in config.mail_server),
    )


def duties_of(config: Config) -> tuple[Duty, ...]:
    """Everything that is repeated as a job of its own."""
    backups = [Duty(f"backup:{name}", server.backup_every) for name, server in config.mail_server.items() if config.repository]
    checks = [
        Duty(f"check:{name}", table.check.every, rank=2, heavy=table.is_path, window=table.window)
        for name, table in config.repository.items()
    ]
    drills = [
        Duty(f"drill:{name}", table.drill_every, rank=3, heavy=table.is_path, window=table.window)
        for name, table in config.repository.items()
        if config.mail_server
    ]
    doctor = [Duty("doctor", DOCTOR_EVERY, rank=1, heavy=False)] if config.mail_server or config.domain else []
    return (*backups, *_homecomings_of(config), *_snapshots_of(config), *doctor, *checks, *drills, *_maintenance_of(config))


def _homecomings_of(config: Config) -> list[Duty]:
    """As in peace; the daemon begins them more often while a domain is away or drains."""
    away = [name for name, table in config.domain.items() if table.homecoming is not None]
    return [Duty(f"homecoming:{name}", IN_PEACE) for name in away]


def _maintenance_of(config: Config) -> list[Duty]:
    """Forget and prune, where `keep` says what may go and it is this machine's work."""
    duties = []
    for name, table in config.repository.items():
        if table.maintenance == "here" and table.keep is not None and any(table.keep.model_dump().values()):
            duties.append(Duty(f"forget:{name}", FORGET_EVERY, rank=4, heavy=table.is_path, window=table.window))
            duties.append(Duty(f"prune:{name}", PRUNE_EVERY, rank=5, heavy=table.is_path, window=table.window))
    return duties


def _snapshots_of(config: Config) -> list[Duty]:
    """Each repository keeps its own time. One across a network may take days, so it is nobody's heavy neighbour."""
    pulled_every = max((server.backup_every for server in config.mail_server.values()), default=None)
    if pulled_every is None:
        return []
    duties = []
    for name, table in config.repository.items():
        every = table.every or (pulled_every if table.is_path else OFFSITE_EVERY)
        duties.append(Duty(f"snapshot:{name}", every, rank=1, heavy=False, window=table.window))
    return duties


def read_roster(path: Path) -> Roster:
    """The roster of the configuration at `path`. Raises ConfigError with every fault, as validating it does."""
    try:
        data = path.read_bytes()[: MAXIMUM_BYTES + 1]
        memory = _memory(data)
        if memory is not None and (known := _remembered(memory, data)) is not None:
            return known
    except (OSError, ValueError):
        memory = None
    from failsafe.config.load import load_config

    roster = roster_of(load_config(path))
    if memory is not None:
        _remember(memory, data, roster)
    return roster


def to_json(roster: Roster) -> dict[str, Any]:
    values = asdict(roster)
    values["state_dir"] = str(roster.state_dir)
    for row in values["domains"]:
        row["probe_every"] = row["probe_every"].total_seconds()
    values["duties"] = [
        {**asdict(duty), "every": duty.every.total_seconds(), "window": None if duty.window is None else str(duty.window)}
        for duty in roster.duties
    ]
    return values


def from_json(values: dict[str, Any]) -> Roster:
    rows = [
        DomainRow(
            **{
                **row,
                "primary": tuple(row["primary"]),
                "secondary": tuple(row["secondary"]),
                "probe_every": timedelta(seconds=row["probe_every"]),
            }
        )
        for row in values["domains"]
    ]
    duties = [
        Duty(**{**duty, "every": timedelta(seconds=duty["every"]), "window": _window(duty["window"])})
        for duty in values["duties"]
    ]
    return Roster(
        **{
            **values,
            "state_dir": Path(values["state_dir"]),
            "servers": tuple(values["servers"]),
            "repositories": tuple(values["repositories"]),
            "domains": tuple(rows),
            "duties": tuple(duties),
            "secondaries": tuple(values["secondaries"]),
        }
    )


def _window(text: str | None) -> Window | None:
    if text is None:
        return None
    begin, _, end = text.partition("-")
    return Window(time.fromisoformat(begin), time.fromisoformat(end))


def _memory(data: bytes) -> Path | None:
    """Where the roster of this file is remembered: in its own state folder, which only its owner can write."""
    folder = Path(tomllib.loads(data.decode()).get("controller", {}).get("state_dir", "/var/lib/failsafe"))
    return folder / "cache" / "roster.json" if folder.is_absolute() and folder.is_dir() else None


def _digest(data: bytes) -> str:
    key = f"{FORMAT} {__version__} {socket.gethostname()} {os.path.expanduser('~')} "  # noqa: PTH111 - a text, not a path to open
    return hashlib.sha256(key.encode() + data).hexdigest()


def _remembered(memory: Path, data: bytes) -> Roster | None:
    try:
        values = json.loads(memory.read_bytes())
        return from_json(values["roster"]) if values["digest"] == _digest(data) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remember(memory: Path, data: bytes, roster: Roster) -> None:
    try:
        memory.parent.mkdir(mode=0o700, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=memory.parent, prefix=".roster-", delete=False) as file:
            json.dump({"digest": _digest(data), "roster": to_json(roster)}, file)
        Path(file.name).replace(memory)
    except OSError:
        return  # only a memory; the next one validates again
