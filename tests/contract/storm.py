"""A storm on a Maildir store, and the witness of what was there all the time. Standard library only; knows nothing of failsafe.

`python storm.py ROOT SEED` does what Dovecot, deliveries and many clients do, as fast as it is told to, and is the only one who changes
the store; so what it remembers is what was there. It obeys lines on stdin: `mark FILE` writes to FILE, as JSON, which contents were
there at every moment since the mark before (and begins anew), how many renames were made and how fast; `stop` ends it.

As with Dovecot, a flag change renames inside `cur`, names keep their part before ":2,", a file is renamed before `dovecot-uidlist` is
written, that list is appended to in place, keeps expunged names for a while, and is written anew (by a rename) now and then.
"""

import hashlib
import json
import os
import random
import select
import sys
import time
from collections import Counter, deque
from pathlib import Path

MESSAGES = 20_000  # in one folder
HOT = 50  # messages that get half of the renames
RATE = 400  # renames a second
BOX, OTHER = "example.org/anna", "example.org/bob"
INBOX, ARCHIVE, SENT = "", ".Archive", ".Sent"
NEIGHBOURS = 150  # messages in each of the other folders
LONG_AGO = 1_600_000_000
REWRITE = 200  # expunged names in a list of names before it is written anew
LETTERS = ("", "S", "RS", "FS", "FRS", "S", "DS", "ST")
ORDERS = os.fdopen(0, "rb", 0, closefd=False)  # no line waits in a buffer where `select` does not see it
# what else happens beside a hundred renames
OTHERS = {"deliver": 2.0, "move": 3.0, "back": 3.0, "link": 0.5, "copy": 0.5, "expunge": 2.0, "seen": 2.0}


class File:
    """One message in one folder."""

    def __init__(self, folder, base, info, content, sub="cur"):
        self.folder, self.base, self.info, self.content, self.sub = folder, base, info, content, sub
        self.dead = False

    @property
    def name(self):
        return f"{self.base}:2,{self.info}" if self.sub == "cur" else self.base

    @property
    def path(self):
        return self.folder.path / self.sub / self.name


class Folder:
    """A Maildir with its list of names."""

    def __init__(self, path):
        self.path, self.next, self.names, self.gone = path, 1, {}, 0
        self.list = path / "dovecot-uidlist"

    def create(self):
        for sub in ("cur", "new", "tmp"):
            (self.path / sub).mkdir(parents=True)

    def add(self, base):
        """Appended in place, after the file is there."""
        self.names[base] = self.next
        with self.list.open("ab") as file:
            file.write(f"{self.next} :{base}\n".encode())
        self.next += 1

    def forget(self, base):
        self.names.pop(base, None)
        self.gone += 1
        if self.gone >= REWRITE:
            self.rewrite()

    def rewrite(self):
        lines = [f"3 V1600000000 N{self.next} Ge3b0c44298fc1c149afbf4c8996fb924\n"]
        lines += [f"{uid} :{base}\n" for base, uid in sorted(self.names.items(), key=lambda item: item[1])]
        fresh = self.list.with_name("dovecot-uidlist.tmp")
        fresh.write_text("".join(lines))
        fresh.rename(self.list)
        self.gone = 0


class Store:
    """Everything below `root`, and what of it was there at every moment."""

    def __init__(self, root, seed, messages=MESSAGES):
        self.root, self.chance, self.messages = Path(root), random.Random(seed), messages
        self.folders = {}
        self.files = []  # those that the storm may touch, in no order
        self.hot, self.away, self.fresh = [], deque(), deque()
        self.count = Counter()  # content -> files that hold it
        self.number = 0
        self.vanished = set()
        self.since = frozenset()

    # ------------------------------------------------------------ before the storm

    def build(self):
        """Equal base names with other content in two folders and in two mailboxes; copies inside one folder, linked and real."""
        for box in (BOX, OTHER):
            for name in (INBOX, ARCHIVE, SENT):
                folder = self.folders[box, name] = Folder(self.root / box / name)
                folder.create()
        for number in range(self.messages):
            self.put(BOX, INBOX, f"{LONG_AGO + number}.M{number}P7.host", "S" if number % 3 else "")
        for box, name in list(self.folders):
            if (box, name) != (BOX, INBOX):
                for number in range(NEIGHBOURS):
                    self.put(box, name, f"{LONG_AGO + number}.M{number}P7.host", "S")
        for number in range(20):
            original = self.files[number * 7]
            self.copy(original, original.folder, linked=number % 2 == 0)
        for folder in self.folders.values():
            folder.rewrite()
        self.hot = self.chance.sample([file for file in self.files if file.folder is self.folders[BOX, INBOX]], HOT)
        self.calm()

    def body(self, size=0):
        self.number += 1
        random_bytes = self.chance.randbytes(size or self.chance.choice((200, 400, 900, 3000)))
        return f"Subject: {self.number}\nMessage-ID: <{self.number}@storm>\n\n".encode() + random_bytes.hex().encode() + b"\n"

    def put(self, box, name, base, info, sub="cur"):
        body, folder = self.body(), self.folders[box, name]
        file = File(folder, base, info, hashlib.sha256(body).hexdigest(), sub)
        temporary = folder.path / "tmp" / base
        temporary.write_bytes(body)
        date = LONG_AGO + self.number
        if sub == "cur":
            os.utime(temporary, (date, date))
        temporary.rename(file.path)
        folder.names[base] = folder.next
        folder.next += 1
        self.files.append(file)
        self.count[file.content] += 1
        return file

    def calm(self):
        """As if nobody had touched it for long."""
        for path in self.root.rglob("*"):
            if path.name in ("cur", "new"):
                os.utime(path, (LONG_AGO, LONG_AGO))

    # ------------------------------------------------------------ what happens

    def fresh_base(self):
        self.number += 1
        return f"{int(time.time())}.M{self.number}P8.host"

    def reflag(self):
        """The rename of a flag change."""
        file = self.chance.choice(self.hot if self.chance.random() < 0.5 else self.files)
        if file.sub == "new":
            return self.reflag()
        before = file.path
        file.info = self.chance.choice([letters for letters in LETTERS if letters != file.info])
        before.rename(file.path)
        return None

    def deliver(self):
        body = self.body()
        folder = self.folders[self.chance.choice((BOX, BOX, OTHER)), INBOX]
        base = self.fresh_base()
        file = File(folder, base, "", hashlib.sha256(body).hexdigest(), "new")
        temporary = folder.path / "tmp" / base
        temporary.write_bytes(body)
        self.count[file.content] += 1
        temporary.rename(file.path)
        folder.add(base)
        self.fresh.append(file)
        self.files.append(file)

    def seen(self):
        """new -> cur, as the next client that looks causes it."""
        if self.fresh:
            file = self.fresh.popleft()
            before = file.path
            file.sub = "cur"
            before.rename(file.path)

    def move(self):
        file = self.chance.choice(self.files)
        if file.folder is self.folders[BOX, INBOX] and file.sub == "cur":
            self.put_into(file, self.folders[BOX, self.chance.choice((ARCHIVE, SENT))])

    def back(self):
        """Home again, a moment after it left."""
        if self.away and time.monotonic() - self.away[0][1] > 0.3:
            file, _ = self.away.popleft()
            if not file.dead and file.folder is not self.folders[BOX, INBOX]:
                self.put_into(file, self.folders[BOX, INBOX])

    def put_into(self, file, folder):
        if file.base in folder.names:
            return
        before, old = file.path, file.folder
        file.folder = folder
        before.rename(file.path)
        folder.add(file.base)
        old.forget(file.base)
        if folder is not self.folders[BOX, INBOX]:
            self.away.append((file, time.monotonic()))

    def link(self):
        file = self.chance.choice(self.files)
        target = self.chance.choice([folder for (box, _), folder in self.folders.items() if box == BOX])
        self.copy(file, target, linked=True)

    def real_copy(self):
        file = self.chance.choice(self.files)
        self.copy(file, file.folder, linked=False)

    def copy(self, file, folder, *, linked):
        """As IMAP COPY does: another base name, the same bytes and date; a link or other bytes on the disk."""
        base = self.fresh_base()
        made = File(folder, base, file.info, file.content)
        if linked:
            os.link(file.path, made.path)
        else:
            temporary = folder.path / "tmp" / base
            temporary.write_bytes(file.path.read_bytes())
            info = file.path.stat()
            os.utime(temporary, ns=(info.st_mtime_ns, info.st_mtime_ns))
            temporary.rename(made.path)
        self.count[file.content] += 1
        folder.add(base)
        self.files.append(made)

    def expunge(self):
        place = self.chance.randrange(len(self.files))
        file = self.files[place]
        if file in self.hot or file.sub == "new":
            return
        file.dead = True
        self.files[place] = self.files[-1]
        self.files.pop()
        file.path.unlink()
        file.folder.forget(file.base)
        self.count[file.content] -= 1
        if not self.count[file.content]:
            self.vanished.add(file.content)

    # ------------------------------------------------------------ the witness

    def mark(self):
        """Contents that were there at every moment since the last mark."""
        throughout = self.since - self.vanished
        self.since = frozenset(content for content, files in self.count.items() if files > 0)
        self.vanished = set()
        return sorted(throughout)

    def on_disk(self):
        """What really lies there, to see that the witness remembers rightly."""
        found = Counter()
        for path in self.root.rglob("*"):
            if path.parent.name in ("cur", "new") and path.is_file():
                found[hashlib.sha256(path.read_bytes()).hexdigest()] += 1
        return found == +self.count


class Storm:
    """Renames at `rate` a second, late ones at once; the other deeds in proportion. Obeys stdin."""

    def __init__(self, store, rate=RATE):
        self.store, self.rate = store, rate
        self.renames, self.longest = 0, 0.0
        self.deeds = Counter()
        self.debts = dict.fromkeys(OTHERS, 0.0)
        self.began = self.last = time.monotonic()
        self.begun_with = 0

    def run(self):
        began = time.monotonic()
        while True:
            now = time.monotonic()
            due = int((now - began) * self.rate) - self.renames
            for _ in range(min(due, 100)):
                self.step()
            if due > 0:
                self.longest, self.last = max(self.longest, now - self.last), now
            if select.select([ORDERS], [], [], 0.0 if due > 100 else 0.002)[0] and not self.obey(
                ORDERS.readline().decode().split()
            ):
                return

    def step(self):
        self.store.reflag()
        self.renames += 1
        for deed, share in OTHERS.items():
            self.debts[deed] += share / 100
            if self.debts[deed] >= 1:
                self.debts[deed] -= 1
                getattr(self.store, "real_copy" if deed == "copy" else deed)()
                self.deeds[deed] += 1

    def obey(self, words):
        if words[:1] == ["mark"]:
            took = time.monotonic() - self.began
            made = self.renames - self.begun_with
            told = {
                "throughout": self.store.mark(),
                "renames": made,
                "seconds": round(took, 3),
                "rate": round(made / took, 1),
                "longest_pause": round(self.longest, 3),
                "deeds": dict(self.deeds),
            }
            Path(words[1] + ".new").write_text(json.dumps(told))
            Path(words[1] + ".new").rename(words[1])
            self.began = self.last = time.monotonic()
            self.begun_with, self.longest = self.renames, 0.0
            self.deeds.clear()
            return True
        return False


def main(root, seed, messages=MESSAGES, rate=RATE):
    store = Store(root, int(seed), int(messages))
    store.build()
    print("built", flush=True)
    if ORDERS.readline().strip() != b"storm":
        return 1
    Storm(store, int(rate)).run()
    print("the witness is right" if store.on_disk() else "the witness is wrong", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
