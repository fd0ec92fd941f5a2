"""Secrets: read from private files only, and never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from failsafe.errors import SecretError
from failsafe.secrets import Secret, mode_fault, read_environment, read_secret


def private(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_a_secret_is_read_without_its_line_end(tmp_path: Path) -> None:
    assert read_secret(private(tmp_path / "s", "hunter2\n")).reveal() == "hunter2"


def test_a_secret_shows_its_source_and_not_its_value(tmp_path: Path) -> None:
    secret = read_secret(private(tmp_path / "s", "hunter2"))

    assert "hunter2" not in f"{secret} {secret!r} {[secret]}"


def test_a_file_that_others_can_read_is_refused_with_the_command_that_mends_it(tmp_path: Path) -> None:
    place = private(tmp_path / "s", "hunter2")
    place.chmod(0o644)

    with pytest.raises(SecretError, match=f"chmod 600 {place}"):
        read_secret(place)


@pytest.mark.parametrize(("content", "words"), [(b"", "empty"), (b"\xff\xfe", "not text"), (b"x" * 70_000, "larger")])
def test_what_cannot_be_a_secret_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    place = tmp_path / "s"
    place.write_bytes(content)
    place.chmod(0o600)

    with pytest.raises(SecretError, match=words):
        read_secret(place)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="cannot read"):
        read_secret(tmp_path / "none")


def test_systemd_credentials_win_over_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private(tmp_path / "repository.password", "from-systemd")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))

    assert read_secret("/etc/failsafe/repository.password").reveal() == "from-systemd"


@pytest.mark.parametrize(("mode", "taken"), [(0o440, True), (0o400, True), (0o444, False)])
def test_a_credential_of_systemds_shows_its_acl_as_bits_of_the_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, taken: bool
) -> None:
    private(tmp_path / "repository.password", "from-systemd").chmod(mode)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))

    assert (mode_fault("/etc/failsafe/repository.password") is None) is taken


def test_an_environment_file_may_be_written_as_for_a_shell(tmp_path: Path) -> None:
    place = private(tmp_path / "e", "# keys\nexport AWS_ACCESS_KEY_ID=abc\nAWS_SECRET_ACCESS_KEY='d=e f'\n\n")

    assert {name: value.reveal() for name, value in read_environment(place).items()} == {
        "AWS_ACCESS_KEY_ID": "abc",
        "AWS_SECRET_ACCESS_KEY": "d=e f",
    }


def test_a_broken_environment_file_is_told_by_line_number_and_not_by_content(tmp_path: Path) -> None:
    place = private(tmp_path / "e", "A=1\nhunter2\n")

    with pytest.raises(SecretError, match="line 2") as caught:
        read_environment(place)

    assert "hunter2" not in str(caught.value)


def test_equal_secrets_are_equal() -> None:
    assert Secret("a", "x") == Secret("a", "y")
    assert Secret("a") != Secret("b")
