"""Servers that mean harm: each look at them ends in time, and the process that looks stays small."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.contract.mail_servers import PASSWORD, ScriptedServer, Talk

PATIENCE = 4.0  # seconds for a whole look
SLACK = 6.0  # for a busy machine
MEMORY = 24 * 1024 * 1024  # bytes that a look may need beyond one at a healthy server
KEPT = 16 * 1024  # characters of evidence
BLOCK = b"x" * 65536
# Looks once, in a process of its own, and says how much memory that process ever had.
CHILD = """
import json, re, sys, time
from datetime import UTC, datetime
from failsafe.adapters.imap_probe import ImapProbe
from failsafe.adapters.smtp import Patience, SmtpProbe
from failsafe.adapters.submission_probe import Login, SubmissionProbe
from failsafe.model import Endpoint
kind, port, tls, password, seconds = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], float(sys.argv[5])
place = Endpoint("127.0.0.1", port, tls)
patience = Patience(connect=seconds, greeting=seconds, command=seconds, whole=seconds)
probe = {
    "smtp": lambda: SmtpProbe("vps", [f"127.0.0.1:{port}"], "probe@example.test", None, patience=patience),
    "submission": lambda: SubmissionProbe("vps", [place], Login("me", password), None, whole=seconds),
    "imap": lambda: ImapProbe("vps", place, "me", password, whole=seconds),
}[kind]()
began = time.monotonic()
seen = probe.probe(datetime(2026, 11, 22, tzinfo=UTC))
print(json.dumps({"seen": seen.seen, "text": seen.text, "seconds": time.monotonic() - began,
                  "memory": int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]) * 1024, "kept": len(seen.text) + len(seen.transcript)}))
"""


def endless_banner(talk: Talk) -> None:
    while True:
        talk.say("220-and another line")


def endless_imap_banner(talk: Talk) -> None:
    while True:
        talk.say("* OK and another line")


def one_endless_line(talk: Talk) -> None:
    talk.connection.sendall(b"220 ")
    while True:
        talk.connection.sendall(BLOCK)


def megabyte_lines(talk: Talk) -> None:
    while True:
        talk.connection.sendall(b"220-" + b"y" * 1_000_000 + b"\r\n")


def slow_drip(talk: Talk) -> None:
    for letter in b"220-" + b"slow " * 10_000:
        talk.connection.sendall(bytes([letter]))
        time.sleep(0.2)


def endless_extensions(talk: Talk) -> None:
    talk.say("220 hello")
    talk.hear()
    while True:
        talk.say("250-X" + "z" * 500)


def tls_garbage(talk: Talk) -> None:
    """Records of a handshake that never ends."""
    talk.say("220 hello")
    talk.hear()
    talk.say("250-hello", "250 STARTTLS")
    talk.hear()
    talk.say("220 go ahead")
    while True:
        talk.connection.sendall(b"\x16\x03\x03\x3f\xff" + bytes(0x3FFF))


def slow_tls(talk: Talk) -> None:
    for letter in b"\x16\x03\x03\x3f\xff" + bytes(10_000):
        talk.connection.sendall(bytes([letter]))
        time.sleep(0.2)


def garbage_instead_of_tls(talk: Talk) -> None:
    while True:
        talk.connection.sendall(BLOCK)


def literal_of_ten_gigabytes(talk: Talk) -> None:
    talk.say("* OK [CAPABILITY IMAP4rev1] hello")
    talk.hear()
    talk.say("* METADATA {10000000000}")
    while True:
        talk.connection.sendall(BLOCK)


def literals_without_end(talk: Talk) -> None:
    talk.say("* OK [CAPABILITY IMAP4rev1] hello")
    talk.hear()
    while True:
        talk.connection.sendall(b"* METADATA {60000}\r\n" + b"z" * 60_000 + b"\r\n")


def answers_to_others(talk: Talk) -> None:
    talk.say("* OK [CAPABILITY IMAP4rev1] hello")
    talk.hear()
    while True:
        talk.say("* OK not what you asked")


def healthy_smtp(talk: Talk) -> None:
    talk.say("220 hello")
    talk.answer_all({"AUTH": "235 yes"}, default="250-hello\n250 AUTH PLAIN")


def healthy_imap(talk: Talk) -> None:
    talk.say("* OK [CAPABILITY IMAP4rev1] hello")
    while line := talk.hear():
        tag, verb = line.split(" ")[:2]
        if verb == "EXAMINE":
            talk.say("* FLAGS ()", "* 0 EXISTS", "* 0 RECENT", "* OK [UIDVALIDITY 1] yes", "* OK [UIDNEXT 1] yes")
        talk.say(*(["* BYE"] if verb == "LOGOUT" else []), f"{tag} OK done")


Case = tuple[str, str, Callable[[Talk], None]]  # probe, TLS, server
OF_SMTP = (endless_banner, one_endless_line, megabyte_lines, slow_drip, endless_extensions, tls_garbage)
OF_IMAP = (endless_imap_banner, one_endless_line, slow_drip, literal_of_ten_gigabytes, literals_without_end, answers_to_others)
OF_TLS = (slow_tls, garbage_instead_of_tls)
CASES: list[Case] = [
    *(("smtp", "starttls", script) for script in OF_SMTP),
    *(("submission", "starttls", script) for script in OF_SMTP),
    *(("submission", "implicit", script) for script in OF_TLS),
    *(("imap", "none", script) for script in OF_IMAP),
    *(("imap", "implicit", script) for script in OF_TLS),
]
HEALTHY: list[Case] = [("smtp", "none", healthy_smtp), ("submission", "none", healthy_smtp), ("imap", "none", healthy_imap)]


def look(case: Case, password: Path) -> dict[str, Any]:
    kind, tls, script = case
    with ScriptedServer(script) as server:
        words = [sys.executable, "-c", CHILD, kind, str(server.port), tls, str(password), str(PATIENCE)]
        outcome = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert outcome.returncode == 0, outcome.stderr
    return {"case": f"{kind} over {tls}: {script.__name__}", "kind": kind, **json.loads(outcome.stdout)}


def test_every_look_at_a_hostile_server_is_bounded_in_time_and_memory(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.touch(0o600)
    password.write_text(PASSWORD)
    with ThreadPoolExecutor(4) as pool:
        usual = {found["kind"]: found for found in pool.map(lambda case: look(case, password), HEALTHY)}
        found = list(pool.map(lambda case: look(case, password), CASES))

    assert {each["seen"] for each in usual.values()} == {"up"}, usual
    print(
        *(f"{each['case']}: {each['seconds']:.1f} s, {each['memory'] >> 20} MB" for each in (*usual.values(), *found)), sep="\n"
    )
    assert [each for each in found if each["seen"] not in {"down", "degraded", "unknown"}] == []
    assert [each for each in found if each["seconds"] > PATIENCE + SLACK] == []
    assert [each for each in found if each["memory"] > usual[each["kind"]]["memory"] + MEMORY] == []
    assert [each for each in found if each["kept"] > KEPT] == []
