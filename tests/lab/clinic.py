"""A good world for the doctor: the lab with everything as it should be, and a doctor that looks quickly. What is planted in it is in plants.py."""

import base64
import json
import select
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from failsafe.backup.serverside import program
from failsafe.mail.canary import HEADER
from tests.contract.restics import put_empty_repository
from tests.fakes.cloudflare_server import TOKEN, ZONE_ID
from tests.lab import clouds
from tests.lab.controller import CONFIG, SECRETS, STATE, Controller, configuration
from tests.lab.lab import Lab
from tests.lab.names import (
    ADDRESSES,
    ALICE,
    AUTHORITATIVE,
    BOB,
    CA_FILE,
    DOMAIN,
    ENVIRONMENT,
    NAS_KNOWN_HOSTS,
    NAS_SSH_KEY,
    PASSWORDS,
    PROBE,
    PYTHON,
    REPOSITORY,
    SENDER_DOMAIN,
    TSIG_ALGORITHM,
    TSIG_FILE,
    TSIG_NAME,
    TTL,
    VMAIL_ROOT,
)
from tests.lab.sender import ACCOUNT, ACCOUNT_PASSWORD
from tests.lab.services import RELOAD_POSTFIX
from tests.lab.world import HERE
from tests.support import wait_until

MAILBOXES = (ALICE, BOB, PROBE)
MORE = f"""
[domain."{DOMAIN}".homecoming]
host = "{ADDRESSES["secondary"]}"
port = 993
ca_file = "{CA_FILE}"
accounts = [
  {{ mailbox = "{ALICE}", user = "{ALICE}", password_file = "/etc/failsafe/alice.password" }},
  {{ mailbox = "{BOB}", user = "{BOB}", password_file = "/etc/failsafe/bob.password" }},
  {{ mailbox = "{PROBE}", user = "{PROBE}", password_file = "/etc/failsafe/probe.password" }},
]
deliver = {{ host = "{ADDRESSES["primary"]}", port = 993, ca_file = "{CA_FILE}", accounts_file = "/etc/failsafe/primary.accounts" }}

[vantage.vps2]
kind = "ssh"
ssh = "root@{ADDRESSES["sender"]}"
ssh_key = "{NAS_SSH_KEY}"
known_hosts = "{NAS_KNOWN_HOSTS}"
helo = "mail.{SENDER_DOMAIN}"

[canary.vps]
smtp = "mail.{SENDER_DOMAIN}:587"
ca_file = "{CA_FILE}"
user = "{ACCOUNT}"
password_file = "/etc/failsafe/canary.password"
from = "{ACCOUNT}"
to = "{PROBE}"

[notify]
urls_file = "/etc/failsafe/notify.urls"
[doctor]
domain_lists = []
"""
OWN_SECRETS = {
    "alice.password": PASSWORDS[ALICE],
    "bob.password": PASSWORDS[BOB],
    **{f"primary.{number}": PASSWORDS[mailbox] for number, mailbox in enumerate(MAILBOXES)},
    "primary.accounts": "\n".join(f"{mailbox}:/etc/failsafe/primary.{number}" for number, mailbox in enumerate(MAILBOXES)),
    "canary.password": ACCOUNT_PASSWORD,
    "cloudflare.token": TOKEN,
    "s3.environment": "AWS_ACCESS_KEY_ID=OWNERKEY\nAWS_SECRET_ACCESS_KEY=ownersecretownersecret",
    "notify.urls": f"json://{ADDRESSES['sender']}:8099/",
    "kit.passphrase": "a passphrase that nobody guesses",
}
EXTRA_PATHS = '"/etc/postfix", "/etc/dovecot"'
KNOT = f'provider = "rfc2136"\nserver = "{AUTHORITATIVE}:53"\nkey_name = "{TSIG_NAME}"\nkey_file = "{TSIG_FILE}"\n'  # as it is configured
CLOUDFLARE = (
    f'provider = "cloudflare"\nzone_id = "{ZONE_ID}"\ntoken_file = "/etc/failsafe/cloudflare.token"\nbase_url = "{{url}}"\n'
)
BUCKET = '\n[repository.offsite]\nurl = "{url}"\npassword_file = "/etc/failsafe/repository.password"\nenvironment_file = "/etc/failsafe/s3.environment"\n'
PROTON = ("mail.protonmail.ch", "mailsec.protonmail.ch")
PROGRAM = "/usr/local/lib/failsafe-server.py"
SETTINGS = "/etc/failsafe-server.json"
PERMITTED = {
    "root": VMAIL_ROOT,
    "files": ["/etc/postfix", "/etc/dovecot", "/etc/rspamd"],
    "commands": {"packages.txt": "dpkg-query -W -f '${Package}\\n' postfix"},
}
KEYS = "/root/.ssh/authorized_keys"
BOOK = f"{STATE}/canary/vps.json"


def _dkim_record() -> str:
    """A public key as it is published, in strings of at most 255 characters."""
    public = rsa.generate_private_key(65537, 2048).public_key()
    text = base64.b64encode(
        public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    ).decode()
    return f'"v=DKIM1; k=rsa; p={text[:200]}" "{text[200:]}"'


class Clinic(Controller):
    """Findings are compared by code, severity and subject; what is good or was not tried is nobody's fault.

    `asking`: how the doctor is asked, see tools/doctor_tool.py.
    """

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.asking = "examine"
        self._doctor: subprocess.Popen[str] | None = None
        text = configuration(repositories={"nas": "/srv/backup/nas"}, probe_every="1h", quorum=2, extra=MORE)
        text = text.replace('every = "1s"\n', 'every = "1s"\nkeep = { within = "30d", daily = 30 }\n')
        text = text.replace(EXTRA_PATHS, f'{EXTRA_PATHS}, "/etc/rspamd"')
        self.text = text.replace(
            'strategy = "on-demand"\n',
            'strategy = "on-demand"\ndkim_selectors = ["mail"]\nsecondary_spf = []\nsecondary_dkim = []\n',
        )

    # -- the good world --------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Everything that the doctor asks for, done for real."""
        self.furnish()
        self.forget()
        put_empty_repository(self.nas.path(clouds.REPOSITORY), SECRETS["repository.password"])
        self.configure(repositories={"nas": "/srv/backup/nas"})
        for name, secret in OWN_SECRETS.items():
            self.nas.write(f"/etc/failsafe/{name}", secret + "\n", 0o600)
        self.write_config(self.text)
        self.verb("backup", "vps")
        self.verb("verify", "--repository", "nas")
        self.verb("drill", "restore", "--repository", "nas")
        self.verb("drill", "failover", DOMAIN)
        self.ask("look")
        wait_until(self.has_canary, 120, "the first canary has arrived")
        self.ask("look canary")
        self.verb("kit", "--output", "/srv/kit.html", "--passphrase-file", "/etc/failsafe/kit.passphrase")

    def furnish(self) -> None:
        """What the other hosts have: mail, aliases, records, the program on the primary, a third party's submission."""
        primary, sender = self.lab.primary, self.lab.sender
        for host in (primary, self.lab.secondary):
            host.write("/etc/postfix/virtual", f"info@{DOMAIN} {ALICE}\n")
            host.sh(f"postconf -e 'virtual_alias_maps = texthash:/etc/postfix/virtual'; {RELOAD_POSTFIX}")
        for mailbox in MAILBOXES:
            primary.seed(mailbox, messages=2)
        primary.write("/etc/rspamd/local.d/greylist.conf", "enabled = false;\n")
        sender.open_submission(*self.lab.authority.issue([f"mail.{SENDER_DOMAIN}"], sender.address))
        self.forget_names()
        self.update(SPF, DKIM, DMARC, TLS_RPT)
        self.install_helper()

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

    def has_canary(self) -> bool:
        """Whether one lies in the probe's mailbox at the primary and was not found there yet."""
        user, domain = PROBE.split("@")
        letters = self.lab.primary.disk(f"{VMAIL_ROOT}/{domain}/{user}/new").iterdir()
        return any(HEADER.encode() in letter.read_bytes() for letter in letters)

    def close(self) -> None:
        doctor, self._doctor = self._doctor, None
        if doctor is not None:
            doctor.kill()
            doctor.communicate()
        super().close()

    # -- the doctor ------------------------------------------------------------------------------------------------------

    def examine(self) -> list[dict[str, Any]]:
        """All findings of one whole run."""
        return list(self.ask(self.asking)["findings"])

    def ask(self, what: str) -> Any:
        """See tools/doctor_tool.py."""
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

    # -- another configuration, other files, other records, another past ---------------------------------------------------

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
        """Other rows in the database, as time or another run would have left them; and those that come meanwhile are forgotten."""
        self.ask("keep")
        try:
            for statement in statements:
                self.ask(f"do {statement}")
            yield
        finally:
            self.ask("put back")

    # -- asked outside of the lab ------------------------------------------------------------------------------------------

    @contextmanager
    def at_cloudflare(self, **facts: Any) -> Iterator[None]:
        """The domain's zone is written at Cloudflare, of which these facts are true."""
        url = self.ask(f"cloudflare {json.dumps(facts)}")["url"]
        with self.configured((KNOT, CLOUDFLARE.format(url=url))):
            yield

    @contextmanager
    def in_a_bucket(self, kind: str) -> Iterator[None]:
        """A second repository lies in a bucket of this kind."""
        with self.configured(more=BUCKET.format(url=self.ask(f"bucket {kind}")["url"])):
            yield


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
