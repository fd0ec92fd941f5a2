"""What the ssh program would use for a host: `ssh -G` reads ~/.ssh/config as ssh by hand does, and connects to nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from failsafe.adapters.process import Command, base_environment, run
from failsafe.errors import ProcessError, SshError

PATIENCE = timedelta(seconds=20)
FILES = 20


@dataclass(frozen=True, slots=True)
class SshSettings:
    """`identities`, `known_hosts`: files that are there. `through`: another host that it goes through; "" where it goes straight."""

    user: str
    host: str
    port: int
    identities: tuple[Path, ...] = ()
    known_hosts: tuple[Path, ...] = ()
    through: str = ""


def ask_ssh(user: str, host: str, port: str) -> SshSettings:
    """`user` and `port`: "" where not given. Raises SshError."""
    words = ("ssh", "-G", *(("-p", port) if port else ()), *(("-l", user) if user else ()), "--", host)
    try:
        finished = run(Command(words, base_environment(), deadline=PATIENCE))
    except ProcessError as error:
        raise SshError(f"ssh cannot be asked about {host}: {error}", mend=error.mend, transient=False) from error
    if finished.code != 0:
        raise SshError(f"ssh cannot be asked about {host}: {' '.join(finished.stderr)[-300:]}", transient=False)
    return parse_settings("\n".join(finished.stdout), user)


def parse_settings(text: str, user: str = "") -> SshSettings:
    """From what `ssh -G` prints: a lower-case key and its value a line. `user` stays "" where nobody named one."""
    values: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        values.setdefault(key, []).append(value.strip())
    first = {key: each[0] for key, each in values.items()}
    through = next((first[key] for key in ("proxyjump", "proxycommand") if first.get(key, "none") != "none"), "")
    known = [each for key in ("userknownhostsfile", "globalknownhostsfile") for each in first.get(key, "").split()]
    try:
        return SshSettings(
            user or first.get("user", ""),
            first["hostname"],
            int(first.get("port", "22")),
            _there(values.get("identityfile", [])),
            _there(known),
            through,
        )
    except (KeyError, ValueError) as error:
        raise SshError("ssh -G answers nothing that makes sense", transient=False) from error


def _there(names: list[str]) -> tuple[Path, ...]:
    paths = (Path(name).expanduser() for name in names[:FILES])
    return tuple(dict.fromkeys(path for path in paths if path.is_file()))
