"""Postfix as every mail host of the lab has it: nothing of the machine's own configuration or queue."""

import stat
from pathlib import Path

from tests.lab.host import Host

# Columns: type, private, unprivileged, chroot, wakeup, process limit. Nothing is chrooted: a chroot would
# need copies of resolv.conf and of the certificates.
MASTER = """\
smtp       inet       n - n -     -  smtpd
pickup     unix       n - n 60    1  pickup
cleanup    unix       n - n -     0  cleanup
qmgr       unix       n - n 300   1  qmgr
tlsmgr     unix       - - n 1000? 1  tlsmgr
rewrite    unix       - - n -     -  trivial-rewrite
bounce     unix       - - n -     0  bounce
defer      unix       - - n -     0  bounce
trace      unix       - - n -     0  bounce
verify     unix       - - n -     1  verify
flush      unix       n - n 1000? 0  flush
proxymap   unix       - - n -     -  proxymap
proxywrite unix       - - n -     1  proxymap
smtp       unix       - - n -     -  smtp
relay      unix       - - n -     -  smtp
showq      unix       n - n -     -  showq
error      unix       - - n -     -  error
retry      unix       - - n -     -  error
discard    unix       - - n -     -  discard
local      unix       - n n -     -  local
virtual    unix       - n n -     -  virtual
lmtp       unix       - - n -     -  lmtp
anvil      unix       - - n -     1  anvil
scache     unix       - - n -     1  scache
postlog    unix-dgram n - n -     1  postlogd
"""

MAIN = """\
compatibility_level = 3.6
myhostname = {name}
inet_protocols = ipv4
maillog_file = /var/log/mail.log
alias_maps =
alias_database =
biff = no
mynetworks = 127.0.0.0/8
"""

SPOOL = "/var/spool/postfix"


def install(host: Host, name: str, main: str, master: str = "") -> None:
    """Write the configuration of a Postfix called `name`; `main` and `master` are added to the common lines."""
    host.sh(f"rm -rf {SPOOL}/* /var/log/mail.* /var/mail/*; : >/var/log/mail.log")
    host.write("/etc/postfix/main.cf", MAIN.format(name=name) + main)
    host.write("/etc/postfix/master.cf", MASTER + master)


def queue_ids(host: Host) -> set[str]:
    """The queue ids of all messages Postfix holds, from its files: it need not run, nor the host have power.

    A file becomes executable when the message in it is complete; one without that is still being received, or was when the power
    went: nobody was told that it was taken, and Postfix itself passes over it.
    Messages move between the folders while we look, so the first are looked at again at the end.
    """
    spool = host.disk(SPOOL)
    found: set[str] = set()
    for queue in ("maildrop", "incoming", "active", "deferred", "hold", "incoming", "active"):
        found |= {file.name for file in _files(spool / queue) if _is_complete(file)}
    return found


def _is_complete(file: Path) -> bool:
    try:
        return bool(file.stat().st_mode & stat.S_IXUSR)
    except FileNotFoundError:
        return False


def _files(folder: Path) -> list[Path]:
    """All files below a folder that others write to."""
    try:
        entries = list(folder.iterdir())
    except FileNotFoundError:
        return []
    found = []
    for entry in entries:
        found += _files(entry) if entry.is_dir() else [entry]
    return found


def log_lines(host: Host, containing: str) -> list[str]:
    """The lines of the host's mail log with this text, such as `status=bounced`."""
    log = host.disk("/var/log/mail.log").read_text(encoding="utf-8", errors="replace")
    return [line for line in log.splitlines() if containing in line]
