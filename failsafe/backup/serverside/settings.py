"""Settings; and what holds of a program that is installed: whose the settings must be, who calls, how many of us there may be."""

# mypy: ignore-errors
# ruff: noqa: UP031
# Old Pythons run this as it stands, in one file with the other parts; tests run it, types are not checked.
import contextlib
import errno
import hashlib
import json
import os
import pwd
import stat

from failsafe.backup.serverside.ground import SETTINGS, Refusal, reason
from failsafe.backup.serverside.vitals import TOOLS

SETTINGS_BYTES = 4 << 20
SESSIONS = 12  # of one user of this machine, at a time


def settings_of(raw):
    """`files` are paths, or objects with path and leave_out; `look` is what `inspect` may look at; `stock`: command -> container."""
    given = json.loads(raw.decode())
    if not isinstance(given, dict) or not isinstance(given.get("root"), str):
        raise Refusal("the settings must be an object with a root")
    settings = {"commands": {}, "stock": {}, "look": {}, "naming": "domain/user", "skip": [], "files": [], "postfix": ""}
    settings.update(given, root=given["root"].encode("utf-8", "surrogateescape"))
    trees = [tree if isinstance(tree, dict) else {"path": tree} for tree in settings["files"]]
    if not all(path.startswith("/") for path in (given["root"] or "/", *(tree["path"] for tree in trees))):
        raise Refusal("root and files must be whole paths")
    settings["files"] = [
        {"path": tree["path"].encode("utf-8", "surrogateescape"), "leave_out": tree.get("leave_out", [])} for tree in trees
    ]
    return settings


def demand_roots(info, place):
    if info.st_uid != 0 or info.st_mode & 0o022:
        raise Refusal("%s must belong to root and be writable by root alone" % place)


def installed_settings():
    """Whoever can write the list, or make another one in its place, would be whoever says what may be read."""
    folder_above = os.path.dirname(SETTINGS)
    demand_roots(os.stat(folder_above), folder_above)
    try:
        file = os.fdopen(os.open(SETTINGS, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except OSError as error:
        raise Refusal("%s: %s" % (SETTINGS, "a symbolic link" if error.errno == errno.ELOOP else reason(error))) from None
    with file:
        info = os.fstat(file.fileno())
        demand_roots(info, SETTINGS)
        if not stat.S_ISREG(info.st_mode) or info.st_size > SETTINGS_BYTES:
            raise Refusal("%s must be a file of at most %d bytes" % (SETTINGS, SETTINGS_BYTES))
        return settings_of(file.read(SETTINGS_BYTES))


def who(pid):
    """(when it began, pid, command line, user) of a process; None where it is gone."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        with open("/proc/%s/stat" % pid, "rb") as file:
            began = int(file.read(4096).rpartition(b")")[2].split()[19])
        with open("/proc/%s/cmdline" % pid, "rb") as file:
            return began, int(pid), file.read(4096), os.stat("/proc/%s" % pid).st_uid
    return None


def demand_a_place(most):
    """Whoever has our key cannot fill the machine with us: the oldest go on, those after them are refused."""
    ours = who(os.getpid())
    found = [who(pid) for pid in os.listdir("/proc") if pid.isdigit()] if ours else []
    older = [each for each in found if each and each[2:] == ours[2:] and each[:2] < ours[:2]]
    if len(older) >= most:
        raise Refusal("%d sessions are at work here already; try again later" % len(older))


def forget_the_caller(settings):
    """What we start gets an environment of ours. `path` in the settings: where programs are looked for first."""
    caller = os.environ.get("SSH_CONNECTION", "")[:200]
    home = "/"
    with contextlib.suppress(KeyError):
        home = pwd.getpwuid(os.geteuid()).pw_dir
    os.environ.clear()
    os.environ.update(PATH=settings.get("path") or TOOLS, HOME=home, LC_ALL="C", SSH_CONNECTION=caller)


def own_digest():
    """Of this very program but for its first line, which names a Python; so that the other side sees whether it is the one that it would install."""
    with contextlib.suppress(OSError, NameError), open(__file__, "rb") as file:
        return hashlib.sha256(file.read().partition(b"\n")[2]).hexdigest()[:16]
    return ""


def installed():
    """(settings, ""), or (None, why nothing can be read here)."""
    try:
        settings = installed_settings()
        forget_the_caller(settings)
        demand_a_place(settings.get("sessions", SESSIONS))
        return settings, ""
    except (OSError, Refusal, ValueError, KeyError, TypeError, AttributeError) as error:
        return None, "%s: %s" % (SETTINGS, reason(error)) if isinstance(error, (ValueError, KeyError)) else reason(error)
