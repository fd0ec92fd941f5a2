"""Subjects: damaged encodings, charsets that do not exist, letters that steer terminals or turn lines round."""

# fmt: off - one message a line
from __future__ import annotations

import base64
from collections.abc import Iterator

from tests.corpus.kit import Odd, letter


def q(charset: str, text: bytes) -> bytes:
    return b"=?" + charset.encode() + b"?Q?" + b"".join(b"=%02X" % byte for byte in text) + b"?="


def b(charset: str, text: bytes) -> bytes:
    return b"=?" + charset.encode() + b"?B?" + base64.b64encode(text) + b"?="


def messages() -> Iterator[Odd]:
    yield from encoded_words()
    yield from charsets()
    yield from raw_bytes()
    yield from attacks()


def encoded_words() -> Iterator[Odd]:
    for name, why, value, found in (
        ("word-no-end", "an encoded word that never ends", b"=?utf-8?Q?open_and_shut", "open_and_shut"),
        ("word-no-charset", "an encoded word with an empty charset", b"=??Q?nocharset?= tail-nc", "tail-nc"),
        ("word-bad-kind", "a kind that is neither B nor Q", b"=?utf-8?X?kindless?= tail-kind", "tail-kind"),
        ("word-empty", "an encoded word without text", b"=?utf-8?B??= nothing-inside", "nothing-inside"),
        ("word-q-half", "quoted-printable that ends in the middle of a letter", b"=?utf-8?Q?half=C3?= tail-half", "tail-half"),
        ("word-q-nonhex", "quoted-printable with digits that are none", b"=?utf-8?Q?=ZZ=4G?= tail-nonhex", "tail-nonhex"),
        ("word-b-short", "base64 without its padding", b"=?utf-8?B?cGFkZGluZ2xlc3M?=", "paddingless"),
        ("word-b-long", "base64 with too much padding", b"=?utf-8?B?b3ZlcnBhZGRlZA======?=", "overpadded"),
        ("word-b-one", "base64 of one letter, which is no byte", b"=?utf-8?B?A?= tail-one", "tail-one"),
        ("word-b-rubbish", "base64 with letters that are none", b"=?utf-8?B?!!!c3BhbW15!!!?=", "spammy"),
        ("word-b-folded", "base64 cut in two by a fold", b"=?utf-8?B?Zm9s?=\r\n =?utf-8?B?ZGVkd29yZA==?=", "foldedword"),
        (
            "word-letter-cut",
            "a letter of two bytes cut in two words",
            b"=?utf-8?Q?cut=C3?= =?utf-8?Q?=BCletter?=",
            "cut\xfcletter",
        ),
        ("word-in-word", "an encoded word inside an encoded word", b("utf-8", b"=?utf-8?Q?inner?="), "=?utf-8?Q?inner?="),
        ("word-glued", "encoded words without white space between", b"=?utf-8?Q?glued?==?utf-8?Q?together?=", "gluedtogether"),
        ("word-glued-text", "text glued to an encoded word", b"before=?utf-8?Q?-middle-?=after", "before-middle-after"),
        (
            "word-spaces",
            "spaces inside an encoded word, as old Outlook wrote",
            b"=?utf-8?Q?with spaces inside?=",
            "spaces inside",
        ),
        ("word-quoted", "an encoded word inside quotes", b'"=?utf-8?Q?in_quotes?="', "in quotes"),
        ("word-lower", "lower-case kinds", b"=?UTF-8?q?lower_kind?=", "lower kind"),
        ("word-language", "a language tag (RFC 2231)", b"=?utf-8*de?Q?sprachlich?=", "sprachlich"),
        ("word-huge", "one encoded word of 60,000 letters", b"=?utf-8?Q?huge_" + b"a" * 60_000 + b"?=", "huge"),
        ("word-thousand", "a thousand encoded words", b" ".join([b"=?utf-8?Q?w?="] * 1000), "www"),
        ("word-newline", "a line end encoded inside a word: a field smuggled in", q("utf-8", b"sly\r\nBcc: evil@x.test"), "sly"),
        ("word-nul", "a NUL encoded inside a word", q("utf-8", b"nul\0within"), "nul within"),
        ("word-broken-fold", "a fold inside an encoded word", b"=?utf-8?Q?folded_in\r\n _the_middle?= tail-bf", "tail-bf"),
        ("word-question", "bare question marks inside a word", b"=?utf-8?Q?who?what?where?= tail-qm", "tail-qm"),
        ("word-charset-long", "the name of a charset of 500 letters", b"=?" + b"x" * 500 + b"?Q?text?= tail-cl", "tail-cl"),
    ):
        yield letter(name, why, b"Subject: " + value, subject=found)


def charsets() -> Iterator[Odd]:
    for name, why, value, found in (
        ("charset-unknown", "a charset that does not exist", q("x-klingon", b"qapla unknown"), "qapla unknown"),
        (
            "charset-8bit",
            "“unknown-8bit”, as qmail and others say",
            q("unknown-8bit", "na\xefve8".encode("latin-1")),
            "na\xefve8",
        ),
        ("charset-default", "“default”, as some forms send", q("default", b"by default"), "by default"),
        ("charset-gb2312", "GB2312 with letters that only GBK has", q("gb2312", "\u6e2c\u8a66\u4e2d\u6587".encode("gbk")), ""),
        ("charset-big5", "Big5", b("big5", "\u4e2d\u6587\u6e2c\u8a66".encode("big5")), "\u4e2d\u6587\u6e2c\u8a66"),
        (
            "charset-jis",
            "ISO-2022-JP with its escapes",
            b("iso-2022-jp", "\u65e5\u672c\u8a9e\u4ef6\u540d".encode("iso-2022-jp")),
            "\u65e5\u672c\u8a9e\u4ef6\u540d",
        ),
        (
            "charset-jis-cut",
            "ISO-2022-JP cut before its escape back",
            b("iso-2022-jp", "\u65e5\u672c\u8a9e".encode("iso-2022-jp")[:-3]),
            "",
        ),
        (
            "charset-sjis",
            "Shift_JIS",
            b("shift_jis", "\u30c6\u30b9\u30c8\u4ef6\u540d".encode("shift_jis")),
            "\u30c6\u30b9\u30c8\u4ef6\u540d",
        ),
        (
            "charset-koi8",
            "KOI8-R",
            q("koi8-r", "\u043f\u0438\u0441\u044c\u043c\u043e".encode("koi8-r")),
            "\u043f\u0438\u0441\u044c\u043c\u043e",
        ),
        (
            "charset-ks",
            "ks_c_5601-1987, Outlook's word for EUC-KR",
            b("ks_c_5601-1987", "\ud55c\uad6d\uc5b4".encode("euc-kr")),
            "\ud55c\uad6d\uc5b4",
        ),
        ("charset-utf7", "UTF-7", q("utf-7", b"Gr+APwA3w-e"), "Gr\xfc\xdfe"),
        ("charset-utf7-bad", "UTF-7 that is damaged", q("utf-7", b"bad +//\xff- seven"), ""),
        ("charset-utf16", "UTF-16 with a byte order mark", b("utf-16", "sixteen bits".encode("utf-16")), "sixteen bits"),
        ("charset-utf16-odd", "UTF-16 of an odd number of bytes", b("utf-16-le", b"o\0d\0d\0!"), ""),
        ("charset-utf32", "UTF-32 out of its range", b("utf-32-be", b"\x7f\xff\xff\xff"), ""),
        ("charset-windows", "windows-1252 said to be iso-8859-1", q("iso-8859-1", b"\x93smart quotes\x94"), "smart quotes"),
        ("charset-wrong", "UTF-8 said to be us-ascii", q("us-ascii", "stra\xdfenbahn".encode()), "stra\xdfenbahn"),
        ("charset-latin-as-utf8", "Latin-1 said to be UTF-8", q("utf-8", b"stra\xdfe latin"), "e latin"),
        ("charset-rot13", "a Python codec that is no charset", q("rot13", b"uryyb thirteen"), ""),
        ("charset-zip", "a codec that would unpack: a bomb", b("zip", b"x\x9c\x03\x00\x00\x00\x00\x01"), ""),
        ("charset-idna", "“idna”, slow in Python", q("idna", b"xn--" + b"a" * 60), ""),
        ("charset-path", "a charset that looks like a path", b"=?../../etc/passwd?Q?climb?= tail-path", "tail-path"),
        ("charset-nul", "a NUL in the name of a charset", b"=?utf\0-8?Q?zero?= tail-nulcs", "tail-nulcs"),
        ("charset-surrogates", "surrogates in UTF-8 (CESU)", q("utf-8", b"cesu \xed\xa0\xbd\xed\xb8\x80 end"), "cesu"),
        ("charset-overlong", "an overlong form of a slash", q("utf-8", b"over\xc0\xaflong"), ""),
    ):
        yield letter(name, why, b"Subject: " + value, subject=found)


def raw_bytes() -> Iterator[Odd]:
    for name, why, value, found in (
        ("raw-utf8", "UTF-8 as it comes (SMTPUTF8)", "Gr\xfc\xdfe aus K\xf6ln".encode(), "Gr\xfc\xdfe aus K\xf6ln"),
        ("raw-latin1", "Latin-1 as it comes", b"Gr\xfc\xdfe in Latin", "Gr\xfc\xdfe in Latin"),
        ("raw-mixed", "UTF-8 and Latin-1 in one line", "\xfc".encode() + b" and \xfc mixed", "mixed"),
        ("raw-gbk", "GBK as it comes", "\u4e2d\u6587".encode("gbk") + b" gbk tail", "gbk tail"),
        ("raw-jis", "bare ISO-2022-JP escapes, as old Japanese mail has", "\u65e5\u672c".encode("iso-2022-jp") + b" jis", "jis"),
        ("raw-ff", "bytes that are in no charset", b"\xff\xfe\xfd ffs", "ffs"),
        ("raw-nul", "a NUL in a field", b"nul\0in field", "nul in field"),
        ("raw-controls", "every control letter but NUL and line ends", bytes(set(range(1, 32)) - {10, 13}) + b" ctl", "ctl"),
        (
            "raw-emoji",
            "letters beyond 16 bits",
            "\U0001f4a9 family \U0001f468\u200d\U0001f469\u200d\U0001f467".encode(),
            "family",
        ),
        ("raw-combining", "ten thousand combining marks on one letter", b"zalgo" + "\u0301".encode() * 10_000, "zalgo"),
        ("raw-nfd", "letters in parts (NFD), as a Mac writes them", "U\u0308berraschung".encode(), "U\u0308berraschung"),
        ("raw-bom", "a byte order mark before the text", b"\xef\xbb\xbfmarked", "marked"),
        ("raw-line-separator", "U+2028, which some take for a line end", "one\u2028two".encode(), "one two"),
        ("raw-nel", "U+0085, a line end for Python's splitlines", "one\u0085nel".encode(), "nel"),
        ("raw-private", "letters of the private area", "\ue000\uf8ff private".encode(), "private"),
        ("raw-noncharacter", "U+FFFF, which is no letter", "\uffff noncharacter".encode(), "noncharacter"),
    ):
        yield letter(name, why, b"Subject: " + value, subject=found)


def attacks() -> Iterator[Odd]:
    for name, why, value, found in (
        ("attack-title", "an escape that sets a terminal's title", b"\x1b]0;owned\x07 title", "title"),
        ("attack-clear", "an escape that clears the screen", b"\x1b[2J\x1b[H cleared", "cleared"),
        ("attack-c1", "C1 controls in UTF-8: a CSI of one letter", "\x9b31m c-one".encode(), "c-one"),
        ("attack-clipboard", "an escape that writes to the clipboard", b"\x1b]52;c;cm0gLXJm\x07 clipboard", "clipboard"),
        ("attack-rtl", "an override that turns the line round", "invoice\u202efdp.exe".encode(), "invoice"),
        ("attack-isolate", "isolates that are never closed", "open \u2066\u2067\u2068 isolates".encode(), "isolates"),
        ("attack-invisible", "letters without width between letters", "in\u200bvi\u2060si\ufeffble".encode(), "in\u200bvi"),
        ("attack-homoglyph", "Cyrillic letters that look Latin", "p\u0430yp\u0430l".encode(), "p\u0430yp\u0430l"),
        ("attack-backspace", "backspaces that hide what stands before", b"danger\x08\x08\x08\x08\x08\x08safe", "safe"),
        ("attack-cr", "a bare CR that lets a line be written over", b"written\rover", "over"),
        ("attack-sql", "quotes for a database", b"Robert'); DROP TABLE message;-- \"", "DROP TABLE"),
        ("attack-fts", "operators of a full text search", b'"a" AND NOT (b OR NEAR/2 c*) ^d {e}:f', "NEAR/2"),
        ("attack-json", "what a careless JSON writer would trip on", b'{"a": "\\u0000", \'b\': </script>}', "</script>"),
        ("attack-format", "format strings", b"%s%n%x {0.__class__} ${HOME} $(id) `id`", "{0.__class__}"),
        ("attack-path", "a subject that is a path", b"../../../../etc/shadow", "etc/shadow"),
        ("attack-option", "a subject that looks like an option", b"--delete --yes", "--delete"),
    ):
        yield letter(name, why, b"Subject: " + value, subject=found)
