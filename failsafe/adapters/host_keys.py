"""SSH host keys: which one a server shows now, which ones are known, and one put in place of another in a known_hosts file (paramiko)."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from failsafe.adapters.one_import import load_paramiko
from failsafe.errors import HostKeyError, SshError

if TYPE_CHECKING:
    import paramiko

TIMEOUT = 15.0  # seconds for TCP, banner and key exchange, each
MAXIMUM_BYTES = 16 << 20  # of a known_hosts file


@dataclass(frozen=True, slots=True)
class HostKey:
    """`line` is what stands in known_hosts after the name: "ssh-ed25519 AAAA…"."""

    kind: str
    fingerprint: str  # SHA256:…, as ssh-keygen -lf shows it
    line: str


def shown_key(host: str, port: int, kinds: tuple[str, ...] = ()) -> HostKey:
    """The key the server shows now; nobody logs in. `kinds`: the types to ask for first. Raises SshError."""
    load_paramiko()
    import paramiko

    try:
        with contextlib.closing(socket.create_connection((host, port), TIMEOUT)) as line:
            transport = paramiko.Transport(line)
            transport.banner_timeout = TIMEOUT
            try:
                _ask_for(transport, kinds)
                transport.start_client(timeout=TIMEOUT)
                return _host_key(transport.get_remote_server_key())
            finally:
                transport.close()
    except (OSError, EOFError, paramiko.SSHException) as error:
        raise SshError(f"{host}:{port} does not show its host key: {str(error) or 'the connection was closed'}") from error


def known_keys(file: Path, host: str, port: int) -> tuple[HostKey, ...]:
    """Of this host and port, in the order of the file. Raises HostKeyError."""
    return tuple(_host_key(key) for _number, key in _entries(_read(file), host, port))


def replace_key(file: Path, host: str, port: int, key: HostKey) -> Path:
    """Every known key of this host and port makes room for `key`; all other lines stay as they are. The old file is kept; gives its place.

    Raises HostKeyError where it cannot be written; the file is then what it was.
    """
    file = file.resolve()  # a link stays a link
    lines = _read(file)
    ours = {number for number, _key in _entries(lines, host, port)}
    name = name_of(host, port)
    left = [line if number not in ours else _without(line, name) for number, line in enumerate(lines)]
    text = "\n".join([line for line in left if line is not None] + [f"{name} {key.line}"]) + "\n"
    kept = file.with_name(file.name + ".old")
    try:
        mode = file.stat()
        descriptor, fresh = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as out:
                out.write(text)
                out.flush()
                os.fchmod(out.fileno(), mode.st_mode & 0o777)
                with contextlib.suppress(PermissionError):
                    os.fchown(out.fileno(), mode.st_uid, mode.st_gid)
                os.fsync(out.fileno())
            kept.unlink(missing_ok=True)
            os.link(file, kept)
            Path(fresh).replace(file)
        except BaseException:
            Path(fresh).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise HostKeyError(
            f"{file} cannot be changed: {error.strerror}",
            mend=f"as its owner: ssh-keygen -R '{name}' -f {file}, then add the line: {name} {key.line}",
            transient=False,
        ) from error
    return kept


def name_of(host: str, port: int) -> str:
    """As known_hosts writes it."""
    return host if port == 22 else f"[{host}]:{port}"


def _read(file: Path) -> list[str]:
    try:
        with file.open("rb") as source:
            return source.read(MAXIMUM_BYTES).decode("utf-8", "surrogateescape").splitlines()
    except OSError as error:
        raise HostKeyError(f"no known host keys: {file}: {error.strerror}", transient=False) from error


def _entries(lines: list[str], host: str, port: int) -> list[tuple[int, paramiko.PKey]]:
    """(line number, key) of this host; marked lines (@revoked, @cert-authority) are none of ours."""
    load_paramiko()
    from paramiko.hostkeys import HostKeyEntry, HostKeys, InvalidHostKey
    from paramiko.ssh_exception import SSHException

    name, found = name_of(host, port), []
    for number, line in enumerate(lines):
        if not line.strip() or line.lstrip().startswith(("#", "@")):
            continue
        try:
            entry = HostKeyEntry.from_line(line, number)
        except (InvalidHostKey, SSHException, ValueError):
            continue
        if entry is None:  # a kind of key that we do not know
            continue
        for written in entry.hostnames:
            if written == name or (written.startswith("|1|") and HostKeys.hash_host(name, written) == written):
                found.append((number, entry.key))
                break
    return found


def _without(line: str, name: str) -> str | None:
    """The line for the other hosts that it names; None where there is none."""
    names, _, rest = line.strip().partition(" ")
    others = [other for other in names.split(",") if other != name and not other.startswith("|1|")]
    return f"{','.join(others)} {rest}" if others else None


def _ask_for(transport: paramiko.Transport, kinds: tuple[str, ...]) -> None:
    options = transport.get_security_options()
    rsa = ("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa")
    first = [name for kind in kinds for name in (rsa if kind == "ssh-rsa" else (kind,)) if name in options.key_types]
    options.key_types = tuple(dict.fromkeys([*first, *options.key_types]))


def _host_key(key: paramiko.PKey) -> HostKey:
    return HostKey(key.get_name(), key.fingerprint, f"{key.get_name()} {key.get_base64()}")
