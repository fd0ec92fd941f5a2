"""The files that a configuration names: are the secrets there, and readable by nobody else?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from failsafe.config.accounts import read_accounts
from failsafe.config.schema import Config
from failsafe.errors import ConfigError, SecretError
from failsafe.own_layer import VOLUMES, what_is_lost
from failsafe.secrets import mode_fault, modes_are_kept, secret_path

SECRET_KEYS = (
    "password_file",
    "environment_file",
    "token_file",
    "key_file",
    "credentials_file",
    "ssh_key",
    "urls_file",
    "url_file",
    "accounts_file",
)

NAMED_KEYS = ("_file", "ssh_key", "known_hosts")


def secret_files(config: Config) -> Iterator[tuple[str, Path]]:
    """(key, path) of every file that holds a secret."""
    yield from _walk(config, "", SECRET_KEYS)


def named_files(config: Config) -> Iterator[tuple[str, Path]]:
    """(key, path) of every file that the configuration names, secret or not, with the password files of accounts."""
    yield from _walk(config, "", NAMED_KEYS)
    yield from _files_of_accounts(config)[0]


def file_faults(config: Config) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(faults, warnings) of the secret files: missing or readable by others; a file system without modes is a warning."""
    named, faults = _files_of_accounts(config)
    warnings = []
    for key, path in (*secret_files(config), *named):
        fault = mode_fault(path)
        if fault is None:
            continue
        if secret_path(path).exists() and not modes_are_kept(secret_path(path).parent):
            warnings.append((key, f"{path} lies on a file system that keeps no modes: everyone on this machine may read it"))
        else:
            faults.append((key, fault))
    return faults + _lost_with_a_container(config), warnings


def _lost_with_a_container(config: Config) -> list[tuple[str, str]]:
    """Where the database or a repository would be gone with the container that failsafe runs in."""
    places = {"controller.state_dir": config.controller.state_dir}
    for name, table in config.repository.items():
        if table.is_path:
            places[f"repository.{name}.url"] = Path(table.url.removeprefix("local:"))
    return [(key, f"{path} {lost}; {VOLUMES}") for key, path in places.items() if (lost := what_is_lost(path))]


def _files_of_accounts(config: Config) -> tuple[list[tuple[str, Path]], list[tuple[str, str]]]:
    """(key, path) of the password files that each accounts_file names; faults of its lines. What is wrong with the file itself is told elsewhere."""
    named: list[tuple[str, Path]] = []
    faults: list[tuple[str, str]] = []
    for key, file in _accounts_files(config):
        try:
            named += [(f"{key} {mailbox}", path) for mailbox, path in read_accounts(file).items()]
        except ConfigError as error:
            faults += [(f"{key} {line}".strip(), text) for line, text in error.faults]
        except SecretError:
            continue
    return named, faults


def _accounts_files(config: Config) -> Iterator[tuple[str, Path]]:
    for server, table in config.mail_server.items():
        if table.accounts_file is not None:
            yield f"mail_server.{server}.accounts_file", table.accounts_file
    for name, domain in config.domain.items():
        deliver = None if domain.homecoming is None else domain.homecoming.deliver
        if deliver is not None and deliver.accounts_file is not None:
            yield f'domain."{name}".homecoming.deliver.accounts_file', deliver.accounts_file


def _walk(value: Any, key: str, wanted: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            inner = getattr(value, name)
            place = f"{key}.{name}" if key else name
            if isinstance(inner, Path):
                if name.endswith(wanted):
                    yield place, inner
            else:
                yield from _walk(inner, place, wanted)
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _walk(inner, f'{key}."{name}"' if "." in name else f"{key}.{name}", wanted)
    elif isinstance(value, tuple):
        for number, inner in enumerate(value):
            yield from _walk(inner, f"{key}[{number}]", wanted)
