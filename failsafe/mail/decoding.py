"""What a MIME part carries, without the clothes that servers change on the way: transfer encoding, charset, white space. Pure; in pieces; never raises."""

from __future__ import annotations

import binascii
import codecs
import hashlib
from typing import Protocol

from failsafe.mail.headers import is_charset

_WHITE = b" \t\n\r\x0b\x0c"
_NOT_BASE64 = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="))
_LATIN = frozenset({"iso8859-1", "latin-1", "cp1252"})  # programs write cp1252 and call it ISO 8859-1
_AS_IT_IS = frozenset({"utf-8", "ascii", "utf-7"})  # UTF-7's decoder would hold back a whole message


class Sink(Protocol):
    def feed(self, data: bytes) -> None: ...

    def close(self) -> None: ...


class Nothing:
    """For what does not count."""

    def feed(self, data: bytes) -> None:
        pass

    def close(self) -> None:
        pass


class Unspaced:
    """SHA-256 of all but the white space: lines are broken, filled, stripped and ended on the way, by some servers in the middle of a word."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self.empty = True

    def feed(self, data: bytes) -> None:
        if text := data.translate(None, _WHITE):
            self._digest.update(text)
            self.empty = False

    def close(self) -> None:
        pass

    def copy(self) -> Unspaced:
        other = Unspaced()
        other._digest, other.empty = self._digest.copy(), self.empty
        return other

    @property
    def value(self) -> str:
        return self._digest.hexdigest()


class Base64:
    """Decodes as programs do, which pass over what is no letter. What follows the padding belongs to no part, and its letters still count."""

    def __init__(self, into: Sink) -> None:
        self._into, self._held, self._ended = into, b"", False

    def feed(self, data: bytes) -> None:
        if self._ended:
            self._feed_rest(data)
            return
        letters, padding, rest = (self._held + data.translate(None, _NOT_BASE64)).partition(b"=")
        whole = len(letters) - len(letters) % 4
        self._held = letters[whole:]
        self._into.feed(binascii.a2b_base64(letters[:whole]))
        if padding:
            self._finish()
            self._feed_rest(rest)

    def close(self) -> None:
        self._finish()
        self._into.close()

    def _feed_rest(self, data: bytes) -> None:
        """Its letters alone: padding and line ends would be bytes of a text in UTF-16."""
        if letters := data.translate(None, _NOT_BASE64 + b"="):
            self._into.feed(letters)

    def _finish(self) -> None:
        if not self._ended and len(self._held) > 1:  # one letter alone carries no byte
            self._into.feed(binascii.a2b_base64(self._held + b"=" * (4 - len(self._held))))
        self._held, self._ended = b"", True


class QuotedPrintable:
    def __init__(self, into: Sink) -> None:
        self._into, self._held = into, b""

    def feed(self, data: bytes) -> None:
        text = self._held + data
        cut = text.rfind(b"\n") + 1 or len(text) - max(0, text[-2:][::-1].find(b"=") + 1)
        self._held = text[cut:]
        self._into.feed(binascii.a2b_qp(text[:cut]))

    def close(self) -> None:
        self._into.feed(binascii.a2b_qp(self._held))
        self._held = b""
        self._into.close()


class Charset:
    """To UTF-8. Bytes that are none of the charset's stay told apart."""

    def __init__(self, name: str, into: Sink) -> None:
        self._decoder, self._into = codecs.getincrementaldecoder(name)("backslashreplace"), into

    def feed(self, data: bytes) -> None:
        self._give(data, final=False)

    def close(self) -> None:
        self._give(b"", final=True)
        self._into.close()

    def _give(self, data: bytes, *, final: bool) -> None:
        try:
            text = self._decoder.decode(data, final)
        except (UnicodeError, ValueError, LookupError):  # a decoder without a way to go on: the bytes as they are
            self._decoder.reset()
            self._into.feed(data)
            return
        self._into.feed(text.encode("utf-8", "surrogatepass"))


def decoded(encoding: str, into: Sink) -> Sink:
    """A sink for the bytes of a part with this Content-Transfer-Encoding."""
    if encoding == "base64":
        return Base64(into)
    return QuotedPrintable(into) if encoding == "quoted-printable" else into


def in_unicode(charset: str, into: Sink) -> Sink:
    """A sink for decoded text. A charset that nobody knows, or none, is taken for UTF-8, which most text then is."""
    if not charset or not is_charset(charset):
        return into
    name = codecs.lookup(charset).name
    if name in _AS_IT_IS:
        return into
    return Charset("cp1252" if name in _LATIN else name, into)
