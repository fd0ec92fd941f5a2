"""The doctor's rounds, as far as they need no server."""

from __future__ import annotations

from pathlib import Path

from failsafe.app import App
from failsafe.checkup import run_checkup
from failsafe.config.load import parse_config


def test_a_doctor_called_by_hand_has_done_its_duty(tmp_path: Path) -> None:
    text = f'[controller]\nid = "nas"\nstate_dir = "{tmp_path}"\n[own_line]\nreferences = ["127.0.0.1:1"]\n'
    app = App(parse_config(text.encode(), "test.toml"), tmp_path / "failsafe.toml")

    run_checkup(app)

    assert app.duties.all()["doctor"].ok_at is not None
