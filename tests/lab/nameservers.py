"""A second name server of the domain, on any host of the lab: it transfers the zone from the first, as a self-hoster's own does."""

from tests.lab.host import Host
from tests.lab.names import AUTHORITATIVE, DOMAIN, TSIG_ALGORITHM, TSIG_FILE, TSIG_NAME
from tests.support import wait_until

KNOT = f"""\
server:
    rundir: /run/knot
    user: knot:knot
    listen: 0.0.0.0@53
database:
    storage: /var/lib/knot
log:
  - target: /var/log/knot.log
    any: info
key:
  - id: {TSIG_NAME}
    algorithm: {TSIG_ALGORITHM}
    secret: {{secret}}
remote:
  - id: first
    address: {AUTHORITATIVE}@53
    key: {TSIG_NAME}
zone:
  - domain: {DOMAIN}
    storage: /var/lib/knot
    file: {DOMAIN}.zone
    master: first
"""


def install(host: Host, nas: Host) -> None:
    """Starts one that has the zone as it is now. Nobody notifies it, so it stays stale until `refresh`; it does not survive a power-off."""
    host.sh(
        "rm -rf /var/lib/knot; install -d -o knot -g knot /var/lib/knot; install -o knot -g knot -m 644 /dev/null /var/log/knot.log"
    )
    host.write("/etc/knot/knot.conf", KNOT.format(secret=nas.read(TSIG_FILE).strip()), 0o640, "root:knot")
    host.start("knot-secondary")
    wait_until(
        lambda: "MX" in host.run("kdig", "@127.0.0.1", DOMAIN, "MX", check=False).stdout.split("ANSWER SECTION")[-1],
        30,
        "the zone was transferred",
    )


def refresh(host: Host) -> None:
    """What a notification would have done."""
    host.run("knotc", "-s", "/run/knot/knot.sock", "-b", "zone-retransfer", DOMAIN)
