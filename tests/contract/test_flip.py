"""Whole flips on a real name server, with the controller killed (SIGKILL) at every step of the journal."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from failsafe.model import FlipKind, Outcome, Side
from failsafe.store.engine import Store
from failsafe.store.events import EventStore
from failsafe.store.journal import Journal
from tests.contract.dns_providers import client
from tests.contract.dns_servers import NameServer, missing, name_server
from tests.contract.flip_child import MOMENTS
from tests.unit.failover.world import DOMAIN, OUTAGE, PEACE

ROOT = Path(__file__).parents[2]
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NameServer]:
    if missing("knot"):
        pytest.skip(missing("knot"))
    with name_server("knot", tmp_path_factory.mktemp("knot")) as running:
        yield running


def controller(database: Path, server: NameServer, side: str, moment: str = "") -> int:
    arguments = [str(database), server.address, str(server.key_file), side, moment]
    return subprocess.run(
        [sys.executable, "-m", "tests.contract.flip_child", *arguments], cwd=ROOT, timeout=120, check=False
    ).returncode


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_controller_killed_at_any_step_is_gone_on_with_by_the_next(moment: str, server: NameServer, tmp_path: Path) -> None:
    database = tmp_path / "failsafe.db"
    for side, expected in (("secondary", OUTAGE), ("primary", PEACE)):
        assert controller(database, server, side, moment) == -signal.SIGKILL
        assert controller(database, server, side) == 0
        assert client(server).read(DOMAIN, DOMAIN) == expected
    with closing(Store.sqlite(database)) as store:
        journal = Journal(store, None)
        flips = journal.flips(DOMAIN, LONG_AGO)
        names = [event.name for _, event in EventStore(store).since()]
        record = journal.load(DOMAIN, LONG_AGO)
    assert [(flip.kind, flip.outcome) for flip in flips] == [(FlipKind.FAILOVER, Outcome.DONE), (FlipKind.FAILBACK, Outcome.DONE)]
    assert names.count("failover.done") == names.count("failback.done") == 1
    assert record.serving is Side.PRIMARY
    assert record.draining_until is not None
    assert record.draining_until - record.since_at == timedelta(hours=72)
