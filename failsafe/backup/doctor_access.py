"""Judges what the credentials that lie here could do besides what they are for. Pure."""

from __future__ import annotations

from failsafe.model import Finding, Severity

SENT, INSTALLED = "sent", "installed"  # how the program on the server came there
HOW_TO_INSTALL = (
    "install the program there (docs/layouts.md, The program, installed): copy failsafe/backup/serverside.py to /usr/local/lib/failsafe-server.py, write "
    '/etc/failsafe-server.json, and put restrict,command="python3 /usr/local/lib/failsafe-server.py" before the key in authorized_keys'
)


def judge_helper(server: str, mode: str, *, over_ssh: bool, reads_files: bool) -> Finding:
    """Whether our SSH key can do nothing but read mail there. `mode`: SENT, INSTALLED, or "" where nobody could ask."""
    if not over_ssh:
        return Finding("ssh-helper", Severity.SKIPPED, server, "its mail is not read over SSH")
    if not reads_files:
        return Finding(
            "ssh-helper", Severity.SKIPPED, server, "its mail is read by doveadm, for which there is no forced command"
        )
    if not mode:
        return Finding("ssh-helper", Severity.SKIPPED, server, "the server could not be asked")
    if mode == SENT:
        text = "our SSH key may run anything on the server: whoever takes this machine has the server too"
        return Finding("ssh-helper", Severity.WARN, server, text, HOW_TO_INSTALL)
    return Finding(
        "ssh-helper", Severity.OK, server, "our SSH key runs the installed program alone, which reads what its own settings allow"
    )


def judge_writing(server: str) -> Finding:
    text = "the IMAP logins that lie here could delete mail too; failsafe itself opens every folder read-only"
    mend = "let the server take them from this machine's address alone, or, with Dovecot, give a master user no more than the ACL rights l and r"
    return Finding("credential-writes", Severity.WARN, server, text, mend)
