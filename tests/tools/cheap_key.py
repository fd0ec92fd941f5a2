"""Gives a test's repository a key that is cheap to open: restic then spends milliseconds where its own key takes 0.65 s of a core.

Only the cost of guessing the password changes. The key file is restic's own format (its design document, "Keys, Encryption and MAC"):
scrypt with the parameters in the file, AES-256-CTR, Poly1305-AES.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305

CHEAP = {"N": 16, "r": 8, "p": 1}  # restic takes any power of two


def make_cheap(program: str, repository: Path, password: str, environment: Mapping[str, str]) -> None:
    """Replaces the only key of `repository`, whose `password` and restic environment are given."""
    (old,) = (repository / "keys").iterdir()
    shown = subprocess.run(
        [program, "cat", "masterkey", "--no-lock"], env=dict(environment), check=True, capture_output=True, timeout=120
    ).stdout
    sealed = _seal(json.dumps(json.loads(shown)).encode(), password, salt := os.urandom(64))
    known = json.loads(old.read_text())
    content = json.dumps({**known, **CHEAP, "salt": _text(salt), "data": _text(sealed)}).encode()
    fresh = old.with_name(hashlib.sha256(content).hexdigest())  # restic names a key file by its digest
    fresh.write_bytes(content)
    fresh.chmod(old.stat().st_mode & 0o777)
    old.unlink()


def _seal(plain: bytes, password: str, salt: bytes) -> bytes:
    key = hashlib.scrypt(password.encode(), salt=salt, n=CHEAP["N"], r=CHEAP["r"], p=CHEAP["p"], dklen=64)
    return seal(plain, key[:32], key[32:48], key[48:])


def seal(plain: bytes, encrypt: bytes, mac_k: bytes, mac_r: bytes) -> bytes:
    """As restic seals every file: AES-256-CTR, then Poly1305-AES."""
    nonce = os.urandom(16)
    body = Cipher(algorithms.AES(encrypt), modes.CTR(nonce)).encryptor().update(plain)
    once = Cipher(algorithms.AES(mac_k), modes.ECB()).encryptor().update(nonce)
    return nonce + body + Poly1305.generate_tag(mac_r + once, body)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
