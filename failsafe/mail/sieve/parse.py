"""A Sieve script (RFC 5228 8) as commands and tests. Pure; knows no command by name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

SCRIPT_BYTES = 256 << 10
DEEPEST = 30  # blocks and tests within others; Pigeonhole allows 32
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_TOKEN = re.compile(
    r"(?P<blank>\s+|\#[^\n]*|/\*.*?\*/)"
    r"|(?P<text>text:[ \t]*(?:\#[^\n]*)?\r?\n)"
    r"|(?P<quoted>\"(?:\\.|[^\"\\])*\")"
    r"|(?P<number>\d{1,19}(?P<unit>[KMGkmg])?(?![A-Za-z0-9_]))"
    r"|(?P<tag>:[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<mark>[][(){},;])",
    re.DOTALL,
)
_TEXT_END = re.compile(r"^\.\r?(?:\n|\Z)", re.MULTILINE)

Strings = tuple[str, ...]


class SieveFault(Exception):
    """The script is not Sieve; the text says what is wrong, and in which line."""


@dataclass(frozen=True, slots=True)
class Tag:
    name: str  # in lower case, without its colon


Argument = Strings | int | Tag


@dataclass(frozen=True, slots=True)
class Test:
    name: str  # in lower case
    arguments: tuple[Argument, ...] = ()
    tests: tuple[Test, ...] = ()


@dataclass(frozen=True, slots=True)
class Command:
    name: str  # in lower case
    line: int
    arguments: tuple[Argument, ...] = ()
    tests: tuple[Test, ...] = ()
    block: tuple[Command, ...] = ()


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # as the groups of _TOKEN; "string" for both forms of one
    value: str
    line: int
    number: int = 0


def parse_script(text: str) -> tuple[Command, ...]:
    """Raises SieveFault."""
    if len(text) > SCRIPT_BYTES:
        raise SieveFault(f"it is longer than {SCRIPT_BYTES >> 10} KiB")
    reader = _Reader(list(_tokens(text)))
    commands = reader.commands(0)
    if reader.token is not None:
        raise SieveFault(f"line {reader.token.line}: {reader.token.value!r} closes nothing")
    return commands


def _tokens(text: str) -> Iterator[_Token]:
    place, line = 0, 1
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise SieveFault(f"line {line}: {text[place : place + 20]!r} is no word of Sieve")
        kind, whole, end = str(match.lastgroup), match.group(), match.end()
        if match["number"]:
            yield _Token("number", whole, line, int(whole.rstrip("KMGkmg")) * _UNITS[(match["unit"] or "").lower()])
        elif kind == "text":
            last = _TEXT_END.search(text, end)
            if last is None:
                raise SieveFault(f"line {line}: the text that begins there has no end")
            yield _Token("string", re.sub(r"^\.", "", text[end : last.start()], flags=re.MULTILINE), line)
            end = last.end()
        elif kind == "quoted":
            yield _Token("string", re.sub(r"\\(.)", r"\1", whole[1:-1], flags=re.DOTALL), line)
        elif kind != "blank":
            yield _Token(kind, whole, line)
        line += text.count("\n", place, end)
        place = end


class _Reader:
    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens, self._place = tokens, 0

    @property
    def token(self) -> _Token | None:
        return self._tokens[self._place] if self._place < len(self._tokens) else None

    def _is(self, mark: str) -> bool:
        return self.token is not None and self.token.kind == "mark" and self.token.value == mark

    def _take(self, kind: str, what: str) -> _Token:
        token = self.token
        if token is None:
            raise SieveFault(f"it ends where {what} should stand")
        if token.kind != kind:
            raise SieveFault(f"line {token.line}: {token.value!r} stands where {what} should stand")
        self._place += 1
        return token

    def _took(self, mark: str) -> bool:
        found = self._is(mark)
        self._place += found
        return found

    def _demand(self, mark: str) -> None:
        if not self._took(mark):
            self._take("", repr(mark))

    def commands(self, depth: int) -> tuple[Command, ...]:
        if depth > DEEPEST:
            raise SieveFault(f"its blocks are nested more than {DEEPEST} deep")
        found = []
        while self.token is not None and not self._is("}"):
            word = self._take("word", "a command")
            arguments, tests = self._arguments(depth)
            block: tuple[Command, ...] = ()
            if self._took("{"):
                block = self.commands(depth + 1)
                self._demand("}")
            else:
                self._demand(";")
            found.append(Command(word.value.lower(), word.line, arguments, tests, block))
        return tuple(found)

    def _arguments(self, depth: int) -> tuple[tuple[Argument, ...], tuple[Test, ...]]:
        found: list[Argument] = []
        while (token := self.token) is not None:
            if token.kind == "number":
                found.append(self._take("number", "a number").number)
            elif token.kind == "tag":
                found.append(Tag(self._take("tag", "a tag").value[1:].lower()))
            elif token.kind == "string":
                found.append((self._take("string", "a text").value,))
            elif self._took("["):
                found.append(self._strings())
            else:
                break
        if self._is("("):
            return tuple(found), self._tests(depth + 1)
        return tuple(found), (self._test(depth + 1),) if self.token is not None and self.token.kind == "word" else ()

    def _strings(self) -> Strings:
        found = [self._take("string", "a text").value]
        while self._took(","):
            found.append(self._take("string", "a text").value)
        self._demand("]")
        return tuple(found)

    def _tests(self, depth: int) -> tuple[Test, ...]:
        self._demand("(")
        found = [self._test(depth)]
        while self._took(","):
            found.append(self._test(depth))
        self._demand(")")
        return tuple(found)

    def _test(self, depth: int) -> Test:
        if depth > DEEPEST:
            raise SieveFault(f"its tests are nested more than {DEEPEST} deep")
        name = self._take("word", "a test").value.lower()
        arguments, tests = self._arguments(depth)
        return Test(name, arguments, tests)
