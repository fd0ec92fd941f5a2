"""What the secondary needs in a domain's zone: configured, known of its provider, or not known."""

from pathlib import Path

import pytest

from failsafe.app import App
from failsafe.checkup.published import needs_of
from failsafe.config.load import parse_config
from failsafe.failover.domain_checks.published import SecondaryNeeds

CONFIG = """
[controller]
id = "nas"
[mail_server.vps]
layout = "maildir"
path = "/srv/mail"
[domain."example.org"]
server = "vps"
primary = ["mail.example.org"]
strategy = "on-demand"
"""


@pytest.mark.parametrize(
    ("lines", "needs"),
    [
        (
            'secondary = ["mail.protonmail.ch", "mailsec.protonmail.ch"]',
            SecondaryNeeds(("_spf.protonmail.ch",), ("protonmail", "protonmail2", "protonmail3")),
        ),
        ('secondary = ["mail.protonmail.ch"]\nsecondary_spf = []\nsecondary_dkim = ["x"]', SecondaryNeeds((), ("x",))),
        ('secondary = ["mx.away.example"]\nsecondary_spf = ["_spf.away.example"]', SecondaryNeeds(("_spf.away.example",), None)),
        ('secondary = ["mx.away.example"]', SecondaryNeeds(None, None)),
    ],
)
def test_what_a_secondary_needs_is_configured_or_known_of_its_provider(lines: str, needs: SecondaryNeeds) -> None:
    app = App(parse_config(f"{CONFIG}{lines}\n".encode(), "test.toml"), Path("/etc/failsafe.toml"))
    assert needs_of(app, "example.org") == needs
