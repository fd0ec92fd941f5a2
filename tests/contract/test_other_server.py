"""Restore into a server that is not Dovecot: a real Cyrus, which refuses malformed mail and rewrites letters of headers."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from failsafe.backup.destinations.imap import BEFORE_1970
from failsafe.backup.destinations.imap_known import given_to_imap
from failsafe.mail.identity import digests
from failsafe.mail.normal_forms import HEADER_MUNGED
from failsafe.model import Body
from tests.contract.cyrus import Cyrus, running
from tests.contract.dovecot import PASSWORD
from tests.contract.dovecot import running as running_dovecot
from tests.contract.test_restore import Home, fill
from tests.corpus import corpus

ANN, ZOE = "ann@example.org", "zoe@elsewhere.test"

pytestmark = [pytest.mark.timeout(600), pytest.mark.skipif(shutil.which("restic") is None, reason="restic is not installed")]


@pytest.fixture(scope="module")
def cyrus() -> Iterator[Cyrus]:
    with running([ANN, ZOE, "eve@example.org"]) as server:
        yield server


def look(server: Cyrus, mailbox: str) -> dict[str, list[tuple[str, frozenset[str], int]]]:
    """folder -> (canonical digest, flags and keywords in lower case, date) of each message, sorted; empty folders are left out."""
    box = server.open(mailbox)
    try:
        seen = {}
        for folder in box.folders():
            listed = {message.uid: message for message in box.messages(folder)}
            rows = [
                (digests(data)[1], frozenset(map(str.lower, listed[uid].flags)), int(listed[uid].internal_date.timestamp()))
                for uid, data in box.fetch(folder, listed)
            ]
            if rows:
                seen[folder] = sorted(rows, key=lambda row: row[0])
        return seen
    finally:
        box.close()


def test_the_corpus_goes_in_as_far_as_the_server_takes_it_and_only_once(cyrus: Cyrus, tmp_path: Path) -> None:
    cur = cyrus.folder / "mail/example.org/ann/cur"
    cur.mkdir(parents=True)
    for odd in corpus():
        path = cur / f"{odd.date}.{odd.name}.host:2,S"
        path.write_bytes(odd.data)
        os.utime(path, (odd.date, odd.date))
    home = Home(tmp_path, cyrus)  # type: ignore[arg-type]
    home.configure()
    home.backup()
    report = home.imap("--mailbox", ANN, status=4)
    refused = [line["why"] for line in report["missing"]]
    assert all("append failed" in why for why in refused), refused
    assert report["added"] == len(corpus()) - len(refused) > 250
    shown = {digest for rows in look(cyrus, ANN).values() for digest, _, _ in rows}
    lost = {odd.name for odd in corpus() if not shown & {digests(odd.data)[1], *given_to_imap(Body.of(odd.data)).forms}}
    assert len(lost) == len(refused)
    notes = " ".join(report["notes"])
    assert HEADER_MUNGED in notes
    assert f"{BEFORE_1970} (1 message(s))" in notes
    again = home.imap("--mailbox", ANN, status=4)
    assert (again["added"], again["already_there"], len(again["missing"])) == (0, report["added"], len(refused))


def test_a_mailbox_of_a_dovecot_goes_to_another_domain_on_the_other_server_whole(cyrus: Cyrus, tmp_path: Path) -> None:
    with running_dovecot([ANN]) as dovecot:
        fill(dovecot, ANN, 24)
        box = dovecot.open(ANN)
        many = frozenset(f"Keyword{number:02d}" for number in range(40))
        box.append(
            "INBOX",
            b"Message-ID: <forty@test>\r\nSubject: forty keywords\r\n\r\nx\r\n",
            many,
            box.messages("INBOX")[0].internal_date,
        )
        box.close()
        expected = look(dovecot, ANN)  # type: ignore[arg-type]
        home = Home(tmp_path, dovecot)
        accounts = tmp_path / "accounts"
        accounts.touch(mode=0o600)
        accounts.write_text(f"{ANN}:{tmp_path}/imap.password\n")
        home.configure(
            f'[mail_server.new]\nlayout = "imap"\naccounts_file = "{accounts}"\n'
            f'imap = {{ host = "localhost", port = {dovecot.port}, tls = "implicit", ca_file = "{dovecot.certificates.authority}" }}\n'
            f'[mail_server.cyrus]\nlayout = "imap"\naccounts_file = "{accounts}"\n'
            f'imap = {{ host = "localhost", port = {cyrus.port}, tls = "implicit", ca_file = "{cyrus.certificates.authority}" }}'
        )
        home.run("backup", "new", "--json")
    words = ("--server", "new", "--mailbox", ANN, "--to", "imap:cyrus", "--into-mailbox", ZOE)
    words += ("--imap-password-file", f"{tmp_path}/imap.password", "--yes", "--json")
    report = json.loads(home.run("restore", *words)[0])
    assert (report["added"], report["missing"], report["verified"], report["notes"]) == (25, [], True, [])
    assert look(cyrus, ZOE) == expected
    assert json.loads(home.run("restore", *words)[0])["added"] == 0
    into = json.loads(home.run("restore", *words, "--into", "Old mail/2025")[0])
    assert (into["added"], len(look(cyrus, ZOE)["Old mail/2025"])) == (25, 25)
    assert PASSWORD not in json.dumps(report)
