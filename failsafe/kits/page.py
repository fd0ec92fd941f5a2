"""The recovery kit as a page: what a tired and frightened person reads, prints, and may paste from; and the locked page around it.

The open page carries the machine-readable kit too, and ends with a digest over everything above, so that damage shows.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from shlex import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from failsafe.backup.kit import DAMAGED, Kit, KitRepository, parse_json, render_json
from failsafe.backup.kit_commands import FOLDER, Block, blocks_of
from failsafe.errors import KitError

MARK = "<!-- sha256 of all bytes above this line: "
BEGIN, END = "-----BEGIN FAILSAFE KIT-----", "-----END FAILSAFE KIT-----"
MOST_BYTES = 64 << 20  # of a page; one with 50 repositories has less than 1 MB
_MACHINE = re.compile(r'<script type="application/json" id="failsafe-kit">(.*?)</script>', re.DOTALL)
_LOCKED = re.compile(rf"^{BEGIN}\r?\n([A-Za-z0-9+/=\r\n]+?)^{END}", re.MULTILINE)
_ITERATIONS = re.compile(r"\bopenssl enc -d [^\n]*-iter (\d{1,9})\b")


@dataclass(frozen=True, slots=True)
class Locked:
    """An encrypted kit as it lies in its page: as `openssl enc` makes it with this many rounds, base64."""

    ciphertext: str
    iterations: int


@dataclass(frozen=True, slots=True)
class _Part:
    """One repository, for the template."""

    repository: KitRepository
    blocks: tuple[Block, ...]
    held: str


def render_kit(kit: Kit) -> str:
    """The open page. It shows every secret that a person needs."""
    parts = [_Part(each, blocks_of(kit, each), _held(each)) for each in kit.repositories]
    values = {"kit": kit, "parts": parts, "folder": FOLDER, "date": _date(kit.made_at)}
    machine = Markup(_for_script(render_json(kit)))  # noqa: S704 - JSON without a single < or &
    return signed(_render("open.html", machine=machine, host_keys=_host_keys(kit), config=_text(kit.config.content), **values))


def parse_kit(text: str) -> Kit:
    """An open page, as it was rendered. Raises KitError where it is none, or was changed."""
    found = _MACHINE.search(text)
    if is_whole(text) and found is not None:
        return parse_json(found[1])
    if "<title>Recovery kit of " in text:
        raise KitError("this recovery kit is not as it was made: its digest does not match", mend=DAMAGED)
    raise KitError("this is no recovery kit", mend="name a file that `failsafe kit` made")


def signed(text: str) -> str:
    """The page with a last line by which damage shows; `sed '$d' FILE | sha256sum` gives the same digest."""
    return f"{text}{MARK}{hashlib.sha256(text.encode()).hexdigest()} -->\n"


def is_whole(text: str) -> bool:
    above, found, _ = text.rpartition(MARK)
    return bool(found) and signed(above) == text


def open_command(file_name: str, iterations: int) -> str:
    """What opens a locked page: sed cuts the ciphertext out, openssl asks for the passphrase."""
    return (
        f"(umask 077; sed '1,/^-----BEGIN/d;/^-----END/,$d' {_quoted(file_name)} |\n"
        f"  openssl enc -d -aes-256-cbc -pbkdf2 -iter {iterations} -md sha256 -base64 \\\n"
        f"  > {_quoted(opened_name(file_name))})"
    )


def opened_name(file_name: str) -> str:
    return f"{file_name.removesuffix('.html')}-open.html"


def render_locked(ciphertext: str, iterations: int, *, file_name: str, controller: str, made_at: datetime) -> str:
    """The page around an encrypted kit. It shows whose it is and how to open it, and nothing else of what is inside."""
    opened = opened_name(file_name)
    return _render(
        "locked.html",
        controller=controller,
        date=_date(made_at),
        file_name=file_name,
        opened=opened,
        command=open_command(file_name, iterations),
        check=f"sed '$d' {_quoted(opened)} | sha256sum",
        begin=BEGIN,
        end=END,
        ciphertext=ciphertext.strip(),
    )


def parse_locked(text: str) -> Locked | None:
    """None where the page is not locked. What surrounds the ciphertext is not trusted, and need not be whole. Raises KitError."""
    found, rounds = _LOCKED.search(text), _ITERATIONS.search(text)
    if found is None:
        return None
    if rounds is None:
        raise KitError("this locked recovery kit does not say how it is opened: its printed command is gone", mend=DAMAGED)
    return Locked("".join(found[1].split()), int(rounds[1]))


def _render(template: str, **values: object) -> str:
    folder = Path(__file__).parent
    made = Environment(
        loader=FileSystemLoader(folder), autoescape=True, trim_blocks=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    style = Markup((folder / "style.css").read_text())  # noqa: S704 - our own
    return made.get_template(template).render(style=style, **values)


def _held(repository: KitRepository) -> str:
    names = [file.path for file in repository.files]
    keys = sum(name.startswith("keys/") for name in names)
    return f"config and {keys} key{'s' if keys != 1 else ''}" if names else "password alone, not its keys/ and config"


def _host_keys(kit: Kit) -> str:
    """Lines of known_hosts, each once, each below its fingerprint as ssh shows it."""
    lines = [line for server in kit.servers for line in server.host_keys]
    files = [file for each in kit.repositories if each.ssh is not None for file in each.ssh.files if file.path == "known_hosts"]
    lines += [line for file in files for line in _text(file.content).splitlines()]
    return "\n".join(f"{_fingerprint(line)}\n  {line}" for line in dict.fromkeys(lines)) or "none"


def _fingerprint(line: str) -> str:
    """ "HOST ssh-ed25519 SHA256:…"."""
    host, kind, key, *_ = [*line.split(), "", "", ""]
    try:
        digest = hashlib.sha256(base64.b64decode(key, validate=True)).digest()
    except binascii.Error:
        return f"{host} {kind}"
    return f"{host} {kind} SHA256:{base64.b64encode(digest).decode('ascii').rstrip('=')}"


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def _date(at: datetime) -> str:
    return f"{at.day} {at:%B %Y, %H:%M} UTC"


def _quoted(name: str) -> str:
    return quote(f"./{name}" if name.startswith("-") else name)


def _for_script(text: str) -> str:
    """JSON that no HTML parser can take for markup."""
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
