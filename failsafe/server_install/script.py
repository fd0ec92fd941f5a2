"""The scripts that a person runs as root on a mail server, and the steps that lead there. Pure: texts from a table and a public key."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from shlex import quote

from failsafe.backup.layouts import Source
from failsafe.backup.serverside import program
from failsafe.config.servers import MailServer
from failsafe.config.types import SshTarget
from failsafe.errors import UsageError
from failsafe.server_install.listed import settings_of
from failsafe.server_install.places import FOLDER, LIST, MADE_BY_US, PROGRAM, RULE, SERVE

END = "END_OF_THIS_FILE_OF_FAILSAFE"
KIND = re.compile(r"[A-Za-z0-9@.-]{1,64}\Z")
BLOB = re.compile(r"[A-Za-z0-9+/=]{16,20000}\Z")
LOGIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}\Z")
COMMENT = "failsafe"


@dataclass(frozen=True, slots=True)
class Step:
    """Something that a person does: what, why, and the command to type."""

    what: str
    why: str
    command: str


def authorized_keys_line(public_key: str) -> str:
    """`public_key`: a line as in a .pub file. The line lets that key start our program and nothing else. Raises UsageError."""
    return f'restrict,command="{SERVE}" {" ".join(_key_of(public_key))} {COMMENT}'


def install_script(server: MailServer, public_key: str, *, name: str = "mail", source: Source | None = None) -> str:
    """What installs all, or renews it; safe to run again. `source`: where a layout's mail was found. Raises UsageError."""
    place = login_of(server, name)
    listed = settings_of(server, source)
    _, blob = _key_of(public_key)
    return _filled("install", {
        "NAME": _plain(name),
        "LOGIN": place.user,
        "LOGIN_Q": quote(place.user),
        "RUNNER_Q": quote(_runner(server, place)),
        "ROOT_Q": quote(str(listed["root"])),
        "KEY_Q": quote(blob),
        "LINE_Q": quote(authorized_keys_line(public_key)),
        "LIST_TEXT": json.dumps(listed, indent=1, ensure_ascii=False),
        "PROGRAM_TEXT": program().split("\n", 1)[1].rstrip("\n"),
    })  # fmt: skip


def remove_script(server: MailServer, public_key: str, *, name: str = "mail") -> str:
    """What takes away all that `install_script` puts there. Raises UsageError."""
    place = login_of(server, name)
    _, blob = _key_of(public_key)
    return _filled(
        "remove",
        {
            "NAME": _plain(name),
            "LOGIN_Q": quote(place.user),
            "KEY_Q": quote(blob),
            "LINE_Q": quote(authorized_keys_line(public_key)),
        },
    )


def steps(server: MailServer, public_key: str, *, name: str = "mail", failsafe: str = "failsafe") -> tuple[Step, ...]:
    """What is left to do so that our key can only read there. `failsafe`: the command, with its --config where it needs one. Raises UsageError."""
    place = login_of(server, name)
    authorized_keys_line(public_key)
    return (
        Step(
            f"Install failsafe's side on {place.host}",
            f"the key of {name} then starts one program, which reads mail, and nothing else. It prints what it did; run it again after an update of failsafe",
            f"{failsafe} config server {quote(name)} | {as_root(place)}",
        ),
        Step(
            f"See that {place.host} lets failsafe in, and lets it do no more",
            "it logs in with the key of every night, and says what is missing",
            f"{failsafe} config check --connect",
        ),
    )


def as_root(place: SshTarget) -> str:
    """How a script is brought to the server by a person who may be root there."""
    port = "" if place.port == 22 else f"-p {place.port} "
    return f"ssh {port}root@{place.host} sh"


def login_of(server: MailServer, name: str) -> SshTarget:
    """Raises UsageError."""
    if server.ssh is None:
        raise UsageError(f"the mail of {name} lies on this machine: nothing is installed on another one")
    if not LOGIN.match(server.ssh.user):
        raise UsageError(f"{server.ssh.user!r} is no name of a user on a server: correct ssh in [mail_server.{name}]")
    return server.ssh


def _runner(server: MailServer, place: SshTarget) -> str:
    """Who the program has to be; "" where that is the owner of the mail, which only the server knows.

    Containers, files of root's and commands take root, which reads each mailbox as its owner.
    """
    mail_alone = server.layout == "maildir" and not server.extra_paths and not server.commands
    return "" if mail_alone and place.user != "root" else "root"


def _key_of(public_key: str) -> tuple[str, str]:
    words = public_key.split()
    if len(words) < 2 or not KIND.match(words[0]) or not BLOB.match(words[1]):
        raise UsageError(f"{public_key[:40]!r} is no public key; a .pub file holds one: ssh-ed25519 AAAA…")
    return words[0], words[1]


def _plain(name: str) -> str:
    """For a comment, which ends with its line."""
    return re.sub(r"[^\w.@-]", "?", name)


PLACES = {
    "FOLDER": FOLDER,
    "LIST": LIST,
    "MADE_BY_US_Q": quote(MADE_BY_US),
    "PROGRAM": PROGRAM,
    "RULE": RULE,
    "SERVE": SERVE,
    "END": END,
}


def _filled(which: str, values: Mapping[str, str]) -> str:
    """Each @WORD@ is filled in once, so that nothing in a value is taken for one."""
    filled = {**PLACES, "COMMON": _template("common").rstrip("\n"), **values}
    assert not any(END in value for word, value in values.items() if word.endswith("_TEXT"))
    return re.sub(r"@([A-Z_]+)@", lambda found: filled[found[1]], _template(which))


@cache
def _template(which: str) -> str:
    return files(__package__).joinpath(f"{which}.sh").read_text(encoding="utf-8")
