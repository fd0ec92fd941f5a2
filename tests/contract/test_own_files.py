"""What failsafe knows lies in every repository, and costs next to nothing there: real mail on disk, real restic."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import pytest

from failsafe.app import App
from failsafe.backup.archive.reader import Archive
from failsafe.backup.own_files import Knowledge, OwnFiles, read_knowledge
from failsafe.backup.report import BackupReport
from failsafe.backups import back_up
from failsafe.config.load import load_config
from failsafe.events import Event
from failsafe.model import DomainState, FlipKind, MxSet, NewIntent, Outcome, Result, Side
from failsafe.store.journal import Journal
from tests.contract.configs import MAIL_HERE
from tests.contract.mailstore import Silent, Store
from tests.contract.restics import put_empty_repository

ANNA, DOMAIN = "anna@example.org", "example.org"
PEACE = MxSet.of((10, "mail.example.org"), ttl_seconds=60)
OUTAGE = MxSet.of((5, "mx.example.net"), (10, "mail.example.org"), ttl_seconds=60)
SECRETS = {name: f"a secret of {name} 5f2c" for name in ("repository", "token", "probe", "environment", "notify")}
MOST_ADDED = 5_000  # bytes by failsafe's own files in a backup, packed

CONFIG = (
    MAIL_HERE
    + """
[repository.nas]
url = "{folder}/nas"
password_file = "{folder}/secrets/repository"
environment_file = "{folder}/secrets/environment"
[dns.cf]
provider = "cloudflare"
token_file = "{folder}/secrets/token"
zone_id = "z1"
[domain."example.org"]
server = "vps"
dns = "cf"
primary = ["mail.example.org"]
secondary = ["mx.example.net"]
strategy = "on-demand"
[probe.vps]
imap = {{ host = "127.0.0.1", port = 143, user = "probe@example.org", password_file = "{folder}/secrets/probe" }}
[notify]
urls_file = "{folder}/secrets/notify"
"""
)


@dataclass
class Home:
    """A controller, its mail and its repository below one folder."""

    folder: Path
    app: App
    store: Store

    def back_up(self) -> BackupReport:
        self.store.calm()
        return back_up(self.app, "vps", Silent(), lambda _text: None, by_hand=True)

    @property
    def archive(self) -> Archive:
        return Archive(self.app.staging_folder("vps"))

    def known(self) -> Knowledge:
        found = read_knowledge(self.archive, self.archive.generation())
        assert found is not None
        return found

    def states(self) -> list[tuple[str, str]]:
        return [(row["domain"], row["state"]) for row in self.known().rows if row["table"] == "domain_state"]

    def fail_over(self) -> None:
        now = datetime.now(UTC)  # noqa: TID251 - the test's own moment
        journal = Journal(self.app.store, self.app.leases.acquire("nas", now))
        plan = NewIntent(DOMAIN, FlipKind.FAILOVER, "nas", "down", now, now + timedelta(minutes=5), PEACE, OUTAGE, "d" * 64)
        record = journal.load(DOMAIN, now)
        record, intent = journal.begin(record, record, plan, [])
        away = replace(record, state=DomainState.FAILED_OVER, serving=Side.SECONDARY, previous=PEACE, written=OUTAGE)
        journal.finish(record, away, intent, Outcome.DONE, "verified", [])

    def stored(self) -> int:
        return sum(path.stat().st_size for path in (self.folder / "nas").rglob("*") if path.is_file())


def _event(number: int) -> Event:
    return Event("backup.done", "vps", f"{number} new messages, 3 flags changed", datetime(2026, 11, 22, 17, number, tzinfo=UTC))


def _bare(app: App) -> OwnFiles:
    return OwnFiles.fixed({"failsafe.toml": app.config_file.read_bytes()})


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "secrets").mkdir(mode=0o700)
    for name, secret in SECRETS.items():
        file = tmp_path / "secrets" / name
        file.touch(mode=0o600)
        file.write_text(f"AWS_SECRET_ACCESS_KEY={secret}\n" if name == "environment" else f"{secret}\n")
    put_empty_repository(tmp_path / "nas", SECRETS["repository"])
    config = tmp_path / "failsafe.toml"
    config.write_text(CONFIG.format(folder=tmp_path))
    made = Home(tmp_path, App(load_config(config), config), Store(tmp_path))
    made.store.fill(ANNA, "", 50)
    return made


def test_every_repository_gets_the_configuration_and_the_journal_and_no_secret(home: Home) -> None:
    home.fail_over()
    home.back_up()
    home.store.fill(ANNA, "", 1, prefix="later")
    home.back_up()

    known = home.known()

    assert known.configuration == home.app.config_file.read_bytes()
    assert home.states() == [(DOMAIN, "failed-over")]
    assert {row["table"] for row in known.rows} >= {"intent", "domain_state", "event", "duty", "repository_state"}
    assert next(row["restic_id"] for row in known.rows if row["table"] == "repository_state")
    staging = home.app.staging_folder("vps")
    subprocess.run([sys.executable, staging / "rebuild.py", home.folder / "out"], check=True, capture_output=True, timeout=60)
    assert (home.folder / "out" / "_controller" / "journal.jsonl").read_text().startswith('{"before_mx":')
    for file in (path for path in staging.rglob("*") if path.is_file()):
        content = file.read_bytes()
        assert [name for name, secret in SECRETS.items() if secret.encode() in content] == [], file


def test_a_pull_that_finds_nothing_makes_no_snapshot_although_a_journal_was_written(home: Home) -> None:
    home.back_up()

    again = [home.back_up() for _ in range(2)]

    assert [(report.unchanged, report.snapshots) for report in again] == [(True, ()), (True, ())]


def test_a_flip_is_in_the_repository_with_the_next_run_although_the_server_is_dead(home: Home) -> None:
    home.back_up()
    before = home.archive.generation()
    (home.folder / "mail").rename(home.folder / "gone")
    assert home.back_up().snapshots == ()
    home.fail_over()

    report = home.back_up()

    assert report.result is Result.FAILED
    assert [one.trouble for one in report.snapshots] == [None]
    assert home.states() == [(DOMAIN, "failed-over")]
    after = home.archive.generation()
    assert (after.mailboxes, after.result) == (before.mailboxes, Result.OK)
    assert after.at - before.at == timedelta(seconds=1)
    assert home.back_up().snapshots == ()
    (home.folder / "gone").rename(home.folder / "mail")
    assert home.back_up().unchanged


def test_a_configuration_that_was_changed_goes_along_with_the_next_run(home: Home) -> None:
    home.back_up()
    home.app.config_file.write_text(home.app.config_file.read_text() + "# a remark\n")

    report = home.back_up()

    assert not report.unchanged
    assert home.known().configuration == home.app.config_file.read_bytes()


def test_what_one_backup_adds_for_the_journal_is_small(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(25):
        home.app.record(_event(number))
    added: dict[bool, list[int]] = {True: [], False: []}
    cur = home.store.folder(ANNA) / "cur"
    home.back_up()
    for number in range(6):
        with_journal = number % 2 == 0
        if not with_journal:
            monkeypatch.setattr("failsafe.backups.own_files_or_less", lambda app, _narrate: _bare(app))
        before = home.stored()
        changed = cur / f"m{number}.host:2,S"
        changed.rename(changed.with_name(f"m{number}.host:2,FS"))
        home.back_up()
        added[with_journal].append(home.stored() - before)
        monkeypatch.undo()

    print(f"packed growth by one flag change: with the journal {added[True]}, without {added[False]}")
    assert median(added[True]) - median(added[False]) < MOST_ADDED
