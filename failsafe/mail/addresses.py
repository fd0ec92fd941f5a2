"""The mail addresses in a field such as To. Pure, linear in the field's size, and never raises: lists are written by all kinds of programs."""

from __future__ import annotations

import re

from failsafe.mail.headers import decode_text

FIELD_LIMIT = 256 * 1024  # bytes of one field that are looked at: some 8,000 recipients
_MARKS = re.compile(r'\\.|["()]', re.DOTALL)
_BETWEEN = re.compile(r"[\s<>,;:()\"]+")


def addresses_in(value: bytes) -> tuple[str, ...]:
    """In their order, in lower case, each once; names, comments and groups are left out.

    A name that is an address itself ("anna@example.org <bob@example.net>") does not count.
    """
    text = value[:FIELD_LIMIT].decode("utf-8", "replace")
    found = _addresses(text)
    if not found and "=?" in text:  # some programs encode the whole list
        found = _addresses(decode_text(value))
    return tuple(dict.fromkeys(found))


def _addresses(text: str) -> list[str]:
    found = []
    for item in re.split(r"[,;]", _without_names(text)):
        _, opened, inside = item.rpartition("<")
        words = _BETWEEN.split(inside if opened else item)
        found += [word.lower() for word in words if is_address(word)]
    return found


def is_address(word: str) -> bool:
    local, at, domain = word.rpartition("@")
    return bool(local and at and domain)


def _without_names(text: str) -> str:
    """Without quoted names and comments. A quoted part of an address, as in "anna b"@example.org, stays, without what it needs no quotes for."""
    if '"' not in text and "(" not in text:
        return text
    pieces: list[str] = []
    start = depth = 0
    quoted = False
    for mark in _MARKS.finditer(text):
        sign = mark.group()
        if sign == '"' and not depth:
            before = text[start : mark.start()]
            if not quoted or text.startswith("@", mark.end()):
                pieces.append(before)
            quoted, start = not quoted, mark.end()
        elif sign == "(" and not quoted:
            pieces.append(text[start : mark.start()] if not depth else "")
            depth, start = depth + 1, mark.end()
        elif sign == ")" and not quoted and depth:
            depth, start = depth - 1, mark.end()
    return "".join([*pieces, text[start:]])
