"""A message as Proton's Bridge shows it: built anew from one body and a list of attachments, which is all that is kept there.

Strict, by what its sources and its answers to reports document: one body alone (of alternatives the HTML), in UTF-8 and quoted-printable; all
else an attachment in base64; boundaries of its own; fields in groups by name with those that were touched on top; addresses and subject encoded
anew; a Message-Id made only where there is none; a date that makes no sense replaced; its own X-Pm-… fields, and its own number in References.
What the service's servers add on the way in (Delivered-To, X-Pm-Origin) is there too. Undocumented, and done in the simplest way here: a second text in one
message becomes an attachment, and a signed part is taken apart like any other.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import Message
from email.utils import format_datetime, getaddresses, parsedate_to_datetime

INTERNAL = "protonmail.internalid"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ADDRESSES = ("From", "Reply-To", "To", "Cc", "Bcc")


@dataclass(frozen=True, slots=True)
class Attachment:
    kind: str  # image/png
    name: str
    disposition: str  # inline | attachment
    content_id: str
    data: bytes


class Fields:
    """Header fields in order; a name that is set anew goes to the top, as its library does it."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, str]] = []

    def get(self, name: str) -> str:
        return next((value for key, value in self._rows if key.lower() == name.lower()), "")

    def add(self, name: str, value: str) -> None:
        self._rows.append((name, value))

    def drop(self, name: str) -> None:
        self._rows = [row for row in self._rows if row[0].lower() != name.lower()]

    def put(self, name: str, value: str) -> None:
        self.drop(name)
        self._rows.insert(0, (name, value))

    def put_if_needed(self, name: str, value: str) -> None:
        if self.get(name) != value:
            self.put(name, value)

    def data(self) -> bytes:
        return "".join(f"{name}: {value}\r\n" for name, value in self._rows).encode() + b"\r\n"


def internal_id(data: bytes, at: datetime) -> str:
    """Its number for a message: 88 letters of base64."""
    return base64.urlsafe_b64encode(hashlib.sha512(data + at.isoformat().encode()).digest()).decode()


def rebuilt(data: bytes, at: datetime, owner: str) -> bytes:
    """`data`: the message as it came by SMTP to `owner` at that time."""
    message, number = message_from_bytes(data), internal_id(data, at)
    body, attachments = taken_apart(message)
    kind = "text/plain" if body is None else body.get_content_type()
    text = b"" if body is None else _in_utf8(body)
    fields = _head(message, number, at, owner)
    if not attachments:
        fields.put("Content-Type", f"{kind}; charset=utf-8")
        fields.put("Content-Transfer-Encoding", "quoted-printable")
        return fields.data() + _quoted(text)
    outer = hashlib.sha256(number.encode()).hexdigest()
    fields.put("Content-Type", f'multipart/mixed; boundary="{outer}"')
    fields.drop("Content-Transfer-Encoding")
    inline = [each for each in attachments if each.disposition == "inline"]
    first = _text_part(kind, text)
    if inline:
        inner = hashlib.sha256(outer.encode()).hexdigest()
        head = f'Content-Type: multipart/related; boundary="{inner}"\r\n\r\n'.encode()
        first = head + _joined(inner, [first, *map(_attached, inline)])
    others = [each for each in attachments if each.disposition != "inline"]
    return fields.data() + _joined(outer, [first, *map(_attached, others)])


def failed_to_build(subject: str, at: datetime, number: str) -> bytes:
    """What stands in a folder for a message that could not be built."""
    told = f"Failed to build message: \nSubject:   {subject}\nError:     no keyring\nMessageID: {number}\n"
    head = f"Date: {at:%d %b %y %H:%M} UTC\nSubject: Message failed to build\nContent-Type: text/plain\nContent-Transfer-Encoding: base64\n\n"
    return head.encode() + base64.b64encode(told.encode())


def taken_apart(message: Message) -> tuple[Message | None, list[Attachment]]:
    """The one body, and all else."""
    leaves = list(_leaves(message))
    texts = [each for each in leaves if each.get_content_maintype() == "text" and each.get_content_disposition() != "attachment"]
    body = texts[0] if texts else None
    return body, [_attachment(each) for each in leaves if each is not body]


def _leaves(part: Message) -> Iterator[Message]:
    if part.get_content_type() == "message/rfc822" or not part.is_multipart():
        yield part
        return
    inner = [each for each in part.get_payload() if isinstance(each, Message)]
    if part.get_content_type() == "multipart/alternative":
        best = [each for each in inner if _has_html(each)] or inner[:1]
        inner = best[-1:]
    for each in inner:
        yield from _leaves(each)


def _has_html(part: Message) -> bool:
    return any(each.get_content_type() == "text/html" for each in part.walk())


def _attachment(part: Message) -> Attachment:
    kind = part.get_content_type()
    name = str(make_header(decode_header(part.get_filename() or "")))
    disposition = part.get_content_disposition() or ("inline" if part["Content-ID"] else "attachment")
    if kind == "message/rfc822":
        (inner,) = part.get_payload()
        assert isinstance(inner, Message)
        data = inner.as_bytes()
    else:
        data = bytes(part.get_payload(decode=True) or b"")
    return Attachment(kind, name or "attachment", disposition, part["Content-ID"] or "", data)


def _in_utf8(part: Message) -> bytes:
    data = bytes(part.get_payload(decode=True) or b"")
    charset = part.get_content_charset("utf-8")
    try:
        return data.decode(charset).encode()
    except (LookupError, UnicodeDecodeError):
        return data.decode("utf-8", "replace").encode()


def _head(message: Message, number: str, at: datetime, owner: str) -> Fields:
    fields = Fields()
    fields.add("X-Original-To", owner)
    fields.add("Delivered-To", owner)
    fields.add("X-Pm-Origin", "external")
    fields.add("X-Pm-Content-Encryption", "on-delivery")
    fields.add("X-Pm-Spamscore", "0")
    came: dict[str, list[str]] = {}
    for name, value in message.raw_items():
        came.setdefault(_titled(name), []).append(_unfolded(str(value)))
    for name, values in came.items():
        for value in values:
            fields.add(name, value)
    subject = fields.get("Subject")
    if subject:
        fields.put_if_needed("Subject", _word(_decoded(subject)))
    for name in ADDRESSES:
        if pairs := [pair for pair in getaddresses([_decoded_names(value) for value in came.get(name, [])]) if any(pair)]:
            fields.put_if_needed(name, ", ".join(_address(*pair) for pair in pairs))
    external = fields.get("Message-Id").strip().removeprefix("<").removesuffix(">")
    if not external:
        fields.put("Message-Id", f"<{number}@{INTERNAL}>")
    _sanitise_date(fields, at)
    fields.put("X-Pm-Internal-Id", number)
    if external:
        fields.put("X-Pm-External-Id", f"<{external}>")
    fields.put("X-Pm-Date", format_datetime(at))
    fields.put("References", f"{fields.get('References')} <{number}@{INTERNAL}>".strip())
    return fields


def _sanitise_date(fields: Fields, at: datetime) -> None:
    try:
        date = parsedate_to_datetime(fields.get("Date"))
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        sound = date >= EPOCH
    except ValueError:
        sound, date = False, datetime(1, 1, 1, tzinfo=UTC)
    if not sound:
        fields.put("Date", format_datetime(at))
        fields.put("X-Original-Date", format_datetime(date))


def _titled(name: str) -> str:
    return "-".join(word.capitalize() for word in name.split("-"))


def _unfolded(value: str) -> str:
    return re.sub(r"\r?\n[ \t]*", " ", value).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _decoded(value: str) -> str:
    return str(make_header(decode_header(value)))


def _decoded_names(value: str) -> str:
    """Encoded names of addresses as text in quotes, so that a comma in one of them stays where it is."""
    return re.sub(
        r"=\?[^?\s]+\?[bqBQ]\?[^?\s]*\?=(?:\s+=\?[^?\s]+\?[bqBQ]\?[^?\s]*\?=)*", lambda found: f'"{_decoded(found[0])}"', value
    )


def _address(name: str, address: str) -> str:
    """As Go's library writes it: always in angle brackets, a name always in quotes or as a word."""
    if not name:
        return f"<{address}>"
    if name.isascii():
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}" <{address}>'
    return f"{_word(name)} <{address}>"


def _word(text: str) -> str:
    """Encoded words of quoted-printable, 75 letters at most, where it is not ASCII."""
    if text.isascii():
        return text
    words, word = [], ""
    for letter in text:
        piece = (
            "_"
            if letter == " "
            else letter
            if letter.isascii() and letter.isalnum()
            else "".join(f"={byte:02X}" for byte in letter.encode())
        )
        if len(word) + len(piece) > 75 - len("=?utf-8?q??="):
            words.append(word)
            word = ""
        word += piece
    return " ".join(f"=?utf-8?q?{each}?=" for each in [*words, word])


def _text_part(kind: str, text: bytes) -> bytes:
    head = f"Content-Transfer-Encoding: quoted-printable\r\nContent-Type: {kind}; charset=utf-8\r\n\r\n"
    return head.encode() + _quoted(text)


def _quoted(text: bytes) -> bytes:
    return binascii.b2a_qp(re.sub(rb"\r?\n", b"\r\n", text), istext=True)


def _attached(each: Attachment) -> bytes:
    name = _word(each.name)
    head = f'Content-Disposition: {each.disposition}; filename="{name}"\r\nContent-Type: {each.kind}; filename="{name}"; name="{name}"\r\n'
    head += f"Content-Id: {each.content_id}\r\n" if each.content_id else ""
    if each.kind == "message/rfc822":
        return head.encode() + b"\r\n" + each.data
    return f"Content-Transfer-Encoding: base64\r\n{head}\r\n".encode() + b"\r\n".join(_lines(base64.b64encode(each.data)))


def _lines(data: bytes) -> Iterable[bytes]:
    return (data[start : start + 76] for start in range(0, len(data), 76))


def _joined(boundary: str, parts: list[bytes]) -> bytes:
    opened = b"".join(b"--" + boundary.encode() + b"\r\n" + part + b"\r\n" for part in parts)
    return opened + b"--" + boundary.encode() + b"--\r\n"
