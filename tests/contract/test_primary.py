"""A primary that came back is proved to be ours, with its mail, whatever its layout; through the real server's side."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from failsafe.app import App
from failsafe.backups import back_up
from failsafe.config.load import parse_config
from failsafe.failover.facts import PrimaryCheck
from failsafe.primary import _over_ssh, prove_primary
from tests.contract.conftest import Sshd
from tests.contract.mailstore import Silent
from tests.contract.stacks import ANNA, BOB, DockerMailserver, Mailcow, Mailu
from tests.ports import free_port

LAYOUTS = {"docker-mailserver": DockerMailserver, "mailcow": Mailcow, "mailu": Mailu}
OF_THIS_MACHINE = {"disk", "queue"}


@dataclass
class World:
    """A stack of one layout, and a controller that has its mail."""

    stack: DockerMailserver | Mailcow | Mailu
    app: App

    def prove(self) -> dict[str, PrimaryCheck]:
        return {check.code: check for check in prove_primary(self.app, "example.org", self.app.clock.now()).checks}

    def faults(self) -> dict[str, str]:
        """Without the look at its certificate, which waits for a server that is not there."""
        found = _over_ssh(self.app, "vps")
        return {check.code: check.text for check in found if not check.ok and check.code not in OF_THIS_MACHINE}


def configure(folder: Path, server: str) -> App:
    (folder / "state").mkdir()
    (folder / "failsafe.toml").write_text(
        f'[controller]\nid = "nas"\nstate_dir = "{folder}/state"\n[mail_server.vps]\n{server}\n'
        f'[domain."example.org"]\nserver = "vps"\nprimary = ["mail.example.org"]\nsecondary = ["mx.example.net"]\nstrategy = "on-demand"\n'
        f'[probe.vps]\nsmtp = ["127.0.0.1:{free_port()}"]\n'
    )
    return App(parse_config((folder / "failsafe.toml").read_bytes(), "failsafe.toml"), folder / "failsafe.toml")


@pytest.fixture(params=LAYOUTS)
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    stack = LAYOUTS[request.param](tmp_path)
    stack.build()
    if isinstance(stack, Mailcow):
        monkeypatch.setenv("PATH", f"{stack.engine().install()}:/usr/sbin:/usr/bin:/sbin:/bin")
    app = configure(tmp_path, f'layout = "{request.param}"\npath = "{stack.path}"')
    stack.calm()
    back_up(app, "vps", Silent(), [].append, by_hand=True)
    return World(stack, app)


def test_the_server_we_know_with_its_mail_is_proved(world: World) -> None:
    found = world.prove()
    assert {code for code, check in found.items() if not check.ok} - OF_THIS_MACHINE == {"tls"}, "nothing answers there"
    assert {"tls", "host-key", "login", "accounts", "store", "disk"} <= set(found)


def test_a_mailbox_that_is_not_there_is_named(world: World) -> None:
    world.stack.put(BOB, "", "b.host:2,S")
    shutil.rmtree(world.stack.folder(ANNA))
    faults = world.faults()
    assert list(faults) == ["accounts"]
    assert ANNA in faults["accounts"]


def emptied(folder: Path) -> None:
    """As by a mail server that was installed anew: every folder is there, no message is."""
    for path in folder.rglob("*"):
        if path.parent.name in ("cur", "new"):
            path.unlink()


def test_a_store_that_was_made_anew_is_no_proof(world: World) -> None:
    emptied(world.stack.folder(ANNA))
    faults = world.faults()
    assert list(faults) == ["store"]
    assert ANNA in faults["store"]


def test_a_store_without_any_of_its_mailboxes_is_none_either(world: World) -> None:
    for mailbox in (ANNA, BOB):
        shutil.rmtree(world.stack.folder(mailbox))
    assert {"accounts", "store"} <= set(world.faults())


def test_a_mailbox_whose_inbox_is_empty_and_whose_folders_are_not_is_no_suspect(world: World) -> None:
    for path in (world.stack.folder(ANNA) / "cur").iterdir():
        path.unlink()
    world.stack.put(ANNA, ".Kept", "k.host:2,S")
    assert world.faults() == {}


def test_a_server_of_which_there_is_no_backup_is_proved_by_mail_that_it_holds(tmp_path: Path) -> None:
    stack = DockerMailserver(tmp_path)
    stack.build()
    world = World(stack, configure(tmp_path, f'layout = "docker-mailserver"\npath = "{stack.path}"'))
    for mailbox in (ANNA, BOB):
        emptied(stack.folder(mailbox))
    assert world.faults() == {}, "nothing was ever backed up"
    (world.app.state_dir / "staging" / "old-vps" / "generations").mkdir(parents=True)
    faults = world.faults()
    assert list(faults) == ["accounts"], "as of a new server that was given a new name in the configuration"
    assert "old-vps" in faults["accounts"]
    stack.put(ANNA, "", "a.host:2,S")
    assert world.faults() == {}


def test_a_server_with_another_host_key_is_not_ours(tmp_path: Path, sshd: Sshd) -> None:
    stack = DockerMailserver(tmp_path)
    stack.build()
    stack.put(BOB, "", "b.host:2,")
    app = configure(
        tmp_path,
        f'layout = "docker-mailserver"\npath = "{stack.path}"\nssh = "{sshd.address}"\nssh_key = "{sshd.key}"\nknown_hosts = "{sshd.known_hosts}"',
    )
    stack.calm()
    back_up(app, "vps", Silent(), [].append, by_hand=True)
    world = World(stack, app)
    assert world.prove()["accounts"].text == "all 2 mailboxes are there"
    known = sshd.known_hosts.read_text()
    other = "AAAAC3NzaC1lZDI1NTE5AAAAIGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE"
    try:
        sshd.known_hosts.write_text(" ".join([*known.split()[:1], "ssh-ed25519", other]) + "\n")
        assert list(world.faults()) == ["host-key"]
    finally:
        sshd.known_hosts.write_text(known)
