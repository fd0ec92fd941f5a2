"""Certificates for "localhost" that a sender cannot verify although nothing in them is wrong: one that signed itself, one whose chain has a gap."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey


def make_self_signed(folder: Path) -> Path:
    """`self-signed.pem`, with its key."""
    key = _key()
    return _write(folder / "self-signed.pem", key, _sign("localhost", key, "localhost", key, is_authority=False))


def make_half_chain(folder: Path) -> tuple[Path, Path]:
    """(`root.pem`, the authority; `half-chain.pem`, a certificate and its key without the authority in between that signed it)."""
    root, between, leaf = _key(), _key(), _key()
    (folder / "root.pem").write_bytes(_pem(_sign("root", root, "root", root, is_authority=True)))
    certificate = _sign("localhost", leaf, "between", between, is_authority=False)
    return folder / "root.pem", _write(folder / "half-chain.pem", leaf, certificate)


def _key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _sign(subject: str, subject_key: Key, issuer: str, issuer_key: Key, *, is_authority: bool) -> x509.Certificate:
    now = datetime.now(UTC)  # noqa: TID251 - certificates live in real time
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(subject_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(subject)]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(subject_key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _write(file: Path, key: Key, certificate: x509.Certificate) -> Path:
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(private + _pem(certificate))
    file.chmod(0o600)
    return file
