"""The submission probe: as a mail program that is about to send, up to its message.

Each place where people hand in mail is looked at, one after the other: TLS from the start (465) or STARTTLS (587), verified for chain and name, EHLO,
AUTH with the probe's own login where one is configured, QUIT. Nothing is sent. The password never crosses an unverified connection, and a login
that is refused ends the look: the next place would refuse it too, and each refusal is a line that fail2ban counts.
"""

from __future__ import annotations

import base64
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from failsafe.adapters.smtp_wire import NotMail, SmtpWire, TlsFault, Transcript, WireFault
from failsafe.adapters.sockets import CannotLook, ConnectFailed, Deadline, connect, look_up, own_name, verifying_context
from failsafe.adapters.turns import turn
from failsafe.errors import SecretError
from failsafe.mail.replies import CERTIFICATE_FAULT, Judged, Reply, Stage, classify, printable, says_banned
from failsafe.model import Axis, Endpoint, Evidence, ProbeClass, Sign
from failsafe.secrets import Secret, read_secret

WHOLE_SECONDS = 60.0
CONNECT_SECONDS = 15.0
GREETING_SECONDS = 30.0
COMMAND_SECONDS = 20.0
# Which place is told of where one is worse than the other: what concerns this prober before all, since nothing more was looked at.
_WORST_FIRST = (
    ProbeClass.BANNED,
    ProbeClass.PROBE_BLOCKED,
    ProbeClass.UNKNOWN,
    ProbeClass.DOWN,
    ProbeClass.DEGRADED,
    ProbeClass.GREYLISTED,
    ProbeClass.UP,
)
_ENDS_THE_LOOK = frozenset({ProbeClass.BANNED, ProbeClass.PROBE_BLOCKED})


@dataclass(frozen=True, slots=True)
class Login:
    """The probe's own mailbox. `password_file` is read at every look."""

    user: str
    password_file: str


class SubmissionProbe:
    """Looks at every place where one server's people hand in mail. `login` None: ends before AUTH, which proves less.

    `whole` bounds the look at one place, in seconds.
    """

    def __init__(
        self,
        server: str,
        places: Sequence[Endpoint],
        login: Login | None,
        helo: str | None,
        *,
        vantage: str = "here",
        whole: float = WHOLE_SECONDS,
    ) -> None:
        assert places, "a probe needs a place to look at"
        self._server, self._vantage = server, vantage
        self._places, self._login, self._helo = tuple(places), login, helo
        self._whole = whole

    @property
    def target(self) -> str:
        places = ", ".join(f"{place.host}:{place.port}" for place in self._places)
        return f"{self._login.user} at {places}" if self._login else places

    def probe(self, now: datetime) -> Evidence:
        """One look; never raises for anything that a server or a network can do. A refused login is a sign that `rounds` knows."""
        started = time.monotonic()
        transcripts: list[str] = []
        try:
            password = None if self._login is None else read_secret(self._login.password_file)
            found = self._look_at_all(password, transcripts)
        except SecretError as error:
            found = Judged(ProbeClass.UNKNOWN, f"cannot look: {error}")
        seconds = round(time.monotonic() - started, 3)
        transcript = "\n".join(transcripts)
        return Evidence(
            self._server,
            self._vantage,
            Axis.SUBMISSION,
            found.seen,
            now,
            found.text,
            self.target,
            seconds,
            transcript,
            found.signs,
        )

    def _look_at_all(self, password: Secret | None, transcripts: list[str]) -> Judged:
        seen: list[tuple[str, Judged]] = []
        for place in self._places:
            name = f"{place.host}:{place.port}"
            seen.append((name, self._look_at_place(place, password, transcripts)))
            if seen[-1][1].seen in _ENDS_THE_LOOK or Sign.LOGIN_REFUSED in seen[-1][1].signs:
                return seen[-1][1]
        return _combined(seen)

    def _look_at_place(self, place: Endpoint, password: Secret | None, transcripts: list[str]) -> Judged:
        """The first address that answers, as a mail program does."""
        deadline = Deadline(self._whole)
        try:
            context = verifying_context(place.ca_file)
            addresses = look_up(place.host, place.port, deadline.sooner(10))
        except CannotLook as error:
            return Judged(ProbeClass.UNKNOWN, str(error))
        failures: list[ConnectFailed] = []
        for address in addresses:
            with turn(f"{self._vantage} {address}", deadline) as mine:
                if not mine:
                    return Judged(ProbeClass.UNKNOWN, f"another look was connected to {address} all the time")
                transcript = Transcript(_forms(self._login, password))
                transcript.note("-", f"connecting to {address}")
                try:
                    connection = connect(address, deadline.sooner(CONNECT_SECONDS))
                except ConnectFailed as error:
                    failures.append(error)
                    transcripts.append(f"{transcript}\n-: {error}")
                    continue
                session = _Session(SmtpWire(connection, transcript, deadline), transcript, self._helo, self._login, password)
                judged = session.hold(place, context)
                transcripts.append(str(transcript))
                return judged
        ours = all(failure.ours for failure in failures)
        return Judged(ProbeClass.UNKNOWN if ours else ProbeClass.DOWN, printable("; ".join(map(str, failures))))


class _Session:
    """The commands of one session, in their order."""

    def __init__(
        self, wire: SmtpWire, transcript: Transcript, helo: str | None, login: Login | None, password: Secret | None
    ) -> None:
        self._wire, self._transcript = wire, transcript
        self._helo = helo or own_name(wire.own_ip)
        self._login, self._password = login, password
        self._stage = Stage.GREETING

    def hold(self, place: Endpoint, context: ssl.SSLContext) -> Judged:
        try:
            return self._converse(place, context)
        except TlsFault as fault:
            # People still send after clicking a warning away, so a certificate alone is not down; the password stayed here.
            if fault.certificate:
                return Judged(ProbeClass.DEGRADED, f"{CERTIFICATE_FAULT}: {fault}", frozenset({Sign.BAD_CERTIFICATE}))
            return Judged(ProbeClass.DOWN, printable(str(fault)))
        except NotMail as fault:
            return Judged(ProbeClass.UNKNOWN, f"a web server answers, as a captive portal does: {fault}")
        except WireFault as fault:
            return Judged(ProbeClass.DOWN, f"at {self._stage}: {fault}")
        finally:
            self._wire.close()

    def _converse(self, place: Endpoint, context: ssl.SSLContext) -> Judged:
        """Raises WireFault, TlsFault."""
        if place.tls == "implicit":
            self._wire.start_tls(context, place.host, COMMAND_SECONDS)
        greeting = self._wire.read_reply(GREETING_SECONDS)
        if not greeting.good:
            return self._leave(greeting)
        hello = self._say(Stage.EHLO, f"EHLO {self._helo}")
        if not hello.good:
            return self._leave(hello)
        if place.tls == "starttls":
            if not hello.offers("STARTTLS"):
                return self._leave(hello, Judged(ProbeClass.DOWN, "STARTTLS is not offered, so mail programs do not send"))
            answer = self._say(Stage.STARTTLS, "STARTTLS")
            if answer.code != 220:
                return self._leave(answer)
            self._wire.start_tls(context, place.host, COMMAND_SECONDS)
            hello = self._say(Stage.EHLO, f"EHLO {self._helo}")
            if not hello.good:
                return self._leave(hello)
        if self._login is None or self._password is None:
            return self._leave(hello, Judged(ProbeClass.UP, "speaks, but no login was tried"))
        return self._log_in(hello, self._login.user, self._password.reveal())

    def _log_in(self, hello: Reply, user: str, password: str) -> Judged:
        mechanisms = hello.parameters("AUTH")
        if "PLAIN" in mechanisms:
            plain = _encoded(f"\0{user}\0{password}")
            answer = self._say(Stage.AUTH, f"AUTH PLAIN {plain}", "AUTH PLAIN …")
        elif "LOGIN" in mechanisms:
            answer = self._say(Stage.AUTH, "AUTH LOGIN")
            for words in (user, password):
                if answer.code == 334:
                    answer = self._say(Stage.AUTH, _encoded(words), "…")
        else:
            text = f"no way to log in is offered that this probe knows ({' '.join(mechanisms) or 'none at all'})"
            return self._leave(hello, Judged(ProbeClass.DOWN, text))
        if answer.code == 235:
            return self._leave(answer, Judged(ProbeClass.UP, "logged in"))
        said = printable(self._transcript.without_secrets(answer.said))
        if answer.code >= 500 and not says_banned(answer):  # whatever the reason: nothing is gained by asking again
            text = f"login refused for {user}: {said}; check the probe's password_file, and that this mailbox may send"
            return self._leave(answer, Judged(ProbeClass.UNKNOWN, text, frozenset({Sign.LOGIN_REFUSED})))
        if answer.code == 454:
            return self._leave(answer, Judged(ProbeClass.DEGRADED, f"logins are put off: {said}"))
        return self._leave(answer)

    def _say(self, stage: Stage, command: str, shown: str | None = None) -> Reply:
        self._stage = stage
        return self._wire.command(command, COMMAND_SECONDS, shown)

    def _leave(self, decisive: Reply, judged: Judged | None = None) -> Judged:
        """Says goodbye; how the server takes that decides nothing."""
        judged = judged or classify(self._stage, decisive)
        try:
            if decisive.code != 421:  # the server hangs up by itself
                self._wire.command("QUIT", COMMAND_SECONDS)
        except WireFault:
            pass
        return Judged(judged.seen, self._transcript.without_secrets(judged.text), judged.signs)


def _combined(seen: Sequence[tuple[str, Judged]]) -> Judged:
    """All places well is up, one of them is degraded: who is configured for the other cannot send."""
    if len(seen) == 1:
        return seen[0][1]
    worst = min((judged.seen for _, judged in seen), key=_WORST_FIRST.index)
    if worst is ProbeClass.DOWN and any(judged.seen is not ProbeClass.DOWN for _, judged in seen):
        worst = ProbeClass.DEGRADED
    told = [(name, judged) for name, judged in seen if judged.seen is not ProbeClass.UP] or list(seen)
    signs = frozenset[Sign]().union(*(judged.signs for _, judged in told))
    return Judged(worst, "; ".join(f"{name}: {judged.text}" for name, judged in told), signs)


def _encoded(words: str) -> str:
    return base64.b64encode(words.encode()).decode()


def _forms(login: Login | None, password: Secret | None) -> tuple[str, ...]:
    """Every form in which the password crosses the line: none may come back in a transcript."""
    if login is None or password is None:
        return ()
    value = password.reveal()
    return (_encoded(f"\0{login.user}\0{value}"), _encoded(value), value)
