"""Mail that comes home is filed as its owner's filter rules say, which are read at a real ManageSieve server and run nowhere."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from failsafe.adapters import imap_room
from failsafe.adapters.managesieve import active_script
from failsafe.checkup.homecoming import look_at_delivery
from failsafe.errors import MailError
from failsafe.failover.doctor_homecoming import judge_delivery
from failsafe.model import Endpoint, Finding, Severity
from failsafe.secrets import Secret
from tests.contract.dovecot import MASTER, PASSWORD, Dovecot, running
from tests.contract.gathering import DOMAIN, Away
from tests.contract.test_homecoming import World, _deliver, _run_and_kill, letter, now
from tests.ports import free_port

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(
        not Path("/usr/lib/dovecot/managesieve").exists(), reason="Dovecot has no ManageSieve (Debian: dovecot-managesieved)"
    ),
]
NUMBERS = 8
PERSON = "ann"
SIEVE = """
protocols = imap sieve
sendmail_path = {folder}/sendmail
service managesieve-login {
  inet_listener sieve {
    port = PORT
  }
}
protocol lda {
  mail_plugins = sieve
}
plugin {
  sieve = file:{folder}/rules/%n;active={folder}/rules/%n.sieve
}
"""
SENDING = """
require ["vacation", "reject", "enotify", "fileinto"];
vacation "away";
notify "mailto:spy@other.example";
if header :contains "subject" "forward" { redirect "else@other.example"; }
elsif header :contains "subject" "reject" { reject "no"; }
elsif header :contains "subject" "discard" { discard; }
"""
FILING = """
require ["fileinto", "imap4flags", "mailbox"];
if header :contains "subject" "work" { addflag ["\\\\Flagged", "urgent"]; fileinto :create "Work/2026"; }
elsif header :contains "subject" "nowhere" { fileinto "Nowhere"; }
"""


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Dovecot, Dovecot, int]]:
    if shutil.which("restic") is None:
        pytest.skip("restic is not installed")
    port = free_port()

    def prepare(folder: Path) -> None:
        """What Dovecot would send goes into a file."""
        (folder / "sendmail").write_text(f'#!/bin/sh\n{{ echo "$@"; cat; }} >> {folder}/sent\n')
        (folder / "sendmail").chmod(0o755)
        (folder / "sent").touch()
        (folder / "sent").chmod(0o666)

    home = [f"{PERSON}{number}@{DOMAIN}" for number in range(NUMBERS)]
    away_users = [f"{PERSON}{number}@away.example" for number in range(NUMBERS)]
    with running(away_users) as away, running(home, prepare=prepare, more=SIEVE.replace("PORT", str(port))) as primary:
        yield away, primary, port


@pytest.fixture(scope="module")
def numbers() -> Iterator[int]:
    return iter(range(NUMBERS))


@pytest.fixture
def world(servers: tuple[Dovecot, Dovecot, int], numbers: Iterator[int], tmp_path: Path) -> World:
    away, primary, port = servers
    n = next(numbers)
    (tmp_path / "home.password").touch(mode=0o600)
    (tmp_path / "home.password").write_text(PASSWORD + "\n")
    made = Away(tmp_path, away, {f"{PERSON}{n}@{DOMAIN}": f"{PERSON}{n}@away.example"})
    made.configure(deliver=_deliver(primary, tmp_path), filter=f"{{ port = {port} }}")
    return World(made, primary, n)


def let_rule(world: World, script: str) -> None:
    """As a mail program does it by ManageSieve: a script, and a link to it that makes it the active one."""
    rules, name = world.primary.folder / "rules", f"{PERSON}{world.n}"
    (rules / name).mkdir(parents=True)
    (rules / name / "mine.sieve").write_text(script)
    (rules / name / "other.sieve").write_text("discard;\n")
    (rules / f"{name}.sieve").symlink_to(f"{name}/mine.sieve")
    for place in (rules, *rules.rglob("*")):
        os.chown(place, 5000, 5000, follow_symlinks=False)


def places(world: World) -> dict[str, list[bytes]]:
    return {folder: [data for data, *_ in rows] for folder, rows in world.at_home(PERSON).items()}


def test_a_rule_of_the_mailbox_s_owner_chooses_folder_and_flags(world: World) -> None:
    let_rule(world, FILING)
    work, at = world.put(PERSON, token="work")
    rest, _ = world.put(PERSON, token="rest")
    nowhere, _ = world.put(PERSON, token="nowhere")
    junk, _ = world.put(PERSON, token="work-in-junk", folder="Junk")

    assert world.counts() == (4, 0, 0)

    assert world.at_home(PERSON)["Work/2026"] == [(work, frozenset({"\\Flagged", "urgent", "$Failsafe"}), at)]
    assert sorted(places(world)["INBOX"]) == sorted([rest, nowhere])
    assert places(world)["Junk"] == [junk]
    assert world.counts() == (0, 4, 0)


def test_rules_that_answer_forward_reject_and_discard_send_nothing_and_lose_nothing(world: World) -> None:
    let_rule(world, SENDING)
    given = {token: world.put(PERSON, token=token)[0] for token in ("forward", "reject", "discard", "plain")}

    answer = world.homecoming()

    assert (answer["home"], answer["waiting"]) == (4, [])
    assert sorted(places(world)["INBOX"]) == sorted(given[token] for token in ("forward", "reject", "plain"))
    assert places(world)["Trash"] == [given["discard"]]
    sent = world.primary.folder / "sent"
    assert sent.read_text() == ""
    deliver = ["/usr/lib/dovecot/dovecot-lda", "-c", world.primary.folder / "dovecot.conf", "-d", world.name(PERSON)]
    subprocess.run([*deliver, "-f", "x@sender.example"], input=letter("forward"), check=True, timeout=60, capture_output=True)
    assert "else@other.example" in sent.read_text()  # as the server itself would have done


def test_killed_at_any_moment_each_message_lies_once_where_the_rules_want_it(world: World) -> None:
    let_rule(world, FILING)
    given = [
        world.put(PERSON, token=f"{kind}{number}", hours=0.9 - number / 20)[0] for number in range(6) for kind in ("work", "rest")
    ]
    chance = random.Random(11)
    world.away.gather()
    kills = sum(_run_and_kill(world, chance.randint(1, 16), mid_write=False) for _ in range(6))
    assert kills >= 3, "the homecoming was finished too soon for most kills"

    home, there, waiting = world.counts()

    assert (home + there, waiting) == (12, 0)
    assert sorted(places(world)["Work/2026"]) == sorted(given[::2])
    assert sorted(places(world)["INBOX"]) == sorted(given[1::2])


def test_rules_that_cannot_be_judged_or_read_keep_no_mail_waiting(world: World) -> None:
    let_rule(world, 'require ["regex", "fileinto"];\nif header :regex "subject" "w.*k" { fileinto "Work"; }\n')
    first, _ = world.put(PERSON, token="work")
    said = world.homecoming()
    assert said["home"] == 1
    assert any(":regex" in note for note in said["notes"])
    assert places(world) == {"INBOX": [first]}

    world.away.configure(deliver=_deliver(world.primary, world.away.folder), filter=f"{{ port = {free_port()} }}")
    world.put(PERSON, token="second")
    said = world.homecoming()
    assert said["home"] == 1
    assert any("not followed" in note for note in said["notes"])


def test_the_doctor_tries_the_credential_and_the_rules_and_writes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    let_rule(world, 'require "regex";\nif header :regex "subject" "w.*k" { discard; }\n')
    box = world.primary.open(world.name(PERSON))
    box.append("INBOX", letter("there"), frozenset(), now())
    box.close()
    before = world.at_home(PERSON)

    def judged() -> Finding:
        return judge_delivery(DOMAIN, look_at_delivery(world.away.app(), DOMAIN))

    strange = judged()
    assert strange.severity is Severity.WARN
    assert f"{world.name(PERSON)}: :regex" in strange.text
    assert world.at_home(PERSON) == before
    world.away.configure(deliver=_deliver(world.primary, world.away.folder))
    assert judged().severity is Severity.OK
    (world.away.folder / "home.password").write_text("wrong\n")
    refused = judged()
    assert (refused.severity, "login refused" in refused.text) == (Severity.FAIL, True)
    monkeypatch.setattr(imap_room, "ANSWER_SECONDS", 1.0)
    world.away.configure(deliver=_deliver(world.primary, world.away.folder).replace('"implicit"', '"starttls"'))
    assert "perhaps the port begins with TLS" in judged().text
    world.away.configure(deliver=_deliver(world.primary, world.away.folder, port=world.primary.plain))
    assert "perhaps it begins in plain text" in judged().text


def test_a_mailbox_without_an_active_script_and_a_refused_login_are_told_apart(servers: tuple[Dovecot, Dovecot, int]) -> None:
    _away, primary, port = servers
    where = Endpoint("localhost", port, "starttls", str(primary.certificates.authority))
    user = f"{PERSON}{NUMBERS - 1}@{DOMAIN}*{MASTER}"

    assert active_script(where, user, Secret(PASSWORD)) is None
    with pytest.raises(MailError, match="the login is refused") as refused:
        active_script(where, user, Secret("wrong"))
    assert refused.value.credential
    assert "wrong" not in str(refused.value)
    with pytest.raises(MailError, match="certificate"):
        active_script(Endpoint("localhost", port, "starttls"), user, Secret(PASSWORD))
