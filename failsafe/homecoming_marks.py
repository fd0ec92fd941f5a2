"""Marks at the secondary what is home, where `mark` of a homecoming asks for it: after delivery, and only what a repository holds."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from failsafe.app import App
from failsafe.backup.archive.reader import Archive
from failsafe.backup.proofs import Proofs
from failsafe.config.secondaries import SecondaryLogin, SecondaryServer, secondary_of
from failsafe.errors import ExternalError
from failsafe.homecoming.marking import FOLDER_MARK, KEYWORD_MARK, to_mark
from failsafe.homecoming.plan import KEYWORD
from failsafe.homecomings import gathered
from failsafe.logins import LoginMemory
from failsafe.model import Endpoint
from failsafe.ports import Narrator
from failsafe.secrets import read_secret

if TYPE_CHECKING:
    from failsafe.adapters.imap import ImapMailbox


def mark_what_is_home(app: App, domain: str, narrate: Narrator) -> int:
    """How many. What fails at the secondary is told, and tried again with the next homecoming. Raises ArchiveError, StoreError."""
    home = app.domain(domain).homecoming
    if home is None or home.mark is None or not _is_stored(app, secondary_of(domain)):
        return 0
    server = app.server(secondary_of(domain))
    assert isinstance(server, SecondaryServer)
    assert server.imap is not None
    memory = LoginMemory(app, secondary_of(domain), server.imap.endpoint())
    logins = {each.mailbox: each for each in server.logins}
    marked = 0
    for (mailbox, folder, validity), uids in to_mark(domain, gathered(app, domain).found(), app.homecomings, home.mark).items():
        login = logins.get(mailbox)
        if login is None:
            continue
        try:
            box = memory.attempt(
                login.user, login.password_file, partial(_open, server.imap.endpoint(), login), "failsafe doctor"
            )
            try:
                if home.mark == KEYWORD_MARK:
                    marked += box.add_keyword(folder, validity, uids, KEYWORD)
                else:
                    marked += box.move(folder, validity, uids, home.mark.removeprefix(FOLDER_MARK))
            finally:
                box.close()
        except ExternalError as error:
            narrate(f"{mailbox} {folder} could not be marked at the secondary: {error}")
    return marked


def _open(endpoint: Endpoint, login: SecondaryLogin) -> ImapMailbox:
    from failsafe.adapters.imap import ImapMailbox

    return ImapMailbox(endpoint, login.user, read_secret(login.password_file), mend="failsafe doctor")


def _is_stored(app: App, server: str) -> bool:
    """Whether a repository is proven to hold all that was gathered."""
    newest = Archive(app.staging_folder(server)).numbers()
    proofs = Proofs(app.proofs_file(server))
    proven = [proof.generation for name in app.config.repository if (proof := proofs.get(name)) is not None]
    return bool(newest) and max(newest) in proven
