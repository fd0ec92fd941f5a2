"""Runs inside a host: VERB SERVER USER PASSWORD CA_FILE [WORD…]; speaks verified IMAPS; prints JSON.

ids FOLDER        the X-Lab-Id of every message
seed COUNT TAG    folders, flags, keywords, dates, sizes, a copy and a hole in the UIDs
digest            folders, UIDs, flags, dates and the SHA-256 of every message
delete FOLDER ID  expunge the messages with this X-Lab-Id
mark FOLDER ID F… set these flags and keywords, as \\Seen or Projekt
move FOLDER ID TO into another folder, which is made where there is none
drop FOLDER       delete a folder with all that is in it
empty             delete it all

Standard library only, and nothing of failsafe: what it reports is an independent witness.
"""

import base64
import hashlib
import imaplib
import json
import random
import re
import ssl
import sys
from collections.abc import Callable
from typing import Any

FOLDERS = ["INBOX", "Archive/2026", "Entwürfe", "Sent Items", "Kunden/Müller & Söhne"]
FLAGS = [r"", r"\Seen", r"\Seen \Flagged", r"\Answered $Label1 Projekt", r"\Draft", r"\Seen NonJunk"]
SIZES = [300, 3000, 40000]
FIRST_DATE = 1_700_000_000
LAB_ID = re.compile(rb"^X-Lab-Id:[ \t]*(\S+)", re.IGNORECASE | re.MULTILINE)


def encode(name: str) -> str:
    """A folder name in modified UTF-7 (RFC 3501, 5.1.3), quoted."""

    def shifted(match: re.Match[str]) -> str:
        packed = base64.b64encode(match[0].encode("utf-16-be")).decode().rstrip("=")
        return "&" + packed.replace("/", ",") + "-"

    text = re.sub(r"[^\x20-\x7e]+", shifted, name.replace("&", "&-"))
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def decode(name: bytes) -> str:
    """A folder name as a server lists it."""

    def unshifted(match: re.Match[str]) -> str:
        packed = match[1].replace(",", "/")
        return base64.b64decode(packed + "=" * (-len(packed) % 4)).decode("utf-16-be") if packed else "&"

    return re.sub(r"&([^-]*)-", unshifted, name.decode("ascii"))


def checked(answer: tuple[str, Any]) -> Any:
    """The data of an answer that must be OK."""
    if answer[0] != "OK":
        sys.exit(f"IMAP: {answer}")
    return answer[1]


def folders(imap: imaplib.IMAP4_SSL, verb: str = "LIST") -> list[str]:
    """The names of all folders that can be selected, or (LSUB) are subscribed."""
    lines = checked(imap.list() if verb == "LIST" else imap.lsub())
    found = []
    for line in lines:
        parsed = re.match(rb'\((.*?)\) (?:"(.*?)"|NIL) (.*)$', line or b"")
        if parsed and not re.search(rb"(?i)\\Noselect|\\NonExistent", parsed[1]):
            name = parsed[3]
            if name.startswith(b'"'):
                name = re.sub(rb"\\(.)", rb"\1", name[1:-1])
            found.append(decode(name))
    return sorted(found)


def select(imap: imaplib.IMAP4_SSL, folder: str, *, readonly: bool = True) -> int:
    """Open a folder; the number of its messages."""
    return int(checked(imap.select(encode(folder), readonly=readonly))[0])


def number(imap: imaplib.IMAP4_SSL, code: str) -> int:
    """A number the server gave when the folder was opened."""
    return int(imap.response(code)[1][0])


def ids(imap: imaplib.IMAP4_SSL, folder: str) -> list[str]:
    if not select(imap, folder):
        return []
    parts = checked(imap.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (X-LAB-ID)])"))
    matches = [LAB_ID.search(part[1]) for part in parts if isinstance(part, tuple)]
    return [match[1].decode() for match in matches if match]


def letter(lab_id: str, size: int, chance: random.Random) -> bytes:
    text = chance.randbytes(size // 2).hex()
    lines = "\r\n".join(text[at : at + 72] for at in range(0, len(text), 72))
    return (
        f"From: Jürgen <a@sender.test>\r\nTo: b@example.test\r\nSubject: {lab_id} grüßt\r\n"
        f"Message-ID: <{lab_id}@sender.test>\r\nX-Lab-Id: {lab_id}\r\n"
        f"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSchön.\r\n{lines}\r\n"
    ).encode()


def seed(imap: imaplib.IMAP4_SSL, count: str, tag: str) -> dict[str, Any]:
    """Message i goes to folder i modulo 5; the third of the archive is expunged, its first copied to INBOX."""
    chance = random.Random(tag)
    known = folders(imap)
    for folder in FOLDERS[1:]:
        if folder not in known:
            checked(imap.create(encode(folder)))
        checked(imap.subscribe(encode(folder)))
    for i in range(int(count)):
        flags = FLAGS[i // len(FOLDERS) % len(FLAGS)]
        date = imaplib.Time2Internaldate(FIRST_DATE + i * 86_399)
        body = letter(f"{tag}-{i}", SIZES[i % len(SIZES)], chance)
        checked(imap.append(encode(FOLDERS[i % len(FOLDERS)]), f"({flags})", date, body))
    if select(imap, "Archive/2026", readonly=False) >= 3:
        checked(imap.copy("1", "INBOX"))
        checked(imap.store("3", "+FLAGS", r"(\Deleted)"))
        checked(imap.expunge())
    return {"folders": folders(imap), "ids": sorted(i for folder in folders(imap) for i in ids(imap, folder))}


def messages(imap: imaplib.IMAP4_SSL) -> list[dict[str, Any]]:
    """The opened folder's messages. What imaplib gives is a literal with what stood before it, then the rest."""
    parts = checked(imap.fetch("1:*", "(UID FLAGS INTERNALDATE BODY.PEEK[])"))
    found = []
    for part, after in zip(parts, [*parts[1:], b")"], strict=True):
        if not isinstance(part, tuple):
            continue
        said, body = part[0] + (after if isinstance(after, bytes) else b""), part[1]
        flags = re.search(rb"FLAGS \((.*?)\)", said)[1].decode().split()  # type: ignore[index]
        lab_id = LAB_ID.search(body)
        found.append(
            {
                "uid": int(re.search(rb"UID (\d+)", said)[1]),  # type: ignore[index]
                "flags": sorted(flag for flag in flags if flag != r"\Recent"),
                "date": re.search(rb'INTERNALDATE "(.*?)"', said)[1].decode().strip(),  # type: ignore[index]
                "sha256": hashlib.sha256(body).hexdigest(),
                "id": lab_id[1].decode() if lab_id else None,
            }
        )
    return sorted(found, key=lambda one: int(one["uid"]))


def digest(imap: imaplib.IMAP4_SSL) -> dict[str, Any]:
    subscribed = folders(imap, "LSUB")
    found = {}
    for folder in folders(imap):
        count = select(imap, folder)
        found[folder] = {
            "uidvalidity": number(imap, "UIDVALIDITY"),
            "uidnext": number(imap, "UIDNEXT"),
            "subscribed": folder in subscribed,
            "messages": messages(imap) if count else [],
        }
    return found


def delete(imap: imaplib.IMAP4_SSL, folder: str, lab_id: str) -> int:
    """How many there were."""
    select(imap, folder, readonly=False)
    found = checked(imap.uid("SEARCH", "HEADER", "X-Lab-Id", f'"{lab_id}"'))[0].split()
    for uid in found:
        checked(imap.uid("STORE", uid.decode(), "+FLAGS", r"(\Deleted)"))
    checked(imap.expunge())
    return len(found)


def found(imap: imaplib.IMAP4_SSL, folder: str, lab_id: str) -> str:
    """The UIDs of the messages with this X-Lab-Id, as a set."""
    select(imap, folder, readonly=False)
    uids = checked(imap.uid("SEARCH", "HEADER", "X-Lab-Id", f'"{lab_id}"'))[0].split()
    return b",".join(uids).decode() or sys.exit(f"no {lab_id} in {folder}")


def mark(imap: imaplib.IMAP4_SSL, folder: str, lab_id: str, *flags: str) -> None:
    checked(imap.uid("STORE", found(imap, folder, lab_id), "+FLAGS", f"({' '.join(flags)})"))


def move(imap: imaplib.IMAP4_SSL, folder: str, lab_id: str, target: str) -> None:
    if target not in folders(imap):
        checked(imap.create(encode(target)))
    checked(imap.uid("MOVE", found(imap, folder, lab_id), encode(target)))


def drop(imap: imaplib.IMAP4_SSL, folder: str) -> None:
    checked(imap.delete(encode(folder)))


def empty(imap: imaplib.IMAP4_SSL) -> None:
    if select(imap, "INBOX", readonly=False):
        checked(imap.store("1:*", "+FLAGS", r"(\Deleted)"))
        checked(imap.expunge())
    imap.unselect()
    for folder in sorted(set(folders(imap)) - {"INBOX"}, reverse=True):
        checked(imap.delete(encode(folder)))


def main(verb: str, server: str, user: str, password: str, ca_file: str, *words: str) -> Any:
    trust = ssl.create_default_context(cafile=ca_file)
    with imaplib.IMAP4_SSL(server, 993, ssl_context=trust, timeout=30) as imap:
        imap.login(user, password)
        verbs: dict[str, Callable[..., Any]] = {
            "ids": ids, "seed": seed, "digest": digest, "delete": delete, "mark": mark, "move": move, "drop": drop, "empty": empty,
        }  # fmt: skip
        return verbs[verb](imap, *words)


print(json.dumps(main(*sys.argv[1:])))
