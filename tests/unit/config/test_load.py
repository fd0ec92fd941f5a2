"""Configuration: what is taken, what is refused, and how it is said."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from failsafe.config.load import load_config, parse_config
from failsafe.errors import ConfigError
from failsafe.model import Mode, Strategy

EXAMPLE = Path(__file__).parents[3] / "deploy" / "failsafe.toml.example"

DOMAIN = b"""
[mail_server.vps]
layout = "maildir"
path = "/var/vmail"
[domain."example.org"]
server = "vps"
primary = ["mail.example.org"]
secondary = ["mx.example.net"]
strategy = "on-demand"
"""


def faults_of(text: bytes) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "test.toml")
    return dict(caught.value.faults)


def test_the_example_configuration_is_valid() -> None:
    config = load_config(EXAMPLE)

    assert config.domain["example.org"].strategy is Strategy.ON_DEMAND


def test_a_domain_begins_in_observe_until_a_person_says_otherwise() -> None:
    assert parse_config(DOMAIN, "test.toml").domain["example.org"].mode is Mode.OBSERVE


def test_every_fault_is_told_at_once() -> None:
    faults = faults_of(b'[controller]\nid = "a b"\n[repository.r]\nurl = "relative"\npassword_file = "also-relative"\n')

    assert set(faults) == {"controller.id", "repository.r.url", "repository.r.password_file"}


def test_an_unknown_key_names_the_nearest_known_one() -> None:
    assert faults_of(b'[controller]\nstate = "/x"\n') == {"controller.state": "unknown key; did you mean state_dir?"}


def test_an_unknown_key_inside_a_named_table_names_the_nearest_known_one() -> None:
    assert "did you mean down_for?" in faults_of(DOMAIN + b'down_fr = "5m"\n')['domain."example.org".down_fr']


def test_a_bare_number_is_no_duration() -> None:
    assert 'such as "30s"' in faults_of(DOMAIN + b"down_for = 15\n")['domain."example.org".down_for']


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("2h", 7200), ("1h30m", 5400), ("7d", 604800), ("0.5s", 0.5)]
)
def test_durations_carry_their_unit(text: str, seconds: float) -> None:
    config = parse_config(DOMAIN + f'down_for = "{text}"\n'.encode(), "test.toml")

    assert config.domain["example.org"].down_for == timedelta(seconds=seconds)


def test_months_are_refused_in_keep_within_because_restic_reads_m_as_months() -> None:
    faults = faults_of(b'[repository.r]\nurl = "/r"\npassword_file = "/p"\nkeep = { within = "6m" }\n')

    assert "h, d, w or y" in faults["repository.r.keep.within"]


def test_swap_without_a_homecoming_is_refused() -> None:
    assert "homecoming" in faults_of(DOMAIN.replace(b"on-demand", b"swap"))['domain."example.org"']


def test_an_address_cannot_be_an_exchange() -> None:
    faults = faults_of(DOMAIN.replace(b'["mx.example.net"]', b'["192.0.2.1"]'))

    assert "IP address" in faults['domain."example.org".secondary[0]']


def test_an_exchange_cannot_stand_on_both_sides() -> None:
    faults = faults_of(DOMAIN.replace(b"mx.example.net", b"mail.example.org"))

    assert "both primary and secondary" in faults['domain."example.org"']


def test_a_domain_that_names_a_server_which_is_not_there_is_refused() -> None:
    assert (
        "no [mail_server.other]"
        in faults_of(DOMAIN.replace(b'server = "vps"', b'server = "other"'))['domain."example.org".server']
    )


def test_amazons_credentials_are_looked_for_where_amazon_keeps_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    text = DOMAIN + b'dns = "aws"\n[dns.aws]\nprovider = "route53"\n'

    assert parse_config(text, "test.toml").dns["aws"].credentials_file == Path("/home/somebody/.aws/credentials")


def test_domain_defaults_reach_every_domain_and_are_overruled_by_its_own_keys() -> None:
    text = b'[domain_defaults]\ndown_for = "7m"\nup_for = "1h"\n' + DOMAIN + b'up_for = "2h"\n'

    domain = parse_config(text, "test.toml").domain["example.org"]

    assert (domain.down_for, domain.up_for) == (timedelta(minutes=7), timedelta(hours=2))


def test_a_password_in_a_database_url_is_refused_without_showing_it() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(b'[controller]\ndatabase = "postgresql+psycopg://user:hunter2@db/failsafe"\n', "test.toml")

    assert "database_password_file" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ('[controller]\ndatabase = "postgresql+psycopg://u:{0}@h/d"', "controller.database"),
        ('[controller]\ndatabase = "postgresql+psycopg://u:{0}/x@h/d"', "controller.database"),
        ('[controller]\ndatabase = "postgresql+psycopg://u@h/d?password={0}"', "controller.database"),
        ('[repository.r]\npassword_file = "/p"\nurl = "rest:https://u:{0}@h/"', "repository.r.url"),
        ('[repository.r]\npassword_file = "/p"\nurl = "s3:https://u:{0}@h/b"', "repository.r.url"),
        ('[vantage.v]\nkind = "http"\nup_when = "up"\nurl = "https://u:{0}@h/"', "vantage.v.url"),
        ('[dns.c]\nprovider = "cloudflare"\ntoken_file = "/t"\nzone_id = "z"\nbase_url = "https://u:{0}@h/"', "dns.c.base_url"),
    ],
)
def test_no_url_may_hold_a_password_since_the_configuration_goes_into_every_repository(table: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(table.format("hunter2").encode(), "t.toml")

    assert f"{key}: holds a password" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["s3:https://s3.example.net:9000/b", "sftp://user@host:2222/srv/mail", "rest:https://u@h:8000/", "/mnt/a:b@c"]
)
def test_a_url_without_a_password_is_taken(url: str) -> None:
    text = f'[repository.r]\nurl = "{url}"\npassword_file = "/p"\n'

    assert parse_config(text.encode(), "t.toml").repository["r"].url == url


def test_a_dashboard_open_to_the_network_needs_a_password_and_tls() -> None:
    assert "not on loopback" in faults_of(b'[web]\nlisten = "0.0.0.0:8025"\n')["web"]


def test_plain_text_is_for_loopback_only() -> None:
    faults = faults_of(
        DOMAIN + b'[probe.vps.imap]\nhost = "mail.example.org"\nport = 143\ntls = "none"\nuser = "u"\npassword_file = "/p"\n'
    )

    assert "loopback only" in faults["probe.vps.imap"]


def test_two_names_for_one_repository_are_refused() -> None:
    text = b'[repository.a]\nurl = "/r"\npassword_file = "/p"\n[repository.b]\nurl = "/r/"\npassword_file = "/p"\n'

    assert "same place as repository.a" in faults_of(text)["repository.b.url"]


def test_broken_toml_is_told_with_its_line() -> None:
    assert "line 2" in faults_of(b"[controller]\nid = \n")[""]


def test_a_missing_file_is_a_configuration_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "none.toml")

    assert caught.value.exit_code == 2
