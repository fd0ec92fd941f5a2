"""Whatever lies at a secondary: it is known by one fingerprint, routed and cleaned without a fault, and quickly."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime

from failsafe.homecoming.bridge import without_additions
from failsafe.homecoming.found import Found
from failsafe.homecoming.people import Addresses
from failsafe.homecoming.route import Rules, judge_found
from failsafe.mail.accounts import Accounts, Alias
from failsafe.mail.fingerprint import fingerprint
from tests.corpus.ordinary import ordinary
from tests.unit.mail.test_headers_fuzz import mutated

AT = datetime(2026, 11, 16, 9, tzinfo=UTC)
FOUND = Found("all@example.org", "INBOX", "0" * 64, "0" * 64, 9, frozenset(), (), AT, by_catch_all=True)
TABLE = Addresses("example.org", ("anna@example.org",), Accounts(aliases=(Alias("/.*/", ("anna@example.org",), "pattern"),)))
PIECES = (
    b"\r\n--b\r\n", b"--", b"\0", b"=\r\n", b"\r\n\r\n", b"charset=utf-7", b"charset=hz", b"charset=iso-2022-kr",
    b"Content-Type: multipart/mixed; boundary=b\r\n", b"Content-Transfer-Encoding: base64\r\n", b"X-Pm-Internal-Id: a\r\n",
    b"References: <a@protonmail.internalid>\r\n",
)  # fmt: skip


def hostile(seed: int) -> bytes:
    chance = random.Random(seed)
    data = bytearray(mutated(seed) if seed % 2 else chance.choice(ordinary()).data)
    for _ in range(chance.randint(0, 8)):
        place = chance.randrange(len(data) + 1)
        data[place:place] = chance.choice(PIECES)
    return bytes(data)


def test_two_hundred_hostile_messages_are_judged_in_a_moment() -> None:
    rules = Rules(TABLE, AT, bytes(32))
    for seed in range(200):
        data, size = hostile(seed), random.Random(seed).randint(500, 5_000)
        before = time.process_time()

        whole = fingerprint([data])
        cut = fingerprint(data[start : start + size] for start in range(0, len(data), size))
        clean = fingerprint(without_additions([data]))
        routing = judge_found(FOUND, data, rules)

        assert whole == cut == clean, seed
        assert sum(map(bool, (routing.routes, routing.left, routing.waits))) == 1, seed
        assert time.process_time() - before < 2, seed
