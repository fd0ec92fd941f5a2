"""The primary as a homecoming meets it: its mailboxes, and people's filter rules, by the credential of `deliver`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from failsafe.app import App
from failsafe.config.homecomings import Deliver
from failsafe.errors import ConfigError, ExternalError, MailError, SecretError
from failsafe.homecoming.filtering import FilterScript
from failsafe.logins import LoginMemory
from failsafe.mail.sieve.parse import SieveFault, parse_script
from failsafe.ports import MailboxServer
from failsafe.secrets import read_secret

RULES = " (ManageSieve)"  # a login of its own: people may be let in there and not at their mailboxes


def connector(app: App, domain: str, held: str = "") -> Callable[[str], MailboxServer]:
    """Opens mailboxes of the primary with the credential of `deliver`; its files are read anew each time."""
    home = app.domain(domain).homecoming
    deliver = None if home is None else home.deliver
    memory = None if deliver is None else login_memory(app, domain, deliver)

    def connect(mailbox: str) -> MailboxServer:
        if held or deliver is None or memory is None:
            raise MailError(held, transient=False)
        from failsafe.adapters.imap import ImapMailbox
        from failsafe.adapters.imap_line import Meter

        user, password_file = login_of(deliver, mailbox)
        limits = app.config.controller
        meter = Meter(limits.limit_download, limits.limit_upload)
        mend = f'check the credential that [domain."{domain}".homecoming] deliver names'
        endpoint, password = deliver.endpoint(), read_secret(password_file)
        return memory.attempt(user, password_file, lambda: ImapMailbox(endpoint, user, password, meter=meter, mend=mend), mend)

    return connect


def scripts(app: App, domain: str) -> Callable[[str], FilterScript]:
    """Reads a mailbox's active filter rules at the primary, where `filter` asks for it; the credential is that of `deliver`."""
    home = app.domain(domain).homecoming
    memory = None if home is None or home.deliver is None else login_memory(app, domain, home.deliver)

    def read(mailbox: str) -> FilterScript:
        if home is None or home.filter is None or home.deliver is None or memory is None:
            return FilterScript()
        from failsafe.adapters.managesieve import active_script

        try:
            user, password_file = login_of(home.deliver, mailbox)
            endpoint, password = home.filter.endpoint(home.deliver), read_secret(password_file)
            mend = "the login of `deliver` must be let in there too"
            text = memory.attempt(f"{user}{RULES}", password_file, lambda: active_script(endpoint, user, password), mend)
            return FilterScript() if text is None else FilterScript(parse_script(text))
        except SieveFault as fault:
            return FilterScript(why=f"the script is not understood: {fault}")
        except (ConfigError, ExternalError, SecretError) as error:
            return FilterScript(why=str(error))

    return read


def login_memory(app: App, domain: str, deliver: Deliver) -> LoginMemory:
    """Of its credential: shared by deliveries and the doctor."""
    return LoginMemory(app, f"deliver {domain}", deliver.endpoint())


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
