"""What comes back exactly, and what cannot and is said: keywords beyond a Maildir's letters, and dates that are far away."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from failsafe.backup.destinations.imap import BEFORE_1970
from tests.contract.dovecot import Dovecot, look, running
from tests.contract.mailstore import Store
from tests.contract.test_restore import Home, wipe

ANN, BOB = "ann@example.org", "bob@example.org"
FORTY = frozenset(f"Keyword{number:02d}" for number in range(40))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LONG_AGO = EPOCH - timedelta(days=3287, seconds=1)

pytestmark = [pytest.mark.timeout(600), pytest.mark.skipif(shutil.which("restic") is None, reason="restic is not installed")]


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    with running([ANN, BOB]) as dovecot:
        yield dovecot


@pytest.fixture(scope="module")
def home(server: Dovecot, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Ann's mailbox, read over IMAP: one message with forty keywords, one of 1961."""
    box = server.open(ANN)
    box.append(
        "INBOX",
        b"Message-ID: <forty@test>\r\nSubject: forty\r\n\r\nx\r\n",
        FORTY | {"\\Seen", "$Forwarded"},
        EPOCH + timedelta(days=9000),
    )
    box.append("INBOX", b"Message-ID: <old@test>\r\nSubject: old\r\n\r\nx\r\n", frozenset(), LONG_AGO)
    box.close()
    made = Home(tmp_path_factory.mktemp("fidelity"), server)
    accounts = made.folder / "accounts"
    accounts.touch(mode=0o600)
    accounts.write_text(f"{ANN}:{made.folder}/imap.password\n")
    made.configure(
        f'[mail_server.imap]\nlayout = "imap"\naccounts_file = "{accounts}"\n'
        f'imap = {{ host = "localhost", port = {server.port}, tls = "implicit", ca_file = "{server.certificates.authority}" }}'
    )
    made.run("backup", "imap", "--json")
    return made


def restore(home: Home, *words: str) -> dict[str, list[str]]:
    asked = ("--server", "imap", "--mailbox", ANN, "--imap-password-file", str(home.folder / "imap.password"), "--yes", "--json")
    return dict(json.loads(home.run("restore", *asked, *words)[0]))


def test_forty_keywords_come_back_over_imap_and_of_a_date_before_1970_it_is_said_that_it_cannot(home: Home) -> None:
    before = look(home.server, ANN)["INBOX"]
    assert {flag for _, flags, _ in before for flag in flags} == FORTY | {"\\Seen", "$Forwarded"}
    wipe(home.server, ANN)
    report = restore(home, "--to", "imap")
    assert (report["added"], report["notes"]) == (2, [f"{BEFORE_1970} (1 message(s))"])
    after = look(home.server, ANN)["INBOX"]
    assert [row for row in after if row[1]] == [row for row in before if row[1]]
    assert [date for _, flags, date in after if not flags] == [EPOCH + timedelta(days=1)]


def test_a_maildir_gets_the_date_and_as_many_keywords_as_it_has_letters_and_names_the_others(home: Home, tmp_path: Path) -> None:
    report = restore(home, "--to", f"maildir:{tmp_path}/out")
    (forty,) = (path for path in tmp_path.rglob("cur/*") if b"forty" in path.read_bytes())
    (old,) = (path for path in tmp_path.rglob("cur/*") if b"old" in path.read_bytes())
    assert old.stat().st_mtime == (LONG_AGO - EPOCH).total_seconds()
    table = dict(line.split(" ") for line in (tmp_path / "out/example.org/ann/dovecot-keywords").read_text().splitlines())
    assert forty.name.partition(":2,")[2] == "S" + "".join(chr(ord("a") + int(number)) for number in table)
    lost = (FORTY | {"$Forwarded"}) - set(table.values())  # over IMAP that is a keyword like others
    assert len(lost) == 15
    assert all(any(keyword in note for note in report["notes"]) for keyword in lost)
    listed = (tmp_path / "out/example.org/ann/keywords-lost.txt").read_text()
    assert all(f"{keyword}\n" in listed for keyword in lost)
    assert forty.name.partition(":2,")[0] in listed


def test_a_zip_tells_the_second_and_the_files_without_flags_say_so(home: Home, tmp_path: Path) -> None:
    notes = restore(home, "--to", f"zip:{tmp_path}/m.zip")["notes"]
    assert any("no flags or keywords" in note for note in notes)
    shutil.unpack_archive(tmp_path / "m.zip", tmp_path / "unpacked")
    (tmp_path / "eml").mkdir()
    notes = restore(home, "--to", f"eml:{tmp_path}/eml")["notes"]
    assert any("no flags or keywords" in note for note in notes)
    assert {path.stat().st_mtime for path in tmp_path.rglob("eml/**/*.eml")} == {
        (LONG_AGO - EPOCH).total_seconds(), timedelta(days=9000).total_seconds(),
    }  # fmt: skip


def test_a_backup_says_that_a_maildir_has_no_letters_left(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(ANN, "", "1.host:2,Sa")
    (store.folder(ANN) / "dovecot-keywords").write_text("".join(f"{number} Keyword{number:02d}\n" for number in range(26)))
    assert any(note.startswith("1 folder(s) use all 26 keyword letters") for note in store.pull().notes)
    (store.folder(ANN) / "dovecot-keywords").write_text("0 Keyword00\n")
    assert not any("keyword letters" in note for note in store.pull().notes)
