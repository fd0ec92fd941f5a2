"""The composition root: configuration -> adapters -> runners. The only module that knows everyone; it decides nothing.

Every heavy library is imported inside the method that needs it: `failsafe status` must not pay for SSH or a DNS provider's SDK.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from datetime import tzinfo
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from failsafe.clock import SystemClock
from failsafe.config.schema import Config, Dns, Domain, MailServer
from failsafe.config.secondaries import SecondaryServer, domain_of
from failsafe.errors import UsageError
from failsafe.events import Event
from failsafe.secrets import Secret, read_environment, read_secret

if TYPE_CHECKING:
    from failsafe.adapters.imap_login import Login
    from failsafe.adapters.restic import ResticRepository
    from failsafe.backup.archive.staging import Staging
    from failsafe.bucket import Bucket
    from failsafe.ports import Authorities, DnsZone, MailHost, MailSource, Notifier, ProviderZone
    from failsafe.store.duties import DutyStore
    from failsafe.store.engine import Store
    from failsafe.store.events import EventStore
    from failsafe.store.glance import Glance
    from failsafe.store.history import HistoryStore
    from failsafe.store.homecomings import HomecomingStore
    from failsafe.store.lease import LeaseStore
    from failsafe.store.vitals import VitalsStore


LOOK_SILENCE = 40.0  # seconds without a byte over SSH end a look, whose longest question takes 30: a daemon that is told to stop waits for its looks
HOLDER = "holder"  # below state_dir, where this machine took over from a lost one


class App:
    """One controller: its configuration and, made on first use, everything that acts for it."""

    def __init__(self, config: Config, config_file: Path) -> None:
        self.config = config
        self.config_file = config_file
        self.clock = SystemClock()
        self.ahead: dict[str, MailHost] = {}  # where a login was begun already

    # -- places ----------------------------------------------------------------------------------------------------------

    @property
    def state_dir(self) -> Path:
        return self.config.controller.state_dir

    @property
    def catalog_file(self) -> Path:
        return self.state_dir / "catalog.sqlite"

    @property
    def restic_cache(self) -> Path:
        return self.state_dir / "cache" / "restic"

    @property
    def holder(self) -> str:
        """The name under which this machine holds the lease: its id; after a takeover more than that, since the lost machine has the same id."""
        try:
            return (self.state_dir / HOLDER).read_text(encoding="utf-8").strip() or self.config.controller.id
        except OSError:
            return self.config.controller.id

    def staging_folder(self, server: str) -> Path:
        return self.state_dir / "staging" / _file_name(server)

    def inventory_file(self, server: str) -> Path:
        return self.state_dir / "inventory" / f"{_file_name(server)}.sqlite"

    def proofs_file(self, server: str) -> Path:
        return self.state_dir / "proofs" / f"{_file_name(server)}.json"

    def lock_file(self, name: str) -> Path:
        """Locks live in one folder; the kernel releases them when their holder dies."""
        return self.state_dir / "locks" / f"{_file_name(name)}.lock"

    @cached_property
    def time_zone(self) -> tzinfo:
        from zoneinfo import ZoneInfo

        if self.config.controller.time_zone is not None:
            return ZoneInfo(self.config.controller.time_zone)
        with suppress(OSError, ValueError), Path("/etc/localtime").open("rb") as file:
            return ZoneInfo.from_file(file, key="local")  # knows summer time, where today's offset alone would be an hour off
        local = self.clock.now().astimezone().tzinfo
        assert local is not None
        return local

    # -- store -----------------------------------------------------------------------------------------------------------

    @cached_property
    def store(self) -> Store:
        """The database with exactly this version's schema; an empty one is set up, another schema is SchemaMismatch."""
        store = self.unchecked_store
        if store.revision() is None:
            store.upgrade(self.clock.now())
        store.require_current()
        return store

    @cached_property
    def unchecked_store(self) -> Store:
        """For those who migrate: `run`, `tick` and `db upgrade`."""
        from failsafe.store.engine import Store

        controller = self.config.controller
        if controller.database == "sqlite":
            return Store.sqlite(self.state_dir / "failsafe.sqlite")
        file = controller.database_password_file
        return Store(controller.database, password=None if file is None else lambda: read_secret(file))

    def glance(self) -> Glance:
        """What is known of duties, repositories and domains, read at once; an SQLite database is read without SQLAlchemy, which takes long to load."""
        from failsafe.store.glance import glance_file, glance_store

        if self.config.controller.database == "sqlite":
            return glance_file(self.state_dir / "failsafe.sqlite")
        return glance_store(self.store)

    @cached_property
    def events(self) -> EventStore:
        from failsafe.store.events import EventStore

        return EventStore(self.store)

    @cached_property
    def duties(self) -> DutyStore:
        from failsafe.store.duties import DutyStore

        return DutyStore(self.store)

    @cached_property
    def leases(self) -> LeaseStore:
        from failsafe.store.lease import LeaseStore

        return LeaseStore(self.store)

    @cached_property
    def history(self) -> HistoryStore:
        from failsafe.store.history import HistoryStore

        return HistoryStore(self.store)

    @cached_property
    def homecomings(self) -> HomecomingStore:
        from failsafe.store.homecomings import HomecomingStore

        return HomecomingStore(self.store)

    @cached_property
    def vitals(self) -> VitalsStore:
        from failsafe.store.vitals import VitalsStore

        return VitalsStore(self.store)

    def record(self, event: Event) -> None:
        """One event: a row (with its notice in the outbox) and a log line."""
        from failsafe.logs import get_log

        self.events.record(event)
        get_log().info(event.name, subject=event.subject, text=event.text)

    # -- servers and repositories ----------------------------------------------------------------------------------------

    def server(self, name: str) -> MailServer:
        try:
            return self.config.mail_server[name] if name in self.config.mail_server else self.config.archived[name]
        except KeyError:
            raise UsageError(
                f"there is no [mail_server.{name}] in {self.config_file}", mend=_known(self.config.archived)
            ) from None

    def archived_servers(self) -> tuple[str, ...]:
        """Mail servers, and secondaries of which anything was gathered: before that a homecoming has no part in what is asked of all archives."""
        gathered = [
            name for name in self.config.archived if name not in self.config.mail_server and self.inventory_file(name).exists()
        ]
        return (*sorted(self.config.mail_server), *sorted(gathered))

    def mail_host(self, name: str, *, silence: float = 120.0) -> MailHost:
        """The machine that holds this server's mail: over SSH, or this one. After `silence` seconds without a byte a connection counts as dead."""
        if name in self.ahead:
            return self.ahead[name]
        server = self.server(name)
        if server.ssh is None:
            from failsafe.adapters.local import LocalHost

            return LocalHost(name)
        from failsafe.adapters.ssh import SshHost

        return SshHost(
            name,
            str(server.ssh),
            key=server.ssh_key,
            known_hosts=server.known_hosts,
            limit_download=self.config.controller.limit_download,
            limit_upload=self.config.controller.limit_upload,
            silence_deadline=silence,
        )

    def ssh_place(self, name: str) -> tuple[tuple[str, int], Path]:
        """((host, port), the known_hosts file that its key stands in)."""
        server = self.server(name)
        if server.ssh is None:
            raise UsageError(f"{name} is this machine: no SSH host key is asked for")
        from failsafe.adapters.ssh import known_hosts_file, parse_address

        _user, host, port = parse_address(str(server.ssh))
        return (host, port), known_hosts_file(server.known_hosts)

    def mail_source(self, name: str, *, again: bool = False) -> MailSource | None:
        """Where this server's mailboxes are read over IMAP; None where its files are read. `again`: logins that were refused are tried all the same."""
        server = self.server(name)
        if server.layout == "imap":
            from failsafe.adapters.imap_login import LoginSource
            from failsafe.logins import LoginMemory, SparingSource

            assert server.imap is not None, "the schema sees to it"
            table = f"mail_server.{name}" if domain_of(name) is None else f'domain."{domain_of(name)}".homecoming'
            mend = f"check the user's password file; [{table}] says where it is"
            limit = self.config.controller.limit_download
            endpoint = server.imap.endpoint()
            source = LoginSource(name, endpoint, lambda: _logins(server), limit=limit, mend=mend)
            memory = LoginMemory(self, name, endpoint, again=again)
            return SparingSource(source, memory, lambda mailbox: _logins(server)[mailbox], mend)
        if server.read == "doveadm":
            from failsafe.adapters.imap_login import DoveadmSource

            prefix = () if server.container is None else ("docker", "exec", "-i", server.container)
            return DoveadmSource(self.mail_host(name), prefix, server.mailboxes)
        return None

    def staging(self, server: str) -> Staging:
        from failsafe.backup.archive.staging import Staging

        return Staging.open(self.staging_folder(server), server)

    def repository(
        self, name: str, *, environment_file: Path | None = None, alone: bool = False, cache_dir: Path | None = None
    ) -> ResticRepository:
        """`environment_file` replaces the everyday credential, for restores and maintenance; `alone`: not with others at the same time.

        `cache_dir`: of restic, instead of the one that it always has, which may know what the repository has lost.
        """
        from failsafe.adapters.restic import ResticRepository

        try:
            table = self.config.repository[name]
        except KeyError:
            raise UsageError(
                f"there is no [repository.{name}] in {self.config_file}", mend=_known(self.config.repository)
            ) from None
        credentials = environment_file or table.environment_file
        known = self.glance().by("repository_state", "repository").get(name)
        controller = self.config.controller
        bucket = self.bucket(name)
        return ResticRepository(
            name,
            table.url,
            password=lambda: read_secret(table.password_file),
            environment=_environment(credentials),
            cache_dir=cache_dir or self.restic_cache,
            limit_upload=table.limit_upload or self._share(name, controller.limit_upload, alone=alone),
            limit_download=table.limit_download or self._share(name, controller.limit_download, alone=alone),
            expected_id=(known["restic_id"] or None) if known is not None else None,
            ssh_key=table.ssh_key,
            known_hosts=table.known_hosts,
            count=None if bucket is None else bucket.count,
        )

    def _share(self, name: str, whole: int | None, *, alone: bool) -> int | None:
        """Of the line's limit, for a repository across it: each has a job of its own, so any number may be at work at the same time."""
        if whole is None or not self.is_far(name):
            return None
        return whole if alone else max(1, whole // sum(self.is_far(each) for each in self.config.repository))

    def bucket(self, name: str) -> Bucket | None:
        """The place of a repository on S3, seen with its everyday credential; None where it lies elsewhere."""
        from failsafe.adapters.s3 import S3Bucket, parse_place

        table = self.config.repository[name]
        place = parse_place(table.url)
        return None if place is None else S3Bucket(name, place, _environment(table.environment_file))

    def is_far(self, name: str) -> bool:
        """Whether a repository lies across a network, where one request may take days: it is served by a job of its own."""
        from failsafe.store.file_systems import NETWORK_FILE_SYSTEMS, file_system_of

        table = self.config.repository[name]
        return not table.is_path or file_system_of(Path(table.url.removeprefix("local:")), ask=False) in NETWORK_FILE_SYSTEMS

    def hold_repository(self, name: str, what: str, *, wait_seconds: float = 0.0) -> AbstractContextManager[None]:
        """One of failsafe's own jobs at a time in a repository: snapshot, forget, prune, check. Raises LockBusy while another one is at it."""
        from failsafe.adapters.lock import FileLock

        return FileLock(self.lock_file(f"repository:{name}"), what).hold(wait_seconds=wait_seconds)

    # -- DNS -------------------------------------------------------------------------------------------------------------

    def domain(self, name: str) -> Domain:
        try:
            return self.config.domain[name]
        except KeyError:
            raise UsageError(f'there is no [domain."{name}"] in {self.config_file}', mend=_known(self.config.domain)) from None

    def zone(self, domain: str) -> DnsZone | None:
        """As `provider`, for those who only read and write MX records."""
        return self.provider(domain)

    def provider(self, domain: str) -> ProviderZone | None:
        """The provider's adapter; None where the domain names no `dns` (then people make the change).

        One for the life of this program: it remembers what it read last, to notice who else touched it.
        """
        table = self.domain(domain)
        if table.dns is None:
            return None
        if domain not in self._zones:
            self._zones[domain] = _zone(self.config.dns[table.dns], table)
        return self._zones[domain]

    def authorities(self, domain: str) -> Authorities:
        """One for the life of this program: it remembers the delegated servers, for when our resolver fails."""
        from failsafe.adapters.resolver import AuthoritativeServers

        table = self.domain(domain)
        if domain not in self._authorities:
            servers = tuple(str(server) for server in table.nameservers)
            self._authorities[domain] = AuthoritativeServers(zone=table.zone, nameservers=servers)
        return self._authorities[domain]

    @cached_property
    def _zones(self) -> dict[str, ProviderZone]:
        return {}

    @cached_property
    def _authorities(self) -> dict[str, Authorities]:
        return {}

    # -- people ----------------------------------------------------------------------------------------------------------

    def notifier(self) -> Notifier | None:
        """None where [notify] names no urls_file."""
        if self.config.notify.urls_file is None:
            return None
        from failsafe.adapters.notify import AppriseNotifier

        return AppriseNotifier(self.config.notify.urls_file, controller=self.config.controller.id, zone=self.time_zone)


def _zone(table: Dns, domain: Domain) -> ProviderZone:
    """Each provider is one module of its own name, with `make_zone` (docs/adding-a-provider.md)."""
    from importlib import import_module

    ttl = None if domain.ttl is None else int(domain.ttl.total_seconds())
    made: ProviderZone = import_module(f"failsafe.adapters.{table.provider}").make_zone(table, ttl)
    return made


def _logins(server: MailServer) -> dict[str, Login]:
    """How each mailbox is opened, by mailbox; files are read anew each time."""
    from failsafe.adapters.imap_login import Login
    from failsafe.config.accounts import read_accounts

    if isinstance(server, SecondaryServer):
        return {each.mailbox: Login(each.user, each.password_file) for each in server.logins}
    if server.accounts_file is not None:
        return {mailbox: Login(mailbox, file) for mailbox, file in read_accounts(server.accounts_file).items()}
    imap = server.imap
    assert imap is not None and imap.password_file is not None, "the schema sees to it"
    user = f"{imap.separator}{imap.master_user}"
    return {mailbox: Login(mailbox + user, imap.password_file) for mailbox in server.mailboxes}


def _environment(file: Path | None) -> Callable[[], dict[str, Secret]]:
    return lambda: {} if file is None else read_environment(file)


def _file_name(name: str) -> str:
    """A name of the configuration as a file name ("example.org:secondary" has a colon)."""
    return "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name)


def _known(tables: dict[str, object] | object) -> str:
    names = ", ".join(sorted(tables)) if isinstance(tables, dict) else ""
    return f"configured are: {names}" if names else "none is configured"
