"""MTA-STS (RFC 8461): the record at `_mta-sts.DOMAIN`, the policy behind it, and which exchanges it allows. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from failsafe.mail.tags import parse_tags

LONGEST_AGE = 31_557_600  # seconds: a year (section 3.2)
MODES = ("enforce", "testing", "none")
_ID = re.compile(r"[A-Za-z0-9]{1,32}")


@dataclass(frozen=True, slots=True)
class StsPolicy:
    """`max_age` in seconds: so long senders keep it. `exchanges` may begin with `*.`, which stands for one label."""

    mode: str
    max_age: int
    exchanges: tuple[str, ...]

    def allows(self, exchange: str) -> bool:
        return any(matches(pattern, exchange) for pattern in self.exchanges)


def parse_id(record: str) -> str:
    """The policy id in a record that begins with `v=STSv1`. Raises ValueError."""
    tags = parse_tags(record)
    if not _ID.fullmatch(tags.get("id", "")):
        raise ValueError("id is not 1 to 32 letters and digits")
    return tags["id"]


def sts_records(texts: Sequence[str]) -> tuple[str, ...]:
    """Of the TXT records those that a sender takes for MTA-STS (section 3.1: others are left out; of two none is valid)."""
    return tuple(text for text in texts if re.match(r"v=STSv1\s*;", text))


def parse_policy(text: str) -> StsPolicy:
    """Raises ValueError, saying what is wrong. Unknown keys are left out, of a key that comes twice (but mx) the first one counts."""
    values: dict[str, str] = {}
    exchanges: list[str] = []
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        key, value = key.strip(), value.strip()
        if colon and key == "mx":
            exchanges.append(value.rstrip(".").lower())
        elif colon:
            values.setdefault(key, value)
    if values.get("version") != "STSv1":
        raise ValueError("it has no line `version: STSv1`")
    if values.get("mode") not in MODES:
        raise ValueError("its mode is none of enforce, testing, none")
    age = values.get("max_age", "")
    if not re.fullmatch(r"[0-9]{1,10}", age) or int(age) > LONGEST_AGE:
        raise ValueError(f"its max_age is not a number of seconds up to {LONGEST_AGE}")
    if values["mode"] != "none" and not exchanges:
        raise ValueError("it has no mx line")
    return StsPolicy(values["mode"], int(age), tuple(exchanges))


def matches(pattern: str, exchange: str) -> bool:
    """A wildcard stands for exactly the leftmost label (section 4.1)."""
    if pattern.startswith("*."):
        return exchange.partition(".")[2] == pattern[2:]
    return pattern == exchange
