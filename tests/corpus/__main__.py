"""`python -m tests.corpus DIR`: writes every message as DIR/NAME.eml and prints its name and its reason."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.corpus import corpus

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for odd in corpus():
        (folder / f"{odd.name}.eml").write_bytes(odd.data)
        print(f"{odd.name:28} {len(odd.data):9}  {odd.why}")
