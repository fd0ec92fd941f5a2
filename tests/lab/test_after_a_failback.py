"""What the daemon shows after its own flips is what the zone holds now, not what it held before them."""

from collections.abc import Iterator

import pytest

from tests.lab.controller import Controller
from tests.lab.lab import Lab
from tests.lab.names import MX_NAMES, MX_PRIMARY
from tests.support import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(400)]

SECONDS = 60  # far less than the ten minutes for which the daemon keeps a reading of the zone in peace


@pytest.fixture
def controller(mended: Lab) -> Iterator[Controller]:
    made = Controller(mended)
    made.forget()
    yield made
    made.close()


def exchanges(controller: Controller) -> list[str]:
    return [record["exchange"] for record in controller.domain()["mx"]]


def test_the_status_shows_the_records_of_peace_and_no_drift(controller: Controller) -> None:
    controller.configure(strategy="on-demand")
    controller.run()
    controller.lab.primary.power_off()
    controller.wait_for_state("failed-over")
    wait_until(lambda: MX_NAMES["secondary"] in exchanges(controller), SECONDS, "the status shows the secondary", every=0.5)

    controller.lab.primary.boot()
    controller.wait_for_state("normal")

    assert controller.lab.nas.authoritative_mx() == MX_PRIMARY
    wait_until(lambda: exchanges(controller) == [MX_NAMES["primary"]], SECONDS, "the status shows the primary alone", every=0.5)
    wait_until(lambda: "drift" not in [guard["code"] for guard in controller.domain()["guards"]], SECONDS, "no drift", every=0.5)
