"""Messages as a store gives them that keeps mail in a form of its own: taken apart and built anew, in the way of Proton's Bridge."""

from __future__ import annotations

import base64
import email
import quopri
from email import policy
from email.message import EmailMessage
from email.utils import getaddresses

ID = "xq0kR7Sw3n4Z-abc_DEF=="


def rebuilt(message: bytes, number: str = ID) -> bytes:
    """The HTML alone where there was plain text beside it; text in UTF-8 and quoted-printable, all else in base64, inline parts before others."""
    parsed = email.message_from_bytes(message, policy=policy.default)
    assert isinstance(parsed, EmailMessage)
    body = parsed.get_body(("html", "plain"))
    text = "" if body is None else body.get_content()
    kind = "text/plain" if body is None else body.get_content_type()
    aside = {id(part) for part in parsed.walk() if part.get_content_type() == "text/plain"} if kind == "text/html" else set()
    attached = [
        part
        for part in parsed.walk()
        if not part.is_multipart() and part is not body and (id(part) not in aside or part.get_filename())
    ]
    head = _head(parsed, number)
    if not attached:
        return head + _text(kind, text)
    inner = b"".join(_attached(part, f"part{place}") for place, part in enumerate(sorted(attached, key=_is_attachment)))
    return (
        head
        + b'Content-Type: multipart/mixed; boundary="b1_new"\r\n\r\n--b1_new\r\n'
        + _text(kind, text)
        + inner
        + b"\r\n--b1_new--\r\n"
    )


def _is_attachment(part: EmailMessage) -> bool:
    return part.get_content_disposition() == "attachment"


def _head(parsed: EmailMessage, number: str) -> bytes:
    lines = [
        f"X-Pm-Internal-Id: {number}",
        f"X-Pm-External-Id: <{parsed['Message-ID']}>",
        "X-Pm-Date: Mon, 30 Nov 2026 08:00:00 +0000",
    ]
    for name in ("From", "To", "Cc"):
        if parsed[name]:
            addresses = (address for _, address in getaddresses([str(parsed[name])]))
            lines.append(f"{name}: " + ", ".join(f'"{address}" <{address}>' for address in addresses))
    subject = str(parsed["Subject"] or "").encode()
    lines.append("Subject: =?utf-8?q?" + quopri.encodestring(subject, header=True).decode().replace("=\n", "") + "?=")
    lines += [f"{name}: {parsed[name]}" for name in ("Date", "Received") if parsed[name]]
    lines.append(f"Message-Id: {parsed['Message-ID'] or f'<{number}@protonmail.internalid>'}")
    lines.append(f"References: {parsed['References'] or ''} <{number}@protonmail.internalid>")
    return "\r\n".join([*lines, "Mime-Version: 1.0", ""]).encode()


def _text(kind: str, text: str) -> bytes:
    lines = text.replace("\r\n", "\n").encode("utf-8")
    quoted = quopri.encodestring(lines).replace(b"\n", b"\r\n")
    return f"Content-Type: {kind}; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n".encode() + quoted


def _attached(part: EmailMessage, name: str) -> bytes:
    data = part.get_payload(decode=True)
    assert isinstance(data, bytes)
    how = part.get_content_disposition() or "inline"
    head = (
        f'\r\n--b1_new\r\nContent-Type: {part.get_content_type()}; name="{name}"\r\n'
        f'Content-Disposition: {how}; filename="{name}"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
    )
    return head.encode() + base64.encodebytes(data).replace(b"\n", b"\r\n")
