"""The two files that make a snapshot stand alone: README.txt for a stranger, and rebuild.py."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from failsafe.mail.manifest import FORMAT

MARK = "# sha256 of all bytes above this line: "

_TEXT = """\
This folder is the mail of the server "{server}", kept by failsafe (archive format {format}).
You do not need failsafe to get the mail back. You need restic (any version from 0.14), Python 3.9 or newer,
the address of the restic repository and its password.

1. If you read this inside a restic repository or the failsafe controller's own disk, first get a copy:

     export RESTIC_REPOSITORY=...           (a path, or sftp:..., s3:..., rest:...)
     export RESTIC_PASSWORD_FILE=...        (or type the password when restic asks)
     restic snapshots --host failsafe-{server}
     restic restore latest --host failsafe-{server} --target restored

   In place of "latest" you can give the ID of any snapshot in the list.

2. In the folder that holds this file and rebuild.py:

     python3 rebuild.py DEST                            (all mailboxes)
     python3 rebuild.py DEST --mailbox USER@DOMAIN      (one; may be repeated)

   It writes DEST/DOMAIN/USER/, a Maildir for each mailbox as Dovecot and many mail programs know it, with the bytes of every
   message, its flags, keywords, date and UID, all folders and control files; and the server's own files below DEST/_server/.
   It compares every message with its SHA-256, ends with a summary, and exits with 0 only if everything was there and right.
   More choices: python3 rebuild.py --help

What is what, if you would rather read it by hand:

   generations/NNNNNNNN.json   the state that this snapshot holds: it names the manifest of every mailbox
   mailboxes/..                one JSON file a mailbox: its folders, their shards, the segments with its messages
   shards/..                   JSON lines, one message a line: UID, SHA-256, flags, keywords, date (seconds since 1970), name, size
   segments/..                 tar files; each entry is one message, named by the SHA-256 of its bytes (.idx: where each lies)
   files/.., lists/..          other files, named by the SHA-256 of their bytes, and the lists that say what they were called

Every file below mailboxes, shards, segments, files and lists is named by the SHA-256 of its content (except .idx files).
No part of this is encrypted: keep this copy as private as the mail itself.
"""


def signed(content: bytes) -> bytes:
    """The content with a last line by which damage shows."""
    return content + f"{MARK}{hashlib.sha256(content).hexdigest()}\n".encode("ascii")


def is_whole(content: bytes) -> bool:
    """Whether the last line of a signed file is right."""
    above, found, _ = content.rpartition(MARK.encode("ascii"))
    return bool(found) and signed(above) == content


def readme(server: str) -> bytes:
    return signed((_TEXT.format(server=server, format=FORMAT) + "\n").encode("utf-8"))


def rebuild() -> bytes:
    """The program as it goes into every archive: both halves in one file, so that it needs nothing beside it."""
    first, second = (Path(__file__).with_name(name).read_text("utf-8") for name in ("rebuild_source.py", "rebuild.py"))
    alone = re.sub(r"^from (failsafe\.[^(\n]*\([^)]*\)|__future__ .*)\n", "", second, flags=re.MULTILINE)
    return signed(f"{first}\n\n{alone}".encode())
