"""keys/ and config of a repository as files, to be kept elsewhere: without them no password opens it.

A folder's files are copied. From any other place they come through restic itself, which knows every kind of place: a key file is what
`restic cat key` shows, and the config, which restic shows decrypted, is sealed anew with the repository's own master key, as restic does it
(AES-256 in counter mode, Poly1305-AES; restic's design document, "Keys, Encryption and MAC"). Either way restic then opens them alone.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from failsafe.adapters.restic.driver import Driver
from failsafe.errors import ResticError

MOST_KEYS = 50
MOST_BYTES = 64 * 1024  # of one file; restic's have less than 500

Files = dict[str, bytes]  # "config", "keys/DIGEST" -> content


def copy_files(folder: Path) -> Files:
    """Of a repository in a folder of this machine. Raises ResticError."""
    try:
        keys = sorted(path for path in (folder / "keys").iterdir() if path.is_file() and len(path.name) == 64)
        files = {f"keys/{path.name}": _read(path) for path in keys[:MOST_KEYS]}
        return {"config": _read(folder / "config"), **files}
    except OSError as error:
        raise ResticError(f"cannot read keys/ and config in {folder}: {error.strerror}") from error


def ask_files(driver: Driver) -> Files:
    """Of a repository anywhere. Raises ResticError."""
    config = _ask(driver, "config")
    master = _ask(driver, "masterkey")
    files = {"config": seal(_compact(config), master)}
    for name in _lines(driver, ("list", "keys", "--no-lock"))[:MOST_KEYS]:
        with suppress(ResticError):  # one that is damaged is no use; whether ours is among the others is proved afterwards
            content = _compact(_ask(driver, "key", name.strip()))
            files[f"keys/{hashlib.sha256(content).hexdigest()}"] = content
    return files


def prove(files: Files, restic_id: str, open_alone: Callable[[Path], str]) -> None:
    """Opens a repository that is made of these files and nothing else, with the password we have. Raises ResticError where that is not ours."""
    with tempfile.TemporaryDirectory(prefix="failsafe-escrow-") as name:
        folder = Path(name) / "repository"
        (folder / "keys").mkdir(parents=True)
        for path, content in files.items():
            (folder / path).write_bytes(content)
        found = open_alone(folder)
    if found != restic_id:
        raise ResticError(f"the copies of keys/ and config open repository {found[:10]}…, not {restic_id[:10]}…")


def seal(plain: bytes, master: dict[str, Any], nonce: bytes | None = None) -> bytes:
    """As restic writes a file: nonce, ciphertext, proof. `master`: what `restic cat masterkey` shows."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    from cryptography.hazmat.primitives.poly1305 import Poly1305

    nonce = nonce or os.urandom(16)
    encrypt, proof = base64.b64decode(master["encrypt"]), master["mac"]
    encryptor = Cipher(algorithms.AES(encrypt), modes.CTR(nonce)).encryptor()
    sealed = encryptor.update(plain) + encryptor.finalize()
    block = Cipher(algorithms.AES(base64.b64decode(proof["k"])), modes.ECB()).encryptor()  # noqa: S305 - one block, as Poly1305-AES has it
    mac = Poly1305(base64.b64decode(proof["r"]) + block.update(nonce))
    mac.update(sealed)
    return nonce + sealed + mac.finalize()


def _ask(driver: Driver, *what: str) -> dict[str, Any]:
    try:
        value = json.loads("\n".join(_lines(driver, ("cat", *what, "--no-lock"))))
    except ValueError as error:
        raise ResticError(f"repository {driver.access.name}: restic cat {what[0]} answered no JSON") from error
    if not isinstance(value, dict):
        raise ResticError(f"repository {driver.access.name}: restic cat {what[0]} answered no object")
    return value


def _lines(driver: Driver, argv: tuple[str, ...]) -> list[str]:
    lines: list[str] = []
    driver.demand(argv, on_stdout=lines.append)
    return [line for line in lines if line.strip()]


def _compact(value: dict[str, Any]) -> bytes:
    """As restic itself writes it, so that a key keeps its name."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MOST_BYTES)
