"""Real servers on loopback for the contract tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.sshd import Sshd, answers, make_key, running

__all__ = ["Sshd", "answers", "make_key", "sshd"]


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """Shared by all tests of one worker: a test that stops it or changes its key takes one of its own (`sshd.running`)."""
    with running(tmp_path_factory.mktemp("sshd")) as server:
        yield server
