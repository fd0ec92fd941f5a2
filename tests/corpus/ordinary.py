"""Letters as people and programs really send them, each of another kind: what must be known again after another server has had it."""

from __future__ import annotations

import base64
import quopri
from collections.abc import Iterator

from tests.corpus.kit import Odd

PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
PDF = b"%PDF-1.4\n" + bytes(range(256)) * 300 + b"\n%%EOF\n"
DATE = "Mon, 16 Nov 2026 09:%02d:00 +0100"


def ordinary() -> tuple[Odd, ...]:
    """Names and bytes are unique; those whose name ends in -twin have the Message-ID of the one before them, and other contents."""
    return tuple(_letters())


def _letters() -> Iterator[Odd]:
    yield _plain("text", b"Hello,\r\n\r\nthe minutes are below.\r\n\r\nAnna\r\n")
    yield _plain("text-lines", b"Trailing blanks   \r\nand a tab\t\r\n\r\nend\r\n\r\n\r\n")
    yield _plain("text-8bit", "Schöne Grüße aus Köln\r\n".encode(), "text/plain; charset=utf-8", "8bit")
    yield _plain("text-latin1", "Schöne Grüße, 5 £\r\n".encode("latin-1"), "text/plain; charset=iso-8859-1", "8bit")
    yield _plain("text-japanese", "こんにちは、議事録です。\r\n".encode("iso-2022-jp"), "text/plain; charset=iso-2022-jp", "7bit")
    yield _plain("text-russian", "Добрый день\r\n".encode("koi8-r"), "text/plain; charset=koi8-r", "8bit")
    yield _plain("text-base64", base64.encodebytes("Łódź, żółć\r\n".encode()), "text/plain; charset=utf-8", "base64")
    yield _plain(
        "text-quoted", quopri.encodestring("Ünïcödé = ça va\r\n".encode()), "text/plain; charset=utf-8", "quoted-printable"
    )
    yield _plain(
        "text-flowed", b"This line flows \r\non here.\r\n>quoted \r\n>on\r\n-- \r\nBob\r\n", "text/plain; format=flowed; delsp=no"
    )
    yield _plain("text-dots", b".\r\n..\r\nFrom here on\r\n>From there\r\n")
    yield _plain("text-long-line", b"word " * 400 + b"\r\n")
    yield _plain("text-empty", b"")
    yield _plain("html", "<p>Grüße</p>\r\n".encode(), "text/html; charset=utf-8", "8bit")
    yield _letter(
        "alternative",
        b'multipart/alternative; boundary="a"',
        _parts("a", _text(b"plain words\r\n"), _html(b"<p>rich words</p>\r\n")),
    )
    yield _letter("attached", b'multipart/mixed; boundary="m"', _parts("m", _text(b"see the paper\r\n"), _file("paper.pdf", PDF)))
    yield _letter(
        "attached-names",
        b'multipart/mixed; boundary="m"',
        _parts("m", _text(b"two\r\n"), _file("=?utf-8?Q?Gr=C3=BC=C3=9Fe.txt?=", b"one\r\n"), _file("b.bin", bytes(range(256)))),
    )
    yield _letter(
        "inline-picture",
        b'multipart/mixed; boundary="m"',
        _parts("m", _related(), _file("terms.pdf", PDF[:999])),
    )
    yield _letter(
        "alternative-related",
        b'multipart/alternative; boundary="a"',
        _parts("a", _text(b"no picture here\r\n"), _related()),
    )
    yield _letter(
        "forwarded",
        b'multipart/mixed; boundary="m"',
        _parts("m", _text(b"look\r\n"), b"Content-Type: message/rfc822\r\nContent-Disposition: attachment\r\n\r\n" + _inner()),
    )
    yield _letter(
        "invitation",
        b'multipart/mixed; boundary="m"',
        _parts(
            "m",
            _text(b"come\r\n"),
            _part(b"text/calendar; method=REQUEST; name=invite.ics", b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n", name="invite.ics"),
        ),
    )
    yield _letter(
        "signed-smime",
        b'multipart/signed; protocol="application/pkcs7-signature"; micalg=sha-256; boundary="s"',
        _parts("s", _text(b"signed words\r\n"), _file("smime.p7s", PDF[:700], "application/pkcs7-signature")),
    )
    yield _plain(
        "reply",
        b"yes\r\n",
        more="In-Reply-To: <text@ordinary.test>\r\nReferences: <first@ordinary.test>\r\n <text@ordinary.test>\r\n",
    )
    yield _plain(
        "many-people",
        b"all\r\n",
        to='"Müller, Jürgen" <j@example.org>,\r\n\tBob B. <bob@example.org>, plain@example.org'.encode(),
    )
    yield _plain(
        "encoded-people",
        b"all\r\n",
        to=b"=?iso-8859-1?Q?J=FCrgen_M=FCller?= <j@example.org>, =?utf-8?B?0JHQvtCx?= <bob@example.org>",
    )
    yield _plain(
        "encoded-subject", b"x\r\n", subject="=?utf-8?Q?Einladung_zum_Sommerfest_am_Gro=C3=9Fen_?=\r\n =?utf-8?Q?See_und_danach?="
    )
    yield _plain(
        "signed-by-server",
        b"x\r\n",
        more="DKIM-Signature: v=1; a=rsa-sha256; d=x.test; s=s;\r\n\tbh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=;\r\n\tb=AAAA\r\n",
    )
    yield _plain("id-twin-a", b"the first report\r\n", message_id="same@ordinary.test")
    yield _plain("id-twin-b", b"the second report\r\n", message_id="same@ordinary.test")
    yield _plain("no-id-a", b"a scanner's page 1\r\n", message_id="")
    yield _plain("no-id-b", b"a scanner's page 2\r\n", message_id="")
    yield _plain("no-date", b"undated\r\n", date="")
    yield _plain("old-date", b"from a clock that lost its battery\r\n", date="Thu, 01 Jan 1960 00:00:00 +0000")


def _plain(
    name: str, body: bytes, kind: str = "text/plain; charset=us-ascii", encoding: str = "7bit", **more: str | bytes
) -> Odd:
    return _letter(name, kind.encode(), body, encoding, **more)


def _letter(
    name: str,
    kind: bytes,
    body: bytes,
    encoding: str = "8bit",
    *,
    to: bytes = b"bob@example.org",
    subject: str | None = None,
    message_id: str | None = None,
    date: str = DATE % 30,
    more: str = "",
) -> Odd:
    unique = f"{name}@ordinary.test" if message_id is None else message_id
    head = (
        "Received: from client (client [192.0.2.9]) by relay.test with ESMTPS id 4Xy; Mon, 16 Nov 2026 08:30:00 +0000\r\n" + more
    )
    head += f"From: Anna <anna@sender.test>\r\nSubject: {subject or name}\r\n"
    head += f"Message-ID: <{unique}>\r\n" if unique else ""
    head += f"Date: {date}\r\n" if date else ""
    mime = b"MIME-Version: 1.0\r\nContent-Type: " + kind + b"\r\nContent-Transfer-Encoding: " + encoding.encode() + b"\r\n"
    return Odd(name, name.replace("-", " "), head.encode() + b"To: " + to + b"\r\n" + mime + b"\r\n" + body, name, unique)


def _parts(boundary: str, *parts: bytes) -> bytes:
    mark = b"--" + boundary.encode()
    return b"This is a message in parts.\r\n" + b"".join(mark + b"\r\n" + part + b"\r\n" for part in parts) + mark + b"--\r\n"


def _part(
    kind: bytes, data: bytes, encoding: bytes = b"7bit", *, name: str = "", content_id: str = "", shown: str = "attachment"
) -> bytes:
    head = b"Content-Type: " + kind + b"\r\nContent-Transfer-Encoding: " + encoding + b"\r\n"
    head += f'Content-Disposition: {shown}; filename="{name}"\r\n'.encode() if name else b""
    head += f"Content-ID: <{content_id}>\r\n".encode() if content_id else b""
    return head + b"\r\n" + data


def _text(data: bytes) -> bytes:
    return _part(b"text/plain; charset=utf-8", data)


def _html(data: bytes) -> bytes:
    return _part(b"text/html; charset=utf-8", data)


def _file(name: str, data: bytes, kind: str = "application/octet-stream") -> bytes:
    return _part(f'{kind}; name="{name}"'.encode(), base64.encodebytes(data).replace(b"\n", b"\r\n"), b"base64", name=name)


def _related() -> bytes:
    picture = base64.encodebytes(PNG).replace(b"\n", b"\r\n")
    shown = _part(b'image/png; name="dot.png"', picture, b"base64", name="dot.png", content_id="dot@x", shown="inline")
    return b'Content-Type: multipart/related; boundary="r"\r\n\r\n' + _parts("r", _html(b'<img src="cid:dot@x">\r\n'), shown)


def _inner() -> bytes:
    return b"From: c@x.test\r\nSubject: inner\r\nMessage-ID: <inner@ordinary.test>\r\nDate: Mon, 16 Nov 2026 08:00:00 +0000\r\n\r\ninner words\r\n"
