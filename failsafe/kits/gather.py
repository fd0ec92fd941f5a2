"""Gathers the recovery kit from the configuration, its files and the repositories, and what shows later whether it is still true."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from failsafe import __version__
from failsafe.app import App
from failsafe.backup.kit import FILE_BYTES, Kit, KitFile, KitRepository, KitServer, KitSsh
from failsafe.backup.kit_state import KitCheckup, digest_of
from failsafe.backup.snapshot import host_of
from failsafe.config.files import named_files
from failsafe.config.schema import MailServer, RepositoryTable
from failsafe.errors import FailsafeError, SecretError, SshError, StoreError, UsageError
from failsafe.mail.manifest import FORMAT as ARCHIVE_FORMAT
from failsafe.ports import Narrator
from failsafe.secrets import read_environment, read_secret, secret_path

DUTY = "kit:{}"  # of each controller its own: its digests are under a key that the others have not
IDENTITIES = ("id_ed25519", "id_ecdsa", "id_rsa")  # in ~/.ssh, where no ssh_key is configured
DRILL = "kit-drill:{}"
UNREAD = "its keys/ and config could not be had: {}"
NO_SSH_KEY = "the key that its SSH server lets in lies in no file that ssh names (in an agent?)"
USUAL = {  # kind of place -> (variable that names its file of credentials, where it lies without one, variable that makes it needless)
    "s3": ("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials", "AWS_ACCESS_KEY_ID"),
    "rclone": ("RCLONE_CONFIG", ".config/rclone/rclone.conf", ""),
}


def make_kit(app: App, say: Narrator) -> Kit:
    """Asks every repository, one after the other. What cannot be had is named in the kit itself.

    Raises UsageError where there is no repository, SecretError where the password of one cannot be read.
    """
    if not app.config.repository:
        raise UsageError("no repository is configured, so a recovery kit would be empty", mend="add a [repository.NAME]")
    config = _read(app.config_file.absolute())
    if isinstance(config, str):
        raise UsageError(config)
    files, lacking = _files(app)
    repositories = []
    for name in sorted(app.config.repository):
        say(f"repository {name}: reading its keys/ and config, and opening a copy of them")
        repositories.append(_repository(app, name))
    return Kit(
        controller=app.config.controller.id,
        made_at=app.clock.now().replace(microsecond=0),
        failsafe=__version__,
        restic=_restic_version(app),
        archive_format=ARCHIVE_FORMAT,
        config=config,
        repositories=tuple(repositories),
        servers=tuple(_server(app, name) for name in app.archived_servers()),
        files=files,
        lacking=lacking,
    )


def facts_of(app: App) -> dict[str, str]:
    """Label -> keyed digest of everything that a kit depends on. Asks nobody over a network, and nothing in it tells a secret."""
    key = _key(app)
    known = app.duties.repositories()
    facts = {"the configuration": digest_of(key, app.config.model_dump_json(exclude_unset=True).encode())}
    for path, keys in _named(app).items():
        file = _read(path)
        facts[f"{path} ({keys[0]})"] = "missing" if isinstance(file, str) else digest_of(key, file.content)
    for name, table in app.config.repository.items():
        state = known.get(name)
        facts[f"the restic repository of {name}"] = digest_of(key, ("" if state is None else state.restic_id).encode())
        facts[f"the keys of repository {name}"] = digest_of(key, _key_names(table).encode())
    for name in app.config.mail_server:
        facts[f"the host keys of {name}"] = digest_of(key, "\n".join(_server(app, name).host_keys).encode())
    return facts


def remember(app: App, kit: Kit, written_to: Path, *, encrypted: bool, facts: dict[str, str]) -> None:
    """`facts`: from before the kit was gathered, so that a change meanwhile counts as one after it."""
    details: dict[str, Any] = {
        "made_at": kit.made_at.isoformat(),
        "written_to": str(written_to),
        "encrypted": encrypted,
        "lacking": list(kit.all_lacking),
        "facts": facts,
    }
    app.duties.ended(
        DUTY.format(kit.controller), app.clock.now(), ok=True, result="incomplete" if kit.all_lacking else "ok", details=details
    )


def look_at_kit(app: App) -> KitCheckup:
    """What the doctor judges. Raises StoreError."""
    rows, controller = app.duties.all(), app.config.controller.id
    row, drill = rows.get(DUTY.format(controller)), rows.get(DRILL.format(controller))
    details = {} if row is None else row.details
    if not app.config.repository or not details.get("made_at"):
        return KitCheckup(has_repositories=bool(app.config.repository))
    is_drilled = drill is not None and drill.details.get("made_at") == details["made_at"]
    return KitCheckup(
        has_repositories=True,
        made_at=datetime.fromisoformat(str(details["made_at"])),
        written_to=str(details.get("written_to", "")),
        encrypted=bool(details.get("encrypted")),
        lacking=tuple(map(str, details.get("lacking", ()))),
        then=dict(details.get("facts", {})),
        now=facts_of(app),
        proved_at=drill.ended_at if drill is not None and is_drilled and not drill.details["failed"] else None,
        drill_failed=tuple(map(str, drill.details["failed"])) if drill is not None and is_drilled else (),
    )


# Files


def _named(app: App) -> dict[Path, tuple[str, ...]]:
    """Every file that the configuration names, or that SSH uses where it names none; with the keys that do."""
    found: dict[Path, tuple[str, ...]] = {}
    for key, path in named_files(app.config):
        found[path] = (*found.get(path, ()), key)
    for name, table in app.config.mail_server.items():
        if table.ssh is not None and table.ssh_key is None:
            for path in (Path.home() / ".ssh" / each for each in IDENTITIES):
                if path.is_file():
                    found[path] = (*found.get(path, ()), f"mail_server.{name}.ssh")
    return found


def _files(app: App) -> tuple[tuple[KitFile, ...], tuple[str, ...]]:
    """(files, sentences about those that could not be had)."""
    files, lacking = [], []
    for path, keys in _named(app).items():
        file = _read(path)
        if isinstance(file, str):
            lacking.append(f"{', '.join(keys)}: {file}")
        else:
            files.append(replace(file, keys=keys))
    return tuple(files), tuple(lacking)


def _read(path: Path) -> KitFile | str:
    """Or a sentence about why not."""
    place = secret_path(path)
    try:
        with place.open("rb") as file:
            content, mode = file.read(FILE_BYTES + 1), os.fstat(file.fileno()).st_mode & 0o777
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    if len(content) > FILE_BYTES:
        return f"{path} is larger than 1 MiB, so it was left out"
    return KitFile(str(path), mode, content)


def _key(app: App) -> bytes:
    """Of the digests; made on first use, beside the database and not in it."""
    file = app.state_dir / "kit.key"
    try:
        app.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as made:
                made.write(os.urandom(32))
        except FileExistsError:
            pass
        return file.read_bytes()
    except OSError as error:
        raise StoreError(
            f"cannot read or write {file}: {error.strerror}", mend="check the owner of controller.state_dir"
        ) from error


# Repositories


def _repository(app: App, name: str) -> KitRepository:
    made, table = _access(app, name), app.config.repository[name]
    try:
        made = replace(made, ssh=_ssh(table))
        repository = app.repository(name, environment_file=table.restore_environment_file)
        files = repository.key_files()
    except SecretError:
        raise
    except FailsafeError as error:
        return replace(made, lacking=UNREAD.format(error))
    held = tuple(KitFile(path, 0o400, content) for path, content in files.items())
    has_key = made.ssh is None or any(file.path == "ssh_key" for file in made.ssh.files)
    return replace(made, restic_id=repository.opened_id, files=held, lacking="" if has_key else NO_SSH_KEY)


def _access(app: App, name: str) -> KitRepository:
    """What opens it, with the credential of a restore. Raises SecretError."""
    from failsafe.adapters.restic.reach import with_credentials

    table = app.config.repository[name]
    credentials = table.restore_environment_file or table.environment_file
    secrets = {} if credentials is None else read_environment(credentials)
    known = app.duties.repositories().get(name)
    made = KitRepository(
        name=name,
        url=table.url,
        restic_id="" if known is None else known.restic_id,
        password=read_secret(table.password_file).reveal(),
        address=with_credentials(table.url, secrets).removeprefix("local:"),
    )
    environment = {key: secret.reveal() for key, secret in secrets.items()}
    variable, usual, needless = USUAL.get(made.kind, ("", "", ""))
    if variable and variable not in environment and needless not in environment and (Path.home() / usual).is_file():
        environment[variable] = str(Path.home() / usual)
    attached = [replace(file, path=key) for key, value in environment.items() if (file := _attached(value)) is not None]
    return replace(made, environment=environment, attached=tuple(attached))


def _attached(value: str) -> KitFile | None:
    """The file that a variable names (GOOGLE_APPLICATION_CREDENTIALS, RESTIC_CACERT …)."""
    path = Path(value)
    if not value.startswith("/") or not path.is_file():
        return None
    file = _read(path)
    return None if isinstance(file, str) else file


def _key_names(table: RepositoryTable) -> str:
    """Of a folder of this machine; elsewhere they are not looked at: our own is known by the password file."""
    if not table.is_path:
        return ""
    try:
        return "\n".join(sorted(path.name for path in (Path(table.url.removeprefix("local:")) / "keys").iterdir()))
    except OSError:
        return "unreadable"


def _ssh(table: RepositoryTable) -> KitSsh | None:
    from failsafe.adapters.restic.reach import sftp_place
    from failsafe.adapters.ssh_client import ask_ssh

    place = sftp_place(table.url)
    if place is None:
        return None
    found = ask_ssh(*place)
    if found.through:
        raise SshError(f"ssh goes there through {found.through}, which a recovery kit cannot carry", transient=False)
    identities = (table.ssh_key,) if table.ssh_key is not None else found.identities
    known_hosts = (table.known_hosts,) if table.known_hosts is not None else found.known_hosts
    lines = _host_keys(known_hosts, found.host, found.port)
    files = [KitFile("known_hosts", 0o600, "".join(f"{line}\n" for line in lines).encode())] if lines else []
    for number, path in enumerate(identities, start=1):
        file = _read(path)
        if not isinstance(file, str):
            files.append(replace(file, path="ssh_key" if number == 1 else f"ssh_key{number}"))
    return KitSsh(found.user, found.host, found.port, tuple(files))


# Servers


def _server(app: App, name: str) -> KitServer:
    table: MailServer = app.server(name)
    if table.ssh is None:
        return KitServer(name, host_of(name), table.layout)
    (host, port), file = app.ssh_place(name)
    return KitServer(name, host_of(name), table.layout, str(table.ssh), _host_keys((file,), host, port))


def _host_keys(files: Iterable[Path], host: str, port: int) -> tuple[str, ...]:
    """Lines of known_hosts."""
    from failsafe.adapters.host_keys import known_keys, name_of

    found: dict[str, None] = {}
    for file in files:
        try:
            found |= {f"{name_of(host, port)} {key.line}": None for key in known_keys(file, host, port)}
        except FailsafeError:
            continue  # there is none; what needs it says so itself
    return tuple(found)


def _restic_version(app: App) -> str:
    try:
        return app.repository(min(app.config.repository)).capabilities.text
    except FailsafeError:
        return "not installed"
