"""The table of a domain's homecoming: where mail is fetched, and how it gets into the primary."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from failsafe.config.secondaries import CATCH_ALL
from failsafe.config.servers import ImapTable, MailboxName, PinnedTable, Table
from failsafe.config.types import AbsolutePath
from failsafe.model import Endpoint


class Account(Table):
    mailbox: MailboxName
    user: str
    password_file: AbsolutePath


class CatchAll(Table):
    user: str
    password_file: AbsolutePath


class Deliver(ImapTable):
    """The primary's IMAP server, for what comes home: the login of a master user, or one for each mailbox."""

    accounts_file: AbsolutePath | None = None

    @model_validator(mode="after")
    def _gets_in(self) -> Deliver:
        if (self.master_user is None) == (self.accounts_file is None):
            raise ValueError(
                "needs either master_user with password_file, the login of a user who may open every mailbox, "
                "or accounts_file, with a line USER:PASSWORD_FILE for each mailbox"
            )
        return self


class Filter(Table):
    """Where the primary shows people's filter rules (ManageSieve). What is left out is as in `deliver`."""

    host: str | None = None
    port: int = Field(default=4190, gt=0, lt=65536)
    tls: Literal["implicit", "starttls", "none"] = "starttls"
    ca_file: AbsolutePath | None = None
    certificate_sha256: str | None = None

    def endpoint(self, deliver: Deliver) -> Endpoint:
        own = self.model_dump(include={"ca_file", "certificate_sha256"}, exclude_none=True)
        known = own if self.host is not None or own else deliver.model_dump(include={"ca_file", "certificate_sha256"})
        return PinnedTable(host=self.host or deliver.host, port=self.port, tls=self.tls, **known).endpoint()


class Homecoming(PinnedTable):
    accounts: tuple[Account, ...] = ()
    catch_all: CatchAll | None = None
    deliver: Deliver | None = None
    filter: Filter | None = None
    unroutable: str | None = None
    mark: Annotated[str, Field(pattern=r"^(keyword|folder:[^\x00-\x1f]{1,200})$")] | None = None

    @model_validator(mode="after")
    def _has_a_source(self) -> Homecoming:
        if not self.accounts and self.catch_all is None:
            raise ValueError("needs accounts = [{ mailbox, user, password_file }] or catch_all = { user, password_file }")
        names = [account.mailbox.lower() for account in self.accounts]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"accounts: {', '.join(twice)} stands there twice; each mailbox is read with one login")
        if self.filter is not None:
            if self.deliver is None:
                raise ValueError("filter goes with deliver: its login reads people's rules")
            self.filter.endpoint(self.deliver)
        taken = [name for name in names if name.startswith(CATCH_ALL.format(""))]
        if taken and self.catch_all is not None:
            raise ValueError(f"accounts: {taken[0]} is the name under which the mail of the catch_all is archived")
        return self
