"""What stands, from the configuration and the files beside it: for the list of what is left to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from failsafe.errors import FailsafeError
from failsafe.model import Strategy
from failsafe.secondaries.known import provider_of
from failsafe.setting_up.sight import DomainSight
from failsafe.setting_up.steps import DomainStanding, ServerStanding, Standing

if TYPE_CHECKING:
    from failsafe.config.schema import Config, Domain
    from failsafe.config.servers import MailServer

DONE_BY = {
    "password_file": "its password",
    "token_file": "its token",
    "credentials_file": "its access key",
    "environment_file": "its credential",
}


def standing_of(config: Config, file: Path, seen: dict[str, DomainSight], own: tuple[str, str] = ("", "")) -> Standing:
    """`seen`: domains that were looked up in this run. `own`: (user@host, key file), with which a person may do everything on the first mail server."""
    from failsafe.config.find import default_paths

    servers = tuple(
        _server(name, table, own if number == 0 else ("", "")) for number, (name, table) in enumerate(config.mail_server.items())
    )
    probe = next(
        (
            (table.recipient, str(table.imap.password_file))
            for table in config.probe.values()
            if table.recipient is not None and table.imap is not None
        ),
        None,
    )
    first = next(iter(config.repository.values()), None)
    return Standing(
        config=str(file),
        named=file not in default_paths(),
        servers=servers,
        domains=tuple(_domain(name, table, seen.get(name)) for name, table in config.domain.items()),
        password_file="" if first is None else str(first.password_file),
        empty=tuple(_empty(config)),
        new_keys=tuple(
            (table.key_name or "", str(table.server), str(table.key_file))
            for table in config.dns.values()
            if table.provider == "rfc2136"
        ),
        far_keys=tuple((name, str(table.ssh_key)) for name, table in config.repository.items() if table.ssh_key is not None),
        probe=probe,
        repositories=len(config.repository),
        has_vantage=bool(config.vantage),
        has_notices=config.notify.urls_file is not None,
    )


def _server(name: str, table: MailServer, own: tuple[str, str]) -> ServerStanding:
    ssh, known = table.ssh, table.known_hosts
    host = "" if ssh is None else ssh.host
    if ssh is None and table.imap is not None and table.layout == "imap":
        host = table.imap.host
    return ServerStanding(
        name=name,
        layout=table.layout,
        container=table.container or "",
        over_ssh=ssh is not None and table.layout != "imap",
        host=host,
        port=22 if ssh is None else ssh.port,
        shell=(own[0] or f"root@{host}") if host else "",
        look_key=own[1],
        key_is_pinned=ssh is None or known is None or _is_pinned(known, ssh.host, ssh.port),
        master_password=str(table.imap.password_file) if table.imap is not None and table.imap.password_file is not None else "",
        known_hosts="" if known is None else str(known),
    )


def _is_pinned(file: Path, host: str, port: int) -> bool:
    from failsafe.adapters.host_keys import known_keys

    try:
        return bool(known_keys(file, host, port))
    except FailsafeError:
        return False


def _domain(name: str, table: Domain, seen: DomainSight | None) -> DomainStanding:
    return DomainStanding(
        domain=name,
        mode=table.mode,
        strategy=table.strategy,
        provider=provider_of(table.secondary),
        secondary=table.secondary,
        fits=None if seen is None or not seen.mx else fits(table.strategy, table.primary, table.secondary, seen),
        has_dns=table.dns is not None,
    )


def fits(strategy: Strategy, primary: tuple[str, ...], secondary: tuple[str, ...], seen: DomainSight) -> bool:
    """Whether the records are the strategy's peace layout."""
    listed = [name for _preference, name in seen.mx]
    best = min(preference for preference, _name in seen.mx)
    if set(listed) != {*primary, *(secondary if strategy is Strategy.SWAP else ())}:
        return False
    return all(preference > best for preference, name in seen.mx if name in secondary)


def _empty(config: Config) -> Iterator[tuple[str, str]]:
    """Secret files without a line that says something."""
    from failsafe.config.files import secret_files

    told = set()
    for key, path in secret_files(config):
        table, _, name = key.rpartition(".")
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        if path not in told and not any(line.strip() and not line.lstrip().startswith("#") for line in lines):
            told.add(path)
            yield str(path), f"{DONE_BY.get(name, 'the secret')}, for [{table}]"
