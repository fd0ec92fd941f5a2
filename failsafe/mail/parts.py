"""Walks through a message's MIME parts in pieces (RFC 2046 section 5.1). Pure, bounded in memory, linear in time, and never raises.

The `email` package reads a message whole and builds a tree of it. Here a message of 50 MB passes through, and one that nests or has parts
without end costs no more than another of its size.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from failsafe.mail.decoding import Nothing, Sink
from failsafe.mail.headers import HEAD_LIMIT, fields_of

BLOCK_BYTES = 256 * 1024  # looked at in one go
MOST_PARTS = 1_000  # what comes after so many is one part more
MOST_DEEP = 20  # a multipart in so many others is a part like others
PART_HEAD_LIMIT = 64 * 1024
_LONGEST_BOUNDARY = 200  # bytes; RFC 2046 allows 70
_LINE_TAIL = 300  # bytes in which a delimiter's line ends
_AFTER = re.compile(rb"(--)?[ \t\r]{0,40}(?=\n|\Z)")
_PARAMETER = re.compile(r";\s*([A-Za-z0-9_-]{1,40})(?:\*\d{0,3}\*?)?\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^;\s]*))", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Part:
    """What a part's own header says of it."""

    kind: str = "text/plain"  # lower case
    encoding: str = ""  # lower case
    charset: str = ""
    boundary: bytes = b""
    attached: bool = False  # it has a file's name, or says that it is an attachment


@dataclass(slots=True, eq=False)
class Multipart:
    """One that is being walked through; `state` is for who asked for the walk."""

    kind: str
    mark: bytes  # "\n--" and the boundary
    state: dict[str, object] = field(default_factory=dict)


def part_of(fields: Iterable[tuple[bytes, bytes]]) -> Part:
    found: dict[bytes, str] = {}
    for name, value in fields:
        if name.startswith(b"content-"):
            found.setdefault(name, value[:8_000].decode("latin-1"))
    kind, parameters = _with_parameters(found.get(b"content-type", ""))
    disposition, more = _with_parameters(found.get(b"content-disposition", ""))
    return Part(
        kind=kind if "/" in kind else "text/plain",
        encoding=found.get(b"content-transfer-encoding", "").split(";")[0].strip().lower(),
        charset=parameters.get("charset", "").strip().lower(),
        boundary=parameters.get("boundary", "").encode("latin-1").rstrip() if kind.startswith("multipart/") else b"",
        attached=disposition == "attachment" or bool(more.get("filename") or parameters.get("name")),
    )


def _with_parameters(value: str) -> tuple[str, dict[str, str]]:
    kind = value.split(";", 1)[0].strip().lower()
    found: dict[str, str] = {}
    for match in _PARAMETER.finditer(value):
        quoted = match.group(2)
        found.setdefault(match.group(1).lower(), match.group(3) if quoted is None else re.sub(r"\\(.)", r"\1", quoted))
    return kind, found


def blocks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The message with LF at its line ends and 0x80 for NUL, in blocks of a good size whatever the pieces are."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        for start in range(0, len(piece), BLOCK_BYTES):
            held.append(piece[start : start + BLOCK_BYTES])
            size += len(held[-1])
            if size >= BLOCK_BYTES:
                text = b"".join(held)
                last = text[-2:] if text.endswith(b"\r\r") else text[-1:] if text.endswith(b"\r") else b""
                held, size = [last], len(last)
                yield _plain(text[: len(text) - len(last)])
    yield _plain(b"".join(held))


def _plain(text: bytes) -> bytes:
    if b"\r" in text:
        text = (text.replace(b"\r\r\n", b"\n") if b"\r\r" in text else text).replace(b"\r\n", b"\n")
    return text.replace(b"\0", b"\x80") if b"\0" in text else text


def split_head(message: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """(the header with its last line end, blocks of the rest, which begin with the empty line). No header, where none ends within HEAD_LIMIT."""
    taken: list[bytes] = []
    size = 0
    for block in message:
        taken.append(block)
        size += len(block)
        text = b"".join(taken) if len(taken) > 1 else block
        end = -1 if text.startswith(b"\n") else text.find(b"\n\n")
        if end >= 0:
            return text[: end + 1], _chained([text[end + 1 :]], message)
        if size > HEAD_LIMIT or text.startswith(b"\n"):
            return b"", _chained([text], message)
        taken = [text]
    text = b"".join(taken)
    if re.match(rb"[!-9;-~]+[ \t]*:", text) and size <= HEAD_LIMIT:  # a header alone, without an empty line after it
        return text, iter(())
    return b"", iter([text])


def _chained(first: Iterable[bytes], rest: Iterator[bytes]) -> Iterator[bytes]:
    yield from first
    yield from rest


class Walk:
    """Gives each leaf's raw bytes to the sink that `open_leaf(part, multiparts around it)` names, and closes it."""

    def __init__(self, top: Part, open_leaf: Callable[[Part, tuple[Multipart, ...]], Sink]) -> None:
        self._open_leaf = open_leaf
        self._around: list[Multipart] = []
        self._sink: Sink = Nothing()
        self._in_header = False
        self._held = b""
        self._parts = 0
        self._final = False
        self._begin(top)

    def feed(self, block: bytes) -> None:
        text, place = self._held + block, 0
        while place >= 0:
            start, place = place, self._header(text, place) if self._in_header else self._body(text, place)
        keep = start if self._in_header else max(start, self._cut(text, start))
        if not self._in_header:
            self._sink.feed(text[start:keep])
        self._held = text[keep:]

    def end(self) -> None:
        self._final = True
        self.feed(b"")
        self._sink.close()

    def _begin(self, part: Part) -> None:
        self._in_header = False
        if part.boundary and len(part.boundary) <= _LONGEST_BOUNDARY and len(self._around) < MOST_DEEP:
            self._around.append(Multipart(part.kind, b"\n--" + part.boundary))
            self._sink = Nothing()  # what stands before the first part is for programs that know no MIME
        else:
            self._sink = self._open_leaf(part, tuple(self._around))

    def _body(self, text: bytes, start: int) -> int:
        """The place from which to go on; -1 where no delimiter is left in this text."""
        if self._parts > MOST_PARTS:
            return -1
        found = self._delimiter(text, start, len(text))
        if found is None:
            return -1
        place, depth, last, end = found
        self._sink.feed(text[start:place])
        self._sink.close()
        return self._after(depth, end, last=last)

    def _after(self, depth: int, end: int, *, last: bool) -> int:
        del self._around[depth if last else depth + 1 :]
        self._sink = Nothing()
        self._in_header = not last
        self._parts += not last
        return end

    def _header(self, text: bytes, start: int) -> int:
        if self._parts > MOST_PARTS:
            self._begin(Part(kind="application/octet-stream"))
            return start
        end = text.find(b"\n\n", start, start + PART_HEAD_LIMIT + 3)
        limit = len(text) if end < 0 else end + 1
        if end < 0 and not self._final and len(text) - start <= PART_HEAD_LIMIT:
            return -1
        found = self._delimiter(text, start, limit)
        if found is not None:  # a part of which there is no more than its header
            _, depth, last, end = found
            return self._after(depth, end, last=last)
        if end < 0 or end - start > PART_HEAD_LIMIT:
            self._begin(Part(kind="application/octet-stream"))
            return start
        self._begin(part_of(fields_of(text[start + 1 : end + 1])))
        return end + 1

    def _delimiter(self, text: bytes, start: int, limit: int) -> tuple[int, int, bool, int] | None:
        """(where it begins, depth of its multipart, whether it is the last one, where its line ends) of the first delimiter that begins before `limit`."""
        best: tuple[int, int, bool, int] | None = None
        for depth in range(len(self._around) - 1, -1, -1):  # the innermost one first, should two be the same
            mark, place = self._around[depth].mark, start
            while (place := text.find(mark, place, limit if best is None else best[0])) >= 0:
                after = _AFTER.match(text, place + len(mark))
                if after is not None and (self._final or after.end() < len(text)):
                    best = place, depth, after.group(1) is not None, after.end()
                    break
                place += 1
        return best

    def _cut(self, text: bytes, start: int) -> int:
        """How far a text without a delimiter can be given away: a last line that may become one is kept."""
        last = (
            -1
            if self._final or self._parts > MOST_PARTS or not self._around
            else text.rfind(b"\n", max(start, len(text) - _LINE_TAIL))
        )
        return last if last >= 0 and b"\n--".startswith(text[last : last + 3]) else len(text)
