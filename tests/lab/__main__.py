"""A lab of mail hosts for a person.

python -m tests.lab [fs]                      open it, with a shell on nas (fs: Dovecot's LAYOUT=fs)
python -m tests.lab in HOST COMMAND…          from another terminal: run a command in a host
python -m tests.lab off|on|unplug|plug HOST   power and network cable
python -m tests.lab kill|freeze|thaw|start HOST SERVICE
"""

import os
import subprocess
import sys
import time

from tests.lab.control import ACTIONS, SERVICE_ACTIONS, Control, NoLabError, ask
from tests.lab.lab import Lab
from tests.lab.names import (
    ADDRESSES,
    ALICE,
    CA_FILE,
    DOMAIN,
    ENVIRONMENT,
    MX_NAMES,
    NAS_KNOWN_HOSTS,
    NAS_SSH_KEY,
    PASSWORDS,
    RESOLVER,
    TSIG_FILE,
    TSIG_NAME,
    VMAIL_ROOT,
)
from tests.lab.world import availability

ROLES = {
    "primary": f"Postfix, Dovecot, sshd; {MX_NAMES['primary']}, imap.{DOMAIN}; mail in {VMAIL_ROOT}/{DOMAIN}/USER",
    "secondary": f"Postfix, Dovecot, sshd; {MX_NAMES['secondary']}",
    "sender": "Postfix, sshd; the rest of the world",
    "nas": "you are here, with failsafe on the PATH",
    "dns": f"Knot; Unbound at {RESOLVER}",
}

EXAMPLES = f"""\
Here:  ssh root@primary    kdig {DOMAIN} MX    kdig @{ADDRESSES["dns"]} +norecurse {DOMAIN} MX    failsafe --help
In another terminal, as root, in this folder:
  python -m tests.lab in sender swaks --server 127.0.0.1 --from me@sender.test --to {ALICE}
  python -m tests.lab off primary          (on, unplug, plug; kill, freeze, thaw, start HOST SERVICE)
Ctrl-D ends the lab and everything in it.
"""

BASHRC = "PS1='\\h:\\w# '\nHISTFILE=\ncd /root\n"


def main(words: list[str]) -> int:
    """Do what the command line says; the exit status."""
    verb = words[0] if words else ""
    try:
        if words in ([], ["fs"]):
            return session("fs" if words else "maildir++")
        if verb == "in" and len(words) > 2:
            return subprocess.call(ask(*words), env=environment())
        if (verb in ACTIONS and len(words) == 2) or (verb in SERVICE_ACTIONS and len(words) == 3):
            ask(*words)
            return 0
    except NoLabError as error:
        print(error, file=sys.stderr)
        return 4
    print(__doc__, file=sys.stderr)
    return 2


def environment() -> dict[str, str]:
    """What a person's program in a host is born with: the host's own, and this terminal."""
    return {**ENVIRONMENT, "TERM": os.environ.get("TERM", "dumb")}


def session(layout: str) -> int:
    """Bring a lab up, give its nas to the person, and end it afterwards."""
    if reason := availability():
        print(reason, file=sys.stderr)
        return 4
    started = time.monotonic()
    lab = Lab(layout)
    control = Control(lab)
    try:
        with lab:
            print(f"The lab is up after {time.monotonic() - started:.1f} s.\n\n{description()}", flush=True)
            lab.nas.write("/etc/lab/bashrc", BASHRC)
            shell = ["bash", "--rcfile", "/etc/lab/bashrc", "-i"] if sys.stdin.isatty() else ["bash"]
            return subprocess.call(lab.nas.argv(*shell), env=environment())
    finally:
        control.close()


def description() -> str:
    """Hosts, addresses, mailboxes and examples."""
    hosts = "".join(f"  {name:10} {address:11} {ROLES[name]}\n" for name, address in ADDRESSES.items())
    mailboxes = "".join(f"  {mailbox}  password {password}\n" for mailbox, password in PASSWORDS.items())
    files = (
        f"On nas: ssh key {NAS_SSH_KEY}, host keys {NAS_KNOWN_HOSTS}, certificate authority {CA_FILE},\n"
        f"  DNS key {TSIG_NAME} (the secret alone) {TSIG_FILE}\n"
    )
    return f"{hosts}\nMailboxes on both servers (IMAPS 993, submission 465 and 587):\n{mailboxes}\n{files}\n{EXAMPLES}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
