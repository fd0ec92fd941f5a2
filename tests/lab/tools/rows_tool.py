"""Runs inside a host: FILE QUERY EVERY: prints the rows that an SQLite file gives, one JSON list a line; each time they change, until it is killed.

EVERY: seconds between two looks; 0: once. It only reads.
"""

import contextlib
import json
import sqlite3
import sys
import time
from typing import Any


def rows(file: str, query: str) -> list[Any]:
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=10)) as database:
        return database.execute(query).fetchall()


def main(file: str, query: str, every: str) -> None:
    before: list[Any] | None = None
    while True:
        found = rows(file, query)
        if found != before:
            for row in found:
                print(json.dumps(row), flush=True)
            before = found
        if not float(every):
            return
        time.sleep(float(every))


main(*sys.argv[1:])
