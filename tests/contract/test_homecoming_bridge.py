"""Mail comes home from a source that rebuilds messages as Proton's Bridge does: once each, without the source's marks, whatever numbers it has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest

from failsafe.mail.fingerprint import Fingerprint, fingerprint, same
from tests.contract.bridge_like import BridgeLike, bridge_like
from tests.contract.bridge_rebuild import failed_to_build
from tests.contract.configs import domain_table
from tests.contract.dovecot import MASTER, PASSWORD, Dovecot, running
from tests.contract.processes import run
from tests.contract.restics import put_empty_repository
from tests.corpus.ordinary import ordinary

pytestmark = pytest.mark.timeout(300)

DOMAIN, ANN, BOB = "example.org", "ann@example.org", "bob@example.org"
LETTERS = {odd.name: odd.data for odd in ordinary()}
BOTH = [name for number, name in enumerate(LETTERS) if number % 3 == 0]  # delivered to both servers
NOW = datetime.now(UTC).replace(microsecond=0)  # noqa: TID251 - what is older than the homecoming is not of it


@dataclass
class Home:
    """A controller, the primary with a master user, and the bridge."""

    folder: Path
    primary: Dovecot
    bridge: BridgeLike

    def configure(self) -> None:
        for name, secret in (("repository.password", "secret"), ("imap.password", PASSWORD)):
            (self.folder / name).touch(mode=0o600)
            (self.folder / name).write_text(secret + "\n")
        put_empty_repository(self.folder / "repository", "secret")
        password, authority = self.folder / "imap.password", self.primary.certificates.authority
        accounts = ", ".join(f'{{ mailbox = "{each}", user = "{each}", password_file = "{password}" }}' for each in (ANN, BOB))
        self.file.write_text(
            f'[controller]\nid = "nas"\nstate_dir = "{self.folder}/state"\ntime_zone = "UTC"\n'
            f'[mail_server.vps]\nlayout = "maildir"\npath = "{self.primary.folder}/mail"\n{domain_table(DOMAIN)}'
            f'[domain."{DOMAIN}".homecoming]\nhost = "127.0.0.1"\nport = {self.bridge.port}\ntls = "starttls"\nca_file = "{self.bridge.certificate}"\n'
            f"accounts = [{accounts}]\n"
            f'deliver = {{ host = "localhost", port = {self.primary.port}, tls = "implicit", ca_file = "{authority}", master_user = "{MASTER}", password_file = "{password}" }}\n'
            f'[repository.nas]\nurl = "{self.folder}/repository"\npassword_file = "{self.folder}/repository.password"\n'
        )

    @property
    def file(self) -> Path:
        return self.folder / "failsafe.toml"

    def come_home(self, status: int = 0) -> Any:
        return json.loads(run(self.file, "homecoming", DOMAIN, "--json", status=status)[0])

    def at_primary(self, mailbox: str) -> dict[str, list[bytes]]:
        """Folder -> what lies in it."""
        box = self.primary.open(mailbox)
        try:
            return {
                name: [data for _, data in box.fetch(name, [one.uid for one in box.messages(name)])] for name in box.folders()
            }
        finally:
            box.close()


def of(data: bytes) -> Fingerprint:
    return fingerprint([data])


def times(data: bytes, held: list[bytes]) -> int:
    return sum(same(of(data), of(each)) for each in held)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Ann has all letters at the bridge, a third of them at her own server too."""
    with running([ANN, BOB]) as primary, bridge_like([ANN, BOB]) as bridge:
        made = Home(tmp_path_factory.mktemp("home"), primary, bridge)
        made.configure()
        for number, (name, data) in enumerate(LETTERS.items()):
            bridge.deliver(ANN, data, NOW - timedelta(minutes=1, seconds=number), labels=["work"] if number % 2 else ())
            if name in BOTH:
                received = b"Delivered-To: ann@example.org\r\nReceived: from relay.test by mail.example.org\r\n"
                primary.doveadm("save", "-u", ANN, data=received + data)
        yield made


def test_what_a_bridge_shows_comes_home_once_and_is_known_where_both_servers_got_it(home: Home) -> None:
    told = home.come_home()
    held = home.at_primary(ANN)

    assert (told["home"], told["already_there"], told["waiting"]) == (len(LETTERS) - len(BOTH), len(BOTH), [])
    assert {name: times(data, held["INBOX"]) for name, data in LETTERS.items()} == dict.fromkeys(LETTERS, 1)
    assert sum(map(len, held.values())) == len(LETTERS)


def test_nothing_of_the_bridge_itself_comes_home(home: Home) -> None:
    home.come_home()
    held = [message_from_bytes(data) for data in home.at_primary(ANN)["INBOX"]]

    assert [name for message in held for name in message if name.lower().startswith("x-pm-")] == []
    assert [value for message in held for value in message.values() if "protonmail.internalid" in value] == []


def test_a_bridge_that_renumbered_everything_brings_nothing_twice(home: Home) -> None:
    home.come_home()
    before = home.at_primary(ANN)
    home.bridge.renumber(ANN)
    home.bridge.deliver(ANN, b"From: a@x.test\r\nSubject: new\r\nMessage-ID: <new@x.test>\r\n\r\nnew\r\n", NOW)

    assert home.come_home()["home"] == 1
    after = home.at_primary(ANN)
    assert sum(map(len, after.values())) == sum(map(len, before.values())) + 1


def test_a_message_that_the_bridge_could_not_build_waits_until_it_can(home: Home) -> None:
    letter = (
        b"From: a@x.test\r\nSubject: late\r\nMessage-ID: <late@x.test>\r\nDate: Mon, 16 Nov 2026 10:00:00 +0000\r\n\r\nlate\r\n"
    )
    home.bridge.put(BOB, "INBOX", failed_to_build("late", NOW, "abc=="), NOW)
    (waits,) = home.come_home(status=1)["waiting"]
    assert "could not build it" in waits["why"]
    assert home.at_primary(BOB)["INBOX"] == []

    home.bridge.clear(BOB)
    home.bridge.deliver(BOB, letter, NOW)
    assert home.come_home()["waiting"] == []
    assert times(letter, home.at_primary(BOB)["INBOX"]) == 1
