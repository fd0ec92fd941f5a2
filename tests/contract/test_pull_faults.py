"""What breaks while a pull runs, and what its users do meanwhile: each ends in the right result with the right words, and the next
pull goes on from what was stored.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from failsafe.backup.pull import PullOptions, PullReport, pull
from failsafe.errors import ArchiveError, ProcessError, SshError
from failsafe.model import Result
from tests.contract import sshd as sshds
from tests.contract.mailstore import Silent, Store
from tests.contract.meddling import DIGESTING, LISTING, READING, SURVEY, VITALS, Impatient, Meddler

ANNA, BOB = "anna@example.org", "bob@example.org"
MEGABYTE = 1_000_000
MOMENTS = [SURVEY, LISTING, READING, DIGESTING, VITALS] if os.environ.get("FAILSAFE_ALL") else [LISTING, READING, VITALS]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshds.Sshd]:
    """One that may be stopped."""
    with sshds.running(tmp_path_factory.mktemp("faults")) as made:
        yield made


def pull_from(store: Store, host: Meddler) -> PullReport:
    with store.open_staging() as staging, store.open_inventory() as inventory:
        return pull(host, staging, inventory, PullOptions("vps", str(store.root)), Impatient(), Silent())


def newest_number(store: Store) -> int:
    with store.open_staging() as staging:
        newest = staging.newest()
        return newest.number if newest else 0


# ---------------------------------------------------------------- the line, the server, the program, the disk


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda words: words.decode().replace("\0", " ").strip())
def test_wherever_the_line_is_cut_the_next_pull_finishes_and_fetches_nothing_twice(
    store: Store, server: sshds.Sshd, moment: bytes
) -> None:
    store.fill(ANNA, "", 20, size=100_000)
    store.pull(host=server.host())
    store.fill(ANNA, ".Sent", 20, size=100_000)
    os.link(store.folder(ANNA) / "cur/m0.host:2,S", store.folder(ANNA, ".Copy") / "cur/c.host:2,S")
    store.calm()
    with pytest.raises(SshError, match="the connection was cut"):
        pull_from(store, Meddler(server.host(), lambda _: server.cut(), moment))
    assert newest_number(store) == 1, "what is half pulled is no generation"
    report = store.pull(host=server.host())
    assert (report.result, report.total) == (Result.OK, 41)
    assert report.bytes_pulled < 2_100_000
    assert store.archived() == store.on_server()
    assert set(store.stored_ids().values()) == {1}


def test_a_server_that_reboots_is_out_of_reach_for_a_while_and_nothing_is_fetched_twice(store: Store, server: sshds.Sshd) -> None:
    store.fill(ANNA, "", 50, size=MEGABYTE)
    store.calm()
    with pytest.raises(SshError, match="the connection was cut"):
        pull_from(store, Meddler(server.host(), lambda _: server.stop(), after=35 * MEGABYTE))
    with pytest.raises(SshError, match=r"vps: 127\.0\.0\.1:\d+ is not reachable"):
        store.pull(host=server.host())
    server.start()
    report = store.pull(host=server.host())
    assert report.bytes_pulled < 36 * MEGABYTE, "a segment holds 16 MB, and those that were whole are kept"
    assert store.archived() == store.on_server()


def test_a_program_that_is_killed_on_the_server_is_called_that(store: Store, server: sshds.Sshd) -> None:
    """As the kernel does when memory runs out. The line stands, so nobody looks for a fault in it."""
    store.fill(ANNA, "", 12, size=MEGABYTE)  # more than may be under way when it is killed

    def kill(_: int) -> None:
        for shell in (child for session in server.sessions() for child in sshds.children(session)):
            for pid in [shell, *sshds.children(shell)]:
                if "python3" in Path(f"/proc/{pid}/cmdline").read_text():
                    os.kill(pid, signal.SIGKILL)

    store.calm()
    with pytest.raises(ProcessError, match="the program there was killed"):
        pull_from(store, Meddler(server.host(), kill, after=2 * MEGABYTE))
    assert store.pull(host=server.host()).result is Result.OK
    assert store.archived() == store.on_server()


def test_a_staging_disk_that_fills_keeps_what_is_whole_and_the_next_pull_goes_on(store: Store) -> None:
    small = store.base / "staging"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=30m", "none", str(small)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"this machine does not let us mount a small disk: {mounted.stderr.strip()}")
    try:
        store.fill(ANNA, "", 45, size=MEGABYTE)
        with pytest.raises(ArchiveError, match="No space left on device") as caught:
            store.pull()
        assert "space" in caught.value.mend
        assert newest_number(store) == 0
        subprocess.run(["mount", "-o", "remount,size=100m", str(small)], check=True)
        report = store.pull()
        assert (report.result, report.total) == (Result.OK, 45)
        assert report.bytes_pulled < 31 * MEGABYTE
        assert store.archived() == store.on_server()
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


# ---------------------------------------------------------------- what users do meanwhile


def meddled(store: Store, deed: Callable[[int], None], moment: bytes = READING) -> PullReport:
    store.calm()
    return pull_from(store, Meddler(store.host, deed, moment))


def test_a_folder_that_is_renamed_while_it_is_read_is_found_again(store: Store) -> None:
    store.fill(ANNA, "", 10)
    store.fill(ANNA, ".Archive", 30, prefix="a")

    def rename(number: int) -> None:
        if number == 2:
            (store.root / "example.org/anna/.Archive").rename(store.root / "example.org/anna/.Old")

    report = meddled(store, rename)
    assert (report.result, report.missing) == (Result.OK, ())
    assert set(store.entries()) == {(ANNA, "INBOX"), (ANNA, "Old")}
    assert store.archived() == store.on_server()


@pytest.mark.parametrize("moment", [LISTING, READING])
@pytest.mark.parametrize("what", ["example.org/anna/.Trash", "example.org/bob", "example.org"])
def test_what_is_deleted_while_it_is_pulled_was_not_there_all_the_time(store: Store, what: str, moment: bytes) -> None:
    """Its messages may be in the archive or not; everything else is, and the next pull agrees with the server."""
    for mailbox, directory in ((ANNA, ""), (ANNA, ".Trash"), (BOB, ""), ("carl@other.example", "")):
        store.fill(mailbox, directory, 10, prefix=f"{mailbox[0]}{directory[1:]}")

    def delete(number: int) -> None:
        if number == 1:
            shutil.rmtree(store.root / what)

    report = meddled(store, delete, moment)
    ids = {id_ for _, _, id_ in store.on_server()}
    assert ids <= {entry.id for entries in store.entries().values() for entry in entries}
    assert report.result is Result.OK or report.missing
    with store.open_inventory() as inventory:
        inventory.accept()
    assert store.pull().result is Result.OK
    assert store.archived() == store.on_server()


def test_a_message_that_is_moved_while_it_is_looked_for_and_comes_back_is_archived(store: Store) -> None:
    store.fill(ANNA, "", 20)
    store.folder(ANNA, ".Aside")
    (store.folder(ANNA) / "dovecot-uidlist").write_text("3 V1 N21\n" + "".join(f"{uid + 1} :m{uid}.host\n" for uid in range(20)))
    (store.folder(ANNA, ".Aside") / "dovecot-uidlist").write_text("3 V2 N2\n")
    inbox, aside = store.folder(ANNA) / "cur/m7.host:2,S", store.folder(ANNA, ".Aside") / "cur/m7.host:2,S"

    def dodge(number: int) -> None:
        """Away whenever somebody is about to read it, home whenever somebody is about to list."""
        if number <= 3:
            inbox.rename(aside) if inbox.exists() else aside.rename(inbox)

    report = meddled(store, dodge)
    archived = {entry.id for entries in store.entries().values() for entry in entries}
    there = {id_ for _, _, id_ in store.on_server()}
    assert there <= archived if report.result is Result.OK else report.missing
    assert store.pull().result is Result.OK
    assert store.archived() == store.on_server()


def test_a_message_that_moved_since_the_last_pull_and_moves_again_during_this_one_is_archived(store: Store) -> None:
    """That an earlier pull had it, in a folder where it is no longer, does not mean that this one has it."""
    store.fill(ANNA, "", 20)
    for directory in (".Aside", ".Later"):
        store.folder(ANNA, directory)
    assert store.pull().result is Result.OK
    home, name = store.root / "example.org/anna", "cur/m7.host:2,S"
    (home / name).rename(home / ".Aside" / name)

    def move(number: int) -> None:
        if number == 1:
            (home / ".Aside" / name).rename(home / ".Later" / name)
            store.calm()

    report = meddled(store, move, DIGESTING)

    assert (report.result, report.missing) == (Result.OK, ())
    assert store.archived() == store.on_server()


def test_a_file_that_cannot_be_read_is_named_and_holds_up_no_other(store: Store) -> None:
    """Here: one that grows while it is read, which no Maildir's file may do."""
    store.fill(ANNA, "", 5)
    odd = store.put(ANNA, "", "grows.host:2,S", b"x" * 300_000)

    def grow(_: int) -> None:
        with odd.open("ab") as file:
            file.write(b"more")

    report = meddled(store, grow)
    assert (report.result, report.total) == (Result.INCOMPLETE, 5)
    assert [(one.mailbox, one.folder, one.name) for one in report.missing] == [(ANNA, "INBOX", "grows.host")]
    assert "changed" in report.missing[0].why
    assert store.pull().result is Result.OK
