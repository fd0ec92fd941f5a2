"""What is asked of all archives: a secondary has a part in it once something was gathered from it, and never in what is asked of mail servers."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from failsafe.app import App
from failsafe.backup.inventory import Inventory
from failsafe.config.load import load_config
from failsafe.errors import UsageError
from failsafe.homecoming_begin import begin_of_homecoming
from failsafe.homecomings import gather, gathered
from failsafe.kits.gather import _server
from failsafe.maintenance import view_server
from failsafe.restores import home_of
from failsafe.status.roster import from_json, roster_of, to_json

SECONDARY = "example.org:secondary"
NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


@pytest.fixture
def app(tmp_path: Path) -> App:
    file = tmp_path / "failsafe.toml"
    file.write_text(
        f'[controller]\nid = "nas"\nstate_dir = "{tmp_path}/state"\n[mail_server.vps]\nlayout = "maildir"\npath = "{tmp_path}"\n'
        '[domain."example.org"]\nserver = "vps"\nprimary = ["mail.example.org"]\nsecondary = ["mx.away.example"]\nstrategy = "on-demand"\n'
        '[domain."example.org".homecoming]\nhost = "imap.away.example"\nport = 993\n'
        f'accounts = [{{ mailbox = "ann@example.org", user = "ann", password_file = "{tmp_path}/password" }}]\n'
        '[domain."example.net"]\nserver = "vps"\nprimary = ["mail.example.org"]\nsecondary = ["mx.away.example"]\nstrategy = "on-demand"\n'
    )
    (tmp_path / "state").mkdir(mode=0o700)
    return App(load_config(file), file)


def begin(app: App) -> None:
    file = app.inventory_file(SECONDARY)
    file.parent.mkdir()
    Inventory.open(file).__enter__().db.close()


def test_a_secondary_of_which_nothing_was_gathered_has_no_part_in_what_is_asked_of_all(app: App) -> None:
    assert app.archived_servers() == ("vps",)
    begin(app)
    assert app.archived_servers() == ("vps", SECONDARY)


def test_its_name_is_known_where_one_server_is_asked_for_and_others_are_not(app: App) -> None:
    assert app.server(SECONDARY).layout == "imap"
    with pytest.raises(UsageError, match=r"mail_server.example.net:secondary"):
        app.server("example.net:secondary")
    source = app.mail_source(SECONDARY)
    assert source is not None
    assert source.mailboxes() == ("ann@example.org",)


def test_its_files_have_names_without_a_colon(app: App) -> None:
    assert app.staging_folder(SECONDARY).name == "example.org_secondary"
    assert app.lock_file(f"server-restore:{SECONDARY}").name == "server-restore_example.org_secondary.lock"


def test_what_was_gathered_goes_back_to_the_domains_own_server(app: App) -> None:
    assert home_of(app, SECONDARY) == "vps"
    assert home_of(app, "vps") == "vps"


def test_its_snapshots_are_forgotten_by_the_state_of_its_own_domain_alone(app: App) -> None:
    begin(app)
    assert set(view_server(app, SECONDARY).domains) == {"example.org"}
    assert set(view_server(app, "vps").domains) == {"example.org", "example.net"}


def test_a_domain_without_a_homecoming_is_told_what_to_add(app: App) -> None:
    with pytest.raises(UsageError) as caught:
        gathered(app, "example.net")
    assert '[domain."example.net".homecoming]' in caught.value.mend
    assert list(gathered(app, "example.org").found()) == []
    with pytest.raises(UsageError):
        gather(app, "example.net", progress=None)  # type: ignore[arg-type]


def test_the_roster_remembers_secondaries_apart_from_mail_servers(app: App) -> None:
    roster = roster_of(app.config)
    assert (roster.servers, roster.secondaries) == (("vps",), (SECONDARY,))
    assert from_json(to_json(roster)) == roster


def test_the_begin_of_a_homecoming_never_moves_to_a_later_time(app: App) -> None:
    first = begin_of_homecoming(app, "example.org")
    assert begin_of_homecoming(app, "example.org") == first
    assert (app.clock.now() - first).total_seconds() >= 3600


def test_the_kit_says_how_its_mail_is_restored(app: App) -> None:
    begin(app)
    servers = [_server(app, name) for name in app.archived_servers()]
    assert [(each.name, each.host) for each in servers] == [("vps", "failsafe-vps"), (SECONDARY, f"failsafe-{SECONDARY}")]
