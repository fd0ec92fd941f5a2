"""A repository with a damaged pack: what another one makes good is named message by message; alone, exactly what lies in the pack is missing."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from failsafe.app import App
from failsafe.backup.archive import Archive
from failsafe.backup.recall import RepositorySource, StagingSource
from failsafe.backup.restore import unreachable
from failsafe.backup.restore_plan import Wanted
from failsafe.config.load import load_config
from failsafe.restores import sources
from failsafe.verification import check_repository
from tests.contract.configs import MAIL_HERE
from tests.contract.mailstore import Silent, Store
from tests.contract.packs import Packs, answers, pack_file
from tests.contract.processes import run
from tests.contract.restics import PASSWORD, make_repository, password_file, programs, put_empty_repository
from tests.contract.restics import Patience as PatienceOf

pytestmark = [pytest.mark.timeout(1200), pytest.mark.skipif(not programs(), reason="restic is not installed (Debian: restic)")]

ANN = "ann@example.org"
MESSAGES, SIZE = 56, 700_000  # 39 MB: several segments in several packs of 16 MiB
REPOSITORIES = "".join(
    f'[repository.{name}]\nurl = "{{folder}}/{name}/repository"\npassword_file = "{{folder}}/repository.password"\n'
    for name in ("a-near", "b-far")
)


@dataclass
class House:
    """A controller with two repositories on its disk, each with all the mail of Ann."""

    folder: Path
    ids: set[str]
    packs: Packs

    @property
    def near(self) -> Path:
        return self.folder / "a-near" / "repository"

    @property
    def archive(self) -> Archive:
        return Archive(self.folder / "state" / "staging" / "vps")

    def run(self, *words: str, status: int = 0) -> tuple[dict[str, Any], str]:
        out, told = run(self.folder / "failsafe.toml", *words, "--json", status=status)
        return json.loads(out), told

    def restore(self, to: str, *words: str, status: int = 0) -> tuple[dict[str, Any], str]:
        return self.run("restore", "--mailbox", ANN, "--to", f"eml:{self.folder}/{to}", "--yes", *words, status=status)


def ask(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "RESTIC_REPOSITORY": str(folder / "a-near" / "repository"),
        "RESTIC_PASSWORD_FILE": str(folder / "repository.password"),
    }
    return subprocess.run(
        ["restic", "--no-cache", "--no-lock", *words], env=environment, capture_output=True, text=True, check=True
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> House:
    folder = tmp_path_factory.mktemp("house")
    password_file(folder)
    for name in ("a-near", "b-far"):
        (folder / name).mkdir()
        put_empty_repository(folder / name / "repository", PASSWORD)
    (folder / "failsafe.toml").write_text((MAIL_HERE + REPOSITORIES).format(folder=folder))
    store = Store(folder)
    store.fill(ANN, "", MESSAGES // 2, size=SIZE)
    store.fill(ANN, ".Archive", MESSAGES // 2, size=SIZE, prefix="a")
    store.calm()
    made = House(folder, {id_ for _, _, id_ in store.on_server()}, Packs({}, {}))
    made.run("backup")
    (snapshot,) = json.loads(ask(folder, "snapshots", "--json").stdout.splitlines()[-1])
    indexes = ask(folder, "list", "index").stdout.split()
    made.packs = Packs.of(lambda *words: answers(ask(folder, *words).stdout), indexes, snapshot["tree"])
    return made


@pytest.fixture
def house(whole: House) -> Iterator[House]:
    """Its nearest repository is put right again after the test."""
    kept = whole.folder / "kept"
    shutil.copytree(whole.near, kept)
    yield whole
    shutil.rmtree(whole.near, ignore_errors=True)
    kept.rename(whole.near)
    for name in ("out", "alone"):
        shutil.rmtree(whole.folder / name, ignore_errors=True)


def busiest(house: House) -> str:
    held = house.packs.of_segments()
    return max(held, key=held.__getitem__)


def delete_a_pack(house: House) -> set[str]:
    """Gives the messages that are lost with it."""
    pack = busiest(house)
    pack_file(house.near, pack).unlink()
    return house.packs.lost_with(house.archive, lambda blob: blob.pack == pack)


def flip_a_byte(house: House) -> set[str]:
    pack = busiest(house)
    struck = max((blob for blob in house.packs.blobs.values() if blob.pack == pack), key=lambda blob: blob.size)
    path = pack_file(house.near, pack)
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[struck.offset + struck.length // 2] ^= 0xFF
    path.write_bytes(data)
    return house.packs.lost_with(house.archive, lambda blob: blob == struck)


STRIKES = [
    flip_a_byte,
    *([delete_a_pack] if os.environ.get("FAILSAFE_ALL") else []),
]  # restic 0.14 asks a minute for what is gone


def contents(folder: Path) -> set[str]:
    return {path.name.rpartition("-")[2].removesuffix(".eml") for path in folder.rglob("*.eml")}


@pytest.mark.parametrize("strike", STRIKES)
def test_what_a_damaged_pack_held_comes_from_elsewhere_or_is_named_and_comes_later(house: House, strike: Any) -> None:
    affected = strike(house)
    assert 0 < len(affected) < MESSAGES

    report, said = house.restore("out")

    assert (report["added"], report["missing"], report["verified"]) == (MESSAGES, [], True)
    assert report["sources"] == {"a-near": MESSAGES - len(affected), "b-far": len(affected)}
    assert {line["id"] for line in report["elsewhere"]} == affected
    assert {(*line["damaged_in"], line["taken_from"]) for line in report["elsewhere"]} == {("a-near", "b-far")}
    assert said.count("taken from b-far, since damaged in a-near: ann@example.org") == min(len(affected), 20)

    report, said = house.restore("alone", "--repository", "a-near", status=4)

    assert {line["id"] for line in report["missing"]} == affected
    assert len(report["missing"]) == len(affected)
    assert {line["why"] for line in report["missing"]} == {"not whole in a-near; no repository that can be read holds it whole"}
    assert report["added"] == MESSAGES - len(affected)
    assert contents(house.folder / "alone") == {id_[:16] for id_ in house.ids - affected}

    shutil.copytree(house.folder / "kept", house.near, dirs_exist_ok=True)  # it is mended

    report, _ = house.restore("alone", "--repository", "a-near")

    assert (report["added"], report["already_there"], report["missing"]) == (len(affected), MESSAGES - len(affected), [])
    assert contents(house.folder / "alone") == {id_[:16] for id_ in house.ids}


def test_a_repository_that_is_not_there_is_passed_over_with_a_word(house: House) -> None:
    shutil.rmtree(house.near)

    report, said = house.restore("out")

    assert (report["added"], report["sources"], report["elsewhere"]) == (MESSAGES, {"b-far": MESSAGES}, [])
    assert said.count(f"repository a-near ({house.near})") == 1
    assert "a-near could not be asked" in " ".join(report["notes"])


def test_where_no_repository_can_be_read_everything_is_named_and_it_is_exit_4(house: House) -> None:
    shutil.rmtree(house.near)

    report, _ = house.restore("out", "--repository", "a-near", status=4)

    assert (report["added"], len(report["missing"])) == (0, MESSAGES)


def test_a_repository_in_which_damage_was_found_is_asked_after_the_healthy_one(house: House) -> None:
    app = App(load_config(house.folder / "failsafe.toml"), house.folder / "failsafe.toml")
    assert [source.name for source in sources(app, None, house.folder)] == ["a-near", "b-far", "staging"]
    flip_a_byte(house)

    verdict, _ = check_repository(app, "a-near", Silent(), whole=True)

    assert not verdict.ok
    assert [source.name for source in sources(app, None, house.folder)] == ["b-far", "a-near", "staging"]
    app.duties.change_details("a-near", check={})
    app.store.close()


def test_a_repository_that_hangs_is_given_up_once(house: House, tmp_path: Path) -> None:
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and never answers
        url = f"rest:http://127.0.0.1:{silent.getsockname()[1]}/"
        patience = PatienceOf(quick=timedelta(seconds=3), grace=timedelta(seconds=1))
        hanging = RepositorySource(make_repository("restic", tmp_path, name="far", url=url, patience=patience), tmp_path)
        item = Wanted(
            server="vps", mailbox=ANN, id="0" * 64, canonical="", size=1, flags="", keywords=(), internal_date=0, first_generation=1,
            last_generation=1, target_mailbox=ANN, target_folder="INBOX", directory="",
        )  # fmt: skip
        for _ in range(20):  # each mailbox and each step asks
            assert unreachable([item], [hanging, StagingSource({"vps": house.archive})], said.append) == {}
        silent.setblocking(False)
        connections = 0
        while True:
            try:
                silent.accept()[0].close()
            except BlockingIOError:
                break
            connections += 1
    assert connections <= 3  # one restic, which may try again by itself
    assert "took too long" in said[0]
