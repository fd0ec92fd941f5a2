"""A filter that never calls a known digest a stranger."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from failsafe.backup.perhaps import Perhaps


def named(count: int, begin: int = 0) -> list[str]:
    return [hashlib.sha256(b"%d" % number).hexdigest() for number in range(begin, begin + count)]


@given(st.lists(st.binary(max_size=8), max_size=50), st.lists(st.binary(max_size=8), max_size=50))
def test_what_was_added_is_always_found(added: list[bytes], others: list[bytes]) -> None:
    known = [hashlib.sha256(data).hexdigest() for data in added]
    asked = known + [hashlib.sha256(data).hexdigest() for data in others]
    perhaps = Perhaps()
    perhaps.add(known)

    assert set(known) <= set(perhaps.among(asked)) <= set(asked)


def test_of_strangers_few_are_asked_for() -> None:
    perhaps = Perhaps()
    perhaps.add(named(50_000))

    assert len(perhaps.among(named(10_000, begin=1_000_000))) < 100  # 30 expected
