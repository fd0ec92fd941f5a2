"""What of an extra path that cannot be listed is missing, and what was only never there."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import cast

import pytest

from failsafe.backup.extras import look_at
from failsafe.backup.protocol import ServerSession
from failsafe.backup.reach import Tree
from failsafe.errors import ServerSideError

PATH = "/etc/No such file or directory"


class Refusing:
    """Answers every listing with one error."""

    def __init__(self, number: int | None, words: str) -> None:
        self._error = ServerSideError(f"vps: {words}: {PATH}", number=number)

    def list_files(self, _number: int) -> Iterator[object]:
        raise self._error


@pytest.mark.parametrize(
    ("number", "words", "optional", "missing"),
    [
        (errno.ENOENT, "No such file or directory", True, False),
        (errno.ENOENT, "Datei oder Verzeichnis nicht gefunden", True, False),
        (errno.EACCES, "Permission denied", True, True),  # whatever its path is called
        (0, "too many files", True, True),
        (errno.ENOENT, "No such file or directory", False, True),
        (None, "No such file or directory", True, False),  # of an older program
    ],
)
def test_only_an_optional_path_that_is_not_there_lacks_nothing(
    number: int | None, words: str, *, optional: bool, missing: bool
) -> None:
    session = cast("ServerSession", Refusing(number, words))

    assert bool(list(look_at(session, [Tree(PATH, optional=optional)]))) is missing
