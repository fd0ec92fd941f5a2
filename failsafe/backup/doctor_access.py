"""Judges what the credentials that lie here could do besides what they are for. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from failsafe.model import Finding, Severity

SENT, INSTALLED = "sent", "installed"  # how the program on the server came there


def how_to_install(server: str) -> str:
    return f"failsafe config server {server} | ssh root@… sh (docs/server-side.md)"


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
        return Finding("ssh-helper", Severity.WARN, server, text, how_to_install(server))
    return Finding(
        "ssh-helper", Severity.OK, server, "our SSH key runs the installed program alone, which reads what its own settings allow"
    )


def judge_program(server: str, mode: str, there: str, ours: str) -> Finding:
    """Whether the installed program is the one that this failsafe would install. `there`, `ours`: digests; "" where one of before tells none."""
    if mode != INSTALLED:
        return Finding("server-program", Severity.SKIPPED, server, "no program is installed there that could be old")
    if there == ours:
        return Finding("server-program", Severity.OK, server, "the program installed there is this failsafe's")
    text = (
        f"the program installed there ({there or 'which tells no version'}) is not the one of this failsafe ({ours}): what is newer in it is not seen "
        "there, such as that the server took mail which never arrived"
    )
    return Finding("server-program", Severity.WARN, server, text, how_to_install(server))


@dataclass(frozen=True, slots=True)
class StoredLogins:
    """Logins that lie here and could write on a mail server, each as a person knows it: which one, and where it is configured."""

    reading: tuple[str, ...] = ()  # IMAP logins that mail is read with; IMAP knows none that only reads
    unused: tuple[str, ...] = ()  # nothing is done with them: a restore asks for its own
    homecoming: tuple[str, ...] = ()  # what a homecoming delivers with, and what it fetches with


def judge_writing(server: str, stored: StoredLogins, mode: str, *, over_ssh: bool, reads_files: bool) -> Finding:
    """What could write there, and which of it has to. `mode`: as for `judge_helper`, which tells what is to be done about a key that may run anything."""
    shell = over_ssh and (mode == SENT or not reads_files)
    faults = [*stored.reading, *stored.unused, *(["our SSH key, which may run anything there"] if shell else [])]
    mends = [
        *(["let the server take the IMAP logins from this machine's address alone, or, with Dovecot, give a master user no more than the ACL rights l and r"] if stored.reading else []),
        *(["take the unused logins out of the configuration: a restore asks for its own"] if stored.unused else []),
        *([how_to_install(server) if reads_files else 'read = "files" has a forced command, read = "doveadm" has none'] if shell else []),
    ]  # fmt: skip
    needed = f"; a homecoming needs: {', '.join(stored.homecoming)}" if stored.homecoming else ""
    told_elsewhere = shell and reads_files and len(faults) == 1  # by `ssh-helper`
    if faults:
        text = f"what lies here could delete mail too: {'; '.join(faults)}{needed}; failsafe itself opens every folder read-only"
        return Finding("credential-writes", Severity.OK if told_elsewhere else Severity.WARN, server, text, "; ".join(mends))
    if over_ssh and not mode:
        text = f"what our SSH key may do there could not be asked{needed}"
        return Finding("credential-writes", Severity.SKIPPED, server, text)
    text = "but for what brings mail home, nothing" if needed else "nothing"
    return Finding("credential-writes", Severity.OK, server, f"{text} that lies here could write on the server{needed}")
