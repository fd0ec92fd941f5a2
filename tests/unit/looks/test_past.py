"""What earlier looks have to say to the next one: a login that is refused, a certificate that keeps it here."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from failsafe.looks.every import looks_of
from failsafe.looks.past import probe_of
from failsafe.model import Axis, ProbeClass, Sign
from tests.unit.looks.world import MINUTE, NOW, configured, look_at, remember


def test_each_axis_with_a_service_is_looked_at(tmp_path: Path) -> None:
    with configured(tmp_path) as app:
        assert {look.axis for look in looks_of(app, "vps")} == {Axis.INBOUND, Axis.ACCESS, Axis.SUBMISSION}


def test_submission_is_looked_at_without_a_login_where_that_is_wanted(tmp_path: Path) -> None:
    with configured(tmp_path, more="submission_login = false") as app:
        assert look_at(app, Axis.SUBMISSION).password_file == ""
        assert look_at(app, Axis.SUBMISSION).target == "127.0.0.1:1"


def test_a_login_that_imap_refused_is_not_tried_for_submission_until_its_password_changes(tmp_path: Path) -> None:
    with configured(tmp_path) as app:
        os.utime(tmp_path / "password", (0, 0))
        remember(app, Axis.ACCESS, ProbeClass.UNKNOWN, "no", NOW, Sign.LOGIN_REFUSED)
        looks = looks_of(app, "vps")
        probes = {look.axis: probe_of(app, look, None, looks) for look in looks}

        assert probes[Axis.SUBMISSION].quiet_until(NOW + MINUTE) == NOW + timedelta(days=8)
        assert probes[Axis.ACCESS].quiet_until(NOW + MINUTE) == NOW + timedelta(days=8)
        assert probes[Axis.INBOUND].quiet_until(NOW + MINUTE) is None

        changed = (NOW + MINUTE).timestamp()
        os.utime(tmp_path / "password", (changed, changed))
        assert probe_of(app, look_at(app, Axis.SUBMISSION), None, looks).quiet_until(NOW + 2 * MINUTE) is None


def test_logins_withheld_from_a_bad_certificate_are_counted_over_the_week(tmp_path: Path) -> None:
    with configured(tmp_path) as app:
        pauses = []
        for hour in range(4):
            at = NOW + timedelta(hours=hour)
            remember(app, Axis.ACCESS, ProbeClass.DEGRADED, "expired", at, Sign.BAD_CERTIFICATE)
            until = probe_of(app, look_at(app, Axis.ACCESS), at, ()).quiet_until(at + MINUTE)
            assert until is not None
            pauses.append(until - at)

        assert pauses == [timedelta(hours=1)] * 3 + [timedelta(hours=84)]


def test_a_prober_that_is_refused_for_now_tries_once_more_soon(tmp_path: Path) -> None:
    with configured(tmp_path) as app:
        look = look_at(app, Axis.INBOUND)
        remember(app, Axis.INBOUND, ProbeClass.PROBE_BLOCKED, "450", NOW, Sign.REFUSED_FOR_NOW)
        assert probe_of(app, look, NOW, ()).quiet_until(NOW + MINUTE) == NOW + timedelta(hours=1)

        remember(app, Axis.INBOUND, ProbeClass.PROBE_BLOCKED, "450", NOW + timedelta(hours=1), Sign.REFUSED_FOR_NOW)
        assert probe_of(app, look, NOW, ()).quiet_until(NOW + timedelta(hours=2)) == NOW + timedelta(hours=85)
