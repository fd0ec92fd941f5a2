"""kill -9 of the daemon and of ticks: the next one finishes the work, and no person cleans up."""

import random
from collections.abc import Iterator

import pytest

from tests.lab.controller import Controller
from tests.lab.lab import Lab
from tests.support import NotInTimeError, wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

PEACE = ["10 mx1.example.test."]


@pytest.fixture
def controller(mended: Lab) -> Iterator[Controller]:
    made = Controller(mended)
    made.forget()
    made.configure(backup_every="2s")
    yield made
    made.close()


def holds_for(seconds: float, chance: random.Random) -> None:
    """Lets time pass until a random moment: the moment of a kill is the thing under test."""
    try:
        wait_until(lambda: False, chance.uniform(0.2, seconds), "a random moment", every=0.02)
    except NotInTimeError:
        return


@pytest.mark.first
def test_a_daemon_killed_again_and_again_still_fails_over_and_back(controller: Controller) -> None:
    lab, chance = controller.lab, random.Random(11)
    controller.run()
    lab.primary.power_off()
    for _ in range(8):
        holds_for(3, chance)
        controller.kill()
        controller.daemon = controller.start("run")
    controller.wait_for_state("failed-over")
    lab.primary.boot()
    for _ in range(8):
        holds_for(3, chance)
        controller.kill()
        controller.daemon = controller.start("run")
    controller.wait_for_state("normal")

    assert lab.nas.authoritative_mx() == PEACE


@pytest.mark.first
def test_ticks_killed_at_any_moment_leave_work_for_the_next(controller: Controller) -> None:
    lab, chance = controller.lab, random.Random(13)
    lab.primary.seed(messages=20)
    killed = 0
    for _ in range(14):
        job = controller.start("tick")
        holds_for(3, chance)
        killed += job.poll() is None
        job.close()
    controller.verb("tick", status=None, timeout=300)
    report = controller.backup()

    assert killed >= 6
    assert report["result"] == "ok"
    assert lab.nas.authoritative_mx() == PEACE
    assert controller.state() in ("normal", "suspect")
