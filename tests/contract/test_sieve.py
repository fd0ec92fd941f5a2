"""Filter rules are judged as Pigeonhole, the interpreter of Dovecot, judges them: the same scripts and messages through both."""

from __future__ import annotations

import os
import random
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from failsafe.mail.headers import fields_of
from failsafe.mail.sieve.judge import Filed, judge_letter
from failsafe.mail.sieve.parse import parse_script
from failsafe.mail.sieve.questions import Letter

SIEVE_TEST = Path("/usr/bin/sieve-test")
pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(not SIEVE_TEST.exists(), reason="Pigeonhole is not installed (Debian: dovecot-sieve)"),
]
REQUIRED = (
    'require ["fileinto", "reject", "copy", "mailbox", "imap4flags", "relational", "subaddress", "vacation", "enotify", '
    '"comparator-i;ascii-numeric", "envelope"];\n'
)
MADE = 400
WORDS = ("offer", "Invoice", "invoice 17", "[list] news", "a*b", "Grüße", "", "re: re: x", "17", "9", "sales")
PEOPLE = (
    "ann@example.org",
    "Bob Roe <bob+lists@Example.org>",
    '"Roe, Cleo" <cleo@sub.example.net>',
    "team@example.net, ann+x@example.org",
)
FIELDS = ("Subject", "X-Mark", "List-Id", "X-Spam-Score")
FLAGS = ("\\Flagged", "work", "\\Seen work")
ADDRESSED = ("From", "To", "Cc")


def letter(chance: random.Random) -> bytes:
    lines = [f"{name}: {chance.choice(PEOPLE)}" for name in ADDRESSED if chance.random() < 0.8]
    for name in FIELDS:
        for _ in range(chance.choice((0, 1, 1, 2))):
            text = chance.choice(WORDS)
            lines.append(f"{name}: {text if text.isascii() else '=?utf-8?Q?Gr=C3=BC=C3=9Fe?='}")
    lines.append("Message-ID: <x@example.net>")
    return ("\r\n".join(lines) + "\r\n\r\n" + "x" * chance.randint(0, 400)).encode()


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def some(chance: random.Random, words: tuple[str, ...]) -> str:
    given = chance.sample(words, chance.randint(1, 2))
    return quoted(given[0]) if len(given) == 1 else "[" + ", ".join(map(quoted, given)) + "]"


def a_test(chance: random.Random, depth: int = 0) -> str:
    way = chance.choice(
        ("", ":is", ":contains", ":matches", ':value "ge"', ':count "gt"', ':value "lt" :comparator "i;ascii-numeric"')
    )
    keys = ("*", "?*7", "*\\**", "inv*", "0", "1") if "matches" in way or "count" in way else WORDS
    kind = chance.choice(
        ("header", "header", "address", "exists", "size", "not", "allof", "anyof", "hasflag", "true")
        if depth < 3
        else ("header", "address")
    )
    if kind == "header":
        compare = chance.choice(("", ' :comparator "i;octet"')) if "comparator" not in way and "count" not in way else ""
        return f"header {way}{compare} {some(chance, FIELDS)} {some(chance, keys)}"
    if kind == "address":
        part = chance.choice(("", ":all", ":localpart", ":domain", ":user", ":detail"))
        people = ("ann", "bob", "example.org", "ann@example.org", "lists", "x", "*.example.net", "cleo@sub.example.net")
        return f"address {way if 'numeric' not in way else ''} {part} {some(chance, ADDRESSED)} {some(chance, people)}"
    if kind in ("allof", "anyof"):
        return f"{kind} ({', '.join(a_test(chance, depth + 1) for _ in range(chance.randint(1, 3)))})"
    if kind == "hasflag":
        return f"hasflag {some(chance, FLAGS[:2])}"
    return {
        "exists": f"exists {some(chance, (*FIELDS, *ADDRESSED))}",
        "size": f"size {chance.choice((':over', ':under'))} {chance.choice(('300', '1K', '0'))}",
        "not": f"not {a_test(chance, depth + 1)}",
        "true": chance.choice(("true", "false")),
    }[kind]


def commands(chance: random.Random, depth: int = 0) -> str:
    out = ""
    for _ in range(chance.randint(1, 3)):
        kind = chance.choice(("if", "if", "fileinto", "flag", "keep", "stop", "discard", "redirect", "vacation"))
        if kind == "if" and depth < 3:
            out += f"if {a_test(chance)} {{\n{commands(chance, depth + 1)}}}\n"
            for _ in range(chance.randint(0, 1)):
                out += f"elsif {a_test(chance)} {{\n{commands(chance, depth + 1)}}}\n"
            out += f"else {{\n{commands(chance, depth + 1)}}}\n" if chance.random() < 0.4 else ""
        out += {
            "fileinto": f"fileinto {chance.choice(('', ':copy ', ':create '))}{quoted(chance.choice(('Work', 'Lists/News', 'INBOX')))};\n",
            "flag": f"{chance.choice(('addflag', 'setflag', 'removeflag'))} {some(chance, FLAGS)};\n",
            "keep": chance.choice(("keep;\n", 'keep :flags "kept";\n')),
            "stop": "stop;\n",
            "discard": "discard;\n",
            "redirect": f'redirect {chance.choice(("", ":copy "))}"else@example.com";\n',
            "vacation": "",
        }.get(kind, "")
    return out


def by_pigeonhole(folder: Path, script: str, message: bytes) -> tuple[set[str], set[str], bool]:
    """(folders it would be stored in, flags of the store that counts here, whether it would be sent on)."""
    (folder / "s.sieve").write_text(script)
    (folder / "m.eml").write_bytes(message)
    (folder / "s.svbin").unlink(missing_ok=True)
    words = [SIEVE_TEST, "-c", folder / "dovecot.conf", "-l", f"maildir:{folder}/Maildir", folder / "s.sieve", folder / "m.eml"]
    ran = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False, env={"HOME": str(folder)})
    assert ran.returncode == 0, ran.stderr + script
    flags: dict[str, set[str]] = {}
    place = ""
    for line in ran.stdout.splitlines():
        if found := re.match(r" \* store message in folder: (.*)", line):
            place = found[1]
            flags[place] = set()
        elif found := re.match(r" +\+ add IMAP flags: (.*)", line):
            flags[place] |= {flag.lower() for flag in found[1].split()}
    chosen = "INBOX" if "INBOX" in flags else next(iter(flags), "")
    return set(flags), flags.get(chosen, set()), " * redirect" in ran.stdout


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Pigeonhole does not run as root; pytest's own folders are closed to others."""
    with tempfile.TemporaryDirectory(prefix="failsafe-sieve-") as name:
        made, owner = Path(name), os.geteuid() or 5000
        conf = f"base_dir = {made}/run\nlog_path = /dev/stderr\nssl = no\nmail_uid = {owner}\nmail_gid = {owner}\nfirst_valid_uid = 1\n"
        (made / "dovecot.conf").write_text(conf)
        os.chown(made, owner, owner)
        yield made


def test_made_up_scripts_put_made_up_messages_where_pigeonhole_puts_them(folder: Path) -> None:
    chance = random.Random(20261130)
    places = set()
    for _ in range(MADE):
        script, message = REQUIRED + commands(chance), letter(chance)

        ours = judge_letter(parse_script(script), Letter(list(fields_of(message)), len(message)))

        stored, flags, sent_on = by_pigeonhole(folder, script, message)
        assert _agrees(ours, stored, flags, sent_on=sent_on), f"{ours}\n{stored} {flags} {sent_on}\n{script}\n{message.decode()}"
        places.add((ours.folder, ours.discarded))
    assert places == {("", False), ("", True), ("Work", False), ("Lists/News", False)}  # no case was left out


def _agrees(ours: Filed, stored: set[str], flags: set[str], *, sent_on: bool) -> bool:
    """What would be sent on is kept here, where the rules keep no copy."""
    if not stored:
        return (ours.folder == "" and not ours.discarded) if sent_on else ours.discarded
    there = ours.folder or "INBOX"
    if ours.discarded or there not in stored or ("INBOX" in stored and there != "INBOX"):
        return False
    return {flag.lower() for flag in ours.flags} == flags
