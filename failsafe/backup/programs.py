"""The programs that run on a mail server: each is one text there, and a folder of parts here, so that a reader can hold each part.

A part is a module like any other, and takes what it needs of earlier parts by `from failsafe.… import`. The text is the parts in their order, without
those imports: there every name is at hand. So nothing else of failsafe may be imported by a part, nothing under another name, and no two parts may
define one name; a test sees to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

OURS = "from failsafe."


def assemble(folder: Path, parts: Sequence[str]) -> str:
    """The whole program. The first part begins it."""
    return "#!/usr/bin/env python3\n" + "\n\n".join(_of_part(folder / f"{part}.py", first=part == parts[0]) for part in parts)


def _of_part(file: Path, *, first: bool) -> str:
    lines = file.read_text(encoding="utf-8").splitlines()
    if not first:
        lines[0] = f"# ---------------------------------------------------------------- {lines[0].strip(chr(34))}"
    return "\n".join(_without_ours(lines)) + "\n"


def _without_ours(lines: Sequence[str]) -> Iterator[str]:
    inside = False  # an import that goes on over several lines
    for line in lines:
        if inside or line.startswith(OURS):
            inside = not line.endswith(")") if inside else line.endswith("(")
        else:
            yield line
