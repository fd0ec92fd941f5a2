"""Names the logins of a mail server that lie here and could write there. Reads no secret."""

from __future__ import annotations

from collections.abc import Iterator

from failsafe.app import App
from failsafe.backup.doctor_access import StoredLogins
from failsafe.config.servers import MailServer


def stored_logins(app: App, server: str) -> StoredLogins:
    table = app.server(server)
    own = tuple(_own(server, table))
    is_read_so = table.layout == "imap"
    return StoredLogins(
        reading=own if is_read_so else (),
        unused=() if is_read_so else own,
        homecoming=tuple(_homecomings(app, server)),
    )


def _own(server: str, table: MailServer) -> Iterator[str]:
    if table.imap is not None and table.imap.master_user is not None:
        yield f"the IMAP master user {table.imap.master_user} in [mail_server.{server}]"
    if table.accounts_file is not None:
        yield f"the IMAP passwords that {table.accounts_file} names"


def _homecomings(app: App, server: str) -> Iterator[str]:
    for domain, row in sorted(app.config.domain.items()):
        home = row.homecoming
        if row.server != server or home is None:
            continue
        if home.deliver is not None and home.deliver.password_file is not None:
            who = f"master user {home.deliver.master_user}" if home.deliver.master_user else "login"
            yield f'the {who} with which [domain."{domain}".homecoming] delivers to {home.deliver.host}, and which may write into its mailboxes'
        users = len({*(account.user for account in home.accounts), *({home.catch_all.user} if home.catch_all else ())})
        yield f"{users} login(s) at {home.host}, with which it fetches"
