"""What an SMTP server's answer means for a prober that offers a recipient known to be good.

Three parties can be at fault for a refusal: the server (its mail is in danger), the prober (its address is on a blocklist, its
name does not resolve), or nobody (greylisting). The code alone does not say which: `554 5.7.1` is used for all three. So the text is read too,
in the wordings of Postfix, Exim, Rspamd, Postgrey and docker-mailserver.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from failsafe.model import ProbeClass, Sign

CERTIFICATE_FAULT = "its certificate does not verify"  # so a person is told of Sign.BAD_CERTIFICATE
STARTTLS_FAULT = "STARTTLS is offered and does not work"  # and of Sign.BROKEN_TLS
TEXT_LIMIT = 200  # characters of a server's words that are repeated to a person


class Stage(StrEnum):
    """Where in the session the answer came."""

    GREETING = "the greeting"
    EHLO = "EHLO"
    STARTTLS = "STARTTLS"
    AUTH = "AUTH"
    MAIL = "MAIL FROM"
    RCPT = "RCPT TO"
    RSET = "RSET"
    QUIT = "QUIT"


class ReplyFault(ValueError):
    """What came is not an SMTP reply."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One whole reply; `lines` without their codes."""

    code: int
    lines: tuple[str, ...]

    @property
    def good(self) -> bool:
        return 200 <= self.code <= 299

    @property
    def text(self) -> str:
        return " ".join(line.strip() for line in self.lines if line.strip())

    @property
    def enhanced(self) -> str:
        """The enhanced status code (RFC 3463) such as "4.7.1", or ""."""
        match = _ENHANCED.match(self.lines[-1].strip()) if self.lines else None
        return match.group(1) if match and match.group(1)[0] == str(self.code)[0] else ""

    @property
    def said(self) -> str:
        """The reply as a person may read it: printable, one line, bounded."""
        return printable(f"{self.code} {self.text}".strip())

    def offers(self, extension: str) -> bool:
        """Whether an EHLO reply lists `extension` (RFC 5321 4.1.1.1; keywords compare without case)."""
        return any(line.split(" ")[0].strip().upper() == extension for line in self.lines[1:])

    def parameters(self, extension: str) -> tuple[str, ...]:
        """What an EHLO reply says after `extension`, such as the mechanisms of AUTH; in capitals."""
        lines = (line.upper().split() for line in self.lines[1:])
        return next((tuple(words[1:]) for words in lines if words and words[0] == extension), ())


_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})\b")
_LINE = re.compile(r"([2-5]\d\d)(?:([ -])(.*))?$", re.DOTALL)


def printable(text: str) -> str:
    """Foreign words made safe for a terminal, a log and a page: no control characters, at most TEXT_LIMIT characters."""
    tidy = "".join(character if character.isprintable() else "·" for character in text[: TEXT_LIMIT + 1])
    return tidy if len(tidy) <= TEXT_LIMIT else tidy[: TEXT_LIMIT - 1] + "…"


def parse_line(raw: bytes) -> tuple[int, bool, str]:
    """One line of a reply: (code, whether more lines follow, text). Raises ReplyFault where it is none."""
    text = raw.rstrip(b"\r\n").decode("utf-8", "replace")
    match = _LINE.match(text)
    if match is None:
        raise ReplyFault(f"not an SMTP reply: {printable(text)!r}")
    return int(match.group(1)), match.group(2) == "-", match.group(3) or ""


# The client is refused for what it is (its address, its names), whoever it writes to.
_CLIENT_REFUSED = re.compile(
    r"blocked using|\b(dnsbl|rbl)\b|spamhaus|spamcop|barracuda|block ?list|black ?list"
    r"|client host (\[[^\]]*\] )?(rejected|blocked)|client (host )?.{0,80}(not allowed|denied)"
    r"|\b(helo|ehlo)\b.{0,100}(reject|invalid|fully|not |bad|denied|fake|forged)|fully[- ]qualified"
    r"|(find|resolve|verify|check).{0,20}(your )?(reverse |host ?name)|\breverse (dns|hostname|lookup)|\bptr\b|\biprev\b|\bfcrdns\b"
    r"|(poor|bad|low) reputation|reputation of|your (ip|host|address|network|server)\b|dynamic (ip|address)|dial-?up|residential"
    r"|protocol error|before (its|your) turn|pregreet|talk(s|ed)? (too soon|before)|too many (connections|errors|concurrent)|rate ?limit"
    r"|sender address rejected|sender verify",
    re.IGNORECASE,
)
# RFC 7372 and RFC 7505: reverse DNS, SPF and the like of the client. 5.5.2 comes with a HELO that is no full name (Postfix), x.1.7 and x.1.8 blame the sender.
_CLIENT_CODES = frozenset({"7.23", "7.25", "7.26", "7.27", "7.28", "5.2", "1.7", "1.8"})
# The blocklist answers an error, not a listing, and the server takes it for one: every sender is refused, so this is the server's fault.
_BROKEN_BLOCKLIST = re.compile(
    r"open resolver|public resolver|127\.255\.255\.\d|returnc/(pub|vol)|excessive (number of )?queries", re.IGNORECASE
)
_GREYLIST = re.compile(r"gr[ae]y[- ]?list|postgrey", re.IGNORECASE)
# Rspamd says "451 4.7.1 Try again later" for greylisting; a dead milter gives "451 4.7.1 Service unavailable - try again later", which is a fault.
_TRY_AGAIN = re.compile(
    r"^(\d\.\d+\.\d+ )?(<[^>]*>:? )?((recipient address rejected|temporarily rejected|deferred):? )?.{0,20}try again( later)?\.?$",
    re.IGNORECASE,
)
# The server says that it has shut this very address out, for what came from it before.
_BANNED = re.compile(
    r"\bbanned\b|fail2ban|blocked (due to|because of|after|for) .{0,40}(abuse|attempts|failures|errors|brute)"
    r"|too many (failed|unsuccessful|bad|invalid) ",
    re.IGNORECASE,
)
_OUT_OF_ORDER = re.compile(r"unavailable|configuration|lookup|storage|internal|local (problem|error)|resources", re.IGNORECASE)
# Refusals of a recipient that fail2ban's filter for Postfix may count. It looks at the code and at some texts; the code alone is asked for here, since
# the texts differ from version to version.
_COUNTED = frozenset({400, 404, 450, 454, 500, 504, 550, 554})


@dataclass(frozen=True, slots=True)
class Judged:
    seen: ProbeClass
    text: str  # one sentence
    signs: frozenset[Sign] = frozenset()


def classify(stage: Stage, reply: Reply) -> Judged:
    """What a reply that is not a success, or the final success at RCPT, says about the way in."""
    if reply.good:
        accepted = "the recipient is accepted" if stage is Stage.RCPT else f"{stage} is accepted (no recipient was tried)"
        return Judged(ProbeClass.UP, f"{accepted} ({reply.code})")
    if not 400 <= reply.code <= 599:
        return Judged(ProbeClass.DOWN, f"an answer out of order at {stage}: {reply.said}")
    if says_banned(reply):
        text = f"this prober is banned, the server says at {stage}: {reply.said}"
        return Judged(ProbeClass.BANNED, text, frozenset({Sign.SAYS_BANNED}) | _turned_away(stage))
    if blames_client(reply):
        for_now = frozenset({Sign.REFUSED_FOR_NOW} if reply.code < 500 else ())
        return Judged(
            ProbeClass.PROBE_BLOCKED,
            f"this prober is refused, not the mail, at {stage}: {reply.said}",
            for_now | _turned_away(stage),
        )
    if reply.code < 500:
        return temporary(stage, reply)
    if stage is Stage.RCPT:
        text = f"the known-good recipient is refused for good, so senders bounce: {reply.said}"
        return Judged(ProbeClass.LYING, text, _counted(stage, reply))
    # Most senders try again elsewhere after a refusal this early; Exim alone gives up. It is as good as dead, no worse.
    return Judged(ProbeClass.DOWN, f"the session is refused at {stage}: {reply.said}")


def temporary(stage: Stage, reply: Reply) -> Judged:
    """What a 4xx says that is not about the prober."""
    if stage is Stage.RCPT and is_greylisting(reply):
        return Judged(ProbeClass.GREYLISTED, f"the recipient is accepted after a wait (greylisting): {reply.said}")
    return Judged(ProbeClass.DEGRADED, f"mail is put off at {stage}: {reply.said}", _counted(stage, reply))


def _turned_away(stage: Stage) -> frozenset[Sign]:
    return frozenset({Sign.TURNED_AWAY} if stage in (Stage.GREETING, Stage.EHLO) else ())


def _counted(stage: Stage, reply: Reply) -> frozenset[Sign]:
    return frozenset({Sign.COUNTED} if stage is Stage.RCPT and reply.code in _COUNTED else ())


def blames_client(reply: Reply) -> bool:
    """Whether the refusal is about us, the prober. False where the server's own blocklist lookup is broken for everybody."""
    if _BROKEN_BLOCKLIST.search(reply.text):
        return False
    if reply.code == 421:
        return bool(re.search(r"too many|your ip|rate ?limit|reputation", reply.text, re.IGNORECASE))
    return reply.enhanced[2:] in _CLIENT_CODES or bool(_CLIENT_REFUSED.search(reply.text))


def says_banned(reply: Reply) -> bool:
    """Whether the refusal says in so many words that this address is banned."""
    return bool(_BANNED.search(reply.text)) and not _BROKEN_BLOCKLIST.search(reply.text)


def is_greylisting(reply: Reply) -> bool:
    """A 450 or 451 that a sender's next attempt passes."""
    if reply.code not in {450, 451} or _OUT_OF_ORDER.search(reply.text):
        return False
    if _GREYLIST.search(reply.text):
        return True
    return reply.enhanced in {"", "4.2.0", "4.7.0", "4.7.1"} and bool(_TRY_AGAIN.match(reply.text))
