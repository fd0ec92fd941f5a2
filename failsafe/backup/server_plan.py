"""What the restore of a whole server will write, decided before anything is written. Pure: manifests and entries give places, names, owners and UIDs.

Two things make UIDs safe (RFC 3501 section 2.3.1.1: a UID is never used twice under one UIDVALIDITY). A folder's next UID is set above any that the
lost server can have given out since; where that is not known, the folder gets a new UIDVALIDITY. And Dovecot's counter of UIDVALIDITY
(`dovecot-uidvalidity*`) stays behind: put back, it would give a folder that is made now the number of one that was made after the backup.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from math import ceil

from failsafe.backup.archive.rebuild import LETTERS, base_name, folder_parts, keyword_letters
from failsafe.mail.manifest import Entry, FileRef, FolderManifest, MailboxManifest

FRESH = timedelta(days=30)  # what people need to work comes first
MARGIN = 10_000  # UIDs left out at the least: more than a folder gets between two backups
HASTE = 10  # times as many as usual may have come since the last backup
LAST_UID = 2**32 - 1
RESERVE = 1 << 20  # UIDs that must be left above the next one
NEVER = ("dovecot.index", "dovecot.list.index", "dovecot-uidvalidity", "maildirsize")  # made anew by the server
OURS = ("dovecot-uidlist", "dovecot-keywords", "maildirfolder")  # written from the manifests
SIEVE = (".sieve",)
# what makes one machine that machine: put back on another, it may not start or not let anybody in. A person takes from it what they need
MACHINE = (
    "boot/*", "etc/fstab", "etc/crypttab", "etc/mtab", "etc/hostname", "etc/hosts", "etc/machine-id", "etc/resolv.conf", "etc/passwd*", "etc/shadow*",
    "etc/group*", "etc/gshadow*", "etc/subuid*", "etc/subgid*", "etc/sudoers*", "etc/pam.d/*", "etc/ssh/*", "etc/network/*", "etc/netplan/*",
    "etc/systemd/network/*", "etc/NetworkManager/*", "etc/udev/*", "etc/default/grub*", "etc/grub.d/*", "etc/kernel/*", "etc/initramfs-tools/*",
    "etc/lvm/*", "etc/mdadm/*", "etc/modprobe.d/*", "etc/modules*", "etc/apt/*", "etc/ld.so*", "etc/alternatives/*", "root/.ssh/*", "home/*/.ssh/*",
    "bin/*", "sbin/*", "lib/*", "usr/bin/*", "usr/sbin/*", "usr/lib/*", "usr/share/*", "var/lib/dpkg/*", "var/lib/apt/*", "var/lib/systemd/*", "run/*",
)  # fmt: skip
PRIVATE, SHARED, OPEN = 0o700, 0o750, 0o755

Owner = tuple[int, int]  # uid, gid


@dataclass(frozen=True, slots=True)
class Known:
    """What a known state says of a folder."""

    uid_validity: int
    uid_next: int


@dataclass(frozen=True, slots=True)
class UidChoice:
    """`uid_validity` None: the server chooses, as it never had one. `is_new`: clients load the folder again."""

    uid_validity: int | None
    uid_next: int
    is_new: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class Letter:
    """One message on its way into one folder."""

    id: str
    size: int
    internal_date: int  # seconds since the epoch
    base: str
    letters: str  # after ":2,"

    @property
    def name(self) -> str:
        return f"{self.base}:2,{self.letters}"


@dataclass(frozen=True, slots=True)
class FolderPlan:
    name: str  # IMAP name
    place: str  # below the folder of mailboxes
    letters: tuple[Letter, ...]
    uids: UidChoice
    uidlist: bytes  # b"": the server makes its own
    keywords: bytes
    is_marked: bool  # a Maildir++ subfolder, with the file maildirfolder
    lost_keywords: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Placed:
    """A control file and where it goes, below the folder of mailboxes."""

    place: str
    file: FileRef


@dataclass(frozen=True, slots=True)
class MailboxPlan:
    mailbox: str
    home: str  # DOMAIN/USER below the folder of mailboxes
    place: str  # of the Maildir itself
    owner: Owner
    folders: tuple[FolderPlan, ...]
    files: tuple[Placed, ...]
    subscriptions: bytes  # b"": the file is among `files`, or there are none
    left_out: tuple[str, ...] = ()  # sentences about what cannot be written

    @property
    def messages(self) -> int:
        return sum(len(folder.letters) for folder in self.folders)

    @property
    def bytes(self) -> int:
        return sum(letter.size for folder in self.folders for letter in folder.letters)


@dataclass(frozen=True, slots=True)
class Silence:
    """How old what is known is: the newest state, and now."""

    known_at: datetime
    now: datetime

    @property
    def days(self) -> float:
        return max(0.0, (self.now - self.known_at) / timedelta(days=1))


def choose_uids(folder: FolderManifest, entries: Sequence[Entry], known: Sequence[Known], silence: Silence) -> UidChoice:
    """The next UID, and whether clients may keep what they know of the folder. `known`: the newest states that there are of it."""
    highest = max((entry.uid for entry in entries if entry.uid is not None), default=0)
    if folder.uid_validity is None:
        return UidChoice(None, highest + 1)
    fresh = max([int(silence.now.timestamp()), *(one.uid_validity + 1 for one in known)])
    same = [one.uid_next for one in known if one.uid_validity == folder.uid_validity]
    if known and not same:
        why = "the server had given the folder another UIDVALIDITY since, and what it did before that is not known"
        return UidChoice(fresh, highest + 1, is_new=True, why=why)
    following = max([folder.uid_next or 1, highest + 1, *same])
    safe = following + max(MARGIN, ceil(HASTE * _per_day(entries, silence) * silence.days))
    if safe > LAST_UID - RESERVE:
        return UidChoice(fresh, highest + 1, is_new=True, why="too few UIDs are left under the old UIDVALIDITY")
    return UidChoice(folder.uid_validity, safe)


def _per_day(entries: Sequence[Entry], silence: Silence) -> float:
    since = (silence.known_at - FRESH).timestamp()
    return sum(entry.internal_date >= since for entry in entries) / (FRESH / timedelta(days=1))


@dataclass(frozen=True, slots=True)
class Placing:
    """How mailboxes lie on the server: `naming` "domain/user" or "user@domain"; `base` "" or "Maildir"."""

    naming: str = "domain/user"
    base: str = ""

    def home(self, mailbox: str) -> str:
        """Raises ValueError for a name that is no path of its own."""
        user, at, domain = mailbox.rpartition("@")
        parts = [mailbox] if not at else [mailbox] if self.naming == "user@domain" else [domain, user]
        if any(
            part in ("", ".", "..") or "/" in part or "\0" in part or len(part.encode("utf-8", "surrogateescape")) > 255
            for part in parts
        ):
            raise ValueError(f"{mailbox!r} is no name of a folder")
        return "/".join(parts)


def plan_mailbox(
    manifest: MailboxManifest,
    entries: Mapping[str, Sequence[Entry]],  # by the folder's directory
    placing: Placing,
    owner: Owner,
    known: Mapping[str, Sequence[Known]],  # by the folder's name
    silence: Silence,
) -> MailboxPlan:
    home = placing.home(manifest.mailbox)
    place = "/".join(part for part in (home, placing.base) if part)
    folders: list[FolderPlan] = []
    subscribed: list[list[str]] = []
    left_out: list[str] = []
    taken: set[tuple[str, ...]] = set()
    for folder in manifest.folders:
        parts = folder_parts({"name": folder.name, "directory": folder.directory}, manifest.layout, taken)
        taken.add(tuple(parts))
        if "/".join(parts) != folder.directory:
            left_out.append(f"folder {folder.name} is written to {'/'.join(parts)}")
        present = [entry for entry in entries[folder.directory] if entry.gone_at is None]
        choice = choose_uids(folder, present, known.get(folder.name, ()), silence)
        folders.append(_plan_folder(folder, "/".join([place, *parts]), present, choice, manifest.layout))
        if folder.subscribed:
            subscribed.append(parts)
    files = tuple(_control_files(manifest.files, home, place, left_out))
    listed = any(placed.place == f"{place}/subscriptions" for placed in files)
    lines = b"" if listed else _subscriptions(subscribed, manifest.layout)
    return MailboxPlan(manifest.mailbox, home, place, owner, tuple(folders), files, lines, tuple(left_out))


def _plan_folder(folder: FolderManifest, place: str, entries: Sequence[Entry], choice: UidChoice, layout: str) -> FolderPlan:
    counts = Counter(word for entry in entries for word in entry.keywords)
    letters, lost = keyword_letters({"keyword_letters": list(folder.keyword_letters)}, counts)
    names: set[bytes] = set()

    def take(name: bytes) -> bool:
        free = name not in names
        names.add(name)
        return free

    planned: list[Letter] = []
    lines: list[tuple[int, bytes]] = []
    uids: set[int] = set()
    for entry in entries:
        raw = base_name({"name": entry.name, "id": entry.id, "internal_date": entry.internal_date}, take)
        marks = entry.flags + "".join(sorted(letters[word] for word in entry.keywords if word in letters))
        planned.append(Letter(entry.id, entry.size, entry.internal_date, raw.decode("utf-8", "surrogateescape"), marks))
        if entry.uid is not None and entry.uid not in uids:
            uids.add(entry.uid)
            lines.append((entry.uid, raw))
    rows = sorted((LETTERS.index(letter), word) for word, letter in letters.items())
    keywords = b"".join(f"{number} {word}\n".encode("utf-8", "surrogateescape") for number, word in rows)
    return FolderPlan(
        name=folder.name,
        place=place,
        letters=tuple(planned),
        uids=choice,
        uidlist=_uidlist(choice, folder.guid, lines),
        keywords=keywords,
        is_marked=bool(folder.directory) and layout == "maildir++",
        lost_keywords=tuple(lost),
    )


def _uidlist(choice: UidChoice, guid: str, lines: Iterable[tuple[int, bytes]]) -> bytes:
    """Version 3, as Dovecot writes it. Without it Dovecot numbers the messages itself, under a UIDVALIDITY of its own."""
    if choice.uid_validity is None:
        return b""
    head = f"3 V{choice.uid_validity} N{choice.uid_next}" + (f" G{guid}" if guid else "")
    return head.encode("ascii") + b"\n" + b"".join(b"%d :%s\n" % line for line in sorted(lines))


def _control_files(files: Iterable[FileRef], home: str, place: str, left_out: list[str]) -> Iterator[Placed]:
    """Where the Maildir is a folder of the user's home, sieve scripts lie beside it and all else in it."""
    for file in files:
        parts = file.path.split("/")
        if any(part in ("", ".", "..", "cur", "new", "tmp") or "\0" in part for part in parts):
            left_out.append(f"control file {file.path!r} has no safe name")
            continue
        if parts[-1] in OURS or parts[-1].startswith(NEVER):
            continue
        is_sieve = parts[-1].endswith(SIEVE) or parts[0] in ("sieve", "home")
        yield Placed(f"{home if is_sieve else place}/{file.path}", file)


def _subscriptions(folders: Sequence[Sequence[str]], layout: str) -> bytes:
    lines = []
    for parts in folders:
        levels = parts[0][1:].split(".") if parts and layout == "maildir++" else parts
        lines.append(("\t".join(levels) or "INBOX").encode("utf-8", "surrogateescape") + b"\n")
    return b"V\t2\n\n" + b"".join(lines) if lines else b""


def owner_of(manifest: MailboxManifest) -> Owner | None:
    """Who owns a mailbox, by the files beside its messages; None where there are none."""
    owners = Counter((file.uid, file.gid) for file in manifest.files)
    return owners.most_common(1)[0][0] if owners else None


def by_age(letters: Iterable[Letter], at: datetime) -> tuple[list[Letter], list[Letter]]:
    """(the newest 30 days before `at`, the rest)."""
    since = (at - FRESH).timestamp()
    fresh: list[Letter] = []
    rest: list[Letter] = []
    for letter in letters:
        (fresh if letter.internal_date >= since else rest).append(letter)
    return fresh, rest


def plan_folders(places: Iterable[str], owner: Owner) -> list[tuple[str, int, int, int]]:
    """Rows for the server: each folder after those that it lies in."""
    wanted: dict[str, None] = {}
    for place in places:
        parts = place.split("/")
        for count in range(1, len(parts) + 1):
            wanted["/".join(parts[:count])] = None
    return [(path, PRIVATE, *owner) for path in sorted(wanted, key=lambda path: (path.count("/"), path))]


# ---------------------------------------------------------------- the server's own files


@dataclass(frozen=True, slots=True)
class FilesPlan:
    """`by_hand`: outputs of commands, and files that belong to one machine; they are not put into place."""

    files: tuple[FileRef, ...]
    by_hand: tuple[FileRef, ...]
    folders: tuple[tuple[str, int, int, int], ...]  # (path, mode, uid, gid), where they lack
    links: tuple[tuple[str, str], ...]
    left_out: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        return sum(file.size for file in (*self.files, *self.by_hand))


def plan_files(files: Iterable[FileRef], links: Mapping[str, str]) -> FilesPlan:
    """Folders are in no backup: one that lacks belongs to the owner of what is in it, and is as closed as that."""
    kept: list[FileRef] = []
    by_hand: list[FileRef] = []
    left_out: list[str] = []
    for file in files:
        parts = file.path.split("/")
        if any(part in ("", ".", "..") or "\0" in part for part in parts):
            left_out.append(f"file {file.path!r} has no safe name")
        elif parts[0] == "commands" or any(fnmatchcase(file.path, pattern) for pattern in MACHINE):
            by_hand.append(file)
        elif parts[-1].startswith(NEVER) or file.path == "accounts.json":
            continue  # made anew; or ours, made from the server's own files
        else:
            kept.append(file)
    wanted = {
        path.strip("/"): target
        for path, target in links.items()
        if _is_path(path) and not any(fnmatchcase(path.strip("/"), pattern) for pattern in MACHINE)
    }
    return FilesPlan(
        tuple(kept), tuple(by_hand), tuple(_folders_of(kept, wanted)), tuple(sorted(wanted.items())), tuple(left_out)
    )


def _is_path(path: str) -> bool:
    return path.startswith("/") and not any(part in ("", ".", "..") or "\0" in part for part in path.strip("/").split("/"))


def _folders_of(files: Sequence[FileRef], links: Mapping[str, str]) -> Iterator[tuple[str, int, int, int]]:
    inside: dict[str, list[FileRef]] = {}
    every: dict[str, None] = {}
    for path in (*(file.path for file in files), *links):
        parts = path.split("/")[:-1]
        for count in range(1, len(parts) + 1):
            every["/".join(parts[:count])] = None
    for file in files:
        inside.setdefault(file.path.rpartition("/")[0], []).append(file)
    for path in sorted(every, key=lambda path: (path.count("/"), path)):
        yield (path, *_facts_of_folder(inside.get(path, [])))


def _facts_of_folder(files: Sequence[FileRef]) -> tuple[int, int, int]:
    owners = {(file.uid, file.gid) for file in files}
    bits = 0
    for file in files:
        bits |= file.mode
    mode = OPEN if not files or bits & 0o007 else SHARED if bits & 0o070 else PRIVATE
    uid, gid = owners.pop() if len(owners) == 1 else (0, 0)
    return mode, uid, gid
