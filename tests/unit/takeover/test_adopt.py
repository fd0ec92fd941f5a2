"""What a new machine takes over: whose repository it is, which journal, and that every domain is marked before anything else happens."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from failsafe.app import App
from failsafe.backup.kit import Kit
from failsafe.backup.own_files import Knowledge
from failsafe.config.load import parse_config
from failsafe.errors import ArchiveError, Refused
from failsafe.model import DomainState, Side
from failsafe.store.journal import Journal as FlipJournal
from failsafe.store.version import HEAD
from failsafe.takeover.adopt import HIGHER, Adopted, Journal, import_journal, settle_ids
from tests.unit.kits.sample import KIT

NOW = datetime(2026, 11, 22, 17, 0, tzinfo=UTC)
OURS, OTHER = "ab" * 32, "cd" * 32
CONFIG = """
[controller]
id = "nas"
state_dir = "{folder}"
[mail_server.vps]
layout = "maildir"
path = "/srv/mail"
[repository.nas]
url = "/volume1/mail"
password_file = "/p"
[domain_defaults]
server = "vps"
primary = ["mail.example.org"]
secondary = ["mx.example.net"]
strategy = "on-demand"
[domain."example.org"]
[domain."example.net"]
"""


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    made = App(parse_config(CONFIG.format(folder=tmp_path).encode(), "failsafe.toml"), tmp_path / "failsafe.toml")
    yield made
    made.store.close()


def knowledge(*rows: dict[str, Any], schema: str = HEAD) -> Knowledge:
    return Knowledge("nas", NOW, schema, b"", rows)


def domain_row(**changed: Any) -> dict[str, Any]:
    row = {"table": "domain_state", "domain": "example.org", "state": "failed-over", "since_at": "2026-11-22T16:00:00.000000Z"}
    more = {"serving": "secondary", "epoch": 7, "changed_at": "2026-11-22T16:00:00.000000Z", "hold_reason": "", "details": {}}
    return {**row, **more, **changed}


def knows(restic_id: str) -> Knowledge:
    return knowledge({"table": "repository_state", "repository": "nas", "restic_id": restic_id})


@pytest.mark.parametrize(
    ("one", "journal", "expected"),
    [
        (Adopted("nas", OURS, found=OURS), OURS, (OURS, False)),
        (Adopted("nas", OURS, "another", refused=True, found=OTHER), OURS, (OURS, True)),
        (Adopted("nas", OURS, "another", refused=True, found=OTHER), OTHER, (OTHER, False)),
        (Adopted("nas", OTHER, found=OTHER), "", (OTHER, False)),
        (Adopted("nas", "", found=OTHER), OURS, (OURS, True)),
    ],
    ids=["as the kit says", "another one", "exchanged after the kit was made", "a journal without ids", "a kit without ids"],
)
def test_a_repository_is_ours_by_the_id_that_the_kit_or_a_younger_journal_knows(
    app: App, one: Adopted, journal: str, expected: tuple[str, bool]
) -> None:
    (settled,) = settle_ids(app, [one], knows(journal))

    assert (settled.restic_id, settled.refused) == expected
    assert bool(settled.error) is settled.refused


def test_a_repository_that_cannot_be_reached_keeps_its_id_and_its_error(app: App) -> None:
    silent = Adopted("nas", OURS, "no answer")

    assert settle_ids(app, [silent], knows(OURS)) == (silent,)


def take(app: App, found: Knowledge | None, kit: Kit = KIT) -> int:
    return import_journal(app, kit, Journal("s1", "nas", NOW), found, [Adopted("nas", OURS)])


def test_every_domain_comes_with_the_mark_and_a_higher_epoch_also_one_that_the_journal_does_not_know(app: App) -> None:
    lease = {"table": "lease", "epoch": 4}
    take(app, knowledge(lease, domain_row()))

    journal = FlipJournal(app.store, None)
    known, unknown = (journal.load(name, NOW) for name in ("example.org", "example.net"))
    assert (known.state, known.serving, known.epoch) == (DomainState.FAILED_OVER, Side.SECONDARY, 7 + HIGHER)
    assert unknown.state is DomainState.NORMAL
    assert None not in (known.taken_over_at, unknown.taken_over_at)
    assert app.leases.take_over("x", NOW, 0).epoch == 4 + HIGHER + 2
    assert app.duties.repositories()["nas"].restic_id == OURS


def test_without_any_journal_every_domain_is_marked_all_the_same(app: App) -> None:
    take(app, None)

    assert FlipJournal(app.store, None).load("example.org", NOW).taken_over_at is not None


def test_a_machine_that_has_a_journal_keeps_it(app: App) -> None:
    app.duties.change_repository("nas", restic_id=OTHER)

    with pytest.raises(Refused, match="already"):
        take(app, knowledge(domain_row()))

    assert app.duties.repositories()["nas"].restic_id == OTHER
    assert FlipJournal(app.store, None).load("example.org", NOW).epoch == 0


def test_a_journal_of_a_later_version_is_not_guessed_at(app: App) -> None:
    with pytest.raises(ArchiveError, match="9999") as caught:
        take(app, knowledge(schema="9999"))

    assert "install" in caught.value.mend
