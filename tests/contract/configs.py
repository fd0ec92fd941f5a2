"""How a failsafe.toml begins where the mail lies on this machine; `{folder}` is the test's own."""

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
