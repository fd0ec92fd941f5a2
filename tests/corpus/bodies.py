"""Bodies: lines that are too long, dots, mbox quoting, MIME that goes wrong, and what certain programs write."""

# fmt: off - one message a line
from __future__ import annotations

import base64
from collections.abc import Iterator

from tests.corpus.kit import Odd, letter, raw

MIXED = b'Content-Type: multipart/mixed; boundary="b"'


def messages() -> Iterator[Odd]:
    yield from lines()
    yield from quoting()
    yield from parts()
    yield from programs()
    yield from lookalikes()


def lines() -> Iterator[Odd]:
    yield letter("line-megabyte", "a line of one megabyte without its end", body=b"L" * 1_000_000)
    yield letter("line-no-end", "a last line without its end", body=b"no end")
    yield letter("line-many-ends", "a hundred empty lines at the end", body=b"x\r\n" + b"\r\n" * 100)
    yield letter("line-lf-ends", "empty lines at the end, LF alone", body=b"x\n\n\n\n", end=b"\n")
    yield letter("line-dot", "lines of dots, the end of DATA among them", body=b".\r\n..\r\n...\r\n.\r\nafter the dot\r\n")
    yield letter("line-dot-first", "lines that begin with dots", body=b".hidden\r\n..two\r\n. \r\n")
    yield letter(
        "line-smtp",
        "SMTP commands after a dot: a letter smuggled in",
        body=b"x\r\n.\r\nMAIL FROM:<evil@x.test>\r\nRCPT TO:<a@b.test>\r\nDATA\r\n",
    )
    yield letter("line-smuggle", "LF . CRLF, which some servers take for the end", body=b"x\n.\r\nMAIL FROM:<evil@x.test>\n")
    yield letter(
        "line-imap",
        "what looks like IMAP answers and literals",
        body=b"A1 OK done\r\n* BYE\r\n{1000000}\r\n* 1 FETCH (UID 7 BODY[] {5}\r\n+ go on\r\n)\r\n",
    )
    yield letter("line-nul", "NULs in a body", body=b"a\0b\0\0c\r\n\0")
    yield letter("line-cr", "bare CRs in a body", body=b"a\rb\r\rc\r\r\n\r")
    yield letter("line-cr-end", "a bare CR as the last byte", body=b"text\r")
    yield letter("line-mixed", "LF and CRLF in turn", body=b"a\nb\r\nc\nd\r\n")
    yield letter("line-8bit", "8BITMIME: letters that are not ASCII, no MIME", body=bytes(range(128, 256)) + b"\r\n")
    yield letter("line-binary", "BINARYMIME: every byte", b"Content-Transfer-Encoding: binary", body=bytes(range(256)) * 40)
    yield letter("line-0x80", "bytes 0x80, which IMAP servers write for NUL", body=b"a\x80b\x80\r\n")
    yield letter("line-tabs", "white space at the ends of lines", body=b"trailing   \r\n\t\r\n \r\nend\t \r\n")
    yield letter("line-ctrl-z", "a ^Z, the end of a file in DOS", body=b"before\r\n\x1a\r\nafter\r\n")
    yield letter("line-form-feed", "form feeds and vertical tabs", body=b"a\x0cb\x0bc\x1c\x1d\x1e\r\n")
    yield letter("line-utf16", "a body in UTF-16 with NULs everywhere", body="\ufeffsixteen\r\n".encode("utf-16-le"))
    yield letter("line-empty-many", "100,000 empty lines", body=b"\r\n" * 100_000)


def quoting() -> Iterator[Odd]:
    yield letter("mbox-from", "a line that begins with “From ”", body=b"From here on it is another message\r\nfor an mbox\r\n")
    yield letter(
        "mbox-from-exact",
        "a whole mbox separator within a body",
        body=b"\r\nFrom a@b.test Mon Jan  1 00:00:00 2024\r\nSubject: forged\r\n\r\nforged\r\n",
    )
    yield letter("mbox-from-first", "“From ” as the first line of a body, LF alone", body=b"From the first\nline\n", end=b"\n")
    yield letter(
        "mbox-quoted", "lines that are quoted already", body=b">From one\r\n>>From two\r\n>>>>From four\r\n> From none\r\n"
    )
    yield letter("mbox-from-last", "“From ” as the last line, without its end", body=b"text\r\nFrom the end")
    yield letter("mbox-from-alone", "“From ” and nothing else", body=b"From ")
    yield letter("mbox-from-case", "lines like it that are none", body=b"from here\r\nFROM THERE\r\nFrom\r\nFrom:\r\n From x\r\n")
    yield letter("mbox-from-cr", "“From ” after a bare CR", body=b"a\rFrom b\r\n")
    yield letter(
        "mbox-in-mbox", "an mbox in a message in an mbox", body=b"From x Mon Jan  1 00:00:00 2024\n>From y\n\nFrom z\n\n\n"
    )


def parts() -> Iterator[Odd]:
    yield letter("mime-10000", "10,000 parts", MIXED, body=b"--b\r\n\r\np\r\n" * 10_000 + b"--b--\r\n")
    yield letter(
        "mime-no-boundary", "multipart without a boundary", b"Content-Type: multipart/mixed", body=b"--b\r\n\r\nx\r\n--b--\r\n"
    )
    yield letter(
        "mime-wrong-boundary",
        "a boundary that is in no line",
        b'Content-Type: multipart/mixed; boundary="a"',
        body=b"--b\r\n\r\nx\r\n--b--\r\n",
    )
    yield letter(
        "mime-empty-boundary", "an empty boundary", b'Content-Type: multipart/mixed; boundary=""', body=b"--\r\n\r\nx\r\n----\r\n"
    )
    yield letter(
        "mime-long-boundary",
        "a boundary of 5,000 letters",
        b'Content-Type: multipart/mixed; boundary="' + b"B" * 5000 + b'"',
        body=b"--" + b"B" * 5000 + b"\r\n\r\nx\r\n",
    )
    yield letter(
        "mime-prefix-boundary",
        "boundaries that begin alike",
        b'Content-Type: multipart/mixed; boundary="b"',
        body=b"--b\r\nContent-Type: multipart/mixed; boundary=bb\r\n\r\n--bb\r\n\r\nx\r\n--bb--\r\n--b--\r\n",
    )
    yield letter("mime-unclosed", "a multipart that is never closed", MIXED, body=b"--b\r\n\r\nx\r\n")
    yield letter(
        "mime-same-boundary",
        "inner and outer part with one boundary",
        MIXED,
        body=b"--b\r\n" + MIXED + b"\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n--b--\r\n",
    )
    yield letter("mime-no-parts", "a multipart without parts", MIXED, body=b"--b--\r\n")
    yield nested("mime-rfc822-100", "messages in messages, 100 deep", b"message/rfc822", 100)
    yield nested("mime-rfc822-3000", "messages in messages, 3,000 deep", b"message/rfc822", 3000)
    yield deep("mime-deep-500", "multiparts in multiparts, 500 deep", 500)
    yield letter("mime-no-version", "MIME without MIME-Version", b"Content-Type: text/html", body=b"<b>x</b>")
    yield letter("mime-bad-type", "a content type that is none", b"Content-Type: ;;;/=//;")
    yield letter("mime-two-types", "two content types", b"Content-Type: text/plain", b"Content-Type: text/html; charset=utf-8")
    yield letter("mime-bad-encoding", "an encoding that does not exist", b"Content-Transfer-Encoding: x-uuuuuu")
    yield letter("mime-two-encodings", "two encodings", b"Content-Transfer-Encoding: base64", b"Content-Transfer-Encoding: 8bit")
    yield letter(
        "mime-base64-bad", "base64 that is damaged", b"Content-Transfer-Encoding: base64", body=b"!!!!AAAA====AAAA\r\nA\r\n"
    )
    yield letter(
        "mime-base64-line",
        "base64 of 900,000 letters in one line",
        b"Content-Transfer-Encoding: base64",
        body=base64.b64encode(b"x" * 675_000),
    )
    yield letter(
        "mime-qp-bad",
        "quoted-printable that is damaged",
        b"Content-Transfer-Encoding: quoted-printable",
        body=b"=\r\n=Z=4=\r\n=3D=",
    )
    yield letter(
        "mime-name-path",
        "an attachment whose name is a path",
        b'Content-Disposition: attachment; filename="../../../../etc/cron.d/x"',
    )
    yield letter(
        "mime-name-2231",
        "a name in pieces that lack one (RFC 2231)",
        b"Content-Disposition: attachment; filename*0*=utf-8''a%; filename*2=c; filename*1000000=z",
    )
    yield letter(
        "mime-params",
        "10,000 parameters",
        b"Content-Type: text/plain" + b"".join(b"; p%d=v" % number for number in range(10_000)),
    )
    yield letter(
        "mime-external",
        "a body that lies elsewhere",
        b"Content-Type: message/external-body; access-type=local-file; name=/etc/passwd",
        body=b"\r\n",
    )
    yield letter("mime-partial", "a third of a message", b'Content-Type: message/partial; id="x"; number=2; total=3')
    yield letter(
        "mime-tnef",
        "winmail.dat",
        b"Content-Type: application/ms-tnef; name=winmail.dat",
        b"Content-Transfer-Encoding: base64",
        body=base64.b64encode(b"\x78\x9f\x3e\x22" + bytes(40)),
    )
    yield letter("mime-uuencode", "uuencoded text in a body", body=b"begin 644 x\r\n#0V%T\r\n`\r\nend\r\n")
    yield letter(
        "mime-pgp",
        "signed in its lines: a changed byte breaks it",
        body=b"-----BEGIN PGP SIGNED MESSAGE-----\r\nHash: SHA256\r\n\r\n- From me \r\n-----BEGIN PGP SIGNATURE-----\r\n\r\niQ==\r\n-----END PGP SIGNATURE-----\r\n",
    )


def nested(name: str, why: str, kind: bytes, depth: int) -> Odd:
    return letter(
        name,
        why,
        b"Content-Type: " + kind,
        body=(b"Content-Type: " + kind + b"\r\n\r\n") * depth + b"Subject: innermost\r\n\r\nx\r\n",
    )


def deep(name: str, why: str, depth: int) -> Odd:
    body = b"".join(
        b'--b%d\r\nContent-Type: multipart/mixed; boundary="b%d"\r\n\r\n' % (number, number + 1) for number in range(depth)
    )
    return letter(name, why, b'Content-Type: multipart/mixed; boundary="b0"', body=body + b"--b%d\r\n\r\nx\r\n" % depth)


def programs() -> Iterator[Odd]:
    yield letter(
        "program-outlook",
        "Outlook: folded references, Thread-Index, no text part",
        b"Thread-Topic: x",
        b"Thread-Index: AQHZ\r\n\tAAA=",
        b"References: <a@b>\r\n\t<c@d>",
        b"X-MS-Has-Attach:",
        b"X-MS-TNEF-Correlator:",
    )
    yield letter(
        "program-exchange", "Exchange: an address of X.400 for a sender", b"From: </O=ORG/OU=UNIT/CN=RECIPIENTS/CN=NAME>"
    )
    yield letter(
        "program-apple",
        "Apple Mail: its own fields, format=flowed, trailing spaces",
        b"X-Uniform-Type-Identifier: com.apple.mail-draft",
        b"Content-Type: text/plain; format=flowed; delsp=yes",
        body=b"flowed \r\nlines \r\n",
    )
    yield letter(
        "program-exim",
        "Exim: its delivery fields and a “From ” line kept",
        b"Return-path: <a@b.test>",
        b"Envelope-to: c@d.test",
        b"Delivery-date: Mon, 01 Jan 2024 00:00:00 +0000",
    )
    yield letter(
        "program-qmail",
        "qmail: its own Received form, LF alone",
        b"Received: (qmail 1234 invoked by uid 0); 1 Jan 2024 00:00:00 -0000",
        b"Delivered-To: a@b.test",
        end=b"\n",
    )
    yield letter(
        "program-sendmail",
        "sendmail: a body type and a very old date",
        b"Full-Name: Corpus",
        b"X-Authentication-Warning: host: root set sender to x using -f",
    )
    yield letter("program-gmail", "Gmail: labels that are not ASCII", b"X-Gmail-Labels: =?UTF-8?Q?Entw=C3=BCrfe?=,Unread")
    yield letter(
        "program-mozilla",
        "Thunderbird: status fields and blank padding",
        b"X-Mozilla-Status: 0001",
        b"X-Mozilla-Status2: 00800000",
        b"X-Mozilla-Keys:" + b" " * 80,
    )
    yield letter("program-pine", "Pine: the folder's own data as a message", b"X-IMAP: 1234567890 0000000001", b"Status: RO")
    yield letter(
        "program-lotus",
        "Lotus Notes: fields with spaces in their names",
        b"$MessageID: <x>",
        b"X-Notes-Item: CN=A/O=B; type=4; name=From",
    )
    yield letter(
        "program-php",
        "a form's script: LF in fields, CRLF in the body",
        b"X-PHP-Originating-Script: 33:mail.php",
        end=b"\n",
        body=b"a\r\nb\r\n",
    )
    yield letter(
        "program-dmarc",
        "a report with a zip that is none",
        b"Content-Type: application/zip",
        b"Content-Transfer-Encoding: base64",
        body=b"UEsDBAoAAAA=\r\n",
    )
    yield letter(
        "program-bounce",
        "a bounce without a sender",
        b"Return-Path: <>",
        b"From: <>",
        b"Content-Type: multipart/report; report-type=delivery-status; boundary=b",
        body=b"--b\r\nContent-Type: message/delivery-status\r\n\r\n\r\n--b--\r\n",
    )
    yield letter("program-sms", "an SMS gateway: a subject of a space", b"Subject:  ", subject="")
    yield letter(
        "program-fax",
        "a fax: no subject, no date, one TIFF",
        b"Subject:",
        b"Content-Type: image/tiff",
        subject="",
        body=b"II*\0" + bytes(200),
    )
    yield letter("program-spam", "a filter's mark longer than a line may be", b"X-Spam-Report: " + b"*  1.0 RULE " * 500)
    yield letter(
        "program-calendar",
        "an invitation in UTF-8 that says us-ascii",
        b"Content-Type: text/calendar; charset=us-ascii; method=REQUEST",
        body="BEGIN:VCALENDAR\r\nSUMMARY:Gr\xfc\xdfe\r\nEND:VCALENDAR\r\n".encode(),
    )
    yield letter(
        "program-dkim",
        "a signature whose folds matter",
        b"DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d=x.test;\r\n\ts=s; h=from:subject;\r\n\tbh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=;\r\n\tb=AAAA",
    )


def lookalikes() -> Iterator[Odd]:
    """Mail whose first bytes look as if it were stored encrypted or compressed, and which is neither."""
    yield raw(
        "looks-crypted",
        "a field that is called CRYPTED",
        b"CRYPTED: no\r\nSubject: corpus looks-crypted\r\n\r\nx\r\n",
        subject="looks-crypted",
    )
    yield raw(
        "looks-bzip2",
        "a field that begins as bzip2 does",
        b"BZh9: no\r\nSubject: corpus looks-bzip2\r\n\r\nx\r\n",
        subject="looks-bzip2",
    )
    yield raw(
        "looks-lz4",
        "a field that begins as Dovecot's lz4 does",
        b"Dovecot-LZ4: no\r\nSubject: corpus looks-lz4\r\n\r\nx\r\n",
        subject="looks-lz4",
    )
    yield raw(
        "looks-gzip",
        "two bytes of gzip, then text",
        b"\x1f\x8b: no\r\nSubject: corpus looks-gzip\r\n\r\nx\r\n",
        subject="looks-gzip",
    )
    yield letter("looks-inside", "a whole gzip file as a body", body=b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0")
