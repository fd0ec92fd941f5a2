"""Messages of the corpus, mutated by seeds: reading their headers never raises, and takes a moment and little memory."""

from __future__ import annotations

import random
import time
import tracemalloc

import pytest

from failsafe.mail.headers import MESSAGE_ID_LIMIT, TEXT_LIMIT, parse_headers
from tests.corpus import corpus

MUTATED = 200
PIECES = (
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"=?utf-8?B?",
    b"?=",
    b"(",
    b'"',
    b"<",
    b": ",
    b"\xff",
    b"\xed\xa0\x80",
    b" \r\n ",
    b"Subject: ",
    b"=?utf-7?Q?+",
)


def mutated(seed: int) -> bytes:
    """One message with some of its bytes changed, left out, doubled, or replaced by what parsers trip on."""
    chance = random.Random(seed)
    data = bytearray(chance.choice(corpus()).data)
    for _ in range(chance.randint(1, 20)):
        place = chance.randrange(len(data) + 1) if chance.random() < 0.5 else chance.randrange(min(len(data), 300) + 1)
        kind = chance.randrange(5)
        if kind == 0:
            data[place : place + 1] = bytes([chance.randrange(256)])
        elif kind == 1:
            data[place:place] = chance.choice(PIECES) * chance.choice((1, 1, 1, 50, 5000))
        elif kind == 2:
            del data[place : place + chance.randint(1, 200)]
        elif kind == 3:
            data[place:place] = data[max(0, place - chance.randint(1, 500)) : place]
        elif chance.random() < 0.2:
            del data[place:]
    return bytes(data)


@pytest.mark.parametrize("seed", range(0, MUTATED, 20))
def test_twenty_mutated_messages_are_read_calmly(seed: int) -> None:
    for number in range(seed, seed + 20):
        data = mutated(number)
        begun = time.process_time()
        headers = parse_headers(data)
        assert time.process_time() - begun < 2, number  # some ms; a quadratic one would take minutes
        for text in (headers.subject, headers.sender, headers.recipient, headers.message_id):
            assert text.encode().decode() == text, number
            assert len(text) <= TEXT_LIMIT
        assert len(headers.message_id) <= MESSAGE_ID_LIMIT
        assert headers.date is None or headers.date.tzinfo is not None


@pytest.mark.parametrize(
    "name",
    ["shape-beyond", "shape-received", "shape-megabyte-subject", "word-thousand", "from-parens", "to-many", "raw-combining"],
)
def test_the_largest_headers_take_little_memory(name: str) -> None:
    (data,) = (odd.data for odd in corpus() if odd.name == name)
    tracemalloc.start()
    try:
        parse_headers(data)
        assert tracemalloc.get_traced_memory()[1] < 12_000_000  # a few times the 2 MB that are looked at
    finally:
        tracemalloc.stop()
