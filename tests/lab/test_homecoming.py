"""Mail comes home: whatever the secondary took during an outage is in the primary's mailboxes afterwards, once, with its date."""

import random
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.lab.controller import Controller
from tests.lab.job import Job
from tests.lab.lab import Lab
from tests.lab.outage import PEOPLE, Outage
from tests.lab.trial import ALL
from tests.support import Moments, wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1500 if ALL else 600)]

LETTERS = 2000 if ALL else 200
KILLS = {False: 30 if ALL else 8, True: 30 if ALL else 4}  # of a homecoming from mirrored mailboxes, and from a catch-all
AT_ONCE = 16  # letters that come between two kills


@pytest.fixture
def outage(request: pytest.FixtureRequest, mended: Lab) -> Iterator[Outage]:
    """Mirrored mailboxes, or with the parameter true one that catches all."""
    controller = Controller(mended)
    controller.forget()
    made = Outage(controller, catch_all=getattr(request, "param", False))
    made.prepare()
    yield made
    controller.stop()


class Killer:
    """kill -9 to a homecoming and all that it has started: in turn at a random moment of the whole run, and when a random number of letters is home."""

    def __init__(self, outage: Outage, chance: random.Random) -> None:
        self.outage, self.chance, self.moments = outage, chance, Moments(chance)
        self.anywhere = self.delivering = 0

    @property
    def killed(self) -> int:
        return self.anywhere + self.delivering

    def try_once(self) -> None:
        if self.anywhere <= self.delivering:
            self.anywhere += self.moments.try_once(lambda seconds: self._in_time(self.outage.begin(), seconds))
        else:
            self.delivering += self._in_delivery(self.outage.begin(), self.chance.randint(1, AT_ONCE // 2))

    def _in_time(self, job: Job, seconds: float) -> bool:
        try:
            job.wait(seconds)
        except subprocess.TimeoutExpired:
            return True
        finally:
            job.close()
        return False

    def _in_delivery(self, job: Job, letters: int) -> bool:
        lands = self.outage.landed() + letters
        try:
            wait_until(
                lambda: job.poll() is not None or self.outage.landed() >= lands, 300, f"{letters} letters are home", every=0.001
            )
            return job.poll() is None
        finally:
            job.close()


@pytest.mark.first
@pytest.mark.parametrize("outage", [False, True], ids=["mirrored", "catch-all"], indirect=True)
def test_all_mail_of_an_outage_is_home_exactly_once_whatever_is_killed(outage: Outage) -> None:
    lab, killer = outage.lab, Killer(outage, random.Random(17))
    outage.send(LETTERS // 5, "peace")
    outage.arrived()
    outage.primary_fails()
    outage.send(LETTERS // 2, "outage")
    outage.arrived()
    outage.come_home(status=3)  # it gathers, and says that it delivers later
    outage.primary_returns()
    outage.send(LETTERS // 5, "after")
    outage.send(LETTERS // 10, "both", straight_to=(lab.primary, lab.secondary))
    outage.arrived()

    for round_ in range(3 * KILLS[outage.catch_all]):
        if killer.killed == KILLS[outage.catch_all]:
            break
        outage.send(AT_ONCE, f"late-{round_}", straight_to=(lab.secondary,))
        outage.arrived()
        killer.try_once()
    told = outage.come_home().value

    print(f"{killer.anywhere} kills at any moment, {killer.delivering} in the delivery; {killer.moments}; {told}")
    assert killer.killed == KILLS[outage.catch_all]
    assert outage.wrong() == []
    assert outage.dated_otherwise() == []
    assert told["waiting"] == []
    assert outage.come_home().value["home"] == 0
    assert outage.wrong() == []


def test_a_primary_that_fails_again_in_the_middle_gets_the_rest_later(outage: Outage) -> None:
    lab = outage.lab
    outage.primary_fails()
    outage.send(60, "outage", size=40_000)
    outage.arrived()
    outage.primary_returns()

    job = outage.begin()
    wait_until(lambda: any(lab.primary.maildir_ids(person) for person in PEOPLE), 120, "the first of them is home", every=0.01)
    job.send_signal(signal.SIGSTOP)
    assert outage.wrong() != []
    lab.primary.power_off(refuses=not ALL)  # a silent one takes minutes to be given up
    job.go_on()
    assert job.wait(600) == 4, job.stderr()
    job.close()
    lab.primary.boot()
    outage.come_home()

    assert outage.wrong() == []
    assert outage.dated_otherwise() == []


@pytest.mark.skipif(not ALL, reason="a quarter of an hour of a daemon's own pace; with ./dev test --all")
def test_a_daemon_brings_it_all_home_with_nothing_for_anybody_to_do(mended: Lab) -> None:
    controller = Controller(mended)
    controller.forget()
    outage = Outage(controller, catch_all=False)
    outage.prepare(mode="auto")
    try:
        controller.run()
        outage.send(20, "peace")
        outage.arrived()
        mended.primary.power_off()
        controller.wait_for_state("failed-over")
        outage.send(60, "outage")
        outage.arrived()
        mended.primary.boot()
        controller.wait_for_state("normal", seconds=180)
        outage.send(20, "after")
        outage.send(5, "late", straight_to=(mended.secondary,))

        wait_until(lambda: not outage.wrong(), 900, "all of it is home", every=5)
        assert outage.dated_otherwise() == []
    finally:
        controller.stop()
