"""Dovecot's configuration, in the words of 2.3 (Debian 12) and of 2.4 (Debian 13)."""

import functools
import subprocess

from tests.lab.names import ENVIRONMENT, VMAIL_ROOT

COMMON = """\
protocols = imap lmtp
log_path = /var/log/dovecot.log
ssl = required
mail_uid = vmail
mail_gid = vmail
first_valid_uid = 5000
mail_max_userip_connections = 100
auth_failure_delay = 0 secs
namespace inbox {
  inbox = yes
  separator = /
}
service lmtp {
  unix_listener /var/spool/postfix/private/dovecot-lmtp {
    mode = 0600
    user = postfix
    group = postfix
  }
}
service auth {
  unix_listener /var/spool/postfix/private/auth {
    mode = 0660
    user = postfix
    group = postfix
  }
}
"""

SPEECH_2_3 = """\
ssl_cert = </etc/lab/mx.pem
ssl_key = </etc/lab/mx.key
mail_location = {store}:{root}/%d/%n{layout}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u /etc/dovecot/users
}}
userdb {{
  driver = passwd-file
  args = username_format=%u /etc/dovecot/users
}}
"""

SPEECH_2_4 = """\
ssl_server_cert_file = /etc/lab/mx.pem
ssl_server_key_file = /etc/lab/mx.key
mail_driver = {store}
mail_path = {root}/%{{user | domain}}/%{{user | username}}
mailbox_list_layout = {layout}
passdb passwd-file {{
  passwd_file_path = /etc/dovecot/users
  default_password_scheme = PLAIN
}}
userdb passwd-file {{
  passwd_file_path = /etc/dovecot/users
}}
"""

QUOTA_2_3 = """\
mail_plugins = quota
protocol imap {{
  mail_plugins = quota imap_quota
}}
plugin {{
  quota = count:User quota
  quota_vsizes = yes
  quota_rule = *:storage={kib}K
}}
"""

QUOTA_2_4 = """\
mail_plugins {{
  quota = yes
}}
protocol imap {{
  mail_plugins {{
    imap_quota = yes
  }}
}}
quota_storage_size = {kib}K
quota "User quota" {{
}}
"""


@functools.cache
def version() -> tuple[int, int]:
    """The installed Dovecot's major and minor version."""
    words = subprocess.run(
        ["dovecot", "--version"], env=ENVIRONMENT, capture_output=True, text=True, timeout=30, check=True
    ).stdout
    major, minor = words.split()[0].split(".")[:2]
    return int(major), int(minor)


def configuration(layout: str) -> str:
    """dovecot.conf. `layout`: how a Maildir's folders lie on disk, "maildir++" (`.Archive.2026`) or "fs" (`Archive/2026`); or "mdbox"."""
    if layout not in {"maildir++", "fs", "mdbox"}:
        raise ValueError(f"unknown layout {layout!r}: maildir++, fs or mdbox")
    store = "mdbox" if layout == "mdbox" else "maildir"
    if version() < (2, 4):
        return COMMON + SPEECH_2_3.format(root=VMAIL_ROOT, store=store, layout=":LAYOUT=fs" if layout == "fs" else "")
    layout = "fs" if layout == "mdbox" else layout  # the only one that dbox has
    head = "dovecot_config_version = 2.4.0\ndovecot_storage_version = 2.4.0\n"
    return head + COMMON + SPEECH_2_4.format(root=VMAIL_ROOT, store=store, layout=layout)


def quota(kib: int) -> str:
    """What is added to the configuration so that no mailbox may hold more, and clients are told."""
    return (QUOTA_2_3 if version() < (2, 4) else QUOTA_2_4).format(kib=kib)


def users_file(passwords: dict[str, str], uid: int) -> str:
    """A passwd-file of mailboxes whose home is their Maildir. Every field must be there, also the empty ones."""
    lines = []
    for mailbox, password in passwords.items():
        user, domain = mailbox.split("@")
        lines.append(f"{mailbox}:{{PLAIN}}{password}:{uid}:{uid}::{VMAIL_ROOT}/{domain}/{user}::\n")
    return "".join(lines)
