"""Writes into a restic repository without restic: a key that costs nothing to open, and snapshots of any date by the hundred.

restic's own format (doc/design.rst): AES-256-CTR and Poly1305-AES; the master key lies in `keys/`, sealed under scrypt of the password. restic
itself asks for half a second of a core at every command, which is right for people and dear for tests.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

PRIME = (1 << 130) - 5
CLAMP = 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
CHEAP = {"N": 2, "r": 1, "p": 1}


@dataclass(frozen=True)
class Vault:
    """The two halves of a restic key: for bytes, and for their seal."""

    encrypt: bytes
    k: bytes
    r: bytes

    def seal(self, plain: bytes) -> bytes:
        nonce = os.urandom(16)
        cipher = _ctr(self.encrypt, nonce, plain)
        return nonce + cipher + self._tag(nonce, cipher)

    def unseal(self, data: bytes) -> bytes:
        nonce, cipher, tag = data[:16], data[16:-16], data[-16:]
        if not hmac.compare_digest(tag, self._tag(nonce, cipher)):
            raise ValueError("wrong password, or a damaged file")
        return _ctr(self.encrypt, nonce, cipher)

    def _tag(self, nonce: bytes, cipher: bytes) -> bytes:
        """Poly1305 of the bytes, blinded by AES of the nonce."""
        r, total = int.from_bytes(self.r, "little") & CLAMP, 0
        for start in range(0, len(cipher), 16):
            total = (total + int.from_bytes(cipher[start : start + 16] + b"\1", "little")) * r % PRIME
        blind = Cipher(algorithms.AES(self.k), modes.ECB()).encryptor().update(nonce)
        return ((total + int.from_bytes(blind, "little")) % (1 << 128)).to_bytes(16, "little")


def open_vault(repository: Path, password: str) -> Vault:
    """The master key of a repository that has one key."""
    (file,) = (repository / "keys").iterdir()
    told = json.loads(file.read_bytes())
    user = _user_key(password, base64.b64decode(told["salt"]), {name: told[name] for name in CHEAP})
    master = json.loads(user.unseal(base64.b64decode(told["data"])))
    return Vault(*(base64.b64decode(part) for part in (master["encrypt"], master["mac"]["k"], master["mac"]["r"])))


def make_cheap(repository: Path, password: str) -> None:
    """The same password and the same master key; restic opens it at once."""
    master = open_vault(repository, password)
    plain = {"mac": {"k": _text(master.k), "r": _text(master.r)}, "encrypt": _text(master.encrypt)}
    salt = os.urandom(64)
    data = _user_key(password, salt, CHEAP).seal(json.dumps(plain).encode())
    told = {"created": "2026-01-01T00:00:00Z", "username": "test", "hostname": "test", "kdf": "scrypt", **CHEAP}
    (before,) = (repository / "keys").iterdir()
    _put(repository / "keys", json.dumps({**told, "salt": _text(salt), "data": _text(data)}).encode())
    before.unlink()


def put_snapshots(
    repository: Path, password: str, tree: str, snapshots: Iterable[tuple[datetime, str, tuple[str, ...]]]
) -> list[str]:
    """Snapshots (time, host, tags) of one tree that is there already; gives their ids."""
    vault = open_vault(repository, password)
    made = []
    for at, host, tags in snapshots:
        value: dict[str, Any] = {
            "time": at.isoformat(),
            "tree": tree,
            "paths": ["/staging"],
            "hostname": host,
            "tags": list(tags),
        }
        made.append(_put(repository / "snapshots", vault.seal(json.dumps(value).encode())))
    return made


def _put(folder: Path, data: bytes) -> str:
    name = hashlib.sha256(data).hexdigest()
    (folder / name).write_bytes(data)
    return name


def _ctr(key: bytes, nonce: bytes, data: bytes) -> bytes:
    return Cipher(algorithms.AES(key), modes.CTR(nonce)).encryptor().update(data)


def _user_key(password: str, salt: bytes, cost: dict[str, int]) -> Vault:
    keys = hashlib.scrypt(password.encode(), salt=salt, n=cost["N"], r=cost["r"], p=cost["p"], maxmem=1 << 28, dklen=64)
    return Vault(keys[:32], keys[32:48], keys[48:])


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
