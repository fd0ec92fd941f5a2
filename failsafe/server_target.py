"""The machine that a whole server is restored to: how it is reached for this run, whether it is believed, where mail lies on it, how its services do."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from failsafe.adapters.host_keys import HostKey, known_keys, name_of, replace_key, shown_key
from failsafe.adapters.ssh import known_hosts_file
from failsafe.app import App
from failsafe.backup.layouts import Sight, judge_source
from failsafe.backup.server_plan import Placing
from failsafe.backup.source import open_source
from failsafe.config.types import SshTarget, parse_ssh
from failsafe.config.wanted import wanted_of
from failsafe.errors import ExternalError, HostKeyError, Refused, UsageError
from failsafe.model import ProbeClass
from failsafe.ports import MailHost

MAILDIR = {"mailcow": "Maildir"}  # layouts whose Maildir is a folder of the user's home
SMTP_PORT = 25


@dataclass(frozen=True, slots=True)
class Stranger:
    """A host key that is not known for this address. `before`: what is known instead."""

    address: str
    key: HostKey
    before: tuple[HostKey, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """`ssh` None: this machine. `stranger`: its key is kept once the restore has succeeded."""

    ssh: SshTarget | None
    key: Path | None = None
    known_hosts: Path | None = None  # for this run alone
    stored_in: Path | None = None  # where the key goes afterwards
    stranger: Stranger | None = None

    @property
    def name(self) -> str:
        return "this machine" if self.ssh is None else str(self.ssh)

    def host(self, app: App, server: str) -> MailHost:
        """Where the configuration's own key is never used: what is stored here may only read there."""
        return self.app(app, server).mail_host(server)

    def app(self, app: App, server: str) -> App:
        """The same controller, that believes the server to be here."""
        if self.ssh is None:
            return app
        table = app.server(server).model_copy(update={"ssh": self.ssh, "ssh_key": self.key, "known_hosts": self.known_hosts})
        config = app.config.model_copy(update={"mail_server": {**app.config.mail_server, server: table}})
        return App(config, app.config_file)


def reach(
    app: App, server: str, ssh: str | None, key: Path | None, workroom: Path, believe: Callable[[Stranger], None]
) -> Target:
    """`believe` returns if a person says that this key is the right one, and raises otherwise. Raises UsageError, SshError."""
    table = app.server(server)
    if ssh is None:
        if table.ssh is not None:
            raise UsageError(
                f"what is stored here for {server} may only read there; writing takes a login for this run",
                mend=f"say --ssh root@{table.ssh.host} (or the new machine's address) and --ssh-key FILE",
            )
        return Target(None)
    try:
        place = parse_ssh(ssh)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if key is not None and not key.is_file():
        raise UsageError(f"there is no key at {key}", mend="--ssh-key names the private key of the login given by --ssh")
    stored = known_hosts_file(table.known_hosts)
    shown = shown_key(place.host, place.port, _kinds(stored, place))
    known = _known(stored, place)
    stranger = None if shown in known else Stranger(f"{place.host}:{place.port}", shown, known)
    if stranger is not None:
        believe(stranger)
    own = workroom / "known_hosts"
    own.write_text(f"{name_of(place.host, place.port)} {shown.line}\n")
    return Target(place, key, own, stored, stranger)


def _kinds(file: Path, place: SshTarget) -> tuple[str, ...]:
    return tuple(key.kind for key in _known(file, place))


def _known(file: Path, place: SshTarget) -> tuple[HostKey, ...]:
    return known_keys(file, place.host, place.port) if file.exists() else ()


def keep_host_key(target: Target) -> str:
    """After success: the new key stands in known_hosts, the file as it was lies beside it. Gives a sentence; "" where nothing was new."""
    if target.stranger is None or target.stored_in is None or target.ssh is None:
        return ""
    file, key = target.stored_in, target.stranger.key
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600))
    kept = replace_key(file, target.ssh.host, target.ssh.port, key)
    return f"{file} now has {key.kind} {key.fingerprint} for {target.stranger.address}; the file as it was: {kept}"


def judge_answer(stranger: Stranger, told: str | None) -> None:
    """--host-key against what the machine shows. Raises Refused where it is another one."""
    if told is not None and told != stranger.key.fingerprint:
        raise Refused(
            f"{stranger.address} shows {stranger.key.kind} {stranger.key.fingerprint}, not {told}",
            mend="compare on the machine's own console: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
        )


# ---------------------------------------------------------------- where mail lies there


def find_root(app: App, server: str, host: MailHost, mail_root: str | None) -> tuple[str, str]:
    """(folder of mailboxes, naming). Raises UsageError where only a container that is not there yet could tell."""
    wanted = wanted_of(app.server(server))
    source = judge_source(wanted, Sight())
    if mail_root is not None:
        return mail_root.rstrip("/"), source.reach.naming
    if source.reach.root:
        return source.reach.root.rstrip("/"), source.reach.naming
    try:
        with open_source(host, wanted) as (_, found):
            return found.reach.root.rstrip("/"), found.reach.naming
    except HostKeyError:
        raise
    except ExternalError as error:
        raise UsageError(
            f"where mail lies on {host.name} is not known yet: {error}",
            mend="create the containers there without starting them (docker compose up --no-start), or say --mail-root FOLDER, the "
            "folder or volume that is to hold the mailboxes",
        ) from error


def find_placing(app: App, server: str, naming: str, maildir: str | None) -> Placing:
    """Whether a mailbox is DOMAIN/USER or its folder Maildir: as said, as the layout has it, or as the last pull found it."""
    layout = app.server(server).layout
    base = maildir if maildir is not None else MAILDIR.get(layout, "")
    if maildir is None and layout == "maildir" and _had_folder_maildir(app.inventory_file(server)):
        base = "Maildir"
    return Placing(naming, base.strip("/"))


def _had_folder_maildir(inventory: Path) -> bool:
    import sqlite3

    if not inventory.exists():
        return False
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(f"file:{inventory}?mode=ro", uri=True)) as db:
        rows = db.execute("SELECT 1 FROM file WHERE origin LIKE 'mailbox:%' AND CAST(path AS TEXT) LIKE 'Maildir/%' LIMIT 1")
        return rows.fetchone() is not None
    return False


# ---------------------------------------------------------------- its services


@dataclass(frozen=True, slots=True)
class Service:
    """What a probe of ours saw. `good` None: nobody looked."""

    name: str
    good: bool | None
    text: str

    def to_json(self) -> dict[str, object]:
        return {"service": self.name, "ok": self.good, "text": self.text}


def probe_services(app: App, server: str, target: Target) -> Iterator[Service]:
    """SMTP on the new address itself; IMAP by its name, once that leads there. Both as the daemon probes them."""
    probe = app.config.probe.get(server)
    yield _smtp(app, server, target)
    if probe is None or probe.imap is None:
        yield Service("imap", None, f"[probe.{server}] has no imap: nobody looked")
        return
    if not leads_there(probe.imap.host, target):
        yield Service(
            "imap", None, f"{probe.imap.host} does not lead to {target.name} yet: look again when DNS does (failsafe doctor)"
        )
        return
    from failsafe.adapters.imap_probe import ImapProbe

    seen = ImapProbe(server, probe.imap.endpoint(), probe.imap.user, str(probe.imap.password_file)).probe(app.clock.now())
    yield Service("imap", seen.seen is ProbeClass.UP, seen.text)


def _smtp(app: App, server: str, target: Target) -> Service:
    probe = app.config.probe.get(server)
    primaries = [name for domain in app.config.domain.values() if domain.server == server for name in domain.primary]
    ports = {address.port for address in probe.smtp} if probe is not None and probe.smtp else {SMTP_PORT} if primaries else set()
    if not ports:
        return Service("smtp", None, f"neither [probe.{server}] nor a domain says where its SMTP server is: nobody looked")
    from failsafe.adapters.smtp import SmtpProbe

    host = "127.0.0.1" if target.ssh is None else target.ssh.host
    bracketed = f"[{host}]" if ":" in host else host
    recipient, helo = (None, None) if probe is None else (probe.recipient, probe.helo)
    ca_file = None if probe is None or probe.ca_file is None else str(probe.ca_file)
    look = SmtpProbe(server, [f"{bracketed}:{port}" for port in sorted(ports)], recipient, helo, ca_file=ca_file).look()
    return Service("smtp", look.seen in (ProbeClass.UP, ProbeClass.GREYLISTED), f"{look.seen}: {look.text}")


def leads_there(name: str, target: Target) -> bool:
    """Whether a name has an address of the target; this machine is where every loopback address leads."""
    host = "localhost" if target.ssh is None else target.ssh.host
    return bool(addresses_of(name) & addresses_of(host))


def addresses_of(name: str) -> frozenset[str]:
    try:
        found = frozenset(str(row[4][0]) for row in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM))
    except OSError:
        return frozenset()
    return found | {"127.0.0.1", "::1"} if found & {"127.0.0.1", "::1"} else found
