"""Where somebody has just logged in at the server, nobody knocks at its doors: connections that come and go are what strict filters count."""

from __future__ import annotations

from pathlib import Path

import pytest

from failsafe.looks.here import stands
from failsafe.model import Axis, Evidence, ProbeClass
from tests.unit.looks.world import MINUTE, NOW, configured


@pytest.mark.parametrize(
    ("vantage", "axis", "seen", "told"),
    [
        ("here", Axis.ACCESS, ProbeClass.UP, "IMAP, with a login"),
        ("here", Axis.ACCESS, ProbeClass.DOWN, ""),
        ("inside", Axis.HOST, ProbeClass.UP, "SSH, with a login"),
        ("inside", Axis.HOST, ProbeClass.DEGRADED, "SSH, with a login"),  # its disk is full, say
        ("inside", Axis.HOST, ProbeClass.UNKNOWN, ""),  # nobody could look
        ("canary", Axis.DELIVERY, ProbeClass.UP, ""),
    ],
)
def test_only_a_login_that_went_well_spares_the_doors(
    tmp_path: Path, vantage: str, axis: Axis, seen: ProbeClass, told: str
) -> None:
    with configured(tmp_path) as app:
        app.history.record(Evidence("vps", vantage, axis, seen, NOW, "", "there"), MINUTE)

        assert stands(app, "vps", NOW + 9 * MINUTE) == told
        assert stands(app, "vps", NOW + 11 * MINUTE) == ""
