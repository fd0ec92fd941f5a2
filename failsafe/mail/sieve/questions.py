"""What rules ask of a message: the tests of RFC 5228 5 and of some extensions. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from failsafe.mail.addresses import addresses_in
from failsafe.mail.headers import TEXT_LIMIT, decode_text
from failsafe.mail.sieve.parse import Argument, Command, Strings, Tag, Test
from failsafe.mail.sieve.words import NUMERIC, OCTET, Comparison, Unjudged, comparison

MOST_ADDRESSES = 10_000  # of one test
EXTENSIONS = frozenset(
    {
        "fileinto", "reject", "ereject", "copy", "mailbox", "imap4flags", "relational", "subaddress", "vacation", "vacation-seconds", "enotify",
        "ihave", "duplicate", "comparator-i;ascii-casemap", "comparator-i;octet", "comparator-i;ascii-numeric",
    }
)  # fmt: skip
_REWRITING = ("variables", "encoded-character")  # with them "${…}" in a text stands for another text
_ADDRESS_PARTS = ("all", "localpart", "domain", "user", "detail")


@dataclass(frozen=True, slots=True)
class Letter:
    """What rules ask of a message. `fields`: lower-case name and raw value, in order; `size` in bytes; `has_folder`: by the name that a rule gives it."""

    fields: Sequence[tuple[bytes, bytes]]
    size: int
    has_folder: Callable[[str], bool] = lambda _name: False

    def values(self, names: Strings) -> list[str]:
        """Of all these fields. Raises Unjudged for one that is longer than is decoded."""
        raw = self._raw(names)
        if any(len(value) > TEXT_LIMIT for value in raw):
            raise Unjudged("a very long field")
        return [decode_text(value) for value in raw]

    def addresses(self, names: Strings) -> list[str]:
        found = [address for value in self._raw(names) for address in addresses_in(value)]
        if len(found) > MOST_ADDRESSES:
            raise Unjudged("a field of very many addresses")
        return found

    def has(self, name: str) -> bool:
        return any(each == _field(name) for each, _ in self.fields)

    def _raw(self, names: Strings) -> list[bytes]:
        wanted = {_field(name) for name in names}
        return [value for name, value in self.fields if name in wanted]


def answer(test: Test, letter: Letter, flags: Sequence[str]) -> bool:
    """`flags`: those that the rules have given it so far. Raises Unjudged."""
    if test.name == "not":
        return not answer(only(test.tests), letter, flags)
    if test.name in ("allof", "anyof"):
        found = (answer(each, letter, flags) for each in test.tests)
        return all(found) if test.name == "allof" else any(found)
    known = TESTS.get(test.name)
    if known is None:
        raise Unjudged(f"the test {test.name}")
    return known(letter, test.arguments, flags)


def _header(letter: Letter, arguments: Sequence[Argument], _flags: Sequence[str]) -> bool:
    how, left = _compared(arguments, 2)
    return how.holds(letter.values(left[0]), left[1])


def _address(letter: Letter, arguments: Sequence[Argument], _flags: Sequence[str]) -> bool:
    how, left = _compared(arguments, 2, _ADDRESS_PARTS)
    return how.holds(_parts(letter.addresses(left[0]), how), left[1])


def _envelope(letter: Letter, arguments: Sequence[Argument], _flags: Sequence[str]) -> bool:
    """Of the envelope the sender alone is left, where a server wrote it into the message."""
    how, left = _compared(arguments, 2, _ADDRESS_PARTS)
    if tuple(name.lower() for name in left[0]) != ("from",) or not letter.has("return-path"):
        raise Unjudged("the envelope")
    found = letter.addresses(("return-path",))[:1]
    return how.holds(_parts(found, how) if found else [""], left[1])


def _exists(letter: Letter, arguments: Sequence[Argument], _flags: Sequence[str]) -> bool:
    return all(letter.has(name) for name in _lists(arguments, 1)[0])


def _size(letter: Letter, arguments: Sequence[Argument], _flags: Sequence[str]) -> bool:
    if len(arguments) != 2 or not isinstance(arguments[1], int) or arguments[0] not in (Tag("over"), Tag("under")):
        raise Unjudged("a size of another form")
    return letter.size > arguments[1] if arguments[0] == Tag("over") else letter.size < arguments[1]


def _has_flag(_letter: Letter, arguments: Sequence[Argument], flags: Sequence[str]) -> bool:
    how, left = _compared(arguments, 1)
    return how.holds(flags, left[0])


def _mailbox_exists(letter: Letter, arguments: Sequence[Argument], _flags: Sequence[str]) -> bool:
    return all(letter.has_folder(name) for name in _lists(arguments, 1)[0])


def _i_have(_letter: Letter, arguments: Sequence[Argument], _flags: Sequence[str]) -> bool:
    return set(_lists(arguments, 1)[0]) <= EXTENSIONS


TESTS: dict[str, Callable[[Letter, Sequence[Argument], Sequence[str]], bool]] = {
    "true": lambda *_: True,
    "false": lambda *_: False,
    "duplicate": lambda *_: False,  # what is a duplicate does not come home at all
    "header": _header,
    "address": _address,
    "envelope": _envelope,
    "exists": _exists,
    "size": _size,
    "hasflag": _has_flag,
    "mailboxexists": _mailbox_exists,
    "ihave": _i_have,
}


def _compared(arguments: Sequence[Argument], count: int, parts: Sequence[str] = ()) -> tuple[Comparison, list[Strings]]:
    how, left = comparison(arguments)
    odd = [part for part in how.parts if part not in parts]
    if odd:
        raise Unjudged(f":{odd[0]}")
    return how, _lists(left, count)


def _lists(arguments: Sequence[Argument], count: int) -> list[Strings]:
    lists = [argument for argument in arguments if isinstance(argument, tuple)]
    if len(lists) != count or len(arguments) != count:
        raise Unjudged("a test of another form")
    return lists


def _parts(addresses: Sequence[str], how: Comparison) -> list[str]:
    """Addresses are known in lower case alone."""
    if how.comparator in (OCTET, NUMERIC) and how.way != "count":
        raise Unjudged(f"addresses compared by {how.comparator}")
    part = how.parts[0] if how.parts else "all"
    if part == "all":
        return list(addresses)
    locals_ = [address.rpartition("@")[0] for address in addresses]
    if part == "domain":
        return [address.rpartition("@")[2] for address in addresses]
    if part == "localpart":
        return locals_
    if part == "user":
        return [local.partition("+")[0] for local in locals_]
    return [local.partition("+")[2] for local in locals_ if "+" in local]


def only(tests: Sequence[Test]) -> Test:
    if len(tests) != 1:
        raise Unjudged("a rule without exactly one test")
    return tests[0]


def rewrites(command: Command) -> bool:
    """Whether it asks for texts to stand for other texts."""
    return command.name == "require" and any(text in _REWRITING for text in texts_in(command.arguments))


def has_variable(arguments: Sequence[Argument]) -> bool:
    return any("${" in text for text in texts_in(arguments))


def texts_in(arguments: Sequence[Argument]) -> Iterator[str]:
    for argument in arguments:
        if isinstance(argument, tuple):
            yield from argument


def _field(name: str) -> bytes:
    return name.lower().encode("utf-8", "replace")
