"""Logs: nothing that looks like a secret passes."""

from __future__ import annotations

import pytest

from failsafe.logs import REDACTED, redact, redact_text
from failsafe.secrets import Secret


@pytest.mark.parametrize(
    "text",
    [
        "cannot reach rest:https://nas:hunter2@backup.example.org/mail",
        "Authorization: Bearer hunter2hunter2",
        "started with RESTIC_PASSWORD=hunter2",
        "AWS_SECRET_ACCESS_KEY=hunter2 restic backup",
    ],
)
def test_credentials_are_cut_out_of_text(text: str) -> None:
    assert "hunter2" not in redact_text(text)


@pytest.mark.parametrize("text", ["ssh failsafe@mail.example.org:22", "https://example.org/path", "repository nas: 3 snapshots"])
def test_harmless_text_stays_as_it_is(text: str) -> None:
    assert redact_text(text) == text


@pytest.mark.parametrize(
    "value", [Secret("hunter2"), {"password": "hunter2"}, [Secret("hunter2")], {"a": {"api_key": "hunter2"}}]
)
def test_secrets_are_cut_out_of_values_at_any_depth(value: object) -> None:
    assert "hunter2" not in repr(redact(None, "info", {"event": "x", "value": value}))


def test_a_value_under_a_telling_key_is_cut_out() -> None:
    assert redact(None, "info", {"event": "x", "token": "hunter2"})["token"] == REDACTED


def test_the_path_of_a_secret_is_no_secret() -> None:
    assert redact(None, "info", {"event": "x", "password_file": "/etc/p"})["password_file"] == "/etc/p"
