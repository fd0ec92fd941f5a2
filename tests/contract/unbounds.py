"""Unbound as a public resolver on loopback: it asks one name server, and remembers for the TTL."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.rcode

from tests.contract.dns_servers import ZONE, NameServer
from tests.ports import free_port
from tests.support import wait_until

CONFIG = """
server:
    interface: 127.0.0.1@{port}
    port: {port}
    do-ip6: no
    do-daemonize: no
    do-not-query-localhost: no
    access-control: 127.0.0.0/8 allow
    username: "{user}"
    chroot: ""
    directory: "{folder}"
    pidfile: ""
    use-syslog: no
    module-config: "iterator"
stub-zone:
    name: {zone}
    stub-addr: 127.0.0.1@{server}
"""


def missing_unbound() -> str:
    """Why it cannot be run here; "" if it can."""
    return (
        ""
        if shutil.which("unbound", path=os.environ["PATH"] + ":/usr/sbin")
        else "unbound is not installed (apt-get install unbound)"
    )


def ask(address: str) -> list[str]:
    """The zone's MX records as a resolver gives them, which then remembers them."""
    host, _, port = address.partition(":")
    response = dns.query.udp(dns.message.make_query(ZONE, "MX"), host, timeout=1.0, port=int(port))
    assert response.rcode() == dns.rcode.NOERROR
    return sorted(record.to_text() for found in response.answer for record in found)


@contextmanager
def resolver(server: NameServer, folder: Path) -> Iterator[str]:
    """A running resolver that knows nothing yet; gives its address."""
    folder.mkdir()
    port = free_port()
    config = folder / "unbound.conf"
    config.write_text(
        CONFIG.format(port=port, folder=folder, zone=ZONE, server=server.port, user="" if os.geteuid() == 0 else "nobody")
    )
    address = f"127.0.0.1:{port}"
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(["unbound", "-d", "-c", str(config)], stdout=log, stderr=log) as process,
    ):
        try:
            wait_until(lambda: _runs(process, folder, port), 30, f"unbound answers: {(folder / 'log').read_text()[-2000:]}")
            yield address
        finally:
            process.terminate()
            process.wait(20)


def _runs(process: subprocess.Popen[bytes], folder: Path, port: int) -> bool:
    """Asked for its version, so that it learns nothing of the zone."""
    assert process.poll() is None, (folder / "log").read_text()[-2000:]
    try:
        dns.query.udp(dns.message.make_query("version.bind", "TXT", "CH"), "127.0.0.1", timeout=0.5, port=port)
    except dns.exception.Timeout:
        return False
    return True
