"""Forget and prune from the configuration to what a person sees, on a real repository: what goes, what stops it, what is told."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from failsafe.app import App
from failsafe.backup.guardbook import GuardBook
from failsafe.backups import back_up, stored_snapshots
from failsafe.config.load import load_config
from failsafe.errors import Refused
from failsafe.maintenance import FROZEN_LONG, forget_repository, plan_repository, prune_repository
from failsafe.model import Result
from failsafe.status.as_json import to_json
from failsafe.status.build import build_status
from failsafe.status.roster import roster_of
from failsafe.status.values import Status
from failsafe.store.glance import glance_file
from failsafe.store.schema import domain_state
from failsafe.verification import check_repository
from tests.contract.configs import MAIL_HERE
from tests.contract.mailstore import Silent, Store
from tests.contract.restic_snapshots import put_snapshots
from tests.contract.restics import PASSWORD, programs, put_empty_repository, restic
from tests.contract.verbs import run_verb
from tests.support import wait_until

pytestmark = pytest.mark.skipif(not programs(), reason="restic is not installed (Debian: restic)")
CONFIG = (
    MAIL_HERE
    + """[repository.nas]
url = "{folder}/place/repository"
password_file = "{folder}/place/repository.password"
{more}
[domain."example.org"]
server = "vps"
primary = ["mail.example.org"]
secondary = ["mx.example.net"]
strategy = "on-demand"
"""
)
KEEP = 'keep = { within = "2d", daily = 3 }\ncheck = { every = "7d", share = "1/2" }'
ANNA = "anna@example.org"


class World:
    """A backed-up mailbox, and older snapshots as an earlier time would have left them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(folder)
        self.config = folder / "failsafe.toml"

    def configure(self, more: str = KEEP) -> App:
        self.config.write_text(CONFIG.format(folder=self.folder, more=more))
        self.app = App(load_config(self.config), self.config)
        return self.app

    def back_up(self) -> None:
        self.store.calm()
        report = back_up(self.app, "vps", Silent(), lambda _text: None, by_hand=True)
        assert report.result is Result.OK

    def age(self, *days: int, host: str = "failsafe-vps") -> list[str]:
        """Snapshots of the newest one's tree, so many days ago, oldest first; gives their ids."""
        listed = json.loads(restic("restic", self.place, "snapshots", "--json", "--no-lock").stdout)
        now = self.app.clock.now()
        given = [
            (now - timedelta(days=each), host, (f"generation:{1000 - each}", f"state:{each:016x}", "result:ok", "messages:3"))
            for each in days
        ]
        return put_snapshots("restic", self.place, listed[-1]["tree"], given)

    @property
    def place(self) -> Path:
        return self.folder / "place"

    def ids(self) -> list[str]:
        return [info.id for info in self.app.repository("nas").snapshots()]

    def status(self) -> Status:
        return build_status(roster_of(self.app.config), glance_file(self.app.state_dir / "failsafe.sqlite"), self.app.clock.now())

    def run(self, *argv: str) -> tuple[int, str, str]:
        """A verb, in this process; its exit code, stdout and stderr."""
        return run_verb(self.config, *argv)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    (tmp_path / "place").mkdir()
    put_empty_repository(tmp_path / "place" / "repository", PASSWORD)
    secret = tmp_path / "place" / "repository.password"
    secret.touch(mode=0o600)
    secret.write_text(PASSWORD)
    made = World(tmp_path)
    made.store.fill(ANNA, "", 3)
    made.configure()
    made.back_up()
    yield made
    made.app.store.close()


def test_what_keep_lets_go_is_forgotten_and_its_room_comes_back(world: World) -> None:
    old, others = world.age(400, 300, 200, 9, 8), world.age(500, host="laptop")
    before = set(world.ids())
    world.store.fill(ANNA, "", 1, size=400_000, prefix="large")
    world.back_up()
    (large,) = set(world.ids()) - before  # maybe of the same second as the first

    report = forget_repository(world.app, "nas")

    assert (report.exit_code, set(report.forgotten)) == (0, set(old[:3]))
    assert set(old[:3]).isdisjoint(world.ids())
    assert {large, *old[3:], *others} <= set(world.ids()), "three days, and what is not ours"
    event = world.app.events.last("repository.forgotten", "nas")
    assert event is not None
    assert set(event.details["ids"]) == set(old[:3])
    assert world.app.duties.all()["forget:nas"].result == "ok"
    assert world.app.duties.repositories()["nas"].snapshots == len(world.ids()) - len(others)

    world.app.repository("nas").forget([large])  # as if its turn had come too
    before = size_of(world.place / "repository" / "data")
    outcome = prune_repository(world.app, "nas")

    assert (outcome.done, outcome.exit_code) == (True, 0)
    assert before - size_of(world.place / "repository" / "data") > 300_000
    assert outcome.bytes_freed is not None
    assert outcome.bytes_freed > 300_000
    assert world.app.repository("nas").check(part=1, parts=1).ok
    assert world.app.events.last("repository.pruned", "nas") is not None
    told = to_json(world.status())["repositories"][0]
    assert told["retention"]["forgotten"] == 3
    assert told["retention"]["frozen"] == []


def test_every_snapshot_is_shown_with_its_reasons_and_a_person_is_asked(world: World) -> None:
    old = world.age(9, 8, 7, 6)
    code, out, _ = world.run("forget", "--dry-run")
    lines = {line.split()[4]: line for line in out.splitlines() if line.startswith("  20")}

    assert code == 0
    assert "keeps within 2d, 3 daily" in out
    assert "forget" in lines[old[0][:8]]
    assert "before the last 3 daily" in lines[old[0][:8]]
    assert "newest complete one; within 2d" in lines[world.ids()[-1][:8]]
    assert world.run("forget")[0] == 2, "nobody is there to answer"
    assert set(old) <= set(world.ids())

    code, out, _ = world.run("forget", "--yes", "--json")

    told = json.loads(out)["repositories"][0]
    assert code == 0
    assert told["forgotten"] == old[:2]
    assert {each["snapshot_id"]: each["kept"] for each in told["snapshots"]}[old[0]] is False
    assert all(each["reasons"] for each in told["snapshots"])


def test_while_a_guard_stands_nothing_goes_and_the_last_good_snapshot_is_pinned(world: World) -> None:
    old = world.age(90, 60, 30)
    book = GuardBook(world.app.inventory_file("vps"), "vps")
    book.stand("mass-loss", "100 of 100 messages vanished", world.app.clock.now() - timedelta(days=40), ANNA)

    report, pruned = forget_repository(world.app, "nas"), prune_repository(world.app, "nas")

    assert (report.exit_code, report.forgotten) == (1, ())
    assert (pruned.exit_code, pruned.done) == (1, False)
    assert set(old) <= set(world.ids())
    assert "failsafe accept vps --mailbox anna@example.org" in report.frozen[0].mend
    assert all(each.reasons[0].startswith("frozen: mass-loss of anna@example.org") for each in report.plans[0].decisions)
    found, _silent = stored_snapshots(world.app, None, None)
    assert {each.info.id for each in found if each.to_json()["pinned"]} == {old[1]}
    assert "pinned: mass-loss of anna@example.org" in world.run("snapshots")[1]
    assert world.app.duties.all()["forget:nas"].result == "frozen"

    book.lift("mass-loss", ANNA)

    assert set(forget_repository(world.app, "nas").forgotten) == set(old[:1])


def test_a_freeze_that_lasts_is_told_and_never_silent(world: World) -> None:
    GuardBook(world.app.inventory_file("vps"), "vps").stand("tampered", "other content", world.app.clock.now(), ANNA)
    world.app.duties.ended("guards:vps", world.app.clock.now(), ok=False, details={"guards": [{"code": "tampered", "text": "x"}]})
    world.age(50)
    forget_repository(world.app, "nas")
    severity = {each.code: each.severity for each in world.status().findings}
    assert severity["retention"] == "warn"
    assert world.app.events.last("retention.frozen", "nas") is None

    kept = world.app.duties.repositories()["nas"].details["retention"]
    since = (world.app.clock.now() - FROZEN_LONG - timedelta(hours=1)).isoformat()
    world.app.duties.change_details("nas", retention={**kept, "frozen_since": since})
    for _ in range(2):
        forget_repository(world.app, "nas")

    severity = {each.code: each.severity for each in world.status().findings}
    assert severity["retention"] == "fail"
    told = [pending.notice for pending in world.app.events.pending_notices(world.app.clock.now() + timedelta(days=1))]
    assert [notice.thread for notice in told].count("retention/nas") == 1, "once a week, not with every run"
    assert world.app.duties.all()["forget:nas"].ok_at is not None, "a freeze is no late duty"


@pytest.mark.parametrize("state", ["failed-over", "nonsense"])
def test_a_domain_that_is_not_normal_or_not_readable_stops_it(world: World, state: str) -> None:
    old = world.age(90, 60)
    now = world.app.clock.now()
    row = {
        "domain": "example.org",
        "state": state,
        "since_at": now,
        "serving": "secondary",
        "epoch": 1,
        "hold_reason": "",
        "details": {},
    }
    with world.app.store.begin() as connection:
        connection.execute(insert(domain_state).values(**row, changed_at=now))

    report = forget_repository(world.app, "nas")

    assert (report.exit_code, report.forgotten) == (1, ())
    assert "example.org" in report.frozen[0].text
    assert set(old) <= set(world.ids())


def test_without_an_inventory_nobody_knows_what_stands_so_nothing_goes(world: World) -> None:
    old = world.age(90, 60)
    world.app.inventory_file("vps").rename(world.folder / "lost")

    report = forget_repository(world.app, "nas")

    assert (report.exit_code, report.frozen[0].code) == (1, "unknown")
    assert set(old) <= set(world.ids())


def test_where_maintenance_is_elsewhere_this_machine_forgets_and_prunes_nothing(world: World) -> None:
    old = world.age(90, 60)
    world.configure(f'{KEEP}\nmaintenance = "elsewhere"')

    with pytest.raises(Refused, match="elsewhere"):
        forget_repository(world.app, "nas")
    with pytest.raises(Refused, match="elsewhere"):
        prune_repository(world.app, "nas")
    code, out, _ = world.run("forget", "--yes")

    assert code == 0
    assert 'maintenance is "elsewhere"' in out
    assert world.run("prune", "--repository", "nas")[0] == 3
    assert set(old) <= set(world.ids())
    assert not [duty for duty in roster_of(world.app.config).duties if duty.name.startswith(("forget", "prune"))]


def test_without_keep_nothing_is_ever_forgotten_and_that_is_said(world: World) -> None:
    old = world.age(900, 60)
    world.configure("")

    report = forget_repository(world.app, "nas")

    assert (report.exit_code, report.forgotten) == (0, ())
    assert set(old) <= set(world.ids())
    assert "nothing is forgotten from here" in str(world.status().repositories[0].retention)


def test_another_repository_in_the_place_of_ours_is_left_alone(world: World) -> None:
    shutil.move(world.place / "repository", world.place / "ours")
    put_empty_repository(world.place / "repository", PASSWORD)
    made = subprocess.run(
        ["restic", "init", "-q"],
        env={"PATH": os.environ["PATH"], "HOME": str(world.folder), "RESTIC_REPOSITORY": str(world.place / "other"), "RESTIC_PASSWORD": PASSWORD},
        check=False,
        capture_output=True,
    )  # fmt: skip
    assert made.returncode == 0
    shutil.rmtree(world.place / "repository")
    shutil.move(world.place / "other", world.place / "repository")

    report, pruned = plan_repository(world.app, "nas"), prune_repository(world.app, "nas")

    assert (report.exit_code, report.frozen[0].code) == (1, "repository-unknown")
    assert "accept" in report.frozen[0].mend
    assert (pruned.exit_code, pruned.done) == (1, False)


def test_damage_stops_it_until_the_same_data_reads_well_again(world: World) -> None:
    old = world.age(90, 60)
    pack = max(
        (path for path in (world.place / "repository" / "data").rglob("*") if path.is_file()),
        key=lambda path: path.stat().st_size,
    )
    content = pack.read_bytes()
    pack.chmod(0o600)
    pack.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    checks = [check_repository(world.app, "nas", Silent())[0].ok for _ in range(2)]

    report = forget_repository(world.app, "nas")

    assert sorted(checks) == [False, True], "one of two parts holds it; the good one does not hide the bad one"
    assert (report.exit_code, report.frozen[0].code) == (1, "damaged")
    assert "verify --repository nas --whole" in report.frozen[0].mend
    assert prune_repository(world.app, "nas").frozen
    assert {each.status for each in world.status().repositories} == {"failed"}
    assert ("repository-check", "fail") in {(each.code, each.severity) for each in world.status().findings}

    pack.write_bytes(content)  # as a repair would
    verdict, _ = check_repository(world.app, "nas", Silent(), whole=True)

    assert (verdict.ok, verdict.read_percent) == (True, 100.0)
    assert set(forget_repository(world.app, "nas").forgotten) == set()
    assert set(old) <= set(world.ids()), "three days are kept, and there are three"
    assert {each.status for each in world.status().repositories} == {"ok"}


def test_a_wrong_password_is_a_failure_of_the_outside_and_named(world: World) -> None:
    (world.place / "repository.password").write_text("something else")

    code, out, told = world.run("forget", "--yes", "--json")

    assert code == 4
    assert "wrong password" in told
    assert json.loads(out)["repositories"][0]["error"]
    assert world.run("prune")[0] == 4


def test_forget_and_prune_use_the_maintenance_credential_and_backups_never_do(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = world.folder / "maintenance.env"
    secret.touch(mode=0o600)
    secret.write_text("AWS_ACCESS_KEY_ID=may-delete\n")
    tools, program = world.folder / "tools", shutil.which("restic")
    tools.mkdir()
    (tools / "restic").write_text(
        f'#!/bin/sh\necho "$1 ${{AWS_ACCESS_KEY_ID:-everyday}}" >> {tools}/calls\nexec {program} "$@"\n'
    )
    (tools / "restic").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    world.configure(f'{KEEP}\nmaintenance_environment_file = "{secret}"')
    world.age(90, 80, 70, 60)
    world.store.fill(ANNA, "", 1, prefix="new")
    world.back_up()

    assert forget_repository(world.app, "nas").forgotten
    assert prune_repository(world.app, "nas").done

    calls = {tuple(line.split()) for line in (tools / "calls").read_text().splitlines()}
    assert {("forget", "may-delete"), ("prune", "may-delete"), ("backup", "everyday")} <= calls
    assert not {("forget", "everyday"), ("prune", "everyday"), ("backup", "may-delete")} & calls


def test_status_shows_how_far_a_prune_is(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    tools, program = world.folder / "tools", shutil.which("restic")
    tools.mkdir()
    wait = f'echo "[0:01] 75.00%  3 / 4 packs repacked"; until [ -e {tools}/go ]; do sleep 0.05; done;'
    (tools / "restic").write_text(f'#!/bin/sh\n[ "$1" = prune ] && {{ {wait} }}\nexec {program} "$@"\n')
    (tools / "restic").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")

    with ThreadPoolExecutor(1) as pool:
        pruning = pool.submit(prune_repository, world.app, "nas")
        try:
            work = wait_until(lambda: (found := world.status().repositories[0].work) and found.total and found, 60, "it is shown")
            assert (work.what, work.done, work.total, work.counted, work.moving) == ("prune", 3, 4, "packs repacked", True)
            assert "prune runs since" in world.run("status")[1]
            assert to_json(world.status())["repositories"][0]["work"]["what"] == "prune"
        finally:
            (tools / "go").touch()
        assert pruning.result(60).done
    assert world.status().repositories[0].work is None


def test_the_date_of_full_coverage_is_a_number(world: World) -> None:
    def coverage() -> dict[str, Any]:
        told: dict[str, Any] = to_json(world.status())["repositories"][0]["coverage"]
        return told

    check_repository(world.app, "nas", Silent())
    first = coverage()
    assert (first["parts"], first["parts_read"], first["read_since"], first["round_days"]) == (2, 1, None, 14)

    check_repository(world.app, "nas", Silent())
    second = coverage()
    assert second["parts_read"] == 2
    assert second["read_since"] is not None
    assert second["unread_bytes"] == 0
    assert second["bytes_a_check"] > 0
    assert second["requests_a_check"] >= 1

    world.store.fill(ANNA, "", 1, size=200_000, prefix="later")
    world.back_up()
    assert coverage()["unread_bytes"] > 100_000, "what came since is not called read"

    world.configure(KEEP.replace("1/2", "1/3"))
    check_repository(world.app, "nas", Silent())
    assert (coverage()["parts"], coverage()["parts_read"]) == (3, 1), "another share begins anew"


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
