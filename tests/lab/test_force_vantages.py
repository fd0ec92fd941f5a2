"""By force: a second place looks too, over SSH. Both have to see the primary down; each alone may be cut off, banned or blocked.

The other place is the sender's host: it has sshd and Python, and nothing of failsafe.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.lab.names import ADDRESSES, NAS_KNOWN_HOSTS, NAS_SSH_KEY
from tests.lab.trial import OUTAGE, PEACE, Trial

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

VPS2 = f"""
[vantage.vps2]
kind = "ssh"
ssh = "root@{ADDRESSES["sender"]}"
ssh_key = "{NAS_SSH_KEY}"
known_hosts = "{NAS_KNOWN_HOSTS}"
helo = "mail.sender.test"
"""
PACE: dict[str, Any] = {"probe_every": "4s", "down_for": "8s", "up_for": "4s", "quorum": 2, "extra": VPS2}
PATIENCE = 150  # seconds, with a busy machine: each look from there starts a Python
NO_PORT_25 = "nft add table inet line; nft add chain inet line out '{ type filter hook output priority 0; }'; nft add rule inet line out tcp dport 25 drop"


def sees(trial: Trial, vantage: str, seen: str) -> bool:
    query = f"select seen from evidence where vantage = '{vantage}' and axis = 'inbound' order by last_at desc limit 1"
    return trial.rows(query) == [[seen]]


def watch_from_both(trial: Trial) -> None:
    trial.night(**PACE)
    trial.watch()
    trial.awaits(lambda: sees(trial, "vps2", "up"), "the other place has seen the primary up")


def guards(trial: Trial) -> dict[str, str]:
    return {guard["code"]: guard["text"] for guard in trial.domain()["guards"]}


def test_where_both_places_see_the_primary_dead_mail_moves_by_itself_and_comes_home(trial: Trial) -> None:
    watch_from_both(trial)
    trial.lab.primary.power_off()
    trial.comes_to("failed-over", PATIENCE)
    assert trial.zone() == (OUTAGE, 1), trial.told()
    assert "vps2 says down" in trial.hears_of("failover.planned")
    trial.lab.primary.boot()
    trial.comes_to("normal", PATIENCE)

    assert trial.zone() == (PEACE, 2), trial.told()


def test_where_only_we_cannot_reach_the_primary_nothing_flips_and_we_seem_to_be_banned(trial: Trial) -> None:
    watch_from_both(trial)
    trial.lab.cut("nas", "primary")
    trial.awaits(lambda: "here cannot reach the primary" in guards(trial).get("monitor-banned", ""), "a ban is suspected")
    with_both = {each["vantage"]: each["verdict"] for each in trial.domain()["vantages"]}

    assert with_both == {"here": "down", "vps2": "up"}
    assert (trial.changes(), trial.plans()) == (0, [])


def test_where_the_other_place_is_lost_an_outage_is_not_proved_and_a_person_is_told_why(trial: Trial) -> None:
    watch_from_both(trial)
    trial.lab.cut("nas", "sender")
    trial.awaits(lambda: sees(trial, "vps2", "unknown"), "the other place is lost, which is not down")
    trial.lab.primary.power_off()
    trial.awaits(lambda: "1 of 2 vantages" in guards(trial).get("no-quorum", ""), "one place alone says down")

    assert (trial.changes(), trial.plans()) == (0, [])


def test_where_our_line_blocks_port_25_we_say_nothing_of_mail_and_still_see_a_primary_that_is_dead_on_every_port(
    trial: Trial,
) -> None:
    trial.night(**{**PACE, "quorum": 1, "extra": ""})
    trial.nas.sh(NO_PORT_25)
    try:
        trial.daemon = trial.start("run")
        blocked = "select 1 from evidence where seen = 'unknown' and text like '%port 25 is blocked from here%'"
        trial.awaits(lambda: trial.rows(blocked) != [], "it is recognised that port 25 is blocked")
        assert trial.changes() == 0
        trial.lab.primary.power_off()
        trial.comes_to("failed-over", PATIENCE)
    finally:
        trial.nas.sh("nft delete table inet line")

    assert trial.zone() == (OUTAGE, 1), trial.told()
