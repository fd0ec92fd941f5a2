"""Makes keys and passwords, and writes them and the configuration: each file whole or not at all, never over one that is there."""

from __future__ import annotations

import base64
import os
import secrets
import tempfile
from collections.abc import Iterable
from pathlib import Path

from failsafe.errors import ConfigError, Refused, UsageError
from failsafe.setting_up.choice import HostKeyChoice
from failsafe.setting_up.files import Kind, SecretFile
from failsafe.takeover.places import Placed
from failsafe.takeover.writing import write_files

SECRET_BYTES = 32


def make_missing(wanted: Iterable[SecretFile], comment: str) -> tuple[list[Path], list[Path]]:
    """(made, kept): files that were made, and those that were there and stay as they are. Raises KitError where one cannot be written."""
    made, kept = [], []
    for file in wanted:
        path = Path(file.path)
        if os.path.lexists(path):
            kept.append(path)
        else:
            made += write_files(_content(file, comment))
    return made, kept


def _content(file: SecretFile, comment: str) -> list[Placed]:
    """The public half of a key before the key itself: where the key is, both are."""
    path = Path(file.path)
    if file.kind is Kind.SSH_KEY:
        private, public = _ssh_key(comment)
        beside = path.with_name(path.name + ".pub")
        if os.path.lexists(beside):  # left by a run that was stopped: half a key is none
            beside.unlink()
        return [Placed(beside, 0o644, public), Placed(path, 0o600, private)]
    if file.kind is Kind.PASSWORD:
        return [Placed(path, 0o600, secrets.token_urlsafe(SECRET_BYTES).encode() + b"\n")]
    if file.kind is Kind.TSIG:
        return [Placed(path, 0o600, base64.b64encode(secrets.token_bytes(SECRET_BYTES)) + b"\n")]
    return [Placed(path, 0o600, file.text.encode())]


def _ssh_key(comment: str) -> tuple[bytes, bytes]:
    """(private, public) of a new ed25519 key without a passphrase, as ssh-keygen writes them."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return private, public + b" " + comment.encode() + b"\n"


def pin(file: Path, key: HostKeyChoice | None) -> bool:
    """Adds the key to known_hosts; all other lines stay. False where there was nothing to add."""
    if key is None or not key.line:
        return False
    line = f"{key.name} {key.line}\n".encode()
    old = file.read_bytes() if file.exists() else b""
    if line in old:
        return False
    replace_whole(file, old + (b"" if not old or old.endswith(b"\n") else b"\n") + line, 0o644)
    return True


def write_new(file: Path, data: bytes) -> None:
    """Raises Refused where one is there meanwhile."""
    write_files([Placed(file, 0o600, data)])


def append(file: Path, before: bytes, more: bytes) -> None:
    """`file` with `more` at its end. Raises Refused where it is not `before` any more."""
    if file.read_bytes() != before:
        raise Refused(f"{file} was changed meanwhile; nothing was written", mend="run it again")
    replace_whole(file, before + more, None)


def replace_whole(file: Path, data: bytes, mode: int | None) -> None:
    """In one step; a link stays a link. `mode` None: that of the file. Raises UsageError where it cannot be written."""
    file = file.resolve()
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        old = file.stat() if file.exists() else None
        descriptor, fresh = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        try:
            with os.fdopen(descriptor, "wb") as out:
                out.write(data)
                out.flush()
                os.fchmod(out.fileno(), old.st_mode & 0o777 if old is not None else mode or 0o600)
                if old is not None and os.geteuid() == 0:
                    os.fchown(out.fileno(), old.st_uid, old.st_gid)
                os.fsync(out.fileno())
            Path(fresh).replace(file)
        finally:
            Path(fresh).unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(
            f"{file} cannot be written: {error.strerror}", mend="as its owner, or choose another place with --config"
        ) from error


def demand_sound(data: bytes, file: Path) -> None:
    """What is about to be written must pass `config check`, but for files that are made with it. Raises UsageError: a mistake of ours, or of the answers."""
    from failsafe.config.load import parse_config

    try:
        parse_config(data, str(file))
    except ConfigError as error:
        raise UsageError(
            f"these answers make no configuration; nothing was written\n{error}", mend="answer otherwise what is named there"
        ) from error
