"""What is printed for a mail server: the list, the line, the steps, the scripts."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import pytest

from failsafe.backup.layouts import Container, Mount, Sight, judge_source
from failsafe.backup.serverside import program
from failsafe.config.servers import MailServer
from failsafe.config.wanted import whole_wanted_of
from failsafe.errors import UsageError
from failsafe.server_install import authorized_keys_line, install_script, remove_script, settings_of, steps

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICFJAPy0gJSZbQ9EbNJ4Rsdk9ph1Nhx9dIZnRABVyFhy anna@laptop"


def server(**values: Any) -> MailServer:
    return MailServer.model_validate({"layout": "maildir", "path": "/var/vmail", "ssh": "failsafe@mail.example.org", **values})


def mailcow() -> MailServer:
    return server(layout="mailcow", path=None)


def test_the_list_names_what_the_configuration_names_and_nothing_else() -> None:
    listed = settings_of(server(extra_paths=["/etc/postfix"], commands={"packages.txt": "dpkg -l"}))

    assert listed == {
        "root": "/var/vmail",
        "naming": "domain/user",
        "files": [{"path": "/etc/postfix", "leave_out": []}],
        "commands": {"packages.txt": "dpkg -l"},
        "command_seconds": 3600,
    }


def test_fail2ban_is_asked_in_the_container_that_the_list_names() -> None:
    assert settings_of(server(layout="docker-mailserver"))["bans"] == "mailserver"


def test_the_list_of_a_layout_in_containers_takes_its_places_from_what_was_found_there() -> None:
    mounts = (
        Mount("volume", "vmail", "/var/lib/docker/volumes/vmail/_data", "/var/vmail"),
        Mount("volume", "crypt", "/var/lib/docker/volumes/crypt/_data", "/mail_crypt"),
    )
    dovecot = Container("cow-dovecot-1", "running", project="cow", service="dovecot-mailcow", mounts=mounts)
    mysql = Container("cow-mysql-1", "running", project="cow", service="mysql-mailcow")

    listed = settings_of(mailcow(), judge_source(whole_wanted_of(mailcow()), Sight((dovecot, mysql))))

    assert listed["root"] == "/var/lib/docker/volumes/vmail/_data"
    assert {"path": "/var/lib/docker/volumes/crypt/_data", "leave_out": []} in listed["files"]
    assert listed["stock"]["mailcow-database.sql"] == "cow-mysql-1"
    assert "dovecot-mailcow" in listed["look"]["services"]


def test_where_only_containers_tell_where_mail_lies_nothing_is_guessed() -> None:
    with pytest.raises(UsageError, match="only known once the server was looked at"):
        settings_of(mailcow())


def test_mail_that_doveadm_reads_has_no_forced_command_and_that_is_said() -> None:
    with pytest.raises(UsageError, match="has no forced command"):
        settings_of(server(layout="mailcow", path=None, read="doveadm"))


def test_the_line_forbids_all_and_starts_one_program_whatever_the_key_is_called() -> None:
    blob = KEY.split()[1]

    assert authorized_keys_line(KEY) == f'restrict,command="/opt/failsafe-server/serve" ssh-ed25519 {blob} failsafe'


@pytest.mark.parametrize(
    "text",
    ["", "ssh-ed25519", 'command="id" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA', "ssh-ed25519 AAAA'$(id)'AAAAAAAAAAAAA", "-----BEGIN OPENSSH PRIVATE KEY-----"],
)  # fmt: skip
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no public key"):
        authorized_keys_line(text)


def test_the_steps_are_commands_to_type_for_this_very_server() -> None:
    install, see = steps(server(ssh="failsafe@mail.example.org:2222"), KEY, name="vps", failsafe="failsafe --config f.toml")

    assert install.command == "failsafe --config f.toml config server vps | ssh -p 2222 root@mail.example.org sh"
    assert see.command == "failsafe --config f.toml config check --connect"


def test_mail_on_this_machine_needs_no_script() -> None:
    with pytest.raises(UsageError, match="lies on this machine"):
        install_script(server(ssh=None), KEY)


def test_the_script_carries_the_program_and_the_list_as_they_are() -> None:
    table = server(extra_paths=["/etc/it's here", "/etc/$(reboot)", "/etc/@PROGRAM_TEXT@"])

    script = install_script(table, KEY, name="vps")

    assert program().split("\n", 1)[1].rstrip("\n") in script
    assert json.dumps(settings_of(table), indent=1) in script
    assert "@" not in script.partition("list_text() {")[0].replace("root@", "").replace("$@", "").replace("anna@", "")


@pytest.mark.parametrize("shell", ["dash", "bash"])
@pytest.mark.parametrize("print_script", [install_script, remove_script])
def test_a_shell_understands_the_scripts_whatever_the_server_is_called(shell: str, print_script: Any) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = print_script(server(path='/var/v\'mail "x" $(id)'), KEY, name="a\nrm -rf /")

    done = subprocess.run([shell, "-n"], input=script, text=True, capture_output=True, timeout=20, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert "\nrm -rf /" not in script


def test_a_script_that_was_cut_off_on_its_way_does_nothing() -> None:
    script = install_script(server(), KEY)

    assert script.splitlines()[-1] == "main"
    assert [line for line in script.splitlines() if line == "main"] == ["main"]


@pytest.mark.parametrize(
    ("values", "runner"),
    [
        ({}, "''"),
        ({"extra_paths": ["/etc/postfix"]}, "root"),
        ({"commands": {"a": "id"}}, "root"),
        ({"ssh": "root@mail.example.org"}, "root"),
        ({"layout": "docker-mailserver"}, "root"),
    ],
)
def test_the_program_is_root_only_where_more_than_mail_is_read(values: dict[str, Any], runner: str) -> None:
    assert f"\nrunner={runner} #" in install_script(server(**values), KEY)
