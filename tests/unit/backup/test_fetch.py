"""Whether a file on the server is the one that was listed."""

from __future__ import annotations

import pytest

from failsafe.backup.fetch import Wanted
from failsafe.backup.protocol import Answer, Facts

HIGH = 2**64 - 5  # an inode as some file systems have them; SQLite keeps it as -5


@pytest.mark.parametrize(("twin", "inode", "fits"), [(0, 2, True), (1, 1, True), (1, 2, False), (-5, HIGH, True), (-5, 5, False)])
def test_one_of_two_files_of_a_name_size_and_date_is_told_by_its_inode(twin: int, inode: int, *, fits: bool) -> None:
    wanted = Wanted(b"m", 10, 1_600_000_000, twin, twin or 1, "cur", "S", 0, 0)
    assert wanted.fits(Answer("ok", facts=Facts(10, 1_600_000_000 * 10**9 + 1, inode))) is fits


@pytest.mark.parametrize("facts", [None, Facts(11, 1_600_000_000 * 10**9, 1), Facts(10, 1_600_000_001 * 10**9, 1)])
def test_another_size_or_date_is_another_file(facts: Facts | None) -> None:
    assert not Wanted(b"m", 10, 1_600_000_000, 0, 1, "cur", "S", 0, 0).fits(Answer("ok", facts=facts))
