"""A line to an IMAP server, by imapclient: verified TLS or a channel, a deadline for every answer, bounded answers, a pace, a count of commands."""

from __future__ import annotations

import contextlib
import hashlib
import imaplib
import io
import re
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imapclient import IMAPClient, SocketTimeout, imap4, tls

from failsafe.adapters.imap_answers import broke_off
from failsafe.adapters.pace import Pace
from failsafe.adapters.sockets import CannotLook, any_certificate, cut_after, verifying_context
from failsafe.errors import ExternalError, MailError
from failsafe.model import Body, Endpoint
from failsafe.ports import Channel

CONNECT_SECONDS = 30.0
GOODBYE_SECONDS = 5.0
ANSWER_SECONDS = (
    120.0  # for each read, and for a whole answer of few bytes: a large folder's SEARCH takes its time on a small server
)
SLOWEST = 1_000  # bytes per second that a long answer must bring on average
LITERAL_BYTES = 300 << 20  # of one literal: more than any message a server would take
LINE_BYTES = 1 << 20  # of one line: what is longer comes as a literal
LONG_LINE_BYTES = 16 << 20  # of one that lists messages: some 1.5 million of them
HELD_BYTES = (
    32 << 20
)  # of memory for answers that nobody has taken yet, beside one literal; without literals the flags of 2 million messages
LINE_COST = 100  # bytes of memory for a line beside its own
NUMBER_COST = 8  # a list of messages takes this many times its bytes, when it is read
PIECE = 1 << 16
CA_CHARACTERS = 4 << 20  # of a file of certificates: more than the system's own has
_NOT_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST")
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")
_LONG = (b"* SEARCH", b"* VANISHED")
# Dovecot's time stamp and how long it took: the same fault is to have the same words each time.
_OF_THE_MOMENT = re.compile(r"\s*\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\]|\s*\(\d+\.\d+ \+ [^()]*secs\)\.?")


@dataclass(slots=True)
class Meter:
    """Counts what goes over one line, holds it to bytes per second in each direction, and ends an answer that trickles."""

    limit: int | None = None  # of what comes
    limit_upload: int | None = None
    answer_seconds: float = field(default_factory=lambda: ANSWER_SECONDS)
    literal_bytes: int = field(default_factory=lambda: LITERAL_BYTES)
    commands: int = 0
    received: int = 0
    sent: int = 0
    is_connected: bool = False  # the line stands, whatever is said on it
    _down: Pace = field(init=False)
    _up: Pace = field(init=False)
    _asked: float = field(init=False)
    _received_then: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._asked = time.monotonic()
        self._down, self._up = Pace(self.limit), Pace(self.limit_upload)

    def ask(self) -> None:
        self.commands += 1
        self._asked, self._received_then = time.monotonic(), self.received

    def take(self, count: int) -> None:
        self.received += count
        self._down.take(count)

    def give(self, count: int) -> None:
        """A part of a request has gone: the answer's time begins after its last."""
        self.sent += count
        self._up.take(count)
        self._asked = time.monotonic()

    def is_late(self) -> bool:
        slowest = SLOWEST if self.limit is None else min(SLOWEST, self.limit / 2)
        allowed = self.answer_seconds + (self.received - self._received_then) / slowest
        return time.monotonic() - self._asked > allowed


class _Bounded(imaplib.IMAP4):
    """Refuses a literal that no honest server sends, before memory is taken for it, and answers without end; sends a message's bytes as they are.

    The library keeps whatever comes until somebody asks for it by its name, and what nobody asks for it keeps for the whole session.
    """

    _held = 0  # bytes of memory, roughly

    def __init__(self, meter: Meter, *rest: Any) -> None:
        self.meter = meter
        super().__init__(*rest)

    def _new_tag(self) -> bytes:
        self.meter.ask()
        self._held = sum(_weight(each) for answers in self.untagged_responses.values() for each in answers)
        return super()._new_tag()  # type: ignore[misc,no-any-return]  # imaplib's own; imapclient calls it too

    def send(self, data: bytes | Body) -> None:  # type: ignore[override]
        """In pieces: a socket's deadline is for the whole of what it is given, and a large message takes longer on a slow line."""
        if isinstance(data, Body):
            for part in data.pieces():
                self.send(part)
            return
        for start in range(0, len(data), PIECE):
            piece = data[start : start + PIECE]
            super().send(piece)
            self.meter.give(len(piece))

    def append(self, mailbox: str, flags: str, date_time: str, message: bytes | Body) -> Any:  # type: ignore[override]
        """imaplib's own makes CRLF of every bare CR, which would be another message."""
        self.literal = message  # type: ignore[assignment]
        return self._simple_command("APPEND", mailbox, flags, date_time)

    def read(self, size: int) -> bytes:
        if size > self.meter.literal_bytes:
            raise self.abort(f"the server announced {size} bytes at once; at most {self.meter.literal_bytes} are read")
        self._hold(size)
        stream, pieces, left = self._stream(), [], size
        while left and (piece := stream.read1(min(left, PIECE))):
            pieces.append(piece)
            left -= len(piece)
            self._took(len(piece))
        return b"".join(pieces)

    def readline(self) -> bytes:
        stream, line = self._stream(), b""
        while not line.endswith(b"\n") and (ready := stream.peek(1)):  # which asks the line once at most
            piece = stream.read(ready.find(b"\n") + 1 or len(ready))
            self._took(len(piece))
            line = line + piece if line else piece
            most = LONG_LINE_BYTES if line.startswith(_LONG) else LINE_BYTES
            if len(line) > most:
                raise self.abort(f"a line of more than {most} bytes")
        self._hold(_weight(line) * (NUMBER_COST if line.startswith(_LONG) else 1))
        return line

    def _hold(self, count: int) -> None:
        self._held += count
        if self._held > self.meter.literal_bytes + HELD_BYTES:
            raise self.abort("answers without end, which were not asked for")

    def _stream(self) -> io.BufferedReader:
        return self.file  # type: ignore[return-value]  # what makefile("rb") of a socket gives

    def _took(self, count: int) -> None:
        self.meter.take(count)
        if self.meter.is_late():
            raise self.abort("the answer trickled in and was given up")


def _weight(answer: Any) -> int:
    """Of a line, or of a line and its literal."""
    return (sum(map(len, answer)) if isinstance(answer, tuple) else len(answer)) + LINE_COST


class _BoundedTls(_Bounded, tls.IMAP4_TLS):  # type: ignore[misc]
    def _create_socket(self, timeout: float | None = None) -> socket.socket:
        plain = socket.create_connection((self.host, self.port), timeout or self._timeout)
        with cut_after(plain, CONNECT_SECONDS):
            return tls.wrap_socket(plain, self.ssl_context, self.host)  # type: ignore[no-any-return]


class _BoundedPlain(_Bounded, imap4.IMAP4WithTimeout):  # type: ignore[misc]
    def _create_socket(self, timeout: float | None = None) -> socket.socket:
        made: socket.socket = super()._create_socket(timeout)
        self.meter.is_connected = True
        return made


class _BoundedChannel(_Bounded):
    """Over a channel to a program that speaks IMAP."""

    def __init__(self, meter: Meter, channel: Channel) -> None:
        self._channel = channel
        super().__init__(meter, "localhost")

    def _create_socket(self, timeout: float | None = None) -> socket.socket:  # noqa: ARG002 - the library's signature
        return _ChannelSocket(self._channel)  # type: ignore[return-value]


class _ChannelSocket(io.RawIOBase):
    """As much of a socket as imaplib asks for. Deadlines are the channel's own."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._left = b""

    def makefile(self, mode: str) -> io.BufferedReader:
        assert mode == "rb", mode
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._left or self._channel.receive(PIECE)
        count = min(len(data), len(buffer))
        buffer[:count], self._left = data[:count], data[count:]
        return count

    def sendall(self, data: bytes) -> None:
        self._channel.send(data)

    def settimeout(self, _seconds: float | None) -> None: ...

    def shutdown(self, _how: int) -> None:
        self._channel.close()

    def close(self) -> None:
        self._channel.close()
        super().close()


class _Client(IMAPClient):  # type: ignore[misc]
    def __init__(self, meter: Meter, *, channel: Channel | None = None, **options: Any) -> None:
        self._meter, self._over = meter, channel
        super().__init__(**options)
        self._imap.debug = 0  # the library formats every byte for a log that nobody reads
        self.normalise_times = False  # dates keep their zones

    @property
    def is_in(self) -> bool:
        """Whether the greeting was a PREAUTH."""
        return bool(self._imap.state == "AUTH")

    def _create_IMAP4(self) -> Any:  # noqa: N802 - imapclient's name
        connect = getattr(self._timeout, "connect", None)
        if self._over is not None:
            return _BoundedChannel(self._meter, self._over)
        if self.ssl:
            return _BoundedTls(self._meter, self.host, self.port, self.ssl_context, connect)
        return _BoundedPlain(self._meter, self.host, self.port, connect)


def connect(endpoint: Endpoint, meter: Meter) -> IMAPClient:
    """A client before its login. Raises MailError for a certificate that nothing vouches for, and what `faults` translates.

    A certificate that stands itself in `ca_file` is trusted whatever name and time it bears: a person put that very one there, as Proton
    Bridge exports it for, whose name is that of no host.
    """
    if endpoint.certificate_sha256 is not None:
        return _connect_pinned(
            endpoint, meter, frozenset({endpoint.certificate_sha256}), "it is not the one in certificate_sha256"
        )
    try:
        context = verifying_context(endpoint.ca_file)
    except CannotLook as error:
        raise MailError(str(error), mend="correct ca_file", transient=False) from error
    try:
        return _connect(endpoint, meter, context)
    except ssl.SSLCertVerificationError as error:
        known = frozenset() if endpoint.ca_file is None else _fingerprints_in(endpoint.ca_file)
        return _connect_pinned(endpoint, meter, known, error.verify_message)


def _connect_pinned(endpoint: Endpoint, meter: Meter, known: frozenset[str], why: str) -> IMAPClient:
    """Nothing is said to a server whose certificate is none of `known` (SHA-256)."""
    client = _connect(endpoint, meter, any_certificate())
    shown = client.socket().getpeercert(binary_form=True) or b""
    fingerprint = hashlib.sha256(shown).hexdigest()
    if fingerprint in known:
        return client
    with contextlib.suppress(Exception):  # without a word
        client.shutdown()
    text = ":".join(fingerprint[start : start + 2] for start in range(0, len(fingerprint), 2)).upper()
    raise MailError(
        f"{endpoint.host}:{endpoint.port} shows a certificate that is not known here: {why}; its SHA-256 fingerprint is {text}",
        mend=f"if it is your own server or Proton Bridge, compare (there: openssl x509 -in cert.pem -noout -fingerprint -sha256), then say beside "
        f'host: certificate_sha256 = "{text}"; or name that certificate, or its authority, in ca_file',
        transient=False,
    )


def _fingerprints_in(ca_file: str) -> frozenset[str]:
    text = Path(ca_file).read_text(encoding="utf-8", errors="replace")[:CA_CHARACTERS]
    return frozenset(hashlib.sha256(ssl.PEM_cert_to_DER_cert(found)).hexdigest() for found in _CERTIFICATE.findall(text))


def _connect(endpoint: Endpoint, meter: Meter, context: ssl.SSLContext) -> IMAPClient:
    """Raises MailError where the line stands and `tls` seems to be the wrong one."""
    try:
        return _speak(endpoint, meter, context)
    except TimeoutError as error:
        if endpoint.tls == "implicit" or not meter.is_connected or meter.received:
            raise
        raise MailError(
            f"cannot connect on the IMAP server {endpoint.host}:{endpoint.port}: it takes the call and does not greet; perhaps the port begins with TLS",
            mend='if it does, say tls = "implicit" beside host',
        ) from error
    except ssl.SSLError as error:
        if endpoint.tls != "implicit" or error.reason not in _NOT_TLS:
            raise
        raise MailError(
            f"cannot connect on the IMAP server {endpoint.host}:{endpoint.port}: it does not begin with TLS; perhaps it begins in plain text",
            mend='if it does, say tls = "starttls" beside host',
        ) from error


def _speak(endpoint: Endpoint, meter: Meter, context: ssl.SSLContext) -> IMAPClient:
    client = _Client(
        meter,
        host=endpoint.host,
        port=endpoint.port,
        ssl=endpoint.tls == "implicit",
        ssl_context=context,
        timeout=SocketTimeout(connect=CONNECT_SECONDS, read=meter.answer_seconds),
    )
    if endpoint.tls == "starttls":
        try:
            with cut_after(client.socket(), CONNECT_SECONDS):
                client.starttls(context)
        except BaseException:
            with contextlib.suppress(Exception):
                client.shutdown()
            raise
    return client


def connect_over(channel: Channel, meter: Meter) -> IMAPClient:
    """A client of a server that greets with PREAUTH: the channel itself is the login."""
    client = _Client(meter, channel=channel, host="localhost", ssl=False, timeout=SocketTimeout(connect=None, read=None))
    if not client.is_in:
        raise imaplib.IMAP4.error("the program there asks for a login")
    return client


def hang_up(client: IMAPClient) -> None:
    with contextlib.suppress(Exception):  # whatever it says, it is over
        client.socket().settimeout(GOODBYE_SECONDS)
        if not isinstance(client.socket(), _ChannelSocket):  # its end is the program's end
            client.logout()
    with contextlib.suppress(Exception):
        client.shutdown()


@contextlib.contextmanager
def faults(where: str, doing: str) -> Iterator[None]:
    """imaplib's `abort` and the socket's errors are a broken line; its plain `error` is the server's NO or BAD; other errors, answers without sense."""
    try:
        yield
    except ExternalError:  # ours, and those of a channel
        raise
    except (imaplib.IMAP4.abort, OSError, EOFError) as error:
        raise _broken(error, where, doing) from error
    except (imaplib.IMAP4.error, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        if broke_off(error):
            raise _broken(error, where, doing) from error
        raise MailError(f"cannot {doing}: the IMAP server {where} says: {words_of(error)}", transient=False) from error


def _broken(error: Exception, where: str, doing: str) -> MailError:
    tls_fault = isinstance(error, ssl.SSLCertVerificationError)
    return MailError(
        f"cannot {doing} on the IMAP server {where}: {words_of(error)}",
        mend="the certificate must be for this host and trusted here; name its authority in ca_file" if tls_fault else "",
        transient=not tls_fault,
    )


def words_of(error: BaseException | None) -> str:
    """What the server or the system said, on one line, bounded."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    if said.startswith(("b'", 'b"')):
        said = said[2:-1]
    return " ".join(_OF_THE_MOMENT.sub("", said).split())[:300] or type(error).__name__
