"""TLSA records (RFC 6698, RFC 7671) of a mail exchange, against the certificate it shows. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

HASHES = {1: hashlib.sha256, 2: hashlib.sha512}
TO_AUTHORITY, TO_SERVER = 2, 3  # DANE-TA, DANE-EE: the two usages that count for mail (RFC 7672 section 3.1.3)


@dataclass(frozen=True, slots=True)
class Tlsa:
    usage: int
    selector: int  # 0: the whole certificate, 1: its public key
    matching: int  # 0: the bytes, 1: SHA-256, 2: SHA-512
    data: str  # hexadecimal

    def __str__(self) -> str:
        return f"{self.usage} {self.selector} {self.matching} {self.data}"

    @property
    def is_of_use(self) -> bool:
        """Whether senders of mail heed it at all."""
        return self.usage in (TO_AUTHORITY, TO_SERVER) and self.selector in (0, 1) and self.matching in (0, 1, 2)


@dataclass(frozen=True, slots=True)
class ShownCertificate:
    """DER bytes."""

    whole: bytes
    public_key: bytes


def parse_tlsa(text: str) -> Tlsa:
    """From the presentation format `3 1 1 0123ab…`, in which the data may have blanks. Raises ValueError."""
    usage, selector, matching, *data = text.split()
    return Tlsa(int(usage), int(selector), int(matching), "".join(data).lower())


def fits(record: Tlsa, certificate: ShownCertificate) -> bool:
    return record.data == _data(record.selector, record.matching, certificate)


def record_for(certificate: ShownCertificate) -> Tlsa:
    """`3 1 1`, the form that RFC 7671 section 5.1 advises: it lives on when a certificate is renewed with the same key."""
    return Tlsa(TO_SERVER, 1, 1, _data(1, 1, certificate))


def fitting(records: Sequence[Tlsa], certificate: ShownCertificate) -> bool:
    """Whether a sender that heeds DANE would go on: one record that fits is enough."""
    return any(record.is_of_use and record.usage == TO_SERVER and fits(record, certificate) for record in records)


def _data(selector: int, matching: int, certificate: ShownCertificate) -> str:
    chosen = certificate.public_key if selector == 1 else certificate.whole
    return HASHES[matching](chosen).hexdigest() if matching in HASHES else chosen.hex()
