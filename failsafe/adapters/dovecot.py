"""Opens Maildirs with a real Dovecot: its own imap program with a configuration of ours, no daemon, no port, nothing of the system's /etc.

The program runs in a folder of its own, as nobody where we are root: Dovecot refuses to open mail as root, and mail is data from strangers.
Paths in its configuration begin at /proc/self/cwd, because it may not pass the closed folders above; the folder is the only thing it can reach there.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from failsafe.adapters.imap_login import log_in_over
from failsafe.adapters.imap_source import ImapSource
from failsafe.adapters.local import LocalHost
from failsafe.adapters.process import Command, base_environment, run
from failsafe.backup.opening import SeenMessage
from failsafe.errors import ExternalError, MailError, ProcessError
from failsafe.mail.identity import digests
from failsafe.mail.imap import split_flags

NOBODY = 65534
HERE = "/proc/self/cwd"
PLACES = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BOX = "box"  # the mailbox's folder has a plain name while it is open: a user's own may hold what a configuration would misread
SILENCE = 300.0  # seconds without a byte
SIZES = re.compile(rb",([SW])=(\d{1,18})(?=,|$)")  # what Dovecot puts into names: bytes as a client sees them, and with CRLF
FLAGS = "DFRST"  # Dovecot knows no P(assed)

COMMON = f"""\
log_path = /dev/stderr
base_dir = {HERE}/run
state_dir = {HERE}/run
ssl = no
mail_home = {HERE}
mail_fsync = never
maildir_broken_filename_sizes = yes
namespace inbox {{
  inbox = yes
  separator = /
}}
"""


class DovecotOpener:
    """`room` is an empty folder that is the opener's own. Raises ProcessError, MailError where there is no Dovecot that works here."""

    flags = FLAGS

    def __init__(self, room: Path) -> None:
        self._room = room
        self._version = _version()
        self.name = f"Dovecot {self._version}"
        room.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._prove()

    def open(self, maildir: Path, layout: str, folders: Mapping[str, str]) -> OpenedByDovecot:
        box = self._room / BOX
        shutil.rmtree(box, ignore_errors=True)
        (self._room / "run").mkdir(mode=0o700, exist_ok=True)
        maildir.rename(box)
        for directory in folders.values():
            set_sizes_aside(box / directory)
        (self._room / "dovecot.conf").write_text(configuration(self._version, layout))
        if os.geteuid() == 0:
            _give(self._room)
        return OpenedByDovecot(self._log_in(), box)

    def _log_in(self) -> ImapSource:
        return log_in_over(LocalHost(self.name, SILENCE).open(_command(self._room)), self.name)

    def _prove(self) -> None:
        """Opens an empty mailbox: what fails later is then the mail's fault, or the rebuild's, and not this machine's."""
        empty = self._room / "empty"
        for part in ("cur", "new", "tmp"):
            (empty / part).mkdir(mode=0o700, parents=True)
        opened = self.open(empty, "maildir++", {})
        try:
            if "INBOX" not in opened.folders():
                raise MailError(f"{self.name} shows no INBOX in an empty mailbox", transient=False)
            list(opened.read("INBOX")[1])
        finally:
            opened.close()


class OpenedByDovecot:
    """OpenedMailbox over IMAP. Dovecot may write its own files beside the mail; every folder is opened read-only."""

    def __init__(self, session: ImapSource, box: Path) -> None:
        self._session, self._box = session, box
        try:
            self._folders = frozenset(folder.name for folder in session.folders())
        except ExternalError:
            self.close()
            raise

    def folders(self) -> frozenset[str]:
        return self._folders

    def read(self, folder: str) -> tuple[int | None, Iterator[SeenMessage]]:
        state = self._session.open(folder)
        return state.uid_validity, self._messages(folder)

    def close(self) -> None:
        """What was opened is not needed again, and its room is."""
        self._session.close()
        shutil.rmtree(self._box, ignore_errors=True)

    def _messages(self, folder: str) -> Iterator[SeenMessage]:
        uids = self._session.uids()
        facts = {fact.uid: fact for fact in self._session.facts(uids)}
        lacking = [uid for uid in uids if uid not in facts]
        if lacking:
            raise MailError(f"{folder}: nothing is told of UID {lacking[0]}, and of {len(lacking) - 1} more", transient=False)
        given = 0
        for uid, pieces in self._session.bodies([(uid, facts[uid].size) for uid in uids]):
            given += 1
            flags, keywords, _ = split_flags(facts[uid].flags)
            date = facts[uid].internal_date
            seconds = -1 if date is None else int(date.timestamp())
            yield SeenMessage(uid, "", digests(pieces)[1], flags, tuple(sorted(keywords)), seconds)
        if given != len(uids):
            raise MailError(f"{folder}: {len(uids) - given} of {len(uids)} messages could not be read", transient=False)


def set_sizes_aside(folder: Path) -> None:
    """Takes ",S=…,W=…" out of names whose file has another size: the server stores that message compressed or encrypted, as this Dovecot does not.

    It would believe the name and read too little, or too much. dovecot-uidlist knows messages by their names, so it changes with them.
    """
    place, renamed = os.fsencode(folder / "cur"), dict[bytes, bytes]()
    if not os.path.isdir(place):  # noqa: PTH112 - bytes, here and below: names of mail need not be UTF-8
        return
    with os.scandir(place) as listing:
        wrong = [each.name for each in listing if _tells_another_size(each)]
    for name in wrong:
        base, colon, rest = name.partition(b":2,")
        plain = SIZES.sub(b"", base)
        target = os.path.join(place, plain + colon + rest)  # noqa: PTH118
        if not os.path.lexists(target):
            os.rename(os.path.join(place, name), target)  # noqa: PTH104, PTH118
            renamed[base] = plain
    uidlist = folder / "dovecot-uidlist"
    if renamed and uidlist.exists():
        lines = uidlist.read_bytes().split(b"\n")
        uidlist.write_bytes(b"\n".join(_with_name(line, renamed) for line in lines))


def _tells_another_size(each: os.DirEntry[bytes]) -> bool:
    told = dict(SIZES.findall(each.name.partition(b":2,")[0]))
    return b"S" in told and int(told[b"S"]) != each.stat(follow_symlinks=False).st_size


def _with_name(line: bytes, renamed: Mapping[bytes, bytes]) -> bytes:
    uid, colon, name = line.partition(b" :")
    return uid + colon + renamed.get(name, name)


def configuration(version: str, layout: str) -> str:
    """Dovecot 2.4 renamed its settings and wants to be told for which version a file is written."""
    if _numbers(version) >= (2, 4):
        number = ".".join(map(str, _numbers(version)))
        kind = "fs" if layout == "fs" else "maildir++"
        head = f"dovecot_config_version = {number}\ndovecot_storage_version = {number}\n"
        return f"{head}{COMMON}mail_driver = maildir\nmail_path = {HERE}/{BOX}\nmailbox_list_layout = {kind}\nprotocols {{\n  imap = yes\n}}\n"
    kind = ":LAYOUT=fs" if layout == "fs" else ""
    return f"{COMMON}mail_location = maildir:{HERE}/{BOX}{kind}\nprotocols = imap\n"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:3])


def _version() -> str:
    """Raises ProcessError where Dovecot is not installed, or does not say what it is."""
    environment = {**base_environment(), "PATH": PLACES}
    finished = run(Command(("dovecot", "--version"), environment, deadline=timedelta(seconds=30)))
    found = re.match(r"\d+\.\d+(\.\d+)*", next(iter(finished.stdout), ""))
    if finished.code != 0 or found is None:
        raise ProcessError("dovecot does not say its version", transient=False)
    return found[0]


def _command(room: Path) -> list[str]:
    """With nothing of our own environment."""
    drop: list[str] = []
    if os.geteuid() == 0:
        uid, gid = _nobody()
        drop = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--no-new-privs", "--"]
    clean = ["env", "-i", "-C", str(room), f"PATH={PLACES}", "USER=drill", f"HOME={HERE}"]
    return [*clean, *drop, "doveadm", "-c", f"{HERE}/dovecot.conf", "exec", "imap"]


def _nobody() -> tuple[int, int]:
    with suppress(KeyError):
        row = pwd.getpwnam("nobody")
        return row.pw_uid, row.pw_gid
    return NOBODY, NOBODY


def _give(folder: Path) -> None:
    """To nobody, with all that is in it. The folders above stay closed to everyone but root."""
    uid, gid = _nobody()
    os.lchown(folder, uid, gid)
    for place, folders, files in os.walk(os.fsencode(folder)):
        for name in (*folders, *files):
            os.lchown(os.path.join(place, name), uid, gid)  # noqa: PTH118 - bytes: names of mail need not be UTF-8
