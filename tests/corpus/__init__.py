"""Mail that breaks tools: malformed, hostile and unusual messages, each with its reason. `python -m tests.corpus DIR` writes them out.

Every byte is made here, the same at every run.
"""

from __future__ import annotations

from functools import cache

from tests.corpus import bodies, fields, names, words
from tests.corpus.kit import Odd

__all__ = ["Odd", "corpus"]


@cache
def corpus() -> tuple[Odd, ...]:
    """All of them, in order; names and contents are unique."""
    found = tuple(odd for kind in (words, fields, bodies, names) for odd in kind.messages())
    assert len({odd.name for odd in found}) == len({odd.data for odd in found}) == len(found)
    return found
