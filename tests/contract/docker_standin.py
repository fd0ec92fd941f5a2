#!/usr/bin/env python3
"""A stand-in for `docker`, for machines without a container engine: the documented forms of inspect, ps and exec, and nothing else.

It is copied beside a file engine.json: {"containers": [...as `docker inspect` shows them...], "environment": {name: {...}}, "denied": "…",
"tools": folder}. `exec` runs the script on this machine, with the container's environment, paths of mounts replaced by where they lie, and
only the tools of that container in PATH. Every call's words are appended to calls.log, as `ps` would have shown them.
"""

import json
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ENGINE = json.loads((HERE / "engine.json").read_text())
CONTAINERS = {row["Name"].lstrip("/"): row for row in ENGINE["containers"]}


def fail(text: str, status: int = 1) -> None:
    print(text, file=sys.stderr)
    sys.exit(status)


def find(name: str) -> dict | None:
    return CONTAINERS.get(name) or next((row for row in CONTAINERS.values() if row["Id"].startswith(name)), None)


def inspect(words: list[str]) -> None:
    if words[:2] != ["--type", "container"] or len(words) < 3:
        fail(f"stand-in: inspect {words}", 125)
    rows = [find(name) for name in words[2:]]
    print(json.dumps([row for row in rows if row is not None], indent=4))
    absent = [name for name, row in zip(words[2:], rows, strict=True) if row is None]
    if absent:
        fail("\n".join(f"Error: No such container: {name}" for name in absent))


def ps(words: list[str]) -> None:
    if words == ["--all", "--quiet", "--no-trunc"]:
        print("\n".join(row["Id"] for row in CONTAINERS.values()))
        return
    if words[:4] != ["--all", "--quiet", "--no-trunc", "--filter"] or len(words) != 5 or not words[4].startswith("label="):
        fail(f"stand-in: ps {words}", 125)
    key, _, value = words[4][len("label=") :].partition("=")
    for row in CONTAINERS.values():
        labels = row["Config"]["Labels"]
        if key in labels and (not value or labels[key] == value):
            print(row["Id"])


def execute(words: list[str]) -> None:
    if len(words) != 4 or words[1:3] != ["sh", "-c"]:
        fail(f"stand-in: exec {words}", 125)
    row = find(words[0])
    if row is None:
        fail(f"Error response from daemon: No such container: {words[0]}")
    assert row is not None
    if not row["State"]["Running"]:
        fail(f"Error response from daemon: container {row['Id']} is not running")
    script = words[3]
    for mount in row["Mounts"]:
        script = script.replace(f"{mount['Destination'].rstrip('/')}/", f"{mount['Source']}/")
    name = row["Name"].lstrip("/")
    environment = {
        **ENGINE["environment"].get(name, {}),
        "PATH": f"{ENGINE['tools']}:/usr/bin:/bin",
        "CALLS": str(HERE / "calls.log"),
    }
    os.execve("/bin/sh", ["sh", "-c", script], environment)


def main() -> None:
    with (HERE / "calls.log").open("a") as log:
        log.write(f"docker {json.dumps(sys.argv[1:])}\n")
    if ENGINE.get("denied"):
        fail(ENGINE["denied"])
    verbs = {"inspect": inspect, "ps": ps, "exec": execute}
    if sys.argv[1:2] == [] or sys.argv[1] not in verbs:
        fail(f"stand-in: docker {sys.argv[1:]}", 125)
    verbs[sys.argv[1]](sys.argv[2:])


main()
