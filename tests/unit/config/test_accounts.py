"""The file that accounts_file names."""

from __future__ import annotations

from pathlib import Path

import pytest

from failsafe.config.accounts import parse_accounts, read_accounts
from failsafe.errors import ConfigError, SecretError


def test_logins_are_read_and_comments_passed_over() -> None:
    text = "# ours\n\na@example.org:/etc/failsafe/a.password\n  b@example.org : /etc/failsafe/b.password  \n"
    assert parse_accounts(text, "accounts") == {
        "a@example.org": Path("/etc/failsafe/a.password"),
        "b@example.org": Path("/etc/failsafe/b.password"),
    }


def test_every_fault_is_told_at_once_by_its_line_and_no_password_is_shown() -> None:
    text = "a@example.org\n:/x\nb@example.org:hunter2\nc@example.org:/x\nc@example.org:/y\n"
    with pytest.raises(ConfigError) as caught:
        parse_accounts(text, "accounts")
    assert [line for line, _ in caught.value.faults] == ["line 1", "line 2", "line 3", "line 5"]
    assert "hunter2" not in str(caught.value)


def test_a_file_without_a_login_is_a_fault() -> None:
    with pytest.raises(ConfigError, match="names no mailbox"):
        parse_accounts("# none yet\n", "accounts")


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "accounts"
    file.write_text("a@example.org:/x\n")
    file.chmod(0o644)
    with pytest.raises(SecretError, match="chmod 600"):
        read_accounts(file)
