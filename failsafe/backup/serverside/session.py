"""Commands, settings, and the session itself."""

# mypy: ignore-errors
# Old Pythons run this as it stands, in one file with the other parts; tests run it, types are not checked.
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time

from failsafe.backup.serverside.asking import bans, lookups
from failsafe.backup.serverside.engines import STOCK, engine, inspect
from failsafe.backup.serverside.ground import CHILDREN, CHUNK, SETTINGS, VERSION, Frames, Refusal, reason, text
from failsafe.backup.serverside.listing import folder_of, list_files, list_folders, list_mailboxes
from failsafe.backup.serverside.reading import read_control, read_files, read_messages, send_content, send_digest
from failsafe.backup.serverside.vitals import all_vitals, vitals


def run_command(frames, words, limit):
    """A named command's output, its exit status and the end of what it said on stderr; ended with its children at the deadline."""
    child = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    CHILDREN.add(child.pid)
    said, ends, open_pipes = b"", time.time() + limit, [child.stdout, child.stderr]
    try:
        while open_pipes and time.time() < ends:
            for pipe in select.select(open_pipes, [], [], min(5, max(0.01, ends - time.time())))[0]:
                block = os.read(pipe.fileno(), CHUNK)
                if not block:
                    open_pipes.remove(pipe)
                elif pipe is child.stdout:
                    frames.send(b"D", block)
                else:
                    said = (said + block)[-2000:]
            frames.tick()
        late = bool(open_pipes)
        if not late:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(max(0.1, ends - time.time()))
        late = late or child.poll() is None
    finally:
        with contextlib.suppress(OSError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        CHILDREN.discard(child.pid)
    return {"status": child.returncode, "late": late, "said": said.decode("utf-8", "replace")}


SENDERS = {b"read": send_content, b"digest": send_digest, b"find": lambda *_: "ok"}


def answer_vitals(frames, settings, what, asked):
    if what == b"clock":
        return {"now": int(time.time() * 1e9)}
    if what == b"lookups":
        return {"lookups": lookups(asked)}
    if what == b"bans":
        return {"bans": bans(asked)}
    return all_vitals(frames, settings, json.loads(asked[0].decode())) if what == b"all" else vitals(settings)


def answer(frames, settings, fields):
    verb, what = fields[0], fields[1] if len(fields) > 1 else b""
    if verb == b"vitals":
        return answer_vitals(frames, settings, what, fields[2:])
    if verb == b"inspect":
        inspect(frames, settings["look"])
        return {}
    if verb == b"reach":
        return shown_settings(settings) if not what else new_settings(settings, what)
    if verb == b"run":
        return run_command(frames, words_of(settings, text(what)), settings.get("command_seconds", 3600))
    if what == b"files":
        tree = settings["files"][int(fields[2])]
        list_files(frames, tree) if verb == b"list" else read_files(frames, tree["path"], fields[3:])
        return {}
    if not settings["root"]:
        raise Refusal("no folder of mailboxes is set")
    with folder_of(settings["root"], b"") as root:
        if (verb, what) == (b"list", b"mailboxes"):
            list_mailboxes(frames, root, settings)
        elif (verb, what) == (b"list", b"folders"):
            list_folders(frames, root, settings, fields[2:])
        elif (verb, what) == (b"read", b"control"):
            read_control(frames, root, settings, fields[2:])
        elif what == b"messages" and verb in SENDERS:
            read_messages(frames, root, settings, fields[2:], SENDERS[verb])
        else:
            raise Refusal(f"no such request: {text(verb)} {text(what)}")
    return {"now": int(time.time() * 1e9)}


def words_of(settings, name):
    """A named command: the administrator's line, or one that is known here, for the container that is named for it."""
    if name in settings["commands"]:
        return ["/bin/sh", "-c", settings["commands"][name]]
    if name in STOCK and name in settings["stock"]:
        return [engine(), "exec", settings["stock"][name], "sh", "-c", STOCK[name]]
    raise Refusal(f"no command is called {name!r} here")


def settings_of(raw):
    """`files` are paths, or objects with path and leave_out; `look` is what `inspect` may look at; `stock`: command -> container."""
    given = json.loads(raw.decode())
    settings = {"commands": {}, "stock": {}, "look": {}, "naming": "domain/user", "skip": [], "files": [], "postfix": ""}
    settings.update(given, root=given["root"].encode("utf-8", "surrogateescape"))
    trees = [tree if isinstance(tree, dict) else {"path": tree} for tree in settings["files"]]
    settings["files"] = [
        {"path": tree["path"].encode("utf-8", "surrogateescape"), "leave_out": tree.get("leave_out", [])} for tree in trees
    ]
    return settings


def new_settings(settings, raw):
    """The other side knows more now. Only where it brought the settings itself."""
    if not settings.get("sent"):
        raise Refusal(f"what may be read here stands in {SETTINGS}")
    settings.update(settings_of(raw))
    return {}


def shown_settings(settings):
    trees = [{"path": text(tree["path"]), "leave_out": tree["leave_out"]} for tree in settings["files"]]
    names = sorted(settings["commands"])
    return {
        "root": text(settings["root"]),
        "naming": settings["naming"],
        "files": trees,
        "commands": names,
        "stock": settings["stock"],
    }


def installed_settings():
    with open(SETTINGS, "rb") as file:
        info = os.fstat(file.fileno())
        if info.st_uid != 0 or info.st_mode & 0o022:
            raise Refusal(f"{SETTINGS} must belong to root and be writable by root alone")
        return settings_of(file.read())


def end_with_the_session():
    """When the other side hangs up, everything here ends, whatever it is doing."""
    poll = select.poll()
    poll.register(1, 0)
    poll.poll()
    for group in list(CHILDREN):
        with contextlib.suppress(OSError):
            os.killpg(group, signal.SIGKILL)
    os._exit(1)


def be_a_good_guest():
    with contextlib.suppress(OSError):
        os.nice(10)
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        subprocess.run(
            ["ionice", "-c", "2", "-n", "7", "-p", str(os.getpid())],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=5,
        )


def serve(sent):
    if not sent:  # the program that the other side sends along, as always, is not run
        sys.stdin.buffer.read(min(1 << 20, int(sys.stdin.buffer.readline(16))))
    frames = Frames(sys.stdin.buffer, os.fdopen(os.dup(1), "wb", CHUNK))
    threading.Thread(target=end_with_the_session, daemon=True).start()
    be_a_good_guest()
    frames.say(
        b"J",
        {
            "hello": "failsafe",
            "version": VERSION,
            "mode": "sent" if sent else "installed",
            "python": sys.version.split()[0],
            "user": os.geteuid(),
        },
    )
    frames.flush()
    try:
        settings = settings_of(frames.request()[0]) if sent else installed_settings()
        settings["sent"] = sent
    except (OSError, Refusal, ValueError, KeyError) as error:
        frames.say(b"X", {"error": f"settings: {reason(error)}"})
        frames.flush()
        return 1
    while True:
        try:
            frames.flush()
            fields = frames.request()
        except EOFError:
            return 0
        try:
            frames.say(b"E", answer(frames, settings, fields))
        except BrokenPipeError:
            return 1
        except (OSError, Refusal, ValueError, IndexError, KeyError) as error:
            name = getattr(error, "filename", None)
            where = text(name) if isinstance(name, bytes) else name
            frames.say(b"X", {"error": f"{reason(error)}: {where}" if where else reason(error)})


if __name__ == "__main__":
    sys.exit(serve(bool(globals().get("SENT"))))
