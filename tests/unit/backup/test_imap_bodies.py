"""Bytes that a server gives beside the size that it tells: believed only where it gave the same ones twice."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import cast

import pytest

from failsafe.backup.imap_bodies import BodyReader
from failsafe.errors import MailError
from failsafe.ports import SourceMailbox, SourceMessage

MESSAGE = SourceMessage(7, 100, None, frozenset(), "", certain=False)
CUT_OFF = b"the first half"


class Box:
    """Gives a message without its end; `second` says what comes of the next time that it is asked for."""

    def __init__(self, second: Callable[[], bytes | None]) -> None:
        self.second, self.asked = second, 0

    def bodies(self, wanted: Sequence[tuple[int, int]]) -> Iterator[tuple[int, Iterable[bytes]]]:
        for uid, _ in wanted:
            self.asked += 1
            data = CUT_OFF if self.asked == 1 else self.second()
            if data is not None:
                yield uid, [data]


def read(second: Callable[[], bytes | None]) -> BodyReader:
    reader = BodyReader(lambda: pytest.fail("no session is opened anew"), lambda _: None)

    def store(_: SourceMessage, pieces: Iterable[bytes]) -> tuple[str, int]:
        data = b"".join(pieces)
        return hashlib.sha256(data).hexdigest(), len(data)

    try:
        reader.read(cast("SourceMailbox", Box(second)), [MESSAGE], store)
    except MailError:
        reader.gave_up = True
    return reader


def break_off() -> bytes | None:
    raise MailError("the line broke")


def test_the_same_bytes_twice_are_believed() -> None:
    assert read(lambda: CUT_OFF).untrusted == []


@pytest.mark.parametrize("second", [lambda: b"all of it", lambda: None, break_off], ids=["others", "none", "line-broke"])
def test_bytes_that_did_not_come_twice_are_not_kept(second: Callable[[], bytes | None]) -> None:
    assert read(second).untrusted == [7]
