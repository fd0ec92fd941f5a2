"""Mail of an outage home again, from one real Dovecot to another: once, with flags and dates, whatever breaks off in between."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from failsafe import deliveries
from failsafe.adapters.imap import ImapMailbox
from failsafe.clock import SystemClock
from failsafe.homecoming import deliver as batches
from failsafe.model import DomainRecord, DomainState, Side
from failsafe.store.homecomings import HomecomingStore
from failsafe.store.journal import Journal
from tests.contract.dovecot import MASTER, PASSWORD, Dovecot, look, running
from tests.contract.gathering import DOMAIN, Away
from tests.contract.mailstore import Silent
from tests.contract.restics import put_empty_repository
from tests.contract.verbs import run_verb
from tests.support import wait_until

pytestmark = pytest.mark.timeout(300)

KILLS = 30 if os.environ.get("FAILSAFE_ALL") else 8
PEOPLE = ("ann", "bob", "cleo")
AWAY = [f"{name}{number}@away.example" for number in range(12) for name in PEOPLE]
QUOTA = """
mail_plugins = quota
protocol imap {
  mail_plugins = quota imap_quota
}
plugin {
  quota = count:User quota
  quota_vsizes = yes
}
"""

USES = """
namespace inbox {
  mailbox Outbound {
    special_use = \\Sent
  }
  mailbox Rubbish {
    special_use = \\Junk
  }
}
"""


def letter(token: str, *, received: str = "secondary", size: int = 0) -> bytes:
    return (
        f"Received: from sender by {received}; Sun, 22 Nov 2026 16:00:00 +0000\r\nMessage-ID: <{token}@sender.example>\r\n"
        f"From: x@sender.example\r\nTo: somebody@{DOMAIN}\r\nDate: Sun, 22 Nov 2026 15:00:00 +0000\r\nSubject: {token}\r\n\r\ntext of {token}\r\n"
    ).encode() + (b"x" * 70 + b"\r\n") * (size // 72)


@dataclass
class World:
    """`n` makes the mailboxes of each test its own, on both servers."""

    away: Away
    primary: Dovecot
    n: int
    said: str = ""
    _tokens: Iterator[int] = field(default_factory=lambda: iter(range(10_000)))

    def name(self, person: str) -> str:
        return f"{person}{self.n}@{DOMAIN}"

    def put(
        self,
        person: str,
        *,
        folder: str = "INBOX",
        flags: frozenset[str] = frozenset(),
        hours: float = 0.5,
        size: int = 0,
        token: str = "",
    ) -> tuple[bytes, datetime]:
        data, at = letter(token or f"t{next(self._tokens)}", size=size), now() - timedelta(hours=hours)
        box = self.away.server.open(self.away.logins[self.name(person)])
        box.create_folder(folder)
        box.append(folder, data, flags, at)
        box.close()
        return data, at

    def homecoming(self, *words: str, status: int = 0) -> dict[str, Any]:
        code, out, self.said = run_verb(self.away.file, "homecoming", DOMAIN, "--json", *words)
        assert code == status, (code, out, self.said)
        answer: dict[str, Any] = json.loads(out)
        return answer

    def counts(self, *words: str, status: int = 0) -> tuple[int, int, int]:
        answer = self.homecoming(*words, status=status)
        return answer["home"], answer["already_there"], len(answer["waiting"])

    def at_home(self, person: str) -> dict[str, list[tuple[bytes, frozenset[str], datetime]]]:
        """Folder -> (bytes, flags, date) of each message."""
        box = self.primary.open(self.name(person))
        seen = {}
        for folder in box.folders():
            listed = {message.uid: message for message in box.messages(folder)}
            rows = [(data, listed[uid].flags, listed[uid].internal_date) for uid, data in box.fetch(folder, listed)]
            if rows:
                seen[folder] = rows
        box.close()
        return seen

    def allow(self, person: str, quota: str) -> None:
        """What fits into a mailbox of the primary, as Dovecot writes it; "" for no limit."""
        file = self.primary.folder / "users"
        lines = [line for line in file.read_text().splitlines() if not line.startswith(f"{self.name(person)}:")]
        place = f"{self.primary.folder}/mail/{DOMAIN}/{person}{self.n}"
        more = f"userdb_quota_rule=*:storage={quota}" if quota else ""
        before = int(file.stat().st_mtime)
        file.write_text("\n".join([*lines, f"{self.name(person)}:{{PLAIN}}{PASSWORD}:5000:5000::{place}::{more}"]) + "\n")
        os.utime(file, (before + 1, before + 1))  # Dovecot knows a new file by the second of its date, and looks once a second

        def heard() -> bool:
            told = self.primary.doveadm("user", self.name(person)).decode()
            return (f"*:storage={quota}" in told) if quota else ("quota_rule" not in told)

        wait_until(heard, 20, "Dovecot to know the mailbox's new limit")


def now() -> datetime:
    return SystemClock().now().replace(microsecond=0)


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Dovecot, Dovecot]]:
    if shutil.which("restic") is None:
        pytest.skip("restic is not installed")
    home = [f"{name}{number}@{DOMAIN}" for number in range(12) for name in PEOPLE]
    with running(AWAY, more=USES) as away, running(home, more=QUOTA) as primary:
        yield away, primary


@pytest.fixture(scope="module")
def numbers() -> Iterator[int]:
    return iter(range(12))


@pytest.fixture
def world(servers: tuple[Dovecot, Dovecot], numbers: Iterator[int], tmp_path: Path) -> World:
    away, primary = servers
    n = next(numbers)
    made = Away(tmp_path, away, {f"{name}{n}@{DOMAIN}": f"{name}{n}@away.example" for name in PEOPLE})
    (tmp_path / "home.password").touch(mode=0o600)
    (tmp_path / "home.password").write_text(PASSWORD + "\n")
    made.configure(deliver=_deliver(primary, tmp_path))
    return World(made, primary, n)


def _deliver(primary: Dovecot, folder: Path, port: int = 0) -> str:
    return (
        f'{{ host = "localhost", port = {port or primary.port}, tls = "implicit", ca_file = "{primary.certificates.authority}", '
        f'master_user = "{MASTER}", password_file = "{folder}/home.password" }}'
    )


def test_mail_comes_home_once_with_its_flags_and_date_into_its_folder(world: World) -> None:
    inbox = world.put("ann", flags=frozenset({"\\Flagged", "Work"}))
    junk = world.put("ann", folder="Spam")
    other = world.put("bob", folder="Projects/2026")
    dry = world.homecoming("--dry-run")
    assert (dry["to_bring"], dry["home"], world.at_home("ann")) == (3, 0, {})

    assert world.counts() == (3, 0, 0)

    assert world.at_home("ann") == {
        "INBOX": [(inbox[0], frozenset({"\\Flagged", "Work", "$Failsafe"}), inbox[1])],
        "Junk": [(junk[0], frozenset({"$Failsafe"}), junk[1])],
    }
    assert world.at_home("bob") == {"Projects/2026": [(other[0], frozenset({"$Failsafe"}), other[1])]}
    assert world.counts() == (0, 3, 0)
    assert len(look(world.away.server, world.away.logins[world.name("ann")])["INBOX"]) == 1  # nothing is taken away there


def test_sent_mail_of_our_own_people_goes_to_sent_and_is_seen(world: World) -> None:
    box = world.away.server.open(world.away.logins[world.name("ann")])
    box.create_folder("Sent")
    ours = letter("ours").replace(b"x@sender.example", world.name("ann").encode(), 1)
    box.append("Sent", ours, frozenset(), now())
    box.append("Sent", letter("a stranger's"), frozenset(), now())
    box.close()

    answer = world.homecoming()

    assert (answer["home"], answer["left"]) == (1, 1)
    ((data, flags, _at),) = world.at_home("ann")["Sent"]
    assert (data, flags) == (ours, frozenset({"\\Seen", "$Failsafe"}))


def test_what_the_secondary_says_a_folder_is_for_counts_before_its_name(world: World) -> None:
    ours = letter("ours").replace(b"x@sender.example", world.name("ann").encode(), 1)
    box = world.away.server.open(world.away.logins[world.name("ann")])
    box.create_folder("Outbound")
    box.append("Outbound", ours, frozenset(), now())
    box.close()
    junk, _ = world.put("ann", folder="Rubbish")
    labelled, _ = world.put("ann", folder="Labels/mine")

    assert world.counts() == (3, 0, 0)

    assert {folder: [data for data, *_ in rows] for folder, rows in world.at_home("ann").items()} == {
        "Sent": [ours],
        "Junk": [junk],
        "Labels/mine": [labelled],
    }


def test_a_message_that_both_servers_got_is_not_brought_and_two_with_one_message_id_are(world: World) -> None:
    world.put("ann", token="both")
    world.put("ann", token="twin")
    box = world.primary.open(world.name("ann"))
    box.create_folder("Archive")
    box.append("Archive", letter("both", received="the primary"), frozenset(), now())
    box.append("INBOX", letter("twin").replace(b"text of", b"another text of"), frozenset(), now())
    box.close()

    assert world.counts() == (1, 1, 0)
    assert {folder: len(rows) for folder, rows in world.at_home("ann").items()} == {"Archive": 1, "INBOX": 2}


def test_a_full_mailbox_waits_is_told_and_is_finished_when_there_is_room(world: World) -> None:
    world.allow("ann", "60K")
    given = [world.put("ann", size=20_000, hours=0.9 - number / 10)[0] for number in range(5)]
    world.put("bob")

    answer = world.homecoming(status=1)

    assert (answer["home"], len(answer["waiting"])) == (4, 2)  # three of Ann's, and Bob's
    assert all("quota" in each["why"].lower() for each in answer["waiting"])
    (event,) = [each for each in world.away.lines("events") if each["event"] == "homecoming.waiting"]
    assert "2 wait" in event["text"]
    world.allow("ann", "")
    assert world.counts() == (2, 4, 0)
    assert sorted(data for data, _, _ in world.at_home("ann")["INBOX"]) == sorted(given)


def test_a_large_message_comes_home_and_is_known_again(world: World) -> None:
    data, at = world.put("ann", size=50 << 20)

    assert world.counts() == (1, 0, 0)

    ((there, flags, date),) = world.at_home("ann")["INBOX"]
    assert there == data
    assert (flags, date) == (frozenset({"$Failsafe"}), at)
    HomecomingStore(world.away.app().store).forget(DOMAIN, lambda _name: True)
    assert world.counts() == (0, 1, 0)


def test_while_mail_goes_to_the_secondary_it_is_gathered_and_waits_for_the_failback(world: World) -> None:
    world.put("ann")
    _stand(world, DomainState.FAILED_OVER, Side.SECONDARY)

    answer = world.homecoming(status=3)

    assert "after the failback" in answer["held"]
    assert [each["message_id"] for each in answer["waiting"]] == ["t0@sender.example"]
    assert world.at_home("ann") == {}
    assert world.counts("--scheduled") == (0, 0, 0)
    _stand(world, DomainState.NORMAL, Side.PRIMARY, drains=True)
    assert world.counts("--scheduled") == (1, 0, 0)
    (event,) = [each for each in world.away.lines("events") if each["event"] == "homecoming.done"]
    assert event["text"] == "1 message(s) came home, 0 were already there, 0 wait"


@pytest.mark.parametrize("mark", ["keyword", "folder:Home/Brought"])
def test_what_is_home_is_marked_at_the_secondary_if_that_is_asked_for(world: World, mark: str) -> None:
    put_empty_repository(world.away.folder / "repository", "secret")
    world.away.repository = True
    world.away.configure(deliver=_deliver(world.primary, world.away.folder), mark=f'"{mark}"')
    data, at = world.put("ann", flags=frozenset({"\\Flagged"}))
    world.allow("bob", "1K")
    world.put("bob", size=4000)

    assert world.counts(status=1) == (1, 0, 1)

    moved = mark != "keyword"
    there = look(world.away.server, world.away.logins[world.name("ann")])
    ((_, flags, when),) = there["Home/Brought" if moved else "INBOX"]
    assert (flags, when) == (frozenset({"\\Flagged"} if moved else {"\\Flagged", "$Failsafe"}), at)
    ((_, waits, _),) = look(world.away.server, world.away.logins[world.name("bob")])["INBOX"]
    assert waits == frozenset()  # what is not home is not marked
    world.allow("bob", "")
    assert world.counts() == (1, 1, 0)
    assert [row[0] for row in world.at_home("ann")["INBOX"]] == [data]


def test_a_tick_brings_mail_home_by_itself(world: World) -> None:
    world.put("ann")

    code, out, said = run_verb(world.away.file, "tick", "--json")

    assert code == 0, said
    assert "homecoming:example.org" in json.loads(out)["jobs"]
    assert [data for data, *_ in world.at_home("ann")["INBOX"]] == [letter("t0")]


def test_a_primary_that_dies_in_the_middle_is_gone_on_with_when_it_is_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for person in PEOPLE:
        for _ in range(6):
            world.put(person)
    monkeypatch.setattr(batches, "TOGETHER", 4)
    append, calls = ImapMailbox.append_all, iter(range(100))

    def dies(self: ImapMailbox, *words: Any) -> Any:
        if next(calls) == 2:
            world.primary.kill()
        return append(self, *words)

    monkeypatch.setattr(ImapMailbox, "append_all", dies)
    answer = world.homecoming(status=4)
    monkeypatch.setattr(ImapMailbox, "append_all", append)
    assert answer["error"]
    assert answer["home"] + len(answer["waiting"]) == 18
    assert 0 < answer["home"] < 18
    (world.primary.folder / "run" / "master.pid").unlink(missing_ok=True)
    world.primary.start()

    assert sum(world.counts()) == 18
    assert [len(world.at_home(person)["INBOX"]) for person in PEOPLE] == [6, 6, 6]


def test_killed_at_any_moment_it_brings_each_message_exactly_once(world: World) -> None:
    given = {person: [world.put(person, hours=number / 20) for number in range(10)] for person in PEOPLE}
    chance = random.Random(7)
    world.away.gather()
    kills = 0
    for _ in range(KILLS):
        kills += _run_and_kill(world, chance.randint(1, 25), mid_write=chance.random() < 0.4)
    assert kills >= KILLS // 2, "the homecoming was finished too soon for most kills"

    home, there, waiting = world.counts()

    assert (home + there, waiting) == (30, 0)
    for person in PEOPLE:
        assert sorted((data, at) for data, _, at in world.at_home(person)["INBOX"]) == sorted(given[person])


def _run_and_kill(world: World, moment: int, *, mid_write: bool) -> bool:
    """Runs a homecoming in a process of its own, which kills itself at its so-manieth step; whether it came to that."""
    child = os.fork()
    if child == 0:
        try:
            left = iter(range(moment))

            def step() -> None:
                if next(left, None) is None:
                    os.kill(os.getpid(), signal.SIGKILL)

            for kind, name in (
                (ImapMailbox, "append_all"),
                (ImapMailbox, "append"),
                (ImapMailbox, "messages"),
                (HomecomingStore, "write"),
            ):
                _stepping(kind, name, step)
            if mid_write:
                _stepping(__import__("failsafe.adapters.imap_line", fromlist=["_Bounded"])._Bounded, "send", step)
            batches.TOGETHER = 3
            deliveries._gather = lambda *_: ""  # type: ignore[assignment]
            deliveries.bring_home(world.away.app(), DOMAIN, Silent(), lambda _text: None)
            os._exit(0)
        except BaseException:  # noqa: BLE001 - a child of a test must never go on as the test
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def _stepping(kind: Any, name: str, step: Any) -> None:
    real = getattr(kind, name)

    def stepped(*words: Any, **named: Any) -> Any:
        step()
        answer = real(*words, **named)
        step()
        return answer

    setattr(kind, name, stepped)


def _stand(world: World, state: DomainState, serving: Side, *, drains: bool = False) -> None:
    app = world.away.app()
    lease = app.leases.acquire("nas", now())
    journal = Journal(app.store, lease)
    record: DomainRecord = journal.load(DOMAIN, now())
    from dataclasses import replace

    until = now() + timedelta(days=3) if drains else None
    journal.change(record, replace(record, state=state, serving=serving, since_at=now(), draining_until=until), [])
