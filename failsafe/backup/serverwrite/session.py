"""Commands, and the session itself."""

# mypy: ignore-errors
# ruff: noqa: UP031
# Old Pythons run this as it stands, in one file with the other parts; tests run it, types are not checked.
import contextlib
import errno
import os
import select
import signal
import subprocess
import sys
import threading
import time

from failsafe.backup.serverwrite.ground import (
    CHILDREN,
    CHUNK,
    VERSION,
    Refusal,
    Wire,
    descend,
    look,
    parts_of,
    pieces_of,
    reason,
    text,
)
from failsafe.backup.serverwrite.restore import Restore
from failsafe.backup.serverwrite.sight import nameless, numbers_of, survey


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
