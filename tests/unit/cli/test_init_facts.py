"""What `failsafe init` finds out by itself: DNS through a resolver, room on this machine, host keys in files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from failsafe.cli.init_facts import World
from failsafe.cli.init_standing import fits
from failsafe.model import Strategy
from failsafe.secondaries.known import known_providers
from failsafe.setting_up.sight import DomainSight, SecondarySight
from tests.fakes.cloudflare_server import TOKEN, ZONE_ID, CloudflareServer
from tests.fakes.resolver import resolving

PROTON = next(each for each in known_providers() if each.key == "proton")
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6n1vq0JYzBqVQ5b5WQv1h9cXw0m3T5nq3m1B2m5F3a"
ZONE = {
    ("example.org", "MX"): ["20 b.example.org.", "10 mail.example.org."],
    ("example.org", "NS"): ["ns1.example.net."],
    ("example.org", "TXT"): ['"v=spf1 include:_spf.protonmail.ch ~all"', '"protonmail-verification=abc"'],
    ("mail.protonmail.ch", "A"): ["192.0.2.1"],
    ("mail.lists.example.org", "MX"): ["10 mail.example.org."],
    ("null.example.org", "MX"): ["0 ."],
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with resolving(ZONE) as address:
        yield World(tmp_path / "known_hosts", address)


def test_records_come_with_the_most_preferred_first_and_a_null_mx_is_none(world: World) -> None:
    assert world.domain("example.org").mx == ((10, "mail.example.org"), (20, "b.example.org"))
    assert world.domain("null.example.org").mx == ()


def test_a_domain_below_its_zone_has_the_zones_name_servers(world: World) -> None:
    assert world.domain("mail.lists.example.org").name_servers == ("ns1.example.net",)


def test_the_secondarys_records_are_looked_for(world: World) -> None:
    seen = world.domain("example.org")
    found = world.secondary(PROTON, ("mail.protonmail.ch", "mailsec.protonmail.ch"), seen)
    assert found == SecondarySight(("mailsec.protonmail.ch",), verified=True, in_spf=True)
    assert world.secondary(PROTON, (), world.domain("null.example.org")).verified is False


def test_a_resolver_that_does_not_answer_is_said_so(tmp_path: Path) -> None:
    assert "does not answer" in World(tmp_path / "known_hosts", "127.0.0.1:9").domain("example.org").error


def test_room_is_told_of_folders_that_are_not_there_yet(world: World, tmp_path: Path) -> None:
    disk = world.disk(str(tmp_path / "not" / "there"))
    assert 0 < disk.free <= disk.total
    assert tmp_path.is_relative_to(disk.place)
    (tmp_path / "file").touch()
    assert world.fault_of(f"{tmp_path}/file/below") == f"{tmp_path}/file is no folder"
    assert world.fault_of(f"{tmp_path}/fresh") == ""


def test_pinned_keys_are_known_by_host_and_port(world: World, tmp_path: Path) -> None:
    (tmp_path / "known_hosts").write_text(f"[mail.example.org]:2222 {KEY}\n")
    (found,) = world.pinned("[mail.example.org]:2222")
    assert found.startswith("SHA256:")
    assert world.pinned("mail.example.org") == ()


def test_without_a_token_nobody_is_asked_for_the_zone(world: World, tmp_path: Path) -> None:
    assert world.zone_id(str(tmp_path / "token"), "example.org") == ""
    (tmp_path / "token").touch(mode=0o600)
    assert world.zone_id(str(tmp_path / "token"), "example.org") == ""


@pytest.mark.parametrize(
    ("strategy", "mx", "expected"),
    [
        (Strategy.ON_DEMAND, ((10, "p"),), True),
        (Strategy.ON_DEMAND, ((10, "p"), (20, "s")), False),
        (Strategy.SWAP, ((10, "p"), (20, "s")), True),
        (Strategy.SWAP, ((20, "p"), (10, "s")), False),
        (Strategy.SWAP, ((10, "p"),), False),
        (Strategy.REPLACE, ((10, "p"), (15, "stranger")), False),
    ],
)
def test_whether_records_are_the_strategys_peace_layout(
    strategy: Strategy, mx: tuple[tuple[int, str], ...], expected: bool
) -> None:
    assert fits(strategy, ("p",), ("s",), DomainSight("example.org", mx)) is expected


def test_the_zones_id_is_asked_of_cloudflare_with_the_token(tmp_path: Path) -> None:
    (tmp_path / "token").touch(mode=0o600)
    (tmp_path / "token").write_text(TOKEN)
    with CloudflareServer.running({}) as server:
        world = World(tmp_path / "known_hosts", cloudflare=server.url)
        assert world.zone_id(str(tmp_path / "token"), "example.org") == ZONE_ID
        assert world.zone_id(str(tmp_path / "token"), "lists.example.org") == ZONE_ID
        assert world.zone_id(str(tmp_path / "token"), "example.com") == ""
