"""How a failsafe.toml begins; `{folder}` is the test's own."""

from pathlib import Path

from tests.contract.sshd import Sshd

MAIL_HERE = """
[controller]
id = "nas"
state_dir = "{folder}/state"
time_zone = "UTC"
[mail_server.vps]
layout = "maildir"
path = "{folder}/mail"
"""


def domain_table(domain: str) -> str:
    """The table of a domain whose mail can be moved away from that server; more keys of it may follow."""
    return f"""
[domain."{domain}"]
server = "vps"
zone = "{domain}"
primary = ["mail.example.org"]
secondary = ["mx.away.example"]
strategy = "on-demand"
"""


PROBED = (
    MAIL_HERE
    + """
[own_line]
references = ["127.0.0.1:{line}"]
[probe.vps]
every = "{every}"
smtp = ["127.0.0.1:{smtp}"]
recipient = "failsafe-probe@example.org"
helo = "nas.example.org"
"""
)

OWN_DNS = """
[dns.own]
provider = "rfc2136"
server = "{address}"
key_name = "failsafe."
key_file = "{key_file}"
"""


def mail_over_ssh(folder: Path, path: Path, sshd: Sshd, recipient: str) -> str:
    """Where the mail lies behind an sshd, and is probed."""
    return f"""
[controller]
id = "nas"
state_dir = "{folder}/state"
[mail_server.vps]
layout = "maildir"
path = "{path}"
ssh = "{sshd.address}"
ssh_key = "{sshd.key}"
known_hosts = "{sshd.known_hosts}"
{domain_table("example.org")}
[probe.vps]
recipient = "{recipient}"
"""
