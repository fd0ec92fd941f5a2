"""Certificates and keys as bytes, through cryptography: what an exchange shows after STARTTLS, what a DKIM record holds."""

from __future__ import annotations

import base64
import binascii
import contextlib
from dataclasses import dataclass

from failsafe.adapters.smtp_wire import SmtpWire, TlsFault, Transcript, WireFault
from failsafe.adapters.sockets import CannotLook, ConnectFailed, Deadline, any_certificate, connect, look_up
from failsafe.mail.replies import Reply, Stage, classify
from failsafe.mail.tlsa import ShownCertificate
from failsafe.model import ProbeClass

LOOK_UP_SECONDS = 5.0
CONNECT_SECONDS = 10.0
GREETING_SECONDS = 20.0  # postscreen waits 6 s
COMMAND_SECONDS = 15.0
WHOLE_SECONDS = 45.0


@dataclass(frozen=True, slots=True)
class CertificateSight:
    """`error`: why nothing could be seen. `seen`: how the session went, where the exchange answered; it may have refused this prober itself."""

    shown: ShownCertificate | None = None
    error: str = ""
    seen: ProbeClass | None = None


class _Refused(WireFault):
    """What the exchange said stops the session."""

    def __init__(self, text: str, seen: ProbeClass) -> None:
        super().__init__(text)
        self.seen = seen


def certificate_of(exchange: str, helo: str, port: int = 25) -> CertificateSight:
    """What the exchange shows, whoever signed it. One polite session: EHLO, STARTTLS, EHLO, QUIT. Never raises."""
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
                return CertificateSight(_ask(wire, exchange, helo), seen=ProbeClass.UP)
            except (WireFault, TlsFault, UnicodeError) as fault:
                seen = fault.seen if isinstance(fault, _Refused) else None
                return CertificateSight(error=f"{exchange}: {fault}", seen=seen)
            finally:
                wire.close()
    except CannotLook as fault:
        error = str(fault)
    return CertificateSight(error=error)


def _ask(wire: SmtpWire, exchange: str, helo: str) -> ShownCertificate:
    """Raises WireFault, TlsFault."""
    greeting = wire.read_reply(GREETING_SECONDS)
    if not greeting.good:
        raise _leave(wire, Stage.GREETING, greeting, "STARTTLS is not offered")
    hello = wire.command(f"EHLO {helo}", COMMAND_SECONDS)
    if not hello.good or not hello.offers("STARTTLS"):
        raise _leave(wire, Stage.EHLO, hello, "STARTTLS is not offered")
    answer = wire.command("STARTTLS", COMMAND_SECONDS)
    if answer.code != 220:
        raise _leave(wire, Stage.STARTTLS, answer, "STARTTLS is refused")
    wire.start_tls(any_certificate(), exchange, COMMAND_SECONDS)
    shown = wire.certificate()
    wire.command(f"EHLO {helo}", COMMAND_SECONDS)
    wire.command("QUIT", COMMAND_SECONDS)
    return shown_certificate(shown)


def _leave(wire: SmtpWire, stage: Stage, decisive: Reply, what: str) -> _Refused:
    """Says goodbye, unless the server hangs up by itself; how it takes that decides nothing."""
    if decisive.code != 421:
        with contextlib.suppress(WireFault):
            wire.command("QUIT", COMMAND_SECONDS)
    return _Refused(f"{what} ({decisive.said})", classify(stage, decisive).seen)


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
