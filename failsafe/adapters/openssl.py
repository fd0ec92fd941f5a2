"""The format of `openssl enc -aes-256-cbc -pbkdf2 -md sha256 -base64`, so that a stock openssl opens what failsafe has locked (cryptography)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from typing import TYPE_CHECKING

from failsafe.errors import KitError
from failsafe.secrets import Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.modes import CBC

ITERATIONS = 600_000  # what OWASP asks of PBKDF2 with SHA-256; half a second here, and as long for each guess
MOST_ITERATIONS = 100_000_000  # a page that asks for more is meant to keep us busy
_MAGIC, _SALT, _BLOCK, _LINE = b"Salted__", 8, 16, 64
WRONG = "the passphrase is another one, or the kit was changed"


def lock(plain: bytes, passphrase: Secret, iterations: int = ITERATIONS) -> str:
    """Base64 in lines of 64 letters, each with a newline."""
    from cryptography.hazmat.primitives.padding import PKCS7

    salt = os.urandom(_SALT)
    padder = PKCS7(_BLOCK * 8).padder()
    encryptor = _cipher(passphrase, salt, iterations).encryptor()
    sealed = encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()
    text = base64.b64encode(_MAGIC + salt + sealed).decode("ascii")
    return "".join(f"{text[start : start + _LINE]}\n" for start in range(0, len(text), _LINE))


def unlock(text: str, passphrase: Secret, iterations: int) -> bytes:
    """What was locked. CBC has no proof of integrity: the content must carry its own. Raises KitError."""
    from cryptography.hazmat.primitives.padding import PKCS7

    mend = "type it as it was chosen; with the same passphrase, openssl says “bad decrypt” to this too"
    try:
        sealed = base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error as error:
        raise KitError("the locked part of this kit is damaged", mend="use another copy") from error
    head = len(_MAGIC) + _SALT
    if (
        not sealed.startswith(_MAGIC)
        or len(sealed) < head + _BLOCK
        or len(sealed) % _BLOCK
        or not 0 < iterations <= MOST_ITERATIONS
    ):
        raise KitError("the locked part of this kit is damaged or cut", mend="use another copy")
    decryptor = _cipher(passphrase, sealed[len(_MAGIC) : head], iterations).decryptor()
    unpadder = PKCS7(_BLOCK * 8).unpadder()
    try:
        padded = decryptor.update(sealed[head:]) + decryptor.finalize()
        return unpadder.update(padded) + unpadder.finalize()
    except ValueError as error:
        raise KitError(WRONG, mend=mend) from error


def _cipher(passphrase: Secret, salt: bytes, iterations: int) -> Cipher[CBC]:
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.algorithms import AES
    from cryptography.hazmat.primitives.ciphers.modes import CBC

    made = hashlib.pbkdf2_hmac("sha256", passphrase.reveal().encode(), salt, iterations, 32 + _BLOCK)
    return Cipher(AES(made[:32]), CBC(made[32:]))
