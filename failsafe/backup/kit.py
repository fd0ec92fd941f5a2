"""The recovery kit as a value: all that is needed to get the mail back, and to make a new machine the controller, when this one is gone.

Pure: nothing is read here but text that is given. The page that a person reads is in `kit_page`, its commands in `kit_commands`;
docs/recovery-kit.md describes the form, for other programs. Nearly everything in here is secret, so no repr shows it.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from failsafe.errors import KitError

FORMAT = 1
FILE_BYTES = 1 << 20  # of one file in a kit; a larger "secret" is the wrong file
KEY_FILES = 50  # of one repository
_IN_REPOSITORY = re.compile(r"config|keys/[0-9a-f]{64}")
_BESIDE = re.compile(r"[A-Za-z0-9_]{1,100}")


@dataclass(frozen=True, slots=True)
class KitFile:
    """One file. `path`: whole, as on the controller; of a repository "config" or "keys/DIGEST"; of what lies beside a restore a bare name.

    `keys`: the keys of the configuration that name it.
    """

    path: str
    mode: int
    content: bytes = field(repr=False)
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KitSsh:
    """How an sftp repository is reached: `files` are "known_hosts" and "ssh_key", "ssh_key2" …, to lie in the folder of the restore."""

    user: str  # "" where none is named
    host: str
    port: int
    files: tuple[KitFile, ...] = ()

    @property
    def config(self) -> str:
        """A configuration of ssh for the host "repository", with the files in the current folder. The host key is always checked."""
        names = [file.path for file in self.files]
        keys = [name for name in names if name.startswith("ssh_key")]
        lines = [
            f"HostName {self.host}",
            f"Port {self.port}",
            *([f"User {self.user}"] if self.user else []),
            "StrictHostKeyChecking yes",
        ]
        lines += ["UserKnownHostsFile known_hosts", "GlobalKnownHostsFile /dev/null"] if "known_hosts" in names else []
        lines += ["IdentitiesOnly yes"] if keys else []
        lines += [f"IdentityFile {key}" for key in keys]
        return "Host repository\n" + "".join(f"  {line}\n" for line in lines)


@dataclass(frozen=True, slots=True)
class KitRepository:
    """A restic repository. `address`: the URL as restic is given it, with the login of a REST server in it.

    `attached`: files that variables of `environment` name, by the variable. `files`: "config" and "keys/…" of the repository itself;
    `lacking` says why they are not there, "" where they are.
    """

    name: str
    url: str
    restic_id: str
    password: str = field(repr=False)
    address: str = field(repr=False)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    attached: tuple[KitFile, ...] = ()
    ssh: KitSsh | None = None
    files: tuple[KitFile, ...] = ()
    lacking: str = ""

    @property
    def kind(self) -> str:
        """ "local", "sftp", "s3", "rest", or restic's own word for another place."""
        found = re.match(r"([a-z0-9]+):", self.url, re.IGNORECASE)
        return found[1].lower() if found else "local"


@dataclass(frozen=True, slots=True)
class KitServer:
    """A mail server whose mail lies in the repositories, as snapshots of `host`. `host_keys`: lines of known_hosts."""

    name: str
    host: str
    layout: str
    ssh: str = ""
    host_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Kit:
    """`files`: every file that the configuration names by a key that ends with _file, ssh_key or known_hosts. `lacking`: what could not be had."""

    controller: str
    made_at: datetime
    failsafe: str  # versions
    restic: str
    archive_format: int
    config: KitFile
    repositories: tuple[KitRepository, ...]
    servers: tuple[KitServer, ...]
    files: tuple[KitFile, ...] = ()
    lacking: tuple[str, ...] = ()

    @property
    def all_lacking(self) -> tuple[str, ...]:
        """Sentences, with those about keys/ and config of each repository."""
        return (*(f"{each.name}: {each.lacking}" for each in self.repositories if each.lacking), *self.lacking)


def render_json(kit: Kit) -> str:
    """The machine-readable form; ASCII, one object."""
    return json.dumps(_kit_json(kit), separators=(",", ":"), sort_keys=True)


def parse_json(text: str) -> Kit:
    """What `render_json` wrote, or a later version's; unknown keys are ignored. Raises KitError."""
    try:
        value = json.loads(text)
        if int(value["format"]) != FORMAT:
            raise KitError(
                f"this recovery kit has format {value['format']}, and this failsafe reads format {FORMAT}",
                mend="use the failsafe that made it, or its successor; the commands printed in the kit need no failsafe at all",
            )
        return _kit(value)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise KitError("the machine-readable part of this recovery kit makes no sense", mend=DAMAGED) from error


DAMAGED = "it was changed or cut after it was made: use another copy; what is printed on its page may still be right"


def _kit_json(kit: Kit) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "controller": kit.controller,
        "made_at": kit.made_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "versions": {"failsafe": kit.failsafe, "restic": kit.restic, "archive": kit.archive_format},
        "config": _file_json(kit.config),
        "files": [_file_json(file) for file in kit.files],
        "repositories": [_repository_json(each) for each in kit.repositories],
        "servers": [
            {"server": each.name, "host": each.host, "layout": each.layout, "ssh": each.ssh, "host_keys": list(each.host_keys)}
            for each in kit.servers
        ],
        "lacking": list(kit.lacking),
    }


def _repository_json(each: KitRepository) -> dict[str, Any]:
    ssh = each.ssh
    return {
        "repository": each.name,
        "url": each.url,
        "restic_id": each.restic_id,
        "password": each.password,
        "address": each.address,
        "environment": dict(each.environment),
        "attached": [_file_json(file) for file in each.attached],
        "ssh": None
        if ssh is None
        else {"user": ssh.user, "host": ssh.host, "port": ssh.port, "files": [_file_json(file) for file in ssh.files]},
        "files": [_file_json(file) for file in each.files],
        "lacking": each.lacking,
    }


def _file_json(file: KitFile) -> dict[str, Any]:
    value: dict[str, Any] = {
        "path": file.path,
        "mode": f"{file.mode:04o}",
        "content": base64.b64encode(file.content).decode("ascii"),
    }
    return value | ({"keys": list(file.keys)} if file.keys else {})


def _kit(value: Mapping[str, Any]) -> Kit:
    versions = value["versions"]
    return Kit(
        controller=str(value["controller"]),
        made_at=datetime.strptime(str(value["made_at"]), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC),
        failsafe=str(versions["failsafe"]),
        restic=str(versions["restic"]),
        archive_format=int(versions["archive"]),
        config=_file(value["config"]),
        files=tuple(_file(each) for each in value["files"]),
        repositories=tuple(_repository(each) for each in value["repositories"]),
        servers=tuple(
            KitServer(
                str(each["server"]), str(each["host"]), str(each["layout"]), str(each["ssh"]), tuple(map(str, each["host_keys"]))
            )
            for each in value["servers"]
        ),
        lacking=tuple(map(str, value["lacking"])),
    )


def _repository(value: Mapping[str, Any]) -> KitRepository:
    ssh = value["ssh"]
    return KitRepository(
        name=str(value["repository"]),
        url=str(value["url"]),
        restic_id=str(value["restic_id"]),
        password=str(value["password"]),
        address=str(value["address"]),
        environment={str(name): str(text) for name, text in value["environment"].items()},
        attached=tuple(_file(each, _BESIDE) for each in value["attached"]),
        ssh=None
        if ssh is None
        else KitSsh(str(ssh["user"]), str(ssh["host"]), int(ssh["port"]), tuple(_file(each, _BESIDE) for each in ssh["files"])),
        files=tuple(_file(each, _IN_REPOSITORY) for each in value["files"]),
        lacking=str(value["lacking"]),
    )


def _file(value: Mapping[str, Any], names: re.Pattern[str] | None = None) -> KitFile:
    """`names`: what it may be called; None: a whole path."""
    path, mode = str(value["path"]), int(str(value["mode"]), 8)
    if names is None:
        if not path.startswith("/") or "\0" in path:
            raise ValueError(path)
    elif not names.fullmatch(path):
        raise ValueError(path)
    content = base64.b64decode(str(value["content"]), validate=True)
    if len(content) > FILE_BYTES or mode & ~0o777:
        raise ValueError(path)
    return KitFile(path, mode, content, tuple(map(str, value.get("keys", ()))))
