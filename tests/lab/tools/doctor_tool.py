"""Runs inside a host: CONFIG: for each line on standard input what it asks for, and what that gave as a line of JSON. One process, so that only the
first run pays for imports.

look            every look once, kept as evidence
examine         one whole run of the doctor
keep, put back  the database as it is now, and again as it was then
do STATEMENT    SQL that must change a row
"""

import json
import sqlite3
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

from failsafe.app import App
from failsafe.checkup.run import run_checkup
from failsafe.config.load import load_config
from failsafe.looks.every import looks_of

CONFIG = Path(sys.argv[1])
KEPT = "/run/kept.sqlite"


def look(app: App) -> dict[str, Any]:
    now = app.clock.now()
    for server in app.config.probe:
        for each in looks_of(app, server):
            app.history.record(each.see(now), timedelta(hours=1))
    app.history.flush(now)
    return {}


def copied(source: str, target: str) -> None:
    with closing(sqlite3.connect(source, timeout=20)) as one, closing(sqlite3.connect(target, timeout=20)) as other:
        one.backup(other)


def answer(asked: str) -> dict[str, Any]:
    app = App(load_config(CONFIG), CONFIG)
    file = f"{app.state_dir}/failsafe.sqlite"
    match asked.split(maxsplit=1):
        case ["look"]:
            found = look(app)
        case ["examine"]:
            found = run_checkup(app).to_json()
        case ["keep"]:
            return copied(file, KEPT) or {}
        case ["put", _]:
            return copied(KEPT, file) or {}
        case [_, statement]:
            with closing(sqlite3.connect(file, timeout=20)) as database, database:
                assert database.execute(statement).rowcount > 0, statement
            return {}
    app.store.close()
    return found


for line in sys.stdin:
    print(json.dumps(answer(line.strip())), flush=True)
