"""The configuration as it is written: it passes `config check` whatever was chosen, with the files that are made beside it."""

from __future__ import annotations

import re
import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from failsafe.cli.init_write import make_missing
from failsafe.config.files import file_faults
from failsafe.config.load import parse_config
from failsafe.model import Mode, Strategy
from failsafe.setting_up.choice import Choice, DnsChoice, DomainChoice, HomecomingChoice, ServerChoice
from failsafe.setting_up.files import secret_files
from failsafe.setting_up.steps import auto_command
from failsafe.setting_up.text import configuration, domain_table

SSH = "failsafe@mail.example.org:22"
IMAP = ("mail.example.org", 993)
SERVERS = {
    "docker-mailserver by folder": ServerChoice("mail", "docker-mailserver", "/srv/dms", ssh=SSH, imap=IMAP),
    "docker-mailserver by container": ServerChoice("mail", "docker-mailserver", container="mailserver", ssh=SSH, imap=IMAP),
    "mailcow where it usually lies": ServerChoice("cow", "mailcow", ssh=SSH, imap=IMAP),
    "mailcow elsewhere": ServerChoice("cow", "mailcow", "/srv/cow", ssh=SSH, imap=IMAP),
    "mailu by folder": ServerChoice("mail", "mailu", "/mailu", ssh=SSH, imap=IMAP),
    "mailu by container": ServerChoice("mail", "mailu", container="mailu-imap-1", ssh=SSH),
    "maildir over SSH": ServerChoice("mail", "maildir", "/var/vmail", ssh=SSH, imap=IMAP),
    "maildir on this machine": ServerChoice("mail", "maildir", "/var/vmail"),
    "imap with a master user": ServerChoice("mail", "imap", imap=IMAP, mailboxes=("a@example.org", "b@example.org")),
}
DNS = {
    "cloudflare": DnsChoice("cloudflare", "cloudflare", token_file="{folder}/cloudflare.token", zone_id="0" * 32),
    "route53": DnsChoice("route53", "route53", credentials_file="{folder}/route53.credentials"),
    "rfc2136": DnsChoice(
        "rfc2136", "rfc2136", server="ns1.example.org:53", key_name="failsafe.", key_file="{folder}/rfc2136.key"
    ),
}


def choice(folder: Path, server: ServerChoice, dns: DnsChoice | None = None, **changed: object) -> Choice:
    domain = DomainChoice(
        "example.org", server.name, ("mail.example.org",), ("mx.away.example",), "another", dns=dns.name if dns else ""
    )
    made = Choice(
        str(folder), "nas", "Europe/Warsaw", server, domain, str(folder / "state"), str(folder / "repository"), dns=dns,
        probe="failsafe-probe@example.org",
    )  # fmt: skip
    return replace(made, **changed)  # type: ignore[arg-type]


def written(chosen: Choice) -> tuple[list[tuple[str, str]], str]:
    """(faults of the files, text), once all files are made."""
    make_missing(secret_files(chosen), "failsafe nas")
    text = configuration(chosen)
    return file_faults(parse_config(text.encode(), "failsafe.toml"))[0], text


@pytest.mark.parametrize("name", SERVERS)
def test_each_layout_passes_the_check_with_the_files_that_are_made(name: str, tmp_path: Path) -> None:
    faults, text = written(choice(tmp_path, SERVERS[name]))
    assert faults == []
    config = parse_config(text.encode(), "failsafe.toml")
    assert config.mail_server[SERVERS[name].name].layout == SERVERS[name].layout
    assert config.domain["example.org"].mode is Mode.OBSERVE


@pytest.mark.parametrize("name", DNS)
def test_each_dns_provider_passes_the_check_with_the_files_that_are_made(name: str, tmp_path: Path) -> None:
    dns = replace(
        DNS[name],
        **{
            key: value.format(folder=tmp_path)
            for key in ("token_file", "key_file", "credentials_file")
            if (value := getattr(DNS[name], key))
        },
    )
    faults, text = written(choice(tmp_path, SERVERS["maildir over SSH"], dns))
    assert faults == []
    assert parse_config(text.encode(), "x").domain["example.org"].dns == name


@pytest.mark.parametrize(
    "url", ["s3:https://s3.example.net/mail", "rest:https://host/", "sftp:me@host:/mail", "/other/disk", "b2:bucket:mail"]
)
def test_a_second_repository_passes_the_check_with_the_files_that_are_made(url: str, tmp_path: Path) -> None:
    faults, text = written(choice(tmp_path, SERVERS["maildir over SSH"], offsite=url))
    assert faults == []
    assert parse_config(text.encode(), "x").repository["offsite"].url == url


def test_swap_stands_with_its_homecoming(tmp_path: Path) -> None:
    chosen = choice(tmp_path, SERVERS["maildir over SSH"])
    home = HomecomingChoice("imap.away.example", 993, "you@away.example", f"{tmp_path}/secondary.password")
    domain = replace(chosen.domain, strategy=Strategy.SWAP, homecoming=home)
    faults, text = written(replace(chosen, domain=domain))
    assert faults == []
    assert parse_config(text.encode(), "x").domain["example.org"].homecoming is not None


def test_all_that_is_secret_is_closed_to_others_and_no_two_runs_make_the_same(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        dns = replace(DNS["rfc2136"], key_file=f"{tmp_path}/{folder}/rfc2136.key")
        written(choice(tmp_path / folder, SERVERS["imap with a master user"], dns, offsite="sftp:me@host:/mail"))
    names = {path.name for path in (tmp_path / "one").iterdir()}
    assert names == {
        "repository.password", "master.password", "probe.password", "rfc2136.key", "repository.offsite.ed25519", "repository.offsite.ed25519.pub"
    }  # fmt: skip
    for name in names - {"repository.offsite.ed25519.pub"}:
        path = tmp_path / "one" / name
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, name
        assert path.read_bytes() != (tmp_path / "two" / name).read_bytes(), name


def test_what_is_there_is_kept_and_half_a_key_is_made_anew(tmp_path: Path) -> None:
    chosen = choice(tmp_path, SERVERS["maildir over SSH"])
    (tmp_path / "repository.password").write_text("mine\n")
    (tmp_path / "id_ed25519.pub").write_text("of a run that was stopped\n")
    made, kept = make_missing(secret_files(chosen), "failsafe nas")
    assert kept == [tmp_path / "repository.password"]
    assert (tmp_path / "repository.password").read_text() == "mine\n"
    assert {path.name for path in made} == {"id_ed25519", "id_ed25519.pub", "probe.password"}
    assert (tmp_path / "id_ed25519.pub").read_text().startswith("ssh-ed25519 AAAA")
    before = (tmp_path / "id_ed25519").read_bytes()
    assert make_missing(secret_files(chosen), "failsafe nas")[0] == []
    assert (tmp_path / "id_ed25519").read_bytes() == before


def test_every_line_that_is_commented_out_can_be_taken_in_as_it_stands(tmp_path: Path) -> None:
    text = configuration(choice(tmp_path, SERVERS["maildir over SSH"]))
    lines = [line.removeprefix("# ") if _is_setting(line) else line for line in text.splitlines()]
    data = "\n".join(line for line in lines if not line.startswith("separator = ")).encode()
    config = parse_config(data, "x")
    assert set(config.repository) == {"nas", "offsite"}
    assert config.domain["example.org"].homecoming is not None
    assert config.domain["example.org"].dns == "cloudflare"
    assert config.canary
    assert config.vantage
    assert config.notify.urls_file is not None


def _is_setting(line: str) -> bool:
    return re.match(r"# (\[[a-z]|[a-z_]+ = )", line) is not None


def test_a_domain_without_a_secondary_is_a_comment_that_can_be_taken_in(tmp_path: Path) -> None:
    chosen = choice(tmp_path, SERVERS["maildir over SSH"])
    bare = replace(chosen.domain, secondary=(), secondary_name="")
    text = configuration(replace(chosen, domain=bare))
    assert not parse_config(text.encode(), "x").domain
    taken = "\n".join(
        line.removeprefix("# ") if _is_setting(line) and "homecoming" not in line else line
        for line in domain_table(bare).splitlines()[:9]
    )
    assert "example.org" in parse_config((text + taken.replace("dns = ", "# dns = ")).encode(), "x").domain


def test_the_last_step_changes_observe_to_auto_in_that_domain_alone(tmp_path: Path) -> None:
    chosen = choice(tmp_path, SERVERS["maildir over SSH"])
    other = domain_table(replace(chosen.domain, domain="example.net"))
    file = tmp_path / "failsafe.toml"
    file.write_text(f"{configuration(chosen)}\n{other}")
    subprocess.run(["sh", "-c", auto_command(str(file), "example.org")], check=True)
    modes = {name: table.mode for name, table in parse_config(file.read_bytes(), "x").domain.items()}
    assert modes == {"example.org": Mode.AUTO, "example.net": Mode.OBSERVE}
