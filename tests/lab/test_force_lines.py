"""By force: lines are cut, clocks jump, the primary hangs or lies. What must flip flips, and nothing else does.

The lines are those between each pair of the NAS, the primary, the secondary and the name server.
"""

import os

import pytest

from tests.lab.names import AUTHORITATIVE, DOMAIN, RESOLVER
from tests.lab.trial import ALL, IMPATIENT, OUTAGE, PEACE, Trial, answering
from tests.support import NotInTimeError, wait_until

HOUR = int(os.environ.get("FAILSAFE_HOUR") or (300 if ALL else 6))  # seconds, beside a down_for of two; 3600 is one
pytestmark = [pytest.mark.lab, pytest.mark.timeout(600 + HOUR)]
CLOCK = "/run/clock"  # on the NAS: by how much its clock is wrong


def is_at_peace(trial: Trial) -> bool:
    return (trial.state(), trial.mx(), trial.changes(), trial.plans()) == ("normal", PEACE, 0, [])


# -- lines ---------------------------------------------------------------------------------------------------------------


def test_nas_and_primary_cut_with_a_quorum_of_two_nothing_flips_and_a_person_is_asked(trial: Trial) -> None:
    trial.night(quorum=2)
    trial.watch()
    trial.lab.cut("nas", "primary")
    assert "1 of 2 vantages" in trial.hears_of("flip.prepared")
    sent = trial.lab.sender.send(3, "cut")  # all others reach the primary
    wait_until(lambda: set(sent) <= set(trial.lab.primary.maildir_ids()), 60, "mail arrives at the primary")
    trial.lab.join()
    trial.comes_to("normal")

    assert is_at_peace(trial)


def calls_the_secondary_dead(trial: Trial) -> bool:
    findings = trial.verb("doctor", "--domain", DOMAIN, "--json", status=None).value["findings"]
    return any((found["code"], found["severity"]) == ("secondary-accepts", "fail") for found in findings)


def test_nas_and_secondary_cut_an_outage_flips_nothing_to_a_secondary_that_nobody_has_seen(trial: Trial) -> None:
    trial.lab.cut("nas", "secondary")
    trial.watch()
    trial.awaits(
        lambda: calls_the_secondary_dead(trial), "the doctor, who knows that port 25 works from here, calls the secondary dead"
    )
    trial.lab.primary.power_off()
    assert "secondary-not-ready" in trial.hears_of("flip.blocked")
    trial.lab.join()
    trial.hears_of("flip.blocked")
    assert (trial.changes(), trial.plans()) == (0, [])
    trial.verb("failover", DOMAIN, "--force", "--yes", "--reason", "the line is mended, and it takes mail")

    assert (trial.state(), trial.mx(), trial.changes()) == ("failed-over", OUTAGE, 1)


def test_nas_and_name_server_cut_an_outage_waits_and_is_said_and_flips_when_the_line_is_mended(trial: Trial) -> None:
    trial.night(probe_every="2s", down_for="4s")  # a look takes long where one of three references is silent
    trial.daemon = trial.broken("KILL", "never", *IMPATIENT)
    trial.hears()
    trial.lab.cut("nas", "dns", AUTHORITATIVE)  # the resolver stays: it is another machine's, in life
    trial.lab.primary.power_off()
    assert "zone-unreadable" in trial.hears_of("flip.blocked")
    assert trial.plans() == []
    trial.lab.join()
    trial.comes_to("failed-over")

    assert trial.zone() == (OUTAGE, 1), trial.told()


@pytest.mark.parametrize(("one", "other"), [("primary", "secondary"), ("secondary", "dns"), ("primary", "dns")])
def test_a_line_cut_between_two_others_flips_nothing_while_the_primary_takes_mail(trial: Trial, one: str, other: str) -> None:
    if one == "primary" and other == "dns":  # its Postfix asks in vain who we are: it answers a second late
        trial.night(probe_every="3s", down_for="5s")
        trial.lab.primary.write("/etc/resolv.conf", f"nameserver {RESOLVER}\noptions timeout:1 attempts:1\n")
    trial.watch()
    trial.lab.cut(one, other)
    trial.hears(4)

    assert is_at_peace(trial)


def test_our_own_line_down_for_an_hour_flips_nothing_while_the_primary_is_healthy(trial: Trial) -> None:
    trial.watch()
    trial.nas.link("down")
    trial.awaits(lambda: any("is down" in text for text in trial.said("own-line.changed")), "our own line is seen down")
    with pytest.raises(NotInTimeError):
        wait_until(lambda: False, HOUR, "that time has passed is what is under test", every=1)
    trial.nas.link("up")
    trial.awaits(lambda: any("works again" in text for text in trial.said("own-line.changed")), "our own line is seen up")
    trial.hears(3)

    assert is_at_peace(trial)
    assert trial.said("flip.blocked") == []


# -- the primary ---------------------------------------------------------------------------------------------------------


def test_a_primary_that_takes_connections_and_says_nothing_is_left_and_returned_to(trial: Trial) -> None:
    trial.watch()
    trial.lab.primary.freeze_service("postfix")
    trial.comes_to("failed-over")
    assert trial.zone() == (OUTAGE, 1), trial.told()
    trial.lab.primary.thaw_service("postfix")
    trial.comes_to("normal")

    assert trial.zone() == (PEACE, 2), trial.told()


def test_a_primary_that_refuses_a_known_recipient_for_good_is_left_sooner_than_a_dead_one(trial: Trial) -> None:
    trial.night(down_for="40s", probe_every="2s")  # a fifth of it is enough where senders get their mail back at once
    trial.watch()
    with answering(trial.lab.primary, "550 5.1.1 no such user here"):
        trial.comes_to("failed-over")
    waited = "(julianday(planned_at) - julianday(first_at)) * 86400"
    assert "says lying" in trial.hears_of("failover.planned"), trial.told()
    ((seconds,),) = trial.rows(f"select {waited} from intent, evidence where seen = 'lying' order by first_at limit 1")

    assert trial.zone() == (OUTAGE, 1), trial.told()
    assert 7.9 < seconds < 39


def test_a_primary_that_greylists_us_is_not_left(trial: Trial) -> None:
    trial.watch()
    with answering(trial.lab.primary, "450 4.2.0 Greylisted, please try again in 300 seconds"):
        trial.hears(5)  # longer than down_for

        assert is_at_peace(trial)


# -- the clock -----------------------------------------------------------------------------------------------------------


def watch_with_a_clock(trial: Trial) -> None:
    turn(trial, 0)
    trial.daemon = trial.broken("KILL", "never", f"CLOCK={CLOCK}")
    trial.hears()


def turn(trial: Trial, minutes: int) -> None:
    """The NAS's clock is wrong by so much, from now on."""
    trial.nas.write(f"{CLOCK}.new", f"{minutes * 60}\n")
    trial.nas.sh(f"mv {CLOCK}.new {CLOCK}")


def test_a_clock_that_jumps_ten_minutes_to_and_fro_flips_nothing_and_loses_no_hold(trial: Trial) -> None:
    trial.verb("hold", DOMAIN, "--for", "2h", "--reason", "moving house")
    held = trial.rows("select held_until from domain_state")
    watch_with_a_clock(trial)
    for minutes in (10, 0, -10):
        turn(trial, minutes)
        trial.hears(3)
        assert is_at_peace(trial)

    assert trial.rows("select held_until from domain_state") == held


@pytest.mark.parametrize("minutes", [10, -10])
def test_with_a_clock_ten_minutes_wrong_an_outage_is_blocked_and_the_clock_named_and_flips_when_it_is_right(
    trial: Trial, minutes: int
) -> None:
    watch_with_a_clock(trial)
    turn(trial, minutes)
    trial.hears(2)
    trial.lab.primary.power_off()
    assert "clock" in trial.hears_of("flip.blocked")
    assert (trial.changes(), trial.plans()) == (0, [])
    turn(trial, 0)
    trial.comes_to("failed-over")

    assert trial.zone() == (OUTAGE, 1), trial.told()
