"""The restore itself, file by file."""

# mypy: ignore-errors
# ruff: noqa: UP031
# Old Pythons run this as it stands, in one file with the other parts; tests run it, types are not checked.
import contextlib
import fcntl
import json
import os
import shutil
import stat
import threading
import time

from failsafe.backup.serverwrite.ground import (
    CHUNK,
    COUNTED,
    FOLDER_FLAGS,
    PROBLEMS,
    SUBS,
    Refusal,
    descend,
    digest_of,
    look,
    own,
    parts_of,
    raw,
    reason,
    text,
    write_file,
)
from failsafe.backup.serverwrite.sight import make_parents, messages_below, work_of


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
