"""Mailboxes, folders and files by their names."""

# mypy: ignore-errors
# ruff: noqa: B905, UP031
# Old Pythons run this as it stands, in one file with the other parts; tests run it, types are not checked.
import contextlib
import errno
import fnmatch
import json
import os
import stat
import time

from failsafe.backup.serverside.ground import (
    CHUNK,
    ENTRY,
    FILES,
    MBOX,
    RESTORING,
    SUBS,
    Refusal,
    as_owner,
    file_row,
    folder,
    is_folder,
    look,
    names_in,
    parts_of,
    reason,
    stamps,
    text,
)
from failsafe.backup.serverside.survey import DATABASE_ENDS, Survey, database_facts, is_database, is_mbox, may_be_mbox


def place_of(mailbox, layout):
    """Where DOMAIN/USER lies below the root."""
    parts = parts_of(mailbox)
    if not parts or text(parts[0]) in layout["skip"]:
        raise Refusal("not a mailbox: %s" % ascii(text(mailbox[:200])))
    domain, user = [*parts, b""][:2]
    return [user + b"@" + domain] if layout["naming"] == "user@domain" and user else parts


def flat_mailboxes(root):
    """Mailu's way: one level, USER@DOMAIN."""
    for name in names_in(root):
        if name == RESTORING:
            continue
        user, _, domain = name.rpartition(b"@")
        if is_folder(look(root, name)) and user and domain:
            yield domain + b"/" + user
        elif is_folder(look(root, name)):
            with contextlib.suppress(OSError), folder(root, [name]) as fd, as_owner(fd):
                if Survey(fd).run() is not None:
                    yield path_problem(name, "mail in a folder whose name is not USER@DOMAIN; it was not archived")
        else:
            yield from no_folder(root, name, name)


def mailboxes(root, frames, layout):
    if layout["naming"] == "user@domain":
        yield from flat_mailboxes(root)
        return
    for domain in names_in(root):
        if text(domain) in layout["skip"] or domain == RESTORING:
            continue
        if not is_folder(look(root, domain)):
            yield from no_folder(root, domain, domain)
            continue
        try:
            with folder(root, [domain]) as fd:
                if max(stamps(fd)) >= 0:
                    yield path_problem(domain, "a Maildir where a domain's folder is expected (DOMAIN/USER); it was not archived")
                    continue
                users = names_in(fd)
                if domain in SUBS and any(not is_folder(look(fd, user)) for user in users):
                    yield path_problem(
                        domain, "messages: the path is a Maildir itself; it must be the folder that holds DOMAIN/USER/ Maildirs"
                    )
                for user in users:
                    frames.tick()
                    path = domain + b"/" + user
                    if is_folder(look(fd, user)):
                        yield path
                    else:
                        yield from no_folder(fd, user, path)
        except OSError as error:
            yield path_problem(domain, reason(error))


def no_folder(parent, name, path):
    """What may hide mail where a folder is expected."""
    info = look(parent, name)
    if info is not None and stat.S_ISLNK(info.st_mode):
        with contextlib.suppress(OSError):
            if stat.S_ISDIR(os.stat(name, dir_fd=parent).st_mode):
                yield path_problem(path, "a symbolic link to a folder; links are not followed")
    elif may_be_mbox(name, info) and is_mbox(parent, name):
        yield path_problem(path, MBOX)


def path_problem(path, why):
    return {"mailbox": text(path), "error": why}


def list_mailboxes(frames, root, layout):
    for path in mailboxes(root, frames, layout):
        if isinstance(path, dict):
            frames.say(b"J", path)
            continue
        try:
            with folder(root, place_of(path, layout)) as fd, as_owner(fd):
                survey = Survey(fd)
                base = survey.run()
        except OSError as error:
            frames.say(b"J", path_problem(path, reason(error)))
            continue
        if base is not None:
            frames.pack(
                b"J",
                json.dumps(
                    {
                        "mailbox": text(path),
                        "base": text(base),
                        "layout": survey.layout,
                        "folders": survey.folders,
                        "files": survey.files,
                        "problems": survey.problems,
                        "skipped": survey.skipped,
                    }
                ).encode(),
            )


def list_folder(frames, fd):
    """One pass over a folder: its stamps before and after say whether it held still."""
    before, rows, size, problems = stamps(fd), [], 0, []
    for number in (1, 0):  # new first: what is moved to cur meanwhile is then seen twice, not missed
        if before[number] < 0:
            continue
        with folder(fd, [SUBS[number]]) as here:
            for name in os.listdir(here):
                raw = os.fsencode(name)
                info = look(here, name)
                if info is None or raw.startswith(b"."):
                    continue
                if not stat.S_ISREG(info.st_mode):
                    problems.append([text(raw), "not a regular file"])
                    continue
                row = ENTRY.pack(number, info.st_size, info.st_mtime_ns, info.st_ino, len(raw)) + raw
                rows.append(row)
                size += len(row)
                if size > CHUNK:
                    frames.pack(b"D", b"".join(rows))
                    rows, size = [], 0
                    frames.tick()
    if rows:
        frames.pack(b"D", b"".join(rows))
    return {"before": before, "after": stamps(fd), "now": int(time.time() * 1e9), "problems": problems}


def list_folders(frames, root, layout, fields):
    for mailbox, path in zip(fields[::2], fields[1::2]):
        try:
            with folder(root, place_of(mailbox, layout)) as box, as_owner(box), folder(box, parts_of(path)) as fd:
                answer = list_folder(frames, fd)
        except OSError as error:
            answer = {"error": reason(error), "gone": error.errno == errno.ENOENT}
        frames.say(b"J", answer)
        frames.tick()


def list_files(frames, tree):
    """Everything below an extra path. The path itself is the administrator's word and may be a link; nothing below is followed."""
    top = tree["path"]
    info = os.stat(top)
    if not stat.S_ISDIR(info.st_mode):
        special = not stat.S_ISREG(info.st_mode)
        frames.say(b"J", {"problem": ["", "not a regular file"]} if special else {"file": file_row(b"", info)})
        return
    count, waiting = 0, [b""]
    while waiting:
        path = waiting.pop()
        try:
            with folder_of(top, path) as fd:
                rows = list(rows_of(fd, path, tree["leave_out"]))
        except OSError as error:
            frames.say(b"J", {"problem": [text(path), reason(error)]})
            continue
        for below, info, link in rows:
            if isinstance(info, os.stat_result):
                waiting.append(below)
            elif info is not None:
                count += 1
                if count > FILES:
                    raise Refusal(f"more than {FILES} files below {text(top)}")
                frames.say(b"J", {"file": info})
            else:
                frames.say(b"J", {"skipped": text(below), "link": link})
            frames.tick()


def rows_of(fd, path, leave_out):
    """(path below the top, facts of a folder, a file's row or None, where a link points) of each name in a folder."""
    names = names_in(fd)
    databases = {name for name in names if is_database(fd, name, names)}
    for name in names:
        below = path + b"/" + name if path else name
        if matches(below, leave_out):
            continue
        info = look(fd, name)
        if any(name == database + end for database in databases for end in DATABASE_ENDS) or info is None:
            continue  # what SQLite keeps beside a database is in the copy of it
        if is_folder(info):
            yield below, info, ""
        elif stat.S_ISREG(info.st_mode):
            row = file_row(below, info)
            if name in databases:
                row[1:4] = database_facts(fd, name)
            yield below, row, ""
        else:
            yield below, None, text(os.readlink(name, dir_fd=fd)) if stat.S_ISLNK(info.st_mode) else ""


def matches(path, patterns):
    return any(fnmatch.fnmatchcase(text(path), pattern) for pattern in patterns)


def is_left_out(path, leave_out):
    """Whether a listing would not come to it: it, or a folder that it lies in, is left out."""
    parts = path.split(b"/")
    return any(matches(b"/".join(parts[: count + 1]), leave_out) for count in range(len(parts)))


@contextlib.contextmanager
def folder_of(top, path):
    fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with folder(fd, parts_of(path)) as here:
            yield here
    finally:
        os.close(fd)
