"""`failsafe erase` on a real repository: nothing of the mailbox in what is made from then on, and old snapshots keep it exactly as long as told."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from failsafe.app import App
from failsafe.backup.inventory import Inventory
from failsafe.backups import back_up
from failsafe.clock import SystemClock
from failsafe.config.load import load_config
from failsafe.maintenance import forget_repository, prune_repository
from failsafe.model import Result
from tests.contract.configs import MAIL_HERE
from tests.contract.mailstore import Silent, Store
from tests.contract.restics import PASSWORD, programs, put_empty_repository, restic
from tests.contract.verbs import run_verb

pytestmark = pytest.mark.skipif(not programs(), reason="restic is not installed (Debian: restic)")
ANNA, BERT = "anna@example.org", "bert@example.org"
MARKER = "only-anna-had-this"
CONFIG = (
    MAIL_HERE
    + """[repository.nas]
url = "{folder}/place/repository"
password_file = "{folder}/place/repository.password"
keep = {{ daily = 2 }}
"""
)


class Stepping(SystemClock):
    step = timedelta()

    def now(self) -> datetime:
        return super().now() + self.step


class World:
    """Anna's mail with a marker, some of it held by Bert too, and two snapshots of that."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store, self.config = folder, Store(folder), folder / "failsafe.toml"
        (folder / "place").mkdir()
        put_empty_repository(self.place / "repository", PASSWORD)
        secret = self.place / "repository.password"
        secret.touch(mode=0o600)
        secret.write_text(PASSWORD)
        self.config.write_text(CONFIG.format(folder=folder))
        self.said: list[str] = []
        self.open()

    def open(self) -> None:
        self.app = App(load_config(self.config), self.config)
        self.app.clock = Stepping()

    @property
    def place(self) -> Path:
        return self.folder / "place"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def deliver(self, mailbox: str, name: str, subject: str) -> None:
        body = f"From: {subject} <x@example.net>\nSubject: {subject}\nMessage-ID: <{name}@test>\n\n{subject}\n"
        self.store.put(mailbox, "", f"{name}.host:2,S", body.encode())

    def back_up(self) -> Any:
        self.store.calm()
        report = back_up(self.app, "vps", Silent(), self.said.append, by_hand=True)
        assert report.result is Result.OK, report
        return report

    def snapshots(self) -> list[str]:
        """Ids, in order of their generations."""
        listed = json.loads(restic("restic", self.place, "snapshots", "--json", "--no-lock").stdout)
        return [each["id"] for each in sorted(listed, key=lambda each: min(each["tags"]))]  # "generation:N" sorts first

    def restored(self, snapshot: str) -> Path:
        """All of a snapshot, by restic alone."""
        target = self.folder / "restored" / snapshot[:8]
        done = restic("restic", self.place, "restore", snapshot, "--target", str(target))
        assert done.returncode == 0, done.stderr
        return target

    def run(self, *argv: str) -> tuple[int, str, str]:
        return run_verb(self.config, *argv)

    def erase(self) -> dict[str, Any]:
        code, out, told = self.run("erase", ANNA, "--reason", "asked for", "--yes", "--json")
        assert code == 0, (out, told)
        return dict(json.loads(out))


def marked(folder: Path) -> list[str]:
    """Files with the marker in them, in whatever they are; restic's own are encrypted."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return [str(path.relative_to(folder)) for path in files if MARKER.encode() in path.read_bytes()]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    for number in range(3):
        made.deliver(ANNA, f"a{number}", f"{MARKER} {number}")
    made.deliver(ANNA, "shared", "for both")
    made.back_up()
    made.deliver(BERT, "shared", "for both")
    made.deliver(BERT, "own", "for bert")
    made.back_up()
    assert marked(made.state)
    yield made
    made.app.store.close()


def test_nothing_made_from_then_on_has_a_byte_of_it_and_old_snapshots_have_all_of_it(world: World) -> None:
    old = world.snapshots()

    told = world.erase()

    assert told["servers"] == [{"server": "vps", "mailboxes": [ANNA], "messages": 4, "cleared": True, "left": ""}]
    assert marked(world.state) == []
    world.deliver(ANNA, "later", MARKER)
    world.deliver(BERT, "later", "for bert again")
    report = world.back_up()
    (new,) = set(world.snapshots()) - set(old)
    assert marked(world.restored(new)) == []
    assert marked(world.state) == []
    assert (report.missing, report.guards) == ((), ())
    assert all(marked(world.restored(each)) for each in old)
    notes = json.loads(min((world.restored(new) / "generations").iterdir()).read_text())["notes"]
    assert list(notes["erased"]) == [ANNA]
    event = world.app.events.last("mailbox.erased", "vps")
    assert event is not None
    assert event.details["reason"] == "asked for"


def test_it_is_neither_found_nor_restored_and_what_another_holds_is(world: World) -> None:
    (row,) = [json.loads(line) for line in world.run("search", "--subject", f"{MARKER} 1", "--json")[1].splitlines()]
    old = world.snapshots()[0]
    (shared,) = [json.loads(line) for line in world.run("search", "--mailbox", BERT, "both", "--json")[1].splitlines()]
    world.erase()

    asked = [
        ("search", MARKER),
        ("search", "--mailbox", ANNA),
        ("search", "--mailbox", ANNA, "--at", "today"),
    ]
    target = f"maildir:{world.folder}/out"
    asked += [
        ("restore", "--mailbox", ANNA, "--to", target, "--yes"),
        ("restore", "--id", row["id"], "--to", target, "--yes"),
        ("restore", "--mailbox", ANNA, "--snapshot", old, "--to", target, "--yes"),
        ("restore", "--id", row["id"], "--snapshot", old, "--to", target, "--yes"),
        ("restore", "--snapshot", old, "--to", target, "--yes"),
    ]
    answers = [world.run(*words) for words in asked]

    assert [code for code, _, _ in answers] == [1] * len(asked), answers
    assert all("erased" in told for _, _, told in answers), answers
    assert not (world.folder / "out").exists()
    code, _, _ = world.run("restore", "--id", shared["id"], "--to", target, "--yes")
    assert code == 0
    assert len([path for path in (world.folder / "out").rglob("*") if path.is_file() and b"for both" in path.read_bytes()]) == 1


def test_a_whole_server_comes_back_without_it(world: World) -> None:
    both = world.snapshots()[1]
    world.erase()
    shutil.move(world.store.root, world.folder / "dead")
    world.store.root.mkdir()

    code, out, told = world.run("restore", "--to", "server:vps", "--snapshot", both, "--mail-owner", "0:0", "--yes", "--json")

    assert code in (0, 1), (out, told)
    assert f"{ANNA} was erased and is not restored" in told
    assert (marked(world.store.root), len(list((world.store.root / "example.org" / "bert" / "cur").iterdir()))) == ([], 2)


def test_the_last_copy_disappears_on_the_day_that_was_told(world: World) -> None:
    old = world.snapshots()
    (copy,) = world.erase()["repositories"]
    clock = world.app.clock
    assert isinstance(clock, Stepping)
    today = clock.now().date()

    gone_on = None
    for day in range(6):
        clock.step = timedelta(days=day)
        if day:
            world.deliver(BERT, f"day{day}", f"day {day}")
            world.back_up()
        forget_repository(world.app, "nas")
        if not set(old) & set(world.snapshots()):
            gone_on = today + timedelta(days=day)
            break

    assert copy["snapshots"] == 2
    assert gone_on == datetime.fromisoformat(copy["forgotten_at"]).date()
    assert copy["gone_at"] > copy["forgotten_at"]
    outcome = prune_repository(world.app, "nas")
    assert (outcome.done, outcome.whole) == (True, True)
    left = restic("restic", world.place, "prune", "--dry-run", "--max-unused=0").stdout
    assert "total prune:           0 blobs" in left, left
    assert not prune_repository(world.app, "nas").whole, "once is enough"


def test_after_a_lost_database_it_stays_erased(world: World) -> None:
    world.erase()
    world.app.store.close()
    for path in world.state.glob("failsafe.sqlite*"):
        path.unlink()
    world.open()
    world.deliver(ANNA, "later", MARKER)

    world.back_up()

    assert marked(world.state) == []
    assert world.run("search", "--mailbox", ANNA)[0] == 1


def test_staging_that_comes_back_from_an_older_snapshot_brings_nothing_of_it_along(world: World) -> None:
    old = world.snapshots()
    world.erase()
    for lost in ("staging", "inventory", "proofs"):
        shutil.rmtree(world.state / lost)
    for path in world.state.glob("catalog.sqlite*"):
        path.unlink()

    world.back_up()

    assert any("came back from a snapshot" in line for line in world.said)
    (new,) = set(world.snapshots()) - set(old)
    assert marked(world.restored(new)) == []
    assert marked(world.state) == []
    assert world.run("search", "--mailbox", BERT, "--json")[0] == 0


@pytest.mark.parametrize("made", [False, True], ids=["nothing is there", "an inventory was made since"])
def test_with_everything_lost_the_newest_snapshot_says_who_was_erased(world: World, made: bool) -> None:
    old = world.snapshots()[0]
    world.erase()
    world.back_up()
    world.app.store.close()
    shutil.rmtree(world.state)
    world.open()
    world.app.duties.change_repository("nas", restic_id="")
    if made:  # by a backup that then failed, say
        Inventory.open(world.app.inventory_file("vps")).close()

    code, _, told = world.run("restore", "--mailbox", ANNA, "--snapshot", old, "--to", f"maildir:{world.folder}/out", "--yes")
    assert (code, "erased" in told) == (1, True), told
    world.back_up()

    assert marked(world.state) == []


def test_a_catalog_made_anew_from_the_repository_alone_finds_the_same_and_nothing_that_was_erased(world: World) -> None:
    """With everything on this machine lost: the newest snapshot's notes say who was erased, whatever older ones have."""

    def rows() -> list[dict[str, Any]]:
        return sorted((json.loads(line) for line in world.run("search", "--json")[1].splitlines()), key=repr)

    everything = rows()
    world.app.store.close()
    shutil.rmtree(world.state)
    code, out, told = world.run("catalog", "rebuild", "--json")
    assert (code, json.loads(out)["servers"][0]["snapshots"], rows()) == (0, 2, everything), told

    world.open()
    world.app.duties.change_repository("nas", restic_id="")
    world.back_up()
    world.erase()
    world.back_up()
    world.app.store.close()
    shutil.rmtree(world.state)
    code, out, told = world.run("catalog", "rebuild", "--repository", "nas")

    assert (code, "3 snapshot(s) in nas" in out) == (0, True), (out, told)
    assert {row["mailbox"] for row in rows()} == {BERT}
    assert marked(world.state) == []
    assert not (world.state / "restore").exists()


def test_it_is_archived_again_once_a_person_says_so(world: World) -> None:
    world.erase()

    code, out, _ = world.run("erase", ANNA, "--undo", "--reason", "came back")

    assert (code, "archived again" in out) == (0, True)
    world.back_up()
    assert world.run("search", "--mailbox", ANNA, MARKER, "--json")[0] == 0


def test_nothing_is_done_without_the_name_and_unknown_names_are_refused(world: World) -> None:
    assert world.run("erase", ANNA)[0] == 2
    assert world.run("erase", "nobody@example.org", "--yes")[0] == 2
    code, out, _ = world.run("erase", "example.org", "--dry-run", "--json")
    told = json.loads(out)
    assert (code, told["dry_run"], told["servers"][0]["mailboxes"]) == (0, True, [ANNA, BERT])
    assert told["repositories"][0]["snapshots"] == 2
    assert marked(world.state), "a dry run changes nothing"


def test_the_name_is_typed_on_a_terminal(world: World) -> None:
    """`script` gives the verb a terminal."""
    if shutil.which("script") is None:
        pytest.skip("script is not installed (Debian: bsdutils)")
    verb = f"{sys.executable} -m failsafe --config {world.config} erase {ANNA}"
    command = ["script", "-qec", verb, "/dev/null"]

    wrong = subprocess.run(command, input="y\n", capture_output=True, text=True, timeout=60, check=False)
    assert (wrong.returncode, bool(marked(world.state))) == (5, True), wrong.stdout
    right = subprocess.run(command, input=f"{ANNA}\n", capture_output=True, text=True, timeout=60, check=False)

    assert (right.returncode, marked(world.state)) == (0, []), right.stdout
    assert "at the latest: 2 snapshot(s)" in right.stdout


def test_while_a_backup_is_at_work_it_is_hidden_at_once_and_taken_out_by_the_next_backup(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from failsafe import erasure
    from failsafe.adapters.lock import FileLock

    monkeypatch.setattr(erasure, "LOCK_WAIT_SECONDS", 0.1)
    with FileLock(world.app.lock_file("heavy"), "backup of vps").hold():
        code, _, _ = world.run("erase", ANNA, "--yes")
        hidden = world.run("search", "--mailbox", ANNA)[0]

    assert (code, hidden) == (1, 1)
    world.back_up()
    assert marked(world.state) == []
