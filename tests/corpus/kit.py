"""What a message of the corpus is, and how most of them are made."""

from __future__ import annotations

from dataclasses import dataclass

LONG_AGO = 1_500_000_000


@dataclass(frozen=True, slots=True)
class Odd:
    """One message that breaks tools. `subject` and `message_id` are what a search must find it by; "" where it has none that is text."""

    name: str
    why: str
    data: bytes
    subject: str = ""
    message_id: str = ""
    file_name: str = ""  # in cur/, where the name itself is what is odd; bytes that are no UTF-8 by surrogateescape
    date: int = LONG_AGO  # internal date, seconds since the epoch


def letter(
    name: str,
    why: str,
    *fields: bytes,
    body: bytes | None = None,
    end: bytes = b"\r\n",
    subject: str | None = None,
    message_id: str | None = None,
    **more: int | str,
) -> Odd:
    """A message with these raw fields, and with a sender, a Message-ID and a subject of its own where they give none.

    `subject` and `message_id` say what is to be found where a field is given; "" for nothing.
    """
    given = [field.split(b":")[0].strip().lower() for field in fields]
    lines = [] if b"from" in given else [b"From: Corpus <corpus@example.org>"]
    if b"message-id" not in given:
        lines.append(b"Message-ID: <" + name.encode() + b"@corpus.test>")
        message_id = f"{name}@corpus.test" if message_id is None else message_id
    if b"subject" not in given:
        lines.append(b"Subject: corpus " + name.encode())
        subject = f"corpus {name}" if subject is None else subject
    text = (b"body of " + name.encode() + end) if body is None else body
    data = b"".join(line + end for line in (*fields, *lines)) + end + text
    return Odd(name, why, data, subject or "", message_id or "", **more)  # type: ignore[arg-type]


def raw(name: str, why: str, data: bytes, **more: int | str) -> Odd:
    """Bytes as they are."""
    return Odd(name, why, data, **more)  # type: ignore[arg-type]
