"""The plan of the lab's little internet: who lives where, under what name, with what password."""

import sys
from pathlib import Path

DOMAIN = "example.test"
SENDER_DOMAIN = "sender.test"
TTL = 5
"""Seconds; short, so that a test sees an MX change arrive without long waiting."""

NETWORK = "10.77.0"
ADDRESSES = {
    "primary": f"{NETWORK}.11",
    "secondary": f"{NETWORK}.12",
    "sender": f"{NETWORK}.13",
    "nas": f"{NETWORK}.14",
    "dns": f"{NETWORK}.53",
}
AUTHORITATIVE = ADDRESSES["dns"]
RESOLVER = f"{NETWORK}.54"
"""A second address of the dns host: what every host has in its resolv.conf."""

MX_NAMES = {"primary": f"mx1.{DOMAIN}", "secondary": f"mx2.{DOMAIN}"}
MX_PRIMARY = [f"10 mx1.{DOMAIN}."]
MX_SECONDARY = [f"10 mx2.{DOMAIN}."]

ALICE = f"alice@{DOMAIN}"
BOB = f"bob@{DOMAIN}"
PROBE = f"failsafe-probe@{DOMAIN}"
PASSWORDS = {ALICE: "alice-password", BOB: "bob-password", PROBE: "probe-password"}

VMAIL_UID = 5000
VMAIL_ROOT = "/var/vmail"
"""`VMAIL_ROOT/DOMAIN/USER/` is a Maildir itself: cur, new and tmp are directly in it."""

CA_FILE = "/etc/lab/ca.pem"
TSIG_NAME = "failsafe."
TSIG_ALGORITHM = "hmac-sha256"
TSIG_FILE = "/etc/lab/tsig.key"
"""On nas, mode 0600: the base64 secret alone."""
NAS_SSH_KEY = "/root/.ssh/id_ed25519"
NAS_KNOWN_HOSTS = "/root/.ssh/known_hosts"

REPOSITORY = Path(__file__).resolve().parents[2]
PYTHON = Path(sys.executable)
"""The interpreter that runs the tests; every host sees it at the same path."""

ENVIRONMENT = {
    "PATH": f"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:{PYTHON.parent}",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "TERM": "dumb",
}
"""What a program in a host is born with: nothing of the environment of the tests."""
