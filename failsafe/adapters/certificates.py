"""Certificates and keys as bytes, through cryptography: what an exchange shows after STARTTLS, what a DKIM record holds."""

from __future__ import annotations

import base64
import binascii
import ssl

from failsafe.adapters.smtp_wire import SmtpWire, TlsFault, Transcript, WireFault
from failsafe.adapters.sockets import CannotLook, ConnectFailed, Deadline, connect, look_up
from failsafe.mail.tlsa import ShownCertificate

LOOK_UP_SECONDS = 5.0
CONNECT_SECONDS = 10.0
GREETING_SECONDS = 20.0  # postscreen waits 6 s
COMMAND_SECONDS = 15.0
WHOLE_SECONDS = 45.0


def certificate_of(exchange: str, helo: str, port: int = 25) -> tuple[ShownCertificate | None, str]:
    """What the exchange shows, whoever signed it, and why nothing could be seen. One polite session: EHLO, STARTTLS, EHLO, QUIT. Never raises."""
    whole = Deadline(WHOLE_SECONDS)
    error = f"{exchange} has no address"
    try:
        for address in look_up(exchange, port, whole.sooner(LOOK_UP_SECONDS))[:2]:
            try:
                wire = SmtpWire(connect(address, whole.sooner(CONNECT_SECONDS)), Transcript(), whole)
            except ConnectFailed as fault:
                error = str(fault)
                continue
            try:
                return _ask(wire, exchange, helo), ""
            except (WireFault, TlsFault, UnicodeError) as fault:
                return None, f"{exchange}: {fault}"
            finally:
                wire.close()
    except CannotLook as fault:
        error = str(fault)
    return None, error


def _ask(wire: SmtpWire, exchange: str, helo: str) -> ShownCertificate:
    """Raises WireFault, TlsFault."""
    greeting = wire.read_reply(GREETING_SECONDS)
    hello = wire.command(f"EHLO {helo}", COMMAND_SECONDS) if greeting.good else greeting
    if not hello.good or not hello.offers("STARTTLS"):
        if greeting.code != 421:
            wire.command("QUIT", COMMAND_SECONDS)
        raise WireFault(f"STARTTLS is not offered ({hello.said})")
    answer = wire.command("STARTTLS", COMMAND_SECONDS)
    if answer.code != 220:
        wire.command("QUIT", COMMAND_SECONDS)
        raise WireFault(f"STARTTLS is refused: {answer.said}")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    wire.start_tls(context, exchange, COMMAND_SECONDS)
    shown = wire.certificate()
    wire.command(f"EHLO {helo}", COMMAND_SECONDS)
    wire.command("QUIT", COMMAND_SECONDS)
    return shown_certificate(shown)


def shown_certificate(der: bytes) -> ShownCertificate:
    """Raises WireFault where these bytes are no certificate."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    try:
        key = x509.load_der_x509_certificate(der).public_key()
        return ShownCertificate(der, key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise WireFault("what it shows is no certificate that can be read") from error


def dkim_key_bits(kind: str, text: str) -> int:
    """Size of the public key in a DKIM record's `p=` (RFC 6376 section 3.6.1, RFC 8463). Raises ValueError."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error:
        raise ValueError("p= is not base64") from None
    if kind == "ed25519":
        if len(data) != 32:
            raise ValueError("p= is no Ed25519 key of 32 bytes")
        return 256
    if kind != "rsa":
        raise ValueError(f"k={kind[:20]} is no kind of key that receivers know")
    try:
        key = load_der_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("p= is no public key") from None
    if not isinstance(key, RSAPublicKey):
        raise ValueError("p= is no RSA key")  # noqa: TRY004 - a record of somebody else, not an argument
    return key.key_size
