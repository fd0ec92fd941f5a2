"""The table of sick servers: what is broken, how it is looked at, and what the first look must say. docs/probes.md has the same table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from failsafe.adapters.imap_probe import ImapProbe
from failsafe.adapters.own_line import OwnLineCheck
from failsafe.adapters.smtp import Patience, SmtpProbe
from failsafe.adapters.submission_probe import Login, SubmissionProbe
from failsafe.failover.health import discount
from failsafe.model import Endpoint, Evidence
from tests.contract.mail_servers import KNOWN_GOOD
from tests.contract.sick_servers import REFERENCES, Sick

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HELO = "nas.example.net"
USUAL = Patience()
BRISK = Patience(connect=4, greeting=4, command=15)

Look = Callable[[Sick, Path], Evidence]


@dataclass(frozen=True)
class Row:
    """What the evidence must be: `seen`, with `words` in its text."""

    broken: str
    axis: str
    seen: str
    words: str
    look: Look
    takes: float = 0.0  # seconds at least, else it was not what the row says

    def fault(self, evidence: Evidence) -> str:
        """How the evidence is not what it must be; "" where it is."""
        well = (
            (evidence.axis, evidence.seen) == (self.axis, self.seen)
            and self.words in evidence.text
            and evidence.seconds >= self.takes
        )
        return (
            ""
            if well
            else f"{self.broken}: {self.axis} {evidence.seen} in {evidence.seconds} s: {evidence.text}\n{evidence.transcript}"
        )

    @property
    def cells(self) -> tuple[str, ...]:
        return (self.broken, self.axis, f"`{self.seen}`", self.words)


def mail(name: str, *, recipient: str = KNOWN_GOOD, patience: Patience = USUAL, sender: str = "", ipv6: bool = False) -> Look:
    """A look at the listener `name` as at port 25."""

    def look(sick: Sick, _password: Path) -> Evidence:
        port = sick.port(name)
        targets = [f"[::1]:{port}", f"localhost:{port}"] if ipv6 else [f"localhost:{port}"]
        authority = sick.root if name == "half-chain" else sick.authority
        return SmtpProbe("vps", targets, recipient, HELO, patience=patience, ca_file=authority, sender=sender).probe(NOW)

    return look


def mailbox(sick: Sick, password: Path) -> Evidence:
    return ImapProbe("vps", sick.mail.dovecot.endpoint, KNOWN_GOOD, str(password)).probe(NOW)


def sending(sick: Sick, password: Path) -> Evidence:
    return SubmissionProbe("vps", [sick.mail.place("submission")], Login(KNOWN_GOOD, str(password)), HELO).probe(NOW)


def through_the_portal(sick: Sick, _password: Path) -> Evidence:
    line = OwnLineCheck(REFERENCES).look(NOW, closely=True)
    evidence = SmtpProbe("vps", [f"127.0.0.1:{sick.portal}"], KNOWN_GOOD, HELO, patience=BRISK).probe(NOW)
    return discount(evidence, line, line)


def mailbox_through_the_portal(sick: Sick, password: Path) -> Evidence:
    line = OwnLineCheck(REFERENCES).look(NOW, closely=True)
    place = Endpoint("127.0.0.1", sick.portal, "implicit")
    return discount(ImapProbe("vps", place, KNOWN_GOOD, str(password)).probe(NOW), line, line)


UNTRUSTED = "but its certificate does not verify: "
TAKEN = "the recipient is accepted"
ROWS = (
    Row("Dovecot is dead, Postfix queues", "inbound", "up", TAKEN, mail("good")),
    Row("Dovecot is dead, Postfix queues", "access", "down", "Connection refused", mailbox),
    Row("Dovecot is dead, Postfix queues", "submission", "down", "the server hung up", sending),
    Row("the disk of the spool is full", "inbound", "degraded", "452 4.3.1", mail("full")),
    Row("the milter (Rspamd, OpenDKIM) is dead", "inbound", "degraded", "451 4.7.1 Service unavailable", mail("milter-dead")),
    Row("a policy service (quota, SPF) is dead", "inbound", "degraded", "451 4.3.5", mail("policy-dead")),
    Row("the certificate has expired", "inbound", "up", UNTRUSTED + "certificate has expired", mail("expired")),
    Row("the certificate has another name", "inbound", "up", UNTRUSTED + "Hostname mismatch", mail("other-name")),
    Row("the certificate signed itself", "inbound", "up", UNTRUSTED + "self-signed certificate", mail("self-signed")),
    Row("the chain lacks its intermediate", "inbound", "up", UNTRUSTED + "unable to get local issuer certificate", mail("half-chain")),
    Row("TCP is accepted, then silence", "inbound", "down", "the greeting: silence", mail("frozen", patience=BRISK)),
    Row("the banner comes after 20 s", "inbound", "up", TAKEN, mail("late"), 20),
    Row("postscreen pauses in its greeting", "inbound", "up", TAKEN, mail("postscreen"), 2),
    Row("greylisting (postgrey)", "inbound", "greylisted", "450 4.2.0", mail("greylisting")),
    Row("421 under load (postscreen)", "inbound", "degraded", "421 4.3.2", mail("busy")),
    Row("5xx to good recipients", "inbound", "lying", "554 5.7.1", mail("refusing")),
    Row("the recipient is unknown", "inbound", "lying", "550 5.1.1", mail("good", recipient="nobody-here@example.test")),
    Row("its resolver is dead; with `sender`", "inbound", "degraded", "its resolver does not work", mail("resolver-dead", sender="probe@localhost")),
    Row("its resolver is dead; null sender", "inbound", "up", TAKEN, mail("resolver-dead")),
    Row("fail2ban drops us", "inbound", "down", "did not answer within", mail("banned", patience=BRISK)),
    Row("TCP is half open: what it says gets lost", "inbound", "down", "the greeting: silence", mail("half-open", patience=BRISK)),
    Row("a captive portal answers everything", "inbound", "unknown", "our own line was down", through_the_portal),
    Row("a captive portal answers everything", "access", "unknown", "our own line was down", mailbox_through_the_portal),
    Row("IPv6 is dead, IPv4 lives", "inbound", "up", "before that: [::1]", mail("dropped-on-ipv6", patience=replace(BRISK, connect=2), ipv6=True)),
)  # fmt: skip


def table() -> list[str]:
    """The table as docs/probes.md has it."""
    head = "| what is broken | axis | class | in the text |"
    return [head, "|---|---|---|---|", *("| " + " | ".join(row.cells) + " |" for row in ROWS)]
