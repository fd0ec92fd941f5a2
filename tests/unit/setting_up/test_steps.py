"""What is left to do: only what is missing, each with a command that can be typed as it stands."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from failsafe.model import Mode, Strategy
from failsafe.secondaries.known import provider_of
from failsafe.setting_up.layouts import LAYOUTS, explain_master, probe_command
from failsafe.setting_up.steps import DomainStanding, ServerStanding, Standing, steps_left

PROTON = ("mail.protonmail.ch", "mailsec.protonmail.ch")
SERVER = ServerStanding(
    "vps",
    "maildir",
    over_ssh=True,
    host="mail.example.org",
    shell="root@mail.example.org",
    known_hosts="/etc/failsafe/known_hosts",
)
DOMAIN = DomainStanding("example.org", Mode.OBSERVE, Strategy.ON_DEMAND, provider_of(PROTON), PROTON, fits=True, has_dns=True)
HERE = Standing(
    "/etc/failsafe/failsafe.toml",
    named=False,
    servers=(SERVER,),
    domains=(DOMAIN,),
    password_file="/etc/failsafe/repository.password",
)


def commands(standing: Standing) -> str:
    return "\n".join(step.command for step in steps_left(standing))


def told(standing: Standing) -> str:
    return "\n".join(step.what for step in steps_left(standing))


def test_the_last_step_leads_from_observe_to_auto() -> None:
    last = steps_left(HERE)[-1]
    assert 'mode = "auto"' in last.what
    assert last.command.startswith("sed -i.old")


def test_a_domain_that_acts_by_itself_needs_no_such_step() -> None:
    assert 'mode = "auto"' not in told(replace(HERE, domains=(replace(DOMAIN, mode=Mode.AUTO),)))


def test_the_servers_side_is_installed_as_root_over_the_port_that_it_has() -> None:
    assert "failsafe config server vps | ssh root@mail.example.org sh" in commands(HERE)
    other = replace(SERVER, port=2222, layout="mailcow", shell="me@mail.example.org", look_key="/home/me/my key")
    expected = "failsafe config server vps --look-as me --look-key '/home/me/my key' | ssh -p 2222 me@mail.example.org sudo sh"
    assert expected in commands(replace(HERE, servers=(other,)))


def test_mail_on_this_machine_needs_no_servers_side() -> None:
    here = replace(SERVER, over_ssh=False, host="", shell="")
    assert "config server" not in commands(replace(HERE, servers=(here,)))


def test_a_host_key_that_is_not_pinned_comes_before_everything_that_logs_in() -> None:
    steps = [step.command for step in steps_left(replace(HERE, servers=(replace(SERVER, key_is_pinned=False),)))]
    pins = next(
        number for number, command in enumerate(steps) if command.startswith("ssh-keyscan -t ed25519 mail.example.org >> ")
    )
    assert pins < next(number for number, command in enumerate(steps) if "config server" in command)
    assert "ssh-keyscan" not in commands(HERE)


def test_what_is_empty_is_named_with_how_to_fill_it() -> None:
    here = replace(HERE, empty=(("/etc/failsafe/cf.token", "its token, for [dns.cf]"),))
    assert "(umask 077; cat > /etc/failsafe/cf.token)" in commands(here)
    assert "its token, for [dns.cf]" in told(here)


def test_the_secondarys_own_record_is_named() -> None:
    assert "Add example.org at Proton Mail" in told(HERE)
    assert "TXT record that it asks for (example.org, protonmail-verification=…)" in told(HERE)


@pytest.mark.parametrize(("fits", "expected"), [(True, False), (False, True), (None, False)])
def test_records_that_do_not_fit_the_strategy_are_a_step(fits: bool | None, expected: bool) -> None:
    assert ("adopt-mx example.org --dry-run" in commands(replace(HERE, domains=(replace(DOMAIN, fits=fits),)))) is expected


def test_what_is_there_is_not_asked_for_again() -> None:
    whole = replace(HERE, repositories=2, has_notices=True, has_vantage=True)
    for word in ("offsite", "notify.urls", "vantage"):
        assert word in told(HERE)
        assert word not in told(whole)


def test_a_configuration_elsewhere_is_named_in_every_command() -> None:
    here = replace(HERE, config="/volume1/my files/failsafe.toml", named=True)
    ours = [step.command for step in steps_left(here) if step.command.startswith("failsafe ")]
    assert len(ours) >= 5
    assert all(command.startswith("failsafe --config '/volume1/my files/failsafe.toml' ") for command in ours)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_says_how_a_master_user_is_made(layout: str) -> None:
    assert len(explain_master(layout)) == 2


@pytest.mark.parametrize("layout", ["docker-mailserver", "mailu"])
def test_the_probes_password_goes_over_standard_input(layout: str, tmp_path: Path) -> None:
    """With stand-ins for ssh and docker that note their words."""
    words = tmp_path / "words"
    for name, script in (("ssh", 'shift; exec sh -c "$*"'), ("docker", f'echo "$@" >> {words}; cat > {tmp_path}/came')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    secret = tmp_path / "probe.password"
    secret.write_text("very-secret\n")
    _what, command = probe_command(
        layout, "mailserver" if layout != "mailu" else "mailu-imap-1", "ssh root@mail.example.org ", "p@example.org", str(secret)
    )
    assert "very-secret" not in command
    subprocess.run(["sh", "-c", command], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=True)
    expected = (
        "exec -i mailserver setup email add p@example.org"
        if layout != "mailu"
        else "exec mailu-admin-1 flask mailu user p example.org very-secret"
    )
    assert words.read_text().strip() == expected
    if layout == "docker-mailserver":
        assert (tmp_path / "came").read_text() == "very-secret\nvery-secret\n"
