"""Our own line, asked at references on loopback."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from failsafe.adapters import own_line
from failsafe.adapters.own_line import OwnLineCheck, patience_within
from failsafe.adapters.sockets import split_address
from failsafe.model import OwnLine
from tests.contract.bad_certificates import make_self_signed
from tests.ports import free_port

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.fixture
def reference() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def refusing() -> str:
    return f"127.0.0.1:{free_port()}"


def test_a_majority_that_answers_is_up(reference: str) -> None:
    line = OwnLineCheck([reference, reference, refusing()]).look(NOW)

    assert line == OwnLine(NOW, 2, 3)
    assert line.up


def test_half_is_no_majority(reference: str) -> None:
    assert not OwnLineCheck([reference, refusing()]).look(NOW).up


def test_without_references_nobody_can_know() -> None:
    assert not OwnLineCheck([]).look(NOW).up


def test_a_reference_whose_name_does_not_resolve_has_not_answered(reference: str) -> None:
    assert OwnLineCheck(["nowhere.invalid:443", reference]).look(NOW) == OwnLine(NOW, 1, 2)


# -- looked at closely ----------------------------------------------------------------------------------------------------


@contextmanager
def tls_reference(certificate: Path, *, refuses: bool = False) -> Iterator[str]:
    """Speaks TLS with this certificate; `refuses` whoever does not call it by name."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    if refuses:
        context.sni_callback = lambda _socket, _name, _context: ssl.AlertDescription.ALERT_DESCRIPTION_HANDSHAKE_FAILURE

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                context.wrap_socket(self.request, server_side=True).close()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield str(server.server_address[1])
        server.shutdown()


def look_closely(monkeypatch: pytest.MonkeyPatch, *references: str) -> OwnLine:
    ports = frozenset(int(reference.rpartition(":")[2]) for reference in references)
    monkeypatch.setattr(own_line, "TLS_PORTS", ports)
    return OwnLineCheck(references).look(NOW, closely=True)


def test_what_speaks_no_tls_on_a_port_for_it_has_not_answered(monkeypatch: pytest.MonkeyPatch, reference: str) -> None:
    assert OwnLineCheck([reference]).look(NOW).up
    assert not look_closely(monkeypatch, reference).up


def test_one_certificate_for_everybody_is_a_portals(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with tls_reference(make_self_signed(tmp_path)) as port:
        assert look_closely(monkeypatch, f"127.0.0.1:{port}", f"localhost:{port}").answered == 0


def test_a_reference_that_refuses_in_the_words_of_tls_has_answered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with tls_reference(make_self_signed(tmp_path), refuses=True) as port:
        assert look_closely(monkeypatch, f"127.0.0.1:{port}").up


def test_certificates_that_this_machine_cannot_verify_count_where_each_has_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with tls_reference(make_self_signed(tmp_path / "one")) as one, tls_reference(make_self_signed(tmp_path / "two")) as two:
        assert look_closely(monkeypatch, f"127.0.0.1:{one}", f"localhost:{two}").answered == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mail.example.org:25", ("mail.example.org", 25)),
        ("mail.example.org", ("mail.example.org", 443)),
        ("[2001:db8::1]:25", ("2001:db8::1", 25)),
        ("[2001:db8::1]", ("2001:db8::1", 443)),
        ("2001:db8::1", ("2001:db8::1", 443)),
        ("192.0.2.1:25", ("192.0.2.1", 25)),
    ],
)
def test_an_address_is_split(text: str, expected: tuple[str, int]) -> None:
    assert split_address(text, 443) == expected


@pytest.mark.parametrize(
    "text", ["", ":25", "mail.example.org:", "mail.example.org:x", "mail.example.org:70000", "mail.example.org:0"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not HOST:PORT"):
        split_address(text, 443)


def test_where_probes_are_frequent_a_silent_reference_costs_less_than_their_evidence_lasts() -> None:
    assert patience_within(timedelta(minutes=1)) == 5.0
    assert patience_within(timedelta(seconds=4)) == 2.0
    assert patience_within(timedelta(seconds=1)) == 1.0
