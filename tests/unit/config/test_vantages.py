"""Other places to look from: which look at which mail server, and what is wrong with a table."""

from __future__ import annotations

import pytest

from failsafe.config.load import parse_config
from failsafe.config.schema import Config
from failsafe.config.vantages import near, vantages_of
from failsafe.errors import ConfigError

SERVERS = """
[mail_server.vps]
layout = "maildir"
path = "/srv/mail"
network = "hetzner"
[mail_server.home]
layout = "maildir"
path = "/srv/home"
"""
MACHINE = '[vantage.vps2]\nkind = "ssh"\nssh = "probe@vps2.example.net"\nnetwork = "hetzner"\n'
ROBOT = '[vantage.robot]\nkind = "uptimerobot"\nkey_file = "/etc/failsafe/robot.key"\nmonitor = "1234"\n'
KUMA = '[vantage.kuma]\nkind = "http"\nurl = "https://status.example.net/api"\nup_when = "$.status == 1"\n'


def config(text: str) -> Config:
    return parse_config((SERVERS + text).encode(), "failsafe.toml")


def test_another_machine_looks_at_every_server_that_has_a_probe() -> None:
    made = config("[probe.vps]\n[probe.home]\n" + MACHINE)

    assert vantages_of(made, "vps") == vantages_of(made, "home") == ("here", "vps2")


def test_a_monitor_watches_the_only_server_that_has_a_probe() -> None:
    made = config("[probe.vps]\n" + ROBOT + KUMA)

    assert vantages_of(made, "vps") == ("here", "kuma", "robot")


def test_a_monitor_watches_the_server_that_its_table_names() -> None:
    made = config("[probe.vps]\n[probe.home]\n" + ROBOT + 'server = "home"\n')

    assert (vantages_of(made, "vps"), vantages_of(made, "home")) == (("here",), ("here", "robot"))


def test_without_a_probe_nobody_looks() -> None:
    assert vantages_of(config(MACHINE), "vps") == ()


def test_one_in_the_mail_servers_network_is_near_it() -> None:
    made = config("[probe.vps]\n" + MACHINE)

    assert near(made, made.mail_server["vps"], None) == {"vps2"}
    assert near(made, made.mail_server["home"], None) == frozenset()


def test_a_controller_beside_the_mail_server_is_near_it_too() -> None:
    made = config("[probe.vps]\n")

    assert near(made, made.mail_server["vps"], "hetzner") == {"here"}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[probe.vps]\n[probe.home]\n" + ROBOT, "say which mail server this monitor watches: home, vps"),
        ("[probe.vps]\n" + ROBOT + 'server = "home"\n', "there is no [probe.home]"),
        ('[vantage.here]\nkind = "ssh"\nssh = "a@b.example"\n', "always exists"),
        ('[vantage.x]\nkind = "http"\nurl = "https://a.example"\n', "needs up_when"),
        ('[vantage.x]\nkind = "http"\nurl = "file:///etc/passwd"\nup_when = "up"\n', "is no URL"),
        ('[vantage.x]\nkind = "http"\nurl = "https://u:secret@a.example"\nup_when = "up"\n', "holds a password"),
        (KUMA.replace("== 1", "== up"), "is not a JSON value"),
        (ROBOT.replace('"1234"', '"../1234"'), "pattern"),
        (ROBOT + 'up_when = "up"\n', "does not know up_when"),
    ],
)
def test_a_table_that_cannot_work_is_a_fault_that_says_why(text: str, fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(text)

    assert fault in str(caught.value)
