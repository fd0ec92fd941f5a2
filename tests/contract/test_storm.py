"""Completeness under fire: `ok` means that every message which was there all the time is in the archive, whatever blows meanwhile."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from failsafe.model import Result
from tests.contract.conftest import Sshd
from tests.contract.mailstore import Store
from tests.contract.storming import SLOWEST, blowing, judge_ours

SEEDS = range(1, 21) if os.environ.get("FAILSAFE_ALL") else range(1, 3)


@pytest.mark.timeout(3600)
def test_in_a_storm_ok_means_that_nothing_is_missing(
    tmp_path: Path, sshd: Sshd, record_property: Callable[[str, object], None]
) -> None:
    """20,000 messages in one folder, 400 renames a second, half of them on 50 messages; deliveries, copies, moves there and back,
    expunges; equal base names with other content in two folders and two mailboxes. Of twenty pulls of an unknown store at least
    eighteen are proven complete; every other one names what it could not prove.
    """
    judged = []
    for seed in SEEDS:
        store = Store(tmp_path / str(seed))
        with blowing(store.base, seed) as blow:
            judged.append(judge_ours(store, sshd.host(), blow, seed))
        print(judged[-1].row)
        record_property(f"seed {seed}", judged[-1].row)
        shutil.rmtree(store.base)
    assert [run.row for run in judged if run.rate < SLOWEST] == [], "that was no storm"
    assert [run.row for run in judged if not run.is_true] == []
    assert sum(run.result == "ok" for run in judged) >= len(judged) * 9 // 10


def test_after_the_storm_the_next_pull_agrees_with_the_server(tmp_path: Path) -> None:
    """Flags, folders and all: what was moved or expunged while the first pull ran is where it belongs, and is stored once."""
    store = Store(tmp_path)
    with blowing(store.base, 7, messages=1500) as blow:
        first, second = (judge_ours(store, store.host, blow, 7) for _ in range(2))
    assert (first.is_true, second.is_true) == (True, True)
    report = store.pull()
    assert (report.result, report.guards) == (Result.OK, ())
    assert store.archived() == store.on_server()
    assert set(store.stored_ids().values()) == {1}
