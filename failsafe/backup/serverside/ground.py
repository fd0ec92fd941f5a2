"""failsafe's side on a mail server: one file, Python 3.6 or newer, standard library only.

It answers eight verbs: list, find, read, digest, vitals, inspect, reach, run NAME. Requests are NUL-separated fields, the first of which is the number of
fields that follow; answers are frames (one byte of kind, four bytes of length, payload; a lower-case kind is compressed by zlib).
A file's content ends with a frame that says whether it was whole. Nothing is ever written, renamed or deleted here, but for the copy
of a live SQLite database, a file of ours without a name that is gone with the request.

Sent over SSH, it is told its roots and named commands in its first request. Installed on the server (as a forced command), it
takes both from SETTINGS, which only root may write, and then only names cross, never paths of roots nor commands. Whoever calls it then is not believed
in anything: what it is asked is bounded in length, number and time, nothing of the caller's environment is heeded, and what is refused is said in words.
Every path component below a root is opened without following links; run by root, it acts as the owner of the mailbox.
"""

# mypy: ignore-errors
# ruff: noqa: UP031
# Old Pythons run this as it stands, in one file with the other parts; tests run it, types are not checked.
import contextlib
import json
import os
import re
import stat
import struct
import time
import zlib

VERSION = 3
SETTINGS = "/etc/failsafe-server.json"
CHUNK = 262144
QUIET_NS = 2 * 10**9  # a folder's mtime tells every change only when it is this old: ext3 and HFS+ count whole seconds, FAT two
PASSES = 20  # listings after which a name that was in none of them is gone; a single one may miss a file that is being renamed
DEPTH = 40  # of nested folders
PLACES = 5000  # files and folders of a mailbox that are no mail, and are looked through for it
FILES = 200000  # below one extra path
FIELD_BYTES, REQUEST_BYTES, REQUEST_FIELDS = 1 << 20, 8 << 20, 5000  # at most, of a request
REQUEST_SECONDS = 300  # until a request that was begun is whole
IDLE_SECONDS = 6 * 3600  # without any request; the other side may have much to do between two
FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
ENTRY = struct.Struct(">BQqQH")  # 0 cur or 1 new, size, mtime in ns, inode, length of the name that follows
WHOLE = struct.Struct(">QqQH")  # size, mtime in ns, inode, length of the name that follows
SUBS = (b"cur", b"new")
RESTORING = (
    b".failsafe-restore"  # our own folder, where a restore had to put it among the mailboxes: what it moved aside is no mailbox
)
BESIDE = (b"dovecot.", b"dovecot-", b"maildirfolder", b"courierimap")  # files that servers keep beside messages
DBOX = 'messages of an sdbox or mdbox store, whose files are no backup: set layout = "imap" for this server, or move away what is old'
MBOX = 'a file of messages (mbox), which is not read: set layout = "imap" for this server, or move it away'
CHILDREN = set()  # process groups to end with us


class Refusal(Exception):
    """A request that cannot be answered; its text goes back."""


class Frames:
    """Requests in, frames out. `late`: when (monotonic) the wait for a request is over; None while nobody waits."""

    def __init__(self, source, sink):
        self.source, self.sink, self.rest, self.flushed = source, sink, b"", time.time()
        self.late, self.patience = None, REQUEST_SECONDS

    def field(self):
        """Raises Refusal where it is too long, and EOFError."""
        while b"\0" not in self.rest:
            if len(self.rest) > FIELD_BYTES:
                raise Refusal("a field of a request is longer than %d bytes" % FIELD_BYTES)
            more = self.source.read1(65536)
            if not more:
                raise EOFError
            self.rest += more
        value, self.rest = self.rest.split(b"\0", 1)
        return value

    def request(self):
        """Its fields. Raises Refusal where it is none of ours, after which nobody can know where the next one begins; and EOFError."""
        self.late = time.monotonic() + (self.patience if self.rest else IDLE_SECONDS)
        try:
            self.await_more()
            count, size, fields = number(self.field(), REQUEST_FIELDS), 0, []
            for _ in range(count):
                fields.append(self.field())
                size += len(fields[-1])
                if size > REQUEST_BYTES:
                    raise Refusal("a request is longer than %d bytes" % REQUEST_BYTES)
            return fields
        finally:
            self.late = None

    def await_more(self):
        """Until something of a request is there; from then on it has to come soon."""
        if not self.rest:
            self.rest = self.source.read1(65536)
            self.late = time.monotonic() + self.patience

    def skip_program(self):
        """The program that the other side sends along, as always: here it is not run."""
        self.late = time.monotonic() + self.patience
        try:
            head = self.source.readline(16)
            left = int(head) if re.match(rb"[0-9]{1,7}\n\Z", head) else 0
            if head and not 0 < left <= FIELD_BYTES:
                raise Refusal("failsafe's own program is spoken with here, by its own protocol")
            while left > 0:
                block = self.source.read(min(left, CHUNK))
                if not block:
                    return
                left -= len(block)
        finally:
            self.late = None

    def send(self, kind, payload):
        self.sink.write(struct.pack(">cI", kind, len(payload)) + payload)

    def say(self, kind, value):
        self.send(kind, json.dumps(value, separators=(",", ":")).encode())

    def pack(self, kind, payload):
        self.send(kind.lower(), zlib.compress(payload, 3))

    def tick(self):
        """Called in long loops: a sign of life every 5 s, so that silence means death."""
        if time.time() - self.flushed > 5:
            self.send(b"K", b"")
            self.flush()

    def flush(self):
        self.sink.flush()
        self.flushed = time.time()


def number(field, most):
    """Of a request; digits alone, and few, since an old Python takes long over many."""
    if not re.match(rb"[0-9]{1,9}\Z", field) or int(field) > most:
        raise Refusal("not a number up to %d: %s" % (most, ascii(text(field[:20]))))
    return int(field)


def text(name):
    return name.decode("utf-8", "surrogateescape")


def parts_of(path):
    parts = path.split(b"/") if path else []
    if any(part in (b"", b".", b"..") for part in parts):
        raise Refusal(f"not a path below a root: {text(path)}")
    return parts


def descend(fd, parts):
    """A new descriptor of the folder `parts` below `fd`, no link followed."""
    here = os.dup(fd)
    try:
        for part in parts:
            below = os.open(part, FOLDER_FLAGS, dir_fd=here)
            os.close(here)
            here = below
    except BaseException:
        os.close(here)
        raise
    return here


@contextlib.contextmanager
def folder(fd, parts):
    here = descend(fd, parts)
    try:
        yield here
    finally:
        os.close(here)


@contextlib.contextmanager
def as_owner(fd):
    """Acts as the owner of `fd`, where we are root: a user's links and pipes then reach no further than the user does."""
    if os.geteuid() != 0:
        yield
        return
    info, groups = os.fstat(fd), os.getgroups()
    os.setgroups([])
    os.setegid(info.st_gid)
    os.seteuid(info.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def names_in(fd):
    return sorted(os.fsencode(name) for name in os.listdir(fd))


def look(fd, name):
    """lstat, or None where there is nothing."""
    try:
        return os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def is_folder(info):
    return info is not None and stat.S_ISDIR(info.st_mode)


def stamps(fd):
    """The mtimes of cur and new; -1 for one that is not there."""
    infos = [look(fd, sub) for sub in SUBS]
    return [info.st_mtime_ns if is_folder(info) else -1 for info in infos]


def stamp(fd, name):
    info = look(fd, name)
    return f"{info.st_size}:{info.st_mtime_ns}:{info.st_ino}" if info else None


def file_row(path, info):
    return [text(path), info.st_size, info.st_mtime_ns, info.st_ino, info.st_mode, info.st_uid, info.st_gid]


def reason(error):
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def open_regular(fd, name):
    here = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
    if not stat.S_ISREG(os.fstat(here).st_mode):
        os.close(here)
        raise Refusal("not a regular file")
    return here


def facts(info):
    return [info.st_size, info.st_mtime_ns, info.st_ino]
