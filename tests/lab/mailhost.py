"""A mail host as people run it at home: Postfix takes mail in, Dovecot keeps it, sshd lets the NAS in."""

import json
import re
from pathlib import Path
from typing import Any

from tests.lab import dovecot, postfix
from tests.lab.host import Host
from tests.lab.names import ALICE, CA_FILE, DOMAIN, MX_NAMES, PASSWORDS, PYTHON, VMAIL_ROOT, VMAIL_UID
from tests.lab.world import HERE

MAIN = f"""\
mydestination =
virtual_mailbox_domains = {DOMAIN}
virtual_mailbox_maps = texthash:/etc/postfix/mailboxes
virtual_transport = lmtp:unix:private/dovecot-lmtp
smtpd_tls_cert_file = /etc/lab/mx.pem
smtpd_tls_key_file = /etc/lab/mx.key
smtpd_tls_security_level = may
smtp_tls_security_level = may
smtp_tls_CAfile = {CA_FILE}
smtpd_sasl_type = dovecot
smtpd_sasl_path = private/auth
queue_run_delay = 5s
minimal_backoff_time = 5s
maximal_backoff_time = 10s
"""

# Continued lines of one entry begin with a blank.
MASTER = """\
submission  inet n - n - - smtpd
 -o smtpd_tls_security_level=encrypt
 -o smtpd_sasl_auth_enable=yes
 -o smtpd_relay_restrictions=permit_sasl_authenticated,reject
submissions inet n - n - - smtpd
 -o smtpd_tls_wrappermode=yes
 -o smtpd_sasl_auth_enable=yes
 -o smtpd_relay_restrictions=permit_sasl_authenticated,reject
"""

LAB_ID = re.compile(rb"^X-Lab-Id:[ \t]*(\S+)", re.IGNORECASE | re.MULTILINE)


class MailHost(Host):
    """`primary` or `secondary`, with the mailboxes of names.PASSWORDS."""

    def install(self, certificate: str, key: str, layout: str) -> None:
        """Write the configuration and start everything. `layout`: see dovecot.configuration."""
        user = f"vmail:x:{VMAIL_UID}:{VMAIL_UID}::{VMAIL_ROOT}:/usr/sbin/nologin"
        self.sh(f"""
            sed -i '/^vmail:/d' /etc/passwd /etc/group
            echo '{user}' >>/etc/passwd; echo 'vmail:x:{VMAIL_UID}:' >>/etc/group
            rm -rf {VMAIL_ROOT} /etc/dovecot /var/log/dovecot*
            install -d -o vmail -g vmail -m 700 {VMAIL_ROOT}
        """)
        self.write("/etc/lab/mx.pem", certificate)
        self.write("/etc/lab/mx.key", key, 0o600)
        self.write("/etc/dovecot/users", dovecot.users_file(PASSWORDS, VMAIL_UID), 0o640, "root:dovecot")
        self.write("/etc/dovecot/dovecot.conf", dovecot.configuration(layout))
        self.write("/etc/postfix/mailboxes", "".join(f"{mailbox} x\n" for mailbox in PASSWORDS))
        postfix.install(self, MX_NAMES[self.name], MAIN, MASTER)
        # Postfix makes its own folders, and Dovecot puts its sockets into one of them.
        self.enable("postfix")
        self.enable("dovecot", "sshd")

    # -- what is in the mailboxes

    def _imap(self, verb: str, mailbox: str, *words: str) -> Any:
        tool = (PYTHON, HERE / "tools" / "imap_tool.py")
        where = (self.address, mailbox, PASSWORDS[mailbox], CA_FILE)
        return json.loads(self.run(*tool, verb, *where, *words).stdout)

    def imap_ids(self, mailbox: str = ALICE, folder: str = "INBOX") -> list[str]:
        """The X-Lab-Ids of a folder's messages, over IMAPS, sorted; one id twice if two messages have it."""
        return sorted(self._imap("ids", mailbox, folder))

    def maildir_ids(self, mailbox: str = ALICE) -> list[str]:
        """The X-Lab-Ids of all messages in all folders, from the files: Dovecot need not run."""
        user, domain = mailbox.split("@")
        found = (_lab_id(file) for file in self.disk(f"{VMAIL_ROOT}/{domain}/{user}").rglob("*"))
        return sorted(lab_id for lab_id in found if lab_id)

    def seed(self, mailbox: str = ALICE, messages: int = 40, tag: str = "seed") -> dict[str, Any]:
        """Fill a mailbox over IMAP: folders, flags, keywords, dates, sizes, a copy in two folders, a UID hole.

        Returns {"folders": [names], "ids": [X-Lab-Ids of what is there afterwards]}.
        """
        return dict(self._imap("seed", mailbox, str(messages), tag))

    def digest(self, mailbox: str = ALICE) -> dict[str, Any]:
        """All a client can see of a mailbox: {folder: {"uidvalidity", "uidnext", "subscribed", "messages":
        [{"uid", "flags": [...], "date", "sha256", "id"}]}}; folders by their UTF-8 names, messages by UID.
        """
        return dict(self._imap("digest", mailbox))

    def delete(self, mailbox: str, folder: str, lab_id: str) -> int:
        """Delete and expunge messages by their X-Lab-Id over IMAP, as a person does. Returns how many there were."""
        return int(self._imap("delete", mailbox, folder, lab_id))

    def mark(self, mailbox: str, folder: str, lab_id: str, *flags: str) -> None:
        """Set flags and keywords of a message by its X-Lab-Id."""
        self._imap("mark", mailbox, folder, lab_id, *flags)

    def move(self, mailbox: str, folder: str, lab_id: str, target: str) -> None:
        """Move a message into another folder, which is made where there is none."""
        self._imap("move", mailbox, folder, lab_id, target)

    def drop(self, mailbox: str, folder: str) -> None:
        """Delete a folder with all that is in it."""
        self._imap("drop", mailbox, folder)

    def empty(self, mailbox: str = ALICE) -> None:
        """Delete every message of a mailbox over IMAP, and every folder but INBOX."""
        self._imap("empty", mailbox)

    def queue_length(self) -> int:
        """How many messages Postfix holds that it has not delivered."""
        return len(postfix.queue_ids(self))

    def use_layout(self, layout: str) -> None:
        """Change how folders lie on disk; for empty mailboxes. Restarts Dovecot."""
        self.kill_service("dovecot")
        self.write("/etc/dovecot/dovecot.conf", dovecot.configuration(layout))
        self.start("dovecot")


def _lab_id(file: Path) -> str | None:
    """The X-Lab-Id of a message file; None for any other file, and for one that was moved under our eyes."""
    if file.parent.name not in {"cur", "new"}:
        return None
    try:
        match = LAB_ID.search(file.read_bytes())
    except FileNotFoundError:
        return None
    return match[1].decode() if match else None
