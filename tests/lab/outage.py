"""Mail through an outage and home again: three people with aliases, letters to them while mail goes here or there, and who should have which of them at the end.

The secondary is one of two kinds: mirrored (the same mailboxes and aliases as at the primary), or one mailbox that catches all.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

from tests.lab import dovecot
from tests.lab.controller import Answer, Controller
from tests.lab.job import Job
from tests.lab.lab import Lab
from tests.lab.mailhost import MailHost
from tests.lab.names import ALICE, BOB, CA_FILE, DOMAIN, MX_NAMES, PASSWORDS, PROBE, PYTHON, VMAIL_ROOT, VMAIL_UID
from tests.lab.services import RELOAD_POSTFIX
from tests.lab.world import HERE
from tests.support import wait_until

CAROL = f"carol@{DOMAIN}"
PEOPLE = (ALICE, BOB, CAROL)
CATCHER = f"everything@{DOMAIN}"
ALIASES = {f"info@{DOMAIN}": (ALICE,), f"sales@{DOMAIN}": (BOB, CAROL), f"team@{DOMAIN}": PEOPLE}
SECRETS = {**PASSWORDS, CAROL: "carol-password", CATCHER: "everything-password"}
MASTER, MASTER_PASSWORD = "failsafe", "a master's password"
FIRST_DATE = 1_795_000_000  # of the letters' Date fields: each has its own, none is the day of the test
ARRIVES = 120

# In turn; the last one is for two names of one person, who should have it once.
ADDRESSED = (
    (ALICE,),
    (BOB,),
    (CAROL,),
    (f"info@{DOMAIN}",),
    (f"sales@{DOMAIN}",),
    (ALICE, BOB),
    (f"team@{DOMAIN}",),
    (f"info@{DOMAIN}", ALICE),
)
MASTERS = {
    False: """
auth_master_user_separator = *
passdb {
  driver = passwd-file
  args = scheme=PLAIN username_format=%u /etc/dovecot/masters
  master = yes
}
""",
    True: """
auth_master_user_separator = *
passdb masters {
  driver = passwd-file
  passwd_file_path = /etc/dovecot/masters
  default_password_scheme = PLAIN
  master = yes
}
""",
}  # whether it is Dovecot 2.4
CATCHING = {
    False: f"""
userdb {{
  driver = static
  args = uid=vmail gid=vmail home={VMAIL_ROOT}/{DOMAIN}/everything mail=maildir:{VMAIL_ROOT}/{DOMAIN}/everything allow_all_users=yes
}}
""",
    True: f"""
userdb static {{
  allow_all_users = yes
  fields {{
    uid = vmail
    gid = vmail
    home = {VMAIL_ROOT}/{DOMAIN}/everything
    mail_path = {VMAIL_ROOT}/{DOMAIN}/everything
  }}
}}
""",
}


def homecoming_table(*, catch_all: bool, more: str = "") -> str:
    logins = ", ".join(
        f'{{ mailbox = "{each}", user = "{each}", password_file = "/etc/failsafe/{each}.password" }}' for each in PEOPLE
    )
    source = f'catch_all = {{ user = "{CATCHER}", password_file = "/etc/failsafe/{CATCHER}.password" }}'
    return f"""
[domain."{DOMAIN}".homecoming]
host = "{MX_NAMES["secondary"]}"
port = 993
ca_file = "{CA_FILE}"
{source if catch_all else f"accounts = [{logins}]"}
deliver = {{ host = "{MX_NAMES["primary"]}", port = 993, ca_file = "{CA_FILE}", master_user = "{MASTER}", password_file = "/etc/failsafe/master.password" }}
{more}"""


@dataclass
class Outage:
    """One domain whose mail goes from the primary to the secondary and back, moved by hand."""

    controller: Controller
    catch_all: bool
    due: dict[str, set[str]] = field(default_factory=dict)  # letter -> the people who should have it
    _sent: int = 0

    @property
    def lab(self) -> Lab:
        return self.controller.lab

    # -- the world

    def prepare(self, mode: str = "manual") -> None:
        """People and aliases at both servers, a configuration, and a first backup, which holds the tables."""
        _put_people(self.lab.primary, masters=True)
        _put_people(self.lab.secondary, catch_all=self.catch_all)
        # Postfix gives mail of its own machine a Message-ID where there is none; these letters come from elsewhere.
        self.lab.sender.sh(f"postconf -e local_header_rewrite_clients=; {RELOAD_POSTFIX}")
        for name in (*PEOPLE, CATCHER):
            self.controller.nas.write(f"/etc/failsafe/{name}.password", SECRETS[name] + "\n", 0o600)
        self.controller.nas.write("/etc/failsafe/master.password", MASTER_PASSWORD + "\n", 0o600)
        table = homecoming_table(catch_all=self.catch_all)
        self.controller.configure(mode=mode, repositories={"nas": "/srv/backup/nas"}, extra=table)
        self.controller.backup()

    def primary_fails(self) -> None:
        self.lab.primary.power_off()
        self.controller.verb("failover", DOMAIN, "--yes", "--force", "--reason", "the primary is down")

    def primary_returns(self) -> None:
        self.lab.primary.boot()
        self.controller.verb("failback", DOMAIN, "--yes", "--force", "--reason", "it is back")

    # -- letters

    def send(self, letters: int, tag: str, *, straight_to: Iterable[MailHost] = (), size: int = 500) -> list[str]:
        """Hands letters to the internet's Postfix, or straight to each of these hosts, as a sender does that was told nothing by the first. Their ids."""
        plan = [self._planned(f"{tag}-{number}", size) for number in range(letters)]
        for host in [*(host.address for host in straight_to)] or ["127.0.0.1"]:
            done = self.lab.sender.run(PYTHON, HERE / "tools" / "letters_tool.py", host, stdin=json.dumps(plan), timeout=300)
            assert json.loads(done.stdout) == [one["id"] for one in plan], done.stderr
        self.due.update({one["id"]: recipients(one["to"]) for one in plan})
        return [one["id"] for one in plan]

    def _planned(self, lab_id: str, size: int) -> dict[str, Any]:
        number = self._sent = self._sent + 1
        identity = f"{lab_id}@sender.test"
        if number % 10 == 3:
            identity = ""
        elif number % 10 in (5, 6):  # two letters with one Message-ID, to different people
            identity = f"pair-{number // 10}@sender.test"
        to = ADDRESSED[number % len(ADDRESSED)]
        return {"id": lab_id, "to": to, "message_id": identity, "date": formatdate(FIRST_DATE + number * 60), "size": size}

    def arrived(self) -> None:
        """Waits until no server has anything left to deliver."""
        hosts = [host for host in (self.lab.sender, self.lab.primary, self.lab.secondary) if host.powered]
        wait_until(lambda: not any(host.queue_length() for host in hosts), ARRIVES, "all queues are empty", every=0.2)

    # -- home

    def come_home(self, *words: str, status: int | None = 0) -> Answer:
        return self.controller.verb("homecoming", DOMAIN, *words, "--json", status=status, timeout=300)

    def begin(self) -> Job:
        return self.controller.start("homecoming", DOMAIN, "--json")

    def landed(self) -> int:
        """How many messages lie in the people's inboxes at the primary, by its disk: quick enough to be asked a thousand times a second."""
        places = [f"{VMAIL_ROOT}/{DOMAIN}/{person.partition('@')[0]}/{sub}" for person in PEOPLE for sub in ("new", "cur")]
        return sum(1 for place in map(self.lab.primary.disk, places) if place.is_dir() for _ in place.iterdir())

    def held(self) -> dict[str, Counter[str]]:
        """Person -> how often each letter lies in any folder of theirs at the primary."""
        return {
            person: Counter(one["id"] for folder in seen.values() for one in folder["messages"] if one["id"])
            for person, seen in self.seen(self.lab.primary).items()
        }

    def wrong(self) -> list[str]:
        """What is not as it should be: every letter in the mailbox of each of its people exactly once, and in no other."""
        held, told = self.held(), []
        for person in PEOPLE:
            wanted = Counter(letter for letter, people in self.due.items() if person in people)
            told += [f"{person} lacks {letter}" for letter in (wanted - held[person])]
            told += [f"{person} has {letter} {held[person][letter]} times" for letter in (held[person] - wanted)]
        return sorted(told)

    def dated_otherwise(self) -> list[str]:
        """Letters that came home with another internal date than they had at the secondary."""
        there: dict[str, set[str]] = {}
        for folders in self.seen(self.lab.secondary).values():
            for one in (one for folder in folders.values() for one in folder["messages"] if one["id"]):
                there.setdefault(one["id"], set()).add(one["date"])
        home = [
            (one["id"], one["date"])
            for folders in self.seen(self.lab.primary).values()
            for folder in folders.values()
            for one in folder["messages"]
            if "$Failsafe" in one["flags"]
        ]
        assert home, "nothing carries the mark of a homecoming"
        return sorted(letter for letter, date in home if date not in there.get(letter, set()))

    def seen(self, host: MailHost) -> dict[str, dict[str, Any]]:
        """Mailbox -> what a client sees in it."""
        return {mailbox: digest(host, mailbox) for mailbox in self._mailboxes(host)}

    def _mailboxes(self, host: MailHost) -> Iterable[str]:
        return (CATCHER,) if self.catch_all and host is self.lab.secondary else PEOPLE


def digest(host: MailHost, mailbox: str) -> dict[str, Any]:
    tool = (PYTHON, HERE / "tools" / "imap_tool.py", "digest", host.address, mailbox, SECRETS[mailbox], CA_FILE)
    return dict(json.loads(host.run(*tool, timeout=120).stdout))


def recipients(addresses: Iterable[str]) -> set[str]:
    return {person for address in addresses for person in ALIASES.get(address, (address,))}


def _put_people(host: MailHost, *, masters: bool = False, catch_all: bool = False) -> None:
    newer = dovecot.version() >= (2, 4)
    people = (CATCHER, PROBE) if catch_all else (*PEOPLE, PROBE)
    conf = dovecot.configuration("maildir++") + (MASTERS[newer] if masters else "") + (CATCHING[newer] if catch_all else "")
    host.write(
        "/etc/dovecot/users", dovecot.users_file({name: SECRETS[name] for name in people}, VMAIL_UID), 0o640, "root:dovecot"
    )
    host.write("/etc/dovecot/masters", f"{MASTER}:{{PLAIN}}{MASTER_PASSWORD}\n", 0o640, "root:dovecot")
    host.write("/etc/dovecot/dovecot.conf", conf)
    host.write("/etc/postfix/mailboxes", "" if catch_all else "".join(f"{name} x\n" for name in people))
    host.write(
        "/etc/postfix/virtual", "" if catch_all else "".join(f"{alias} {', '.join(to)}\n" for alias, to in ALIASES.items())
    )
    host.sh(f"""
        postconf -e 'virtual_alias_maps = texthash:/etc/postfix/virtual' \
            'virtual_mailbox_maps = {"static:x" if catch_all else "texthash:/etc/postfix/mailboxes"}' enable_original_recipient=yes
        rm -rf {VMAIL_ROOT}/*; {RELOAD_POSTFIX}
    """)
    host.kill_service("dovecot")
    host.start("dovecot")
