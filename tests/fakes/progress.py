"""A listener to progress that remembers."""

from __future__ import annotations


class Heard:
    def __init__(self) -> None:
        self.stages: list[tuple[str, int | None, str]] = []
        self.amount = 0

    def stage(self, text: str, total: int | None = None, unit: str = "") -> None:
        self.stages.append((text, total, unit))

    def advance(self, amount: int) -> None:
        assert amount >= 0
        self.amount += amount
