"""Mail that breaks tools, through everything: a Maildir pulled over SSH, found by search, restored to every destination, pulled over IMAP."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import unicodedata
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from failsafe.app import App
from failsafe.backup.catalog import Catalog
from failsafe.backup.catalog_search import Query, search
from failsafe.backup.destinations.imap import BEFORE_1970
from failsafe.backup.destinations.imap_known import LINE_ENDS, NULS, given_to_imap
from failsafe.config.load import load_config
from failsafe.mail.identity import digests
from failsafe.mail.normal_forms import CR_DROPPED
from failsafe.model import Body
from failsafe.restores import catalog_of
from tests.contract.dovecot import Dovecot, running
from tests.contract.sshd import Sshd
from tests.contract.test_restore import Home
from tests.corpus import corpus

ANN, BOB = "ann@example.org", "bob@example.org"
BY_ID = {digests(odd.data)[0]: odd for odd in corpus()}
APPENDABLE = {digests(odd.data)[1] for odd in corpus() if odd.data}  # no IMAP server takes an empty message

pytestmark = [pytest.mark.timeout(600), pytest.mark.skipif(shutil.which("restic") is None, reason="restic is not installed")]


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    with running([ANN, BOB]) as dovecot:
        yield dovecot


@pytest.fixture(scope="module")
def home(server: Dovecot, sshd: Sshd, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Ann's mailbox is the corpus, in files as other programs left them; it is backed up over SSH. `other` reads Bob's over IMAP."""
    place(server.folder / "mail/example.org/ann")
    made = Home(tmp_path_factory.mktemp("corpus"), server)
    accounts = made.folder / "accounts"
    accounts.touch(mode=0o600)
    accounts.write_text(f"{BOB}:{made.folder}/imap.password\n")
    made.configure(
        f'ssh = "{sshd.address}"\nssh_key = "{sshd.key}"\nknown_hosts = "{sshd.known_hosts}"\n'
        f'[mail_server.other]\nlayout = "imap"\naccounts_file = "{accounts}"\n'
        f'imap = {{ host = "localhost", port = {server.port}, tls = "implicit", ca_file = "{server.certificates.authority}" }}'
    )
    report = json.loads(made.run("backup", "vps", "--json")[0])
    assert (report["result"], report["messages"]["total"], report["missing"]) == ("ok", len(corpus()), [])
    return made


def place(mailbox: Path) -> None:
    for folder in ("cur", "new", "tmp"):
        (mailbox / folder).mkdir(parents=True)
    for odd in corpus():
        path = mailbox / "cur" / (odd.file_name or f"{odd.date}.{odd.name}.host:2,S")
        path.write_bytes(odd.data)
        os.utime(path, (odd.date, odd.date))
    for path in (mailbox.parent, mailbox, *mailbox.rglob("*")):
        os.chown(path, 5000, 5000)


@pytest.fixture(scope="module")
def catalog(home: Home) -> Iterator[Catalog]:
    file = home.folder / "failsafe.toml"
    with catalog_of(App(load_config(file), file), print) as opened:
        yield opened


def restore(home: Home, to: str, *words: str, status: int = 0) -> dict[str, object]:
    return dict(
        json.loads(
            home.run("restore", "--server", "vps", "--mailbox", ANN, "--to", to, "--yes", "--json", *words, status=status)[0]
        )
    )


def ids(found: Iterator[bytes]) -> list[str]:
    return sorted(hashlib.sha256(data).hexdigest() for data in found)


def test_the_corpus_is_large_enough_and_each_has_its_reason() -> None:
    assert len(corpus()) >= 150
    assert all(odd.why for odd in corpus())


def test_every_message_is_found_by_its_mailbox_folder_and_date(catalog: Catalog) -> None:
    rows = {row.id: row for row in search(catalog, Query(mailbox=ANN, folder="INBOX"))}
    assert rows.keys() == BY_ID.keys()
    assert {id_: row.internal_date for id_, row in rows.items()} == {id_: odd.date for id_, odd in BY_ID.items()}
    assert not any(row.opaque for row in rows.values())


@pytest.mark.parametrize("field", ["ids", "subject", "message_id"])
def test_every_message_is_found_by_its_id_its_subject_and_its_message_id(field: str, catalog: Catalog) -> None:
    lost = []
    for id_, odd in BY_ID.items():
        asked = {"ids": (id_,), "subject": odd.subject, "message_id": odd.message_id}[field]
        if asked and id_ not in {row.id for row in search(catalog, Query(server="vps", **{field: asked}))}:  # type: ignore[arg-type]
            lost.append(odd.name)
    assert lost == []


def test_no_message_steers_the_terminal_of_who_searches(home: Home) -> None:
    out, err = home.run("search", "--mailbox", ANN, "--limit", "1000")
    assert {letter for letter in out + err if unicodedata.category(letter)[0] == "C"} == {"\n"}
    assert len(out.splitlines()) == 2 * len(corpus())


def test_a_maildir_has_every_byte_and_every_date(home: Home, tmp_path: Path) -> None:
    report = restore(home, f"maildir:{tmp_path}/out")
    assert (report["added"], report["missing"], report["verified"]) == (len(corpus()), [], True)
    files = list(tmp_path.rglob("cur/*"))
    assert ids(path.read_bytes() for path in files) == sorted(BY_ID)
    assert {hashlib.sha256(path.read_bytes()).hexdigest(): int(path.stat().st_mtime) for path in files} == dates()
    assert restore(home, f"maildir:{tmp_path}/out")["added"] == 0


def dates() -> dict[str, int]:
    return {id_: odd.date for id_, odd in BY_ID.items()}


def test_eml_files_have_every_byte_and_every_date(home: Home, tmp_path: Path) -> None:
    report = restore(home, f"eml:{tmp_path}/out")
    assert (report["added"], report["missing"], report["verified"]) == (len(corpus()), [], True)
    files = list(tmp_path.rglob("*.eml"))
    assert {hashlib.sha256(path.read_bytes()).hexdigest(): int(path.stat().st_mtime) for path in files} == dates()
    assert restore(home, f"eml:{tmp_path}/out")["added"] == 0


def test_a_zip_has_every_byte(home: Home, tmp_path: Path) -> None:
    report = restore(home, f"zip:{tmp_path}/m.zip")
    assert (report["added"], report["missing"], report["verified"]) == (len(corpus()), [], True)
    with zipfile.ZipFile(tmp_path / "m.zip") as archive:
        assert archive.testzip() is None
        assert ids(archive.read(name) for name in archive.namelist()) == sorted(BY_ID)
    assert restore(home, f"zip:{tmp_path}/m.zip")["added"] == 0


def test_an_mbox_is_taken_apart_again_byte_for_byte(home: Home, tmp_path: Path) -> None:
    report = restore(home, f"mbox:{tmp_path}/m")
    assert (report["added"], report["missing"], report["verified"]) == (len(corpus()), [], True)
    read = [hashlib.sha256(data).hexdigest() for data in from_mbox((tmp_path / "m").read_bytes())]
    with_end = {
        hashlib.sha256(data if data.endswith(b"\n") else data + b"\n").hexdigest() for data in (odd.data for odd in corpus())
    }
    assert (set(read), len(read)) == (with_end, len(corpus()))  # mbox has no message without a last line end
    assert restore(home, f"mbox:{tmp_path}/m")["added"] == 0


def from_mbox(data: bytes) -> Iterator[bytes]:
    """A reader of mboxrd that shares nothing with what wrote it."""
    lines: list[bytes] | None = None
    for line in [*data.split(b"\n")[:-1], b"From "]:
        if line.startswith(b"From "):
            if lines is not None:
                assert lines.pop() == b""
                yield b"".join(kept + b"\n" for kept in lines)
            lines = []
        else:
            assert lines is not None
            lines.append(line[1:] if line.lstrip(b">").startswith(b"From ") else line)


def test_over_imap_every_message_goes_to_another_mailbox_and_from_there_into_another_archive(home: Home, tmp_path: Path) -> None:
    """One story: each step needs the one before."""
    words = ("--into-mailbox", BOB, "--imap-password-file", f"{home.folder}/imap.password")
    report = restore(home, "imap", *words, status=4)
    (empty,) = report["missing"]  # type: ignore[misc]
    assert empty["id"] == hashlib.sha256(b"").hexdigest()
    assert (report["added"], report["verified"]) == (len(corpus()) - 1, True), report
    shown = on_server(home.server)
    assert [odd.name for odd in corpus() if odd.data and not shown & accepted(odd.data)] == []
    notes = " ".join(map(str, report["notes"]))  # type: ignore[arg-type]
    assert all(said in notes for said in (BEFORE_1970, CR_DROPPED, LINE_ENDS, NULS, "did not keep the date (2 message(s))")), (
        notes
    )
    again = restore(home, "imap", *words)  # Dovecot shows a lone CR as nothing: that is the empty one now
    assert (again["added"], again["already_there"]) == (0, len(corpus()))

    pulled = json.loads(home.run("backup", "other", "--json")[0])
    assert (pulled["result"], pulled["messages"]["total"]) == ("ok", len(APPENDABLE))
    home.run("restore", "--server", "other", "--mailbox", BOB, "--to", f"eml:{tmp_path}/out", "--yes")
    assert {digests(path.read_bytes())[1] for path in tmp_path.rglob("*.eml")} == shown
    found = {row["message_id"] for row in home.search("--server", "other")}
    assert [odd.name for odd in corpus() if odd.message_id and odd.message_id not in found] == []


def accepted(data: bytes) -> set[str]:
    """Its canonical digest, and those of the forms that a server is known to make of it."""
    return {digests(data)[1], *given_to_imap(Body.of(data)).forms}


def on_server(server: Dovecot) -> set[str]:
    box = server.open(BOB)
    try:
        return {digests(data)[1] for _, data in box.fetch("INBOX", [message.uid for message in box.messages("INBOX")])}
    finally:
        box.close()
