"""Names of files in a Maildir: what programs, people and other servers leave in cur/."""

# fmt: off - one message a line
from __future__ import annotations

from collections.abc import Iterator

from tests.corpus.kit import LONG_AGO, Odd, letter


def messages() -> Iterator[Odd]:
    for number, (name, why, file_name) in enumerate(
        (
            ("name-no-info", "no “:2,”", "1500000000.noinfo.host"),
            ("name-empty-info", "“:2,” and nothing after it", "1500000000.emptyinfo.host:2,"),
            ("name-all-flags", "every flag and keyword letter", "1500000000.all.host:2,DFPRSTabcdefghijklmnopqrstuvwxyz"),
            ("name-flags-wild", "flags out of order, twice, and some that are none", "1500000000.wild.host:2,SSRFaX1!"),
            ("name-info-1", "an experimental “:1,” name", "1500000000.info1.host:1,RS"),
            ("name-two-infos", "“:2,” twice", "1500000000.two.host:2,S:2,R"),
            ("name-fields", "Dovecot's fields after the flags", "1500000000.fields.host:2,S,x=y"),
            ("name-sizes", "sizes in the name that are right for nobody", "1500000000.M1P1.sizes,S=1,W=2:2,S"),
            ("name-spaces", "spaces", "1500000000. with spaces .host:2,S"),
            ("name-utf8", "letters that are not ASCII", "1500000000.Gr\xfc\xdfe.host:2,S"),
            ("name-8bit", "bytes that are no UTF-8", "1500000000.\udcff\udcfe.host:2,S"),
            ("name-newline", "a newline", "1500000000.new\nline.host:2,S"),
            ("name-quotes", "quotes and what shells take for more", "1500000000.'\"$(id)`;&|*?.host:2,S"),
            ("name-backslash", "backslashes and tabs", "1500000000.a\\b\tc.host:2,S"),
            ("name-escape", "an escape for terminals", "1500000000.\x1b[31m.host:2,S"),
            ("name-long", "as long as a file system allows", "1500000000." + "n" * 235 + ".h:2,RS"),
            ("name-option", "a name like an option", "-rf:2,S"),
            ("name-eml", "an ending, as people drop files in", "saved mail.eml"),
            ("name-number", "a bare number, as MH has", "17"),
            ("name-courier", "Courier's way", "1500000000.M1P2V0000000000000801I0000000000000001_0.host,S=99:2,S"),
        )
    ):
        yield letter(name, why, file_name=file_name, date=LONG_AGO - number)
