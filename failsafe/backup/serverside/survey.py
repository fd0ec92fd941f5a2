"""Every mailbox, with the stamps of its folders, and what lies beside them and is no mail."""

# mypy: ignore-errors
# Old Pythons run this as it stands, in one file with the other parts; tests run it, types are not checked.
import contextlib
import errno
import os
import re
import stat

from failsafe.backup.serverside.ground import (
    BESIDE,
    DBOX,
    DEPTH,
    MBOX,
    PLACES,
    SUBS,
    Refusal,
    facts,
    file_row,
    folder,
    is_folder,
    look,
    names_in,
    open_regular,
    reason,
    stamp,
    stamps,
    text,
)


class Survey:
    """What one mailbox consists of, without listing its messages. What looks like mail and is not read is a problem, never passed over."""

    def __init__(self, fd):
        self.fd, self.folders, self.files, self.problems, self.layout, self.base = fd, [], [], [], "maildir++", b""
        self.skipped = []  # control files that are no regular files, such as the usual link .dovecot.sieve
        self.left = PLACES

    def run(self):
        """Where the Maildir is, below the mailbox's own folder; None where there is no mail."""
        for base in (b"",) if max(stamps(self.fd)) >= 0 else (b"Maildir", b""):
            if self.maildir(base):
                break
        if not any(row[0].startswith(".") for row in self.folders) and len(self.folders) > 1:
            self.layout = "fs"
        return base if self.folders or self.problems else None

    def maildir(self, base):
        """Whether it is there. One without cur and new of its own, but with folders, has an empty INBOX."""
        if base and not is_folder(look(self.fd, base)):
            self.link(self.fd, base, base)
            return bool(self.problems)
        self.base = base + b"/" if base else b""
        with folder(self.fd, [base] if base else []) as home:
            has_inbox = self.folder(home, b"")
            self.children(home, b"", 0, read=True, mail=False)
            if self.folders and not has_inbox and not {row[0] for row in self.folders} & {"INBOX", ".INBOX"}:
                self.folders.insert(0, ["", -1, -1, None, None])
            self.control_files(home, self.base)
        if base and self.folders:
            self.base = b""
            self.control_files(self.fd, b"")
            self.children(self.fd, b"", 0, read=False, mail=False, known=base)
        return bool(self.folders or self.problems)

    def folder(self, fd, path):
        times = stamps(fd)
        for sub in SUBS:
            self.link(fd, sub, path + b"/" + sub)
        if max(times) < 0:
            return False
        self.folders.append([text(path), *times, stamp(fd, b"dovecot-uidlist"), stamp(fd, b"dovecot-keywords")])
        if path:
            self.control(fd, b"dovecot-acl", self.base + path + b"/dovecot-acl")
        return True

    def visit(self, parent, name, path, depth, read):
        """`read` False: where no mail server has folders of this mailbox."""
        try:
            with folder(parent, [name]) as fd:
                mail = read and self.folder(fd, path)
                why = "" if mail else self.foreign(fd, name)
                if why:
                    self.problems.append([text(path), why])
                elif depth >= DEPTH:
                    self.problems.append([text(path), f"nested deeper than {DEPTH} folders; what is below was not looked at"])
                elif mail or not self.spent(path):
                    self.children(fd, path + b"/", depth + 1, read and not name.startswith(b"."), mail)
        except OSError as error:
            if read:
                self.problems.append([text(path), reason(error)])
            elif error.errno != errno.ENOENT:
                self.skipped.append(text(path))

    def children(self, fd, path, depth, read, mail, known=b"tmp"):
        """`mail`: the folder holds messages itself, and files of the mail server."""
        for name in names_in(fd):
            if name in (b"cur", b"new", b"tmp", known) or (mail and not read and name.startswith(BESIDE)):
                continue
            info = look(fd, name)
            if is_folder(info):
                self.visit(fd, name, path + name, depth, read and not (depth and name.startswith(b".")))
            elif not mail and may_be_mbox(name, info):
                if not self.spent(path.rstrip(b"/") or b".") and is_mbox(fd, name):
                    self.problems.append([text(path + name), MBOX])
            elif read:
                self.link(fd, name, path + name)

    def spent(self, path):
        """Looking through what is no mail has an end."""
        self.left -= 1
        if self.left == -1:
            self.problems.append(
                [text(path), f"more than {PLACES} files and folders without mail; not all were looked through for it"]
            )
        return self.left < 0

    def foreign(self, fd, name):
        """Why a folder that is not read looks like mail; "" where it does not."""
        names = names_in(fd)
        if name == b"dbox-Mails" or (name == b"storage" and any(re.match(rb"m\.\d+\Z", one) for one in names)):
            return DBOX
        for sub in SUBS:
            with contextlib.suppress(OSError), folder(fd, [sub]) as here:
                if any(not one.startswith(b".") for one in names_in(here)):
                    return "a Maildir that is no folder of this mailbox; it was not archived"
        return ""

    def link(self, parent, name, path):
        """A link to a folder may hide mail: it is not followed, and said."""
        info = look(parent, name)
        if info is not None and stat.S_ISLNK(info.st_mode):
            with contextlib.suppress(OSError):
                if stat.S_ISDIR(os.stat(name, dir_fd=parent).st_mode):
                    self.problems.append([text(path), "a symbolic link to a folder; links are not followed"])

    def control(self, fd, name, path):
        info = look(fd, name)
        if info is not None and stat.S_ISREG(info.st_mode):
            self.files.append(file_row(path, info))
        elif info is not None and not is_folder(info):
            self.skipped.append(text(path))

    def control_files(self, fd, path):
        for name in names_in(fd):
            if (
                name in (b"subscriptions", b"dovecot-acl", b"dovecot-acl-list")
                or name.startswith(b"dovecot-uidvalidity")
                or name.endswith(b".sieve")
            ):
                self.control(fd, name, path + name)
            elif name == b"sieve" or (name == b"home" and path == self.base):
                with contextlib.suppress(OSError), folder(fd, [name]) as below:
                    self.control_files(below, path + name + b"/")


def may_be_mbox(name, info):
    return info is not None and stat.S_ISREG(info.st_mode) and info.st_size >= 5 and not name.startswith(BESIDE)


def begins_with(fd, name, magic):
    """False too where it cannot be read."""
    with contextlib.suppress(OSError, Refusal):
        here = open_regular(fd, name)
        try:
            return os.read(here, len(magic)) == magic
        finally:
            os.close(here)
    return False


def is_mbox(fd, name):
    return begins_with(fd, name, b"From ")


DATABASE_ENDS = (b"-wal", b"-shm", b"-journal")


def is_database(fd, name, names):
    """A file of SQLite's; only those are opened whose name, or what lies beside them, lets one expect it."""
    likely = name.endswith((b".db", b".sqlite", b".sqlite3", b".db3")) or any(name + end in names for end in DATABASE_ENDS)
    return likely and begins_with(fd, name, b"SQLite format 3\0")


def database_facts(fd, name):
    """Its facts, which change too while all that is new stands in its write-ahead log."""
    size, mtime, inode = facts(os.stat(name, dir_fd=fd, follow_symlinks=False))
    log = look(fd, name + b"-wal")
    return [size + log.st_size, max(mtime, log.st_mtime_ns), inode] if log else [size, mtime, inode]
