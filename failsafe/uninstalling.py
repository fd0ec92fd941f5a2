"""Every trace that failsafe leaves, from the configuration alone: where it is, and how it is removed. Pure; nothing here removes anything.

Traces outside this machine come first, while its keys still open their places; backups are named and stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from failsafe.config.schema import Config, Dns, Domain, RepositoryTable
from failsafe.config.servers import MailServer
from failsafe.config.vantages import Vantage, stack_of
from failsafe.failover.own_records import lock_name
from failsafe.failover.scratch import DRILL, PROOF, scratch_name

HERE = "this machine"
KINDS = ("first", "server", "dns", "login", "watching", "people", "backup", "here")  # in the order in which they are removed


@dataclass(frozen=True, slots=True)
class Trace:
    """`kind`: one of KINDS. `how`: a command, or what a person does; of a backup, why it stays."""

    kind: str
    place: str
    what: str
    how: str


def traces(config: Config, config_file: Path, failsafe: str = "failsafe") -> tuple[Trace, ...]:
    """`failsafe`: the command, with its --config where it needs one."""
    found = [
        *_first(config, failsafe),
        *_on_servers(config, failsafe),
        *_in_dns(config),
        *_logins(config),
        *_watching(config),
        *_people(config),
        *(_backup(name, table) for name, table in sorted(config.repository.items())),
        *_here(config, config_file),
    ]
    return tuple(sorted(found, key=lambda trace: KINDS.index(trace.kind)))


def _first(config: Config, failsafe: str) -> Iterator[Trace]:
    for name, table in sorted(config.domain.items()):
        home = "" if table.homecoming is None else f", then {failsafe} homecoming {name} until nothing waits"
        yield Trace(
            "first", name, "mail may be going to the secondary", f"{failsafe} status; if so: {failsafe} failback {name}{home}"
        )
    yield Trace(
        "first", HERE, "the daemon", "systemctl disable --now failsafe (or take away the cron line, or stop the container)"
    )


def _on_servers(config: Config, failsafe: str) -> Iterator[Trace]:
    for name, table in sorted(config.mail_server.items()):
        if table.ssh is not None:
            yield _ssh_of(name, table, failsafe)
        if name in config.probe or table.ssh is not None:
            yield Trace(
                "server", name, "this machine's address, where the server's fail2ban was told to ignore it", _unignore(table)
            )
        if table.imap is not None and table.imap.master_user is not None:
            yield Trace(
                "login", name, f"the master user {table.imap.master_user}", f"remove it where {name}'s IMAP server knows it"
            )
        if table.accounts_file is not None:
            yield Trace("login", name, f"the passwords named in {table.accounts_file}", "give those mailboxes new ones")


def _ssh_of(name: str, table: MailServer, failsafe: str) -> Trace:
    host = str(table.ssh).rpartition("@")[2].partition(":")[0]
    what = "the line in authorized_keys, the program, its list, the sudo rule and the user that were made for it"
    return Trace("server", name, what, f"{failsafe} config server {name} --remove | ssh root@{host} sh")


def _unignore(table: MailServer) -> str:
    stack = stack_of(table)
    places = {
        "docker-mailserver": "take it out of ignoreip in docker-data/dms/config/fail2ban-jail.cf, then restart the container",
        "mailcow": "take it off the allowlist in mailcow's panel (System, Configuration, Options, Fail2ban parameters)",
        "mailu": "take it out of AUTH_RATELIMIT_EXEMPTION in mailu.env",
    }
    return places.get(stack.layout, "take it out of ignoreip in /etc/fail2ban/jail.local, then: fail2ban-client reload")


def _in_dns(config: Config) -> Iterator[Trace]:
    for name, table in sorted(config.domain.items()):
        owned = config.dns.get(table.dns or "")
        if owned is not None:
            yield from _records(name, table, owned)
        also = ", ".join(table.secondary)
        yield Trace(
            "dns",
            name,
            f"the secondary in the MX records ({also}), if you give it up too",
            "remove its MX records, and then its SPF, DKIM and verification records",
        )
    for key, owned in sorted(config.dns.items()):
        yield Trace("dns", f"dns.{key}", f"what may write there: {_credential(owned)}", _revoke(owned))


def _records(name: str, table: Domain, owned: Dns) -> Iterator[Trace]:
    where = f"zone {table.zone or name} at {owned.provider}"
    drill = scratch_name(DRILL, name)
    if owned.provider != "rfc2136":
        yield Trace("dns", where, f"TXT {lock_name(name)} and TXT {lock_name(drill)}, failsafe's locks", "remove both records")
    yield Trace(
        "dns",
        where,
        f"MX {drill} and MX {scratch_name(PROOF, name)}, where a drill or a proof was killed",
        "remove them, if they are there",
    )
    if owned.provider == "cloudflare":
        yield Trace(
            "dns", where, 'comments that begin with "failsafe" on MX records', "clear them in the dashboard; they do nothing"
        )


def _credential(owned: Dns) -> str:
    named = {"cloudflare": f"the token in {owned.token_file}", "rfc2136": f"the key {owned.key_name} in {owned.key_file}"}
    return named.get(owned.provider, f"the IAM user's key in {owned.credentials_file}, profile {owned.profile or 'default'}")


def _revoke(owned: Dns) -> str:
    ways = {
        "cloudflare": "delete it in the dashboard: My Profile, API Tokens",
        "rfc2136": f"take the key and its grants out of the configuration of {owned.server}",
        "route53": "aws iam delete-access-key, and the user with its policy if nothing else uses it",
    }
    return ways[owned.provider]


def _logins(config: Config) -> Iterator[Trace]:
    for name, probe in sorted(config.probe.items()):
        accounts = dict.fromkeys(each for each in (probe.recipient, probe.imap.user if probe.imap else None) if each)
        for account in accounts:
            yield Trace("login", name, f"the probe's mailbox {account}", f"delete the account on {name}")
    for _name, canary in sorted(config.canary.items()):
        yield Trace(
            "login",
            canary.smtp.host,
            f"the canary's account {canary.user}, which sends to {canary.to}",
            "delete it there, or its app password",
        )
    for name, table in sorted(config.domain.items()):
        if table.homecoming is not None:
            yield from _homecoming(name, table)


def _homecoming(name: str, table: Domain) -> Iterator[Trace]:
    home = table.homecoming
    assert home is not None
    users = dict.fromkeys([each.user for each in home.accounts] + ([home.catch_all.user] if home.catch_all else []))
    for user in users:
        yield Trace(
            "login",
            home.host,
            f"the password with which {user} is read",
            "revoke it there; make a new one if you use it yourself",
        )
    if home.deliver is not None:
        who = home.deliver.master_user or f"the logins in {home.deliver.accounts_file}"
        yield Trace(
            "login",
            home.deliver.host,
            f"{who}, which delivers what comes home to {name}",
            "remove it, or give those mailboxes new passwords",
        )
    if home.mark is not None:
        yield Trace(
            "login",
            home.host,
            f"marks ({home.mark}) on messages that are home",
            "they do nothing; remove them with your mail program",
        )


def _watching(config: Config) -> Iterator[Trace]:
    by_kind: dict[str, Callable[[str, Vantage], Trace]] = {
        "ssh": lambda name, table: Trace(
            "watching",
            name,
            f"our key's line in authorized_keys of {table.ssh}",
            "remove the line that ends with the comment of our key",
        ),
        "uptimerobot": lambda name, table: Trace(
            "watching",
            name,
            f"UptimeRobot's monitor {table.monitor} and the key in {table.key_file}",
            "delete both at uptimerobot.com",
        ),
        "http": lambda name, table: Trace(
            "watching", name, f"the monitor at {urlsplit(str(table.url)).hostname}", "delete it there, and its key"
        ),
    }
    for name, table in sorted(config.vantage.items()):
        yield by_kind[table.kind](name, table)


def _people(config: Config) -> Iterator[Trace]:
    if config.notify.heartbeat_url_file is not None:
        yield Trace(
            "people",
            "the heartbeat",
            f"the check whose URL is in {config.notify.heartbeat_url_file}",
            "delete it there: it will call you for ever",
        )
    if config.notify.urls_file is not None:
        yield Trace(
            "people", "notices", f"bots, webhooks and topics in {config.notify.urls_file}", "delete or revoke each at its service"
        )
    yield Trace(
        "people",
        "wherever you carried them",
        "recovery kits: each opens every backup",
        "keep one as long as you keep a backup; destroy the others",
    )


def _backup(name: str, table: RepositoryTable) -> Trace:
    access = ""
    if table.environment_file is not None:
        access = f"; {table.environment_file} has the credential to revoke when you need it no more"
    elif table.url.lower().startswith("sftp:"):
        access = "; our key's line in its authorized_keys goes when you need it no more"
    return Trace(
        "backup",
        name,
        f"the repository {table.url}",
        f"STAYS. Keep {table.password_file} as long as it: without it nobody opens it{access}",
    )


def _here(config: Config, config_file: Path) -> Iterator[Trace]:
    yield Trace(
        "here",
        HERE,
        "the program, the command, the unit or the cron line",
        "sh install.sh --remove (or: pipx uninstall failsafe-mail; or: docker compose down)",
    )
    yield Trace(
        "here", HERE, "database, staging (a plain copy of your mail), catalog, caches", f"rm -rf {config.controller.state_dir}"
    )
    yield Trace(
        "here",
        HERE,
        "the configuration and the secrets beside it",
        f"put the repositories' passwords away safely, then: rm -rf {config_file.parent}",
    )
