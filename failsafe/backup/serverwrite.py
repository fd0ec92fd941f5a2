#!/usr/bin/env python3
"""failsafe's side on a mail server that is being restored: one file, Python 3.6 or newer, standard library only. It is sent over SSH for one run.

It writes what it is given, and only below three places: the folder of mailboxes, the server's own files, and a folder of our own (work) beside
the mailboxes. Below the folder of mailboxes no link is followed at all; elsewhere only links that root alone could have made. A file appears
under its name when it is whole: temporary file, owner, mode, date, rename. What is right already is left. What stood in the way is moved into work, never deleted.
Requests are JSON objects, NUL-terminated, some followed by a file's bytes; answers are frames as in serverside.py. Killed at any moment, the next run goes on.
"""

# mypy: ignore-errors
# ruff: noqa: UP031
# Old Pythons run this file as it stands; tests run it, types are not checked.
import contextlib
import errno
import fcntl
import grp
import hashlib
import json
import os
import pwd
import select
import shutil
import signal
import stat
import struct
import subprocess
import sys
import threading
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


# ---------------------------------------------------------------- what is there


def messages_below(root, most):
    """(mailboxes, messages) as far as `most` messages; folders of ours are none."""
    mailboxes, messages = set(), 0
    for path, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(WORK)]
        if os.path.basename(path) in ("cur", "new"):
            mailboxes.add(os.path.dirname(path))
            messages += sum(not name.startswith(".") for name in files)
            if messages > most:
                break
    return len(mailboxes), messages


def work_of(root):
    """Beside the folder of mailboxes; inside it where that is a file system of its own, since only a rename moves mailboxes at once."""
    parent = os.path.dirname(root)
    while not os.path.isdir(parent):
        parent = os.path.dirname(parent)
    same = not os.path.isdir(root) or os.stat(root).st_dev == os.stat(parent).st_dev
    return root + WORK if same else os.path.join(root, WORK)


def make_parents(path):
    parent = os.path.dirname(path)
    if not os.path.isdir(parent):
        make_parents(parent)
        os.mkdir(parent)
        os.chmod(parent, 0o755)


def survey(root):
    place = root
    while not os.path.isdir(place):
        place = os.path.dirname(place)
    room = os.statvfs(place)
    info = os.stat(place)
    mailboxes, messages = messages_below(root, COUNTED) if place == root else (0, 0)
    work = work_of(root)
    journal, marker = [], None
    with contextlib.suppress(OSError, ValueError):
        with open(os.path.join(work, "marker.json")) as file:
            marker = json.load(file)
        with open(os.path.join(work, "journal")) as file:
            journal = [line.rstrip("\n") for line in file if line.endswith("\n")]
    return {
        "exists": place == root,
        "folders": mailboxes,
        "messages": messages,
        "owner": [info.st_uid, info.st_gid],
        "bytes_free": room.f_bavail * room.f_frsize,
        "inodes_free": room.f_favail if room.f_files else None,
        "work": work,
        "marker": marker,
        "journal": journal,
        "restic": shutil.which("restic") is not None,
        "user": os.geteuid(),
    }


def numbers_of(name):
    """UID and GID of "USER", "USER:GROUP" or numbers."""
    user, _, group = name.partition(":")
    try:
        entry = None if user.isdigit() else pwd.getpwnam(user)
        uid = int(user) if entry is None else entry.pw_uid
        if not group:
            return [uid, pwd.getpwuid(uid).pw_gid if entry is None else entry.pw_gid]
        return [uid, int(group) if group.isdigit() else grp.getgrnam(group).gr_gid]
    except KeyError:
        raise Refusal("there is no user or group %s on the server" % name) from None


def nameless(numbers):
    """Those numbers of users that have no name here."""
    found = []
    for number in numbers:
        try:
            pwd.getpwuid(number)
        except KeyError:
            found.append(number)
    return found


# ---------------------------------------------------------------- the restore


class Restore:
    """One run. `root` holds the mailboxes; `work` is ours: marker, journal, archive, what was replaced."""

    def __init__(self, wire, root, owner):
        self.wire, self.root_path, self.work = wire, root, work_of(root)
        make_parents(root)
        if not os.path.isdir(root):
            os.mkdir(root)
            os.chmod(root, 0o755)
            os.chown(root, *owner)
        self.root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.slash = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        if not os.path.isdir(self.work):
            os.mkdir(self.work, 0o700)
        info = os.lstat(self.work)
        if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o077:
            raise Refusal("%s must be a folder of ours alone (mode 0700); move it away" % self.work)
        self.lock = os.open(os.path.join(self.work, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.take_lock()
        self.building = None
        self.open_folders = {}
        self.written = 0
        self.problems = []

    def take_lock(self):
        """One run at a time; the end of one that was cut off a moment ago is waited for."""
        for left in range(40, -1, -1):
            try:
                fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError:
                if not left:
                    raise Refusal("another restore is at work there (it holds %s/lock)" % self.work) from None
                time.sleep(0.25)

    def base(self, scope):
        """ "mail": the folder of mailboxes; "new": ours, where a mailbox is built before it appears there; "server": all else."""
        if scope == "new" and self.building is None:
            place = os.path.join(self.work, "new")
            os.makedirs(place, 0o700, exist_ok=True)
            self.building = os.open(place, FOLDER_FLAGS)
        return {"mail": self.root, "new": self.building}.get(scope, self.slash)

    def folder(self, scope, path):
        """A descriptor that stays open for a while: messages come folder by folder."""
        key = (scope, path)
        if key not in self.open_folders:
            if len(self.open_folders) >= 64:
                self.close_folders()
            self.open_folders[key] = descend(self.base(scope), parts_of(path), links=scope == "server")
        return self.open_folders[key]

    def close_folders(self):
        for fd in self.open_folders.values():
            os.close(fd)
        self.open_folders = {}

    def mark(self, marker):
        self.put(os.path.join(self.work, "marker.json"), json.dumps(marker).encode())

    def put(self, path, data):
        with open(path + ".tmp", "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.rename(path + ".tmp", path)
        self.sync_folder(os.path.dirname(path))

    def sync_folder(self, path):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def note(self, line):
        """Done for good: not done again by a run that goes on, whatever people did with it since."""
        with open(os.path.join(self.work, "journal"), "ab") as file:
            file.write(line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def aside(self, places, stamp):
        """Moves mailboxes that are in the way into work; gives those that were moved."""
        moved = []
        for place in places:
            parts = parts_of(place)
            with contextlib.suppress(FileNotFoundError):
                parent = descend(self.root, parts[:-1])
                try:
                    if look(parent, parts[-1]) is not None:
                        kept = os.path.join(raw(self.work), b"replaced-" + raw(stamp), b"mail", *parts)
                        while os.path.lexists(kept):
                            kept += b"+"
                        os.makedirs(os.path.dirname(kept), 0o700, exist_ok=True)
                        os.rename(parts[-1], kept, src_dir_fd=parent)
                        moved.append(place)
                finally:
                    os.close(parent)
            self.wire.tick()
        return moved

    def folders(self, scope, rows):
        """[path, mode, uid, gid]: made where they lack; what is there keeps its owner and mode."""
        for path, mode, uid, gid in rows:
            try:
                parts = parts_of(path)
                parent = descend(self.base(scope), parts[:-1], links=scope == "server")
                try:
                    self.make(parent, parts[-1], (mode, uid, gid))
                finally:
                    os.close(parent)
            except (OSError, Refusal) as error:
                self.problem(path, error)
            self.wire.tick()

    def make(self, parent, name, facts):
        mode, uid, gid = facts
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            return
        here = os.open(name, FOLDER_FLAGS, dir_fd=parent)
        try:
            own(here, uid, gid)
            os.fchmod(here, mode & 0o7777)
        finally:
            os.close(here)

    def problem(self, path, error):
        self.problems.append([path, reason(error)])

    def appear(self, home, stamp):
        """A whole mailbox at once, so that no mail server sees half of one. What was made in its place meanwhile is moved aside: gives its messages."""
        self.close_folders()
        parts = parts_of(home)
        fresh = descend(self.base("new"), parts[:-1])
        place = descend(self.root, parts[:-1])
        try:
            stood = look(place, parts[-1]) is not None
            if stood:
                self.aside([home], stamp)
            os.rename(parts[-1], parts[-1], src_dir_fd=fresh, dst_dir_fd=place)
            os.fsync(place)
        finally:
            os.close(fresh)
            os.close(place)
        return messages_below(os.path.join(self.work, "replaced-" + stamp, "mail", home), COUNTED)[1] if stood else ""

    def there(self, scope, path, rows, whole):
        """Of [base name, size, digest]: the state of each: 2 there and right, 1 there and wrong, 0 not there. `whole`: read it."""
        found, opened = {}, []
        for sub in SUBS[:2]:
            with contextlib.suppress(FileNotFoundError):
                fd = descend(self.base(scope), [*parts_of(path), sub])
                opened.append(fd)
                for name in os.listdir(fd):
                    found[os.fsencode(name).split(b":2,", 1)[0]] = (fd, os.fsencode(name))
        states = []
        for base, size, digest in rows:
            fd, name = found.get(raw(base), (None, b""))
            info = None if fd is None else look(fd, name)
            if info is None:
                states.append(0)
            elif info.st_size != size or (whole and digest_of(fd, name, self.wire) != digest):
                states.append(1)
            else:
                states.append(2)
            self.wire.tick()
        for fd in opened:
            os.close(fd)
        return states

    def message(self, row, pieces):
        """One message into one folder: into tmp, then under its name in cur. A torn one of an earlier run gives way to it."""
        folder = row["folder"] + "/" if row["folder"] else ""
        scope = row["scope"]
        write_file(
            self.folder(scope, folder + "cur"),
            raw(row["name"]),
            pieces,
            row["facts"],
            row["digest"],
            self.folder(scope, folder + "tmp"),
        )

    def again(self, fd, name):
        here = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        try:
            while True:
                piece = os.read(here, CHUNK)
                if not piece:
                    return
                yield piece
        finally:
            os.close(here)

    def file(self, row, pieces):
        """A file of the server, or one beside messages. Another content that is there is kept in work; in what is being built it is our own."""
        parts = parts_of(row["path"])
        parent = self.folder(row["scope"], text(b"/".join(parts[:-1])))
        info = look(parent, parts[-1])
        if info is not None and row["scope"] != "new":
            self.put_by(parent, parts, info, row["stamp"])
        write_file(parent, parts[-1], pieces, row["facts"], row["digest"])

    def output(self, row, pieces):
        """What is for a person to put in place: below work."""
        place = os.path.join(self.work, "by-hand")
        path = parts_of(row["path"])
        os.makedirs(os.path.join(raw(place), *path[:-1]), 0o700, exist_ok=True)
        fd = descend(self.slash, [*parts_of(place[1:]), *path[:-1]], links=True)
        try:
            write_file(fd, path[-1], pieces, [0o600, os.geteuid(), os.getegid(), row["facts"][3]], row["digest"])
        finally:
            os.close(fd)

    def take(self, deed, row, pieces):
        """Writes one file; what goes wrong is told at the next `settle`. Its bytes are taken in any case, so that the next request follows."""
        try:
            deed(row, pieces)
            self.written += 1
        except (OSError, Refusal) as error:
            self.problem(row.get("path") or "%s/%s" % (row["folder"], row["name"]), error)
        finally:
            for _piece in pieces:
                pass

    def put_by(self, parent, parts, info, stamp):
        """Copies what is about to be replaced; a link or folder in its place is moved or refused."""
        if stat.S_ISDIR(info.st_mode):
            raise Refusal("a folder stands where this file goes")
        kept = os.path.join(raw(self.work), b"replaced-" + raw(stamp), b"server", *parts)
        os.makedirs(os.path.dirname(kept), 0o700, exist_ok=True)
        if os.path.lexists(kept):
            return
        if stat.S_ISLNK(info.st_mode):
            os.symlink(os.readlink(parts[-1], dir_fd=parent), kept)
            os.unlink(parts[-1], dir_fd=parent)
            return
        fd = os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "wb") as out:
            for piece in self.again(parent, parts[-1]):
                out.write(piece)
            own(out.fileno(), info.st_uid, info.st_gid)
            os.fchmod(out.fileno(), stat.S_IMODE(info.st_mode))
            os.utime(out.fileno(), (info.st_mtime, info.st_mtime))

    def standing(self, rows):
        """Of [path, size, digest, mode, uid, gid]: which are there and right, owner and mode put right."""
        right = []
        for number, (path, size, digest, mode, uid, gid) in enumerate(rows):
            with contextlib.suppress(OSError, Refusal):
                parts = parts_of(path)
                parent = self.folder("server", text(b"/".join(parts[:-1])))
                info = look(parent, parts[-1])
                if info is None or not stat.S_ISREG(info.st_mode) or info.st_size != size:
                    continue
                if digest_of(parent, parts[-1], self.wire) != digest:
                    continue
                here = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
                try:
                    own(here, uid, gid)
                    if stat.S_IMODE(info.st_mode) != mode & 0o7777:
                        os.fchmod(here, mode & 0o7777)
                finally:
                    os.close(here)
                right.append(number)
            self.wire.tick()
        return right

    def links(self, rows):
        """[path, where it points]: made where nothing is."""
        made = 0
        for path, target in rows:
            try:
                parts = parts_of(path)
                parent = descend(self.slash, parts[:-1], links=True)
                try:
                    if look(parent, parts[-1]) is None:
                        os.symlink(raw(target), parts[-1], dir_fd=parent)
                        made += 1
                finally:
                    os.close(parent)
            except (OSError, Refusal) as error:
                self.problem(path, error)
        return made

    def archived(self, path):
        """A file of the archive that restic brought into work."""
        return os.path.join(self.work, "archive", *[text(part) for part in parts_of(path)])

    def settle(self):
        """What was written is on the disk now; gives what was not."""
        syncing = threading.Thread(target=os.sync)
        syncing.start()
        while syncing.is_alive():
            syncing.join(1)
            self.wire.tick()
        answer = {"written": self.written, "problems": self.problems[:PROBLEMS], "more": max(0, len(self.problems) - PROBLEMS)}
        self.written, self.problems = 0, []
        return answer

    def remove(self, names):
        """Of our own folder only: what restic brought, its cache."""
        for name in names:
            path = os.path.join(self.work, *[text(part) for part in parts_of(name)])
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path, ignore_errors=True)
            else:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)


def run_command(wire, words, environment, limit):
    """A program's exit status and the end of what it said; ended with its children at the deadline. Its environment is in no argument list."""
    child = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env=dict(os.environ, **environment),
        cwd="/",
    )
    CHILDREN.add(child.pid)
    said, ends = b"", time.time() + limit
    try:
        while time.time() < ends:
            done = child.poll() is not None  # what it started may live on, and hold the pipe
            if select.select([child.stdout], [], [], 0 if done else 0.2)[0]:
                block = os.read(child.stdout.fileno(), CHUNK)
                said = (said + block)[-4000:]
                if not block:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        child.wait(max(0.1, ends - time.time()))
                    break
            elif done:
                break
            wire.tick()
        late = child.poll() is None
    finally:
        if child.poll() is None:
            with contextlib.suppress(OSError):
                os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
        CHILDREN.discard(child.pid)
    return {"status": child.returncode, "late": late, "said": said.decode("utf-8", "replace")}


# ---------------------------------------------------------------- the session


class Session:
    def __init__(self, wire):
        self.wire, self.restore = wire, None

    def answer(self, row):
        """None where the answer waits for `settle`."""
        verb = row["do"]
        if verb == "look":
            return survey(row["root"])
        if verb == "numbers":
            return numbers_of(row["name"])
        if verb == "nameless":
            return nameless(row["numbers"])
        if verb == "run":
            return run_command(self.wire, row["words"], row.get("environment", {}), row["seconds"])
        if verb == "begin":
            self.restore = Restore(self.wire, row["root"], row["owner"])
            return self.restore.work
        if self.restore is None:
            raise Refusal("begin comes first")
        return getattr(self, "do_" + verb)(self.restore, row)

    def do_mark(self, restore, row):
        restore.mark(row["marker"])
        return {}

    def do_note(self, restore, row):
        restore.note(row["line"])
        return {}

    def do_exists(self, restore, row):
        parts = parts_of(row["path"])
        try:
            parent = descend(restore.base(row["scope"]), parts[:-1])
        except FileNotFoundError:
            return False
        try:
            return look(parent, parts[-1]) is not None
        finally:
            os.close(parent)

    def do_appear(self, restore, row):
        return restore.appear(row["home"], row["stamp"])

    def do_aside(self, restore, row):
        return restore.aside(row["places"], row["stamp"])

    def do_folders(self, restore, row):
        restore.folders(row["scope"], row["rows"])

    def do_there(self, restore, row):
        return restore.there(row["scope"], row["folder"], row["rows"], row["whole"])

    def do_standing(self, restore, row):
        return restore.standing(row["rows"])

    def do_links(self, restore, row):
        return restore.links(row["rows"])

    def do_put(self, restore, row):
        """Its bytes follow the request, or lie in a file that restic brought into work."""
        deed = {"message": restore.message, "file": restore.file, "output": restore.output}[row["what"]]
        if "from" in row:
            pieces = pieces_of(restore.archived(row["from"]), row["offset"], row["size"])
        else:
            pieces = self.wire.body(row["size"])
        restore.take(deed, row, pieces)

    def do_settle(self, restore, _row):
        return restore.settle()

    def do_remove(self, restore, row):
        restore.remove(row["names"])
        return {}


def end_with_the_session():
    """When the other side hangs up, everything here ends, whatever it is doing."""
    poll = select.poll()
    poll.register(1, 0)
    poll.poll()
    for group in list(CHILDREN):
        with contextlib.suppress(OSError):
            os.killpg(group, signal.SIGKILL)
    os._exit(1)


def serve():
    os.umask(0o077)
    wire = Wire(sys.stdin.buffer, os.fdopen(os.dup(1), "wb", CHUNK))
    threading.Thread(target=end_with_the_session, daemon=True).start()
    wire.say(b"J", {"hello": "failsafe", "version": VERSION, "python": sys.version.split()[0], "user": os.geteuid()})
    session = Session(wire)
    while True:
        try:
            row = wire.request()
        except EOFError:
            return 0
        try:
            answer = session.answer(row)
            if answer is not None:
                wire.say(b"E", answer)
        except EOFError:
            return 1
        except BrokenPipeError:
            return 1
        except (OSError, Refusal, ValueError, KeyError, AttributeError, TypeError) as error:
            name = getattr(error, "filename", None)
            where = text(name) if isinstance(name, bytes) else name
            wire.say(b"X", {"error": "%s: %s" % (reason(error), where) if where else reason(error)})
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                return 1


if __name__ == "__main__":
    sys.exit(serve())
