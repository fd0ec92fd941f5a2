"""A mail server reached over SSH (Fabric). Host keys are always checked; Fabric's own default would accept any."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from failsafe.adapters.one_import import load_paramiko
from failsafe.adapters.pace import Pace
from failsafe.adapters.read_ahead import ReadAhead
from failsafe.errors import HostKeyError, LoginRefused, ProcessError, SshError

if TYPE_CHECKING:
    import paramiko

# Bytes under way before we must answer. Loopback, busy machine, mean of two runs: 1 MiB 70 MB/s, 2 MiB 84, 4 MiB 98, 8 MiB 52;
# in another, single run 32 MiB gave half of what 2 MiB gave.
WINDOW = 4 << 20
# Preferred where the server has them: a cipher with its own proof of integrity. With AES-CTR paramiko reckons an HMAC for each packet in
# Python: 300 MB from a loopback sshd cost 0.64 s of a processor so, 0.45 s with AES-GCM (paramiko 5.1, OpenSSH 9.2).
QUICK_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
KEEPALIVE = 15  # seconds; below the shortest idle time-outs of home routers (30 s)
TAIL = 2000  # bytes of stderr that go into an error
DRAINED = 64  # pieces of stderr at once: between them the answer itself is looked for, and whether it is late


@dataclass(frozen=True, slots=True)
class SshHost:
    """MailHost over SSH. `ssh` is user@host:port; `known_hosts` None means ~/.ssh/known_hosts; `key` None asks agent and ~/.ssh."""

    name: str
    ssh: str
    key: Path | None = None
    known_hosts: Path | None = None
    connect_timeout: float = 15.0  # seconds, for each of: TCP, banner, login, channel
    silence_deadline: float = 120.0  # seconds without a byte; the server's side gives a sign of life every 5
    limit_download: float | None = None  # bytes a second
    limit_upload: float | None = None

    def open(self, command: Sequence[str]) -> SshChannel:
        """Logs in and starts `command`. Raises HostKeyError, SshError."""
        load_paramiko()
        from fabric import Config, Connection

        user, host, port = parse_address(self.ssh)
        connection = Connection(
            host,
            user=user or None,
            port=port,
            config=Config(overrides={"load_ssh_configs": False}),  # a ~/.ssh/config must not send us elsewhere
            connect_timeout=self.connect_timeout,
            connect_kwargs=self._login(),
        )
        client: paramiko.SSHClient = connection.client
        self._trust(client, host, port)
        try:
            with self._translated(host, port):
                connection.open()
                transport = client.get_transport()
                assert transport is not None
                transport.set_keepalive(KEEPALIVE)
                channel = transport.open_session(window_size=self._window(), timeout=self.connect_timeout)
                channel.exec_command(" ".join(quote(word) for word in command))
        except BaseException:
            connection.close()
            client.close()  # fabric closes what it calls connected: a server that never ends its greeting would be listened to for ever
            raise
        return SshChannel(self, client, channel, command[0])

    def _login(self) -> dict[str, object]:
        if self.key is not None and not self.key.is_file():
            raise SshError(
                f"{self.name}: there is no key at {self.key}", mend="correct `ssh_key`, or create the key", transient=False
            )
        named = {} if self.key is None else {"key_filename": str(self.key)}  # fabric wants no key here rather than None
        return {
            **named,
            "allow_agent": self.key is None,
            "look_for_keys": self.key is None,
            "banner_timeout": self.connect_timeout,
            "auth_timeout": self.connect_timeout,
            "channel_timeout": self.connect_timeout,
            "transport_factory": _transport,
        }

    def _window(self) -> int:
        return WINDOW if self.limit_download is None else max(1 << 16, min(WINDOW, int(self.limit_download)))

    def _trust(self, client: paramiko.SSHClient, host: str, port: int) -> None:
        import paramiko

        name = self.name
        file = known_hosts_file(self.known_hosts)

        class Refuse(paramiko.MissingHostKeyPolicy):
            def missing_host_key(self, _client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
                shown = f"{key.get_name()} {key.fingerprint}"
                known = client.get_host_keys().lookup(hostname)
                if known:
                    raise _changed(f"{name}: {host}:{port}", key, next(iter(known.values())))
                raise HostKeyError(
                    f"{name}: the host key of {hostname} is not known: {shown}", mend=_keyscan(host, port, file), transient=False
                )

        try:
            client.load_host_keys(str(file))
        except OSError as error:
            raise HostKeyError(
                f"{name}: no known host keys: {file}: {error.strerror}", mend=_keyscan(host, port, file), transient=False
            ) from error
        client.set_missing_host_key_policy(Refuse())

    @contextlib.contextmanager
    def _translated(self, host: str, port: int) -> Iterator[None]:
        import paramiko

        where = f"{self.name}: {host}:{port}"
        try:
            yield
        except paramiko.BadHostKeyException as error:
            raise _changed(where, error.key, error.expected_key) from error
        except paramiko.PasswordRequiredException as error:
            raise SshError(
                f"{self.name}: the key {self.key} has a passphrase", mend="use a key without one", transient=False
            ) from error
        except paramiko.AuthenticationException as error:
            key = f"{self.key}.pub" if self.key else "your public key"
            raise LoginRefused(
                f"{where} does not accept the login: {error}",
                mend=f"add {key} to ~/.ssh/authorized_keys of the user there",
                transient=False,
            ) from error
        except (paramiko.SSHException, EOFError) as error:
            raise SshError(f"{where}: {str(error) or 'the connection was closed'}") from error
        except OSError as error:
            raise SshError(f"{where} is not reachable: {error.strerror or error}") from error
        except ValueError as error:
            raise SshError(f"{self.name}: the key {self.key} is not usable: {error}", transient=False) from error


class SshChannel:
    """Channel to a program on the server."""

    def __init__(self, host: SshHost, client: paramiko.SSHClient, channel: paramiko.Channel, program: str) -> None:
        self._host, self._client, self._channel, self._program = host, client, channel, program
        self._said = b""
        self._down, self._up = Pace(host.limit_download), Pace(host.limit_upload)
        channel.settimeout(1.0)  # the rhythm in which stderr is drained while nothing else comes

    def send(self, data: bytes) -> None:
        rest = memoryview(data)
        since = time.monotonic()
        while rest:
            try:
                sent = self._channel.send(rest.tobytes() if len(rest) < 65536 else rest[:65536].tobytes())
                self._up.take(sent)
                rest, since = rest[sent:], time.monotonic()
            except TimeoutError:
                self._check_silence(since)
            except (OSError, EOFError) as error:
                raise self._ended() from error

    def receive(self, maximum: int) -> bytes:
        since = time.monotonic()
        while True:
            self._drain()
            try:
                data = self._channel.recv(maximum)
            except (TimeoutError, socket.timeout):  # noqa: UP041 - paramiko raises the latter
                self._check_silence(since)
                continue
            except (OSError, EOFError) as error:
                raise self._ended() from error
            if not data and self._status() != 0:
                raise self._ended()
            self._down.take(len(data))
            return data

    def close(self) -> None:
        """The server's side sees the end of its output and ends itself and its children."""
        with contextlib.suppress(Exception):
            self._channel.close()
        self._client.close()

    def _drain(self) -> None:
        for _ in range(DRAINED):
            if not self._channel.recv_stderr_ready():
                return
            self._said = (self._said + self._channel.recv_stderr(65536))[-TAIL:]

    def _check_silence(self, since: float) -> None:
        transport = self._client.get_transport()
        if transport is None or not transport.is_active():
            raise self._ended()
        if time.monotonic() - since > self._host.silence_deadline:
            raise SshError(
                f"{self._host.name}: nothing came for {self._host.silence_deadline:g} s; the connection counts as dead"
            )

    def _status(self) -> int:
        """The program's exit status; -1 where the connection ended without one."""
        self._channel.status_event.wait(5)
        return self._channel.exit_status

    def _stands(self) -> bool:
        """Whether the connection itself does, a moment later: its end may be on the way."""
        transport = self._client.get_transport()
        if transport is not None:
            transport.join(1.0)
        return transport is not None and transport.is_active()

    def _ended(self) -> SshError | ProcessError:
        self._drain()
        status = self._status()
        said = self._said.decode("utf-8", "replace").strip()
        tail = f"\n{said}" if said else ""
        if status == 127:
            return ProcessError(
                f"{self._host.name}: {self._program} was not found on the server{tail}",
                mend=f"install {self._program} there (Debian: apt-get install {self._program})",
                transient=False,
            )
        if status == -1 and self._stands():
            return ProcessError(
                f"{self._host.name}: the program there was killed{tail}",
                mend="look there for what killed it (dmesg: out of memory?); the next run goes on where this one ended",
            )
        if status == -1:
            return SshError(f"{self._host.name}: the connection was cut{tail}")
        return ProcessError(f"{self._host.name}: the program there ended with status {status}{tail}")


def _transport(sock: socket.socket, **options: Any) -> paramiko.Transport:
    import paramiko

    transport = paramiko.Transport(ReadAhead(sock), **options)  # type: ignore[arg-type]  # all that it asks of a socket
    security = transport.get_security_options()
    security.ciphers = sorted(security.ciphers, key=lambda name: name not in QUICK_CIPHERS)
    return transport


def parse_address(address: str) -> tuple[str, str, int]:
    """(user, host, port) of "user@host:port"; user "" and port 22 where left out; an IPv6 address stands in brackets."""
    user, _, place = address.rpartition("@")
    if place.startswith("["):
        host, _, rest = place[1:].partition("]")
        port = rest.removeprefix(":")
    else:
        host, _, port = place.partition(":")
    return user, host, int(port or 22)


def known_hosts_file(configured: Path | None) -> Path:
    return configured or Path.home() / ".ssh" / "known_hosts"


def _changed(where: str, shown: paramiko.PKey, known: paramiko.PKey) -> HostKeyError:
    seen = f"{shown.get_name()} {shown.fingerprint}"
    return HostKeyError(
        f"{where} shows another host key than the one we know: {seen} (known: {known.get_name()} {known.fingerprint})",
        mend="if the server was reinstalled, compare this fingerprint on its console, then: failsafe accept SERVER --what host-key "
        "--reason TEXT; if not, somebody may be in between",
        transient=False,
        changed=True,
        shown=seen,
    )


def _keyscan(host: str, port: int, file: Path) -> str:
    return (
        f"run `ssh-keyscan -p {port} {host} >> {file}`, then compare `ssh-keygen -lf {file}` with the fingerprint on the server's own "
        "console (`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`) before you trust it"
    )
