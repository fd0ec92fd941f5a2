"""failsafe's side on a mail server that is being restored: one file, Python 3.6 or newer, standard library only. It is sent over SSH for one run.

It writes what it is given, and only below three places: the folder of mailboxes, the server's own files, and a folder of our own (work) beside
the mailboxes. Below the folder of mailboxes no link is followed at all; elsewhere only links that root alone could have made. A file appears
under its name when it is whole: temporary file, owner, mode, date, rename. What is right already is left. What stood in the way is moved into work, never deleted.
Requests are JSON objects, NUL-terminated, some followed by a file's bytes; answers are frames as in serverside. Killed at any moment, the next run goes on.
"""

# mypy: ignore-errors
# ruff: noqa: UP031
# Old Pythons run this as it stands, in one file with the other parts; tests run it, types are not checked.
import contextlib
import hashlib
import json
import os
import stat
import struct
import time

VERSION = 1
CHUNK = 262144
FIELD = 16 << 20  # bytes of a request
COUNTED = 100000  # messages: beyond it nobody needs to know how many more there are
PROBLEMS = 500  # told in one answer
SUBS = (b"cur", b"new", b"tmp")
TEMPORARY = b"failsafe-restore.tmp"
WORK = ".failsafe-restore"
FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
CHILDREN = set()  # process groups to end with us


class Refusal(Exception):
    """A request that cannot be answered; its text goes back."""


class Wire:
    """Requests and files in, frames out."""

    def __init__(self, source, sink):
        self.source, self.sink, self.rest, self.flushed = source, sink, b"", time.time()

    def request(self):
        while b"\0" not in self.rest:
            if len(self.rest) > FIELD:
                raise Refusal("a request is too long")
            more = self.source.read1(CHUNK)
            if not more:
                raise EOFError
            self.rest += more
        value, self.rest = self.rest.split(b"\0", 1)
        return json.loads(value.decode())

    def body(self, size):
        """The bytes of a file, in pieces; all of them are to be taken."""
        while size > 0:
            piece, self.rest = self.rest[: min(size, CHUNK)], self.rest[min(size, CHUNK) :]
            if not piece:
                piece = self.source.read1(min(size, CHUNK))
            if not piece:
                raise EOFError
            size -= len(piece)
            yield piece

    def send(self, kind, payload):
        self.sink.write(struct.pack(">cI", kind, len(payload)) + payload)

    def say(self, kind, value):
        self.send(kind, json.dumps(value, separators=(",", ":")).encode())
        self.flush()

    def tick(self):
        """Called in long loops: a sign of life every 5 s, so that silence means death."""
        if time.time() - self.flushed > 5:
            self.send(b"K", b"")
            self.flush()

    def flush(self):
        self.sink.flush()
        self.flushed = time.time()


def raw(name):
    return name.encode("utf-8", "surrogateescape")


def text(name):
    return name.decode("utf-8", "surrogateescape")


def reason(error):
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def parts_of(path):
    parts = raw(path).split(b"/") if path else []
    if any(part in (b"", b".", b"..") or b"\0" in part for part in parts):
        raise Refusal("not a path below a root: %s" % path)
    return parts


def look(fd, name):
    try:
        return os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def is_ours_alone(fd):
    """Whether only root can change names in this folder: then a link in it is the administrator's."""
    info = os.fstat(fd)
    return info.st_uid == 0 and not info.st_mode & 0o022


def descend(fd, parts, *, links=False):
    """A new descriptor of the folder `parts` below `fd`. `links`: those that root alone can have made are followed."""
    here = os.dup(fd)
    try:
        for part in parts:
            flags = FOLDER_FLAGS
            if links and is_ours_alone(here):
                flags &= ~os.O_NOFOLLOW
            below = os.open(part, flags, dir_fd=here)
            os.close(here)
            here = below
    except BaseException:
        os.close(here)
        raise
    return here


def own(fd, uid, gid):
    """Raises where it cannot be: a message that its owner cannot read is not restored."""
    info = os.fstat(fd)
    if (info.st_uid, info.st_gid) != (uid, gid):
        os.fchown(fd, uid, gid)


def write_file(fd, name, pieces, facts, digest, temporary=None):
    """One file, whole or not at all. `facts`: mode, uid, gid, mtime; `temporary`: folder for it until then."""
    place = fd if temporary is None else temporary
    with contextlib.suppress(FileNotFoundError):
        os.unlink(TEMPORARY, dir_fd=place)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    out, seen = os.open(TEMPORARY, flags, 0o600, dir_fd=place), hashlib.sha256()
    try:
        for piece in pieces:
            seen.update(piece)
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(out, rest) :]
        if digest and seen.hexdigest() != digest:
            raise Refusal("its bytes do not match their digest; it was not written")
        mode, uid, gid, mtime = facts
        own(out, uid, gid)
        os.fchmod(out, mode & 0o7777)
        os.utime(out, (mtime, mtime))
        os.rename(TEMPORARY, name, src_dir_fd=place, dst_dir_fd=fd)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(TEMPORARY, dir_fd=place)
        raise
    finally:
        os.close(out)


def digest_of(fd, name, wire):
    """SHA-256 of a regular file; "" where it is none."""
    try:
        here = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
    except OSError:
        return ""
    try:
        if not stat.S_ISREG(os.fstat(here).st_mode):
            return ""
        seen = hashlib.sha256()
        while True:
            piece = os.read(here, CHUNK)
            if not piece:
                return seen.hexdigest()
            seen.update(piece)
            wire.tick()
    finally:
        os.close(here)


def pieces_of(path, offset, size):
    """Of a file in work; nothing is opened before the first piece is asked for."""
    with open(path, "rb") as file:
        file.seek(offset)
        while size > 0:
            piece = file.read(min(size, CHUNK))
            if not piece:
                raise Refusal("%s ends too early" % path)
            size -= len(piece)
            yield piece
