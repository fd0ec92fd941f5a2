"""Judges what lies behind an open way in: the queue, the certificate that senders see, the canary. Pure. None of it blocks a failover."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from failsafe.failover.canary import CanaryBook, judge_canary
from failsafe.failover.vitals import CERTIFICATE_WARNED, Vitals, describe_queue
from failsafe.model import Finding, ProbeClass, Severity

FAIL, WARN, OK, SKIPPED = Severity.FAIL, Severity.WARN, Severity.OK, Severity.SKIPPED
LONG_QUEUE = 1000  # messages
RENEWED = timedelta(days=1)  # a certificate on disk that ends so much later than the one shown was renewed, and not loaded

# Of a mail server. Blocks a failover, what is looked at.
CODES: dict[str, tuple[bool, str]] = {
    "queue": (False, "mail waits in the server's queue no longer than it should"),
    "certificate": (False, "the certificate that senders see is for the exchange's name, and lasts 14 days or more"),
    "canary": (False, "messages sent through a third party arrive, and are found and removed"),
}


@dataclass(frozen=True, slots=True)
class Shown:
    """What the exchange showed a sender of its certificate: "verified", "not offered", "not reached", or what is wrong with it."""

    target: str
    tls: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class InsideCheckup:
    """`vitals` None where nobody could look from inside; `why` says why. `book` None where no canary is configured."""

    server: str
    vitals: Vitals | None = None
    why: str = ""
    shown: Shown | None = None
    why_not_shown: str = "no probe is configured"
    exchanges: frozenset[str] = frozenset()  # names that senders use
    book: CanaryBook | None = None
    canary_every: timedelta = timedelta(minutes=15)
    third_party: str = ""  # host of the canary's submission
    secondaries: frozenset[str] = frozenset()  # exchanges of the secondaries of its domains
    mailbox_known: bool = False  # [probe.NAME] has imap
    by_ssh: bool = True  # ssh is configured
    quorums: tuple[int, ...] = ()  # of its domains that are watched, each once, the least first
    log_names: bool | None = None  # whether the mail log told of the last day's canaries that arrived; None: not known


def judge_inside(seen: InsideCheckup, now: datetime) -> tuple[Finding, ...]:
    return (_judge_queue(seen, now), _judge_certificate(seen, now), _judge_canary(seen, now))


def _judge_queue(seen: InsideCheckup, now: datetime) -> Finding:
    queue = None if seen.vitals is None else seen.vitals.queue
    if queue is None:
        why = seen.why or "there is no Postfix that the login may ask (postqueue -j)"
        return Finding("queue", SKIPPED, seen.server, f"the queue is not known: {why}")
    trouble = describe_queue(queue, now)
    if trouble:
        mend = "look at what delivers there (Dovecot, LMTP, room, quota), then on the server: postqueue -f"
        return Finding("queue", FAIL, seen.server, f"{trouble}; it is safe there, and nobody reads it", mend)
    if queue.messages > LONG_QUEUE:
        why = next((words for words, _ in queue.reasons), "no reason given")
        mend = "look at it on the server: postqueue -p; is an account abused to send spam?"
        return Finding("queue", WARN, seen.server, f"{queue.messages} messages wait in the queue ({why})", mend)
    return Finding("queue", OK, seen.server, f"{queue.messages} message(s) in the queue, none waits for the server itself")


def _judge_certificate(seen: InsideCheckup, now: datetime) -> Finding:
    shown = seen.shown
    if shown is None or shown.tls == "not reached":
        on_disk = _on_disk(seen)
        if on_disk is not None and on_disk - now < CERTIFICATE_WARNED:
            return _ending(seen.server, "the certificate on its disk", on_disk, now)
        return Finding(
            "certificate",
            SKIPPED,
            seen.server,
            f"it was not seen: {seen.why_not_shown if shown is None else 'no session came so far'}",
        )
    if shown.tls == "not offered":
        text = f"{shown.target} offers no STARTTLS: mail crosses the internet as plain text, and senders with MTA-STS or DANE refuse it"
        return Finding(
            "certificate",
            FAIL,
            seen.server,
            text,
            "give Postfix a certificate: smtpd_tls_chain_files, smtpd_tls_security_level = may",
        )
    if shown.until is None:
        mend = "renew it for the exchange's own name, with its intermediate in the file, and reload Postfix; senders with MTA-STS refuse it"
        return Finding("certificate", FAIL, seen.server, f"the certificate of {shown.target} does not verify: {shown.tls}", mend)
    on_disk = _on_disk(seen)
    if shown.until - now < CERTIFICATE_WARNED and on_disk is not None and on_disk - shown.until > RENEWED:
        text = f"the certificate that {shown.target} shows ends on {shown.until:%Y-%m-%d}, though a newer one lies on its disk"
        return Finding(
            "certificate", WARN, seen.server, text, "let the server load it: postfix reload (in a container: restart it)"
        )
    if shown.until - now < CERTIFICATE_WARNED:
        return _ending(seen.server, f"the certificate of {shown.target}", shown.until, now)
    return Finding(
        "certificate", OK, seen.server, f"the certificate of {shown.target} is in its name and lasts until {shown.until:%Y-%m-%d}"
    )


def _ending(server: str, what: str, until: datetime, now: datetime) -> Finding:
    ended = until <= now
    text = f"{what} {'ended' if ended else 'ends'} on {until:%Y-%m-%d}"
    return Finding(
        "certificate",
        FAIL if ended else WARN,
        server,
        text,
        "see why it is not renewed: certbot renew --dry-run, or your ACME client's log",
    )


def _on_disk(seen: InsideCheckup) -> datetime | None:
    """The end of the newest certificate there that is for an exchange's name."""
    known = () if seen.vitals is None else seen.vitals.certificates
    return max((each.until for each in known if _fits(each.names, seen.exchanges)), default=None)


def _fits(names: tuple[str, ...], exchanges: frozenset[str]) -> bool:
    """A star stands for one label (RFC 6125 6.4.3)."""
    lower = {name.lower() for name in names}
    return any(exchange in lower or f"*.{exchange.partition('.')[2]}" in lower for exchange in exchanges)


def _judge_canary(seen: InsideCheckup, now: datetime) -> Finding:
    name, book = seen.server, seen.book
    if book is None:
        mend = f"add [canary.{name}]: an account at a third party, and the probe's mailbox (docs/watching.md)"
        return Finding(
            "canary", SKIPPED, name, "no canary is configured: mail that is accepted and lost would go unnoticed", mend
        )
    if not seen.mailbox_known:
        mend = f"add imap = {{ host, port, user, password_file }} to [probe.{name}]"
        return Finding("canary", FAIL, name, "the canary's mailbox is not known, so it is never looked for", mend)
    if _is_of(seen.third_party, seen.secondaries):
        mend = "send it through somebody else: a secondary may deliver to the domain within itself, whatever the MX records say"
        return Finding("canary", WARN, name, f"the canary is sent through {seen.third_party}, which belongs to a secondary", mend)
    judged, text = judge_canary(book, now, seen.canary_every)
    overdue = book.overdue(now, seen.canary_every)
    if overdue:
        mend = "send yourself a message from outside and look for it in the mail log; is `to` the mailbox that [probe] opens, and does no filter move it?"
        return Finding("canary", FAIL, name, text, mend)
    if book.refused:
        return Finding("canary", WARN, name, text, f"look at smtp, user and password_file of [canary.{name}]")
    if judged is ProbeClass.UP and book.newest is not None and now - book.newest.canary.sent_at <= seen.canary_every * 4:
        return Finding("canary", OK, name, f"{text}; {book.arrived} have arrived, {book.lost} never did")
    if book.newest is not None and book.newest.place:
        return Finding("canary", OK, name, text)
    return Finding("canary", WARN, name, f"no canary has arrived lately: {text}", "start `failsafe run`; then: failsafe events")


def _is_of(host: str, secondaries: frozenset[str]) -> bool:
    """Whether both lie in one domain, by their last two labels: enough for a warning."""
    ending = ".".join(host.lower().split(".")[-2:])
    return "." in ending and any(each == ending or each.endswith(f".{ending}") for each in secondaries)
