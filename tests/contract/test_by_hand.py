"""A person's verbs as processes, on a real name server: refused without force, written with it, and exit codes as promised."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from failsafe.model import MxSet
from tests.contract.dns_providers import client
from tests.contract.dns_servers import missing, name_server
from tests.contract.processes import command
from tests.contract.verbs import run_verb
from tests.unit.failover.world import PEACE

CONFIG = """
[controller]
id = "nas"
state_dir = "{folder}/state"
[mail_server.vps]
layout = "maildir"
path = "{folder}/mail"
[dns.knot]
provider = "rfc2136"
server = "{address}"
key_name = "failsafe."
key_file = "{key}"
[domain."example.org"]
server = "vps"
dns = "knot"
zone = "example.org"
primary = ["mail.example.org"]
secondary = ["mx.away.example"]
strategy = "on-demand"
nameservers = ["{address}"]
"""
AWAY = MxSet.of((5, "mx.away.example"), (10, "mail.example.org"), ttl_seconds=60)


def test_a_flip_by_hand_there_and_back(tmp_path: Path) -> None:
    if missing("knot"):
        pytest.skip(missing("knot"))
    (tmp_path / "zone").mkdir()
    with name_server("knot", tmp_path / "zone") as server:
        file = tmp_path / "failsafe.toml"
        file.write_text(CONFIG.format(folder=tmp_path, address=server.address, key=server.key_file))

        def ask(*verb: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                command(file, *verb), capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120, check=False
            )

        planned = ask("failover", "example.org", "--dry-run", "--json")
        assert planned.returncode == 0, planned.stderr
        assert json.loads(planned.stdout)["domains"][0]["plan"]["desired"]["records"] == [
            [5, "mx.away.example"],
            [10, "mail.example.org"],
        ]
        request = json.loads(planned.stdout)["domains"][0]["request"]
        assert request[0] == f"DNS UPDATE to {server.address} over TCP, signed with the key failsafe."
        assert request[1:] == [
            "zone: example.org. IN SOA",
            "prerequisite: example.org. 0 IN MX 10 mail.example.org.",
            "update: example.org. ANY MX",
            "update: example.org. 60 IN MX 5 mx.away.example.",
            "update: example.org. 60 IN MX 10 mail.example.org.",
        ]
        shown = run_verb(file, "failover", "example.org", "--dry-run")[1].splitlines()
        assert [line.removeprefix("  ") for line in shown[-len(request) :]] == request
        assert ask("failover", "example.org").returncode == 2
        assert client(server).read("example.org", "example.org") == PEACE
        done = ask("failover", "example.org", "--yes", "--reason", "a drill", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["domains"][0]["done"] is True
        assert client(server).read("example.org", "example.org") == AWAY
        assert ask("failover", "example.org", "--yes").returncode == 3
        assert ask("hold", "example.org", "--for", "2h", "--reason", "new disk").returncode == 0
        back = ask("failback", "--all", "--yes")
        assert back.returncode == 0, back.stderr
        assert "done" in back.stdout
        assert client(server).read("example.org", "example.org") == PEACE
