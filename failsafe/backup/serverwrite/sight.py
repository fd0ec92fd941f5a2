"""What is there already."""

# mypy: ignore-errors
# ruff: noqa: UP031
# Old Pythons run this as it stands, in one file with the other parts; tests run it, types are not checked.
import contextlib
import grp
import json
import os
import pwd
import shutil

from failsafe.backup.serverwrite.ground import COUNTED, WORK, Refusal


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
