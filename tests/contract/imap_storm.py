"""Mail clients that storm one mailbox over IMAP, and remember which of their messages were there all the time. Standard library only.

`python imap_storm.py PORT USER PASSWORD SEED`: several clients, each with messages of its own and a connection for each folder, set
flags, move, copy, append and expunge as fast as the server lets them. On stdin: `mark FILE` and `stop`, as storm.py.
"""

import imaplib
import json
import random
import re
import ssl
import sys
import threading
import time
from collections import Counter
from pathlib import Path

CLIENTS, MESSAGES = 3, 120  # each
FOLDERS = ("INBOX", "Archive")
COPIED = re.compile(rb"(\d+) (\S+) (\S+)")  # COPYUID: UIDVALIDITY, from, to (RFC 4315)
FLAGS = ("\\Seen", "\\Flagged", "\\Answered", "$Work")


class Client(threading.Thread):
    """Owns its messages: token -> places (folder, uid). Only it changes them, so that what it remembers is what is there."""

    def __init__(self, number, port, user, password, seed):
        super().__init__(daemon=True)
        self.chance, self.number, self.count = random.Random(seed * 100 + number), number, 0
        self.places, self.lock, self.deeds = {}, threading.Lock(), Counter()
        self.vanished, self.since, self.stopping = set(), frozenset(), threading.Event()
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.lines = {}
        for folder in FOLDERS:
            line = imaplib.IMAP4_SSL("127.0.0.1", port, ssl_context=context)
            line.login(user, password)
            line.create(folder)
            line.select(folder)
            self.lines[folder] = line
        for _ in range(MESSAGES):
            self.append("INBOX")

    def append(self, folder=None):
        self.count += 1
        token = f"token-{self.number}-{self.count}"
        text = f"Subject: {token}\r\nX-Token: {token}\r\n\r\n{'x' * self.chance.randrange(2000)}\r\n".encode()
        folder = folder or self.chance.choice(FOLDERS)
        _, data = self.lines[folder].append(folder, None, None, text)
        found = re.search(rb"APPENDUID \d+ (\d+)", data[0])
        with self.lock:
            self.places[token] = [(folder, int(found.group(1)))]

    def pick(self):
        token = self.chance.choice(list(self.places))
        return token, self.chance.randrange(len(self.places[token]))

    def flags(self):
        token, which = self.pick()
        folder, uid = self.places[token][which]
        self.lines[folder].uid("STORE", str(uid), self.chance.choice(("+FLAGS", "-FLAGS")), f"({self.chance.choice(FLAGS)})")

    def take(self, verb):
        """MOVE or COPY into the other folder; gives the place it has there."""
        token, which = self.pick()
        folder, uid = self.places[token][which]
        other = FOLDERS[1 - FOLDERS.index(folder)]
        line = self.lines[folder]
        line.response("COPYUID")
        line.noop()
        status, data = line.uid(verb, str(uid), other)
        told = (line.response("COPYUID")[1] or [None])[-1] or b" ".join(part for part in data if part)
        found = COPIED.search(told or b"")
        if status != "OK" or not found:
            raise RuntimeError(f"{verb} {folder} {uid}: {status} {told!r} {data!r}")
        return token, which, (other, int(found.group(3)))

    def move(self):
        token, which, place = self.take("MOVE")
        with self.lock:
            self.places[token][which] = place

    def copy(self):
        token, _, place = self.take("COPY")
        with self.lock:
            self.places[token].append(place)

    def expunge(self):
        token, which = self.pick()
        folder, uid = self.places[token][which]
        line = self.lines[folder]
        line.noop()
        line.uid("STORE", str(uid), "+FLAGS", "(\\Deleted)")
        line.uid("EXPUNGE", str(uid))
        with self.lock:
            self.places[token].pop(which)
            if not self.places[token]:
                del self.places[token]
                self.vanished.add(token)

    def run(self):
        deeds = ["flags"] * 80 + ["move"] * 8 + ["append"] * 5 + ["copy"] * 2 + ["expunge"] * 3
        while not self.stopping.is_set():
            deed = self.chance.choice(deeds)
            getattr(self, deed)()
            self.deeds[deed] += 1

    def mark(self):
        with self.lock:
            throughout = self.since - self.vanished
            self.since, self.vanished = frozenset(self.places), set()
            return throughout


def main(port, user, password, seed):
    clients = [Client(number, int(port), user, password, int(seed)) for number in range(CLIENTS)]
    print("built", flush=True)
    began, before = time.monotonic(), 0
    for line in sys.stdin:
        words = line.split()
        if words[0] == "storm":
            for client in clients:
                client.start()
        elif words[0] == "mark":
            took, made = time.monotonic() - began, sum(sum(client.deeds.values()) for client in clients)
            told = {
                "throughout": sorted(token for client in clients for token in client.mark()),
                "renames": made - before,
                "seconds": round(took, 3),
                "rate": round((made - before) / took, 1),
                "deeds": dict(sum((client.deeds for client in clients), Counter())),
            }
            began, before = time.monotonic(), made
            Path(words[1] + ".new").write_text(json.dumps(told))
            Path(words[1] + ".new").rename(words[1])
        else:
            break
    alive = [client.is_alive() for client in clients]
    for client in clients:
        client.stopping.set()
    for client in clients:
        client.join(60)
    print("the witness is right" if all(alive) else "a client broke off", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
