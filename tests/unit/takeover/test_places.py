"""Where a kit's files go, and the configuration that names them there."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from failsafe.backup.kit import Kit, KitFile, KitRepository, KitServer, KitSsh
from failsafe.config.load import parse_config
from failsafe.errors import Refused, UsageError
from failsafe.takeover.places import Placed, Placing, plan_places
from failsafe.takeover.writing import demand_no_conflict, write_files

CONFIG = """
[mail_server.vps]  # the one
layout = "imap"
imap = { host = "mail.example.org", port = 993 }
accounts_file = '/etc/failsafe/accounts'
[mail_server.own]
layout = "maildir"
path = "/srv/mail"
ssh = "failsafe@mail.example.org"
[repository.nas]
url = "/volume1/mail"
password_file = "/etc/failsafe/password"
[repository.far]
url = "sftp:bob@host:/srv/mail"
password_file = "~/far/password"
environment_file = "/etc/failsafe/far.env"
"""
FILES = (
    KitFile("/etc/failsafe/accounts", 0o640, b"a@example.org:/etc/failsafe/a.password\n", ("mail_server.vps.accounts_file",)),
    KitFile("/etc/failsafe/a.password", 0o600, b"a", ("mail_server.vps.accounts_file a@example.org",)),
    KitFile("/etc/failsafe/password", 0o400, b"nas", ("repository.nas.password_file",)),
    KitFile("/root/far/password", 0o600, b"far", ("repository.far.password_file",)),
    KitFile(
        "/etc/failsafe/far.env", 0o600, b"RESTIC_CACERT=/etc/ca.pem\nX=/etc/ca.pem.old\n", ("repository.far.environment_file",)
    ),
    KitFile("/root/.ssh/id_ed25519", 0o600, b"a key", ("mail_server.own.ssh",)),
)
KIT = Kit(
    controller="nas",
    made_at=datetime(2026, 11, 29, 17, 5, tzinfo=UTC),
    failsafe="0.1.0",
    restic="0.18.0",
    archive_format=1,
    config=KitFile("/etc/failsafe/failsafe.toml", 0o644, CONFIG.encode()),
    repositories=(
        KitRepository("nas", "/volume1/mail", "ab" * 32, "nas", "/volume1/mail"),
        KitRepository(
            "far", "sftp:bob@host:/srv/mail", "cd" * 32, "far", "sftp:bob@host:/srv/mail", {"RESTIC_CACERT": "/etc/ca.pem"},
            (KitFile("RESTIC_CACERT", 0o644, b"a certificate"),), KitSsh("bob", "host", 22, (KitFile("ssh_key", 0o600, b"far key"),)),
        ),
    ),
    servers=(KitServer("own", "failsafe-own", "maildir", "failsafe@mail.example.org:22"),),
    files=FILES,
)  # fmt: skip


def placed(placing: Placing) -> dict[str, bytes]:
    return {str(file.path): file.content for file in placing.files}


def test_without_a_wish_everything_goes_where_it_lay() -> None:
    placing = plan_places(KIT, None, None)

    assert placing.config.path == Path("/etc/failsafe/failsafe.toml")
    assert placing.moved == ()
    assert placing.state_dir == Path("/var/lib/failsafe")
    found = placed(placing)
    assert {file.path: file.content for file in FILES}.items() <= found.items()
    assert found["/etc/ca.pem"] == b"a certificate"
    assert {oct(file.mode) for file in placing.all} == {"0o600", "0o400"}


def test_a_key_that_lay_in_the_lost_users_own_ssh_folder_is_named_in_the_configuration() -> None:
    placing = plan_places(KIT, None, None)

    key = parse_config(placing.config.content, "x").repository["far"].ssh_key

    assert placed(placing)[str(key)] == b"far key"


@pytest.mark.parametrize(("config", "prefix"), [(None, Path("/volume1/fs")), (Path("/volume1/fs/failsafe.toml"), None)])
def test_below_a_prefix_every_path_is_a_new_one_and_named_so(config: Path | None, prefix: Path | None) -> None:
    placing = plan_places(KIT, config, prefix)

    assert placing.config.path == Path("/volume1/fs/failsafe.toml")
    assert placing.state_dir == Path("/volume1/fs/state")
    assert all(path.startswith("/volume1/fs/") for path in placed(placing))
    tables = parse_config(placing.config.content, "x")
    far, found = tables.repository["far"], placed(placing)
    assert found[str(far.password_file)] == b"far"
    assert found[str(tables.repository["nas"].password_file)] == b"nas"
    assert far.password_file != tables.repository["nas"].password_file
    assert found[str(tables.mail_server["own"].ssh_key)] == b"a key"
    assert found[str(far.ssh_key)] == b"far key"
    assert found[str(tables.mail_server["vps"].accounts_file)] == b"a@example.org:/volume1/fs/a.password\n"
    assert found[str(far.environment_file)] == b"RESTIC_CACERT=/volume1/fs/ca.pem\nX=/etc/ca.pem.old\n"
    assert tables.mail_server["own"].path == Path("/srv/mail")
    assert placing.lacking == ()


def test_what_the_kit_lacks_is_named() -> None:
    without = replace(KIT, files=tuple(file for file in FILES if file.path != "/etc/failsafe/password"))

    assert plan_places(without, None, None).lacking == (("repository.nas.password_file", "/etc/failsafe/password"),)


def test_a_path_that_cannot_be_changed_is_said_so_before_anything_is_written() -> None:
    odd = CONFIG.replace('"/etc/failsafe/password"', '"/etc/failsafe/pass\\u0077ord"')
    with pytest.raises(UsageError, match=r"repository\.nas\.password_file"):
        plan_places(replace(KIT, config=replace(KIT.config, content=odd.encode())), None, Path("/volume1/fs"))


# -- writing


def files(folder: Path) -> tuple[Placed, ...]:
    return tuple(Placed(folder / "deep" / name, 0o600, name.encode()) for name in ("a", "b"))


def test_files_are_written_whole_and_closed_to_others(tmp_path: Path) -> None:
    written = write_files(files(tmp_path))

    assert [path.read_bytes() for path in written] == [b"a", b"b"]
    assert [path.stat().st_mode & 0o777 for path in written] == [0o600, 0o600]
    assert (tmp_path / "deep").stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["a", "b"]


def test_what_is_there_already_the_same_is_left_and_what_differs_is_refused_all_at_once(tmp_path: Path) -> None:
    one, other = files(tmp_path)
    assert write_files([one]) == [one.path]
    assert write_files([one]) == []
    one.path.write_bytes(b"another")
    other.path.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(Refused) as caught:
        demand_no_conflict([one, other])

    assert [str(one.path) in guard.text or str(other.path) in guard.text for guard in caught.value.guards] == [True, True]
    with pytest.raises(Refused):
        write_files([one])
    assert one.path.read_bytes() == b"another"
    assert not (tmp_path / "elsewhere").exists()
