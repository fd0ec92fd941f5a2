"""Asks an exchange by RCPT whether it takes mail for each of many addresses: one session, null sender, no message, and an early end where it says no."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from failsafe.adapters.smtp_wire import SmtpWire, TlsFault, Transcript, WireFault
from failsafe.adapters.sockets import CannotLook, ConnectFailed, Deadline, any_certificate, own_name
from failsafe.adapters.turns import turn
from failsafe.adapters.way import DIRECT, Way
from failsafe.mail.replies import Reply, Stage, classify, printable
from failsafe.model import ProbeClass, Sign

MOST_ASKED = 200  # in one session; Postfix takes 1000
REFUSALS = (
    5  # a server that refuses more of them takes us for somebody who guesses (Postfix slows down after 10, hangs up after 20)
)
WHOLE_SECONDS = 120.0
COMMAND_SECONDS = 20.0
GREETING_SECONDS = 30.0
_TAKEN = (ProbeClass.UP, ProbeClass.GREYLISTED)


@dataclass(slots=True)
class RecipientsSight:
    """`seen` of the session; `error` where nobody could be asked. Every address is in one of the three."""

    seen: ProbeClass = ProbeClass.UP
    error: str = ""
    accepted: list[str] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)  # address, what was said
    undecided: list[str] = field(default_factory=list)
    counted: int = 0  # refusals that fail2ban may count


def ask_recipients(
    host: str,
    addresses: Sequence[str],
    helo: str | None,
    *,
    port: int = 25,
    way: Way = DIRECT,
    most_refused: int = REFUSALS,
) -> RecipientsSight:
    """Ends after `most_refused` refusals. Never raises for anything that a server or a network can do; WayLost is told as what could not be looked at."""
    whole = Deadline(WHOLE_SECONDS)
    try:
        places = way.look_up(host, port, whole.sooner(10))
    except CannotLook as error:
        return RecipientsSight(ProbeClass.UNKNOWN, str(error), undecided=list(addresses))
    errors: list[str] = []
    for place in places:
        with turn(f"{way.vantage} {place}", whole) as mine:
            if not mine:
                errors.append(f"another look was connected to {place} all the time")
                continue
            try:
                connection = way.connect(place, whole.sooner(15))
            except (CannotLook, ConnectFailed) as error:
                errors.append(str(error))
                continue
            wire = SmtpWire(connection, Transcript(), whole)
            try:
                return _Asking(wire, helo or own_name(way.own_ip(connection)), host, most_refused).ask(addresses)
            finally:
                wire.close()
    return RecipientsSight(ProbeClass.DOWN, printable("; ".join(errors)), undecided=list(addresses))


class _Asking:
    def __init__(self, wire: SmtpWire, helo: str, host: str, most_refused: int) -> None:
        self._wire, self._helo, self._host, self._most_refused = wire, helo, host, most_refused

    def ask(self, addresses: Sequence[str]) -> RecipientsSight:
        sight, left = RecipientsSight(), list(addresses)
        try:
            stopped = self._begin()
            if stopped is None:
                while left and len(sight.accepted) + len(sight.undecided) < MOST_ASKED and self._may_go_on(sight):
                    if not self._ask_one(left.pop(0), sight):
                        break
            else:
                stage, reply = stopped
                judged = classify(stage, reply)
                sight.seen, sight.error = judged.seen, judged.text
            with contextlib.suppress(WireFault):
                self._say("RSET")
                self._say("QUIT")
        except WireFault as fault:
            if not (sight.accepted or sight.refused):
                sight.seen, sight.error = ProbeClass.DOWN, str(fault)
        sight.undecided += left
        return sight

    def _may_go_on(self, sight: RecipientsSight) -> bool:
        return max(len(sight.refused), sight.counted) < self._most_refused

    def _ask_one(self, address: str, sight: RecipientsSight) -> bool:
        """False where nothing more is to be asked: it is we who are refused, or the session is over."""
        try:
            reply = self._say(f"RCPT TO:<{address}>")
        except (WireFault, UnicodeEncodeError) as error:
            sight.undecided.append(address)
            return isinstance(error, UnicodeEncodeError)
        judged = classify(Stage.RCPT, reply)
        sight.counted += Sign.COUNTED in judged.signs
        if judged.seen in _TAKEN:
            sight.accepted.append(address)
        elif judged.seen is ProbeClass.LYING:
            sight.refused.append((address, reply.said))
        else:
            sight.undecided.append(address)
            if judged.seen in (ProbeClass.PROBE_BLOCKED, ProbeClass.BANNED):
                sight.seen, sight.error = judged.seen, judged.text
                return False
        return reply.code != 421

    def _begin(self) -> tuple[Stage, Reply] | None:
        """Up to MAIL FROM; the reply that stopped it. Addresses cross in TLS where it is offered and works, whoever the certificate names."""
        greeting = self._wire.read_reply(GREETING_SECONDS)
        if not greeting.good:
            return Stage.GREETING, greeting
        hello = self._say(f"EHLO {self._helo}")
        if not hello.good:
            return Stage.EHLO, hello
        if hello.offers("STARTTLS") and self._say("STARTTLS").code == 220:
            try:
                self._wire.start_tls(any_certificate(), self._host, COMMAND_SECONDS)
            except TlsFault as fault:
                raise WireFault(f"STARTTLS is offered and does not work: {fault}") from fault
            hello = self._say(f"EHLO {self._helo}")
            if not hello.good:
                return Stage.EHLO, hello
        sender = self._say("MAIL FROM:<>")
        return None if sender.good else (Stage.MAIL, sender)

    def _say(self, command: str) -> Reply:
        return self._wire.command(command, COMMAND_SECONDS)
