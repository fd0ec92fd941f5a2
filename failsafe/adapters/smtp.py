"""The polite SMTP probe: it goes as far as a sender goes before its message, and no further.

One session: the whole greeting is read before a word is said (postscreen bans who speaks into its pause), EHLO with a real name, STARTTLS
verified for chain and name, EHLO again, MAIL FROM:<>, RCPT TO the known-good recipient, RSET, QUIT, 221. One command at a time, no AUTH, no DATA,
no unknown recipient: a session like this leaves no line that fail2ban's filters count.

A certificate that does not verify, or a handshake that fails, does not stop most senders (they deliver in whatever way works), so a second session
finds out whether mail gets in; the fault is told in the text, and remembered for a while, since each broken handshake is a line in the server's log.
Addresses and targets are tried in order, as a sender would, and one connection at a time.
"""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from failsafe.adapters.smtp_wire import NotMail, SmtpWire, TlsFault, Transcript, WireFault
from failsafe.adapters.sockets import (
    Address,
    CannotLook,
    ConnectFailed,
    Deadline,
    any_certificate,
    own_name,
    split_address,
    verifying_context,
)
from failsafe.adapters.tls_faults import TlsFaults
from failsafe.adapters.turns import turn
from failsafe.adapters.way import DIRECT, Way
from failsafe.errors import ConfigError
from failsafe.mail.replies import CERTIFICATE_FAULT, STARTTLS_FAULT, Judged, Reply, Stage, classify, printable, temporary
from failsafe.model import Axis, Evidence, ProbeClass, Sign


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds allowed for each part. RFC 5321 4.5.3.2 lets senders wait minutes; a prober that runs every minute cannot."""

    look_up: float = 10.0
    connect: float = 15.0  # Postfix as a sender: 30
    greeting: float = 30.0  # postscreen pauses 6 s in it, and more under load
    command: float = 20.0
    whole: float = 90.0

    @classmethod
    def within(cls, interval: timedelta) -> Patience:
        """Shorter where probes are frequent: evidence is stale after three intervals, so a probe that fails slowly must end well before."""
        seconds = interval.total_seconds()
        usual = cls()
        return cls(
            look_up=min(usual.look_up, seconds / 2),
            connect=min(usual.connect, seconds / 2),
            greeting=min(usual.greeting, seconds),
            command=min(usual.command, seconds),
            whole=min(usual.whole, seconds * 1.4),
        )


@dataclass(frozen=True, slots=True)
class SmtpSight:
    """What one probe found. `tls`: "verified", "not offered", "not reached" or what is wrong with it."""

    seen: ProbeClass
    text: str
    tls: str = "not reached"
    certificate_until: datetime | None = None  # of a verified certificate
    address: str = ""
    transcript: str = ""
    seconds: float = 0.0
    connected: bool = False  # somebody answered the call, whatever was said then
    signs: frozenset[Sign] = frozenset()
    tls_fault: str = ""  # what was wrong with it at this address or, where several were tried, at another one
    sender_unknown: Judged | None = None  # what the answer means where the sender's domain is not found there (4.1.8)

    @property
    def tls_verified(self) -> bool:
        return self.tls == TLS_VERIFIED


_PLAIN = re.compile(r"[!-;=?-~]+")  # printable ASCII without spaces and angle brackets
TLS_VERIFIED = "verified"
TLS_NOT_OFFERED = "not offered"
# A sender stops here: the message is taken, or refused by somebody who was asked properly.
_FINAL = frozenset({ProbeClass.UP, ProbeClass.GREYLISTED, ProbeClass.LYING, ProbeClass.PROBE_BLOCKED, ProbeClass.BANNED})
_TELLING = (ProbeClass.DEGRADED, ProbeClass.DOWN, ProbeClass.UNKNOWN)  # which failure is told where several addresses failed


@dataclass(frozen=True, slots=True)
class _Course:
    """One address of one target, how long the whole look may last, and whom to ask for."""

    address: Address
    host: str
    whole: Deadline
    recipient: str | None


class SmtpProbe:
    """Looks at one mail server's way in. `targets` are "host:port" in a sender's order.

    `recipient` None stops after MAIL FROM, which proves less. `sender` "" is the null sender; a real one, whose domain resolves, sees a server that
    cannot resolve names any more. `helo` is a full name of this machine that resolves; None says our address
    in brackets (RFC 5321 4.1.3), which servers accept more often than a name that does not resolve.
    """

    def __init__(
        self,
        server: str,
        targets: Sequence[str],
        recipient: str | None,
        helo: str | None,
        *,
        patience: Patience | None = None,
        ca_file: str | None = None,
        sender: str = "",
        way: Way = DIRECT,
    ) -> None:
        self._server, self._vantage, self._way = server, way.vantage, way
        self._targets = tuple(split_address(target, 25) for target in targets)
        assert self._targets, "a probe needs a target"
        self._recipient, self._helo, self._sender = recipient, helo, sender
        self._patience = patience or Patience()
        self._ca_file = ca_file
        self._tls_faults = TlsFaults()
        for what, words in (("recipient", recipient), ("helo", helo), ("sender", sender or None)):
            if words is not None and not _PLAIN.fullmatch(words):
                raise ConfigError(
                    f"[probe.{server}]", [(what, f"{words!r} has characters that SMTP does not take; write it in plain ASCII")]
                )

    @property
    def target(self) -> str:
        """What is looked at, the recipient included: a run of evidence belongs to exactly this."""
        places = ", ".join(f"{host}:{port}" for host, port in self._targets)
        return f"{self._recipient} at {places}" if self._recipient else places

    @property
    def server(self) -> str:
        return self._server

    def remember(self, seen: Evidence) -> None:
        """Evidence that an earlier process left: TLS that was broken then is not tried anew for that."""
        if seen.signs & {Sign.BAD_CERTIFICATE, Sign.BROKEN_TLS}:
            self._tls_faults.tell(TlsFault(seen.tls_fault, certificate=Sign.BAD_CERTIFICATE in seen.signs))

    def probe(self, now: datetime, held: Evidence | None = None) -> Evidence:
        """One look; never raises for anything that a server or a network can do. Keep the object: it remembers broken TLS.

        With `held`, a refusal of the recipient that was seen before, the look ends before the recipient, and while all is well until there
        the refusal holds: `rounds.asks_for_recipient` says when.
        """
        return self.see(now, held)[0]

    def see(self, now: datetime, held: Evidence | None = None) -> tuple[Evidence, bool]:
        """As `probe`; and whether somebody answered the call, whatever was said then."""
        sight = self.look(ask=held is None)
        if held is not None and sight.seen is ProbeClass.UP:
            told = f"{sight.transcript}\n-: the recipient was not asked for this time: each refusal may count for a ban; what was said before holds"
            sight = replace(sight, seen=held.seen, text=held.text, signs=held.signs, tls_fault=held.tls_fault, transcript=told)
        return self._evidence(sight, now), sight.connected

    def not_tried(self, now: datetime) -> Evidence:
        """What stands for a look where port 25 is known to be blocked on the way: nobody answered."""
        return self._evidence(SmtpSight(ProbeClass.DOWN, "port 25 was not tried"), now)

    def _evidence(self, sight: SmtpSight, now: datetime) -> Evidence:
        return Evidence(
            self._server,
            self._vantage,
            Axis.INBOUND,
            sight.seen,
            now,
            sight.text,
            self.target,
            round(sight.seconds, 3),
            sight.transcript,
            sight.signs | ({Sign.ANSWERED} if sight.connected and sight.seen is ProbeClass.DOWN else set()),
            sight.tls_fault,
        )

    def look(self, *, ask: bool = True) -> SmtpSight:
        """As `probe`, with the particulars that a doctor wants. `ask` False: not for the recipient."""
        started = time.monotonic()
        whole = Deadline(self._patience.whole)
        sights: list[SmtpSight] = []
        for host, port in self._targets:
            if whole.left > 0 and not (sights and sights[-1].seen in _FINAL):
                sights += self._look_at_host(host, port, whole, self._recipient if ask else None)
        return replace(_combined(sights), seconds=time.monotonic() - started)

    def _look_at_host(self, host: str, port: int, whole: Deadline, recipient: str | None) -> list[SmtpSight]:
        try:
            context = verifying_context(self._ca_file)
            addresses = self._way.look_up(host, port, whole.sooner(self._patience.look_up))
        except CannotLook as error:
            return [SmtpSight(ProbeClass.UNKNOWN, str(error))]
        sights: list[SmtpSight] = []
        for address in addresses:
            if whole.left <= 0:
                break
            sights.append(self._look_at_address(_Course(address, host, whole, recipient), context))
            if sights[-1].seen in _FINAL:
                break
        return sights

    def _look_at_address(self, course: _Course, context: ssl.SSLContext) -> SmtpSight:
        remembered = self._tls_faults.recall(course.address)
        first = remembered or self._attempt(course, context)
        if not isinstance(first, TlsFault):
            if first.tls_verified:
                self._tls_faults.forget(course.address)
            return first
        if first is not remembered:
            self._tls_faults.keep(course.address, first)
        fault = printable(str(first))
        second = self._attempt(course, any_certificate() if first.certificate else None)
        if isinstance(second, TlsFault):
            second = self._attempt(course, None)
        assert isinstance(second, SmtpSight)
        what, sign = (CERTIFICATE_FAULT, Sign.BAD_CERTIFICATE) if first.certificate else (STARTTLS_FAULT, Sign.BROKEN_TLS)
        seen = second.seen
        if seen is ProbeClass.LYING and not first.certificate:
            seen = ProbeClass.DOWN  # it insists on a TLS that does not work: senders wait, they do not bounce
        text = f"{second.text}; but {what}: {fault}"
        return replace(second, seen=seen, text=text, tls=fault, tls_fault=fault, signs=second.signs | {sign})

    def _attempt(self, course: _Course, context: ssl.SSLContext | None) -> SmtpSight | TlsFault:
        transcript = Transcript()
        transcript.note("-", f"connecting to {course.address}")
        with turn(f"{self._vantage} {course.address}", course.whole) as mine:
            if not mine:
                return SmtpSight(ProbeClass.UNKNOWN, f"another look was connected to {course.address} all the time")
            sight = self._converse(course, context, transcript)
        return sight if isinstance(sight, TlsFault) else replace(sight, address=str(course.address), transcript=str(transcript))

    def _converse(self, course: _Course, context: ssl.SSLContext | None, transcript: Transcript) -> SmtpSight | TlsFault:
        try:
            connection = self._way.connect(course.address, course.whole.sooner(self._patience.connect))
        except CannotLook as error:
            return SmtpSight(ProbeClass.UNKNOWN, printable(str(error)))
        except ConnectFailed as error:
            return SmtpSight(ProbeClass.UNKNOWN if error.ours else ProbeClass.DOWN, printable(str(error)))
        wire = SmtpWire(connection, transcript, course.whole)
        helo = self._helo or own_name(self._way.own_ip(connection))
        session = _Session(wire, self._patience, helo, course.recipient, self._sender)
        try:
            sight = session.converse(context, course.host)
            self._tls_faults.note_leaf(course.address, wire.leaf())
            sight = self._of_their_resolver(sight, course.whole)
        except TlsFault as fault:
            return fault
        except NotMail as fault:
            sight = SmtpSight(ProbeClass.UNKNOWN, f"a web server answers at {course.address}, as a captive portal does: {fault}")
        except WireFault as fault:
            sight = SmtpSight(ProbeClass.DOWN, f"{course.address} at {session.stage}: {fault}", tls=session.tls)
        finally:
            wire.close()
        return replace(sight, connected=True)

    def _of_their_resolver(self, sight: SmtpSight, whole: Deadline) -> SmtpSight:
        """A sender whose domain "is not found" there, and is found from here, is no fault of this prober."""
        domain = self._sender.rpartition("@")[2]
        if sight.seen is not ProbeClass.PROBE_BLOCKED or not domain or sight.sender_unknown is None:
            return sight
        try:
            self._way.look_up(domain, 25, whole.sooner(self._patience.look_up))
        except CannotLook:
            return sight
        text = f"{sight.sender_unknown.text}; {domain} is found from here, so its resolver does not work"
        return replace(sight, seen=ProbeClass.DEGRADED, text=text, signs=sight.sender_unknown.signs)


class _Session:
    """The commands of one session, in their order."""

    def __init__(self, wire: SmtpWire, patience: Patience, helo: str, recipient: str | None, sender: str) -> None:
        self._wire, self._patience, self._sender = wire, patience, sender
        self._helo, self._recipient = helo, recipient
        self._certificate_until: datetime | None = None
        self.stage = Stage.GREETING
        self.tls = "not reached"

    def converse(self, context: ssl.SSLContext | None, host: str) -> SmtpSight:
        """`context` None: stay in plain text. Raises WireFault, TlsFault."""
        greeting = self._wire.read_reply(self._patience.greeting)
        if not greeting.good:
            return self._leave(greeting)
        hello = self._say(Stage.EHLO, f"EHLO {self._helo}")
        if not hello.good:
            return self._leave(hello)
        if hello.offers("STARTTLS") and context is not None:
            answer = self._say(Stage.STARTTLS, "STARTTLS")
            if answer.code == 220:
                self._secure(context, host)
                hello = self._say(Stage.EHLO, f"EHLO {self._helo}")
                if not hello.good:
                    return self._leave(hello)
            else:
                self.tls = f"refused: {answer.said}"
        elif context is not None:
            self.tls = TLS_NOT_OFFERED
        sender = self._say(Stage.MAIL, f"MAIL FROM:<{self._sender}>")
        if not sender.good or self._recipient is None:
            return self._leave(sender)
        return self._leave(self._say(Stage.RCPT, f"RCPT TO:<{self._recipient}>"))

    def _secure(self, context: ssl.SSLContext, host: str) -> None:
        self._wire.start_tls(context, host, self._patience.command)
        until = self._wire.certificate_end()
        if until:
            self.tls = TLS_VERIFIED
            self._certificate_until = datetime.fromtimestamp(ssl.cert_time_to_seconds(until), UTC)

    def _say(self, stage: Stage, command: str) -> Reply:
        self.stage = stage
        return self._wire.command(command, self._patience.command)

    def _leave(self, decisive: Reply) -> SmtpSight:
        """Judges the reply that decided, then says goodbye; how the server takes the goodbye decides nothing."""
        judged = classify(self.stage, decisive)
        text = judged.text
        if judged.seen is ProbeClass.UP and self.tls not in {TLS_VERIFIED, "not reached"}:
            text += f"; STARTTLS {self.tls}"
        try:
            if decisive.code != 421:  # the server hangs up by itself
                if self.stage in {Stage.MAIL, Stage.RCPT}:
                    self._wire.command("RSET", self._patience.command)
                self._wire.command("QUIT", self._patience.command)
        except WireFault:
            pass
        unknown = temporary(self.stage, decisive) if decisive.enhanced == "4.1.8" else None
        return SmtpSight(judged.seen, text, self.tls, self._certificate_until, signs=judged.signs, sender_unknown=unknown)


def _combined(sights: Sequence[SmtpSight]) -> SmtpSight:
    """What a sender that tried all of them would conclude; the addresses that failed before the one that worked are named."""
    if not sights:  # the process was stopped (SIGSTOP, suspend) for longer than the whole look may take
        return SmtpSight(ProbeClass.UNKNOWN, "no time was left to look: this process did not run meanwhile")
    last = sights[-1]
    if last.seen not in _FINAL:
        last = min(reversed(sights), key=lambda sight: _TELLING.index(sight.seen))
    others = [sight.text for sight in sights if sight is not last and sight.text != last.text]
    last = replace(
        last,
        connected=any(sight.connected for sight in sights),
        signs=last.signs.union(*(sight.signs for sight in sights)),
        tls_fault=last.tls_fault or next((sight.tls_fault for sight in sights if sight.tls_fault), ""),
    )
    return replace(last, text="; ".join([last.text, *(f"before that: {text}" for text in others)])) if others else last
