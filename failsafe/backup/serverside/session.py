"""Commands, and the session itself."""

# mypy: ignore-errors
# ruff: noqa: UP031
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
from failsafe.backup.serverside.ground import (
    CHILDREN,
    CHUNK,
    REQUEST_SECONDS,
    SETTINGS,
    VERSION,
    Frames,
    Refusal,
    number,
    reason,
    text,
)
from failsafe.backup.serverside.listing import folder_of, list_files, list_folders, list_mailboxes
from failsafe.backup.serverside.reading import read_control, read_files, read_messages, send_content, send_digest
from failsafe.backup.serverside.settings import installed, own_digest, settings_of
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
VERBS = (b"list", b"find", b"read", b"digest", b"vitals", b"inspect", b"reach", b"run")


def answer_vitals(frames, settings, what, asked):
    if what == b"clock":
        return {"now": int(time.time() * 1e9)}
    if what == b"lookups":
        return {"lookups": lookups(asked)}
    if what == b"bans":
        return {"bans": bans(settings, asked)}
    return all_vitals(frames, settings, json.loads(asked[0].decode())) if what == b"all" else vitals(settings)


def answer(frames, settings, fields):
    verb, what = [*fields, b"", b""][:2]
    if verb not in VERBS:
        raise Refusal("no such request: %s" % ascii(text(verb[:80])))
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
        answer_files(frames, settings, verb, fields[2:])
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
            raise Refusal("no such request: %s %s" % (text(verb), ascii(text(what[:80]))))
    return {"now": int(time.time() * 1e9)}


def answer_files(frames, settings, verb, fields):
    trees = settings["files"]
    if not trees or verb not in (b"list", b"read"):
        raise Refusal("no extra path is set" if verb in (b"list", b"read") else "no such request: %s files" % text(verb))
    tree = trees[number([*fields, b""][0], len(trees) - 1)]
    if verb == b"list":
        list_files(frames, tree)
    else:
        read_files(frames, tree, fields[1:])


def words_of(settings, name):
    """A named command: the administrator's line, or one that is known here, for the container that is named for it."""
    if name in settings["commands"]:
        return ["/bin/sh", "-c", settings["commands"][name]]
    if name in STOCK and name in settings["stock"]:
        return [engine(), "exec", settings["stock"][name], "sh", "-c", STOCK[name]]
    raise Refusal("no command is called %s here" % ascii(name[:80]))


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


def end_with_the_session(frames):
    """When the other side hangs up, or is silent for too long, everything here ends, whatever it is doing."""
    poll = select.poll()
    poll.register(1, 0)
    while not poll.poll(1000):
        if frames.late is not None and time.monotonic() > frames.late:
            frames.say(b"X", {"error": "no whole request came in time"})
            with contextlib.suppress(OSError):
                frames.flush()
            break
    for group in list(CHILDREN):
        with contextlib.suppress(OSError):
            os.killpg(group, signal.SIGKILL)
    os._exit(1)


def be_a_good_guest():
    os.umask(0o077)
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


def greet(frames, sent, fault):
    hello = {"hello": "failsafe", "version": VERSION, "mode": "sent" if sent else "installed"}
    hello.update(python=sys.version.split()[0], user=os.geteuid())
    if not sent:
        hello["program"] = own_digest()
    if fault:
        hello["fault"] = fault
    frames.say(b"J", hello)
    frames.flush()


def refuse(frames, error):
    name = getattr(error, "filename", None)
    where = text(name) if isinstance(name, bytes) else name
    known = isinstance(error, (OSError, Refusal, ValueError, IndexError, KeyError))
    words = reason(error) if known else "the request makes no sense (%s)" % type(error).__name__
    number = getattr(error, "errno", None) if isinstance(error, OSError) else None
    frames.say(b"X", {"error": f"{words}: {where}" if where else words, "errno": number or 0})


def serve(sent):
    frames = Frames(sys.stdin.buffer, os.fdopen(os.dup(1), "wb", CHUNK))
    settings, fault = (None, "") if sent else installed()
    threading.Thread(target=end_with_the_session, args=(frames,), daemon=True).start()
    be_a_good_guest()
    greet(frames, sent, fault)
    try:
        if sent:
            settings = dict(settings_of(frames.request()[0]), sent=True)
        else:
            frames.patience = (settings or {}).get("request_seconds", REQUEST_SECONDS)
            frames.skip_program()
    except EOFError:
        return 0
    except (OSError, Refusal, ValueError, KeyError, IndexError) as error:
        refuse(frames, error)
        frames.flush()
        return 1
    return answer_all(frames, settings, fault)


def answer_all(frames, settings, fault):
    """To the end of the session. `fault`: what every request is answered with."""
    while True:
        try:
            frames.flush()
            fields = frames.request()
        except EOFError:
            return 0
        except Refusal as error:
            refuse(frames, error)
            frames.flush()
            return 1
        try:
            if fault:
                raise Refusal(fault)
            frames.say(b"E", answer(frames, settings, fields))
        except BrokenPipeError:
            return 1
        except Exception as error:  # whatever somebody thinks of to ask
            refuse(frames, error)


if __name__ == "__main__":
    sys.exit(serve(bool(globals().get("SENT"))))
