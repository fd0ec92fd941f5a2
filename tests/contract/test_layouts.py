"""Mail servers of each kind, laid out on disk as their handbooks do, pulled through the real server's side."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from failsafe.adapters.ssh import SshHost
from failsafe.backup.accounts import read_accounts
from failsafe.backup.layouts import Wanted
from failsafe.backup.pull import PullOptions, PullReport, pull
from failsafe.backup.serverside import program
from failsafe.backup.source import ALLOW, open_source
from failsafe.clock import SystemClock
from failsafe.config.servers import MailServer
from failsafe.config.wanted import whole_wanted_of
from failsafe.errors import ServerSideError
from failsafe.mail.accounts import Account, Alias
from failsafe.mail.manifest import FileRef
from failsafe.model import Result
from failsafe.ports import MailHost
from failsafe.server_install import settings_of
from failsafe.server_side import find_source
from tests.contract.conftest import Sshd
from tests.contract.mailstore import Silent, Store
from tests.contract.stacks import ANNA, BOB, HASH, SECRET, DockerMailserver, Mailcow, Mailu, WithPath, write


def backup(store: Store, layout: str, host: MailHost | None = None, said: list[str] | None = None, **options: Any) -> PullReport:
    store.calm()
    wanted = PullOptions("vps", layout=layout, **options)
    with store.open_staging() as staging, store.open_inventory() as inventory:
        narrate = (said if said is not None else []).append
        return pull(host or store.host, staging, inventory, wanted, SystemClock(), Silent(), narrate)


def files(store: Store) -> dict[str, FileRef]:
    with store.open_staging() as staging:
        return {ref.path: ref for ref in staging.archive.files(store.newest(staging))}


def below(store: Store, folder: Path) -> dict[str, FileRef]:
    """Files of the newest generation from this folder, by their path below it."""
    prefix = str(folder).lstrip("/") + "/"
    return {path.removeprefix(prefix): ref for path, ref in files(store).items() if path.startswith(prefix)}


def content(store: Store, ref: FileRef) -> bytes:
    with store.open_staging() as staging:
        return staging.archive.read_file(ref)


def notes(store: Store) -> dict[str, Any]:
    with store.open_staging() as staging:
        return dict(store.newest(staging).notes)


def missing(report: PullReport) -> dict[str, str]:
    return {item.name: item.why for item in report.missing}


@pytest.fixture
def dms(tmp_path: Path) -> DockerMailserver:
    stack = DockerMailserver(tmp_path)
    stack.build()
    return stack


@pytest.fixture
def cow(tmp_path: Path) -> Mailcow:
    stack = Mailcow(tmp_path)
    stack.build()
    return stack


@pytest.fixture
def mailu(tmp_path: Path) -> Mailu:
    stack = Mailu(tmp_path)
    stack.build()
    return stack


# ---------------------------------------------------------------- docker-mailserver


DMS_CONFIG = {
    "before.dovecot.sieve", "dovecot-masters.cf", "dovecot-quotas.cf", "opendkim/keys/example.org/mail.private", "postfix-accounts.cf",
    "postfix-regexp.cf", "postfix-virtual.cf", "ssl/mail.example.org-key.pem", "user-patches.sh",
}  # fmt: skip
DMS_STATE = {"lib-rspamd/stats.ucl", "lib-redis/dump.rdb", "lib-postgrey/postgrey.db", "spool-postfix/deferred/A/A1B2C3"}


def test_docker_mailserver_by_path_over_ssh(dms: DockerMailserver, sshd: Sshd) -> None:
    report = backup(
        dms, "docker-mailserver", SshHost("vps", sshd.address, key=sshd.key, known_hosts=sshd.known_hosts), path=str(dms.path)
    )
    assert (report.result, report.missing) == (Result.OK, ())
    assert dms.archived() == dms.on_server()
    assert set(below(dms, dms.path / "config")) == DMS_CONFIG
    assert set(below(dms, dms.path / "mail-state")) == DMS_STATE
    beside = below(dms, dms.base / "srv")
    assert {"compose.yaml", "mailserver.env", "docker-data/certbot/certs/archive/mail.example.org/privkey1.pem"} <= set(beside)
    assert beside["mailserver.env"].mode == 0o600
    assert beside["docker-data/dms/config/user-patches.sh"].mode == 0o755


def test_where_links_of_a_certificate_point_is_kept(dms: DockerMailserver) -> None:
    backup(dms, "docker-mailserver", path=str(dms.path))
    (link,) = (target for path, target in notes(dms)["links"].items() if path.endswith("live/mail.example.org/privkey.pem"))
    assert link == "../../archive/mail.example.org/privkey1.pem"


def test_docker_mailserver_by_its_container_takes_the_same_and_shows_where_it_was(dms: DockerMailserver) -> None:
    said: list[str] = []
    report = backup(dms, "docker-mailserver", WithPath(dms.engine().install()), said, container="mailserver")
    assert (report.result, report.missing) == (Result.OK, ())
    assert dms.archived() == dms.on_server()
    assert set(below(dms, dms.path / "config")) == DMS_CONFIG
    assert set(below(dms, dms.path / "mail-state")) == DMS_STATE
    assert "compose.yaml" in below(dms, dms.base / "srv")
    assert f"container mailserver (running): /var/mail is {dms.root}" in said
    assert any("/srv/filters" in line and "extra_paths" in line for line in said)
    assert notes(dms)["sources"] == said


def test_what_was_shown_once_is_not_told_again(dms: DockerMailserver) -> None:
    host, said = WithPath(dms.engine().install()), list[str]()
    backup(dms, "docker-mailserver", host, container="mailserver")
    assert backup(dms, "docker-mailserver", host, said, container="mailserver").unchanged
    assert said == []


def test_a_container_that_does_not_run_is_read_all_the_same(dms: DockerMailserver) -> None:
    said: list[str] = []
    report = backup(dms, "docker-mailserver", WithPath(dms.engine(running=False).install()), said, container="mailserver")
    assert report.result is Result.OK
    assert any("container mailserver (exited)" in line for line in said)


def test_a_container_without_a_config_mount_makes_the_snapshot_incomplete(dms: DockerMailserver) -> None:
    engine = dms.engine(without=["/tmp/docker-mailserver"])
    report = backup(dms, "docker-mailserver", WithPath(engine.install()), container="mailserver")
    assert report.result is Result.INCOMPLETE
    assert "accounts, aliases, DKIM keys" in missing(report)["/tmp/docker-mailserver"]
    assert dms.archived() == dms.on_server()


def test_a_container_without_a_mail_mount_fails_with_its_mend(dms: DockerMailserver) -> None:
    with pytest.raises(ServerSideError, match="mounts nothing at /var/mail") as caught:
        backup(dms, "docker-mailserver", WithPath(dms.engine(without=["/var/mail"]).install()), container="mailserver")
    assert "compose file" in caught.value.mend


def test_a_container_that_is_not_there_is_named(dms: DockerMailserver) -> None:
    with pytest.raises(ServerSideError, match=r"container other .*No such container: other") as caught:
        backup(dms, "docker-mailserver", WithPath(dms.engine().install()), container="other")
    assert "docker ps" in caught.value.mend


def test_an_engine_that_lets_us_not_in_is_told_with_what_to_do(dms: DockerMailserver) -> None:
    engine = dms.engine()
    engine.denied = "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock"
    with pytest.raises(ServerSideError, match="permission denied") as caught:
        backup(dms, "docker-mailserver", WithPath(engine.install()), container="mailserver")
    assert "root" in caught.value.mend


def test_no_engine_at_all_is_told(dms: DockerMailserver, tmp_path: Path) -> None:
    with pytest.raises(ServerSideError, match="container mailserver cannot be looked at"):
        backup(dms, "docker-mailserver", WithPath(tmp_path / "nothing"), container="mailserver")


def test_a_config_folder_that_is_not_there_makes_the_snapshot_incomplete(dms: DockerMailserver) -> None:
    (dms.path / "config").rename(dms.path / "elsewhere")
    report = backup(dms, "docker-mailserver", path=str(dms.path))
    assert report.result is Result.INCOMPLETE
    assert "No such file" in missing(report)[f"{dms.path}/config"]


def test_accounts_and_aliases_of_docker_mailserver_are_in_the_snapshot_without_any_hash(dms: DockerMailserver) -> None:
    backup(dms, "docker-mailserver", path=str(dms.path))
    with dms.open_staging() as staging:
        accounts = read_accounts(staging.archive, dms.newest(staging))
    assert accounts is not None
    assert accounts.mailboxes == (Account(ANNA), Account(BOB))
    assert Alias("@example.net", (ANNA, "other@example.com"), "catch-all") in accounts.aliases
    assert Alias("postmaster@example.org", (ANNA,)) in accounts.aliases
    assert Alias("/^test[0-9]+@example\\.org/", (ANNA,), "pattern") in accounts.aliases
    assert notes(dms)["accounts"] == {"mailboxes": 2, "aliases": 3, "without_mailbox": [BOB]}
    assert HASH.encode() not in content(dms, files(dms)["accounts.json"])


def test_a_redis_that_saves_all_the_time_is_read_once_a_day(dms: DockerMailserver) -> None:
    backup(dms, "docker-mailserver", path=str(dms.path))
    dump = dms.path / "mail-state" / "lib-redis" / "dump.rdb"
    before = dump.stat().st_mtime
    write(dump, b"REDIS0011 more")
    os.utime(dump, (before + 3600, before + 3600))
    assert backup(dms, "docker-mailserver", path=str(dms.path)).unchanged
    os.utime(dump, (before + 90_000, before + 90_000))
    backup(dms, "docker-mailserver", path=str(dms.path))
    assert content(dms, below(dms, dms.path / "mail-state")["lib-redis/dump.rdb"]) == b"REDIS0011 more"


def test_a_failing_command_makes_any_layout_incomplete(dms: DockerMailserver) -> None:
    report = backup(dms, "docker-mailserver", path=str(dms.path), commands={"roundcube.sql": "echo no such database >&2; exit 3"})
    assert report.result is Result.INCOMPLETE
    assert "no such database" in missing(report)["commands/roundcube.sql"]


# ---------------------------------------------------------------- mailcow


def test_mailcow_is_taken_whole_and_its_messages_byte_for_byte(cow: Mailcow) -> None:
    said: list[str] = []
    report = backup(cow, "mailcow", WithPath(cow.engine().install()), said, path=str(cow.path))
    assert (report.result, report.missing, report.total) == (Result.OK, (), 5)
    assert notes(cow)["stored_as"] == {"encrypted": 5}
    assert "5 messages are stored as the server stores them: encrypted" in report.notes
    on_disk = {path.read_bytes() for path in cow.root.glob("example.org/**/cur/*")}
    with cow.open_staging() as staging:
        newest = cow.newest(staging)
        assert sorted(newest.mailboxes) == [ANNA, BOB]
        assert staging.archive.verify(newest, read_messages=True) == []
        ids = {entry.id for entries in cow.entries().values() for entry in entries}
        archived = {staging.archive.read_message(place) for place in staging.archive.locate(staging.segments(), ids).values()}
    assert archived == on_disk
    assert set(below(cow, cow.volume("crypt"))) == {"ecprivkey.pem", "ecpubkey.pem"}
    assert set(below(cow, cow.volume("postfix"))) == {"deferred/B/B1"}
    assert {"mailcow.conf", "docker-compose.yml", "docker-compose.override.yml", ".env", "data/assets/ssl/key.pem",
            "data/conf/rspamd/override.d/worker-proxy.inc"} <= set(below(cow, cow.path))  # fmt: skip
    outputs = {path: content(cow, ref) for path, ref in files(cow).items() if path.startswith("commands/")}
    assert outputs["commands/mailcow-redis.rdb"] == b"REDIS0011"
    assert b"PRIVATE KEY" in outputs["commands/mailcow-dkim.txt"]
    assert b"MariaDB dump" in outputs["commands/mailcow-database.sql"]
    assert any("/mail_crypt is volume mailcowdockerized_crypt-vol-1" in line for line in said)


def test_mailcow_is_found_without_a_path(cow: Mailcow) -> None:
    report = backup(cow, "mailcow", WithPath(cow.engine().install()))
    assert report.result is Result.OK
    assert "mailcow.conf" in below(cow, cow.path)


def test_no_password_of_mailcow_is_ever_in_an_argument(cow: Mailcow) -> None:
    engine = cow.engine()
    backup(cow, "mailcow", WithPath(engine.install()))
    calls = engine.calls()
    assert "mariadb-dump --user=root" in calls
    assert "redis-cli save" in calls
    assert SECRET not in calls


def test_mailcow_without_its_crypt_volume_is_incomplete_and_says_why(cow: Mailcow) -> None:
    report = backup(cow, "mailcow", WithPath(cow.engine(crypt=False).install()))
    assert report.result is Result.INCOMPLETE
    words = missing(report)["/mail_crypt"]
    assert "nobody can read it" in words
    assert "to mend it" in words


def test_mailcow_with_an_empty_crypt_volume_is_incomplete_and_names_the_path(cow: Mailcow) -> None:
    (cow.volume("crypt") / "ecprivkey.pem").unlink()
    report = backup(cow, "mailcow", WithPath(cow.engine().install()))
    assert report.result is Result.INCOMPLETE
    assert "nobody can read it" in missing(report)[f"{cow.volume('crypt')}/ecprivkey.pem"]


def test_a_database_that_refuses_makes_mailcow_incomplete_and_keeps_the_last_dump(cow: Mailcow) -> None:
    backup(cow, "mailcow", WithPath(cow.engine().install()))
    report = backup(cow, "mailcow", WithPath(cow.engine(password="another").install()))
    assert report.result is Result.INCOMPLETE
    assert "Access denied" in missing(report)["commands/mailcow-database.sql"]
    assert b"MariaDB dump" in content(cow, files(cow)["commands/mailcow-database.sql"])


def test_a_database_container_that_does_not_run_is_named(cow: Mailcow) -> None:
    report = backup(cow, "mailcow", WithPath(cow.engine(running=False).install()))
    assert "is not running" in missing(report)["commands/mailcow-database.sql"]


def test_mailcow_without_a_running_engine_fails_with_its_mend(cow: Mailcow) -> None:
    engine = cow.engine()
    engine.denied = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
    with pytest.raises(ServerSideError, match="Is the docker daemon running") as caught:
        backup(cow, "mailcow", WithPath(engine.install()), path=str(cow.path))
    assert "start the container engine" in caught.value.mend


def test_accounts_of_mailcow_come_from_its_database(cow: Mailcow) -> None:
    backup(cow, "mailcow", WithPath(cow.engine().install()))
    with cow.open_staging() as staging:
        accounts = read_accounts(staging.archive, cow.newest(staging))
    assert accounts is not None
    assert [account.address for account in accounts.mailboxes] == [ANNA, "late@example.org"]
    assert Alias("@example.net", ("@example.org",), "domain") in accounts.aliases
    assert notes(cow)["accounts"]["without_mailbox"] == ["late@example.org"]
    assert notes(cow)["accounts"]["without_account"] == [BOB]


def test_an_unchanged_mailcow_makes_no_generation_and_saves_no_redis_again(cow: Mailcow) -> None:
    engine = cow.engine()
    host = WithPath(engine.install())
    backup(cow, "mailcow", host)
    assert backup(cow, "mailcow", host).unchanged
    assert engine.calls().splitlines().count("redis-cli save") == 1


# ---------------------------------------------------------------- Mailu


def test_mailu_by_path_is_taken_whole(mailu: Mailu) -> None:
    report = backup(mailu, "mailu", path=str(mailu.path))
    assert (report.result, report.missing, report.total) == (Result.OK, (), 4)
    with mailu.open_staging() as staging:
        assert sorted(mailu.newest(staging).mailboxes) == [ANNA]
    assert set(below(mailu, mailu.path)) == {
        "certs/key.pem", "data/instance", "data/main.db", "dkim/example.org.dkim.key", "docker-compose.yml", "filter/stats.ucl",
        "mailu.env", "overrides/postfix/postfix.cf", "redis/dump.rdb",
    }  # fmt: skip


def test_mailu_by_one_of_its_containers_takes_the_same(mailu: Mailu) -> None:
    said: list[str] = []
    report = backup(mailu, "mailu", WithPath(mailu.engine().install()), said, container="mailu-front-1")
    assert (report.result, report.missing, report.total) == (Result.OK, (), 4)
    assert {"data/main.db", "dkim/example.org.dkim.key", "certs/key.pem", "mailu.env", "docker-compose.yml",
            "overrides/postfix/postfix.cf"} <= set(below(mailu, mailu.path))  # fmt: skip
    assert f"container mailu-imap-1 (running): /mail is {mailu.root}" in said


def test_a_second_pull_of_mailu_finds_its_mailboxes_again(mailu: Mailu) -> None:
    backup(mailu, "mailu", path=str(mailu.path))
    assert backup(mailu, "mailu", path=str(mailu.path)).unchanged
    (mailu.base / "inventory.sqlite").unlink()
    again = backup(mailu, "mailu", path=str(mailu.path))
    assert (again.unchanged, again.new, again.total) == (True, 0, 4)


def test_mail_of_mailu_under_a_name_that_is_no_mailbox_is_named_whatever_it_is(mailu: Mailu) -> None:
    write(mailu.root / "carl/.Sent/cur/1.host:2,", "x")
    write(mailu.root / "dora/mdbox/storage/m.1", "x")
    (mailu.root / "lost+found").mkdir()
    report = backup(mailu, "mailu", path=str(mailu.path))
    assert [(one.mailbox, "USER@DOMAIN" in one.why) for one in report.missing] == [("carl", True), ("dora", True)]


def test_a_live_database_is_copied_as_one_moment_saw_it(mailu: Mailu) -> None:
    """A row that was committed to the write-ahead log alone is in the copy; one of a transaction still open is not."""
    with contextlib.closing(mailu.database()) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("INSERT INTO user VALUES ('new', 'example.org', 'new@example.org', 'x', 1)")
        database.commit()
        database.execute("INSERT INTO user VALUES ('half', 'example.org', 'half@example.org', 'x', 1)")
        report = backup(mailu, "mailu", path=str(mailu.path))
        assert report.result is Result.OK
        found = below(mailu, mailu.path)
        copy = content(mailu, found["data/main.db"])
    assert "data/main.db-wal" not in found
    (mailu.base / "copy.db").write_bytes(copy)
    with contextlib.closing(sqlite3.connect(mailu.base / "copy.db")) as opened:
        assert opened.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        names = {row[0] for row in opened.execute("SELECT localpart FROM user")}
    assert names == {"anna", "late", "new"}


def test_a_change_that_only_the_write_ahead_log_has_is_seen_by_the_next_pull(mailu: Mailu) -> None:
    with contextlib.closing(mailu.database()) as database:
        database.execute("PRAGMA journal_mode = WAL")
        backup(mailu, "mailu", path=str(mailu.path))
        database.execute("INSERT INTO user VALUES ('new', 'example.org', 'new@example.org', 'x', 1)")
        database.commit()
        backup(mailu, "mailu", path=str(mailu.path))
    with mailu.open_staging() as staging:
        accounts = read_accounts(staging.archive, mailu.newest(staging))
    assert accounts is not None
    assert Account("new@example.org") in accounts.mailboxes


def test_copying_a_database_leaves_nothing_behind_on_the_server(mailu: Mailu, tmp_path: Path) -> None:
    before = sorted((mailu.path / "data").iterdir())
    backup(mailu, "mailu", WithPath(tmp_path / "none", inner=Temporary(tmp_path / "tmp")), path=str(mailu.path))
    assert sorted((mailu.path / "data").iterdir()) == before
    assert list((tmp_path / "tmp").iterdir()) == []


@dataclasses.dataclass
class Temporary:
    """A host with a temporary folder of its own."""

    folder: Path

    @property
    def name(self) -> str:
        return "vps"

    def open(self, command: Any) -> Any:
        from failsafe.adapters.local import LocalHost

        self.folder.mkdir(exist_ok=True)
        self.folder.chmod(0o1777)
        return LocalHost("vps").open(["env", f"TMPDIR={self.folder}", *command])


def test_a_damaged_database_makes_mailu_incomplete(mailu: Mailu) -> None:
    place = mailu.path / "data" / "main.db"
    place.write_bytes(place.read_bytes()[:100] + b"\xff" * 5000)
    report = backup(mailu, "mailu", path=str(mailu.path))
    assert report.result is Result.INCOMPLETE
    assert "SQLite cannot copy the database" in " ".join(missing(report).values())


def test_accounts_of_mailu_come_from_its_database(mailu: Mailu) -> None:
    backup(mailu, "mailu", path=str(mailu.path))
    with mailu.open_staging() as staging:
        accounts = read_accounts(staging.archive, mailu.newest(staging))
    assert accounts is not None
    assert accounts.mailboxes == (Account(ANNA), Account("late@example.org", active=False))
    assert Alias("%@example.org", (ANNA,), "pattern") in accounts.aliases
    assert accounts.domains == ("example.net", "example.org")
    assert HASH.encode() not in content(mailu, files(mailu)["accounts.json"])


# ---------------------------------------------------------------- maildir, and the program installed there


def test_plain_postfix_and_dovecot_files_among_extra_paths_give_accounts(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.fill(ANNA, "", 1)
    write(tmp_path / "etc" / "postfix" / "virtual", f"info@example.org\t{ANNA}\n")
    write(tmp_path / "etc" / "dovecot" / "users", f"{ANNA}:{HASH}:5000:5000::/var/vmail::\n")
    write(tmp_path / "etc" / "aliases", "root: anna\n")
    report = backup(store, "maildir", path=str(store.root), extra_paths=(str(tmp_path / "etc"),))
    assert report.result is Result.OK
    assert notes(store)["accounts"] == {"mailboxes": 1, "aliases": 2}


@pytest.mark.skipif(os.geteuid() != 0, reason="settings of an installed program belong to root")
def test_a_program_installed_there_decides_what_may_be_read(cow: Mailcow, tmp_path: Path) -> None:
    """Only names cross: the forced command reads its own settings, and what they lack is told."""
    settings, engine = tmp_path / "settings.json", cow.engine().install()
    settings.write_text(json.dumps({
        "path": f"{engine}:/usr/bin:/bin",
        "root": str(cow.root), "skip": ["_garbage"], "files": [str(cow.volume("crypt"))],
        "stock": {"mailcow-accounts.jsonl": "mailcowdockerized-mysql-mailcow-1"}, "look": {"services": ["dovecot-mailcow"]},
    }))  # fmt: skip
    (tmp_path / "installed.py").write_text(program().replace("/etc/failsafe-server.json", str(settings)))
    host = WithPath(engine, inner=Forced(tmp_path / "installed.py"))
    with open_source(host, Wanted("mailcow", path=str(cow.path), commands={"evil": "touch /tmp/evil"})) as (session, source):
        boxes = {box.mailbox for box in session.survey()}
        assert [tree.path for tree in source.reach.trees] == [str(cow.volume("crypt"))]
        with (tmp_path / "out").open("wb") as sink:
            assert session.run("mailcow-accounts.jsonl", sink, 1 << 20) == ""
            with pytest.raises(ServerSideError, match="no command is called 'evil'"):
                session.run("evil", sink, 1 << 20)
            with pytest.raises(ServerSideError, match="what may be read here stands in"):
                session.widen(source.reach)
    assert boxes == {ANNA, BOB}
    lacking = {item.name: item.why for item in source.missing}
    assert {f"{cow.path}/mailcow.conf", "commands/mailcow-database.sql", "commands/evil"} <= set(lacking)
    assert "not allowed" in lacking["commands/evil"]


@pytest.mark.skipif(os.geteuid() != 0, reason="settings of an installed program belong to root")
@pytest.mark.parametrize("kind", [DockerMailserver, Mailcow, Mailu])
@pytest.mark.parametrize("named_by", ["path", "container"])
def test_the_list_that_is_printed_for_a_layout_allows_all_that_its_backup_wants(
    kind: type[Any], named_by: str, tmp_path: Path
) -> None:
    stack = kind(tmp_path)
    stack.build()
    layout = {DockerMailserver: "docker-mailserver", Mailcow: "mailcow", Mailu: "mailu"}[kind]
    container = {DockerMailserver: "mailserver", Mailcow: "mailcowdockerized-dovecot-mailcow-1", Mailu: "mailu-imap-1"}[kind]
    place = {"path": str(stack.path)} if named_by == "path" else {"container": container}
    table = MailServer.model_validate({"layout": layout, "ssh": "root@mail.example.org", **place})
    engine = stack.engine().install()
    listed = settings_of(table, find_source(WithPath(engine), table))
    (tmp_path / "settings.json").write_text(json.dumps(listed | {"path": f"{engine}:/usr/bin:/bin"}))
    (tmp_path / "installed.py").write_text(program().replace("/etc/failsafe-server.json", str(tmp_path / "settings.json")))

    with open_source(WithPath(engine, inner=Forced(tmp_path / "installed.py")), whole_wanted_of(table)) as (session, source):
        boxes = [box.mailbox for box in session.survey()]

    assert ANNA in boxes
    assert [each.name for each in source.missing if each.why == ALLOW] == []


@dataclasses.dataclass
class Forced:
    """A host that runs its own program, whatever it is asked to run."""

    program: Path
    name: str = "vps"

    def open(self, command: Any) -> Any:
        from failsafe.adapters.local import LocalHost

        words = list(command)
        return LocalHost("vps").open([*words[: words.index("python3")], "python3", str(self.program)])
