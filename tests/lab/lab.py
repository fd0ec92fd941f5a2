"""The lab: five hosts on one bridge, ready to be broken."""

import base64
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from tests.lab.dnshost import DnsHost
from tests.lab.host import Host
from tests.lab.mailhost import MailHost
from tests.lab.names import ADDRESSES, CA_FILE, DOMAIN, MX_NAMES, MX_PRIMARY, RESOLVER
from tests.lab.nas import Nas
from tests.lab.pki import Authority, ssh_key_pair
from tests.lab.sender import Sender
from tests.lab.world import World
from tests.support import AS_ON_A_SERVER

SSHD = f"""\
HostKey /etc/ssh/ssh_host_ed25519_key
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM no
UseDNS no
Subsystem sftp internal-sftp
{AS_ON_A_SERVER}
"""


class Lab:
    """Use as a context manager, or call up() and down()."""

    def __init__(self, layout: str = "maildir++") -> None:
        """`layout`: how both Dovecots lay folders on disk, "maildir++" or "fs"."""
        self.layout = layout
        self._cuts: set[tuple[str, str]] = set()
        self.authority = Authority()
        self.world = World({name: _addresses(name) for name in ADDRESSES})
        self.primary = MailHost(self.world, "primary")
        self.secondary = MailHost(self.world, "secondary")
        self.sender = Sender(self.world, "sender")
        self.nas = Nas(self.world, "nas")
        self.dns = DnsHost(self.world, "dns")
        self.hosts: dict[str, Host] = {
            host.name: host for host in (self.primary, self.secondary, self.sender, self.nas, self.dns)
        }

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    def up(self) -> None:
        """Build everything and wait until it answers; a few seconds. Call it from the main thread: the kernel
        ends the world together with the thread that made it.
        """
        self.world.up()
        try:
            self._install()
        except BaseException:
            self.down()
            raise

    def down(self) -> None:
        """End every process and forget every disk."""
        self.world.down()
        for host in self.hosts.values():
            host.forget()

    def _install(self) -> None:
        authority = self.authority
        nas_key, nas_public = ssh_key_pair()
        host_keys = {name: ssh_key_pair() for name in ADDRESSES}
        secret = base64.b64encode(os.urandom(32)).decode()
        known_hosts = "".join(f"{','.join(_names(name))} {public}\n" for name, (_, public) in host_keys.items())

        def common(host: Host) -> None:
            host.boot()
            host.write("/etc/hosts", f"127.0.0.1 localhost\n{host.address} {host.name}\n")
            host.write("/etc/hostname", f"{host.name}\n")
            host.sh("rm -f /etc/resolv.conf")  # it may be a link that leads nowhere in here
            host.write("/etc/resolv.conf", f"nameserver {RESOLVER}\noptions timeout:2 attempts:2\n")
            host.write(CA_FILE, authority.pem)
            host.sh("rm -rf /etc/ssh/sshd_config.d /etc/ssh/ssh_host_*")
            host.write("/etc/ssh/ssh_host_ed25519_key", host_keys[host.name][0], 0o600)
            host.write("/etc/ssh/sshd_config", SSHD)
            host.write("/root/.ssh/authorized_keys", nas_public + "\n", 0o600)

        def mail_host(host: MailHost) -> None:
            common(host)
            host.install(*authority.issue(_names(host.name)[2:], host.address), self.layout)

        def others() -> None:
            common(self.dns)
            self.dns.install(secret)
            common(self.nas)
            self.nas.install(nas_key, known_hosts, secret)

        def sender() -> None:
            common(self.sender)
            self.sender.install()

        with ThreadPoolExecutor(4) as pool:
            building = [pool.submit(mail_host, host) for host in (self.primary, self.secondary)]
            building += [pool.submit(others), pool.submit(sender)]
        for built in building:
            built.result()

    def cut(self, one: str, other: str, *addresses: str) -> None:
        """Cut the line between two hosts, for what either of them sends; to all others both still speak. `addresses`: of the other alone."""
        ways = [(one, address) for address in addresses or _addresses(other)]
        ways += [] if addresses else [(other, address) for address in _addresses(one)]
        for host, address in ways:
            self.world.cut(host, address)
            self._cuts.add((host, address))

    def join(self) -> None:
        """Mend every line that was cut."""
        for host, address in self._cuts:
            self.world.join(host, address)
        self._cuts.clear()

    def mend(self) -> None:
        """Undo what a test broke: power, cables, lines, frozen and dead services, the MX records. Mail stays."""
        self.join()
        for host in (self.dns, self.primary, self.secondary, self.sender, self.nas):
            if not host.powered:
                host.boot()
            host.link("up")
            for service in host.services:
                host.thaw_service(service)
                if not host.running(service):
                    host.start(service)
        if self.nas.authoritative_mx() != MX_PRIMARY:
            self.nas.set_mx(MX_PRIMARY)
        if self.nas.resolved_mx() != MX_PRIMARY:  # it remembers for a TTL; a new one remembers nothing
            self.dns.kill_service("unbound")
            self.dns.start("unbound")

    def collect(self, folder: Path) -> None:
        """Copy what every host has written to its logs and configuration out of the lab."""
        for host in self.hosts.values():
            for part in ("var/log", "etc/postfix", "etc/dovecot", "etc/knot", "etc/unbound"):
                source = host.disk(part)
                if source.is_dir():
                    shutil.copytree(source, folder / host.name / part, dirs_exist_ok=True, symlinks=True)


def _addresses(host: str) -> list[str]:
    return [ADDRESSES[host], RESOLVER] if host == "dns" else [ADDRESSES[host]]


def _names(host: str) -> list[str]:
    """Everything a host is called: its address, its short name, its names in the domain."""
    names = [ADDRESSES[host], host]
    if host in MX_NAMES:
        names.append(MX_NAMES[host])
    if host == "primary":
        names.append(f"imap.{DOMAIN}")
    return names
