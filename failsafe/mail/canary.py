"""Canaries: messages that failsafe sends along the real way to see whether mail arrives. Written and recognised here; pure.

A canary carries a seal (HMAC-SHA256) that only this controller can make: nobody else's message is ever taken for one, so none is ever removed
or left out of a backup by mistake, nor can a stranger feign that mail arrives.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

HEADER = "X-Failsafe-Canary"
KEY_BYTES = 32
NUMBER_DIGITS = 16  # hexadecimal, of chance: no two canaries have one number
_FIELD = re.compile(rb"^X-Failsafe-Canary:[ \t]*((?:[^\r\n]|\r?\n[ \t])*)", re.IGNORECASE | re.MULTILINE)
_SEALED = re.compile(r"1 ([A-Za-z0-9_-]{1,63}) ([0-9a-f]{16}) (\d{9,12}) ([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Canary:
    """`sent_at` in whole seconds; `server` is the name of its [canary.NAME]."""

    server: str
    number: str
    sent_at: datetime

    def seal(self, key: bytes) -> str:
        """The value of its header."""
        said = f"1 {self.server} {self.number} {int(self.sent_at.timestamp())}"
        return f"{said} {hmac.new(key, said.encode(), hashlib.sha256).hexdigest()}"

    def write(self, key: bytes, sender: str, recipient: str) -> bytes:
        """The whole message, with CRLF, in ASCII. Auto-Submitted keeps vacation replies away (RFC 3834)."""
        domain = sender.rpartition("@")[2]
        lines = [
            f"From: failsafe <{sender}>",
            f"To: <{recipient}>",
            f"Subject: failsafe canary {self.number}",
            f"Date: {format_datetime(self.sent_at)}",
            f"Message-ID: <failsafe-canary.{self.number}@{domain}>",
            "Auto-Submitted: auto-generated",
            f"{HEADER}: {self.seal(key)}",
            "MIME-Version: 1.0",
            "Content-Type: text/plain; charset=us-ascii",
            "",
            "failsafe sent this to see whether mail arrives here. It finds it over IMAP and removes it",
            "again within minutes; nobody needs to do anything.",
            "",
        ]
        return "\r\n".join(lines).encode("ascii")


def read_canary(head: bytes, key: bytes) -> Canary | None:
    """The canary that a message is; None for every other message, also one whose seal is not ours. `head` may go on into the body."""
    header = re.split(rb"\r?\n\r?\n", head, maxsplit=1)[0]
    field = _FIELD.search(header)
    found = None if field is None else _SEALED.fullmatch(" ".join(field.group(1).decode("ascii", "replace").split()))
    if found is None:
        return None
    canary = Canary(found.group(1), found.group(2), datetime.fromtimestamp(int(found.group(3)), UTC))
    return canary if hmac.compare_digest(canary.seal(key).rpartition(" ")[2], found.group(4)) else None
