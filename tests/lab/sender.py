"""The rest of the internet: a Postfix that queues, follows the MX records and tries again quickly."""

import json

from tests.lab import dovecot, postfix
from tests.lab.host import Host
from tests.lab.mailhost import MASTER
from tests.lab.names import ALICE, CA_FILE, PYTHON, SENDER_DOMAIN, VMAIL_ROOT, VMAIL_UID
from tests.lab.services import RELOAD_POSTFIX
from tests.lab.world import HERE

# A stock Postfix tries again after 300 s, and lets a conversation that died half-way hold a place in its queue for 2 to 10 minutes;
# here it is seconds.
MAIN = f"""\
mydestination = {SENDER_DOMAIN}
local_recipient_maps =
luser_relay = root
smtp_tls_security_level = may
smtp_tls_CAfile = {CA_FILE}
smtp_connect_timeout = 3s
smtp_helo_timeout = 5s
smtp_starttls_timeout = 5s
smtp_mail_timeout = 5s
smtp_rcpt_timeout = 5s
smtp_data_init_timeout = 5s
smtp_data_xfer_timeout = 10s
smtp_data_done_timeout = 10s
smtp_rset_timeout = 5s
smtp_quit_timeout = 5s
queue_run_delay = 3s
minimal_backoff_time = 3s
maximal_backoff_time = 6s
"""
SUBMISSION = """\
smtpd_tls_cert_file = /etc/lab/mx.pem
smtpd_tls_key_file = /etc/lab/mx.key
smtpd_sasl_type = dovecot
smtpd_sasl_path = private/auth
"""
ACCOUNT, ACCOUNT_PASSWORD = f"someone@{SENDER_DOMAIN}", "someone-password"


class Sender(Host):
    """A mail server elsewhere, from which people write to the lab's mailboxes."""

    def install(self) -> None:
        """Write the configuration and start Postfix and sshd."""
        postfix.install(self, f"mail.{SENDER_DOMAIN}", MAIN)
        self.enable("postfix", "sshd")

    def open_submission(self, certificate: str, key: str) -> None:
        """From now on ACCOUNT may hand mail in, as at any provider's: ports 587 and 465, with TLS and a login."""
        user = f"vmail:x:{VMAIL_UID}:{VMAIL_UID}::{VMAIL_ROOT}:/usr/sbin/nologin"
        self.sh(
            f"sed -i '/^vmail:/d' /etc/passwd /etc/group; echo '{user}' >>/etc/passwd; echo 'vmail:x:{VMAIL_UID}:' >>/etc/group"
        )
        self.write("/etc/lab/mx.pem", certificate)
        self.write("/etc/lab/mx.key", key, 0o600)
        self.sh("rm -rf /etc/dovecot")
        self.write("/etc/dovecot/users", dovecot.users_file({ACCOUNT: ACCOUNT_PASSWORD}, VMAIL_UID), 0o640, "root:dovecot")
        self.write("/etc/dovecot/dovecot.conf", dovecot.configuration("maildir++"))
        self.write("/etc/postfix/main.cf", self.read("/etc/postfix/main.cf") + SUBMISSION)
        self.write("/etc/postfix/master.cf", self.read("/etc/postfix/master.cf") + MASTER)
        self.enable("dovecot")
        self.sh(RELOAD_POSTFIX)

    def send(self, messages: int, tag: str, to: str = ALICE, size: int = 500) -> list[str]:
        """Hand messages to this host's own Postfix, which delivers them in its own time.

        `size`: bytes of body. Returns the X-Lab-Ids (`TAG-0`, `TAG-1`, ...) of those it took responsibility for.
        """
        tool = (PYTHON, HERE / "tools" / "send_tool.py")
        done = self.run(*tool, "127.0.0.1", str(messages), tag, to, str(size), timeout=300)
        return list(json.loads(done.stdout))

    def queue_length(self) -> int:
        """How many messages still wait for delivery."""
        return len(postfix.queue_ids(self))

    def bounces(self) -> list[str]:
        """The log lines of messages that were returned to their author."""
        return postfix.log_lines(self, "status=bounced")

    def deliveries(self) -> list[str]:
        """The log lines of messages that another host (or a local mailbox) accepted."""
        return postfix.log_lines(self, "status=sent")
