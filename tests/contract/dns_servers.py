"""Real name servers on loopback: Knot and BIND, each with one zone, a TSIG key that may write its MX records, and one that may not."""

from __future__ import annotations

import base64
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.query

from tests.ports import free_port
from tests.support import wait_until

ZONE = "example.org"
ZONE_TEXT = """$ORIGIN example.org.
$TTL 3600
@ 3600 IN SOA ns1.example.org. hostmaster.example.org. 1 3600 900 86400 60
@ 3600 IN NS ns1.example.org.
ns1 3600 IN A 127.0.0.1
mail 3600 IN A 127.0.0.1
empty 3600 IN A 127.0.0.1
alias 3600 IN CNAME mail
@ 60 IN MX 10 mail.example.org.
"""

KNOT = """
server:
    listen: 127.0.0.1@{port}
    rundir: "{folder}"
    user: {user}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: "{folder}"
log:
  - target: stderr
    any: warning
key:
  - id: failsafe.
    algorithm: hmac-sha256
    secret: {secret}
  - id: reader.
    algorithm: hmac-sha256
    secret: {secret}
acl:
  - id: writer
    key: failsafe.
    action: update
    update-type: MX
template:
  - id: default
    storage: "{folder}"
    semantic-checks: off
    journal-content: changes
zone:
  - domain: example.org
    file: "{folder}/example.org.zone"
    acl: writer
"""

BIND = """
options {{
    directory "{folder}";
    listen-on port {port} {{ 127.0.0.1; }};
    listen-on-v6 {{ none; }};
    pid-file "{folder}/named.pid";
    session-keyfile "{folder}/session.key";
    managed-keys-directory "{folder}";
    recursion no;
    notify no;
    dnssec-validation no;
}};
controls {{ }};
key "failsafe." {{ algorithm hmac-sha256; secret "{secret}"; }};
key "reader." {{ algorithm hmac-sha256; secret "{secret}"; }};
zone "example.org" {{
    type primary;
    file "{folder}/example.org.zone";
    update-policy {{ grant failsafe. name example.org. MX;
        grant failsafe. name failsafe-drill.example.org. MX; grant failsafe. name failsafe-proof.example.org. MX; }};
}};
"""


@dataclass(frozen=True)
class NameServer:
    folder: Path
    port: int
    secret: str  # of the keys failsafe. (writes) and reader. (does not)
    key_file: Path
    process: subprocess.Popen[bytes]

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def pause(self) -> None:
        """The server hangs: the kernel still takes connections, nobody answers."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGCONT)


def missing(kind: str) -> str:
    """Why this server cannot be run here; "" if it can."""
    program = {"knot": "knotd", "bind": "named"}[kind]
    return (
        "" if shutil.which(program) else f"{program} is not installed (apt-get install {'knot' if kind == 'knot' else 'bind9'})"
    )


@contextmanager
def name_server(kind: str, folder: Path, port: int = 0, more: str = "") -> Iterator[NameServer]:
    """A running server that answers with authority; ended with the block. `more`: further lines of its zone."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    secret = base64.b64encode(secrets.token_bytes(32)).decode()
    (folder / "example.org.zone").write_text(f"{ZONE_TEXT}{more}\n")
    key_file = folder / "failsafe.key"
    key_file.write_text(secret)
    key_file.chmod(0o600)
    port = port or free_port()
    text = {"knot": KNOT, "bind": BIND}[kind].format(
        folder=folder, port=port, secret=secret, user="root" if os.geteuid() == 0 else "nobody"
    )
    config = folder / f"{kind}.conf"
    config.write_text(text)
    command = ["knotd", "-c", str(config)] if kind == "knot" else ["named", "-g", "-c", str(config), "-n", "1", "-U", "1"]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        server = NameServer(folder, port, secret, key_file, process)
        try:
            wait_until(lambda: answers(server), 30, f"{kind} answers for {ZONE}: {(folder / 'log').read_text()[-2000:]}")
            yield server
        finally:
            server.go_on()
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def answers(server: NameServer) -> bool:
    assert server.process.poll() is None, (server.folder / "log").read_text()[-2000:]
    try:
        response = dns.query.udp(
            dns.message.make_query(ZONE, "SOA", flags=dns.flags.Flag(0)), "127.0.0.1", timeout=0.5, port=server.port
        )
    except dns.exception.Timeout:
        return False
    return bool(response.flags & dns.flags.AA)
