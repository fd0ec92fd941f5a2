"""Which restic programs the contract tests run on, and repositories made of them."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from failsafe.adapters.restic import Patience, ResticRepository
from failsafe.secrets import Secret
from tests.tools.cheap_key import make_cheap

PASSWORD = "correct horse battery staple"
HURRIED = Patience(
    quick=timedelta(seconds=60), silence=timedelta(seconds=60), lock_wait=timedelta(seconds=3), grace=timedelta(seconds=5)
)


def programs() -> list[str]:
    """Every restic to test: $FAILSAFE_RESTICS (paths with ":"), and this machine's own."""
    given = [path for path in os.environ.get("FAILSAFE_RESTICS", "").split(":") if path]
    own = shutil.which("restic")
    return list(dict.fromkeys([*([own] if own else []), *given]))


def version_of(program: str) -> str:
    return subprocess.run([program, "version"], capture_output=True, text=True, check=True).stdout.split()[1]


def password_file(folder: Path, text: str = PASSWORD) -> Path:
    path = folder / "repository.password"
    path.touch(mode=0o600)
    path.write_text(text + "\n")
    return path


def make_repository(
    program: str,
    folder: Path,
    *,
    name: str = "nas",
    url: str | None = None,
    environment: Callable[[], Mapping[str, Secret]] = dict,
    expected_id: str | None = None,
    patience: Patience = HURRIED,
    said: list[str] | None = None,
    **more: Any,
) -> ResticRepository:
    """A repository at `folder`/repository; its password file and cache lie beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    secret = folder / "repository.password"
    if not secret.exists():
        password_file(folder)
    return ResticRepository(
        name,
        url or str(folder / "repository"),
        password=lambda: Secret(secret.read_text().strip(), str(secret)),
        environment=environment,
        cache_dir=folder / "cache",
        program=program,
        expected_id=expected_id,
        patience=patience,
        narrate=(said if said is not None else []).append,
        **more,
    )


@functools.cache
def empty_repository(password: str, program: str = "restic") -> Path:
    """A folder that holds an empty repository of this restic and its password file; made once a run, to be copied and never written to."""
    folder = Path(tempfile.mkdtemp(prefix="failsafe-empty-repository-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    secret = password_file(folder, password)
    environment = {
        "PATH": os.environ["PATH"],
        "RESTIC_REPOSITORY": str(folder / "repository"),
        "RESTIC_PASSWORD_FILE": str(secret),
        "HOME": str(folder),
    }
    subprocess.run(
        [program, "init", "-q"], env=environment, check=True, timeout=120, stdin=subprocess.DEVNULL, capture_output=True
    )
    make_cheap(program, folder / "repository", password, environment)
    return folder


def put_empty_repository(place: Path, password: str) -> None:
    """A new repository at `place`, made once a run and copied; its key is cheap to open, since restic takes 0.65 s for one of its own."""
    shutil.copytree(empty_repository(password) / "repository", place)


def restic(program: str, folder: Path, *argv: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Bare restic on such a repository, for a second opinion."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "RESTIC_REPOSITORY": str(folder / "repository"),
        "RESTIC_PASSWORD_FILE": str(folder / "repository.password"),
        "RESTIC_CACHE_DIR": str(folder / "cache"),
        **environ,
    }
    return subprocess.run(
        [program, *argv], env=environment, capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL
    )
