"""The lab as a fixture. A lab takes a few seconds, so each test module has its own; the tests by force share one."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.lab import Lab
from tests.lab.trial import Trial
from tests.lab.world import availability


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test that needs the lab where there can be none, and say why."""
    if item.get_closest_marker("lab") and (reason := availability()):
        pytest.skip(reason)


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A lab of this module's own. `$FAILSAFE_LAB_LOGS`: a folder for the logs of all hosts, afterwards."""
    with Lab(layout=getattr(request.module, "LAYOUT", "maildir++")) as made:
        yield made
        if logs := os.environ.get("FAILSAFE_LAB_LOGS"):
            made.collect(Path(logs) / request.module.__name__)


@pytest.fixture(scope="session")
def prepared() -> Iterator[Trial]:
    """A lab of its own with a night made ready in it, for all tests by force that this process runs: that takes longer than most of them."""
    with Lab() as lab:
        made = Trial(lab)
        try:
            made.prepare()
            yield made
        finally:
            made.close()
            if logs := os.environ.get("FAILSAFE_LAB_LOGS"):
                lab.collect(Path(logs) / "force")


@pytest.fixture
def trial(prepared: Trial) -> Iterator[Trial]:
    """A fresh night, in which nothing runs yet."""
    prepared.night()
    yield prepared
    prepared.end()
    prepared.lab.mend()


@pytest.fixture
def mended(lab: Lab) -> Iterator[Lab]:
    """The module's lab with everything running, which is put right again after the test."""
    yield lab
    lab.mend()
