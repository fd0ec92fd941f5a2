"""What an archive's own rebuild.py says is told apart: mail that is not all right, and a disk that ended it."""

from __future__ import annotations

from pathlib import Path

import pytest

from failsafe.adapters.rebuilding import rebuild

FULL = "stopped early: [Errno 28] No space left on device"


@pytest.mark.parametrize(
    ("problems", "code", "stopped"),
    [
        ([], 0, ""),
        (["anna / INBOX / m1 is damaged"], 1, ""),
        (["anna / INBOX / m1 is damaged", FULL], 3, FULL),
        (["anna / INBOX / m1 is damaged", "and 900 more"], 3, "stopped early: the disk ended it"),
        ([FULL], 1, FULL),  # of an earlier version
        ([f"anna / {FULL} / m1 was not in the backup"], 1, ""),
        (["stopped early: segment ab12 is damaged"], 1, ""),
    ],
)
def test_a_disk_that_ended_it_is_known_by_the_code(tmp_path: Path, problems: list[str], code: int, stopped: str) -> None:
    lines = "".join(f"print({'PROBLEM: ' + each!r}, file=sys.stderr)\n" for each in problems)
    (tmp_path / "rebuild.py").write_text(f"import sys\n{lines}sys.exit({code})\n")

    said = rebuild(tmp_path, tmp_path / "out", [], generation=None, size=0)

    assert (said.code, said.problems, said.stopped) == (code, tuple(problems), stopped)
