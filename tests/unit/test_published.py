"""What the secondary needs in a domain's zone: configured, known of its provider, or not known."""

from pathlib import Path

import pytest

from failsafe.app import App
from failsafe.checkup.published import needs_of
from failsafe.checkup.sending import addresses_that_send
from failsafe.config.load import parse_config
from failsafe.failover.domain_checks.published import SecondaryNeeds
from tests.unit.failover.domain_checks.answers import Answers

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


def test_what_a_domain_says_of_itself_that_it_sends_from_is_looked_at_and_what_it_includes_is_not() -> None:
    record = "v=spf1 a:mail.example.org ip4:198.51.100.7 ip4:198.51.100.8/31 ip4:203.0.113.0/24 ip6:2001:db8::1 -ip4:198.51.100.99 include:others.example ip4:x ~all"
    lookups = Answers(
        {
            ("example.org", "TXT"): ("v=other", record),
            ("mail.example.org", "A"): ("192.0.2.1",),
            ("others.example", "TXT"): ("v=spf1 ip4:198.51.100.66 -all",),
        }
    )

    found = addresses_that_send("example.org", lookups)

    assert found == ("192.0.2.1", "198.51.100.7", "198.51.100.8", "198.51.100.9", "2001:db8::1")
