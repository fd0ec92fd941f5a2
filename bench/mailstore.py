"""A mail store on disk for the backup's benchmark: made once from a seed, changed as a mail server changes it."""

import hashlib
import multiprocessing
import os
import random
import shutil
import string
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DOMAIN = "example.org"
LARGE = f"{DOMAIN}/alice"  # holds half of all messages, in its INBOX
MAILBOXES, FOLDERS = 10, ("", ".Sent", ".Archive", ".Lists", ".Trash")
MEDIAN, SPREAD, ATTACHED = 4_000, 0.9, 0.03  # bytes and sigma of the text; share of messages with an attachment of 20 to 400 kB
BEGAN = 1_600_000_000  # when the oldest message came, seconds since the epoch
FORMAT = 1  # of the store: another number makes it anew
LETTERS = b" etaoinshrdlu etaoinshrdlu etaoinshrdlcumwfgypbvk etaoinshr\n"
TEXT = bytes(LETTERS[byte % len(LETTERS)] for byte in range(256))  # random bytes to what compresses as text does, to a half
BASE64 = bytes((string.ascii_letters + string.digits + "+/").encode()[byte % 64] for byte in range(256))


@dataclass(frozen=True)
class Part:
    """One folder to fill."""

    path: Path
    seed: int
    count: int
    mean: int


@dataclass
class MailStore:
    """`root` holds DOMAIN/USER/ Maildirs."""

    root: Path
    messages: int

    @property
    def large(self) -> Path:
        return self.root / LARGE

    def deliver(self, count: int) -> list[Path]:
        """New messages in the large folder, numbered by the server as they come."""
        source, made, began = random.Random(time.time_ns()), [], int(time.time())
        uid = 10_000_000 + time.time_ns() // 1_000_000 % 1_000_000_000
        with (self.large / "dovecot-uidlist").open("ab") as listed:
            for number in range(count):
                path = _write(self.large / "new", source, began, number, 11_000, flags="")
                listed.write(b"%d :%s\n" % (uid + number, path.name.encode()))
                made.append(path)
        return made

    def flag(self, count: int) -> None:
        """Turns the flag `replied` of so many messages, evenly spread over the large folder."""
        folder = self.large / "cur"
        names = sorted(path.name for path in folder.iterdir())
        step = max(1, len(names) // count)
        for name in names[time.time_ns() % step :: step][:count]:  # others each time: a state that was there before costs less
            base, _, letters = name.partition(":2,")
            turned = letters.replace("R", "") if "R" in letters else "R" + letters
            (folder / name).rename(folder / f"{base}:2,{turned}")

    def size(self) -> int:
        return int((self.root.parent / "bytes").read_text())


def made(place: Path, messages: int, mean: int) -> MailStore:
    """The store of this size, from the last time where there is one whole."""
    folder = place / f"store-{FORMAT}-{messages}-{mean}"
    store = MailStore(folder / "mail", messages)
    if not (folder / "bytes").exists():
        shutil.rmtree(folder, ignore_errors=True)
        with multiprocessing.Pool(2) as pool:
            total = sum(pool.imap_unordered(_fill, list(_parts(store.root, messages, mean))))
        os.sync()
        (folder / "bytes").write_text(str(total))
    return store


def _parts(root: Path, messages: int, mean: int) -> Iterator[Part]:
    yield Part(root / LARGE, 0, messages // 2, mean)
    places = [(f"user{box}", name) for box in range(1, MAILBOXES) for name in FOLDERS] + [("alice", name) for name in FOLDERS[1:]]
    rest, done = messages - messages // 2, 0
    for number, (user, name) in enumerate(places, 1):
        upto = rest * number // len(places)
        yield Part(root / DOMAIN / user / name, number, upto - done, mean)
        done = upto


def _fill(part: Part) -> int:
    source, total = random.Random(f"{FORMAT} {part.seed}"), 0
    for sub in ("cur", "new", "tmp"):
        (part.path / sub).mkdir(parents=True)
    guid = hashlib.md5(str(part.seed).encode()).hexdigest()
    with (part.path / "dovecot-uidlist").open("w") as listed:
        listed.write(f"3 V{BEGAN + part.seed} N{part.count + 1} G{guid}\n")
        for uid in range(1, part.count + 1):
            flags = source.choices(("S", "", "RS", "FS"), (85, 7, 6, 2))[0]
            path = _write(part.path / "cur", source, BEGAN + uid * 60 + part.seed, uid, part.mean, flags=flags)
            total += path.stat().st_size
            listed.write(f"{uid} :{path.name.partition(':2,')[0]}\n")
    return total


def _write(folder: Path, source: random.Random, at: int, number: int, mean: int, *, flags: str) -> Path:
    content = _message(source, at, number, mean)
    wide = len(content) + content.count(b"\n")
    unique = f"{at}.M{source.randrange(1_000_000)}P{source.randrange(30_000)}.mail,S={len(content)},W={wide}"
    path = folder / (unique if folder.name == "new" else f"{unique}:2,{flags}")
    path.write_bytes(content)
    os.utime(path, (at, at))
    return path


def _message(source: random.Random, at: int, number: int, mean: int) -> bytes:
    """`mean` bytes on average: text of log-normal length, now and then an attachment."""
    word = "".join(source.choices(string.ascii_lowercase, k=12))
    head = (
        f"Return-Path: <{word}@example.net>\nReceived: from mx.example.net by mail.example.org; {time.ctime(at)} +0000\n"
        f"Message-ID: <{at}.{number}.{source.getrandbits(64):x}@example.net>\nFrom: {word.title()} <{word}@example.net>\n"
        f"To: alice@example.org\nSubject: {word} {number}\nDate: {time.ctime(at)} +0000\n\n"
    ).encode()
    scale = mean / 11_400
    text = source.randbytes(min(int(source.lognormvariate(0, SPREAD) * MEDIAN * scale), 200_000)).translate(TEXT)
    if source.random() >= ATTACHED:
        return head + text + b"\n"
    block = source.randbytes(int(source.uniform(20_000, 360_000) * scale)).translate(BASE64)
    lines = b"\n".join(block[start : start + 76] for start in range(0, len(block), 76))
    return head + text + b"\n\n" + lines + b"\n"
