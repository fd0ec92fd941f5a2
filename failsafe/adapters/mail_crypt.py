"""Reads messages that Dovecot's mail_crypt encrypted with global keys, by the `cryptography` library. It never encrypts.

The form is that of Dovecot's lib-dcrypt, version 2: magic, flags and length of a header (32 bits, big-endian); the cipher and the hash
as ASN.1 object identifiers; rounds; a key for each recipient; then the text, and the tag that proves it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from failsafe.mail.packed import CRYPTED, Unreadable

AEAD, SAME_CIPHER = 0x2, 0x10  # flags: authenticated; the recipient's key is wrapped with the same cipher
RSA, EC = 1, 2  # kinds of a recipient's key
TAG, NONCE = 16, 12  # bytes
DIGEST_ROUNDS = 2048  # how often the message key is hashed for its check
ROUNDS_LIMIT = 1_000_000
GCM = {bytes.fromhex("60864801650304012e"): 32, bytes.fromhex("60864801650304011a"): 24, bytes.fromhex("608648016503040106"): 16}
HASHES = {
    bytes.fromhex("608648016503040201"): "sha256",
    bytes.fromhex("608648016503040202"): "sha384",
    bytes.fromhex("608648016503040203"): "sha512",
}
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class _Recipient:
    kind: int
    digest: bytes  # of the public key
    ephemeral: bytes  # our half of the exchange; b"" for RSA
    wrapped: bytes
    check: bytes


class MailCryptKeys:
    """Private keys, known by the digests of their public halves. What is no such key, or has a password, is passed over."""

    def __init__(self, texts: Iterable[bytes]) -> None:
        self._keys: dict[bytes, PrivateKey] = {}
        for text in texts:
            self._learn(text)

    def __len__(self) -> int:
        return len({id(key) for key in self._keys.values()})

    def decrypt(self, data: bytes) -> bytes:
        """Raises Unreadable: none of the keys opens it, or it is damaged (its tag proves every byte)."""
        try:
            return self._decrypt(_Reader(data))
        except (IndexError, ValueError, OverflowError, UnsupportedAlgorithm) as error:
            raise Unreadable("it is encrypted, and damaged or of a form that is not known here") from error
        except InvalidTag:
            raise Unreadable("it is encrypted, and damaged: its seal is broken") from None

    def _learn(self, text: bytes) -> None:
        try:
            key = serialization.load_pem_private_key(text, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            return
        if isinstance(key, ec.EllipticCurvePrivateKey):
            for form in (serialization.PublicFormat.CompressedPoint, serialization.PublicFormat.UncompressedPoint):
                self._keys[hashlib.sha256(_public_der(key, form)).digest()] = key
        elif isinstance(key, rsa.RSAPrivateKey):
            der = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
            self._keys[hashlib.sha256(der).digest()] = key

    def _decrypt(self, data: _Reader) -> bytes:
        if data.take(len(CRYPTED)) != CRYPTED or data.take(1) != b"\x02":
            raise Unreadable("it is encrypted in a form that is not known here")
        flags, header_size = data.number(), data.number()
        cipher, hash_name, rounds = data.identifier(), HASHES.get(data.identifier()), data.number()
        data.number()  # how long the recipients' part is: each says it, too
        key_size = GCM.get(cipher)
        if key_size is None or hash_name is None or not flags & AEAD or rounds > ROUNDS_LIMIT:
            raise Unreadable("it is encrypted with a cipher that is not known here")
        recipients = [data.recipient() for _ in range(data.take(1)[0])]
        known = next((one for one in recipients if one.digest in self._keys), None)
        if known is None:
            raise Unreadable("it is encrypted, and no key that is at hand opens it")
        secret = _unwrap(self._keys[known.digest], known, hash_name, rounds, same=key_size if flags & SAME_CIPHER else 0)
        if len(secret) != key_size + NONCE + TAG or not hmac.compare_digest(_check_of(secret, hash_name), known.check):
            raise ValueError("the message's key is not what its check says")
        body = data.rest(header_size)
        key, nonce, more = secret[:key_size], secret[key_size : key_size + NONCE], secret[key_size + NONCE :]
        return _open_gcm(key, nonce, more, body)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0

    def take(self, count: int) -> bytes:
        piece = self._data[self._place : self._place + count]
        if len(piece) != count:
            raise IndexError("the header ends too early")
        self._place += count
        return piece

    def number(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def identifier(self) -> bytes:
        """An ASN.1 object identifier: a 6, its length, its bytes."""
        kind, length = self.take(2)
        if kind != 6 or length > 127:
            raise ValueError("no object identifier")
        return self.take(length)

    def recipient(self) -> _Recipient:
        kind, digest = self.take(1)[0], self.take(32)
        ephemeral, wrapped, check = (self.take(self.number()) for _ in range(3))
        return _Recipient(kind, digest, ephemeral, wrapped, check)

    def rest(self, start: int) -> bytes:
        return self._data[start:]


def _unwrap(key: PrivateKey, recipient: _Recipient, hash_name: str, rounds: int, *, same: int) -> bytes:
    """The message's key. `same`: bytes of a key for GCM where the wrap has the message's own cipher; 0: AES-256-CBC."""
    if recipient.kind == RSA and isinstance(key, rsa.RSAPrivateKey):
        oaep = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)  # noqa: S303 - what Dovecot writes
        return key.decrypt(recipient.wrapped, oaep)
    if recipient.kind != EC or not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("another kind of key")
    peer = ec.EllipticCurvePublicKey.from_encoded_point(key.curve, recipient.ephemeral)
    shared = key.exchange(ec.ECDH(), peer)
    sizes = (same, NONCE, TAG) if same else (32, 16, 0)
    derived = hashlib.pbkdf2_hmac(hash_name, shared, recipient.ephemeral, rounds, sum(sizes))
    secret, start, more = derived[: sizes[0]], derived[sizes[0] : sizes[0] + sizes[1]], derived[sizes[0] + sizes[1] :]
    if same:
        return _open_gcm(secret, start, more, recipient.wrapped)
    cipher = Cipher(algorithms.AES(secret), modes.CBC(start)).decryptor()
    padded = cipher.update(recipient.wrapped) + cipher.finalize()
    if not padded or not 1 <= padded[-1] <= 16:
        raise ValueError("no padding")
    return padded[: -padded[-1]]


def _check_of(secret: bytes, hash_name: str) -> bytes:
    digest = hashlib.new(hash_name, secret).digest()
    for number in range(1, DIGEST_ROUNDS + 1):
        digest = hashlib.new(hash_name, digest + number.to_bytes(4, "big")).digest()
    return digest


def _open_gcm(key: bytes, nonce: bytes, more: bytes, sealed: bytes) -> bytes:
    """`sealed` ends with its tag; `more` is authenticated beside it."""
    if len(sealed) < TAG:
        raise ValueError("no room for a tag")
    cipher = Cipher(algorithms.AES(key), modes.GCM(nonce, sealed[-TAG:])).decryptor()
    cipher.authenticate_additional_data(more)
    return cipher.update(sealed[:-TAG]) + cipher.finalize()


def _public_der(key: ec.EllipticCurvePrivateKey, form: serialization.PublicFormat) -> bytes:
    """SubjectPublicKeyInfo with the point in this form; Dovecot takes the digest of the compressed one."""
    whole = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    full = key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    point = key.public_key().public_bytes(serialization.Encoding.X962, form)
    algorithm = whole[whole.index(b"\x30", 1) :]
    algorithm = algorithm[: algorithm[1] + 2]
    assert whole.endswith(full)
    bits = b"\x03" + _der_length(len(point) + 1) + b"\0" + point
    return b"\x30" + _der_length(len(algorithm) + len(bits)) + algorithm + bits


def _der_length(count: int) -> bytes:
    if count < 128:
        return bytes([count])
    raw = count.to_bytes((count.bit_length() + 7) // 8, "big")
    return bytes([128 + len(raw)]) + raw
