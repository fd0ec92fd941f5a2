"""How faults come into the clinic's good world: each is there for the time of a `with`, and the world is as good as before afterwards."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.lab import dovecot, nameservers
from tests.lab.clinic import BOOK, MX, NO_MX, Clinic
from tests.lab.host import Host
from tests.lab.mailhost import MailHost
from tests.lab.names import ADDRESSES, ALICE, AUTHORITATIVE, DOMAIN, MX_NAMES, PYTHON, TTL
from tests.lab.services import RELOAD_POSTFIX
from tests.support import wait_until

NO_PORT_25 = (
    "nft add table inet line; nft add chain inet line out '{ type filter hook output priority 0; }'; "
    "nft add rule inet line out tcp dport 25 reject with tcp reset"
)
FAIL2BAN = f"""\
[DEFAULT]
backend = polling
ignoreip = 127.0.0.1/8 {ADDRESSES["nas"]} {ADDRESSES["sender"]}
action =
[postfix]
enabled = true
logpath = /var/log/mail.log
"""
UNDONE = {"banip": "unbanip", "delignoreip": "addignoreip"}
STRANGERS = 1001  # letters: more than the doctor calls few
COPY = """
import os, pathlib, shutil, sys, time
(letter,) = (file for file in pathlib.Path("/var/spool/postfix/deferred").rglob("*") if file.is_file())
info = letter.stat()
for number in range(int(sys.argv[1])):
    copy = letter.with_name(f"{letter.name[0]}{number:07X}")
    shutil.copy2(letter, copy)
    os.chown(copy, info.st_uid, info.st_gid)
    os.utime(copy, (time.time() + 3600,) * 2)  # when it is tried again
"""


@contextmanager
def shell(host: Host, plant: str, undo: str) -> Iterator[None]:
    host.sh(plant)
    try:
        yield
    finally:
        host.sh(undo)


@contextmanager
def stopped(host: Host, service: str) -> Iterator[None]:
    host.kill_service(service)
    try:
        yield
    finally:
        host.start(service)


@contextmanager
def together(*plants: AbstractContextManager[object]) -> Iterator[None]:
    """One fault that takes more than one step."""
    with ExitStack() as stack:
        for plant in plants:
            stack.enter_context(plant)
        yield


@contextmanager
def small_disk(host: Host, folder: str, megabytes: int) -> Iterator[None]:
    """The folder's content on a real file system of that size."""
    host.sh(
        f"mkdir -p /mnt/small; mount -t tmpfs -o size={megabytes}m,mode=755 tmpfs /mnt/small; cp -a {folder}/. /mnt/small/; "
        f"chown --reference={folder} /mnt/small; chmod --reference={folder} /mnt/small; mount --bind /mnt/small {folder}"
    )
    try:
        yield
    finally:
        host.sh(f"umount {folder}; umount /mnt/small")


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


@contextmanager
def on_a_share(clinic: Clinic, kind: str) -> Iterator[None]:
    """While the controller runs, a share of the network is mounted over the folder of its database."""
    clinic.asking = f"examine-on {kind}"
    try:
        yield
    finally:
        clinic.asking = "examine"


@contextmanager
def nearly_full(clinic: Clinic, host: MailHost, mailbox: str) -> Iterator[None]:
    """The mailbox may hold 100 KiB, and holds 95."""
    conf = "/etc/dovecot/dovecot.conf"
    with clinic.file(host, conf, lambda text: text + dovecot.quota(100), 0o644):
        host.sh("doveadm reload")
        host.run("doveadm", "save", "-u", mailbox, stdin=f"Subject: large\n\n{'x' * 75 * 1300}\n")
        try:
            yield
        finally:
            host.sh(f"doveadm expunge -u {mailbox} mailbox INBOX all")
    host.sh("doveadm reload")


# -- Postfix -------------------------------------------------------------------------------------------------------------


@contextmanager
def postfix(host: Host, name: str, value: str) -> Iterator[None]:
    """Another setting of Postfix's."""
    before = host.sh(f"postconf -n {name}").stdout.strip()
    undo = f"postconf -e '{before}'" if before else f"postconf -X {name}"
    with shell(host, f"postconf -e '{name} = {value}'; {RELOAD_POSTFIX}", f"{undo}; {RELOAD_POSTFIX}"):
        yield


@contextmanager
def refusing(host: Host, reply: str) -> Iterator[None]:
    """Every recipient is answered with this."""
    host.write("/etc/postfix/replies", f"/./ {reply}\n")
    with postfix(host, "smtpd_recipient_restrictions", "check_recipient_access regexp:/etc/postfix/replies"):
        yield


@contextmanager
def undelivered(primary: MailHost) -> Iterator[None]:
    """The server's own delivery is dead, and a letter waits for it."""
    with postfix(primary, "virtual_transport", "lmtp:unix:private/nobody"):
        primary.sh(f"printf 'Subject: hello\\n\\nhello\\n' | sendmail -f someone@elsewhere.example {ALICE}")
        try:
            wait_until(lambda: "delay_reason" in primary.sh("postqueue -j").stdout, 60, "the letter was put off")
            yield
        finally:
            primary.sh("postsuper -d ALL")


@contextmanager
def spam(primary: MailHost) -> Iterator[None]:
    """A thousand letters to the world wait in its queue: copies of one, since to send as many takes too long."""
    with postfix(primary, "defer_transports", "smtp"):
        primary.sh(f"printf 'Subject: pills\n\npills\n' | sendmail -f {ALICE} nobody@elsewhere.example")
        try:
            wait_until(lambda: "delay_reason" in primary.sh("postqueue -j").stdout, 60, "the letter was put off")
            primary.run(PYTHON, "-c", COPY, str(STRANGERS))
            yield
        finally:
            primary.sh("postsuper -d ALL")


@contextmanager
def certified(clinic: Clinic, lifetime: timedelta, name: str = MX_NAMES["primary"], *, renewed: bool = False) -> Iterator[None]:
    """The primary shows another certificate. `renewed`: one that lasts lies on its disk, and was not loaded."""
    primary = clinic.lab.primary
    certificate, key = clinic.lab.authority.issue([name], primary.address, lifetime)
    lasting, _ = clinic.lab.authority.issue([name], primary.address)
    place = "/etc/letsencrypt/live/mail"
    with (
        clinic.file(primary, "/etc/lab/mx.pem", lambda _: certificate, 0o644),
        clinic.file(primary, "/etc/lab/mx.key", lambda _: key),
    ):
        if renewed:
            primary.write(f"{place}/fullchain.pem", lasting)
        primary.sh(RELOAD_POSTFIX)
        try:
            yield
        finally:
            primary.sh(f"rm -rf {place}")
    primary.sh(RELOAD_POSTFIX)


# -- who looks -----------------------------------------------------------------------------------------------------------


@contextmanager
def seen_from(clinic: Clinic, vantage: str, plant: AbstractContextManager[object]) -> Iterator[None]:
    """A fault that shows when the mail server is looked at from there."""
    with clinic.remembered(), plant:
        clinic.ask(f"look {vantage}")
        yield


def line_without_port_25(host: Host) -> AbstractContextManager[None]:
    return shell(host, NO_PORT_25, "nft delete table inet line")


@contextmanager
def fail2ban(primary: MailHost, *words: str) -> Iterator[None]:
    """The real one runs there from now on. `words` for its client, such as "banip ADDRESS"; what they did is undone."""
    if not primary.path("/run/fail2ban/fail2ban.pid").exists():
        primary.sh("rm -rf /etc/fail2ban/jail.d; mkdir -p /run/fail2ban")
        primary.write("/etc/fail2ban/jail.local", FAIL2BAN)
        primary.write("/etc/fail2ban/fail2ban.local", "[DEFAULT]\ndbfile = None\n")
        primary.sh("fail2ban-client start >/var/log/fail2ban-start.log 2>&1 </dev/null")
    client = ("fail2ban-client", "set", "postfix")
    if words:
        primary.run(*client, *words)
    try:
        yield
    finally:
        if words:
            primary.run(*client, UNDONE[words[0]], *words[1:])


# -- the canary ----------------------------------------------------------------------------------------------------------


@contextmanager
def later(clinic: Clinic, *plants: AbstractContextManager[object], hours: float, looks: bool = True) -> Iterator[None]:
    """So much later, in a world with these faults. `looks`: a canary is sent in it, and the same time goes by once more."""
    with clinic.remembered(), together(*plants), clinic.file(clinic.nas, BOOK, _aged(hours)):
        if looks:
            clinic.ask("look canary")
            clinic.nas.write(BOOK, _aged(hours)(clinic.nas.read(BOOK)), 0o600)
        yield


def _aged(hours: float) -> Callable[[str], str]:
    """What is known of the canaries, as if it were so much older."""

    def older(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: _earlier(each, hours) if key.endswith("_at") else older(each) for key, each in value.items()}
        return [older(each) for each in value] if isinstance(value, list) else value

    return lambda text: json.dumps(older(json.loads(text)))


def _earlier(moment: str | None, hours: float) -> str | None:
    return None if moment is None else (datetime.fromisoformat(moment).astimezone(UTC) - timedelta(hours=hours)).isoformat()
