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
