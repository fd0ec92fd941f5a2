"""A good world for the doctor: the lab with everything as it should be, faults that are planted in it one at a time, and a doctor that looks quickly."""

import base64
import json
import select
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from failsafe.backup.serverside import program
from tests.lab import nameservers
from tests.lab.controller import CONFIG, Controller, configuration
from tests.lab.lab import Lab
from tests.lab.mailhost import MailHost
from tests.lab.names import (
    ADDRESSES,
    ALICE,
    AUTHORITATIVE,
    BOB,
    CA_FILE,
    DOMAIN,
    ENVIRONMENT,
    PASSWORDS,
    PROBE,
    PYTHON,
    REPOSITORY,
    TSIG_ALGORITHM,
    TSIG_FILE,
    TSIG_NAME,
    TTL,
    VMAIL_ROOT,
)
from tests.lab.world import HERE
from tests.support import wait_until

HOMECOMING = f"""
[domain."{DOMAIN}".homecoming]
host = "{ADDRESSES["secondary"]}"
port = 993
ca_file = "{CA_FILE}"
accounts = [
  {{ mailbox = "{ALICE}", user = "{ALICE}", password_file = "/etc/failsafe/alice.password" }},
  {{ mailbox = "{BOB}", user = "{BOB}", password_file = "/etc/failsafe/bob.password" }},
  {{ mailbox = "{PROBE}", user = "{PROBE}", password_file = "/etc/failsafe/probe.password" }},
]
[notify]
urls_file = "/etc/failsafe/notify.urls"
[doctor]
domain_lists = []
"""
SECRETS = {
    "alice.password": PASSWORDS[ALICE],
    "bob.password": PASSWORDS[BOB],
    "notify.urls": f"json://{ADDRESSES['sender']}:8099/",
    "kit.passphrase": "a passphrase that nobody guesses",
}
PROTON = ("mail.protonmail.ch", "mailsec.protonmail.ch")
PROGRAM = "/usr/local/lib/failsafe-server.py"
SETTINGS = "/etc/failsafe-server.json"
PERMITTED = {
    "root": VMAIL_ROOT,
    "files": ["/etc/postfix", "/etc/dovecot"],
    "commands": {"packages.txt": "dpkg-query -W -f '${Package}\\n' postfix"},
}
KEYS = "/root/.ssh/authorized_keys"


def _dkim_record() -> str:
    """A public key as it is published, in strings of at most 255 characters."""
    public = rsa.generate_private_key(65537, 2048).public_key()
    text = base64.b64encode(
        public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    ).decode()
    return f'"v=DKIM1; k=rsa; p={text[:200]}" "{text[200:]}"'


class Clinic(Controller):
    """Findings are compared by code, severity and subject; what is good or was not tried is nobody's fault."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self._doctor: subprocess.Popen[str] | None = None
        text = configuration(repositories={"nas": "/srv/backup/nas"}, probe_every="1h", extra=HOMECOMING)
        text = text.replace('every = "1s"\n', 'every = "1s"\nkeep = { within = "30d", daily = 30 }\n')
        self.text = text.replace(
            'strategy = "on-demand"\n',
            'strategy = "on-demand"\ndkim_selectors = ["mail"]\nsecondary_spf = []\nsecondary_dkim = []\n',
        )

    # -- the good world --------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Everything that the doctor asks for, done for real."""
        for host in (self.lab.primary, self.lab.secondary):
            host.write("/etc/postfix/virtual", f"info@{DOMAIN} {ALICE}\n")
            host.sh("postconf -e 'virtual_alias_maps = texthash:/etc/postfix/virtual'; postfix reload")
        for mailbox in (ALICE, BOB, PROBE):
            self.lab.primary.seed(mailbox, messages=2)
        self.forget_names()
        self.update(SPF, DKIM, DMARC, TLS_RPT)
        self.install_helper()
        self.forget()
        for name, secret in SECRETS.items():
            self.nas.write(f"/etc/failsafe/{name}", secret + "\n", 0o600)
        self.configure(repositories={"nas": "/srv/backup/nas"})
        self.write_config(self.text)
        self.verb("backup", "vps")
        self.verb("verify", "--repository", "nas")
        self.verb("drill", "restore", "--repository", "nas")
        self.verb("drill", "failover", DOMAIN)
        self._ask("look")
        self.verb("kit", "--output", "/srv/kit.html", "--passphrase-file", "/etc/failsafe/kit.passphrase")

    def forget_names(self) -> None:
        """The resolver remembers nothing, so that a change of the zone is seen at once; and a provider's exchanges lead to the secondary."""
        exchanges = "".join(f'    local-data: "{name}. A {ADDRESSES["secondary"]}"\n' for name in PROTON)
        more = f"server:\n    cache-max-ttl: 0\n    cache-max-negative-ttl: 0\n    local-zone: protonmail.ch. static\n{exchanges}"
        conf = self.lab.dns.read("/etc/unbound/unbound.conf")
        self.lab.dns.write("/etc/unbound/unbound.conf", conf.replace("server:\n", more, 1))
        self.lab.dns.kill_service("unbound")
        self.lab.dns.start("unbound")

    def install_helper(self) -> None:
        """The program on the primary, as docs/layouts.md says."""
        primary = self.lab.primary
        primary.write(PROGRAM, program())
        primary.write(SETTINGS, json.dumps(PERMITTED))
        key = primary.read(KEYS).strip()
        primary.write(KEYS, f'restrict,command="python3 {PROGRAM}" {key}\n', 0o600)

    def close(self) -> None:
        doctor, self._doctor = self._doctor, None
        if doctor is not None:
            doctor.kill()
            doctor.communicate()

    # -- the doctor ------------------------------------------------------------------------------------------------------

    def examine(self) -> list[dict[str, Any]]:
        """All findings of one whole run."""
        return list(self._ask("examine")["findings"])

    def _ask(self, what: str) -> Any:
        if self._doctor is None or self._doctor.poll() is not None:
            argv = self.nas.argv(PYTHON, HERE / "tools" / "doctor_tool.py", CONFIG)
            self._doctor = subprocess.Popen(
                argv, env={**ENVIRONMENT, "PYTHONPATH": str(REPOSITORY)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        assert self._doctor.stdin is not None
        assert self._doctor.stdout is not None
        print(what, file=self._doctor.stdin, flush=True)
        ready, _, _ = select.select([self._doctor.stdout], [], [], PATIENCE)
        assert ready, f"the doctor on the NAS gave no answer within {PATIENCE} s"
        return json.loads(self._doctor.stdout.readline())

    # -- what faults are planted with ------------------------------------------------------------------------------------

    def write_config(self, text: str) -> None:
        self.nas.write(CONFIG, text, 0o600)

    @contextmanager
    def configured(self, *changes: tuple[str, str], more: str = "") -> Iterator[None]:
        """Another configuration: each `old` is replaced by its `new`."""
        text = self.text
        for old, new in changes:
            begin = text.index(old)
            end = text.index("\n\n", begin) if new == NO_TABLE else begin + len(old)
            text = text[:begin] + new + text[end:]
        self.write_config(text + more)
        try:
            yield
        finally:
            self.write_config(self.text)

    @contextmanager
    def file(self, host: Any, path: str, change: Callable[[str], str], mode: int = 0o600) -> Iterator[None]:
        """Another content of a file."""
        before = host.read(path)
        host.write(path, change(before), mode)
        try:
            yield
        finally:
            host.write(path, before, mode)

    @contextmanager
    def zone(self, *commands: str, undo: tuple[str, ...]) -> Iterator[None]:
        """Another content of the zone, by dynamic update as anybody with the key could."""
        self.update(*commands)
        try:
            yield
        finally:
            self.update(*undo)

    def update(self, *commands: str) -> None:
        secret = self.nas.read(TSIG_FILE).strip()
        lines = [
            f"server {AUTHORITATIVE}",
            f"zone {DOMAIN}.",
            f"key {TSIG_ALGORITHM}:{TSIG_NAME} {secret}",
            *commands,
            "send",
            "",
        ]
        done = self.lab.nas.run("knsupdate", stdin="\n".join(lines))
        assert "failed" not in done.stdout + done.stderr, done
        for name in sorted({command.split()[1] for command in commands}):
            wait_until(lambda name=name: self._seen_by_resolver(name), 20, f"the resolver shows what {name} is now")  # type: ignore[misc]

    def _seen_by_resolver(self, name: str) -> bool:
        """What lives for no time at all is still remembered until the second is over."""
        live, seen = (self.lab.nas.run("kdig", "+short", *where, name, "A").stdout for where in ((f"@{AUTHORITATIVE}",), ()))
        return live == seen

    @contextmanager
    def remembered(self, *statements: str) -> Iterator[None]:
        """Other rows in the database, as time or another run would have left them."""
        self._ask("keep")
        try:
            for statement in statements:
                self._ask(f"do {statement}")
            yield
        finally:
            self._ask("put back")

    @contextmanager
    def small_disk(self, host: Any, folder: str, megabytes: int) -> Iterator[None]:
        """The folder's content on a real file system of that size."""
        host.sh(
            f"mkdir -p /mnt/small; mount -t tmpfs -o size={megabytes}m,mode=755 tmpfs /mnt/small; cp -a {folder}/. /mnt/small/; "
            f"chown --reference={folder} /mnt/small; chmod --reference={folder} /mnt/small; mount --bind /mnt/small {folder}"
        )
        try:
            yield
        finally:
            host.sh(f"umount {folder}; umount /mnt/small")


PATIENCE = 150  # seconds
NO_TABLE = "\n"
LONG_AGO = "2020-01-01T00:00:00.000000Z"
MX = f"add {DOMAIN}. {TTL} MX 10 mx1.{DOMAIN}."
NO_MX = f"del {DOMAIN}. MX"
SPF = f'add {DOMAIN}. {TTL} TXT "v=spf1 a:mx1.{DOMAIN} a:mx2.{DOMAIN} ~all"'
NO_SPF = SPF.replace("add", "del", 1).replace(f" {TTL} ", " ")
DMARC = f'add _dmarc.{DOMAIN}. {TTL} TXT "v=DMARC1; p=none; rua=mailto:reports@elsewhere.example"'
DKIM = f"add mail._domainkey.{DOMAIN}. {TTL} TXT {_dkim_record()}"
TLS_RPT = f'add _smtp._tls.{DOMAIN}. {TTL} TXT "v=TLSRPTv1; rua=mailto:reports@elsewhere.example"'
A1 = f"add mx1.{DOMAIN}. {TTL} A {ADDRESSES['primary']}"
A2 = f"add mx2.{DOMAIN}. {TTL} A {ADDRESSES['secondary']}"


@contextmanager
def refusing(host: MailHost, reply: str) -> Iterator[None]:
    """Every recipient is answered with this."""
    host.write("/etc/postfix/replies", f"/./ {reply}\n")
    host.sh("postconf -e 'smtpd_recipient_restrictions = check_recipient_access regexp:/etc/postfix/replies'; postfix reload")
    try:
        yield
    finally:
        host.sh("postconf -X smtpd_recipient_restrictions; postfix reload")


@contextmanager
def stopped(host: Any, service: str) -> Iterator[None]:
    host.kill_service(service)
    try:
        yield
    finally:
        host.start(service)


@contextmanager
def shell(host: Any, plant: str, undo: str) -> Iterator[None]:
    host.sh(plant)
    try:
        yield
    finally:
        host.sh(undo)


@contextmanager
def together(*plants: AbstractContextManager[object]) -> Iterator[None]:
    """One fault that takes more than one step."""
    with ExitStack() as stack:
        for plant in plants:
            stack.enter_context(plant)
        yield


@contextmanager
def stale_name_server(clinic: Clinic) -> Iterator[None]:
    """The only name server that is asked still gives MX records of before."""
    clinic.update(NO_MX, f"add {DOMAIN}. {TTL} MX 20 mx1.{DOMAIN}.")
    nameservers.install(clinic.lab.sender, clinic.nas)
    clinic.update(NO_MX, MX)
    try:
        with clinic.configured((f'nameservers = ["{AUTHORITATIVE}:53"]', f'nameservers = ["{ADDRESSES["sender"]}:53"]')):
            yield
    finally:
        clinic.lab.sender.kill_service("knot-secondary")
