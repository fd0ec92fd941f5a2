"""Gathers what the doctor judges of this machine. Judges nothing itself."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from pathlib import Path

from failsafe.app import App
from failsafe.backup.doctor import (
    MachineCheckup,
    Space,
)
from failsafe.checkup.people import look_at_notify
from failsafe.errors import ProcessError
from failsafe.kits.gather import look_at_kit

STAGING_FILES = 200_000  # counted at most; staging has a few thousand


def look_at_machine(app: App, now: datetime) -> MachineCheckup:
    from failsafe.adapters.own_line import OwnLineCheck
    from failsafe.config.files import file_faults
    from failsafe.store.file_systems import NETWORK_FILE_SYSTEMS, file_system_of

    faults, warnings = file_faults(app.config)
    usage = shutil.disk_usage(app.state_dir)
    line = OwnLineCheck([str(address) for address in app.config.own_line.references]).look(now)
    kind = file_system_of(app.state_dir)
    version, restic_error, too_old, unknown = _restic(app)
    return MachineCheckup(
        space=Space(usage.free, usage.total),
        staging_bytes=_size(app.state_dir / "staging"),
        exposed=tuple(str(folder) for folder in _exposed(app)),
        secret_faults=tuple(faults),
        secret_warnings=tuple(warnings),
        file_system=kind,
        is_network_file_system=kind in NETWORK_FILE_SYSTEMS and app.config.controller.database == "sqlite",
        restic=version,
        restic_error=restic_error,
        restic_too_old=too_old,
        restic_unknown=unknown,
        notify=look_at_notify(app, now),
        own_line=(line.answered, line.asked),
        kit=look_at_kit(app),
    )


def _exposed(app: App) -> list[Path]:
    """Folders of mail that others may enter. What lies below a closed folder is closed."""
    staging = app.state_dir / "staging"
    if not staging.is_dir() or not app.state_dir.stat().st_mode & 0o077:
        return []
    return [
        folder
        for folder in sorted(staging.iterdir())
        if folder.is_dir() and staging.stat().st_mode & 0o077 and folder.stat().st_mode & 0o077
    ][:5]


def _size(folder: Path) -> int:
    total = 0
    for count, path in enumerate(folder.rglob("*")):
        if count >= STAGING_FILES:
            break
        try:
            total += path.lstat().st_size
        except OSError:
            continue  # collected in the meantime
    return total


def _restic(app: App) -> tuple[str, str, bool, bool]:
    """(version, error, older than we support, newer than we know)."""
    if not app.config.repository:
        return "", "no repository is configured, so nothing is backed up", False, False
    from failsafe.adapters.process import Command, base_environment, run
    from failsafe.adapters.restic.capabilities import parse_version

    try:
        finished = run(Command(("restic", "version"), base_environment(), deadline=timedelta(seconds=30)))
    except ProcessError as error:
        return "", str(error), False, False
    found = parse_version("\n".join(finished.stdout))
    if found is None:
        return "", "restic does not say its version", False, False
    return found.text, "", not found.is_supported, found.is_supported and not found.is_known
