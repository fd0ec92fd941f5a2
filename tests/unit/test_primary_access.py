"""What the IMAP probe says of a primary that takes mail again."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from failsafe.app import App
from failsafe.config.load import parse_config
from failsafe.model import Axis, Evidence, ProbeClass
from failsafe.primary import _access
from tests.contract.configs import MAIL_HERE, domain_table

CONFIG = (
    MAIL_HERE
    + domain_table("example.org")
    + """
[probe.vps]
imap = {{ host = "mail.example.org", port = 993, user = "probe@example.org", password_file = "{folder}/password" }}
"""
)


@pytest.mark.parametrize(
    ("newest", "told"),
    [
        ((), False),
        ((ProbeClass.UP, ProbeClass.UP), False),
        ((ProbeClass.UP, ProbeClass.UNKNOWN), False),
        ((ProbeClass.UP, ProbeClass.DOWN, ProbeClass.UP), False),
        ((ProbeClass.UP, ProbeClass.DOWN), True),
    ],
)
def test_a_primary_whose_mailboxes_are_shut_is_not_gone_home_to(
    newest: tuple[ProbeClass, ...], told: bool, tmp_path: Path
) -> None:
    app = App(parse_config(CONFIG.format(folder=tmp_path).encode(), "failsafe.toml"), tmp_path / "failsafe.toml")
    now = app.clock.now()
    for ago, seen in zip(range(len(newest) - 1, -1, -1), newest, strict=True):
        at = now - timedelta(minutes=5 * ago)
        app.history.record(
            Evidence("vps", "here", Axis.ACCESS, seen, at, "said so", "mail.example.org:993"), timedelta(minutes=5)
        )
    assert [check.code for check in _access(app, "example.org", now) if not check.ok] == (["imap"] if told else [])
