"""Mail that does not lie where a Maildir has it: what can be pulled is pulled, and what cannot is named, never passed over."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from failsafe.backup.serverside.ground import PLACES
from failsafe.model import Result
from tests.contract.mailstore import Store

ANNA, BOB = "anna@example.org", "bob@example.org"
HOME = "example.org/anna"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """With one whole mailbox."""
    store = Store(tmp_path)
    store.put(BOB, "", "a.host:2,")
    return store


def write(path: Path, body: bytes = b"x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)


def without_inbox(store: Store, base: str = "") -> None:
    for sub in ("cur", "new", "tmp"):
        shutil.rmtree(store.root / HOME / base / sub)


@pytest.mark.parametrize("base", ["", "Maildir/"])
@pytest.mark.parametrize(("directory", "name"), [(".Sent", "Sent"), ("Archive/2026", "Archive/2026")])
def test_a_mailbox_without_an_inbox_of_its_own_is_one_whose_inbox_is_empty(
    store: Store, base: str, directory: str, name: str
) -> None:
    store.folder(ANNA, base.rstrip("/"))
    store.put(ANNA, base + directory, "b.host:2,S")
    without_inbox(store, base)

    report = store.pull()

    assert (report.result, report.total, report.missing) == (Result.OK, 2, ())
    assert {folder: len(entries) for (box, folder), entries in store.entries().items() if box == ANNA} == {"INBOX": 0, name: 1}
    assert store.pull(calm=False, full_listing=True).unchanged


def test_mail_that_comes_to_an_inbox_that_was_not_there_is_pulled(store: Store) -> None:
    store.folder(ANNA)
    store.put(ANNA, ".Sent", "b.host:2,S")
    without_inbox(store)
    store.pull()
    store.put(ANNA, "", "c.host", sub="new")
    report = store.pull()
    assert (report.result, report.total) == (Result.OK, 3)
    assert store.archived() == store.on_server()


def test_an_inbox_that_lies_in_a_folder_of_that_name_has_no_empty_twin(store: Store) -> None:
    """As Dovecot keeps it with INBOX=~/Maildir/.INBOX."""
    store.folder(ANNA)
    store.put(ANNA, ".INBOX", "b.host:2,S")
    without_inbox(store)
    assert (store.pull().result, len(store.entries()[ANNA, "INBOX"])) == (Result.OK, 1)


@pytest.mark.parametrize("directory", ["", ".Sent"])
@pytest.mark.parametrize("there", ["cur", "new"])
def test_a_folder_with_only_one_of_cur_and_new_is_read(store: Store, there: str, directory: str) -> None:
    store.put(ANNA, directory, "b.host:2,", sub=there)
    for sub in {"cur", "new", "tmp"} - {there}:
        shutil.rmtree(store.root / HOME / directory / sub)
    report = store.pull()
    assert (report.result, report.total) == (Result.OK, 2)
    assert store.archived() == store.on_server()


def sdbox(home: Path) -> None:
    write(home / "sdbox/mailboxes/INBOX/dbox-Mails/u.1")


def mdbox(home: Path) -> None:
    write(home / "mdbox/storage/m.1")


def mdbox_at_home(home: Path) -> None:
    write(home / "storage/m.1")


def mbox(home: Path) -> None:
    write(home / "mail/Sent", b"From anna@example.org Thu Jan  1 00:00:00 2026\n\nx\n")


def mbox_at_home(home: Path) -> None:
    write(home / "mbox", b"From anna@example.org Thu Jan  1 00:00:00 2026\n\nx\n")


def other_maildir(home: Path) -> None:
    write(home / ".hidden/mail/new/1.host")


FOREIGN = {
    sdbox: ("sdbox/mailboxes/INBOX/dbox-Mails", 'layout = "imap"'),
    mdbox: ("mdbox/storage", 'layout = "imap"'),
    mdbox_at_home: ("storage", 'layout = "imap"'),
    mbox: ("mail/Sent", 'layout = "imap"'),
    mbox_at_home: ("mbox", 'layout = "imap"'),
    other_maildir: (".hidden/mail", "not archived"),
}


@pytest.mark.parametrize("base", ["", "Maildir"])
@pytest.mark.parametrize("put", FOREIGN, ids=lambda put: put.__name__)
def test_mail_beside_a_maildir_that_is_no_folder_of_it_is_named(store: Store, put: Callable[[Path], None], base: str) -> None:
    store.put(ANNA, f"{base}/.Sent".lstrip("/"), "b.host:2,")
    put(store.root / HOME)
    report = store.pull()
    place, words = FOREIGN[put]
    assert [(one.mailbox, one.name, words in one.why) for one in report.missing] == [(ANNA, place, True)]
    assert (report.result, report.total) == (Result.INCOMPLETE, 2)


@pytest.mark.parametrize("put", FOREIGN, ids=lambda put: put.__name__)
def test_a_mailbox_that_is_no_maildir_at_all_is_named(store: Store, put: Callable[[Path], None]) -> None:
    put(store.root / HOME)
    report = store.pull()
    place, words = FOREIGN[put]
    assert (ANNA, place, True) in [(one.mailbox, one.name, words in one.why) for one in report.missing]
    assert report.result is Result.INCOMPLETE


def test_a_store_that_became_mdbox_is_named_and_what_was_archived_stays(store: Store) -> None:
    store.fill(ANNA, "", 30)
    store.pull()
    shutil.rmtree(store.root / HOME)
    mdbox(store.root / HOME)
    report = store.pull()
    assert (report.result, report.total, report.gone, report.guards) == (Result.INCOMPLETE, 31, 0, ())


@pytest.mark.parametrize("below", ["2026", ".2026", "a/b"])
def test_a_maildir_below_a_folder_of_maildir_plus_plus_is_named(store: Store, below: str) -> None:
    """No mail server shows such a folder, so nobody would miss it until it is wanted."""
    store.put(ANNA, "", "a.host:2,")
    store.put(ANNA, f".Archive/{below}", "b.host:2,")
    store.folder(ANNA, ".Archive")
    assert [(one.name, "not archived" in one.why) for one in store.pull().missing] == [(f".Archive/{below}", True)]


def test_a_hidden_folder_below_a_folder_in_fs_layout_is_named(store: Store) -> None:
    store.put(ANNA, "", "a.host:2,")
    store.put(ANNA, "Archive/.2026", "b.host:2,")
    assert [one.name for one in store.pull().missing] == ["Archive/.2026"]


@pytest.mark.parametrize("place", ["anna", "example.org/carl"])
def test_a_mail_file_where_a_folder_is_expected_is_named(store: Store, place: str) -> None:
    write(store.root / place, b"From anna@example.org Thu Jan  1 00:00:00 2026\n\nx\n")
    (missing,) = store.pull().missing
    assert (missing.mailbox, 'layout = "imap"' in missing.why) == ("@".join(reversed(place.split("/"))), True)


@pytest.mark.parametrize("sub", ["cur", "new"])
def test_a_path_that_is_a_maildir_itself_is_named(store: Store, sub: str) -> None:
    write(store.root / sub / "1.host:2,S", b"Subject: x\n\n")
    assert [(one.mailbox, "is a Maildir itself" in one.why) for one in store.pull().missing] == [(sub, True)]


def test_what_is_no_mail_is_not_called_mail(store: Store) -> None:
    """Scripts, caches and what Dovecot and Courier keep beside the messages."""
    store.put(ANNA, "Maildir", "a.host:2,")
    without = store.put(ANNA, "Maildir/.Sent", "b.host:2,").parent.parent
    home = store.root / HOME
    for name in (
        "sieve/main.sieve",
        ".spamassassin/bayes_toks",
        "Maildir/courierimapkeywords/:list",
        ".cache/new/",
        "notes/storage/x",
    ):
        write(home / name) if not name.endswith("/") else (home / name).mkdir(parents=True)
    write(without / "courierimapkeywords/:list")
    write(without / "dovecot.index.cache", b"From ")
    write(home / "unreadable", b"")
    (store.root / "example.org/no-mailbox/scripts").mkdir(parents=True)
    os.mkfifo(home / "pipe")
    report = store.pull()
    assert (report.result, report.total, report.missing) == (Result.OK, 3, ())
    assert {box for box, _ in store.entries()} == {ANNA, BOB}


def test_where_there_is_too_much_to_look_through_that_is_named(store: Store) -> None:
    store.put(ANNA, "Maildir", "a.host:2,")
    for number in range(PLACES + 1):
        (store.root / HOME / f"other/{number}").mkdir(parents=True)
    (missing,) = store.pull().missing
    assert f"more than {PLACES}" in missing.why


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")
def test_a_folder_beside_a_maildir_that_its_owner_cannot_read_is_a_note(store: Store) -> None:
    store.put(ANNA, "Maildir", "a.host:2,")
    for path in (store.root / HOME, *(store.root / HOME).rglob("*")):
        os.chown(path, 65534, 65534)
    (store.root / HOME / ".gnupg").mkdir(mode=0o700)
    report = store.pull()
    assert report.generation is not None
    assert (report.result, report.generation.notes["skipped"]) == (Result.OK, [f"{HOME}/.gnupg"])
