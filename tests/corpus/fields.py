"""Headers: fields that are missing, doubled, huge or no fields at all; identities and dates of every kind."""

# fmt: off - one message a line
from __future__ import annotations

from collections.abc import Iterator

from tests.corpus.kit import LONG_AGO, Odd, letter, raw

BEFORE_1970, AFTER_2038, YEAR_2106 = -86_400 * 365 * 9 - 1, 2**31 + 12_345, 2**32 + 77


def messages() -> Iterator[Odd]:
    yield from shapes()
    yield from identities()
    yield from addresses()
    yield from dates()


def shapes() -> Iterator[Odd]:
    yield raw("shape-empty", "no byte at all", b"")
    yield raw("shape-newline", "one line end and nothing else", b"\n")
    yield raw("shape-two-newlines", "two line ends and nothing else", b"\r\n\r\n")
    yield raw("shape-space", "one space", b" ")
    yield raw("shape-nul", "one NUL", b"\0")
    yield raw("shape-nuls", "4,096 NULs, as a full disk leaves them", b"\0" * 4096)
    yield raw("shape-cr", "one bare CR", b"\r")
    yield raw("shape-no-headers", "a body without a header", b"no header here, just text that goes on\r\nand on\r\n")
    yield raw("shape-only-body", "an empty header, then a body", b"\r\nonly a body\r\n")
    yield raw("shape-one-line", "a text of one line, no line end", b"hello")
    yield raw("shape-binary", "every byte there is, in order", bytes(range(256)) * 8)
    yield raw("shape-jpeg", "a picture where mail should be", b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(range(256)) * 4)
    yield raw("shape-html", "a web page where mail should be", b"<!DOCTYPE html>\n<html><body>502 Bad Gateway</body></html>\n")
    yield letter("shape-no-body", "a header, its empty line, no body", body=b"")
    yield raw(
        "shape-no-empty-line",
        "a header that ends with the file",
        b"Subject: corpus shape-no-empty-line\r\nFrom: a@b.test\r\n",
        subject="corpus shape-no-empty-line",
    )
    yield raw(
        "shape-cut", "a header cut in the middle of a field's name", b"Subject: corpus shape-cut\r\nFro", subject="shape-cut"
    )
    yield raw(
        "shape-cut-value",
        "a header cut in the middle of a value",
        b"From: a@b.test\r\nSubject: corpus shape-cut-val",
        subject="shape-cut-val",
    )
    yield letter("shape-lf", "bare LF everywhere", end=b"\n")
    yield raw(
        "shape-cr-only", "bare CR everywhere, as old Macs wrote", b"Subject: corpus shape-cr-only\rFrom: a@b.test\r\rbody\r"
    )
    yield letter("shape-cr-crlf", "CR CR LF, as a text mode upload leaves", end=b"\r\r\n")
    yield raw(
        "shape-mixed-ends",
        "CRLF, LF and CR in one message",
        b"From: a@b.test\r\nSubject: corpus shape-mixed-ends\nX-A: b\r\n\none\rtwo\r\nthree\n",
        subject="shape-mixed-ends",
    )
    yield raw(
        "shape-lfcr",
        "LF CR, the wrong way round",
        b"Subject: corpus shape-lfcr\n\rFrom: a@b.test\n\r\n\rbody\n\r",
        subject="corpus shape-lfcr",
    )
    yield letter("shape-colonless", "a line without a colon between fields", b"this is no field", b"X-After: it")
    yield letter(
        "shape-space-colon", "a space before the colon", b"Subject : corpus shape-space-colon", subject="shape-space-colon"
    )
    yield letter("shape-empty-name", "a field without a name", b": nameless")
    yield letter("shape-name-8bit", "a field's name that is not ASCII", "X-Gr\xfc\xdfe: ja".encode())
    yield letter("shape-name-long", "a field's name of 100,000 letters", b"X-" + b"N" * 100_000 + b": v")
    yield raw(
        "shape-first-folded",
        "a continuation before any field",
        b" \tfolded first\r\nSubject: corpus shape-first-folded\r\n\r\nx",
        subject="shape-first-folded",
    )
    yield letter(
        "shape-fold-empty",
        "a continuation of white space alone inside a subject",
        b"Subject: corpus\r\n \r\n shape-fold-empty",
        subject="corpus",
    )
    yield letter("shape-fold-many", "a subject folded 5,000 times", b"Subject: corpus" + b"\r\n x" * 5000, subject="corpus x x")
    yield letter(
        "shape-fold-tabs", "a subject folded with tabs", b"Subject: corpus\r\n\tshape-fold-tabs", subject="corpus shape-fold-tabs"
    )
    yield letter("shape-megabyte-line", "a field of one megabyte", b"X-Megabyte: " + b"m" * 1_000_000)
    yield letter("shape-megabyte-subject", "a subject of one megabyte", b"Subject: mega" + b"m" * 1_000_000, subject="megammm")
    yield letter(
        "shape-megabyte-first",
        "a megabyte of header before the fields that matter",
        *[b"X-%05d: " % n + b"p" * 990 for n in range(1_050)],
    )
    yield letter(
        "shape-beyond",
        "three megabytes of header: what comes later is not looked at",
        *[b"X-%05d: " % n + b"p" * 990 for n in range(3_100)],
        subject="",
        message_id="",
    )
    yield letter("shape-received", "10,000 Received lines", *[b"Received: from a by b; Mon, 1 Jan 2024 00:00:00 +0000"] * 10_000)
    yield letter("shape-fields", "20,000 fields of one letter", *[b"X: y"] * 20_000)
    yield letter(
        "shape-twice",
        "every field twice",
        b"Subject: corpus shape-twice",
        b"Subject: corpus second",
        subject="corpus shape-twice",
    )
    yield letter("shape-from-line", "an mbox line before the header", b"From sender@x.test Mon Jan  1 00:00:00 2024")
    yield letter(
        "shape-quoted-from-line", "a quoted mbox line before the header", b">From sender@x.test Mon Jan  1 00:00:00 2024"
    )
    yield raw(
        "shape-bom", "a byte order mark before the header", b"\xef\xbb\xbfSubject: corpus shape-bom\r\nX: y\r\n\r\nbody\r\n"
    )
    yield raw(
        "shape-smtp",
        "an SMTP session saved with the mail",
        b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSubject: corpus shape-smtp\r\n\r\nx\r\n.\r\nQUIT\r\n",
        subject="shape-smtp",
    )


def identities() -> Iterator[Odd]:
    for name, why, value, found in (
        ("id-empty", "an empty Message-ID", b"", ""),
        ("id-brackets", "brackets with nothing in them", b"<>", ""),
        ("id-bare", "no brackets", b"id-bare@corpus.test", "id-bare@corpus.test"),
        ("id-spaces", "spaces in it", b"<id spaces@corpus.test>", "id spaces@corpus.test"),
        ("id-folded", "folded before it", b"\r\n <id-folded@corpus.test>", "id-folded@corpus.test"),
        ("id-8bit", "letters that are not ASCII", "<id-\xfc@corpus.test>".encode(), "id-\xfc@corpus.test"),
        ("id-two", "two in one field", b"<id-two-a@corpus.test> <id-two-b@corpus.test>", "id-two-a@corpus.test"),
        ("id-comment", "a comment after it", b"<id-comment@corpus.test> (added by a gateway)", "id-comment@corpus.test"),
        ("id-quoted", "a quoted left side", b'<"id quoted"@corpus.test>', '"id quoted"@corpus.test'),
        ("id-long", "3,000 letters", b"<" + b"l" * 3000 + b"@corpus.test>", "l" * 1000),
        ("id-no-at", "no @ in it", b"<id-no-at-corpus>", "id-no-at-corpus"),
        ("id-open", "no closing bracket", b"<id-open@corpus.test", "id-open@corpus.test"),
        ("id-nested", "brackets in brackets", b"<<id-nested@corpus.test>>", "id-nested@corpus.test"),
        ("id-control", "a control letter in it", b"<id-\x01control@corpus.test>", "id- control@corpus.test"),
        ("id-literal", "an address of digits", b"<id-literal@[127.0.0.1]>", "id-literal@[127.0.0.1]"),
    ):
        yield letter(name, why, b"Message-ID: " + value, message_id=found)
    yield letter(
        "id-twice",
        "the field twice",
        b"Message-ID: <id-twice-1@corpus.test>",
        b"Message-ID: <id-twice-2@corpus.test>",
        message_id="id-twice-1@corpus.test",
    )
    yield raw("id-none", "no Message-ID", b"From: a@b.test\r\nSubject: corpus id-none\r\n\r\nx\r\n", subject="corpus id-none")
    yield letter(
        "id-case", "the field in strange capitals", b"mEsSaGe-iD: <id-case@corpus.test>", message_id="id-case@corpus.test"
    )
    for number in (1, 2):
        yield letter(
            f"id-shared-{number}",
            "two different messages with one Message-ID",
            b"Message-ID: <shared@corpus.test>",
            message_id="shared@corpus.test",
        )


def addresses() -> Iterator[Odd]:
    for name, why, value in (
        ("from-empty", "an empty sender", b"From:"),
        ("from-none-valid", "a sender that is no address", b"From: ,;:@@<>"),
        ("from-two", "two senders", b"From: a@x.test, b@y.test"),
        ("from-group", "a group without members", b"From: undisclosed-recipients:;"),
        ("from-utf8", "an address that is not ASCII (SMTPUTF8)", "From: J\xf6rg <j\xf6rg@m\xfcnchen.test>".encode()),
        ("from-quotes", "quotes that never close", b'From: "open <a@b.test>'),
        ("from-comments", "comments in comments", b"From: a (b (c (d) e) f) @ (g) x.test"),
        ("from-parens", "100,000 opening parentheses, which parsers recurse on", b"From: " + b"(" * 100_000),
        ("from-brackets", "50,000 pairs of brackets", b"From: " + b"<>" * 50_000),
        ("to-many", "20,000 recipients", b"To: " + b",\r\n ".join(b"r%d@x.test" % number for number in range(20_000))),
        ("to-route", "a source route", b"To: <@a.test,@b.test:c@d.test>"),
        ("to-quoted-at", "an @ within quotes", b'To: "a@b"@c.test'),
    ):
        yield letter(name, why, value)


def dates() -> Iterator[Odd]:
    for number, (name, why, value) in enumerate(
        (
            ("date-none", "no date", b"X-No: date"),
            ("date-empty", "an empty date", b"Date:"),
            ("date-words", "words for a date", b"Date: yesterday, around noon"),
            ("date-year-0", "the year 0", b"Date: Sat, 1 Jan 0000 00:00:00 +0000"),
            ("date-year-1", "the year 1", b"Date: Mon, 1 Jan 0001 00:00:00 +1400"),
            (
                "date-year-9999",
                "the last hour of calendars, in a zone that is beyond them",
                b"Date: Fri, 31 Dec 9999 23:59:59 -1200",
            ),
            ("date-year-99999", "a year of five digits", b"Date: Fri, 31 Dec 99999 23:59:59 +0000"),
            ("date-year-2", "a year of two digits", b"Date: 1 Jan 70 00:00:00 GMT"),
            ("date-year-3", "a year of three digits, as the bug of 2000 wrote it", b"Date: Sat, 1 Jan 100 00:00:00 +0000"),
            ("date-no-zone", "no zone", b"Date: Mon, 1 Jan 2024 10:00:00"),
            ("date-zone-huge", "a zone of 99 hours", b"Date: Mon, 1 Jan 2024 10:00:00 +9999"),
            ("date-zone-name", "a zone that nobody knows", b"Date: Mon, 1 Jan 2024 10:00:00 XYZT"),
            (
                "date-zone-words",
                "Windows' name of a zone",
                "Date: Mo, 1 Jan 2024 10:00:00 Mitteleurop\xe4ische Zeit".encode("latin-1"),
            ),
            ("date-february-30", "30 February", b"Date: Fri, 30 Feb 2024 10:00:00 +0000"),
            ("date-hour-25", "hour 25, minute 61", b"Date: Mon, 1 Jan 2024 25:61:61 +0000"),
            ("date-leap-second", "a leap second", b"Date: Sat, 31 Dec 2016 23:59:60 +0000"),
            ("date-iso", "a date as ISO 8601 writes it", b"Date: 2024-01-01T10:00:00Z"),
            ("date-asctime", "a date as C writes it", b"Date: Mon Jan  1 10:00:00 2024"),
            ("date-german", "days and months of another language", b"Date: Mo, 1 M\xe4r 2024 10:00:00 +0100"),
            ("date-comments", "comments everywhere", b"Date: (a) Mon, (b) 1 Jan (c) 2024 10:00:00 +0000 (MEZ)"),
            ("date-long", "a date of 100,000 digits", b"Date: " + b"1" * 100_000),
            ("date-negative", "a day below zero", b"Date: Mon, -1 Jan 2024 10:00:00 +0000"),
            (
                "date-digits",
                "digits that are not ASCII",
                "Date: Mon, \u0661 Jan \u0662\u0660\u0662\u0664 10:00:00 +0000".encode(),
            ),
        )
    ):
        yield letter(name, why, value, date=LONG_AGO + number)
    yield letter("internal-before-1970", "received before 1970", date=BEFORE_1970)
    yield letter("internal-epoch", "received at the epoch itself", date=0)
    yield letter("internal-after-2038", "received after 2038", date=AFTER_2038)
    yield letter("internal-after-2106", "received after 32 bits without a sign end", date=YEAR_2106)
