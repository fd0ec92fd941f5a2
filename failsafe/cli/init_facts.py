"""setting_up.Facts from the world: DNS, SSH, this machine's disks. Each bounded in time; what cannot be found out is said, not raised."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from failsafe.errors import ConfigError, FailsafeError
from failsafe.secondaries.known import known_providers
from failsafe.secondaries.provider import SecondaryProvider
from failsafe.setting_up.choice import HostKeyChoice
from failsafe.setting_up.sight import Disk, DomainSight, SecondarySight, ServerSight

if TYPE_CHECKING:
    from failsafe.dns_ports import Lookups

KINDS = ("ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512")
LOCAL_KINDS = {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "jfs", "reiserfs", "overlay"}
SMALL = 1 << 30  # bytes: a file system below is no place for mail
CLOUDFLARE_SECONDS = 15.0
WHOLE_SECONDS = 30.0  # for everything that is asked of DNS


class World:
    """`known_hosts`: the file beside the configuration, which may not be there yet. `look_key`: the person's own key, None for agent and ~/.ssh."""

    def __init__(
        self, known_hosts: Path, resolver: str = "", look_key: Path | None = None, cloudflare: str | None = None
    ) -> None:
        """`cloudflare`: its API's address, for tests."""
        self._known_hosts, self._resolver, self._look_key, self._cloudflare = known_hosts, resolver, look_key, cloudflare
        self._lookups: Lookups | None = None

    # -- DNS -------------------------------------------------------------------------------------------------------------

    def domain(self, domain: str) -> DomainSight:
        ask = self._names.ask
        mx, servers, texts = ask(domain, "MX"), ask(domain, "NS"), ask(domain, "TXT")
        zone = domain
        while not servers.records and not servers.error and zone.count(".") > 1:  # a domain below the zone's own name
            zone = zone.partition(".")[2]
            servers = ask(zone, "NS")
        pairs = (record.partition(" ") for record in mx.records)
        found = sorted((int(preference), name) for preference, _, name in pairs if name != ".")
        return DomainSight(domain, tuple(found), servers.records, texts.records, mx.error)

    def providers(self) -> Sequence[SecondaryProvider]:
        return known_providers()

    def secondary(self, provider: SecondaryProvider, exchanges: Sequence[str], seen: DomainSight) -> SecondarySight:
        ask = self._names.ask
        found = {name: [ask(name, kind) for kind in ("A", "AAAA")] for name in exchanges}
        lost = tuple(name for name, rows in found.items() if not any(row.records or row.error for row in rows))
        verification, verified = provider.verification.value, None
        if verification is not None and verification.is_needed:
            shown = ask(verification.place(seen.domain), "TXT")
            verified = None if shown.error else any(text.startswith(verification.prefix) for text in shown.records)
        spf = next((text.lower() for text in seen.texts if text.lower().startswith("v=spf1")), None)
        include = provider.spf_include.value
        return SecondarySight(lost, verified, None if spf is None or not include else f"include:{include}" in spf.split())

    @property
    def _names(self) -> Lookups:
        if self._lookups is None:
            from failsafe.adapters.lookups import NameLookups

            self._lookups = NameLookups(self._resolver, whole_seconds=WHOLE_SECONDS)
        return self._lookups

    def zone_id(self, token_file: str, domain: str) -> str:
        from failsafe.adapters.cloudflare_api import CloudflareApi

        api = CloudflareApi("", token_file, self._cloudflare, CLOUDFLARE_SECONDS)
        try:
            with api.client() as client:
                zones = api.zones(client)
        except FailsafeError:
            return ""
        known = {name: zone_id for zone_id, name in zones.items()}
        labels = domain.split(".")
        return next((found for place in range(len(labels) - 1) if (found := known.get(".".join(labels[place:])))), "")

    # -- the mail server -------------------------------------------------------------------------------------------------

    def host_key(self, host: str, port: int) -> HostKeyChoice | str:
        from failsafe.adapters.host_keys import name_of, shown_key

        try:
            key = shown_key(host, port, KINDS)
        except FailsafeError as error:
            return str(error)
        return HostKeyChoice(name_of(host, port), key.line, key.fingerprint)

    def pinned(self, name: str) -> tuple[str, ...]:
        return _fingerprints(self._known_hosts, name)

    def known_elsewhere(self, name: str, fingerprint: str) -> bool:
        return fingerprint in _fingerprints(Path("~/.ssh/known_hosts").expanduser(), name)

    def look(self, login: str, folders: Sequence[str], key: HostKeyChoice | None) -> ServerSight:
        from failsafe.adapters.server_look import look_at_server

        if not login:
            from failsafe.adapters.local import LocalHost

            return look_at_server(LocalHost(), folders)
        from failsafe.adapters.ssh import SshHost, parse_address

        with tempfile.TemporaryDirectory(prefix="failsafe-init-") as folder:
            trusted = self._known_hosts
            if key is not None and key.line:
                trusted = Path(folder, "known_hosts")
                trusted.write_text(f"{_name(login)} {key.line}\n", encoding="utf-8")
            user, host, _port = parse_address(login)
            return look_at_server(SshHost(f"{user}@{host}", login, self._look_key, trusted), folders)

    # -- this machine ----------------------------------------------------------------------------------------------------

    def disk(self, path: str) -> Disk:
        from failsafe.store.file_systems import NETWORK_FILE_SYSTEMS, file_system_of

        there = _nearest(Path(path))
        usage = shutil.disk_usage(there)
        place = there
        while place.parent != place and place.parent.stat().st_dev == place.stat().st_dev:
            place = place.parent
        kind = file_system_of(there)
        return Disk(path, str(place), kind, usage.free, usage.total, kind in NETWORK_FILE_SYSTEMS)

    def roomiest(self) -> Sequence[Disk]:
        found: dict[int, Disk] = {}
        for place in _mounts():
            try:
                device, usage = Path(place).stat().st_dev, shutil.disk_usage(place)
            except OSError:
                continue
            if usage.total >= SMALL and device not in found and os.access(place, os.W_OK):
                found[device] = self.disk(place)
        return sorted(found.values(), key=lambda disk: -disk.free)

    def fault_of(self, path: str) -> str:
        there = _nearest(Path(path))
        if not there.is_dir():
            return f"{there} is no folder"
        return "" if os.access(there, os.W_OK | os.X_OK) else f"{there} may not be written by this user"

    def accounts_fault(self, file: str) -> str:
        from failsafe.config.accounts import read_accounts

        if not file.startswith("/"):
            return f"“{file}” is no whole path"
        try:
            read_accounts(Path(file))
        except (ConfigError, FailsafeError) as error:
            return str(error).replace("\n", ";")
        return ""

    def is_there(self, file: str) -> bool:
        return Path(file).exists()


def _nearest(path: Path) -> Path:
    """The folder itself, or the one above it that is there."""
    return next(place for place in (path, *path.parents) if place.exists())


def _mounts() -> list[str]:
    """Where file systems of this machine's own disks are mounted."""
    try:
        lines = Path("/proc/self/mounts").read_text(errors="replace").splitlines()[:2000]
    except OSError:
        return ["/"]
    rows = [line.split(" ") for line in lines]
    return [row[1].replace("\\040", " ") for row in rows if len(row) > 2 and row[2] in LOCAL_KINDS]


def _name(login: str) -> str:
    from failsafe.adapters.host_keys import name_of
    from failsafe.adapters.ssh import parse_address

    _user, host, port = parse_address(login)
    return name_of(host, port)


def _fingerprints(file: Path, name: str) -> tuple[str, ...]:
    from failsafe.adapters.host_keys import known_keys

    host, port = name, 22
    if name.startswith("["):
        host, _, number = name[1:].rpartition("]:")
        port = int(number)
    try:
        return tuple(key.fingerprint for key in known_keys(file, host, port))
    except FailsafeError:
        return ()
