"""By force: the daemon is killed and stopped at each step of a flip, and two of them want to write. One change of the zone for each flip, no more.

What is proved is what the name server saw: its serial number grows by one with every change, whoever made it.
"""

import signal

import pytest

from tests.lab.tools.run_tool import MOMENTS
from tests.lab.trial import ALL, AT_ONCE, OUTAGE, PEACE, STATE, Trial, stopped
from tests.support import NotInTimeError, wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

# Each kind of moment once, in the order in which a flip comes to them; with --all all of them both ways, as contract/test_flip.py has them for
# the runner alone.
THERE = MOMENTS if ALL else ["after begin", "after apply", "inside finish"]
BACK = MOMENTS if ALL else ["inside begin", "before apply", "after finish"]
LONG = 120 if ALL else 4  # seconds for which the daemon is stopped
PATIENT = () if ALL else ("SEND_WITHIN=1", "DECISION_LASTS=2")  # a minute, and two


def pause(seconds: float) -> None:
    """Lets time pass: that it passes is the thing under test."""
    with pytest.raises(NotInTimeError):
        wait_until(lambda: False, seconds, "time has passed", every=seconds)


def dies_at(trial: Trial, moment: str) -> None:
    job = trial.broken("KILL", moment, AT_ONCE)
    trial.others.append(job)
    trial.awaits(lambda: job.poll() is not None, f"the daemon died {moment}")
    assert job.poll() == -signal.SIGKILL, job.stderr()


def done(trial: Trial, state: str = STATE) -> list[str]:
    """The kinds of the plans that were carried out."""
    return [kind for kind, outcome in trial.plans(state) if outcome == "done"]


@pytest.mark.first
def test_a_daemon_killed_at_step_after_step_of_a_failover_and_of_its_failback_changes_the_zone_once_for_each(
    trial: Trial,
) -> None:
    trial.lab.primary.power_off()
    for moment in THERE:
        dies_at(trial, moment)
    trial.daemon = trial.broken("KILL", "never", AT_ONCE)
    trial.comes_to("failed-over")
    assert trial.zone() == (OUTAGE, 1), trial.told()
    trial.kill()
    trial.lab.primary.boot()
    for moment in BACK:
        dies_at(trial, moment)
    trial.daemon = trial.broken("KILL", "never", AT_ONCE)
    trial.comes_to("normal")

    assert trial.zone() == (PEACE, 2), trial.told()
    assert done(trial) == ["failover", "failback"]
    assert len(trial.said("failover.done")) == len(trial.said("failback.done")) == 1


@pytest.mark.first
def test_a_daemon_stopped_between_its_journal_and_the_request_sends_nothing_if_the_primary_is_well_when_it_wakes(
    trial: Trial,
) -> None:
    trial.lab.primary.power_off()
    trial.daemon = daemon = trial.broken("STOP", "after begin", AT_ONCE, *PATIENT)
    trial.awaits(lambda: stopped(daemon), "the daemon has stopped itself")
    assert trial.state() == "failing-over"
    trial.lab.primary.boot()
    pause(LONG)
    daemon.send_signal(signal.SIGCONT)
    trial.comes_to("normal")

    assert trial.zone() == (PEACE, 0), trial.told()
    assert trial.plans() == [("failover", "void")]


def test_a_daemon_stopped_in_an_outage_does_not_flip_on_what_it_saw_before_and_flips_when_it_has_seen_it_anew(
    trial: Trial,
) -> None:
    trial.watch()
    trial.lab.primary.power_off()
    trial.comes_to("suspect")
    assert trial.daemon is not None
    trial.daemon.send_signal(signal.SIGSTOP)
    pause(LONG)
    woken = float(trial.nas.sh("date +%s.%N").stdout)
    trial.daemon.send_signal(signal.SIGCONT)
    trial.comes_to("failed-over")

    assert (trial.mx(), trial.changes(), done(trial)) == (OUTAGE, 1, ["failover"])
    ((planned,),) = trial.rows("select (julianday(planned_at) - 2440587.5) * 86400 from intent")
    assert planned - woken > 1.9  # all of down_for again: the evidence of before the stop has a hole


def test_of_two_daemons_on_one_folder_the_second_names_the_first_and_goes_and_without_the_lock_still_one_writes(
    trial: Trial,
) -> None:
    trial.watch()
    assert trial.daemon is not None
    refused = trial.verb("run", status=3)
    assert "failsafe run (process" in refused.stderr
    trial.nas.sh(f"rm -r {STATE}/locks")  # what a person does who believes a lock to be left over
    trial.others.append(trial.start("run"))
    trial.awaits(lambda: trial.nas.sh(f"ls {STATE}/locks/daemon.lock", check=False).returncode == 0, "the second daemon runs")
    trial.hears(2)
    trial.lab.primary.power_off()
    trial.comes_to("failed-over")
    trial.lab.primary.boot()
    trial.comes_to("normal")

    assert trial.zone() == (PEACE, 2), trial.told()
    assert done(trial) == ["failover", "failback"]
    assert len(trial.said("failover.done")) == len(trial.said("failback.done")) == 1


@pytest.mark.first
def test_a_copy_of_the_nas_that_wakes_up_later_changes_nothing_and_says_so(trial: Trial) -> None:
    of_peace, its_state = trial.copy("of-peace"), f"{STATE}-of-peace"
    trial.lab.primary.power_off()
    begun = trial.broken("KILL", "after begin")
    trial.others.append(begun)
    trial.awaits(lambda: begun.poll() is not None, "the daemon died with a plan begun")
    of_a_plan, state_of_a_plan = trial.copy("of-a-plan"), f"{STATE}-of-a-plan"
    trial.daemon = trial.broken("KILL", "never", AT_ONCE)
    trial.comes_to("failed-over")
    assert trial.changes() == 1

    trial.others.append(trial.start("--config", of_peace, "run"))  # of a time at which the primary served
    trial.hears_of("zone.drift", its_state)
    trial.lab.primary.boot()
    trial.comes_to("normal")
    assert trial.zone() == (PEACE, 2), trial.told()

    trial.others.append(
        trial.start("--config", of_a_plan, "run")
    )  # of a time at which a plan was begun that nobody wants any more
    trial.awaits(lambda: trial.plans(state_of_a_plan) == [("failover", "void")], "the copy has given up its plan")
    assert trial.zone() == (PEACE, 2), trial.told()
    assert trial.plans(its_state) == []
    assert any("no longer wanted" in text for _, text in trial.events(state_of_a_plan))
