"""The fenced blocks of the documentation, and what becomes of each.

A block of `toml` is a piece of configuration, one of `json` is parsed. Every other block has a comment directly
before it, which a page does not show: `<!-- run: lab -->` (tests/lab/test_tutorial.py runs it as printed), or `<!-- not run: REASON -->`.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\S*)\s*$")
MARK = re.compile(r"^\s*<!-- (?P<what>run|not run): (?P<rest>.+?) -->\s*$")
BY_LANGUAGE = ("toml", "json")  # their language alone says what is done with them


@dataclass(frozen=True)
class Block:
    """`mark`: "run" or "not run", with its word in `said`; both empty where there is no comment before the block."""

    page: str  # below the project's folder
    line: int
    language: str
    text: str
    mark: str = ""
    said: str = ""

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks_of(text: str, page: str) -> list[Block]:
    """Raises ValueError where a fence is not closed."""
    found: list[Block] = []
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        opened = FENCE.match(lines[number])
        if opened is None:
            number += 1
            continue
        closing = f"{opened['indent']}```"
        try:
            end = lines.index(closing, number + 1)
        except ValueError:
            raise ValueError(f"{page}:{number + 1}: the block is not closed") from None
        mark = MARK.match(lines[number - 1]) if number else None
        body = textwrap.dedent("\n".join(lines[number + 1 : end])) + "\n"
        found.append(
            Block(page, number + 1, opened["language"], body, mark["what"] if mark else "", mark["rest"] if mark else "")
        )
        number = end + 1
    return found


def all_blocks() -> list[Block]:
    return [block for page in pages() for block in blocks_of(page.read_text(encoding="utf-8"), str(page.relative_to(ROOT)))]


def inline_code(text: str) -> list[str]:
    """What stands between single backticks in the prose of a page."""
    prose = re.sub(r"^( *)```.*?^\1```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return [" ".join(code.split()) for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose)]
