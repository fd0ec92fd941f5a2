"""What `ssh -G` says, read as it is printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from failsafe.adapters.ssh_client import parse_settings
from failsafe.errors import SshError


def test_user_host_port_and_the_files_that_are_there_are_taken(tmp_path: Path) -> None:
    (tmp_path / "id").touch()
    (tmp_path / "known").touch()
    text = (
        f"user bob\nhostname nas.example.net\nport 2222\nidentityfile {tmp_path}/id\nidentityfile {tmp_path}/gone\n"
        f"userknownhostsfile {tmp_path}/known {tmp_path}/known2\nproxyjump none\n"
    )

    found = parse_settings(text)

    assert (found.user, found.host, found.port, found.through) == ("bob", "nas.example.net", 2222, "")
    assert (found.identities, found.known_hosts) == ((tmp_path / "id",), (tmp_path / "known",))


@pytest.mark.parametrize("line", ["proxyjump bastion", "proxycommand nc %h %p"])
def test_a_way_through_another_host_is_told(line: str) -> None:
    assert parse_settings(f"user bob\nhostname h\nport 22\n{line}\n").through == line.partition(" ")[2]


def test_an_answer_that_makes_no_sense_is_an_error() -> None:
    with pytest.raises(SshError):
        parse_settings("usage: ssh …")
