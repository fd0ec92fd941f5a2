"""A name service made of a table, for judges that follow names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from failsafe.dns_ports import Lookup


@dataclass
class Answers:
    """`table`: (name, kind) -> records, or an error as text. What is not in it does not exist. Remembers what it was asked."""

    table: Mapping[tuple[str, str], tuple[str, ...] | str]
    asked: list[tuple[str, str]] = field(default_factory=list)

    def ask(self, name: str, kind: str) -> Lookup:
        self.asked.append((name, kind))
        found = self.table.get((name, kind), ())
        return Lookup(error=found) if isinstance(found, str) else Lookup(found, exists=bool(found))


def texts(**records: tuple[str, ...] | str) -> Answers:
    """TXT records; `_` in a keyword stands for a dot."""
    return Answers({(name.replace("_", "."), "TXT"): found for name, found in records.items()})
