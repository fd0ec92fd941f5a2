"""Runs inside a host: for each line `["DATABASE", "SELECT …"]` on standard input, the rows of an SQLite database as a line of JSON."""

import json
import sqlite3
import sys
from contextlib import closing

for line in sys.stdin:
    file, query = json.loads(line)
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=10)) as database:
            answer = database.execute(query).fetchall()
    except sqlite3.Error as error:
        answer = f"{file}: {error}"
    print(json.dumps(answer), flush=True)
