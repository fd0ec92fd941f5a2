"""How long a search takes in a catalog of a million messages, the process's start apart. The archive and its catalog are made by our own code, from a seed."""

import os
import random
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.report import Report
from failsafe.backup.archive import Archive, Staging
from failsafe.backup.catalog import open_current
from failsafe.backup.catalog_search import Query, search
from failsafe.mail.identity import digests
from failsafe.mail.manifest import Entry, FolderManifest, GenerationDraft, MailboxManifest
from failsafe.model import Result

PLACE = Path(os.environ.get("FAILSAFE_BENCH_FOLDER", "/var/tmp/failsafe-bench"))
SERVER, DOMAIN, LARGE = "vps", "example.org", "alice@example.org"
MAILBOXES, FOLDERS = 10, ("INBOX", "Sent", "Archive", "Lists", "Trash")
BEGAN, SPAN = 1_500_000_000, 8 * 365 * 86_400  # seconds since the epoch; how long the mail has been coming
FORMAT = 1  # of what is made: another number makes it anew
LIMIT = 201  # rows, as `failsafe search` asks for
TARGET = 100.0  # ms
VOCABULARY, SENDERS = 30_000, 20_000
CORPUS = 7  # the seed
SYLLABLES = [consonant + vowel for consonant in "bcdfghjklmnprstvwz" for vowel in "aeiou"] + ["ing", "ung", "tion", "er", "en"]


@dataclass(frozen=True)
class Words:
    """Who writes and about what; a few words are in very many subjects, most in hardly any, as in speech."""

    vocabulary: list[str]
    senders: list[str]

    @classmethod
    def made(cls) -> "Words":
        source = random.Random(CORPUS)
        words = list(dict.fromkeys("".join(source.choices(SYLLABLES, k=source.randint(2, 5))) for _ in range(VOCABULARY * 2)))
        names = [f"{source.choice(words).title()} {source.choice(words).title()}" for _ in range(SENDERS)]
        senders = [f"{name} <{name.lower().replace(' ', '.')}@{source.choice(words)}.example>" for name in names]
        return cls(words[:VOCABULARY], senders)

    def word(self, source: random.Random) -> str:
        return self.vocabulary[
            int(len(self.vocabulary) ** source.random()) - 1
        ]  # the n-th is taken about 1/n as often as the first

    def sender(self, source: random.Random) -> str:
        return self.senders[int(len(self.senders) ** source.random()) - 1]


@dataclass(frozen=True)
class Kind:
    """One kind of question; `ask` makes one from a source of chance."""

    name: str
    ask: Callable[[random.Random], Query]


def measure(messages: int, runs: int) -> Report:
    """The figures for `search`: each question is asked of a catalog that is opened for it, as a search does."""
    words = Words.made()
    folder, took = made(messages, words)
    archive, catalog = Archive(folder / "staging"), folder / "catalog.sqlite"
    report = Report(
        "search" if messages == 1_000_000 else f"search-{messages}",
        f"A catalog of {messages:,} messages in {MAILBOXES} mailboxes, half of them in one, subjects and senders of a made-up language with few "
        f"frequent and many rare words. Each question is asked {runs} times with other words, the catalog opened and brought up to date each time, "
        f"at most {LIMIT} rows taken; the process's start is not in it. Warm caches.",
    )
    source, everything, rows = random.Random(CORPUS + 1), [], 0
    for kind in kinds(words):
        times = []
        for _ in range(runs):
            query = kind.ask(source)
            begun = time.perf_counter()
            with open_current(catalog, [(SERVER, archive)]) as opened:
                rows = len(list(search(opened, query, limit=LIMIT)))
            times.append((time.perf_counter() - begun) * 1000)
        everything += times
        report.at_most(
            f"{kind.name}: median (slowest {max(times):.0f} ms; {rows} rows at last)", statistics.median(times), "ms", TARGET, 1
        )
    report.at_most("all questions: median", statistics.median(everything), "ms", TARGET, 1)
    report.fact("the catalog's file", f"{catalog.stat().st_size / 1e6:.0f} MB")
    if took:
        report.fact("the catalog made from the archive", f"{took:.0f} s")
    return report


def kinds(words: Words) -> list[Kind]:
    vocabulary = words.vocabulary

    def day(source: random.Random) -> datetime:
        return datetime.fromtimestamp(BEGAN, UTC) + timedelta(seconds=source.randrange(SPAN))

    def since(source: random.Random) -> Query:
        first = day(source)
        return Query(mailbox=LARGE, since=first, until=first + timedelta(days=1))

    return [
        Kind("--message-id", lambda source: Query(message_id=f"<{source.randrange(100_000)}@bench>")),
        Kind("--from, a rare sender", lambda source: Query(sender=source.choice(words.senders[1000:]).partition(" <")[0])),
        Kind("--from, the most frequent senders", lambda source: Query(sender=source.choice(words.senders[:5]).partition(" <")[0])),
        Kind("a rare word", lambda source: Query(words=(source.choice(vocabulary[2000:]),))),
        Kind("a frequent word", lambda source: Query(words=(source.choice(vocabulary[:5]),))),
        Kind("two words", lambda source: Query(words=(source.choice(vocabulary[:500]), source.choice(vocabulary[:500])))),
        Kind("a word of two letters", lambda source: Query(words=(source.choice(SYLLABLES[:90]),))),
        Kind("two letters that nothing has", lambda _: Query(subject="%~")),
        Kind("a frequent word in one mailbox", lambda source: Query(mailbox="u3@*", words=(source.choice(vocabulary[:5]),))),
        Kind("--subject and --from", lambda source: Query(subject=words.word(source), sender=source.choice(words.senders[:200]).partition(" <")[0])),
        Kind("a mailbox, one day of it", since),
        Kind("one day of all", lambda source: Query(since=(first := day(source)), until=first + timedelta(days=1))),
        Kind("a folder, the newest of it", lambda source: Query(mailbox=LARGE, folder=source.choice(FOLDERS))),
        Kind("everything, the newest", lambda _: Query()),
        Kind("--gone", lambda _: Query(gone=True)),
        Kind("--gone-since in a mailbox", lambda _: Query(mailbox=LARGE, gone_since=moment(2))),
        Kind("--gone and a frequent word", lambda source: Query(gone=True, words=(source.choice(vocabulary[:5]),))),
        Kind("--at, a folder as it was", lambda _: Query(mailbox=LARGE, folder="Archive", at=moment(1))),
        Kind("nothing that is there", lambda source: Query(words=(f"zzq{source.randrange(10**6)}",))),
    ]  # fmt: skip


def made(messages: int, words: Words) -> tuple[Path, float]:
    """The folder that holds staging and catalog, from the last time where both are whole; and how long the catalog took."""
    folder = PLACE / f"search-{FORMAT}-{messages}"
    if not (folder / "whole").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        fill(folder / "staging", messages, words)
        (folder / "whole").touch()
    begun = time.perf_counter()
    fresh = not (folder / "catalog.sqlite").exists()
    with open_current(folder / "catalog.sqlite", [(SERVER, Archive(folder / "staging"))]) as catalog:
        fresh = fresh or catalog.connection.total_changes > messages
    return folder, time.perf_counter() - begun if fresh else 0.0


def fill(place: Path, messages: int, words: Words) -> None:
    """Two states a day apart: in the second, one message of a hundred is gone, and one has moved to the next folder."""
    entries: dict[tuple[str, str], list[Entry]] = {}
    segments: dict[str, list[str]] = {}
    with Staging.open(place, SERVER) as staging:
        for mailbox, folder, numbers in shares(messages):
            with staging.segment_writer(mailbox, known=lambda _: False) as writer:
                entries[mailbox, folder] = [stored(writer.add, number, uid, words) for uid, number in enumerate(numbers, start=1)]
            segments.setdefault(mailbox, []).extend(sealed.name for sealed in writer.sealed)
        commit(staging, moment(1), entries, segments)
        kept = {place: [entry for entry in held if (entry.uid or 0) % 100 not in {17, 18}] for place, held in entries.items()}
        for (mailbox, folder), held in entries.items():
            target = FOLDERS[(FOLDERS.index(folder) + 1) % len(FOLDERS)]
            moved = [entry for entry in held if (entry.uid or 0) % 100 == 18]
            first = max((entry.uid or 0) for entry in kept[mailbox, target]) + 1
            kept[mailbox, target] += [with_uid(entry, first + place) for place, entry in enumerate(moved)]
        commit(staging, moment(2), kept, segments)


def shares(messages: int) -> Iterator[tuple[str, str, range]]:
    start = 0
    for number in range(MAILBOXES):
        mailbox = LARGE if number == 0 else f"u{number}@{DOMAIN}"
        for folder in FOLDERS:
            whole = messages // 2 if number == 0 else messages // 2 // (MAILBOXES - 1)
            count = whole // len(FOLDERS)
            yield mailbox, folder, range(start, start + count)
            start += count


def stored(add: Callable[[list[bytes]], object], number: int, uid: int, words: Words) -> Entry:
    source = random.Random(number)
    date = BEGAN + source.randrange(SPAN)
    subject = " ".join(words.word(source) for _ in range(source.randint(2, 9)))
    data = (
        f"From: {words.sender(source)}\r\nTo: {words.sender(source)}\r\nSubject: {subject}\r\nMessage-ID: <{number}@bench>\r\n"
        f"Date: {datetime.fromtimestamp(date, UTC):%a, %d %b %Y %H:%M:%S +0000}\r\n\r\n{number}\r\n"
    ).encode()
    add([data])
    id_, canonical = digests(data)
    return Entry(uid, id_, canonical, "S", (), date, f"{date}.M{number}.host", len(data), None)


def with_uid(entry: Entry, uid: int) -> Entry:
    return Entry(uid, entry.id, entry.canonical, entry.flags, entry.keywords, entry.internal_date, entry.name, entry.size, None)


def commit(staging: Staging, at: datetime, entries: dict[tuple[str, str], list[Entry]], segments: dict[str, list[str]]) -> None:
    manifests, total = {}, 0
    for mailbox, names in segments.items():
        rows = []
        for folder in FOLDERS:
            held = entries[mailbox, folder]
            directory = "" if folder == "INBOX" else "." + folder
            rows.append(FolderManifest(folder, directory, staging.write_shards(held), len(held), 1, len(held) * 2))
            total += len(held)
        manifests[mailbox] = staging.write_mailbox(MailboxManifest(mailbox, "maildir++", tuple(rows), tuple(names)))
    staging.commit(GenerationDraft(at=at, result=Result.OK, messages=total, mailboxes=manifests))


def moment(day: int) -> datetime:
    return datetime.fromtimestamp(BEGAN + SPAN, UTC) + timedelta(days=day)
