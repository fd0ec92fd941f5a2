"""Secrets live in files (or in $CREDENTIALS_DIRECTORY); here they are read, checked and wrapped so that they cannot leak by accident."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from failsafe.errors import SecretError

MAXIMUM_BYTES = 64 * 1024  # a larger "secret" is the wrong file


class Secret:
    """A value whose text forms never show it. `reveal()` is the only way to it, so that every use can be found by name."""

    __slots__ = ("_value", "source")

    def __init__(self, value: str, source: str = "") -> None:
        self._value = value
        self.source = source

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return f"Secret({self.source or '…'})"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


def secret_path(path: str | Path) -> Path:
    """Where the secret is: systemd hands credentials over in a folder of its own, by file name, and that wins."""
    given = Path(path)
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if folder and (Path(folder) / given.name).is_file():
        return Path(folder) / given.name
    return given


def mode_fault(path: str | Path) -> str | None:
    """What is wrong with the file's permissions, as a sentence with the mend; None if nothing is. A missing file is a fault too."""
    place = secret_path(path)
    try:
        status = place.stat()
    except OSError as error:
        return f"cannot read {place}: {error.strerror}; create it, then: chmod 600 {place}"
    if not stat.S_ISREG(status.st_mode):
        return f"{place} is not a file"
    # systemd hands a file of root's over by an ACL, whose mask shows as the group's bits: mode 0440, and nobody else may read it.
    others = 0o007 if place != Path(path) else 0o077
    if status.st_mode & others:
        return f"{place} is readable by others (mode {stat.S_IMODE(status.st_mode):04o}); mend: chmod 600 {place}"
    return None


def modes_are_kept(folder: Path) -> bool:
    """Whether the file system under `folder` can hide a file at all (FAT and some NAS shares give every file the same mode)."""
    import tempfile

    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".failsafe-mode-") as probe:
            Path(probe.name).chmod(0o600)
            return stat.S_IMODE(Path(probe.name).stat().st_mode) == 0o600
    except OSError:
        return True  # cannot tell; then the strict rule stands


def read_secret(path: str | Path, *, strip: bool = True) -> Secret:
    """The secret in a file. It is read at every use, so rotation is replacing the file.

    Raises SecretError where the file is missing, readable by others, empty, not text or too large; the message never holds the content.
    """
    fault = mode_fault(path)
    place = secret_path(path)
    if fault is not None and (not place.is_file() or modes_are_kept(place.parent)):
        raise SecretError(fault)
    try:
        with place.open("rb") as file:
            data = file.read(MAXIMUM_BYTES + 1)
        text = data.decode("utf-8")
    except OSError as error:
        raise SecretError(f"cannot read {place}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise SecretError(f"{place} is not text; it should hold the secret alone") from None
    if len(data) > MAXIMUM_BYTES:
        raise SecretError(f"{place} is larger than {MAXIMUM_BYTES} bytes; it should hold the secret alone")
    value = text.strip() if strip else text
    if not value:
        raise SecretError(f"{place} is empty; write the secret into it")
    return Secret(value, str(place))


def read_environment(path: str | Path) -> dict[str, Secret]:
    """A file of NAME=VALUE lines (comments with #, optional `export` and quotes), such as restic's `environment_file`.

    Raises SecretError as `read_secret` does, and for a line that is not NAME=VALUE (told by its number, not by its text).
    """
    values: dict[str, Secret] = {}
    source = read_secret(path, strip=False)
    for number, raw in enumerate(source.reveal().splitlines(), start=1):
        line = raw.strip().removeprefix("export ").strip()
        if not line or line.startswith("#"):
            continue
        name, separator, value = line.partition("=")
        if not separator or not name.strip().isidentifier():
            raise SecretError(f"{source.source} line {number} is not NAME=VALUE")
        value = value.strip()
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        values[name.strip()] = Secret(value, f"{source.source}:{name.strip()}")
    return values
