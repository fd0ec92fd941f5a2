"""By force: name servers die, go stale and are started anew in the middle of a flip."""

import signal

import pytest

from tests.lab import nameservers
from tests.lab.names import ADDRESSES, AUTHORITATIVE, DOMAIN
from tests.lab.trial import AT_ONCE, IMPATIENT, OUTAGE, PEACE, Trial, stopped

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]


def test_a_name_server_that_died_with_the_primary_is_named_and_the_others_are_enough(trial: Trial) -> None:
    nameservers.install(trial.lab.primary, trial.nas)
    trial.night(nameservers=(AUTHORITATIVE, ADDRESSES["primary"]))
    trial.daemon = trial.broken("KILL", "never", *IMPATIENT)
    trial.hears()
    trial.lab.primary.power_off()
    trial.comes_to("failed-over")

    assert trial.zone() == (OUTAGE, 1), trial.told()
    assert f"silent: {ADDRESSES['primary']}:53" in trial.hears_of("failover.done")


def test_a_stale_name_server_halts_the_flip_with_an_alarm_and_nothing_is_written_twice(trial: Trial) -> None:
    stale = trial.lab.sender
    nameservers.install(stale, trial.nas)
    trial.night(nameservers=(AUTHORITATIVE, stale.address), verify_for="3s")
    trial.daemon = trial.broken("KILL", "never", "PATIENCE=2")
    trial.hears()
    trial.lab.primary.power_off()
    trial.comes_to("halted")
    assert stale.address in trial.hears_of("flip.unshown")
    assert (trial.mx(), trial.mx(stale.address), trial.changes()) == (OUTAGE, PEACE, 1)
    nameservers.refresh(stale)
    trial.awaits(lambda: trial.mx(stale.address) == OUTAGE, "the stale one has caught up")
    trial.verb("acknowledge", DOMAIN, "--serving", "secondary")
    trial.lab.primary.boot()
    trial.comes_to("failing-back")
    nameservers.refresh(stale)
    trial.comes_to("normal")

    assert trial.zone() == (PEACE, 2), trial.told()


@pytest.mark.parametrize("moment", ["after begin", "after apply"])
def test_a_name_server_started_anew_in_the_middle_of_a_flip_ends_with_one_change(trial: Trial, moment: str) -> None:
    trial.lab.primary.power_off()
    trial.daemon = daemon = trial.broken("STOP", moment, AT_ONCE)
    trial.awaits(lambda: stopped(daemon), "the daemon has stopped itself")
    trial.lab.dns.kill_service("knot")
    daemon.send_signal(signal.SIGCONT)
    if moment == "after begin":
        trial.hears_of("flip.postponed")
    trial.lab.dns.start("knot")
    trial.comes_to("failed-over")

    assert trial.zone() == (OUTAGE, 1), trial.told()
