"""Mail that a real Dovecot stores encrypted and compressed: found, opened with the keys of its own snapshot, and given back as mail."""

from __future__ import annotations

import json
import random
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from failsafe.adapters.mail_crypt import MailCryptKeys
from failsafe.mail.packed import CRYPTED, Unreadable
from tests.contract.dovecot import Dovecot, look, running
from tests.contract.test_crypt_store import MORE, PLUGIN, make_keys
from tests.contract.test_restore import Home, wipe

ANN, BOB = "ann@example.org", "bob@example.org"
PACKED = ("lz4", "gz", "bz2", "zstd")

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(not PLUGIN.exists(), reason="Dovecot's mail_crypt is not installed (Debian: dovecot-core)"),
    pytest.mark.skipif(shutil.which("restic") is None, reason="restic is not installed"),
]


@dataclass
class Sealed:
    home: Home
    plain: dict[str, bytes]  # how it is stored -> the message as Dovecot shows it


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    with running([ANN, BOB], more=MORE, prepare=lambda folder: make_keys(folder / "keys")) as dovecot:
        yield dovecot


@pytest.fixture(scope="module")
def sealed(server: Dovecot, tmp_path_factory: pytest.TempPathFactory) -> Sealed:
    """One message for each way of storing, backed up with the keys."""
    home = Home(tmp_path_factory.mktemp("sealed"), server)
    home.configure(f'extra_paths = ["{server.folder}/keys"]')
    ways = {f"crypt-{kind}": ("mail_crypt zlib", kind) for kind in PACKED} | {kind: ("zlib", kind) for kind in PACKED}
    ways |= {"crypt": ("mail_crypt", ""), "plain": ("", "")}
    for name, (plugins, kind) in ways.items():
        text = (
            f"From: x@example.net\r\nSubject: stored {name}\r\nMessage-ID: <{name}@sealed>\r\n\r\n{name} secret\r\n"
            + "text \r\n" * 200
        )
        words = ("-o", f"mail_plugins={plugins}", "-o", f"plugin/zlib_save={kind}")
        server.doveadm(*words, "save", "-u", ANN, data=text.encode())
    home.backup()
    return Sealed(home, shown(server, ANN))


def shown(server: Dovecot, mailbox: str) -> dict[str, bytes]:
    box = server.open(mailbox)
    found = {
        data.partition(b"Subject: stored ")[2].split()[0].decode(): data
        for _, data in box.fetch("INBOX", [message.uid for message in box.messages("INBOX")])
    }
    box.close()
    return found


def lf(data: bytes) -> bytes:
    """As Dovecot stores it: it keeps LF alone."""
    return data.replace(b"\r\n", b"\n")


def restore(home: Home, *words: str, status: int = 0) -> dict[str, object]:
    return dict(json.loads(home.run("restore", *words, "--yes", "--json", status=status)[0]))


def test_encrypted_mail_is_found_by_mailbox_folder_and_date(sealed: Sealed) -> None:
    rows = sealed.home.search("--mailbox", ANN, "--folder", "INBOX", "--since", "2000-01-01")
    assert len(rows) == len(sealed.plain) == 10
    assert {row["subject"] for row in rows if row["subject"]} == {
        "stored plain",
        "stored gz",
        "stored bz2",
    }  # what can be read without keys


def test_files_hold_the_messages_and_not_what_is_stored(sealed: Sealed, tmp_path: Path) -> None:
    expected = sorted(map(lf, sealed.plain.values()))
    report = restore(sealed.home, "--mailbox", ANN, "--to", f"eml:{tmp_path}/eml")
    assert (report["added"], report["missing"], report["verified"]) == (10, [], True)
    assert any("opened" in note for note in report["notes"]), report
    assert sorted(path.read_bytes() for path in tmp_path.rglob("eml/**/*.eml")) == expected
    restore(sealed.home, "--mailbox", ANN, "--to", f"zip:{tmp_path}/m.zip")
    with zipfile.ZipFile(tmp_path / "m.zip") as archive:
        assert sorted(archive.read(name) for name in archive.namelist()) == expected
    for to in (f"eml:{tmp_path}/eml", f"zip:{tmp_path}/m.zip", f"mbox:{tmp_path}/m"):
        assert restore(sealed.home, "--mailbox", ANN, "--to", to)["added"] == (10 if "mbox" in to else 0)
    assert restore(sealed.home, "--mailbox", ANN, "--to", f"mbox:{tmp_path}/m")["already_there"] == 10
    assert b"CRYPTED" not in (tmp_path / "m").read_bytes()


def test_a_maildir_gets_what_is_stored_and_that_is_said(sealed: Sealed, tmp_path: Path) -> None:
    report = restore(sealed.home, "--mailbox", ANN, "--to", f"maildir:{tmp_path}/out")
    stored = {
        path.read_bytes()
        for path in (sealed.home.server.folder / "mail/example.org/ann").rglob("*.*")
        if path.parent.name in {"cur", "new"}
    }
    assert {path.read_bytes() for path in tmp_path.rglob("cur/*")} == stored
    notes = " ".join(map(str, report["notes"]))
    assert "5 message(s) are stored encrypted" in notes
    assert "4 message(s) are stored compressed" in notes


def test_over_imap_the_message_goes_back_and_is_known_again(sealed: Sealed) -> None:
    before = look(sealed.home.server, ANN)
    assert sealed.home.imap("--mailbox", ANN)["already_there"] == 10
    wipe(sealed.home.server, BOB)
    report = sealed.home.imap("--mailbox", ANN, "--into-mailbox", BOB)
    assert (report["added"], report["missing"], report["verified"]) == (10, [], True)
    assert look(sealed.home.server, BOB) == before
    assert shown(sealed.home.server, BOB) == sealed.plain
    again = sealed.home.imap("--mailbox", ANN, "--into-mailbox", BOB)
    assert (again["added"], again["already_there"]) == (0, 10)


def test_an_encrypted_message_that_was_moved_on_the_server_is_recognised(sealed: Sealed) -> None:
    box = sealed.home.server.open(ANN)
    box.create_folder("Moved")
    box._client.select_folder("INBOX")
    box._client.move(box._client.search(["ALL"]), "Moved")
    box.close()
    report = sealed.home.imap("--mailbox", ANN)
    assert (report["added"], report["already_there"]) == (0, 10)


def test_without_its_keys_a_message_goes_nowhere_but_into_a_maildir(sealed: Sealed, tmp_path: Path) -> None:
    home = Home(tmp_path, sealed.home.server)
    home.configure()  # keys are not backed up
    home.backup()
    report = restore(home, "--mailbox", ANN, "--to", f"eml:{tmp_path}/eml", status=4)
    missing = [line["why"] for line in report["missing"]]  # type: ignore[attr-defined]
    assert (report["added"], len(missing)) == (5, 5)
    assert all("no key" in why and "--to maildir:" in why for why in missing)
    wipe(home.server, BOB)
    assert home.imap("--mailbox", ANN, "--into-mailbox", BOB, status=4)["added"] == 5
    assert not any("CRYPTED" in repr(data) for data in shown(home.server, BOB).values())


def test_damaged_ciphertext_is_never_another_message(sealed: Sealed) -> None:
    server = sealed.home.server
    keys = MailCryptKeys([(server.folder / "keys/ecprivkey.pem").read_bytes()])
    whole = next(
        data
        for path in (server.folder / "mail/example.org/ann").rglob("*.*")
        if path.parent.name in {"cur", "new"} and (data := path.read_bytes()).startswith(CRYPTED)
    )
    plain = keys.decrypt(whole)
    chance = random.Random(3)
    opened = 0
    for _ in range(200):
        broken = bytearray(whole[: chance.randrange(1, len(whole))] if chance.random() < 0.2 else whole)
        for _ in range(chance.randint(1, 3)):
            broken[chance.randrange(len(broken))] ^= chance.randrange(1, 256)
        try:
            assert keys.decrypt(bytes(broken)) == plain  # a flag that means nothing here
            opened += 1
        except Unreadable:
            continue
    assert opened < 10
    with pytest.raises(Unreadable, match="no key"):
        MailCryptKeys([b"no key", b""]).decrypt(whole)


def test_with_nothing_left_but_a_repository_it_is_opened_too(sealed: Sealed, tmp_path: Path) -> None:
    shutil.rmtree(sealed.home.folder / "state")  # staging and catalog: the last test of this module
    report = restore(sealed.home, "--mailbox", ANN, "--folder", "INBOX", "--to", f"eml:{tmp_path}/eml")
    assert (report["added"], report["missing"], report["verified"]) == (10, [], True)
    assert sorted(path.read_bytes() for path in tmp_path.rglob("*.eml")) == sorted(map(lf, sealed.plain.values()))
