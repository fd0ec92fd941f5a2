"""Runs inside a host: CONFIG: for each line on standard input what it asks for, and what that gave as a line of JSON. One process, so that only the
first run pays for imports.

look [VANTAGE]   every look once, or those from one vantage, kept as evidence
examine          one whole run of the doctor
examine-on KIND  the same by a controller that has its database open; meanwhile a file system of that kind comes to lie over its folder
keep, put back   the database as it is now, and again as it was then
do STATEMENT     SQL that must change a row
cloudflare JSON  a stand-in for Cloudflare's API; its address
bucket KIND      a bucket on a stand-in for S3; its address
"""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from failsafe.app import App
from failsafe.checkup.run import run_checkup
from failsafe.config.load import load_config
from failsafe.looks.every import looks_of
from tests.lab.clouds import Clouds

CONFIG = Path(sys.argv[1])
KEPT = "/run/kept.sqlite"
MOUNTS = Path("/run/mounts")


def look(app: App, vantage: str) -> dict[str, Any]:
    now = app.clock.now()
    for server in app.config.probe:
        for each in looks_of(app, server):
            if vantage in ("", each.vantage):
                app.history.record(each.see(now), timedelta(hours=1))
    app.history.flush(now)
    return {}


@contextmanager
def covered(folder: Path, kind: str) -> Iterator[None]:
    """As the kernel would tell of it, which is all that is looked at: no namespace may mount a network's file system."""
    own = f"/proc/{os.getpid()}/mounts"
    MOUNTS.write_text(f"{Path(own).read_text()}nas:/volume1/failsafe {folder} {kind} rw 0 0\n")
    subprocess.run(["mount", "--bind", MOUNTS, own], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", own], check=True)


def copied(source: str, target: str) -> dict[str, Any]:
    with closing(sqlite3.connect(source, timeout=20)) as one, closing(sqlite3.connect(target, timeout=20)) as other:
        one.backup(other)
    return {}


def change(file: str, statement: str) -> dict[str, Any]:
    with closing(sqlite3.connect(file, timeout=20)) as database, database:
        assert database.execute(statement).rowcount > 0, statement
    return {}


def examine(app: App, kind: str) -> dict[str, Any]:
    if not kind:
        return run_checkup(app).to_json()
    app.duties.all()
    with covered(app.state_dir, kind):
        return run_checkup(app).to_json()


def answer(asked: str, clouds: Clouds) -> dict[str, Any]:
    verb, _, rest = asked.partition(" ")
    if verb == "cloudflare":
        return {"url": clouds.cloudflare(**json.loads(rest))}
    if verb == "bucket":
        return {"url": clouds.bucket(rest)}
    app = App(load_config(CONFIG), CONFIG)
    file = f"{app.state_dir}/failsafe.sqlite"
    if verb == "keep":
        return copied(file, KEPT)
    if verb == "put":
        return copied(KEPT, file)
    if verb == "do":
        return change(file, rest)
    try:
        return look(app, rest) if verb == "look" else examine(app, rest)
    finally:
        app.store.close()


with Clouds() as made:
    for line in sys.stdin:
        print(json.dumps(answer(line.strip(), made)), flush=True)
