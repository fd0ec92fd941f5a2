"""Servers that mean harm, met by every adapter that reads from a socket: bounded in time and memory, and nobody stays behind to listen on."""

from __future__ import annotations

import contextlib
import functools
import gzip
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.contract.mail_servers import PASSWORD, ScriptedServer, Talk
from tests.contract.sshd import make_key

REPOSITORY = Path(__file__).parents[2]
PATIENCE = 6.0  # seconds for a look that is given 1
SLACK = 20.0  # for a busy machine
MEMORY = 40 << 20  # bytes for one look
BLOCK = b"x" * 65536
HELLO_REQUESTS = (b"\x16\x03\x03\x3f\xfc" + bytes(0x3FFC)) * 20  # which OpenSSL passes over without coming back

Script = Callable[[Talk], None]


def flood(data: bytes, first: bytes = b"", *, after: int = 0) -> Script:
    """`first`, then `after` lines are heard, then the same for ever."""

    def script(talk: Talk) -> None:
        talk.connection.sendall(first)
        for _ in range(after):
            talk.hear()
        while True:
            talk.connection.sendall(data)

    return script


def drip(first: bytes, letter: bytes = b"x") -> Script:
    def script(talk: Talk) -> None:
        talk.connection.sendall(first)
        while True:
            talk.connection.sendall(letter)
            time.sleep(0.1)

    return script


def silence(talk: Talk) -> None:
    talk.wait_until_gone()


# -- IMAP -----------------------------------------------------------------------------------------------------------------


def imap(**said: bytes) -> Script:
    """A server that is well but for what it says to one verb: there `said` goes on for ever where it ends with a line, else it is said once."""

    def script(talk: Talk) -> None:
        talk.say("* OK [CAPABILITY IMAP4rev1 UIDPLUS] hello")
        while line := talk.hear():
            tag, verb = line.split(" ")[:2]
            verb = line.split(" ")[2] if verb == "UID" else verb
            if verb in said:
                talk.connection.sendall(said[verb])
                while said[verb].endswith(b"\n"):
                    talk.connection.sendall(said[verb])
                talk.say("")
            usual = {
                "CAPABILITY": ["* CAPABILITY IMAP4rev1 UIDPLUS"],
                "LIST": ['* LIST (\\HasNoChildren) "/" INBOX'],
                "STATUS": ["* STATUS INBOX (MESSAGES 1 UIDNEXT 2 UIDVALIDITY 1)"],
                "EXAMINE": ["* FLAGS ()", "* 1 EXISTS", "* 0 RECENT", "* OK [UIDVALIDITY 1] yes", "* OK [UIDNEXT 2] yes"],
                "SEARCH": ["* SEARCH 1"],
                "LOGOUT": ["* BYE"],
            }
            talk.say(*usual.get(verb, ()), f"{tag} OK done")

    return script


def starttls(then: Script) -> Script:
    def script(talk: Talk) -> None:
        talk.say("* OK [CAPABILITY IMAP4rev1 STARTTLS] hello")
        while line := talk.hear():
            tag, verb = line.split(" ")[:2]
            talk.say(*(["* CAPABILITY IMAP4rev1 STARTTLS"] if verb == "CAPABILITY" else []), f"{tag} OK done")
            if verb == "STARTTLS":
                then(talk)

    return script


NESTED = b"(" * 100_000
IMAP = {
    "an endless banner": flood(b"* OK and another line\r\n"),
    "an endless line": flood(BLOCK, b"* OK "),
    "byte by byte": drip(b"* OK "),
    "silence": silence,
    "lines that nobody asked for": imap(LIST=b"* METADATA x y\r\n" * 1000),
    "megabyte lines": imap(LIST=b"* LIST (" + b"y" * 1_000_000 + b"\r\n"),
    "a literal of 10 GB": imap(LIST=b'* LIST () "/" {10000000000}\r\n'),
    "literals without end": imap(LIST=b"* METADATA {60000}\r\n" + b"z" * 60_000 + b"\r\n"),
    "folders without end": imap(LIST=b'* LIST () "/" x\r\n' * 1000),
    "parentheses without end": imap(LIST=b"* LIST " + NESTED),
    "messages without end": imap(SEARCH=b"* SEARCH " + b"1234567 " * 1000 + b"\r\n"),
    "parentheses for a folder": imap(EXAMINE=b"* FLAGS " + NESTED),
    "answers without end to a login": imap(LOGIN=b"* OK no\r\n" * 1000),
    "answers without end to a goodbye": imap(LOGOUT=b"* OK no\r\n" * 1000),
}
# -- TLS ------------------------------------------------------------------------------------------------------------------
TLS = {
    "a handshake without end": flood(HELLO_REQUESTS),
    "garbage instead of TLS": flood(BLOCK),
    "a handshake byte by byte": drip(b"\x16\x03\x03\x3f\xff"),
    "silence instead of TLS": silence,
}


@functools.cache
def packed() -> bytes:
    """300 MB in as many kilobytes."""
    return gzip.compress(bytes(300 << 20), 1)


def bomb(talk: Talk) -> None:
    talk.hear()
    talk.connection.sendall(OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed()) + packed())
    talk.wait_until_gone()


NAMES = b"".join(b'<!ENTITY n%d "%s">' % (number, b"&n%d;" % (number - 1) * 20) for number in range(1, 12))
UNFOLDING = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY n0 "xxxxxxxxxx">' + NAMES + b"]><x>&n11;</x>"
# -- HTTP -----------------------------------------------------------------------------------------------------------------
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
HTTP = {
    "a line without end": flood(BLOCK, b"HTTP/1.1 200 ", after=1),
    "headers without end": flood(b"X: y\r\n" * 1000, OK, after=1),
    "continue, continue": flood(b"HTTP/1.1 100 Continue\r\n\r\n" * 100, after=1),
    "a body without end": flood(BLOCK, OK + b"\r\n", after=1),
    "chunks without end": flood(b"1000\r\n" + b"x" * 0x1000 + b"\r\n", OK + b"Transfer-Encoding: chunked\r\n\r\n", after=1),
    "a head byte by byte": drip(b"HTTP/1.1 200 "),
    "a body byte by byte": drip(OK + b"\r\n", b" "),
    "silence": silence,
    "header lines without end": flood(BLOCK, OK + b"X: ", after=1),
    "a small body that is large when it is unpacked": bomb,
    "tags without end": flood(b"<a>" * 1000, OK + b"Content-Length: 900000\r\n\r\n", after=1),
    "the line before a chunk without end": flood(BLOCK, OK + b"Transfer-Encoding: chunked\r\n\r\n1", after=1),
    "names that unfold": flood(UNFOLDING, OK + b"Content-Length: %d\r\n\r\n" % len(UNFOLDING), after=1),
    "brackets without end": flood(b"[" * 1000, OK + b"Content-Length: 900000\r\n\r\n", after=1),
}
# -- SSH ------------------------------------------------------------------------------------------------------------------
SSH = {
    "banner lines without end": flood(b"hello\r\n" * 1000),
    "a line without end": flood(BLOCK),
    "a version byte by byte": drip(b"SSH-2.0-x"),
    "silence": silence,
    "garbage after the version": flood(BLOCK, b"SSH-2.0-x\r\n"),
    "messages without meaning": flood(struct.pack(">IBBI", 24, 4, 2, 14) + bytes(18), b"SSH-2.0-x\r\n"),
    "a packet of 4 GB": flood(BLOCK, b"SSH-2.0-x\r\n\xff\xff\xff\xf0"),
    "a key exchange byte by byte": drip(b"SSH-2.0-x\r\n\x00\x00\x40\x00\x04", b"\x14"),
}
# -- SMTP: tests/contract/test_hostile_servers.py has more -----------------------------------------------------------------
SMTP = {
    "an endless banner": flood(b"220-and another line\r\n"),
    "an endless line": flood(BLOCK, b"220 "),
    "byte by byte": drip(b"220-"),
    "silence": silence,
}
# -- DNS ------------------------------------------------------------------------------------------------------------------
DNS = {
    "garbage": flood(BLOCK),
    "byte by byte": drip(b"\xff\xff"),
    "silence": silence,
}
FEW = {name: IMAP[name] for name in ("an endless banner", "lines that nobody asked for", "answers without end to a login")}
HANDSHAKE = {"a handshake without end": TLS["a handshake without end"]}
CASES: dict[str, dict[str, Script]] = {
    "source": IMAP,
    "source with TLS": TLS,
    "mailbox": FEW,
    "mailbox with STARTTLS": {name: starttls(script) for name, script in HANDSHAKE.items()},
    "canaries": FEW,
    "room": FEW,
    "submission": SMTP,
    "submission with TLS": HANDSHAKE,
    "recipients": SMTP,
    "certificate": SMTP,
    "monitor": HTTP,
    "monitor with TLS": TLS,
    "robot": {"a body byte by byte": HTTP["a body byte by byte"]},
    "page": HANDSHAKE,
    "heartbeat": HTTP,
    "heartbeat with TLS": HANDSHAKE,
    "host key": SSH,
    "shell": SSH,
    "look-up": DNS,
    "authority": DNS,
    "public": DNS,
    "update": DNS,
    "cloudflare": HTTP,
    "cloudflare with TLS": HANDSHAKE,
    "route53": HTTP,
    "route53 with TLS": TLS,
    "s3": HTTP,
    "s3 with TLS": TLS,
}


@contextmanager
def hostile(kind: str, script: Script) -> Iterator[int]:
    with ScriptedServer(script) as server, _over_udp(server.port) if CASES[kind] is DNS else contextlib.nullcontext():
        yield server.port


@contextmanager
def _over_udp(port: int) -> Iterator[None]:
    """Whoever asks over UDP gets a thousand packets that answer nothing, then one that says: ask over TCP."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.bind(("127.0.0.1", port))

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    asked, who = line.recvfrom(4096)
                    if not asked:  # the end
                        return
                    for _ in range(1000):
                        line.sendto(os.urandom(40), who)
                    line.sendto(asked[:2] + bytes([asked[2] | 0x82]) + asked[3:], who)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RD)


def look(kind: str, folder: Path) -> list[dict[str, Any]]:
    scripts = CASES[kind]
    with ExitStack() as stack:
        ports = [str(stack.enter_context(hostile(kind, script))) for script in scripts.values()]
        words = [sys.executable, "-m", "tests.contract.hostile_child", kind, str(folder), *ports]
        done = subprocess.run(words, capture_output=True, text=True, timeout=280, check=False, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return [{"case": f"{kind}: {name}", **each} for name, each in zip(scripts, found, strict=True)]


def prepare(folder: Path) -> None:
    make_key(folder / "key")
    for name, text in (
        ("password", PASSWORD),
        ("tsig", "bm90IHRoZSBrZXkgdGhhdCBLbm90IGtub3dzIG9mIDMyIQ=="),
        ("aws", "[default]\naws_access_key_id = A\naws_secret_access_key = B\n"),
        ("known_hosts", ""),
    ):
        (folder / name).touch(0o600)
        (folder / name).write_text(text)


def test_every_adapter_that_reads_from_a_socket_is_bounded_in_time_and_memory(tmp_path: Path) -> None:
    prepare(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        found = [each for of_kind in pool.map(lambda kind: look(kind, tmp_path), CASES) for each in of_kind]

    print(
        *(
            f"{each['case']}: {each['seconds']:.1f} s, {each['memory'] >> 20} MB, {each['left']}: {each['text']}"
            for each in found
        ),
        sep="\n",
    )
    assert [each for each in found if each["wrong"]] == []
    assert [each for each in found if each["seconds"] > PATIENCE + SLACK] == []
    assert [each for each in found if each["memory"] > MEMORY] == []
    assert [each for each in found if each["left"]] == []
