"""failsafe on the NAS of the lab: its configuration, its verbs, its daemon. No pytest: the demo uses it too."""

import json
import subprocess
import textwrap
from collections.abc import Sequence
from typing import Any

from tests.contract.restics import put_empty_repository
from tests.lab.job import Job
from tests.lab.lab import Lab
from tests.lab.names import (
    ADDRESSES,
    ALICE,
    AUTHORITATIVE,
    CA_FILE,
    DOMAIN,
    ENVIRONMENT,
    MX_NAMES,
    NAS_KNOWN_HOSTS,
    NAS_SSH_KEY,
    PASSWORDS,
    PROBE,
    PYTHON,
    RESOLVER,
    TSIG_FILE,
    TSIG_NAME,
    VMAIL_ROOT,
)
from tests.lab.world import HERE
from tests.support import wait_until

CONFIG = "/etc/failsafe/failsafe.toml"
STATE = "/var/lib/failsafe"
REPOSITORIES = {"nas": "/srv/backup/nas", "offsite": "/srv/backup/offsite"}
SECRETS = {"repository.password": "correct horse battery staple", "probe.password": PASSWORDS[PROBE]}

HOMECOMING = f"""
[domain."{DOMAIN}".homecoming]
host = "{MX_NAMES["secondary"]}"
port = 993
ca_file = "{CA_FILE}"
accounts = [{{ mailbox = "{ALICE}", user = "{ALICE}", password_file = "/etc/failsafe/imap.password" }}]
"""


def configuration(
    *,
    strategy: str = "on-demand",
    mode: str = "auto",
    down_for: str = "4s",
    up_for: str = "4s",
    backup_every: str = "1h",
    repositories: dict[str, str] | None = None,
    web: str = "",
    extra: str = "",
    quorum: int = 1,
    verify_for: str = "30s",
    probe_every: str = "1s",
    nameservers: Sequence[str] = (AUTHORITATIVE,),
    state_dir: str = STATE,
    watched: str = MX_NAMES["primary"],
) -> str:
    """A configuration for the lab: every wait is seconds instead of minutes, and one vantage is a quorum."""
    asked = ", ".join(f'"{address}:53"' for address in nameservers)
    places = "".join(
        f'[repository.{name}]\nurl = "{url}"\npassword_file = "/etc/failsafe/repository.password"\nevery = "1s"\n'
        for name, url in (REPOSITORIES if repositories is None else repositories).items()
    )
    text = textwrap.dedent(
        f"""\
        [controller]
        id = "nas"
        state_dir = "{state_dir}"
        time_zone = "Europe/Warsaw"

        [mail_server.vps]
        layout = "maildir"
        path = "{VMAIL_ROOT}"
        ssh = "root@{ADDRESSES["primary"]}:22"
        ssh_key = "{NAS_SSH_KEY}"
        known_hosts = "{NAS_KNOWN_HOSTS}"
        backup_every = "{backup_every}"
        extra_paths = ["/etc/postfix", "/etc/dovecot"]
        commands = {{ "packages.txt" = "dpkg-query -W -f '${{Package}}\\n' postfix" }}
        imap = {{ host = "{MX_NAMES["primary"]}", port = 993, ca_file = "{CA_FILE}" }}

        [dns.lab]
        provider = "rfc2136"
        server = "{AUTHORITATIVE}:53"
        key_name = "{TSIG_NAME}"
        key_file = "{TSIG_FILE}"

        [domain."{DOMAIN}"]
        dns = "lab"
        server = "vps"
        primary = ["{MX_NAMES["primary"]}"]
        secondary = ["{MX_NAMES["secondary"]}"]
        strategy = "{strategy}"
        mode = "{mode}"
        quorum = {quorum}
        down_for = "{down_for}"
        up_for = "{up_for}"
        verify_for = "{verify_for}"
        min_dwell = "1s"
        flips_per_day = 50
        nameservers = [{asked}]

        [probe.vps]
        every = "{probe_every}"
        smtp = ["{watched}:25"]
        recipient = "{PROBE}"
        helo = "nas.example.test"
        ca_file = "{CA_FILE}"
        imap = {{ host = "{MX_NAMES["primary"]}", port = 993, ca_file = "{CA_FILE}", user = "{PROBE}", password_file = "/etc/failsafe/probe.password" }}

        [own_line]
        references = ["{AUTHORITATIVE}:53", "{RESOLVER}:53", "{ADDRESSES["sender"]}:25"]
        """
    )
    return text + places + (f'[web]\nlisten = "{web}"\n' if web else "") + (HOMECOMING if strategy == "swap" else "") + extra


class Answer:
    """What a verb came to."""

    def __init__(self, status: int, stdout: str, stderr: str) -> None:
        self.status, self.stdout, self.stderr = status, stdout, stderr

    @property
    def lines(self) -> list[Any]:
        """The answer as JSON lines."""
        return [json.loads(line) for line in self.stdout.splitlines()]

    @property
    def value(self) -> Any:
        """The answer as one JSON object."""
        return json.loads(self.stdout)

    def __repr__(self) -> str:
        return f"exit {self.status}\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"


class VerbFailedError(AssertionError):
    """A verb ended with another exit status than was expected; the message holds all it said."""


class Controller:
    """The command `failsafe` on the NAS."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.nas = lab.nas
        self.daemon: Job | None = None
        self._reader: subprocess.Popen[str] | None = None

    def close(self) -> None:
        """For good."""
        self.stop()
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.kill()
            reader.communicate()

    def configure(self, **options: Any) -> None:
        """Write the configuration and the secrets; see `configuration`. State and repositories stay."""
        for name, secret in {**SECRETS, "imap.password": PASSWORDS[ALICE]}.items():
            self.nas.write(f"/etc/failsafe/{name}", secret + "\n", 0o600)
        self.nas.write(CONFIG, configuration(**options), 0o600)
        self.nas.sh("mkdir -p /srv/backup")

    def forget(self, *, repositories: bool = True) -> None:
        """A NAS that never ran failsafe. `repositories`: with empty ones in place, since restic takes seconds to make one."""
        self.stop()
        self.nas.sh(f"rm -rf {STATE} /srv/backup /srv/restored; mkdir -p /srv/backup")
        if repositories:
            for place in REPOSITORIES.values():
                put_empty_repository(self.nas.path(place), SECRETS["repository.password"])

    def verb(self, *words: str, status: int | None = 0, timeout: float = 120, env: dict[str, str] | None = None) -> Answer:
        """Run `failsafe WORDS` to its end. Raises VerbFailedError unless it exits with `status` (None: any)."""
        done = self.nas.run("failsafe", *words, check=False, timeout=timeout, env=env)
        answer = Answer(done.returncode, done.stdout, done.stderr)
        if status is not None and answer.status != status:
            raise VerbFailedError(f"failsafe {' '.join(words)}: expected exit {status}: {answer!r}")
        return answer

    def start(self, *words: str) -> Job:
        """Run `failsafe WORDS` and go on."""
        return self.nas.popen("failsafe", *words)

    def run(self) -> None:
        """Start the daemon and wait until it watches and the doctor has looked: before that, nothing is ever flipped."""
        self.daemon = self.start("run")
        try:
            wait_until(self._is_ready, 240, "the daemon watches, and the doctor has looked", every=1.0)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.domain()}\n{self.daemon_output()}") from None

    def _is_ready(self) -> bool:
        return bool(self.rows("select 1 from doctor_run")) and self.inbound() == "up"

    def stop(self) -> None:
        """End the daemon as systemd would."""
        daemon, self.daemon = self.daemon, None
        if daemon is not None:
            daemon.send_signal()
            daemon.wait(60)
            daemon.close()

    def kill(self) -> None:
        """kill -9 to the daemon and to whatever it started."""
        daemon, self.daemon = self.daemon, None
        if daemon is not None:
            daemon.kill_group()
            daemon.close()

    def daemon_output(self) -> str:
        return "" if self.daemon is None else (self.daemon.stdout() + self.daemon.stderr())[-8000:]

    # -- what it says

    def status(self) -> Any:
        return self.verb("status", "--json", status=None).value

    def domain(self) -> Any:
        (domain,) = self.status()["domains"]
        return domain

    def state(self) -> str:
        return str(self.domain()["state"])

    def kept_state(self, state: str = STATE) -> str:
        """The domain's state as the database has it."""
        return next((str(row[0]) for row in self.rows("select state from domain_state", state)), "normal")

    def rows(self, query: str, state: str = STATE) -> list[Any]:
        """From the database, by a program that stays. Waiting asks here: a verb for each look would starve what it waits for.

        Raises OSError where there is none yet."""
        if self._reader is None:
            tool = self.nas.argv(PYTHON, HERE / "tools" / "ask_tool.py")
            self._reader = subprocess.Popen(tool, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._reader.stdin is not None
        assert self._reader.stdout is not None
        print(json.dumps([f"{state}/failsafe.sqlite", query]), file=self._reader.stdin, flush=True)
        answer = json.loads(self._reader.stdout.readline())
        if isinstance(answer, str):
            raise OSError(answer)  # while it is being put back, or locked: not there yet
        return list(answer)

    def inbound(self) -> str:
        return str(self.domain()["health"]["inbound"])

    def wait_for_state(self, *states: str, seconds: float = 90) -> str:
        """Wait until the domain is in one of these states, and give it."""
        seen: list[str] = []

        def reached() -> bool:
            seen[:] = [self.kept_state()]
            return seen[0] in states and self.state() in states

        try:
            wait_until(reached, seconds, f"{DOMAIN} is {' or '.join(states)}", every=0.3)
        except AssertionError as error:
            events = self.verb("events", "--json", status=None).stdout[-4000:]
            raise AssertionError(
                f"{error}\n--- events\n{events}\n--- domain\n{self.domain()}\n--- daemon\n{self.daemon_output()}"
            ) from None
        return seen[0]

    def backup(self, *, status: int | None = 0) -> Any:
        """`failsafe backup vps --json`: its one line."""
        (line,) = self.verb("backup", "vps", "--json", status=status, timeout=300).lines
        return line
