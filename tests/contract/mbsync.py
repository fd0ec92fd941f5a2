"""A real mail client with a cache: mbsync, which remembers what it has by UIDVALIDITY and UID."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.contract.dovecot import PASSWORD, Dovecot

CONF = """\
IMAPAccount server
Host localhost
Port {port}
User {mailbox}
Pass "{password}"
SSLType IMAPS
CertificateFile {authority}

IMAPStore far
Account server

MaildirStore near
Path {folder}/near/
Inbox {folder}/near/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns INBOX
Create Near
Expunge Near
Sync Pull
SyncState *
"""


@dataclass
class Client:
    """Its cache lies below `folder` and outlives the server."""

    folder: Path
    server: Dovecot
    mailbox: str

    def __post_init__(self) -> None:
        if shutil.which("mbsync") is None:
            pytest.skip("mbsync is not installed (Debian: isync)")
        (self.folder / "near").mkdir(parents=True)
        self.conf.touch(mode=0o600)
        authority = self.server.certificates.authority
        values = {
            "port": self.server.port,
            "mailbox": self.mailbox,
            "password": PASSWORD,
            "authority": authority,
            "folder": self.folder,
        }
        self.conf.write_text(CONF.format(**values))

    @property
    def conf(self) -> Path:
        return self.folder / "mbsyncrc"

    def sync(self) -> None:
        done = subprocess.run(["mbsync", "-c", str(self.conf), "all"], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def shown(self) -> dict[int, bytes]:
        """UID on the server -> what the client shows for it, line ends as in a file."""
        inbox = self.folder / "near" / "INBOX"
        files = {}
        for path in (*(inbox / "cur").iterdir(), *(inbox / "new").iterdir()):
            found = re.search(r",U=(\d+)", path.name)
            assert found is not None, path.name
            data = path.read_bytes().replace(b"\r\n", b"\n")
            files[int(found[1])] = re.sub(rb"X-TUID: [^\n]*\n", b"", data, count=1)  # mbsync's own mark
        pairs = [line.split(" ") for line in (inbox / ".mbsyncstate").read_text().partition("\n\n")[2].splitlines()]
        return {int(far): files[int(near)] for far, near, *_ in pairs if int(near) in files and int(far) > 0}


def on_server(server: Dovecot, mailbox: str) -> dict[int, bytes]:
    """UID -> bytes of every message in INBOX, line ends as in a file."""
    box = server.open(mailbox)
    try:
        uids = [message.uid for message in box.messages("INBOX")]
        return {uid: data.replace(b"\r\n", b"\n") for uid, data in box.fetch("INBOX", uids)}
    finally:
        box.close()
