"""Forget and prune as duties of the daemon: a real `failsafe run` on a real repository does them, writes down that it did, and stops at a guard."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from failsafe.app import App
from failsafe.backup.guardbook import GuardBook
from failsafe.config.load import load_config
from failsafe.store.duties import DutyRecord
from tests.contract.configs import MAIL_HERE
from tests.contract.processes import done_lately
from tests.contract.restic_snapshots import put_snapshots
from tests.contract.restics import programs, put_empty_repository, restic
from tests.contract.test_repositories_apart import daemon, deliver, failsafe
from tests.support import wait_until

pytestmark = pytest.mark.skipif(not programs(), reason="restic is not installed (Debian: restic)")
PATIENCE = 150.0  # seconds, on a busy machine
WORDS = "repository password\n"
ANNA = "a@example.test"
CONFIG = (
    MAIL_HERE
    + """backup_every = "12h"
[repository.nas]
url = "{folder}/repository"
password_file = "{folder}/repository.password"
keep = {{ within = "2d", daily = 3 }}
"""
)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    """Backed up once, by hand."""
    deliver(tmp_path, 1)
    (tmp_path / "repository.password").touch(mode=0o600)
    (tmp_path / "repository.password").write_text(WORDS)
    put_empty_repository(tmp_path / "repository", WORDS.strip())
    (tmp_path / "failsafe.toml").write_text(CONFIG.format(folder=tmp_path))
    failsafe(tmp_path, "backup")
    made = App(load_config(tmp_path / "failsafe.toml"), tmp_path / "failsafe.toml")
    done_lately(made, "check:nas", "drill:nas", "doctor")
    yield made
    made.store.close()


def age(folder: Path, app: App, *days: int) -> set[str]:
    """Snapshots of so many days ago; gives their ids."""
    listed = json.loads(restic("restic", folder, "snapshots", "--json", "--no-lock").stdout)
    now = app.clock.now()
    tags = [(f"generation:{1000 - each}", f"state:{each:016x}", "result:ok", "messages:1") for each in days]
    dated = [(now - timedelta(days=each), "failsafe-vps", tag) for each, tag in zip(days, tags, strict=True)]
    return set(put_snapshots("restic", folder, listed[-1]["tree"], dated))


def ids(folder: Path) -> set[str]:
    return {path.name for path in (folder / "repository" / "snapshots").iterdir() if len(path.name) == 64}


def make_due(app: App) -> datetime:
    """As if the last runs were long ago; gives the moment from which a run counts."""
    now = app.clock.now()
    for name in ("forget:nas", "prune:nas"):
        app.duties._change(name, {key: now - timedelta(days=8) for key in ("started_at", "ended_at", "ok_at")})
    return now


def both_ran(app: App, since: datetime) -> dict[str, DutyRecord] | None:
    """The rows of both, once the daemon has written down how they ended."""
    rows = app.duties.all()
    ran = [rows.get(name) for name in ("forget:nas", "prune:nas")]
    ended = [row for row in ran if row is not None and row.ended_at is not None and row.started_at is not None]
    done = len(ended) == 2 and all(since <= row.started_at <= row.ended_at for row in ended)  # type: ignore[operator]
    return rows if done and not {"forget", "prune"} & running(app) else None


def running(app: App) -> set[str]:
    """Words of the jobs for this configuration: the verb writes its row, and after its end the daemon does."""
    found: set[str] = set()
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0") if entry.name.isdigit() else []
            found |= set(words) if str(app.config_file) in words else set()
    return found


def show_guards(app: App, *guards: dict[str, str]) -> None:
    """What a backup leaves for `status`."""
    app.duties.ended("guards:vps", app.clock.now(), ok=not guards, details={"guards": list(guards)})


def told(folder: Path) -> dict[str, Any]:
    status: dict[str, Any] = json.loads(failsafe(folder, "status", "--json"))["repositories"][0]["retention"]
    return status


@pytest.mark.first
def test_the_daemon_forgets_and_prunes_when_due_stops_at_a_guard_and_goes_on_after_it(app: App, tmp_path: Path) -> None:
    old = age(tmp_path, app, 400, 300, 200, 9, 8)
    newest = {each for each in ids(tmp_path) if each not in old}
    begun = app.clock.now()
    with daemon(tmp_path, "run"):
        rows = wait_until(lambda: both_ran(app, begun), PATIENCE, "both duties ran")
        assert all(rows[name].ok_at is not None and rows[name].ok_at >= begun for name in ("forget:nas", "prune:nas"))
        kept = ids(tmp_path)
        assert (len(kept & old), newest < kept) == (2, True)
        assert (told(tmp_path)["forgotten"], told(tmp_path)["frozen"]) == (3, [])
        assert begun.replace(microsecond=0) <= datetime.fromisoformat(told(tmp_path)["at"])
        pruned = app.events.last("repository.pruned", "nas")
        assert pruned is not None
        assert app.events.last("repository.forgotten", "nas") is not None

        book = GuardBook(app.inventory_file("vps"), "vps")
        book.stand("mass-loss", "100 of 100 messages vanished", app.clock.now(), ANNA)
        show_guards(app, {"code": "mass-loss", "text": "100 of 100 messages vanished"})
        more = age(tmp_path, app, 390, 380)
        again = make_due(app)
        rows = wait_until(lambda: both_ran(app, again), PATIENCE, "both duties came again, as they were due")
        assert more < ids(tmp_path), "nothing goes while a guard stands"
        assert [guard["code"] for guard in told(tmp_path)["frozen"]] == ["mass-loss"]
        assert app.events.last("repository.pruned", "nas") == pruned
        assert rows["prune:nas"].result in ("frozen", "findings")

    book.lift("mass-loss", ANNA)
    show_guards(app)
    lifted = make_due(app)
    with daemon(tmp_path, "run"):
        wait_until(lambda: both_ran(app, lifted), PATIENCE, "both duties came again")
    assert ids(tmp_path) == kept
    assert told(tmp_path)["frozen"] == []
    latest = app.events.last("repository.pruned", "nas")
    assert latest is not None
    assert latest.at > pruned.at
