"""What goes into a kit from the configuration and its files, as far as no repository need be asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from failsafe.app import App
from failsafe.backup.kit_state import find_changes
from failsafe.config.files import named_files
from failsafe.config.load import parse_config
from failsafe.errors import SecretError, UsageError
from failsafe.kits.gather import _access, _files, facts_of, make_kit


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    return tmp_path


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def app_of(home: Path, more: str) -> App:
    put(home / "password", "the password\n")
    text = f'[controller]\nid = "nas"\nstate_dir = "{home}/state"\n{more}'
    return App(parse_config(text.encode(), "test.toml"), put(home / "failsafe.toml", text))


def offsite(home: Path, more: str = "") -> str:
    return f'[repository.offsite]\nurl = "s3:https://s3.example.net/mail"\npassword_file = "{home}/password"\n{more}\n'


def test_every_file_that_the_configuration_names_is_found_with_its_keys(home: Path) -> None:
    accounts = put(home / "accounts", f"a@example.org:{home}/a.password\n")
    put(home / "a.password", "x")
    config = app_of(
        home,
        offsite(home)
        + f'[mail_server.any]\nlayout = "imap"\naccounts_file = "{accounts}"\n'
        + f'imap = {{ host = "mail.example.org", port = 993, ca_file = "{home}/ca.pem" }}\n'
        + f'[mail_server.vps]\nlayout = "maildir"\npath = "/mail"\nssh = "f@host"\nssh_key = "{home}/id"\nknown_hosts = "{home}/known"\n',
    ).config

    names = {path.name: key for key, path in named_files(config)}

    assert set(names) == {"password", "accounts", "a.password", "ca.pem", "id", "known"}
    assert names["a.password"] == "mail_server.any.accounts_file a@example.org"


def test_a_file_that_is_not_there_is_named_and_the_others_come_along(home: Path) -> None:
    files, lacking = _files(app_of(home, offsite(home) + f'[notify]\nurls_file = "{home}/urls"\n'))

    assert [(file.path, file.mode, file.content) for file in files] == [(f"{home}/password", 0o600, b"the password\n")]
    assert lacking == (f"notify.urls_file: {home}/urls cannot be read: No such file or directory",)


def test_where_no_ssh_key_is_named_those_that_ssh_tries_come_along(home: Path) -> None:
    put(home / ".ssh/id_ed25519", "key")

    files, _lacking = _files(app_of(home, '[mail_server.vps]\nlayout = "maildir"\npath = "/mail"\nssh = "f@host"\n'))

    assert [(file.path, file.keys) for file in files] == [(f"{home}/.ssh/id_ed25519", ("mail_server.vps.ssh",))]


def test_the_credential_of_a_restore_is_what_the_kit_holds(home: Path) -> None:
    put(home / "every.env", "AWS_ACCESS_KEY_ID=everyday\n")
    put(home / "read.env", "AWS_ACCESS_KEY_ID=reading\n")
    more = f'environment_file = "{home}/every.env"\nrestore_environment_file = "{home}/read.env"'

    made = _access(app_of(home, offsite(home, more)), "offsite")

    assert (made.password, dict(made.environment)) == ("the password", {"AWS_ACCESS_KEY_ID": "reading"})


def test_credentials_that_lie_where_restic_looks_for_them_come_along(home: Path) -> None:
    put(home / ".aws/credentials", "[default]\n")

    made = _access(app_of(home, offsite(home)), "offsite")

    assert made.environment == {"AWS_SHARED_CREDENTIALS_FILE": f"{home}/.aws/credentials"}
    assert [(file.path, file.content) for file in made.attached] == [("AWS_SHARED_CREDENTIALS_FILE", b"[default]\n")]


def test_the_login_of_a_rest_server_goes_into_the_address_that_restic_is_given(home: Path) -> None:
    put(home / "rest.env", "RESTIC_REST_USERNAME=bob\nRESTIC_REST_PASSWORD=p@ss\n")
    table = f'[repository.far]\nurl = "rest:https://host/mail/"\npassword_file = "{home}/password"\nenvironment_file = "{home}/rest.env"\n'

    made = _access(app_of(home, table), "far")

    assert (made.url, made.address) == ("rest:https://host/mail/", "rest:https://bob:p%40ss@host/mail/")


def test_a_kit_without_repositories_or_without_their_passwords_is_not_made(home: Path) -> None:
    with pytest.raises(UsageError, match="no repository"):
        make_kit(app_of(home, ""), print)
    everything = app_of(home, offsite(home))
    (home / "password").unlink()
    with pytest.raises(SecretError):
        make_kit(everything, print)


def test_facts_change_with_what_they_tell_of_and_show_none_of_it(home: Path) -> None:
    everything = app_of(home, offsite(home))
    before = facts_of(everything)

    assert facts_of(everything) == before
    assert "the password" not in str(before)
    put(home / "password", "another\n")
    everything.duties.change_repository("offsite", restic_id="ab" * 32)
    assert find_changes(before, facts_of(everything)) == (
        f"{home}/password (repository.offsite.password_file)",
        "the restic repository of offsite",
    )
    assert (home / "state/kit.key").stat().st_mode & 0o777 == 0o600
