"""The delegated name servers are found through the system's resolver, and remembered when it fails."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.dns_servers import missing

ROOT = Path(__file__).parents[2]
NAMESPACES = ["unshare", "--net", "--mount"]


@pytest.mark.lab
def test_delegated_servers_are_asked_and_known_ones_outlive_the_resolver(tmp_path: Path) -> None:
    if missing("knot"):
        pytest.skip(missing("knot"))
    allowed = subprocess.run([*NAMESPACES, "true"], capture_output=True, text=True, check=False)
    if allowed.returncode != 0:
        pytest.skip(f"namespaces are not allowed here: {allowed.stderr.strip()}")
    command = [*NAMESPACES, sys.executable, "-m", "tests.contract.delegation_child", str(tmp_path)]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert outcome.returncode == 0, outcome.stderr
    found = json.loads(outcome.stdout)
    assert found["zone"] == "example.org"
    (first, second, third) = found["alive"]
    assert first == ["ns1.example.org (127.0.0.1:53)", True, ""]
    assert second[:2] == ["ns2.example.org (127.0.0.2:53)", False]
    assert third == ["ns3.example.org", False, "its address cannot be found"]  # it is named, not left out
    assert [row[:2] for row in found["dead"]] == [[row[0], False] for row in found["alive"]]
    assert all(error for _name, _heard, error in found["dead"])
    assert "cannot be found" in found["stranger"]
