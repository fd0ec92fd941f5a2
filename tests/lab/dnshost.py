"""The domain's name server (Knot), and on a second address everybody's resolver (Unbound)."""

from tests.lab.host import Host
from tests.lab.names import (
    ADDRESSES,
    AUTHORITATIVE,
    DOMAIN,
    NETWORK,
    RESOLVER,
    SENDER_DOMAIN,
    TSIG_ALGORITHM,
    TSIG_NAME,
    TTL,
)

KNOT = f"""\
server:
    rundir: /run/knot
    user: knot:knot
    listen: {AUTHORITATIVE}@53
log:
  - target: /var/log/knot.log
    any: info
database:
    storage: /var/lib/knot
key:
  - id: {TSIG_NAME}
    algorithm: {TSIG_ALGORITHM}
    secret: {{secret}}
acl:
  - id: controller
    key: {TSIG_NAME}
    action: [update, transfer]
zone:
  - domain: {DOMAIN}
    storage: /var/lib/knot
    file: {DOMAIN}.zone
    acl: controller
    zonefile-sync: 0
    journal-content: changes
  - domain: {SENDER_DOMAIN}
    storage: /var/lib/knot
    file: {SENDER_DOMAIN}.zone
"""

ZONE = f"""\
$ORIGIN {DOMAIN}.
$TTL {TTL}
@    SOA ns1 hostmaster 1 3600 600 86400 {TTL}
@    NS  ns1
@    MX  10 mx1
ns1  A   {AUTHORITATIVE}
mx1  A   {ADDRESSES["primary"]}
mx2  A   {ADDRESSES["secondary"]}
imap A   {ADDRESSES["primary"]}
"""

SENDER_ZONE = f"""\
$ORIGIN {SENDER_DOMAIN}.
$TTL 60
@    SOA ns1 hostmaster 1 3600 600 86400 60
@    NS  ns1
@    MX  10 mail
ns1  A   {AUTHORITATIVE}
mail A   {ADDRESSES["sender"]}
"""

# `local-zone ... nodefault`: Unbound answers for .test itself otherwise (RFC 6761). All other names go to a
# closed port, so that they fail at once instead of after a search for the real internet.
UNBOUND = f"""\
server:
    interface: {RESOLVER}
    access-control: {NETWORK}.0/24 allow
    do-ip6: no
    username: unbound
    chroot: ""
    directory: /etc/unbound
    pidfile: /run/unbound.pid
    logfile: /var/log/unbound.log
    use-syslog: no
    module-config: "iterator"
    local-zone: "test." nodefault
stub-zone:
    name: {DOMAIN}
    stub-addr: {AUTHORITATIVE}
stub-zone:
    name: {SENDER_DOMAIN}
    stub-addr: {AUTHORITATIVE}
forward-zone:
    name: "."
    forward-addr: 127.0.0.1@9
"""


class DnsHost(Host):
    """`dns`: switch it off and both servers are gone; kill "knot" or "unbound" to lose one."""

    def install(self, tsig_secret: str) -> None:
        """Write both configurations and zones, and start both servers. `tsig_secret`: base64."""
        self.sh("""
            rm -rf /var/lib/knot; install -d -o knot -g knot /var/lib/knot
            for log in knot unbound; do install -o $log -g $log -m 644 /dev/null /var/log/$log.log; done
        """)
        self.write("/etc/knot/knot.conf", KNOT.format(secret=tsig_secret), 0o640, "root:knot")
        self.write(f"/var/lib/knot/{DOMAIN}.zone", ZONE, 0o644, "knot:knot")
        self.write(f"/var/lib/knot/{SENDER_DOMAIN}.zone", SENDER_ZONE, 0o644, "knot:knot")
        self.write("/etc/unbound/unbound.conf", UNBOUND)
        self.enable("knot", "unbound")
