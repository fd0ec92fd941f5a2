"""Mail goes through real servers into a backup, is lost in every way, and comes back: nothing missing, nothing doubled, all as it was.

Postfix delivers, Dovecot keeps it (as Maildir, pulled over SSH; as mdbox, read over IMAP), a person marks and moves it. What was and what is
are compared over IMAP by imap_tool.py, which knows nothing of failsafe. One backup serves all disasters of a store: after each restore the
mailboxes are what they were.
"""

import contextlib
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.lab.controller import Controller
from tests.lab.lab import Lab
from tests.lab.mailhost import MailHost
from tests.lab.names import ALICE, BOB, DOMAIN, PASSWORDS, VMAIL_ROOT
from tests.support import Moments, wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

KILLS = 10 if os.environ.get("FAILSAFE_ALL") else 4  # of each store: 8 in all, 20 with ./dev test --all
MAILBOXES = (ALICE, BOB)
Seen = dict[str, Counter[tuple[str, tuple[str, ...], str, str]]]
EXPUNGED = "old-11"  # the hole in the UIDs of a seeded mailbox


@dataclass
class House:
    """A mail server with mail on it, its backup, and what clients saw of it then."""

    controller: Controller
    store: str
    before: dict[str, Seen]

    @property
    def server(self) -> MailHost:
        return self.controller.lab.primary

    def restore(self, mailbox: str, *words: str, status: int = 0) -> dict[str, object]:
        answer = self.controller.verb(*self.words(mailbox), *words, "--json", status=status, timeout=300)
        return dict(answer.value)

    def words(self, mailbox: str) -> tuple[str, ...]:
        password = f"/etc/failsafe/{mailbox}.password"
        return ("restore", "--mailbox", mailbox, "--to", "imap", "--imap-password-file", password, "--yes")


def seen(server: MailHost, mailbox: str) -> Seen:
    """What clients see of a mailbox but for UIDs: folder -> how often each (X-Lab-Id, flags and keywords, date, SHA-256) is there."""
    return {
        name: Counter((one["id"], tuple(one["flags"]), one["date"], one["sha256"]) for one in folder["messages"])
        for name, folder in server.digest(mailbox).items()
        if folder["messages"]
    }


def restart(server: MailHost, script: str = "") -> None:
    server.kill_service("dovecot")
    server.sh(script or ":")
    server.start("dovecot")


@pytest.fixture(scope="module", params=["maildir", "mdbox"])
def house(lab: Lab, request: pytest.FixtureRequest) -> Iterator[House]:
    controller, server, store = Controller(lab), lab.primary, request.param
    server.sh(f"rm -rf {VMAIL_ROOT}/{DOMAIN}")
    server.use_layout("mdbox" if store == "mdbox" else "maildir++")
    controller.forget()
    controller.configure()
    for mailbox in MAILBOXES:
        controller.nas.write(f"/etc/failsafe/{mailbox}.password", PASSWORDS[mailbox] + "\n", 0o600)
    if store == "mdbox":
        read_over_imap(controller)
    live_in(server, lab)
    report = controller.backup()
    assert report["result"] == "ok"
    yield House(controller, store, {mailbox: seen(server, mailbox) for mailbox in MAILBOXES})
    server.sh(f"rm -rf {VMAIL_ROOT}/{DOMAIN}")
    server.use_layout("maildir++")


def read_over_imap(controller: Controller) -> None:
    accounts = "".join(f"{mailbox}:/etc/failsafe/{mailbox}.password\n" for mailbox in MAILBOXES)
    controller.nas.write("/etc/failsafe/accounts", accounts, 0o600)
    text = controller.nas.read("/etc/failsafe/failsafe.toml")
    files = f'layout = "maildir"\npath = "{VMAIL_ROOT}"\n'
    assert files in text
    controller.nas.write(
        "/etc/failsafe/failsafe.toml", text.replace(files, 'layout = "imap"\naccounts_file = "/etc/failsafe/accounts"\n'), 0o600
    )


def live_in(server: MailHost, lab: Lab) -> None:
    """Mail is delivered, and people do with it what they do; what lay there for long has old dates."""
    server.seed(ALICE, 150, "old")
    sent = lab.sender.send(12, "fresh", ALICE)
    lab.sender.send(5, "to-bob", BOB)
    wait_until(lambda: set(sent) <= set(server.imap_ids(ALICE)), 60, "Postfix delivered Alice's mail")
    wait_until(lambda: len(server.imap_ids(BOB)) == 5, 60, "Postfix delivered Bob's mail")
    server.mark(ALICE, "INBOX", sent[0], r"\Seen", r"\Flagged")
    server.mark(ALICE, "INBOX", sent[1], "Projekt", "$Label3", r"\Answered")
    server.move(ALICE, "INBOX", sent[2], "Kunden/Müller & Söhne")
    server.move(ALICE, "INBOX", sent[3], "Neu/Ordner")
    server.mark(BOB, "INBOX", "to-bob-0", r"\Seen", "Wichtig")


# -- the disasters: each gives the mailboxes that it befell


def messages_deleted(house: House) -> tuple[str, ...]:
    for folder, lab_id in (
        ("INBOX", "fresh-0"),
        ("INBOX", "fresh-1"),
        ("Archive/2026", "old-1"),
        ("Kunden/Müller & Söhne", "fresh-2"),
    ):
        assert house.server.delete(ALICE, folder, lab_id) >= 1
    return (ALICE,)


def a_folder_deleted(house: House) -> tuple[str, ...]:
    house.server.drop(ALICE, "Kunden/Müller & Söhne")
    return (ALICE,)


def a_mailbox_deleted(house: House) -> tuple[str, ...]:
    restart(house.server, f"rm -rf {VMAIL_ROOT}/{DOMAIN}/alice")
    return (ALICE,)


def the_list_of_uids_corrupted(house: House) -> tuple[str, ...]:
    """mdbox has none; there the map of its storage is what Dovecot makes anew."""
    names = "dovecot-uidlist" if house.store == "maildir" else "dovecot.map.index*"
    count = house.server.sh(
        f"find {VMAIL_ROOT}/{DOMAIN}/alice -name '{names}' | while read -r file; do"
        ' head -c 4000 /dev/urandom >"$file"; echo "$file"; done | wc -l'
    ).stdout
    assert int(count) >= 1
    restart(house.server)
    return (ALICE,)


def the_server_rebuilt_empty(house: House) -> tuple[str, ...]:
    """The accounts are there again, as whoever sets a server up makes them first."""
    restart(house.server, f"rm -rf {VMAIL_ROOT}/{DOMAIN}")
    return MAILBOXES


DISASTERS: list[Callable[[House], tuple[str, ...]]] = [
    messages_deleted,
    a_folder_deleted,
    a_mailbox_deleted,
    the_list_of_uids_corrupted,
    the_server_rebuilt_empty,
]


@pytest.mark.parametrize("disaster", DISASTERS, ids=lambda disaster: disaster.__name__.replace("_", "-"))
def test_after_a_disaster_a_restore_makes_the_mailboxes_what_they_were(
    house: House, disaster: Callable[[House], tuple[str, ...]]
) -> None:
    befallen = disaster(house)
    if disaster is not the_list_of_uids_corrupted:  # which Dovecot begins to mend when somebody looks
        assert all(seen(house.server, mailbox) != house.before[mailbox] for mailbox in befallen)

    reports = {mailbox: house.restore(mailbox) for mailbox in MAILBOXES}

    assert [report["missing"] for report in reports.values()] == [[], []]
    after = {mailbox: seen(house.server, mailbox) for mailbox in MAILBOXES}
    if disaster is the_list_of_uids_corrupted and house.store == "mdbox":
        after = {mailbox: without_revived(folders, house.before[mailbox]) for mailbox, folders in after.items()}
    assert after == house.before
    assert {mailbox: house.restore(mailbox)["added"] for mailbox in befallen} == dict.fromkeys(befallen, 0)


def without_revived(folders: Seen, before: Seen) -> Seen:
    """mdbox keeps what was expunged until it is purged. Where its map is lost, Dovecot may take such a message for one whose folder was lost,
    and show it again (seen in the act: the one that the seed had expunged): those are left out, each a copy of a message that was there once."""
    known = {one[3] for folder in before.values() for one in folder}
    found: Seen = {}
    for name, folder in folders.items():
        assert [(one, name) for one in folder if one[3] not in known and one[0] != EXPUNGED] == []
        kept = folder & before.get(name, Counter())
        found |= {name: kept} if kept else {}
    return found


def weight(server: MailHost) -> int:
    """Bytes of Alice's mail on the server's disk."""
    files = server.disk(f"{VMAIL_ROOT}/{DOMAIN}/alice").rglob("*")
    return sum(file.stat().st_size for file in files if file.parent.name in {"cur", "storage"})


def killed_when(house: House, moment: Callable[[], bool], seconds: float) -> bool:
    """Runs a restore of Alice's mailbox; whether it was killed, with all it started, at that moment or after so many seconds."""
    job = house.controller.start(*house.words(ALICE))
    with contextlib.suppress(AssertionError):
        wait_until(lambda: job.poll() is not None or moment(), seconds, "the restore ended", every=0.01)
    try:
        if job.poll() is None:
            job.kill_group()
            return True
        assert job.poll() == 0, job.stderr()
        return False
    finally:
        job.close()


def test_a_restore_killed_at_random_points_ends_the_same(house: House) -> None:
    """kill -9 of failsafe and all it started: by turns at a random fraction of the time a whole restore takes, and of the bytes it brings."""
    whole = sum(sum(folder.values()) for folder in house.before[ALICE].values())
    total, chance, kills, partly, tries = weight(house.server), random.Random(7), 0, 0, 0
    moments = Moments(chance)
    house.server.empty(ALICE)
    while kills < KILLS and tries < 4 * KILLS:
        tries += 1
        if kills % 2:
            enough = weight(house.server) + chance.uniform(0.05, 0.9) * total
            kills += killed_when(house, lambda enough=enough: weight(house.server) >= enough, 120)
        else:
            kills += moments.try_once(lambda patience: killed_when(house, lambda: False, patience))
        there = len([one for folder in house.server.digest(ALICE).values() for one in folder["messages"]])
        partly += 0 < there < whole
        if there == whole:  # it was done: begin again
            house.server.empty(ALICE)
    house.restore(ALICE)

    assert kills == KILLS, moments
    assert partly >= 1, moments  # else every kill came before the first message or after the last
    assert seen(house.server, ALICE) == house.before[ALICE]
