"""The primary as a homecoming meets it: its mailboxes, and people's filter rules, by the credential of `deliver`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from failsafe.app import App
from failsafe.config.homecomings import Deliver
from failsafe.errors import ConfigError, ExternalError, MailError, SecretError
from failsafe.homecoming.filtering import FilterScript
from failsafe.mail.sieve.parse import SieveFault, parse_script
from failsafe.ports import MailboxServer
from failsafe.secrets import read_secret


def connector(app: App, domain: str, held: str = "") -> Callable[[str], MailboxServer]:
    """Opens mailboxes of the primary with the credential of `deliver`; its files are read anew each time."""
    home = app.domain(domain).homecoming
    deliver = None if home is None else home.deliver

    def connect(mailbox: str) -> MailboxServer:
        if held or deliver is None:
            raise MailError(held, transient=False)
        from failsafe.adapters.imap import ImapMailbox
        from failsafe.adapters.imap_line import Meter

        user, password_file = login_of(deliver, mailbox)
        limits = app.config.controller
        meter = Meter(limits.limit_download, limits.limit_upload)
        mend = f'check the credential that [domain."{domain}".homecoming] deliver names'
        return ImapMailbox(deliver.endpoint(), user, read_secret(password_file), meter=meter, mend=mend)

    return connect


def scripts(app: App, domain: str) -> Callable[[str], FilterScript]:
    """Reads a mailbox's active filter rules at the primary, where `filter` asks for it; the credential is that of `deliver`."""
    home = app.domain(domain).homecoming

    def read(mailbox: str) -> FilterScript:
        if home is None or home.filter is None or home.deliver is None:
            return FilterScript()
        from failsafe.adapters.managesieve import active_script

        try:
            user, password_file = login_of(home.deliver, mailbox)
            text = active_script(home.filter.endpoint(home.deliver), user, read_secret(password_file))
            return FilterScript() if text is None else FilterScript(parse_script(text))
        except SieveFault as fault:
            return FilterScript(why=f"the script is not understood: {fault}")
        except (ConfigError, ExternalError, SecretError) as error:
            return FilterScript(why=str(error))

    return read


def login_of(deliver: Deliver, mailbox: str) -> tuple[str, Path]:
    """(user, password file). Raises MailError for a mailbox that has none."""
    if deliver.accounts_file is None:
        assert deliver.password_file is not None, "the schema sees to it"
        return f"{mailbox}{deliver.separator}{deliver.master_user}", deliver.password_file
    from failsafe.config.accounts import read_accounts

    file = read_accounts(deliver.accounts_file).get(mailbox)
    if file is None:
        raise MailError(f"{deliver.accounts_file} has no login for {mailbox}", transient=False, credential=True)
    return mailbox, file
