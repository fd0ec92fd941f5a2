"""What Proton's Bridge adds to the messages that it builds, and how they are without it. Pure; a message in pieces, of which only the header is changed.

It gives each message a field with its number (X-Pm-Internal-Id) and some more of its own, writes that number to the end of References as
<NUMBER@protonmail.internalid>, and makes a Message-Id of it where a message has none. Left in place they would go out again with the
answers that people write at the primary. What it changes beyond that (encodings, boundaries, names) cannot be undone; mail/fingerprint.py knows the message all
the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from failsafe.mail.fingerprint import MADE_UP
from failsafe.mail.headers import HEAD_LIMIT, bare_message_id, decode_text, fields_of

NUMBER = b"x-pm-internal-id"
PLACEHOLDER = "Message failed to build"
_OURS = b"x-pm-"
_SENDERS = frozenset({b"x-pm-message-id"})  # written where the message was sent
_END = re.compile(rb"\n\r?\n")
_FIELD = re.compile(rb"^([!-9;-~]+)[ \t]*:[^\n]*\n?(?:[ \t][^\n]*\n?)*", re.MULTILINE)


def without_additions(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The message without them; one that Bridge did not build as it is. A header that does not end within HEAD_LIMIT is left alone."""
    rest = iter(pieces)
    taken = b""
    for piece in rest:
        taken += piece
        end = _END.search(taken)
        if end is not None:
            yield clean_head(taken[: end.start() + 1]) + taken[end.start() + 1 :]
            taken = b""
            break
        if len(taken) > HEAD_LIMIT:
            break
    if taken:
        yield taken
    yield from rest


def clean_head(head: bytes) -> bytes:
    """A header, each of its lines ended, without what Bridge added to it."""
    found = next((value.strip() for name, value in fields_of(head) if name == NUMBER), b"")
    if not found:
        return head
    return _FIELD.sub(lambda field: _cleaned(field, found), head)


def is_unsent(folder: str, head: bytes) -> bool:
    """Whether this waits at Proton for the time that it is to be sent at: a folder without an attribute shows it, of a name that others use too."""
    return folder == "Scheduled" and any(name == NUMBER for name, _ in fields_of(head))


def is_placeholder(head: bytes) -> bool:
    """Whether this stands for a message that Bridge could not build: the message itself is not there, a repair in Bridge may bring it."""
    fields = {name: value for name, value in fields_of(head) if name in (b"subject", b"from", b"received", b"message-id", NUMBER)}
    return set(fields) == {b"subject"} and decode_text(fields[b"subject"]) == PLACEHOLDER


def _cleaned(field: re.Match[bytes], number: bytes) -> bytes:
    name, whole = field.group(1).lower(), field.group()
    if name.startswith(_OURS) and name not in _SENDERS:
        return b""
    value = whole.partition(b":")[2]
    if name == b"message-id" and MADE_UP.search(bare_message_id(decode_text(value))):
        return b""
    if name == b"references":
        whole = re.sub(rb"\s*<" + re.escape(number) + rb"@protonmail\.internalid>", b"", whole, flags=re.IGNORECASE)
        return whole if whole.partition(b":")[2].strip() else b""
    return whole
