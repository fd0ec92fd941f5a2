"""Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return [*lines, *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows), ""]


def page(title: str, *parts: list[str] | str) -> str:
    """Each part ends with an empty line."""
    lines = [f"# {title}", ""]
    for part in parts:
        lines += [part, ""] if isinstance(part, str) else part
    return "\n".join(lines).rstrip("\n") + "\n"
