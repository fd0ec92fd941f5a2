"""The recovery kit as a file: written once, closed to others, read back; opened with its passphrase. Needs no configuration."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from failsafe.backup.kit import Kit
from failsafe.errors import ExternalError, KitError, UsageError
from failsafe.kits.page import MOST_BYTES, parse_kit, parse_locked, render_kit, render_locked
from failsafe.secrets import Secret

SHORTEST, LONGEST = 12, 200  # letters of a passphrase: four words; what every openssl reads from a terminal
NUMBERED = 99  # kits of one day


def default_name(controller: str, at: datetime, folder: Path) -> Path:
    """failsafe-kit-ID-DATE.html, with a number where that is taken."""
    stem = f"failsafe-kit-{controller}-{at:%Y-%m-%d}"
    names = (f"{stem}.html", *(f"{stem}-{number}.html" for number in range(2, NUMBERED)))
    return next((folder / name for name in names if not os.path.lexists(folder / name)), folder / names[0])


def demand_free(path: Path) -> None:
    """Before any work. Raises UsageError where something is there already, or where there is no such folder."""
    if os.path.lexists(path):
        raise UsageError(f"{path} is there already; nothing was written", mend="name another file, or move that one away")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}", mend="make it, or name another one")


def check_passphrase(passphrase: Secret) -> Secret:
    """One that a stock openssl reads alike on any machine, and that is not guessed in a day. Raises UsageError, which never shows it."""
    text = passphrase.reveal()
    if not SHORTEST <= len(text) <= LONGEST:
        mend = f"take {SHORTEST} to {LONGEST} letters: four or five words that have nothing to do with each other"
        raise UsageError(f"the passphrase has {len(text)} letters", mend=mend)
    if not text.isascii() or not text.isprintable() or text != text.strip():
        mend = "other keyboards and systems write other letters differently, and the kit must open there too"
        raise UsageError("the passphrase may hold only the letters, digits, signs and inner spaces of plain ASCII", mend=mend)
    return passphrase


def write_kit(path: Path, kit: Kit, passphrase: Secret | None) -> bool:
    """Writes it anew with mode 0600, and reads it back; `passphrase` None: not encrypted. True where others cannot read it.

    Raises UsageError where something is there already, ExternalError where it cannot be written or does not read back; nothing is then left.
    """
    text = render_kit(kit)
    if passphrase is not None:
        from failsafe.adapters.openssl import ITERATIONS, lock

        sealed = lock(text.encode(), passphrase)
        text = render_locked(sealed, ITERATIONS, file_name=path.name, controller=kit.controller, made_at=kit.made_at)
    demand_free(path)
    mode = _write(path, text.encode())
    try:
        is_right = read_kit(path, lambda: passphrase or Secret("")) == kit
    except KitError:
        is_right = False
    if not is_right:
        path.unlink(missing_ok=True)
        raise ExternalError(f"{path} does not read back as it was written", mend="look at the disk, then make it again")
    return not mode & 0o077


def _write(path: Path, data: bytes) -> int:
    """Durable, or nothing is left. Gives the mode that the file system gave it."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        raise UsageError(f"{path} is there already; nothing was written", mend="name another file") from None
    except OSError as error:
        raise ExternalError(f"{path} cannot be written: {error.strerror}", mend="name another place with --output") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            return os.fstat(file.fileno()).st_mode
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise ExternalError(
                f"{path} cannot be written: {error.strerror}", mend="name a place with room by --output"
            ) from error
        raise


def read_kit(path: Path, passphrase: Callable[[], Secret]) -> Kit:
    """A kit, locked or open; `passphrase` is asked only where it is locked. Raises KitError where it is none, changed, or opens with another one."""
    text = _read(path)
    locked = parse_locked(text)
    if locked is None:
        return parse_kit(text)
    from failsafe.adapters.openssl import WRONG, unlock

    plain = unlock(locked.ciphertext, passphrase(), locked.iterations)
    try:
        return parse_kit(plain.decode("utf-8"))
    except UnicodeDecodeError as error:  # one wrong passphrase in 256 ends in a padding that looks right
        raise KitError(WRONG) from error


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) <= MOST_BYTES:
            return data.decode("utf-8")
    except OSError as error:
        raise KitError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        pass
    raise KitError(f"{path} is no recovery kit", mend="name a file that `failsafe kit` made")
