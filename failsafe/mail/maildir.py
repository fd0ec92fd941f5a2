"""Maildir and what Dovecot keeps beside it, as pure functions: names, flags, folder names in both layouts, uidlist, keywords.

Bytes of the file system are text by surrogateescape wherever they are not UTF-8.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

INBOX = "INBOX"
LETTERS = "DFPRST"  # draft, flagged, passed, replied, seen, trashed (Maildir specification)
ALPHABET = 26
BEYOND = 0x100  # where the characters for keywords 27 and up begin, less ALPHABET
_INFO = ":2,"
_HEADER = re.compile(rb"3((?: [A-Z][^ \n]*)*)\Z")
_PLAIN = re.compile(rb"(\d{1,10}) :([A-Za-z0-9][A-Za-z0-9._,=+-]*)(?::2,[^:]*)?\Z")  # UID and base name, without other fields
_GUID = re.compile(r"[0-9a-f]{32}\Z")


@dataclass(frozen=True, slots=True)
class UidList:
    """`dovecot-uidlist`: which UID each base name has. `guid` "" and numbers None where the header does not say."""

    uid_validity: int | None
    uid_next: int | None
    guid: str
    uids: Uids | tuple[()] = ()  # (base name, UID); a name that comes twice is there twice, as in the file


def text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def split_name(name: str) -> tuple[str, str]:
    """(base name, letters after ":2,") of a message's file name; a name without them, or with nothing before them, has none."""
    base, _, letters = name.partition(_INFO)
    return (base, letters.partition(",")[0]) if base else (name, "")


def split_raw(name: bytes) -> tuple[bytes, str]:
    """As `split_name`, of a name as the file system has it."""
    base, _, letters = name.partition(b":2,")
    return (base, letters.partition(b",")[0].decode("utf-8", "surrogateescape")) if base else (name, "")


@lru_cache(4096)
def flags_of(letters: str) -> str:
    """The standard flags among the letters, sorted and once each."""
    return "".join(sorted(set(letters) & set(LETTERS)))


def keyword_letter(place: int) -> str:
    """a…z as in a Maildir; beyond them, for stores that have more keywords, characters that no Maildir uses."""
    return chr(ord("a") + place) if place < ALPHABET else chr(BEYOND + place)


@lru_cache(4096)
def keywords_of(letters: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the keyword letters, by the folder's own table; a letter without a name says nothing and is left out."""
    places = (
        ord(letter) - (ord("a") if letter <= "z" else BEYOND)
        for letter in set(letters)
        if "a" <= letter <= "z" or ord(letter) >= BEYOND + ALPHABET
    )
    return tuple(sorted({names[place] for place in places if place < len(names) and names[place]}))


def parse_keywords(data: bytes) -> tuple[str, ...]:
    """`dovecot-keywords`, lines "NUMBER NAME": names by letter a…z, "" for a free one. What is not such a line is left out."""
    found: dict[int, str] = {}
    for line in data.split(b"\n"):
        number, _, name = line.partition(b" ")
        if number.isdigit() and int(number) < 26 and name:
            found[int(number)] = text(name)
    return tuple(found.get(number, "") for number in range(max(found, default=-1) + 1))


def parse_uidlist(data: bytes) -> UidList | None:
    """`dovecot-uidlist`, version 3 and the older 1; None where it is neither (half written, or of a later version).

    A last line without its newline is being written just now: it is left out.
    """
    first, newline, _ = data.partition(b"\n")
    header = _header(first) if newline else None
    if header is None:
        return None
    version, validity, following, guid = header
    return UidList(validity, following, guid, Uids(data, len(first) + 1, version))


class Uids:
    """The lines of a list, parsed as they are asked for: 500,000 of them would be 200 MB."""

    def __init__(self, data: bytes, start: int, version: int) -> None:
        self._data, self._start, self._version = data, start, version

    def __iter__(self) -> Iterator[tuple[str, int]]:
        lines = io.BytesIO(self._data)
        lines.seek(self._start)
        return _uid_lines((line[:-1] for line in lines if line.endswith(b"\n")), self._version)

    def since(self, uid: int) -> Iterator[tuple[str, int]]:
        """Those with this UID or a higher one, the last first: a list is in the order of its UIDs, so what is new stands at its end."""
        end = self._data.rfind(b"\n") + 1
        while end > self._start:
            begin = max(self._data.rfind(b"\n", self._start, end - 1) + 1, self._start)
            for base, number in _uid_lines([self._data[begin : end - 1]], self._version):
                if number < uid:
                    return
                yield base, number
            end = begin


def _header(line: bytes) -> tuple[int, int | None, int | None, str] | None:
    if found := _HEADER.match(line):
        fields = {item[:1]: item[1:].decode("ascii", "replace") for item in found[1].split()}
        guid = fields.get(b"G", "").lower()
        return 3, _number(fields.get(b"V", "")), _number(fields.get(b"N", "")), guid if _GUID.match(guid) else ""
    old = line.split(b" ")
    if old[0] == b"1" and len(old) == 3 and old[1].isdigit() and old[2].isdigit():
        return 1, int(old[1]), int(old[2]), ""
    return None


def _uid_lines(lines: Iterable[bytes], version: int) -> Iterator[tuple[str, int]]:
    for line in lines:
        if version == 3 and (plain := _PLAIN.match(line)) and 0 < (uid := int(plain[1])) < 2**32:
            yield plain[2].decode("ascii"), uid  # nearly every line of a long list
            continue
        number, _, rest = line.partition(b" ")
        name = rest if version == 1 else rest.partition(b":")[2]
        if version == 3 and not rest.startswith(b":") and b" :" in rest:
            name = rest.partition(b" :")[2]  # fields such as W123 come before the name
        found = _number(number.decode("ascii", "replace"))
        if found is not None and name:
            yield split_name(text(name))[0], found


def _number(digits: str) -> int | None:
    """A UID, UIDVALIDITY or UIDNEXT: 1…2^32-1 (RFC 3501 section 2.3.1.1)."""
    return int(digits) if digits.isascii() and digits.isdigit() and 0 < int(digits) < 2**32 else None


def parse_subscriptions(data: bytes, *, separator: str = ".") -> frozenset[str]:
    """Names in `subscriptions`, as IMAP names with "/": version 2 has tabs between components, the older one the separator."""
    lines = data.split(b"\n")
    names: set[str] = set()
    if lines[0].startswith(b"V\t2"):
        for line in lines[1:]:
            names.add("/".join(decode_component(text(part)) for part in line.split(b"\t")))
    else:
        for line in lines:
            names.add("/".join(decode_component(part) for part in text(line).split(separator)))
    return frozenset(names - {""})


def folder_name(directory: str) -> str:
    """The IMAP name, in UTF-8 with "/", of a folder's directory below its mailbox: "" -> INBOX, ".A.B" -> A/B, "A/B" -> A/B."""
    if not directory:
        return INBOX
    parts = directory[1:].split(".") if directory.startswith(".") else directory.split("/")
    return "/".join(decode_component(part) for part in parts)


def folder_directory(name: str, layout: str) -> str:
    """The directory that a server with this layout ("maildir++" or "fs") gives a folder."""
    if name == INBOX:
        return ""
    parts = [encode_component(part) for part in name.split("/")]
    return "/".join(parts) if layout == "fs" else "." + ".".join(parts)


def decode_component(name: str) -> str:
    """Modified UTF-7 (RFC 3501 section 5.1.3) to text. What is not valid stays as it is: some servers store UTF-8 as it comes."""
    pieces, rest = [], name
    while "&" in rest:
        plain, _, rest = rest.partition("&")
        coded, end, rest = rest.partition("-")
        decoded = _decode_base64(coded) if end else None
        if decoded is None:
            return name
        pieces += [plain, decoded]
    decoded_name = "".join([*pieces, rest])
    return decoded_name if encode_component(decoded_name) == name else name


def _decode_base64(coded: str) -> str | None:
    if not coded:
        return "&"
    try:
        raw = base64.b64decode(coded.replace(",", "/") + "=" * (-len(coded) % 4), validate=True)
        return raw.decode("utf-16-be")
    except (binascii.Error, ValueError):
        return None


def encode_component(name: str) -> str:
    """Text to modified UTF-7; printable ASCII stays, "&" becomes "&-"."""
    pieces: list[str] = []
    run = ""
    for character in name + "\0":
        if " " <= character <= "~" or character == "\0":
            if run:
                raw = run.encode("utf-16-be", "surrogatepass")
                pieces.append("&" + base64.b64encode(raw).decode().rstrip("=").replace("/", ",") + "-")
                run = ""
            pieces.append("&-" if character == "&" else character)
        else:
            run += character
    return "".join(pieces)[:-1]
