"""The doctor's look-ups and its one GET, against servers that answer, hang, drip, lie and never end."""

from __future__ import annotations

import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from failsafe.adapters.https_get import MOST_BYTES, fetch
from failsafe.adapters.lookups import NameLookups
from tests.contract.dns_servers import ZONE, missing, name_server
from tests.contract.mail_servers import make_certificates

Answer = Callable[[dns.message.Message], dns.message.Message | None]


@contextmanager
def scripted_dns(answer: Answer) -> Iterator[tuple[str, list[str]]]:
    """A name server whose answers are made by the test; None: it stays silent. Gives its address, and what it was asked."""
    asked: list[str] = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            data, line = self.request
            query = dns.message.from_wire(data)
            asked.append(query.question[0].to_text())
            response = answer(query)
            if response is not None:
                line.sendto(response.to_wire(), self.client_address)

    server = socketserver.ThreadingUDPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()


def says(*lines: str, rcode: dns.rcode.Rcode = dns.rcode.NOERROR, validated: bool = False) -> Answer:
    def answer(query: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(query)
        response.set_rcode(rcode)
        response.flags |= dns.flags.AD if validated else 0
        response.answer = [dns.rrset.from_text(*line.split(" ", 4)) for line in lines]
        return response

    return answer


def test_records_aliases_and_absence_are_told_apart_on_a_real_server(tmp_path: Path) -> None:
    if missing("knot"):
        pytest.skip(missing("knot"))
    more = '@ IN TXT "v=spf1 " "-all"\nodd IN TXT "a\\027[2J"\ntwice IN CNAME alias\nlong IN TXT ' + " ".join(
        f'"{"x" * 250}"' for _ in range(20)
    )
    with name_server("knot", tmp_path / "knot", more=more) as server:
        lookups = NameLookups(own={ZONE: [server.address]})
        assert lookups.ask(f"{ZONE.upper()}.", "MX").records == ("10 mail.example.org",)
        assert lookups.ask(ZONE, "TXT").records == ("v=spf1 -all",)
        assert lookups.ask(f"odd.{ZONE}", "TXT").records == ("a?[2J",)  # nothing that a terminal obeys
        assert len(lookups.ask(f"long.{ZONE}", "TXT").records[0]) == 5000  # truncated over UDP, read over TCP
        found = lookups.ask(f"twice.{ZONE}", "A")
        assert (found.records, found.aliases) == (("127.0.0.1",), (f"alias.{ZONE}", f"mail.{ZONE}"))
        empty, nothing = lookups.ask(f"mail.{ZONE}", "TXT"), lookups.ask(f"nobody.{ZONE}", "A")
        assert (empty.records, empty.error, empty.exists) == ((), "", True)
        assert (nothing.records, nothing.error, nothing.exists) == ((), "", False)


def test_a_name_is_asked_once_however_many_want_it() -> None:
    with scripted_dns(says("x.example. 60 IN A 192.0.2.1", validated=True)) as (address, asked):
        lookups = NameLookups(address)
        threads = [threading.Thread(target=lookups.ask, args=("x.example", "A")) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        found = lookups.ask("X.example.", "A")
        assert (found.records, found.validated, len(asked)) == (("192.0.2.1",), True, 1)


@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED])
def test_a_server_that_fails_or_refuses_says_nothing_about_the_name(rcode: dns.rcode.Rcode) -> None:
    with scripted_dns(says(rcode=rcode)) as (address, _asked):
        found = NameLookups(address).ask("x.example", "A")
        assert (found.unknown, dns.rcode.to_text(rcode) in found.error) == (True, True)


def test_a_silent_server_is_not_asked_on() -> None:
    with scripted_dns(lambda _query: None) as (address, asked):
        lookups = NameLookups(address, query_seconds=0.1)
        found = [lookups.ask(f"n{number}.example", "A") for number in range(30)]
        assert all("does not answer" in each.error for each in found)
        assert len(asked) <= 4


def test_an_alias_that_leads_to_itself_ends() -> None:
    def answer(query: dns.message.Message) -> dns.message.Message:
        name = query.question[0].name
        other = "b.example." if name.to_text() == "a.example." else "a.example."
        response = dns.message.make_response(query)
        response.answer = [dns.rrset.from_text(name, 60, "IN", "CNAME", other)]
        return response

    with scripted_dns(answer) as (address, asked):
        assert NameLookups(address).ask("a.example", "A").unknown
        assert len(asked) <= 10


def test_everything_together_ends_in_time() -> None:
    def slow(query: dns.message.Message) -> dns.message.Message:
        time.sleep(0.05)
        return says()(query)  # type: ignore[return-value]

    with scripted_dns(slow) as (address, _asked):
        lookups = NameLookups(address, whole_seconds=0.3)
        found = [lookups.ask(f"n{number}.example", "A") for number in range(50)]
        assert "no time was left" in found[-1].error


# -- one GET -------------------------------------------------------------------------------------------------------------


@contextmanager
def scripted_https(folder: Path, talk: Callable[[socket.socket], None], certificate: str = "good") -> Iterator[int]:
    """A TLS server for "localhost"; `talk` has the connection after the request was read."""
    made = make_certificates(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(getattr(made, certificate))

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            try:
                with context.wrap_socket(self.request, server_side=True) as line:
                    line.recv(4096)
                    talk(line)
            except OSError:
                pass  # the client gave up

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()


def sends(data: bytes) -> Callable[[socket.socket], None]:
    return lambda line: line.sendall(data)


def forever(data: bytes, pause: float = 0.0) -> Callable[[socket.socket], None]:
    def talk(line: socket.socket) -> None:
        while True:
            line.sendall(data)
            time.sleep(pause)

    return talk


def get(folder: Path, port: int, *, seconds: float = 20.0, redirects: int = 0) -> object:
    authority = str(folder / "authority.pem")
    found = fetch(
        f"https://localhost:{port}/x", lambda _host: ["127.0.0.1"], ca_file=authority, seconds=seconds, redirects=redirects
    )
    return found.error or (found.status, found.body, found.kind)


def test_a_page_is_fetched_whole(tmp_path: Path) -> None:
    with scripted_https(
        tmp_path, sends(b"HTTP/1.1 200 OK\r\nContent-Type: Text/Plain; charset=x\r\nContent-Length: 2\r\n\r\nok")
    ) as port:
        assert get(tmp_path, port) == (200, b"ok", "text/plain")


@pytest.mark.parametrize("certificate", ["expired", "other_name"])
def test_a_certificate_that_does_not_fit_is_told(tmp_path: Path, certificate: str) -> None:
    with scripted_https(tmp_path, sends(b""), certificate) as port:
        assert "certificate of localhost is not valid" in str(get(tmp_path, port))


def test_a_redirect_is_followed_only_where_that_is_allowed(tmp_path: Path) -> None:
    with scripted_https(tmp_path, sends(b"HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n")) as port:
        assert get(tmp_path, port) == (302, b"", "")
        assert "redirects" in str(get(tmp_path, port, redirects=2))


@pytest.mark.parametrize(
    "talk",
    [
        forever(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50),
        forever(b"x" * 100_000),
        sends(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (MOST_BYTES + 10)),
        forever(b"H", 0.1),
        sends(b""),
        lambda _line: time.sleep(5),
    ],
    ids=["headers without end", "a line without end", "a body too large", "byte by byte", "nothing", "silence"],
)
def test_a_hostile_page_is_bounded_in_time_and_memory(tmp_path: Path, talk: Callable[[socket.socket], None]) -> None:
    with scripted_https(tmp_path, talk) as port:
        began = time.monotonic()
        assert isinstance(get(tmp_path, port, seconds=1.5), str)
        assert time.monotonic() - began < 4


def test_what_speaks_no_tls_is_an_error(tmp_path: Path) -> None:
    make_certificates(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=lambda: listener.accept()[0].sendall(b"220 hello\r\n"), daemon=True)
        thread.start()
        assert isinstance(get(tmp_path, listener.getsockname()[1]), str)


def test_a_name_without_an_address_and_another_scheme_are_errors() -> None:
    assert "no address" in fetch("https://x.example/", lambda _host: []).error
    assert "no https" in fetch("http://x.example/", lambda _host: []).error
