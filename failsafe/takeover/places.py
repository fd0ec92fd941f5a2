"""Where the files of a recovery kit go on this machine, and a configuration that names them there. Pure but for the folder it is told of.

Without a wish everything goes where it lay on the lost machine. Below a prefix the secrets lie beside the configuration, state in `state`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from failsafe.backup.kit import Kit, KitFile
from failsafe.config.files import named_files
from failsafe.config.load import parse_config
from failsafe.config.schema import Config
from failsafe.errors import UsageError

STATE = "state"


@dataclass(frozen=True, slots=True)
class Placed:
    """One file to be written."""

    path: Path
    mode: int
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Placing:
    """`moved`: (where it was, where it is going to be). `lacking`: (key, path) of files that the configuration names and the kit has not."""

    config: Placed
    files: tuple[Placed, ...]
    moved: tuple[tuple[str, str], ...]
    lacking: tuple[tuple[str, str], ...]
    state_dir: Path

    @property
    def all(self) -> tuple[Placed, ...]:
        """The configuration last: where it lies, everything it names does."""
        return (*self.files, self.config)


def plan_places(kit: Kit, config_file: Path | None, prefix: Path | None) -> Placing:
    """`config_file`, `prefix`: None where the person has no wish. Raises UsageError, ConfigError."""
    own = Path(kit.config.path)
    if prefix is None and config_file is not None and config_file != own:
        prefix = config_file.parent
    config = parse_config(kit.config.content, str(own))
    beside = tuple(_keys_of_ssh(kit, config, prefix or own.parent))
    files = (*_files(kit), *(file for file, _table, _key in beside))
    target, moved, text = own, dict[str, str](), kit.config.content.decode("utf-8")
    if prefix is not None:
        target = config_file or prefix / own.name
        moved = _names(files, prefix, taken={target.name, STATE})
        moved[str(config.controller.state_dir)] = str(prefix / STATE)
        text = _rewritten(text, moved)
        if "state_dir" not in tomllib.loads(text).get("controller", {}):  # the lost machine used the default
            text = _inserted(text, "controller", "state_dir", str(prefix / STATE))
    for file, table, key in beside:
        text = _inserted(text, table, key, moved.get(file.path, file.path))
    if prefix is not None:
        text = _with_identities(kit, config, text, moved)
    return _placing(target, text.encode(), files, moved)


def _files(kit: Kit) -> Iterator[KitFile]:
    """Those that the configuration names, and those that variables of a repository's environment name."""
    yield from kit.files
    for repository in kit.repositories:
        for file in repository.attached:
            place = repository.environment.get(file.path, "")
            if place.startswith("/"):
                yield KitFile(place, file.mode, file.content)


def _keys_of_ssh(kit: Kit, config: Config, folder: Path) -> Iterator[tuple[KitFile, str, str]]:
    """(file, table, key): of repositories over SSH for which the lost machine used its user's own keys. Here they are named."""
    for repository in kit.repositories:
        table = config.repository.get(repository.name)
        if repository.ssh is None or table is None:
            continue
        there = {file.path: file for file in repository.ssh.files}
        for key, named in (("ssh_key", table.ssh_key), ("known_hosts", table.known_hosts)):
            if named is None and key in there:
                path = str(folder / f"repository.{repository.name}.{key}")
                yield KitFile(path, 0o600, there[key].content), f"repository.{repository.name}", key


def _with_identities(kit: Kit, config: Config, text: str, moved: Mapping[str, str]) -> str:
    """A mail server without `ssh_key` is reached with the user's own key, which no longer lies where SSH looks for it."""
    for name, server in config.mail_server.items():
        own = next((file for file in kit.files if f"mail_server.{name}.ssh" in file.keys), None)
        if own is not None and server.ssh_key is None:
            text = _inserted(text, f"mail_server.{name}", "ssh_key", moved[own.path])
    return text


def _names(files: tuple[KitFile, ...], prefix: Path, taken: set[str]) -> dict[str, str]:
    """Old path -> new one: the file's own name, with those of its folders before it where that is taken."""
    names: dict[str, str] = {}
    for file in files:
        parts = Path(file.path).parts[1:]
        wishes = ["-".join(parts[-count:]) for count in range(1, len(parts) + 1)]
        wishes += [f"{number}-{parts[-1]}" for number in range(2, len(files) + 3)]
        if file.path not in names:
            name = next(wish for wish in wishes if wish not in taken)
            taken.add(name)
            names[file.path] = str(prefix / name)
    return names


def _placing(target: Path, data: bytes, files: tuple[KitFile, ...], moved: Mapping[str, str]) -> Placing:
    config = parse_config(data, str(target))
    placed = {
        moved.get(file.path, file.path): Placed(Path(moved.get(file.path, file.path)), _mode(file), _content(file, moved))
        for file in files
    }
    named = [(key, str(path)) for key, path in named_files(config)]
    stale = {old for old, new in moved.items() if old != new} - set(moved.values())
    forgotten = [(key, path) for key, path in named if path in stale]
    if forgotten or str(config.controller.state_dir) in stale:
        text = ", ".join(f"{key} = {path}" for key, path in forgotten) or "controller.state_dir"
        raise UsageError(
            f"the configuration of the kit writes paths in a form that cannot be changed here: {text}",
            mend="leave out --prefix and --config, so that everything goes where it lay",
        )
    lacking = tuple((key, path) for key, path in named if path not in placed and not _is_inside(key))
    return Placing(
        Placed(target, 0o600, data), tuple(placed.values()), tuple(moved.items()), lacking, config.controller.state_dir
    )


def _is_inside(key: str) -> bool:
    """Named by an accounts file that is not written yet, or is the lost machine's own."""
    return ".accounts_file " in key


def _mode(file: KitFile) -> int:
    return file.mode & 0o600 or 0o600


def _content(file: KitFile, moved: Mapping[str, str]) -> bytes:
    """Accounts and environments name files by whole paths, each at the end of its line."""
    if not moved or not any("accounts_file" in key or "environment_file" in key for key in file.keys):
        return file.content
    named = {old.encode(): new.encode() for old, new in moved.items()}
    ends = re.compile(rb"(?m)(?<=[:=])(" + b"|".join(map(re.escape, named)) + rb")(?=\r?$)")
    return ends.sub(lambda found: named[found[0]], file.content)


def _rewritten(text: str, moved: Mapping[str, str]) -> str:
    """Every string of the file that is one of these paths, in the quotes it has; `~/` was the lost machine's home."""
    literals: dict[str, str] = {}
    for written in set(_strings(tomllib.loads(text))):
        new = next(
            (new for old, new in moved.items() if written == old or (written[:2] == "~/" and old.endswith(written[1:]))), None
        )
        if new is not None:
            literals |= {f"{quote}{written}{quote}": f"{quote}{new}{quote}" for quote in ('"', "'")}
    if not literals:
        return text
    return re.sub(
        "|".join(map(re.escape, literals)), lambda found: literals[found[0]], text
    )  # all at once: a new path may be another's old one


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


def _inserted(text: str, table: str, key: str, value: str) -> str:
    """A line more in a table. Raises UsageError where its head is written in a way that is not seen here."""
    head = re.search(rf"(?m)^[ \t]*\[[ \t]*{re.escape(table)}[ \t]*\][ \t]*(#.*)?\n", text)
    line = f'{key} = "{value}"\n'
    if head is not None:
        return text[: head.end()] + line + text[head.end() :]
    if "." not in table and table not in tomllib.loads(text):
        return f"{text.rstrip()}\n\n[{table}]\n{line}"
    raise UsageError(
        f"{key} cannot be put into [{table}] of the kit's configuration",
        mend="leave out --prefix and --config, so that everything goes where it lay",
    )
