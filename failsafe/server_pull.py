"""The new machine pulls straight from a repository: which one, under which address, with which credential. All of it lives in one SSH conversation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from failsafe.adapters.restic import commands
from failsafe.adapters.restic.place import local_folder
from failsafe.app import App
from failsafe.backup.recall import Moment, RepositorySource, Source
from failsafe.backup.server_supply import Fetched
from failsafe.backup.write_session import WriteSession
from failsafe.errors import UsageError
from failsafe.ports import Narrator
from failsafe.secrets import Secret, read_environment, read_secret

if TYPE_CHECKING:
    from failsafe.server_states import Request

PASSWORD = "RESTIC_PASSWORD"  # noqa: S105 - a name
AS_FILES = ("RESTIC_PASSWORD_FILE", "RESTIC_PASSWORD_COMMAND", "AWS_SHARED_CREDENTIALS_FILE", "GOOGLE_APPLICATION_CREDENTIALS")
MINIMUM_HIDDEN = 4  # a shorter "secret" would blank half of every message


def repository_for(app: App, named: str | None) -> str:
    """The one that was named; else the only one across a network. Raises UsageError."""
    if named is not None:
        app.repository(named)
        return named
    far = sorted(name for name in app.config.repository if app.is_far(name))
    if len(far) != 1:
        raise UsageError(
            f"{len(far)} repositories lie across a network", mend="say which the new machine is to read: --repository NAME"
        )
    return far[0]


def fetched(
    app: App, request: Request, session: WriteSession, source: Source, moment: Moment, work: str, narrate: Narrator
) -> Fetched:
    """restic there. Raises UsageError where the repository cannot be reached from another machine as it is configured, SecretError."""
    assert isinstance(source, RepositorySource), "chosen for it"
    url = request.pull_url or app.config.repository[source.name].url
    if request.pull_url is None and (local_folder(url) is not None or url.startswith(("sftp:", "rclone:"))):
        raise UsageError(
            f"[repository.{source.name}] cannot be reached from the new machine as {url.partition(':')[0]}",
            mend="say --pull-url URL, as restic on the new machine would name it (s3:, rest:, b2:, azure:, gs:, swift:)",
        )
    secrets = credential(app, source.name, request.credential_file)
    values = {name: secret.reveal() for name, secret in secrets.items()}
    values |= {"RESTIC_REPOSITORY": url, "RESTIC_CACHE_DIR": f"{work}/cache", "RESTIC_PROGRESS_FPS": "0.1"}

    def words(paths: Sequence[str]) -> Iterator[Sequence[str]]:
        for portion in commands.batches(paths):
            yield ("restic", *commands.restore(moment.snapshot_id, f"{work}/archive", portion))

    def hide(text: str) -> str:
        for secret in sorted((one.reveal() for one in secrets.values()), key=len, reverse=True):
            text = text.replace(secret, "***") if len(secret) >= MINIMUM_HIDDEN else text
        return text

    def environment() -> Mapping[str, str]:
        return values

    return Fetched(session, source, request.server, moment.number, words, environment, hide, narrate)


def credential(app: App, repository: str, file: Path | None) -> dict[str, Secret]:
    """What restic there needs. Without a RESTIC_PASSWORD of its own in the file, the repository's password goes along, for this run."""
    table = app.config.repository[repository]
    if file is None and table.environment_file is not None:
        raise UsageError(
            "the credential of every day does not leave this machine",
            mend="make one that may only read, for this run, and say --credential-file FILE (NAME=VALUE lines, mode 0600)",
        )
    secrets = {} if file is None else read_environment(file)
    strange = sorted(set(secrets) & set(AS_FILES))
    if strange:
        raise UsageError(
            f"{file}: {', '.join(strange)} names a file, which is not on the new machine", mend="give the values themselves"
        )
    if PASSWORD not in secrets:
        secrets[PASSWORD] = read_secret(table.password_file)
    return secrets
