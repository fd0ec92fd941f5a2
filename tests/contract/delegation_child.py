"""Inside namespaces of its own: Knot on port 53 is the system's resolver and the zone's delegated server. Prints what is found as JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from failsafe.adapters.resolver import AuthoritativeServers, find_zone
from failsafe.errors import DnsError
from tests.contract.dns_servers import ZONE, name_server


def main(folder: Path) -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    resolver = folder / "resolv.conf"
    resolver.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    subprocess.run(["mount", "--bind", str(resolver), "/etc/resolv.conf"], check=True)
    passed = [0.0]
    servers, stranger = (
        AuthoritativeServers(query_seconds=0.5, monotonic=lambda: passed[0]),
        AuthoritativeServers(query_seconds=0.5),
    )
    more = "@ 3600 IN NS ns2.example.org.\nns2 3600 IN A 127.0.0.2\n@ 3600 IN NS ns3.example.org."
    with name_server("knot", folder / "knot", port=53, more=more):
        found = {"zone": find_zone(f"mail.{ZONE}"), "alive": told(servers)}
    passed[0] = 3600.0  # what is known is old by now, so it is looked up again, and that fails
    found["dead"] = told(servers)
    try:
        stranger.mx(ZONE)
    except DnsError as error:
        found["stranger"] = str(error)
    print(json.dumps(found))


def told(servers: AuthoritativeServers) -> list[list[object]]:
    return [[answer.nameserver, answer.mx is not None, answer.error] for answer in servers.mx(ZONE)]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
