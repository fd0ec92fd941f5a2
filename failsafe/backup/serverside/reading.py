"""Messages, files and live databases by their content."""

# mypy: ignore-errors
# ruff: noqa: UP031
# Old Pythons run this as it stands, in one file with the other parts; tests run it, types are not checked.
import contextlib
import errno
import hashlib
import os
import stat
import tempfile
import time
import urllib.parse

from failsafe.backup.serverside.ground import (
    CHUNK,
    PASSES,
    QUIET_NS,
    SUBS,
    WHOLE,
    Refusal,
    as_owner,
    descend,
    facts,
    folder,
    names_in,
    open_regular,
    parts_of,
    reason,
    stamps,
    text,
)
from failsafe.backup.serverside.listing import folder_of, is_left_out, place_of
from failsafe.backup.serverside.survey import database_facts, is_database


class Finder:
    """Opens messages of one folder, also those that were renamed since they were listed: the base name stays."""

    def __init__(self, fd):
        self.fd, self.known, self.passes = fd, {}, 0  # base name -> where it was seen last, and in which pass
        self.subs = {}  # descriptors of cur and new, opened once

    def sub(self, sub):
        if sub not in self.subs:
            self.subs[sub] = descend(self.fd, [sub])
        return self.subs[sub]

    def open(self, item):
        sub, _, name = item.partition(b"/")
        if sub not in SUBS or b"/" in name or not name:
            raise Refusal(f"not a message: {text(item)}")
        base = name.split(b":2,", 1)[0]
        for _ in range(2 * PASSES):
            try:
                return open_regular(self.sub(sub), name), sub + b"/" + name
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENAMETOOLONG):  # a name without flags is asked for with some
                    raise
                seen = self.known.get(base)
                if (seen is None or seen[:2] == (sub, name)) and not self.search(base):
                    break
            sub, name, _ = self.known[base]
        return None, item

    def search(self, base):
        """Lists until `base` turns up anew, or it is proved that it is not there: a folder that held still, or PASSES listings."""
        start = self.passes if base in self.known else 0
        while self.passes - start < PASSES:
            exact = self.list()
            if self.known.get(base, (b"", b"", 0))[2] == self.passes:
                return True
            if exact:
                return False
        return False

    def list(self):
        before = stamps(self.fd)
        self.passes += 1
        for sub in reversed(SUBS):  # new first, as in list_folder
            with contextlib.suppress(FileNotFoundError), folder(self.fd, [sub]) as here:
                for name in os.listdir(here):
                    raw = os.fsencode(name)
                    self.known[raw.split(b":2,", 1)[0]] = (sub, raw, self.passes)
        return before == stamps(self.fd) and time.time() * 1e9 - max(before) >= QUIET_NS


def send_content(frames, fd):
    """The content, and whether it was whole and stood still meanwhile."""
    before, count = os.fstat(fd), 0
    while count <= before.st_size:
        block = os.read(fd, CHUNK)
        if not block:
            break
        frames.send(b"D", block)
        count += len(block)
    after = os.fstat(fd)
    return "ok" if count == before.st_size and facts(before) == facts(after) else "changed"


def send_whole(frames, fd, name):
    """A small file that stood still, in one frame: head, name, content. False where it is none: nothing was sent."""
    before, content = os.fstat(fd), b""
    while before.st_size <= CHUNK and len(content) <= before.st_size:
        block = os.read(fd, CHUNK + 1)
        if not block:
            break
        content = content + block if content else block
    if before.st_size > CHUNK or len(content) != before.st_size or facts(before) != facts(os.fstat(fd)):
        os.lseek(fd, 0, os.SEEK_SET)
        return False
    frames.send(b"W", b"".join((WHOLE.pack(*facts(before), len(name)), name, content)))
    return True


def send_digest(frames, fd):
    before, digest, count = os.fstat(fd), hashlib.sha256(), 0
    while True:
        block = os.read(fd, CHUNK)
        if not block:
            break
        digest.update(block)
        count += len(block)
        frames.tick()
    after = os.fstat(fd)
    frames.say(b"J", {"sha256": digest.hexdigest()})
    return "ok" if count == before.st_size and facts(before) == facts(after) else "changed"


def answer_file(frames, opener, send):
    """Head (facts and the name it had), content or digest, end (status); a small file's in one frame."""
    try:
        fd, name = opener()
        if fd is None:
            frames.say(b"J", {"status": "gone"})
            return
        try:
            if send is send_content and send_whole(frames, fd, name):
                return
            frames.say(b"J", {"facts": facts(os.fstat(fd)), "name": text(name)})
            frames.say(b"J", {"status": send(frames, fd)})
        finally:
            os.close(fd)
    except FileNotFoundError:
        frames.say(b"J", {"status": "gone"})
    except BrokenPipeError:
        raise
    except (OSError, Refusal) as error:
        frames.say(b"J", {"status": "failed", "why": reason(error)})


def open_path(fd, path):
    parts = parts_of(path)
    with folder(fd, parts[:-1]) as here:
        return open_regular(here, parts[-1]), path


def read_messages(frames, root, layout, fields, send):
    items = iter(fields[2:])
    try:
        with folder(root, place_of(fields[0], layout)) as box, as_owner(box), folder(box, parts_of(fields[1])) as fd:
            finder = Finder(fd)
            try:
                for item in items:
                    answer_file(frames, lambda item=item: finder.open(item), send)
            finally:
                for here in finder.subs.values():
                    os.close(here)
    except OSError as error:
        without(frames, items, error)


def read_control(frames, root, layout, fields):
    items = iter(fields[1:])
    try:
        with folder(root, place_of(fields[0], layout)) as box, as_owner(box):
            for path in items:
                answer_file(frames, lambda path=path: open_path(box, path), send_content)
    except OSError as error:
        without(frames, items, error)


def without(frames, items, error):
    """The folder itself cannot be opened: every file of it is answered for, one by one."""
    if isinstance(error, BrokenPipeError):
        raise error
    for _ in items:
        frames.say(b"J", {"status": "gone" if error.errno == errno.ENOENT else "failed", "why": reason(error)})


def read_files(frames, tree, paths):
    top = tree["path"]
    for path in paths:
        if not path:
            answer_file(frames, lambda: (open_top(top), b""), send_content)
            continue
        parts = parts_of(path)
        if is_left_out(path, tree["leave_out"]):
            raise Refusal("it is left out on purpose: %s" % text(path))
        with folder_of(top, b"") as fd:
            if not read_database(frames, fd, parts):
                answer_file(frames, lambda path=path, fd=fd: open_extra(fd, path), send_content)


def open_top(top):
    """An extra path that is a file itself. It is the administrator's word, and may be a link."""
    fd = os.open(top, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise Refusal("not a regular file")
    return fd


def open_extra(fd, path):
    """Below an extra path. Another's file that somebody linked into a folder of theirs is not theirs to show."""
    parts = parts_of(path)
    with folder(fd, parts[:-1]) as here:
        opened, holder = open_regular(here, parts[-1]), os.fstat(here).st_uid
    info = os.fstat(opened)
    if info.st_nlink > 1 and holder not in (0, info.st_uid):
        os.close(opened)
        raise Refusal("a hard link to another user's file")
    return opened, path


def read_database(frames, fd, parts):
    """Answers with a copy that SQLite itself made of a live database, as one moment saw it; False where it is none."""
    try:
        with folder(fd, parts[:-1]) as here:
            if not is_database(here, parts[-1], names_in(here)):
                return False
            answer_database(frames, here, parts[-1])
            return True
    except BrokenPipeError:
        raise
    except OSError:
        return False  # whoever opens it as a file says why


def answer_database(frames, here, name):
    try:
        fd = open_regular(here, name)
        try:
            with as_owner(fd if os.fstat(here).st_uid in (0, os.fstat(fd).st_uid) else here):
                shown, copy = database_facts(here, name), copy_database(here, name)
        finally:
            os.close(fd)
    except (OSError, Refusal, ValueError) as error:
        frames.say(b"J", {"status": "failed", "why": reason(error)})
        return
    try:
        frames.say(b"J", {"facts": shown, "name": text(name)})
        frames.say(b"J", {"status": send_content(frames, copy)})
    finally:
        os.close(copy)


def copy_database(here, name):
    """A descriptor of the copy, which has no name any more. As the owner of the database, so that a link reaches no further than they do."""
    try:
        import sqlite3
    except ImportError:
        raise Refusal("the Python there has no sqlite3, which a live database needs") from None
    if not hasattr(sqlite3.Connection, "backup"):
        raise Refusal("a live SQLite database needs Python 3.7 there")
    place = "file:/proc/self/fd/%d/%s?mode=ro" % (here, urllib.parse.quote(name))
    copy, path = tempfile.mkstemp(prefix="failsafe-")
    try:
        with contextlib.closing(sqlite3.connect(path)) as target:
            target.execute("PRAGMA journal_mode = OFF")
            os.unlink(path)
            with contextlib.closing(sqlite3.connect(place, uri=True, timeout=20)) as source:
                source.backup(target)
        os.lseek(copy, 0, os.SEEK_SET)
    except BaseException as error:
        os.close(copy)
        with contextlib.suppress(OSError):
            os.unlink(path)
        if isinstance(error, sqlite3.Error):
            raise Refusal(f"SQLite cannot copy the database: {error}") from None
        raise
    return copy
