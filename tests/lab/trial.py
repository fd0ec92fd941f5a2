"""failsafe on the lab's NAS under trial: a night like any other at hand in a second, broken on purpose, and judged by what the name server saw.

A night is a NAS whose doctor has looked and that has seen the primary up; it is made once and put back for each test. Nothing is backed up:
there is no repository, so the daemon does nothing but watch and decide.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.lab.controller import CONFIG, STATE, Controller, configuration
from tests.lab.job import Job
from tests.lab.lab import Lab
from tests.lab.mailhost import MailHost
from tests.lab.names import ADDRESSES, AUTHORITATIVE, DOMAIN, MX_PRIMARY, PYTHON, REPOSITORY
from tests.lab.services import RELOAD_POSTFIX
from tests.lab.world import HERE
from tests.support import wait_until

ALL = bool(os.environ.get("FAILSAFE_ALL"))
PEACE = MX_PRIMARY
OUTAGE = [f"10 mx1.{DOMAIN}.", f"5 mx2.{DOMAIN}."]  # as a resolver sorts text; 5 is preferred
NIGHT = "/var/lib/failsafe-night"
HOUR_AGO = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1])
for table, column in (("doctor_run", "at"), ("duty", "started_at"), ("duty", "ended_at"), ("duty", "ok_at")):
    database.execute(f"update {table} set {column} = strftime('%Y-%m-%dT%H:%M:%f', {column}, '-20 minutes') || '000Z'")
database.commit()
"""  # when the doctor looked: it is not due again in this night, also where the clock goes back
SECONDS = 60  # patience with a busy machine; what is awaited comes within ten
SHORT = {"down_for": "2s", "up_for": "2s", "repositories": {}, "watched": ADDRESSES["primary"]}
IMPATIENT = ("QUERY_SECONDS=0.5", "CONNECT_SECONDS=1")  # with name servers that are silent
AT_ONCE = "FIRST_RETRY=1"  # for tools/run_tool.py: a plan that was given up is made again after a second instead of a minute


class Trial(Controller):
    """One domain, watched by one daemon; what is asked of it is read from its database and from the name server, not through verbs."""

    def __init__(self, lab: Lab, **options: Any) -> None:
        """`options`: see controller.configuration."""
        super().__init__(lab)
        self.options = {**SHORT, **options}
        self.others: list[Job] = []
        self._serial = 0

    def close(self) -> None:
        """For good."""
        self.end()
        super().close()

    # -- a night

    def prepare(self) -> None:
        """Once for each lab."""
        self.forget(repositories=False)
        self.configure(**self.options)
        self.watch()
        self.awaits(lambda: '"job.ended"' in self.daemon_output(), "the doctor has looked")
        self.stop()
        self.nas.run(PYTHON, "-c", HOUR_AGO, f"{STATE}/failsafe.sqlite")
        self.nas.sh(f"rm -rf {NIGHT}; cp -a {STATE} {NIGHT}")

    def night(self, **options: Any) -> None:
        """Everything as it was when all was prepared, with other options for this test. Nothing runs yet."""
        self.end()
        self.nas.sh(f"rm -rf {STATE}; cp -a {NIGHT} {STATE}")
        self.configure(**{**self.options, **options})
        self._serial = self.serial()

    def end(self) -> None:
        """Ends every daemon at once, without ceremony."""
        self.kill()
        for job in self.others:
            job.kill_group()
            job.close()
        self.others.clear()

    def watch(self) -> None:
        """Starts the daemon; returns when it has heard from the primary anew."""
        self.daemon = self.start("run")
        self.hears()

    def hears(self, looks: int = 1) -> None:
        """Until the primary was looked at so many times from now on."""
        before = self.looks()
        self.awaits(lambda: self.looks() >= before + looks, f"the primary was looked at {looks} times")

    def looks(self) -> int:
        """How often Postfix on the primary was asked by the NAS: what came through to it, whatever failsafe made of it."""
        log = self.lab.primary.disk("/var/log/mail.log").read_text(encoding="utf-8", errors="replace")
        return sum("disconnect from" in line and f"[{self.nas.address}]" in line for line in log.splitlines())

    def broken(self, how: str, moment: str, *times: str, config: str = CONFIG) -> Job:
        """A daemon that KILLs or STOPs itself at a moment of tools/run_tool.py."""
        tool = HERE / "tools" / "run_tool.py"
        environment = {"PYTHONPATH": str(REPOSITORY), "FAILSAFE_CONFIG": config}
        return self.nas.popen(PYTHON, tool, how, moment, *times, env=environment)

    def copy(self, name: str) -> str:
        """A copy of the NAS's state as it is now, with a configuration of its own; the path of that."""
        folder, config = f"{STATE}-{name}", f"/etc/failsafe/{name}.toml"
        self.nas.sh(f"rm -rf {folder}; cp -a {STATE} {folder}; rm -rf {folder}/locks")
        self.nas.write(config, configuration(**{**self.options, "state_dir": folder}), 0o600)
        return config

    # -- what the name server saw

    def serial(self) -> int:
        """The zone's serial number: every change of the zone, whoever made it, makes it greater by one."""
        answer = self.nas.run("kdig", "+short", "+timeout=2", f"@{AUTHORITATIVE}", DOMAIN, "SOA").stdout.split()
        return int(answer[2])

    def changes(self) -> int:
        """How often the zone was changed since the night began."""
        return self.serial() - self._serial

    def mx(self, server: str = AUTHORITATIVE) -> list[str]:
        return sorted(self.nas.run("kdig", "+short", "+timeout=2", f"@{server}", DOMAIN, "MX").stdout.splitlines())

    def zone(self) -> tuple[list[str], int]:
        """Its MX records, and how often it was changed since the night began."""
        return self.mx(), self.changes()

    # -- what failsafe says

    def state(self, state: str = STATE) -> str:
        return self.kept_state(state)

    def events(self, state: str = STATE) -> list[tuple[str, str]]:
        """(name, text) of every event, oldest first."""
        return [(str(name), str(text)) for name, text in self.rows("select name, text from event order by id", state)]

    def said(self, name: str, state: str = STATE) -> list[str]:
        """The texts of all events of this name."""
        return [text for event, text in self.events(state) if event == name]

    def plans(self, state: str = STATE) -> list[tuple[str, str | None]]:
        """(kind, outcome) of every plan in the journal."""
        return [(str(kind), outcome) for kind, outcome in self.rows("select kind, outcome from intent order by id", state)]

    def awaits(self, reached: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
        """Waits, and tells all that is known where it does not come."""
        try:
            wait_until(reached, seconds, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.told()}") from None

    def told(self) -> str:
        """All that is known, for a person whose test fails."""
        events = "\n".join(f"{name}: {text}" for name, text in self.events())
        logs = "\n".join(job.stderr()[-4000:] for job in [*([self.daemon] if self.daemon else []), *self.others])
        return f"--- state {self.state()}, plans {self.plans()}\n--- events\n{events}\n--- daemons\n{logs}"

    def comes_to(self, state: str, seconds: float = SECONDS) -> None:
        self.awaits(lambda: self.state() == state, f"the domain is {state}", seconds)

    def hears_of(self, event: str, state: str = STATE, seconds: float = SECONDS) -> str:
        """Waits for an event of this name; its text."""
        self.awaits(lambda: self.said(event, state), f"the event {event}", seconds)
        return self.said(event, state)[-1]


def stopped(job: Job) -> bool:
    """Whether a program has been stopped by a signal."""
    return Path(f"/proc/{job.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"


@contextmanager
def answering(primary: MailHost, reply: str) -> Iterator[None]:
    """The primary answers this to every recipient from outside."""
    primary.write("/etc/postfix/replies", f"/./ {reply}\n")
    primary.sh(
        f"postconf -e 'smtpd_recipient_restrictions = check_recipient_access regexp:/etc/postfix/replies'; {RELOAD_POSTFIX}"
    )
    try:
        yield
    finally:
        primary.sh(f"postconf -X smtpd_recipient_restrictions; {RELOAD_POSTFIX}")
