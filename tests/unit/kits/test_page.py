"""The page of a kit: everything is escaped, damage shows, the first step comes first; and the locked page is opened by a stock openssl."""

from __future__ import annotations

import html
import re
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from failsafe.adapters.openssl import lock, unlock
from failsafe.backup.kit import KitFile
from failsafe.errors import KitError
from failsafe.kits.page import is_whole, open_command, parse_kit, parse_locked, render_kit, render_locked
from failsafe.secrets import Secret
from tests.unit.kits.sample import KIT, NAS, PASSWORD

PHRASE = Secret("four words to remember")
ROUNDS = 1000


def locked_page(name: str = "kit.html", plain: str = "") -> str:
    sealed = lock((plain or render_kit(KIT)).encode(), PHRASE, ROUNDS)
    return render_locked(sealed, ROUNDS, file_name=name, controller=KIT.controller, made_at=KIT.made_at)


class Seen(HTMLParser):
    """What a person sees, what a browser would run, and which elements never end."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words, self.open, self.ran = "", [""], ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br"):
            self.open.append(tag)
        if tag == "script" and ("type", "application/json") not in attrs:
            self.ran += "script"

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1] not in ("script", "style", "title"):
            self.words += data


def test_a_kit_reads_back_from_its_page_as_it_was() -> None:
    assert parse_kit(render_kit(KIT)) == KIT


def test_nothing_in_a_kit_can_become_markup_or_a_script() -> None:
    seen = Seen(render_kit(KIT))

    assert (seen.open, seen.ran) == ([""], "")
    assert "</script><script>alert(1)</script> &amp;" in seen.words, "the configuration is shown as it is written"
    assert f"Its password is {PASSWORD};" in seen.words
    assert "<b>no answer</b>" in seen.words


@pytest.mark.parametrize("page", [render_kit(KIT), locked_page()], ids=["open", "locked"])
def test_the_first_step_stands_at_the_top(page: str) -> None:
    assert "Start here" in Seen(page).words.strip()[:400]


def test_the_page_loads_nothing_from_anywhere() -> None:
    text = render_kit(KIT)

    assert "default-src 'none'" in text
    assert re.findall(r"(?:src|href)=\"(?!#)[^\"]*", text) == []


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(lambda text: text.replace("volume1", "volume2", 1), id="a word changed"),
        pytest.param(lambda text: text[: len(text) // 2], id="cut in the middle"),
        pytest.param(lambda text: text.replace("<!-- sha256", "<!-- nothing"), id="without its digest"),
        pytest.param(lambda text: text + " ", id="something added"),
    ],
)
def test_a_kit_that_was_changed_is_refused_and_called_changed(harm: object) -> None:
    with pytest.raises(KitError, match="not as it was made"):
        parse_kit(harm(render_kit(KIT)))  # type: ignore[operator]


def test_what_never_was_a_kit_is_called_that() -> None:
    with pytest.raises(KitError, match="no recovery kit"):
        parse_kit("<html>hello</html>\n")


def test_the_last_line_is_what_sha256sum_says_of_the_lines_above(tmp_path: Path) -> None:
    (tmp_path / "kit.html").write_text(render_kit(KIT))

    done = subprocess.run("sed '$d' kit.html | sha256sum", shell=True, cwd=tmp_path, capture_output=True, text=True, check=True)

    assert done.stdout.split()[0] in (tmp_path / "kit.html").read_text().splitlines()[-1]
    assert is_whole((tmp_path / "kit.html").read_text())


def test_a_host_key_is_shown_with_the_fingerprint_that_ssh_shows(tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "key"], cwd=tmp_path, check=True)
    line = "mail.example.org " + " ".join((tmp_path / "key.pub").read_text().split()[:2])
    shown = subprocess.run(
        ["ssh-keygen", "-lf", "key.pub"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout.split()[1]

    page = render_kit(replace(KIT, servers=(replace(KIT.servers[0], host_keys=(line,)),)))

    assert f"mail.example.org ssh-ed25519 {shown}" in Seen(page).words


def test_what_cannot_be_had_is_said_on_the_page() -> None:
    words = Seen(render_kit(KIT)).words

    assert "This kit lacks something" in words
    assert KIT.lacking[0] in words
    assert "This kit lacks something" not in Seen(render_kit(replace(KIT, repositories=(NAS,), lacking=()))).words


@pytest.mark.parametrize("name", ["kit.html", "my kit's.html", "-kit", "kit"])
def test_the_command_on_the_locked_page_cuts_out_and_opens_what_is_in_it(tmp_path: Path, name: str) -> None:
    """By a real sed and a real openssl; the passphrase comes from a file here, from a terminal in the contract tests."""
    (tmp_path / name).write_text(locked_page(name))
    (tmp_path / "phrase").write_text(PHRASE.reveal() + "\n")
    found = re.search(r'<pre data-block="unlock">\n(.*?)</pre>', locked_page(name), re.DOTALL)
    assert found
    command = html.unescape(found[1])
    assert command == open_command(name, ROUNDS)

    done = subprocess.run(
        ["sh", "-c", command.replace("enc -d", "enc -d -pass file:phrase")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    (opened,) = tmp_path.glob("*-open.html")
    assert (opened.read_text(), opened.stat().st_mode & 0o777) == (render_kit(KIT), 0o600)


def test_a_locked_page_that_went_through_mail_with_other_line_ends_still_opens() -> None:
    found = parse_locked(locked_page().replace("\n", "\r\n"))

    assert found is not None
    assert unlock(found.ciphertext, PHRASE, found.iterations).decode() == render_kit(KIT)


def test_what_openssl_locked_we_open(tmp_path: Path) -> None:
    (tmp_path / "phrase").write_text(PHRASE.reveal() + "\n")
    words = [
        "openssl",
        "enc",
        "-aes-256-cbc",
        "-pbkdf2",
        "-iter",
        str(ROUNDS),
        "-md",
        "sha256",
        "-base64",
        "-pass",
        "file:phrase",
    ]

    sealed = subprocess.run(words, input=b"some text", cwd=tmp_path, capture_output=True, check=True).stdout.decode()

    assert unlock(sealed, PHRASE, ROUNDS) == b"some text"


def test_another_passphrase_and_a_cut_text_are_told_apart() -> None:
    # Locked once for all: of 256 salts one has a wrong passphrase pass the padding, and then the content's own proof has to tell (above).
    sealed = "U2FsdGVkX184IGJ5dGVzIXH9ospwinlMPX2l5IFT66EUegySqKOBEVbWByrUdvZP\n"

    with pytest.raises(KitError, match="passphrase"):
        unlock(sealed, Secret("a third passphrase"), ROUNDS)
    with pytest.raises(KitError, match="damaged"):
        unlock(sealed[:50], Secret("another passphrase"), ROUNDS)


def test_the_ciphertext_stands_in_lines_that_every_openssl_reads() -> None:
    assert max(map(len, lock(b"x" * 5000, PHRASE, ROUNDS).splitlines())) == 64


def test_a_page_that_asks_for_a_year_of_rounds_is_not_obeyed() -> None:
    with pytest.raises(KitError):
        unlock(lock(b"x", PHRASE, ROUNDS), PHRASE, 10**12)


def test_no_repr_shows_a_secret() -> None:
    shown = repr(KIT)

    assert [word for word in (PASSWORD, "$ecret", "a key") if word in shown] == []
    assert "b'" not in repr(KitFile("x", 0o600, b"content"))
