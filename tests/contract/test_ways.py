"""One suite for every way to a mail server: straight from here, through our program on this machine, and through it over a real sshd."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from failsafe.adapters.local import LocalChannel, LocalHost
from failsafe.adapters.smtp import Patience, SmtpProbe
from failsafe.adapters.sockets import Address, CannotLook, ConnectFailed, Deadline, LookupFailed
from failsafe.adapters.ssh import SshHost
from failsafe.adapters.ssh_way import SshWay, WayLost
from failsafe.adapters.way import DIRECT, Way
from failsafe.model import ProbeClass
from tests.contract import sshd as private_sshd
from tests.contract.mail_servers import KNOWN_GOOD, Postfix, ScriptedServer, Talk, postfix
from tests.contract.sshd import Sshd
from tests.ports import free_port
from tests.support import wait_until

__all__ = ["postfix"]

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SHORT = Patience(look_up=5, connect=5, greeting=2, command=2, whole=15)


@pytest.fixture(scope="session", params=["direct", "relay", "ssh"])
def way(request: pytest.FixtureRequest) -> Iterator[Way]:
    """Opened once for the whole suite: one connection after the other through the same program."""
    if request.param == "direct":
        yield DIRECT
        return
    host = LocalHost("vps2") if request.param == "relay" else request.getfixturevalue("sshd").host("vps2")
    through = SshWay(host)
    with through.opened():
        yield through


def local(port: int) -> Address:
    return Address(socket.AddressFamily.AF_INET, "127.0.0.1", port)


@contextlib.contextmanager
def serving(script: Callable[[socket.socket], None]) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    script(connection)

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        yield int(listener.getsockname()[1])
        server.join(10)


def test_a_name_is_looked_up(way: Way) -> None:
    assert local(25) in way.look_up("localhost", 25, Deadline(10))


def test_a_name_without_an_address_says_so(way: Way) -> None:
    with pytest.raises(LookupFailed, match=r"nowhere\.invalid has no address"):
        way.look_up("nowhere.invalid", 25, Deadline(10))


def test_a_refused_connection_is_the_servers_doing(way: Way) -> None:
    with pytest.raises(ConnectFailed, match="refused") as caught:
        way.connect(local(free_port()), Deadline(5))

    assert not caught.value.ours


def test_a_server_that_does_not_answer_is_given_up_in_time(way: Way) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        fillers = [socket.create_connection(full.getsockname(), 1)]
        with contextlib.suppress(OSError):
            fillers += [socket.create_connection(full.getsockname(), 0.2) for _ in range(4)]
        with pytest.raises(ConnectFailed, match="did not answer"):
            way.connect(local(full.getsockname()[1]), Deadline(0.5))
        for filler in fillers:
            filler.close()


def test_bytes_go_both_ways_as_they_are(way: Way) -> None:
    sent = bytes(range(256)) * 1024

    def echo(connection: socket.socket) -> None:
        seen = 0
        while seen < len(sent):
            data = connection.recv(4096)
            seen += len(data)
            connection.sendall(data)

    with serving(echo) as port, way.connect(local(port), Deadline(5)) as connection:
        connection.settimeout(10)
        threading.Thread(target=connection.sendall, args=(sent,), daemon=True).start()
        got = b""
        while len(got) < len(sent):
            got += connection.recv(65536)

    assert got == sent


def test_a_server_that_hangs_up_is_seen_to_hang_up(way: Way) -> None:
    with serving(lambda connection: connection.sendall(b"220 bye\r\n")) as port, way.connect(local(port), Deadline(5)) as line:
        line.settimeout(10)
        got = b""
        while data := line.recv(100):
            got += data

    assert got == b"220 bye\r\n"


def test_our_hanging_up_reaches_the_server(way: Way) -> None:
    gone = threading.Event()

    def wait(connection: socket.socket) -> None:
        connection.settimeout(10)
        if connection.recv(100) == b"":
            gone.set()

    with serving(wait) as port:
        way.connect(local(port), Deadline(5)).close()
        assert gone.wait(10)


def test_a_server_that_sends_for_ever_does_not_stop_the_next_connection(way: Way) -> None:
    def endless(connection: socket.socket) -> None:
        connection.settimeout(10)
        while True:
            connection.sendall(b"x" * 65536)

    with serving(endless) as port:
        way.connect(local(port), Deadline(5)).close()
        with serving(lambda connection: connection.sendall(b"next")) as other, way.connect(local(other), Deadline(5)) as line:
            line.settimeout(10)
            assert line.recv(4) == b"next"


def test_the_polite_probe_speaks_through_it_with_a_real_postfix(way: Way, postfix: Postfix) -> None:
    probe = SmtpProbe(
        "vps", [postfix.target("good")], KNOWN_GOOD, None, ca_file=str(postfix.certificates.authority), patience=SHORT, way=way
    )

    sight = probe.look()

    assert (sight.seen, sight.tls_verified, sight.connected) == (ProbeClass.UP, True, True), sight.transcript


def test_what_it_sees_of_a_sick_server_is_the_same(way: Way) -> None:
    def silent(talk: Talk) -> None:
        talk.wait_until_gone()

    with ScriptedServer(silent) as server:
        sight = SmtpProbe("vps", [server.target], KNOWN_GOOD, "nas.example.net", patience=SHORT, way=way).look()

    assert (sight.seen, sight.connected) == (ProbeClass.DOWN, True)
    assert "silence" in sight.text


# -- what only another machine can do ---------------------------------------------------------------------------------------


def test_another_machines_own_line_is_asked_there() -> None:
    through = SshWay(LocalHost("vps2"))
    with socket.create_server(("127.0.0.1", 0)) as listener, through.opened():
        places = [("127.0.0.1", listener.getsockname()[1]), ("localhost", listener.getsockname()[1]), ("127.0.0.1", free_port())]
        line = through.line(places, 5, NOW)

    assert (line.answered, line.asked, line.up) == (2, 3, True)


def test_a_machine_that_cannot_be_reached_is_lost_and_nothing_is_known() -> None:
    nobody = SshHost("vps2", f"probe@127.0.0.1:{free_port()}", key=None, connect_timeout=2)

    with pytest.raises(WayLost, match="vps2 cannot be looked from"), SshWay(nobody).opened():
        pass


def test_a_machine_without_python_is_lost() -> None:
    class Bare(LocalHost):
        def open(self, command: Sequence[str]) -> LocalChannel:
            assert command[0] == "python3"
            return super().open(["sh", "-c", "echo python3: not found >&2; exit 127"])

    with pytest.raises(WayLost, match="cannot be looked from"), SshWay(Bare("vps2")).opened():
        pass


def test_another_host_key_is_no_way(sshd: Sshd, tmp_path: Path) -> None:
    host = SshHost("vps2", sshd.address, key=sshd.key, known_hosts=_other_key(sshd, tmp_path))

    with pytest.raises(WayLost, match="host key"), SshWay(host).opened():
        pass


def _other_key(sshd: Sshd, folder: Path) -> Path:
    key = Path(f"{private_sshd.make_key(folder / 'other')}.pub").read_text().split()
    file = folder / "known_hosts"
    file.write_text(f"[127.0.0.1]:{sshd.port} {key[0]} {key[1]}\n")
    return file


def test_a_line_that_is_cut_in_the_middle_is_lost_and_says_nothing_of_the_server(tmp_path: Path) -> None:
    with private_sshd.running(tmp_path) as server:
        through = SshWay(server.host("vps2"))
        with pytest.raises(CannotLook), through.opened():
            through.look_up("localhost", 25, Deadline(10))
            server.cut()
            through.line([("127.0.0.1", 1)], 2, NOW)


def test_nothing_stays_behind_on_the_other_machine(tmp_path: Path) -> None:
    with private_sshd.running(tmp_path) as server:
        through = SshWay(server.host("vps2"))
        with through.opened():
            assert server.sessions()
        wait_until(lambda: not server.sessions(), 10, "the session has ended")
