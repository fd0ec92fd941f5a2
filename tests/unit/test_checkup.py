"""The doctor's rounds, as far as they need no server."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

from failsafe.app import App
from failsafe.checkup.people import late_duties
from failsafe.checkup.run import run_checkup
from failsafe.config.load import parse_config
from failsafe.model import Severity


def test_what_a_layout_lacks_on_the_disk_is_a_finding(tmp_path: Path) -> None:
    """Through the real server's side, on this machine."""
    (tmp_path / "dms/mail-data/example.org/anna/cur").mkdir(parents=True)
    (tmp_path / "dms/mail-data/example.org/bob/mdbox/storage").mkdir(parents=True)
    (tmp_path / "dms/mail-data/example.org/bob/mdbox/storage/m.1").touch()
    text = (
        f'[controller]\nid = "nas"\nstate_dir = "{tmp_path}/state"\n[own_line]\nreferences = ["127.0.0.1:1"]\n'
        f'[mail_server.vps]\nlayout = "docker-mailserver"\npath = "{tmp_path}/dms"\n'
    )
    (tmp_path / "state").mkdir()
    app = App(parse_config(text.encode(), "test.toml"), tmp_path / "failsafe.toml")

    found = {finding.code: finding for finding in run_checkup(app).findings}

    assert (found["ssh-access"].severity, found["sources"].severity) == (Severity.FAIL, Severity.FAIL)
    assert "1 of 2 mailbox(es) cannot be read on this machine: bob@example.org: mdbox/storage" in found["ssh-access"].text
    assert f"{tmp_path}/dms/config" in found["sources"].text

    (tmp_path / "dms/config").mkdir()
    found = {finding.code: finding for finding in run_checkup(app).findings}
    assert "postfix-accounts.cf: it is not there" in found["sources"].text

    (tmp_path / "dms/config/postfix-accounts.cf").write_text("anna@example.org|x\n")
    shutil.rmtree(tmp_path / "dms/mail-data/example.org/bob")
    found = {finding.code: finding for finding in run_checkup(app).findings}
    assert (found["ssh-access"].severity, found["sources"].severity) == (Severity.OK, Severity.OK)


def test_a_doctor_called_by_hand_has_done_its_duty(tmp_path: Path) -> None:
    text = f'[controller]\nid = "nas"\nstate_dir = "{tmp_path}"\n[own_line]\nreferences = ["127.0.0.1:1"]\n'
    app = App(parse_config(text.encode(), "test.toml"), tmp_path / "failsafe.toml")

    run_checkup(app)

    assert app.duties.all()["doctor"].ok_at is not None


def test_a_duty_that_no_other_finding_tells_of_is_told_when_it_is_late(tmp_path: Path) -> None:
    text = (
        f'[controller]\nid = "nas"\nstate_dir = "{tmp_path}/state"\n[own_line]\nreferences = ["127.0.0.1:1"]\n'
        f'[mail_server.vps]\nlayout = "maildir"\npath = "{tmp_path}"\n'
        f'[repository.nas]\nurl = "{tmp_path}/nas"\npassword_file = "{tmp_path}/password"\nkeep = {{ daily = 7 }}\n'
    )
    (tmp_path / "state").mkdir()
    app = App(parse_config(text.encode(), "test.toml"), tmp_path / "failsafe.toml")
    now = app.clock.now()
    for duty in ("forget:nas", "backup:vps"):
        app.duties.ended(duty, now - timedelta(days=9), ok=True)

    assert [(finding.code, finding.subject, finding.severity, finding.mend) for finding in late_duties(app, now)] == [
        ("overdue", "nas", Severity.FAIL, "failsafe forget --repository nas")
    ]
