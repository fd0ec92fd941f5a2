"""A server on which failsafe's side was installed by its own script, and somebody who has its key and means ill."""

from __future__ import annotations

import json
import struct
import subprocess
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.contract.machine import Machine, script
from tests.support import wait_until

LEAK = "what nobody may see"
LIST = "/etc/failsafe-server.json"
PROGRAM = "/opt/failsafe-server/server.py"
PATIENCE = 1  # seconds
MORE = 'extra_paths = ["/srv/extra"]\ncommands = { "hello.txt" = "echo hello", "environment.txt" = "env", "slow.txt" = "sleep 4711" }'

# Everything that leads out of where mail and extra files lie, by every kind of name that a file system has.
WORLD = f"""
set -e
useradd -u 5000 -M vmail
mkdir -p /srv/outside /srv/extra/private /srv/extra/users /srv/evil
echo '{LEAK}' >/srv/outside/secret
chmod 600 /srv/outside/secret
echo '{LEAK}:*:1:0:99999:7:::' >>/etc/shadow
echo fine >/srv/extra/fine
echo '{LEAK}' >/srv/extra/secret.key
echo '{LEAK}' >/srv/extra/private/deep
ln -s /etc/shadow /srv/extra/link
ln -s /srv/outside /srv/extra/linked
ln -s /proc/self /srv/extra/proc
mknod /srv/extra/zero c 1 5
mkfifo /srv/extra/pipe
chown vmail: /srv/extra/users
ln /srv/outside/secret /srv/extra/users/hard
for box in anna bob; do mkdir -p /srv/vmail/example.org/$box/cur /srv/vmail/example.org/$box/new /srv/vmail/example.org/$box/tmp; done
printf 'Subject: 1\\n\\nfine\\n' >/srv/vmail/example.org/anna/cur/1:2,S
chown -R vmail: /srv/vmail
ln /srv/outside/secret /srv/vmail/example.org/anna/cur/hard
ln -s /srv/outside/secret /srv/vmail/example.org/anna/cur/link
ln -s /srv/outside /srv/vmail/example.org/anna/.Linked
ln -s /srv/outside /srv/vmail/example.org/mallory
mkfifo /srv/vmail/example.org/anna/cur/pipe
chmod 700 /srv/vmail
for name in env sudo sh python3 ionice; do printf '#!/bin/sh\\ntouch /srv/evil/owned\\n' >/srv/evil/$name; done
for name in json os sitecustomize usercustomize; do echo 'open("/srv/evil/owned", "w")' >/srv/evil/$name.py; done
printf 'touch /srv/evil/owned\\n' >/srv/evil/profile
chmod 777 /srv/evil
chmod 755 /srv/evil/*
"""


def install(machine: Machine) -> str:
    """By the very script that a person runs. The list then also leaves something out. Gives what the script said."""
    machine.sh(WORLD)
    said = machine.run("sh", stdin=script(machine.config(MORE)))
    change_list(machine, files=[{"path": "/srv/extra", "leave_out": ["*.key", "private"]}])
    return said


def change_list(machine: Machine, **values: object) -> None:
    """As its administrator would, with an editor."""
    listed = json.loads(machine.run("cat", LIST)) | values
    (machine / LIST).write_text(json.dumps(listed))


@dataclass(frozen=True)
class Said:
    """What came back from one call."""

    out: bytes
    err: str = ""
    code: int = 0
    seconds: float = 0.0

    @property
    def frames(self) -> list[tuple[bytes, bytes]]:
        found, at = [], 0
        while at + 5 <= len(self.out):
            kind, length = struct.unpack_from(">cI", self.out, at)
            data = self.out[at + 5 : at + 5 + length]
            found.append((kind.upper(), zlib.decompress(data) if kind.islower() else data))
            at += 5 + length
        return found

    @property
    def hello(self) -> dict[str, object]:
        return dict(json.loads(self.frames[0][1]))

    @property
    def refusals(self) -> list[str]:
        """In words: of whole requests, and of single files in an answer."""
        rows = [json.loads(data) for kind, data in self.frames[1:] if kind in (b"X", b"J")]
        words = [str(row["error"]) for row in rows if "error" in row]
        words += [f"{row['status']}: {row.get('why', '')}" for row in rows if row.get("status") in ("failed", "gone")]
        return words + [f"problem: {row['problem'][1]}" for row in rows if "problem" in row]

    @property
    def answered(self) -> int:
        return sum(kind == b"E" for kind, _ in self.frames)

    def leaks(self, *more: bytes) -> bool:
        unpacked = b"".join(data for _, data in self.frames) if self.out[:1] == b"J" else b""
        return any(word in self.out + unpacked + self.err.encode() for word in (LEAK.encode(), b"root:x:", b"uid=", *more))


PRELUDE = b"1\nx"  # the program that failsafe sends along always: here it is not run
STILL_WELL = (b"vitals", b"clock")


def request(*fields: bytes) -> bytes:
    return b"".join(part + b"\0" for part in (str(len(fields)).encode(), *fields))


def call(machine: Machine, data: bytes, *options: str, words: tuple[str, ...] = ("python3",), user: str = "failsafe") -> Said:
    """One session of ssh's own client, to its end. It must come within half a minute, whatever was sent."""
    began = time.monotonic()
    done = subprocess.run([*machine.ssh(*options, user=user), *words], input=data, capture_output=True, timeout=30, check=False)
    return Said(done.stdout, done.stderr.decode("utf-8", "replace"), done.returncode, time.monotonic() - began)


def ask(machine: Machine, *fields: bytes) -> Said:
    """A request, and one that is proper after it: whatever was asked, the session goes on."""
    return call(machine, PRELUDE + request(*fields) + request(*STILL_WELL))


def ask_all(machine: Machine, attacks: dict[str, tuple[bytes, ...]]) -> dict[str, Said]:
    """Every request in one session, a proper one after each. Gives what came back for each of them, the proper one's answer too."""
    said = call(machine, PRELUDE + b"".join(request(*fields) + request(*STILL_WELL) for fields in attacks.values()))
    assert said.frames[0][0] == b"J", said
    parts: list[list[tuple[bytes, bytes]]] = [[]]
    for frame in said.frames[1:]:
        parts[-1].append(frame)
        if sum(kind in (b"E", b"X") for kind, _ in parts[-1]) == 2:
            parts.append([])
    assert parts.pop() == []
    assert len(parts) == len(attacks)
    hello = frame_of(*said.frames[0])
    return {name: Said(hello + b"".join(frame_of(*each) for each in part)) for name, part in zip(attacks, parts, strict=True)}


def frame_of(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">cI", kind, len(data)) + data


# In a small program of its own: a child's figure begins with what its parent had.
MEASURE = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""


def start_it(machine: Machine, data: bytes) -> tuple[Said, int]:
    """As sshd does, for those to whom it does not matter how somebody came in. Also gives the most KiB that any program had that ran for it."""
    words = ["/usr/bin/python3", "-IS", "-c", MEASURE, "runuser", "-u", "failsafe", "--", "/opt/failsafe-server/serve"]
    done = subprocess.run([*machine.enter, *words], input=data, capture_output=True, timeout=60, check=False)
    *said, kib = done.stderr.decode("utf-8", "replace").splitlines()
    return Said(done.stdout, "\n".join(said), done.returncode), int(kib)


def programs(machine: Machine) -> list[int]:
    """Our programs that run there now."""
    pattern = f"^/usr/bin/python3 -IS {PROGRAM}$"
    found = subprocess.run(["pgrep", "-f", pattern], capture_output=True, text=True, timeout=20, check=False).stdout.split()
    return [int(pid) for pid in found if _lives_in(machine, pid)]


def _lives_in(machine: Machine, pid: str) -> bool:
    """Other workers have machines of their own."""
    try:
        return Path(f"/proc/{pid}/ns/mnt").readlink() == Path(f"/proc/{machine.pid}/ns/mnt").readlink()
    except OSError:
        return False


@contextmanager
def impatient(machine: Machine) -> Iterator[None]:
    """A list by which a request has to be whole soon; by itself that takes minutes."""
    with spoilt_list(machine, "true"):
        change_list(machine, request_seconds=PATIENCE)
        yield


@contextmanager
def spoilt_list(machine: Machine, plant: str) -> Iterator[None]:
    """The list, or its folder, as a careless administrator may leave it."""
    place = machine / LIST
    content, info = place.read_bytes(), place.stat()
    machine.sh(plant)
    try:
        yield
    finally:
        machine.sh(f"rm -rf {LIST}; chmod 755 /etc; chown root: /etc")
        place.write_bytes(content)
        machine.sh(f"chown {info.st_uid}:{info.st_gid} {LIST}; chmod {info.st_mode & 0o7777:o} {LIST}")


@contextmanager
def open_session(machine: Machine, data: bytes) -> Iterator[subprocess.Popen[bytes]]:
    """One that stays open: the other side says nothing more, and does not hang up."""
    session = subprocess.Popen(
        [*machine.ssh(), "python3"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert session.stdin is not None
    try:
        session.stdin.write(data)
        session.stdin.flush()
        yield session
    finally:
        session.kill()
        session.communicate()


def read_frame(session: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    assert session.stdout is not None
    kind, length = struct.unpack(">cI", session.stdout.read(5))
    return kind, session.stdout.read(length)


def none_left(machine: Machine, seconds: float = 10) -> None:
    wait_until(lambda: not programs(machine), seconds, "none of our programs runs there any more")
