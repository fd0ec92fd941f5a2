"""Second half of rebuild.py: writes Maildirs. In an archive it follows rebuild_source.py in one file (readme.py joins them)."""

from __future__ import annotations

import argparse
import collections
import hashlib
import json
import os
import re
import sqlite3
import sys
from collections.abc import Callable, Iterator
from typing import IO

from failsafe.backup.archive.rebuild_source import (
    FORMAT,
    PIECE,
    Damage,
    Report,
    Row,
    Source,
    encoded,
    make,
    safe_parts,
    say,
    shown,
    write_new,
)

MAILDIR_PARTS = ("cur", "new", "tmp")
OUR_FILES = ("dovecot-uidlist", "dovecot-keywords", "maildirfolder")  # written from the manifests, never copied
TAKEN = (*MAILDIR_PARTS, *OUR_FILES, "subscriptions", "keywords-lost.txt")  # no folder is called this
LETTERS = "abcdefghijklmnopqrstuvwxyz"  # a Maildir has no more keywords to a folder
NAME_LIMIT = 255 - len(":2,DFPRST") - len(LETTERS)  # bytes of a file name on Linux, less what flags may need
MARK = b"# sha256 of all bytes above this line: "


def folder_parts(folder: Row, layout: str, taken: set[tuple[str, ...]]) -> list[str]:
    """Where a mail folder goes below its mailbox: as on the server, unless the name is no good or taken; never outside."""
    directory = folder["directory"]
    if directory == "" and () not in taken:
        return []
    parts = safe_parts(directory)
    if parts is not None and layout == "maildir++" and (len(parts) != 1 or not parts[0].startswith(".")):
        parts = None
    if parts is not None and any(part in TAKEN or "\n" in part for part in parts):
        parts = None
    if parts is not None and tuple(parts) not in taken:
        return parts
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", folder["name"])[:100] or "_"
    base = "." + plain if layout == "maildir++" else plain
    number, name = 1, base
    while (name,) in taken or name in TAKEN:
        number += 1
        name = "%s-%d" % (base, number)
    return [name]


def base_name(entry: Row, free: Callable[[bytes], bool]) -> bytes:
    """The message's own name, or a fresh one where that is no good or used already in this folder."""
    name = entry["name"]
    raw = encoded(name)
    good = (
        raw
        and not raw.startswith(b".")
        and len(raw) <= NAME_LIMIT
        and not any(bad in raw for bad in (b"/", b"\0", b"\n", b"\r", b":2,"))
    )
    number = 0
    while not good or not free(raw):
        good, number = True, number + 1
        raw = b"%d.%s_%d.failsafe" % (entry["internal_date"], entry["id"][:20].encode(), number)
    return raw


def keyword_letters(folder: Row, counts: collections.Counter[str]) -> tuple[dict[str, str], list[str]]:
    """name -> letter, and the names that found none: the server's letters first, then the most used (most marks are kept)."""
    letters: dict[str, str] = {}
    for number, name in enumerate(folder.get("keyword_letters", [])[: len(LETTERS)]):
        if name and name not in letters and not re.search(r"[\s\0]", name):
            letters[name] = LETTERS[number]
    free = [letter for letter in LETTERS if letter not in letters.values()]
    lost = []
    for name in sorted(set(counts) - set(letters), key=lambda name: (-counts[name], name)):
        if free and name and not re.search(r"[\s\0]", name):
            letters[name] = free.pop(0)
        else:
            lost.append(name)
    return letters, lost


class Mailbox:
    """One mailbox on its way into a Maildir."""

    def __init__(self, source: Source, manifest: Row, target: str, report: Report, with_gone: bool) -> None:
        self.source, self.manifest, self.target, self.report, self.with_gone = source, manifest, target, report, with_gone
        self.name = manifest["mailbox"]
        self.db = sqlite3.connect("")  # a temporary file of its own: a million messages are not held in memory
        self.db.execute("CREATE TABLE place (id TEXT PRIMARY KEY, segment TEXT, start INTEGER, size INTEGER) WITHOUT ROWID")
        self.db.execute("CREATE TABLE name (folder INTEGER, name BLOB, PRIMARY KEY (folder, name)) WITHOUT ROWID")
        self.open_segment: tuple[str, IO[bytes] | None] = ("", None)

    def build(self) -> None:
        for segment in dict.fromkeys(self.manifest["segments"]):
            rows = [(id_, segment, start, size) for id_, start, size in self.source.scan(segment, self.report)]
            self.db.executemany("INSERT OR IGNORE INTO place VALUES (?, ?, ?, ?)", rows)
            self.report.progress(self.name)
        taken: set[tuple[str, ...]] = set()
        subscribed: list[list[str]] = []
        lost: list[str] = []
        for number, folder in enumerate(self.manifest["folders"]):
            parts = folder_parts(folder, self.manifest["layout"], taken)
            taken.add(tuple(parts))
            if "/".join(parts) != folder["directory"]:
                self.report.note("%s: folder %r is written to %r" % (self.name, folder["name"], "/".join(parts)))
            self.folder(number, folder, os.path.join(self.target, *parts), lost)
            if folder.get("subscribed"):
                subscribed.append(parts)
        if lost:
            write_new(os.path.join(self.target, "keywords-lost.txt"), "".join(lost).encode("utf-8", "backslashreplace"))
            self.report.note("%s: a Maildir folder holds 26 keywords; what found no place is in keywords-lost.txt" % self.name)
        self.control_files()
        self.subscriptions(subscribed)
        if self.open_segment[1]:
            self.open_segment[1].close()
        self.db.close()

    def entries(self, folder: Row, quiet: bool = False) -> Iterator[Row]:
        """Entries of all shards that can be read; a damaged shard is told once."""
        count = 0
        for shard in folder["shards"]:
            try:
                for entry in self.source.rows("shards", shard):
                    count += 1
                    if self.with_gone or entry.get("gone_at") is None:
                        yield entry
            except (Damage, ValueError) as error:
                if not quiet:
                    self.report.problem("%s / %s: %s: up to 1000 messages are not written" % (self.name, folder["name"], error))
                count = folder["messages"]
        if count != folder["messages"] and not quiet:
            self.report.problem(
                "%s / %s: %d messages are promised, %d listed" % (self.name, folder["name"], folder["messages"], count)
            )

    def folder(self, number: int, folder: Row, target: str, lost: list[str]) -> None:
        for part in MAILDIR_PARTS:
            make(os.path.join(target, part))
        if target != self.target and self.manifest["layout"] == "maildir++":
            write_new(os.path.join(target, "maildirfolder"), b"")
        counts = collections.Counter(word for entry in self.entries(folder, quiet=True) for word in entry.get("keywords", []))
        letters, without = keyword_letters(folder, counts)
        lost.extend("%s\t%s\t%d messages\n" % (folder["name"], word, counts[word]) for word in without)
        if letters:
            lines = sorted((LETTERS.index(letter), word) for word, letter in letters.items())
            write_new(os.path.join(target, "dovecot-keywords"), b"".join(encoded("%d %s\n" % line) for line in lines))
        self.messages(number, folder, target, letters)

    def messages(self, number: int, folder: Row, target: str, letters: dict[str, str]) -> None:
        uids: set[int] = set()
        highest = 0
        body = os.path.join(target, "tmp", "uidlist")
        with open(body, "xb") as listing:
            for entry in self.entries(folder):
                raw = self.message(number, folder, target, entry, letters)
                uid = entry.get("uid")
                highest = max(highest, uid or 0)  # a UID in use, even where its message is damaged, is never given again
                if raw is None or uid is None:
                    continue
                if uid in uids:
                    self.report.note(
                        "%s / %s: UID %d is there twice; the second is numbered anew" % (self.name, folder["name"], uid)
                    )
                    continue
                uids.add(uid)
                listing.write(b"%d :%s\n" % (uid, raw))
        if folder.get("uid_validity"):
            head = b"3 V%d N%d" % (folder["uid_validity"], max(folder.get("uid_next") or 1, highest + 1))
            if re.match(r"[0-9a-f]{32}\Z", folder.get("guid") or ""):
                head += b" G" + folder["guid"].encode()
            with open(body, "rb") as listing:
                write_new(os.path.join(target, "dovecot-uidlist"), head + b"\n" + listing.read())
        os.unlink(body)

    def message(self, number: int, folder: Row, target: str, entry: Row, letters: dict[str, str]) -> bytes | None:
        """Writes one message; gives its base name, or None where it is missing or damaged."""
        where = "%s / %s / %s" % (self.name, folder["name"], entry["name"])
        place = self.db.execute("SELECT segment, start, size FROM place WHERE id = ?", (entry["id"],)).fetchone()
        if place is None:
            self.report.problem("%s: missing, %s is in no segment" % (where, entry["id"]))
            return None
        raw = base_name(entry, lambda name: self.take_name(number, name))
        if raw != encoded(entry["name"]):
            self.report.note("%s: written as %s" % (where, raw.decode("utf-8", "surrogateescape")))
        unfinished = os.path.join(encoded(target), b"tmp", raw)
        if not self.copy(place, entry, unfinished):
            os.unlink(unfinished)
            self.report.problem("%s: damaged, its bytes do not match %s" % (where, entry["id"]))
            return None
        flags = "".join(sorted(set(entry.get("flags", "")) & set("DFPRST")))
        flags += "".join(sorted(letters[word] for word in entry.get("keywords", []) if word in letters))
        os.utime(unfinished, (entry["internal_date"], entry["internal_date"]))
        os.rename(unfinished, os.path.join(encoded(target), b"cur", raw + b":2," + flags.encode()))
        self.report.messages += 1
        self.report.bytes += entry["size"]
        self.report.progress(self.name)
        return raw

    def copy(self, place: tuple[str, int, int], entry: Row, path: bytes) -> bool:
        segment, start, left = place
        digest = hashlib.sha256()
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as out:
            file = self.segment(segment)
            file.seek(start)
            while left > 0:
                try:
                    piece = file.read(min(left, PIECE))
                except OSError:  # a bad sector: this message is damaged, others need not be
                    break
                if not piece:
                    break
                left -= len(piece)
                digest.update(piece)
                out.write(piece)
        return digest.hexdigest() == entry["id"] and bool(place[2] == entry["size"])

    def segment(self, name: str) -> IO[bytes]:
        known, file = self.open_segment
        if file is None or known != name:
            if file is not None:
                file.close()
            file = open(self.source.path("segments", name), "rb")
            self.open_segment = (name, file)
        return file

    def take_name(self, folder: int, raw: bytes) -> bool:
        return bool(self.db.execute("INSERT OR IGNORE INTO name VALUES (?, ?)", (folder, raw)).rowcount == 1)

    def control_files(self) -> None:
        for row in self.manifest["files"]:
            parts = safe_parts(row["path"])
            ours = parts and (parts[-1] in OUR_FILES or parts[-1].startswith(("dovecot.index", "dovecot.list.index")))
            if parts is None or any(part in MAILDIR_PARTS for part in parts[:-1]):
                self.report.problem("%s: control file %r has no safe name and is not written" % (self.name, row["path"]))
            elif not ours:
                copy_file(self.source, row, os.path.join(self.target, *parts), self.report)

    def subscriptions(self, folders: list[list[str]]) -> None:
        """Where the server's own file is not in the archive: version 2 of Dovecot's, with tabs between the levels."""
        path = os.path.join(self.target, "subscriptions")
        if os.path.lexists(path) or not folders:
            return
        lines = []
        for parts in folders:
            levels = parts[0][1:].split(".") if parts and self.manifest["layout"] == "maildir++" else parts
            lines.append(encoded("\t".join(levels) or "INBOX"))
        write_new(path, b"V\t2\n\n" + b"".join(line + b"\n" for line in lines))


def copy_file(source: Source, row: Row, path: str, report: Report) -> None:
    """One file of the server; content that is not right is not written."""
    try:
        data = source.read("files", row["digest"])
        make(os.path.dirname(path))
        write_new(path, data, row["mode"], row["mtime"])
        report.files += 1
    except (Damage, OSError) as error:
        report.problem("file %s: %s" % (row["path"], error))


def copy_list(source: Source, name: str, target: str, report: Report) -> None:
    """Files of the server below a folder of their own, and a text that says whose each was."""
    owners = []
    try:
        for row in source.rows("lists", name):
            parts = safe_parts(row["path"])
            if parts is None:
                report.problem("file %r has no safe name and is not written" % row["path"])
                continue
            copy_file(source, row, os.path.join(target, *parts), report)
            owners.append("%d:%d %04o %s\n" % (row["uid"], row["gid"], row["mode"], json.dumps(row["path"])))
    except (Damage, ValueError) as error:
        report.problem(str(error))
    if owners:
        write_new(target + "-owners.txt", "".join(owners).encode("ascii"))


def mailbox_folder(mailbox: str) -> tuple[str, str]:
    """DOMAIN/USER as two safe components. A leading "_" is doubled: _server is ours, and so is _odd, for names that are no good."""
    user, _, domain = mailbox.rpartition("@")
    parts = safe_parts("%s/%s" % (domain if user else "_local", user or domain))
    if parts is None or len(parts) != 2 or "\n" in mailbox:
        plain = re.sub(r"[^A-Za-z0-9@._-]", "_", mailbox)[:100]
        return "_odd", "%s-%s" % (plain, hashlib.sha256(encoded(mailbox)).hexdigest()[:12])
    return (("_" + parts[0]) if parts[0].startswith("_") and user else parts[0], parts[1])


def prepare(dest: str, parts: tuple[str, ...]) -> str:
    """Makes an empty folder below DEST, through no symbolic link."""
    path = dest
    for part in parts:
        path = os.path.join(path, part)
        if os.path.islink(path) or (os.path.lexists(path) and not os.path.isdir(path)):
            raise Damage("%s is a link or a file, not a folder" % path)
        make(path)
    if os.listdir(path):
        raise Damage("%s is not empty; choose another DEST" % path)
    return path


def build_mailbox(source: Source, generation: Row, mailbox: str, options: argparse.Namespace, report: Report) -> None:
    """Raises Damage where nothing of this mailbox can be written."""
    if mailbox not in generation["mailboxes"]:
        raise Damage("is not in this snapshot")
    parts = mailbox_folder(mailbox)
    if parts[0] == "_odd":
        report.note("mailbox %r is written to %s/%s" % (mailbox, *parts))
    manifest = json.loads(source.read("mailboxes", generation["mailboxes"][mailbox]))
    if manifest["format"] != FORMAT or manifest["layout"] not in ("maildir++", "fs") or manifest["mailbox"] != mailbox:
        raise Damage("has a manifest that this program does not understand")
    Mailbox(source, manifest, prepare(options.dest, parts), report, options.with_gone).build()


def rebuild(source: Source, generation: Row, options: argparse.Namespace, report: Report) -> None:
    chosen = sorted(set(options.mailbox)) if options.mailbox else sorted(generation["mailboxes"])
    for mailbox in chosen:
        say("mailbox %s" % shown(mailbox))
        try:
            build_mailbox(source, generation, mailbox, options, report)
        except Damage as error:
            report.problem("mailbox %s: %s" % (mailbox, error))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            report.problem("mailbox %s: a damaged manifest, %r" % (mailbox, error))
    for missing in generation["missing"]:
        if missing["mailbox"] in chosen or not missing["mailbox"]:
            report.problem("%(mailbox)s / %(folder)s / %(name)s was not in the backup: %(why)s" % missing)
    if generation["result"] != "ok" and not generation["missing"]:
        report.problem("the backup that made this snapshot ended as %r" % generation["result"])
    for key, folder in (("files", "_server"), ("controller", "_controller")):
        if generation.get(key) and not options.mailbox:
            copy_list(source, generation[key], prepare(options.dest, (folder,)), report)


def arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Makes Maildirs from the failsafe archive that this program lies in.")
    parser.add_argument("dest", metavar="DEST", help="the folder to write into; made if missing")
    parser.add_argument("--mailbox", action="append", metavar="USER@DOMAIN", help="only this one (may be repeated)")
    parser.add_argument("--with-gone", action="store_true", help="also messages that had vanished from the server unexpectedly")
    parser.add_argument("--generation", type=int, metavar="N", help="which one, where several generation files are here")
    parser.add_argument(
        "--archive", default=os.path.dirname(os.path.abspath(__file__)), metavar="FOLDER", help="default: where this program is"
    )
    return parser.parse_args(given)


def check_self(report: Report) -> None:
    """The copy in an archive ends with its own digest (the one in failsafe's source does not)."""
    with open(os.path.abspath(__file__), "rb") as file:
        data = file.read()
    above, found, tail = data.rpartition(b"\n" + MARK)
    if found and tail != hashlib.sha256(above + b"\n").hexdigest().encode() + b"\n":
        report.problem("this program itself is damaged: take rebuild.py from another snapshot")


def main(given: list[str] | None = None) -> int:
    options, report = arguments(given), Report()
    source = Source(os.path.abspath(options.archive))
    try:
        check_self(report)
        generation = source.generation(options.generation)
        options.dest = os.path.abspath(options.dest)
        make(options.dest)
    except (Damage, OSError, ValueError, KeyError) as error:
        say("rebuild.py: %s" % error)
        return 2
    say("generation %d of %s, made at %s, result %s" % tuple(generation[key] for key in ("number", "server", "at", "result")))
    stopped = False
    try:
        rebuild(source, generation, options, report)
        os.sync()
    except (Damage, OSError) as error:  # such as a full disk: what is listed below it is not all there is
        report.problem("stopped early: %s" % error)
        stopped = isinstance(error, OSError)
    for note in report.notes:
        say("note: %s" % shown(note))
    for problem in report.problems:
        say("PROBLEM: %s" % shown(problem))
    if report.more:
        say("PROBLEM: and %d more" % report.more)
    total = len(report.problems) + report.more
    say("%d messages (%.1f MB) and %d files written, %d problems" % (report.messages, report.bytes / 1e6, report.files, total))
    return 3 if stopped else 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
