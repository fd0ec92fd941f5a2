"""A controller whose domain has its secondary on a real Dovecot: what lies there is gathered from it, in this process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from failsafe.app import App
from failsafe.backup.report import BackupReport
from failsafe.config.load import load_config
from failsafe.homecoming.found import Found
from failsafe.homecomings import gather, gathered
from tests.contract.configs import MAIL_HERE, domain_table
from tests.contract.dovecot import PASSWORD, Dovecot
from tests.contract.mailstore import Silent
from tests.contract.processes import run
from tests.contract.restics import put_empty_repository

DOMAIN = "example.org"
SERVER = f"{DOMAIN}:secondary"
REPOSITORY = """
[repository.nas]
url = "{folder}/repository"
password_file = "{folder}/repository.password"
"""


@dataclass
class Away:
    """`logins`: mailbox -> user at the secondary; `catch_all`: a user there. Without `repository` staging is all there is: that is quicker."""

    folder: Path
    server: Dovecot
    logins: Mapping[str, str]
    catch_all: str = ""
    port: int = 0
    repository: bool = False
    more: str = ""

    def __post_init__(self) -> None:
        for name, text in (("repository.password", "secret"), ("away.password", PASSWORD)):
            (self.folder / name).touch(mode=0o600)
            (self.folder / name).write_text(text + "\n")
        (self.folder / "mail").mkdir(exist_ok=True)
        if self.repository:
            put_empty_repository(self.folder / "repository", "secret")
        self.configure()

    @property
    def file(self) -> Path:
        return self.folder / "failsafe.toml"

    @property
    def password(self) -> Path:
        return self.folder / "away.password"

    def configure(self, **home: str) -> None:
        """`home`: other keys of the homecoming, as TOML."""
        accounts = ", ".join(
            f'{{ mailbox = "{mailbox}", user = "{user}", password_file = "{self.password}" }}'
            for mailbox, user in self.logins.items()
        )
        keys = {
            "host": '"localhost"',
            "port": str(self.port or self.server.port),
            "tls": '"implicit"',
            "ca_file": f'"{self.server.certificates.authority}"',
            "accounts": f"[{accounts}]",
        }
        if self.catch_all:
            keys["catch_all"] = f'{{ user = "{self.catch_all}", password_file = "{self.password}" }}'
        keys.update(home)
        table = "".join(f"{key} = {value}\n" for key, value in keys.items() if value)
        self.file.write_text(
            MAIL_HERE.format(folder=self.folder)
            + "[own_line]\nreferences = []\n"
            + (REPOSITORY.format(folder=self.folder) if self.repository else "")
            + domain_table(DOMAIN)
            + f'[domain."{DOMAIN}".homecoming]\n{table}{self.more}'
        )

    def app(self) -> App:
        return App(load_config(self.file), self.file)

    def gather(self, said: list[str] | None = None) -> BackupReport:
        return gather(self.app(), DOMAIN, Silent(), (said if said is not None else []).append)

    def found(self) -> list[Found]:
        return list(gathered(self.app(), DOMAIN).found())

    def read(self, found: Found) -> bytes:
        return b"".join(gathered(self.app(), DOMAIN).read(found))

    def run(self, *words: str, status: int = 0) -> str:
        return run(self.file, *words, status=status)[0]

    def lines(self, *words: str, status: int = 0) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.run(*words, "--json", status=status).splitlines()]
