"""How Sieve compares texts (RFC 5228 2.7, RFC 5231). Pure, in time of at most the product of both lengths."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from failsafe.mail.sieve.parse import Argument, Strings, Tag

CASEMAP, OCTET, NUMERIC = "i;ascii-casemap", "i;octet", "i;ascii-numeric"
_COMPARATORS = (CASEMAP, OCTET, NUMERIC)
_WAYS = ("is", "contains", "matches", "value", "count")
_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
_RELATIONS: dict[str, Callable[[int], bool]] = {
    "gt": lambda order: order > 0,
    "ge": lambda order: order >= 0,
    "lt": lambda order: order < 0,
    "le": lambda order: order <= 0,
    "eq": lambda order: order == 0,
    "ne": lambda order: order != 0,
}
TEXT_CHARACTERS = 20_000  # of one value that a pattern is held against


class Unjudged(Exception):
    """What a rule asks cannot be told here; the text names it."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The optional arguments of a test that compares. `parts`: tags that are none of its own, such as ":domain"."""

    way: str = "is"
    relation: str = ""
    comparator: str = CASEMAP
    parts: tuple[str, ...] = ()

    def holds(self, values: Sequence[str], keys: Strings) -> bool:
        """Whether one of the values is as one of the keys has it."""
        if self.way == "count":
            by_value = replace(self, way="value")
            return any(by_value.is_so(str(len(values)), key) for key in keys)
        return any(self.is_so(value, key) for value in values for key in keys)

    def is_so(self, value: str, key: str) -> bool:
        if self.way == "value":
            return _RELATIONS[self.relation](self._order(value, key))
        if self.comparator == NUMERIC:
            return self._order(value, key) == 0
        if self.comparator == CASEMAP:
            value, key = value.translate(_LOWER), key.translate(_LOWER)
        if self.way == "contains":
            return key in value
        return value == key if self.way == "is" else matches(value, key)

    def _order(self, value: str, key: str) -> int:
        if self.comparator == NUMERIC:
            one, other = _number(value), _number(key)
            return (one > other) - (one < other)
        if self.comparator == CASEMAP:
            value, key = value.translate(_LOWER), key.translate(_LOWER)
        return (value > key) - (value < key)


def comparison(arguments: Sequence[Argument]) -> tuple[Comparison, list[Argument]]:
    """What the tags say, and the arguments that are left. Raises Unjudged for a tag or comparator that is not known here."""
    way, relation, comparator, parts = "is", "", CASEMAP, list[str]()
    left: list[Argument] = []
    given = iter(arguments)
    for argument in given:
        if not isinstance(argument, Tag):
            left.append(argument)
        elif argument.name == "comparator":
            comparator = word(next(given, None))
        elif argument.name in _WAYS:
            way = argument.name
            relation = word(next(given, None)).lower() if way in ("value", "count") else ""
        else:
            parts.append(argument.name)
    if comparator not in _COMPARATORS:
        raise Unjudged(f"the comparator {comparator}")
    if relation and relation not in _RELATIONS:
        raise Unjudged(f"the relation {relation}")
    if comparator == NUMERIC and way in ("contains", "matches"):
        raise Unjudged(f":{way} of numbers")
    return Comparison(way, relation, comparator, tuple(parts)), left


def word(argument: Argument | None) -> str:
    """Of an argument that must be one text. Raises Unjudged."""
    if not isinstance(argument, tuple) or len(argument) != 1:
        raise Unjudged("a list where one text should stand")
    return argument[0]


def matches(value: str, pattern: str) -> bool:
    """With "*" for any characters and "?" for one; a backslash takes their meaning away. Raises Unjudged for a text that is too long."""
    if len(value) > TEXT_CHARACTERS:
        raise Unjudged("a pattern for a very long text")
    signs = re.findall(r"\\.|.", pattern, re.DOTALL)
    at, sign, star, retry = 0, 0, -1, 0
    while at < len(value):
        if sign < len(signs) and signs[sign] == "*":
            star, retry = sign, at
            sign += 1
        elif sign < len(signs) and (signs[sign] == "?" or signs[sign][-1] == value[at]):
            at, sign = at + 1, sign + 1
        elif star >= 0:
            retry += 1
            at, sign = retry, star + 1
        else:
            return False
    return all(each == "*" for each in signs[sign:])


def _number(text: str) -> float:
    """What does not begin with a digit is larger than all numbers (RFC 4790 9.1.1)."""
    found = re.match(r"\d{1,300}", text, re.ASCII)
    return float(found.group()) if found else float("inf")
