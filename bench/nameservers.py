"""The lab's domain on Knot or on BIND, alone or with a second server elsewhere that follows by NOTIFY and IXFR."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from tests.lab import Lab
from tests.lab.dnshost import SENDER_ZONE, ZONE
from tests.lab.host import Host
from tests.lab.job import Job
from tests.lab.names import ADDRESSES, AUTHORITATIVE, DOMAIN, SENDER_DOMAIN, TSIG_ALGORITHM, TSIG_FILE, TSIG_NAME
from tests.support import wait_until

SECOND = ADDRESSES["secondary"]  # the second name server runs beside the secondary, far from the first
FOLDER = "/var/lib/authoritative"
KNOT = """\
server:
    rundir: {folder}
    user: root
    listen: {address}@53
log:
  - target: stderr
    any: warning
database:
    storage: {folder}
{more}
zone:
  - domain: {domain}
    storage: {folder}
    file: {domain}.zone
    zonefile-sync: 0
    journal-content: all
    {zone}
{others}
"""
KNOT_FIRST = """\
key:
  - id: {key}
    algorithm: {algorithm}
    secret: {secret}
remote:
  - id: second
    address: {second}@53
acl:
  - id: controller
    key: {key}
    action: [update, transfer]
  - id: second
    address: {second}
    action: transfer
"""
KNOT_SECOND = """\
remote:
  - id: first
    address: {first}@53
acl:
  - id: first
    address: {first}
    action: notify
"""
KNOT_OTHERS = f"""\
  - domain: {SENDER_DOMAIN}
    storage: {FOLDER}
    file: {SENDER_DOMAIN}.zone
"""
BIND = """\
options {{
    directory "{folder}";
    listen-on {{ {address}; }};
    listen-on-v6 {{ none; }};
    pid-file "{folder}/named.pid";
    session-keyfile "{folder}/session.key";
    managed-keys-directory "{folder}";
    recursion no;
    dnssec-validation no;
    notify {notify};
}};
controls {{ }};
{more}
zone "{domain}" {{ {zone} file "{domain}.zone"; }};
{others}
"""
BIND_OTHERS = f'zone "{SENDER_DOMAIN}" {{ type primary; file "{SENDER_DOMAIN}.zone"; notify no; }};'


@contextmanager
def authoritative(lab: Lab, kind: str, servers: int) -> Iterator[list[str]]:
    """Takes the place of the lab's own name server; gives the addresses of the new ones. `kind`: knot or bind; `servers`: 1 or 2."""
    secret = lab.nas.read(TSIG_FILE).strip()
    lab.dns.kill_service("knot")
    running = [_first(lab.dns, kind, secret, two=servers == 2)]
    try:
        if servers == 2:
            running.append(_second(lab.secondary, kind))
        addresses = [AUTHORITATIVE, SECOND][:servers]
        for address, job in zip(addresses, running, strict=True):
            wait_until(partial(_answers, lab, address, job), 30, f"{kind} at {address} answers")
        _resolve_by(lab, addresses)
        yield addresses
    finally:
        for job in running:
            job.close()
        _resolve_by(lab, [AUTHORITATIVE])
        lab.dns.start("knot")


def _first(host: Host, kind: str, secret: str, *, two: bool) -> Job:
    host.sh(f"rm -rf {FOLDER}; mkdir -p {FOLDER}")
    host.write(f"{FOLDER}/{DOMAIN}.zone", ZONE + (f"@ NS ns2\nns2 A {SECOND}\n" if two else ""))
    host.write(f"{FOLDER}/{SENDER_DOMAIN}.zone", SENDER_ZONE)
    place = {"folder": FOLDER, "address": AUTHORITATIVE, "domain": DOMAIN}
    if kind == "knot":
        more = KNOT_FIRST.format(key=TSIG_NAME, algorithm=TSIG_ALGORITHM, secret=secret, second=SECOND)
        zone = "acl: [controller, second]" + ("\n    notify: second" if two else "")
        return _run(host, kind, KNOT.format(**place, more=more, zone=zone, others=KNOT_OTHERS))
    more = f'key "{TSIG_NAME}" {{ algorithm {TSIG_ALGORITHM}; secret "{secret}"; }};'
    zone = f"type primary; update-policy {{ grant {TSIG_NAME} zonesub MX; }}; allow-transfer {{ {SECOND}; }};"
    zone += f" also-notify {{ {SECOND}; }};" if two else ""
    return _run(host, kind, BIND.format(**place, more=more, zone=zone, others=BIND_OTHERS, notify="explicit" if two else "no"))


def _second(host: Host, kind: str) -> Job:
    host.sh(f"rm -rf {FOLDER}; mkdir -p {FOLDER}")
    place = {"folder": FOLDER, "address": SECOND, "domain": DOMAIN, "others": ""}
    if kind == "knot":
        more = KNOT_SECOND.format(first=AUTHORITATIVE)
        return _run(host, kind, KNOT.format(**place, more=more, zone="master: first\n    acl: first"))
    return _run(host, kind, BIND.format(**place, more="", zone=f"type secondary; primaries {{ {AUTHORITATIVE}; }};", notify="no"))


def _run(host: Host, kind: str, text: str) -> Job:
    config = f"{FOLDER}/{kind}.conf"
    host.write(config, text, 0o600)
    return host.popen(*(("knotd", "-c", config) if kind == "knot" else ("named", "-g", "-c", config, "-n", "1", "-U", "1")))


def _answers(lab: Lab, address: str, job: Job) -> bool:
    if job.poll() is not None:
        raise RuntimeError(f"the name server at {address} ended: {job.stdout()}{job.stderr()}")
    found = lab.nas.sh(f"kdig +short +norec +time=1 +retry=0 @{address} {DOMAIN} MX", check=False).stdout
    return "mx1" in found


def _resolve_by(lab: Lab, addresses: list[str]) -> None:
    """Everybody's resolver asks these servers about the domain, and has forgotten what it knew."""
    text = lab.dns.read("/etc/unbound/unbound.conf")
    head, _, rest = text.partition(f"    name: {DOMAIN}\n")
    rest = rest[rest.index("stub-zone:") :]
    lines = "".join(f"    stub-addr: {address}\n" for address in addresses)
    lab.dns.write("/etc/unbound/unbound.conf", f"{head}    name: {DOMAIN}\n{lines}{rest}")
    lab.dns.kill_service("unbound")
    lab.dns.start("unbound")
