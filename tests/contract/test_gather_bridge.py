"""A secondary as Proton's Bridge shows it: a certificate that nobody signed, folders that show the same mail again, numbers that begin anew."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from failsafe.adapters.imap_line import Meter, connect, hang_up
from failsafe.adapters.imap_room import look_at_room
from failsafe.clock import SystemClock
from failsafe.errors import MailError
from failsafe.model import Endpoint, ProbeClass, Result
from tests.contract.bridge_like import BridgeLike, bridge_like
from tests.contract.dovecot import PASSWORD
from tests.contract.gathering import Away
from tests.contract.imapstore import message
from tests.contract.mail_servers import make_certificates

USER, OTHER = "u@away.example", "v@away.example"
ANN = "ann@example.org"


@pytest.fixture(scope="module")
def bridge() -> Iterator[BridgeLike]:
    with bridge_like([USER, OTHER]) as server:
        yield server


def fingerprint(bridge: BridgeLike) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(bridge.certificate.read_text())).hexdigest()


def let_in(endpoint: Endpoint) -> bool:
    client = connect(endpoint, Meter())
    try:
        client.login(USER, PASSWORD)
        return True
    finally:
        hang_up(client)


def test_it_is_refused_with_its_fingerprint_and_the_way_to_pin_it(bridge: BridgeLike) -> None:
    with pytest.raises(MailError) as caught:
        connect(Endpoint("127.0.0.1", bridge.port, "starttls"), Meter())
    digits = fingerprint(bridge).upper()
    shown = ":".join(digits[start : start + 2] for start in range(0, 64, 2))
    assert f"its SHA-256 fingerprint is {shown}" in str(caught.value)
    assert f'certificate_sha256 = "{shown}"' in caught.value.mend
    assert not caught.value.transient


def test_a_pinned_certificate_is_trusted_under_any_name(bridge: BridgeLike) -> None:
    assert let_in(Endpoint("127.0.0.1", bridge.port, "starttls", certificate_sha256=fingerprint(bridge)))
    assert let_in(Endpoint("localhost", bridge.port, "starttls", certificate_sha256=fingerprint(bridge)))


def test_a_certificate_that_is_named_itself_in_ca_file_is_trusted_under_any_name(bridge: BridgeLike) -> None:
    assert let_in(Endpoint("127.0.0.1", bridge.port, "starttls", str(bridge.certificate)))
    assert let_in(Endpoint("localhost", bridge.port, "starttls", str(bridge.certificate)))


def test_any_other_certificate_than_the_pinned_one_is_refused_before_a_word_is_said(bridge: BridgeLike) -> None:
    with pytest.raises(MailError, match="it is not the one in certificate_sha256"):
        connect(Endpoint("127.0.0.1", bridge.port, "starttls", certificate_sha256="0" * 64), Meter())


def test_an_authority_in_ca_file_does_not_make_another_name_good(bridge: BridgeLike, tmp_path: Path) -> None:
    """Only the very certificate does; one that it signed still needs the right name and time."""
    other = make_certificates(tmp_path)
    with pytest.raises(MailError, match="that is not known here"):
        connect(Endpoint("127.0.0.1", bridge.server.port, "implicit", str(other.authority)), Meter())


def test_a_pin_with_colons_in_the_configuration_gathers_each_message_once_and_after_a_repair_too(
    bridge: BridgeLike, tmp_path: Path
) -> None:
    away = Away(tmp_path, bridge.server, {ANN: OTHER}, port=bridge.port)
    digits = fingerprint(bridge).upper()
    pin = ":".join(digits[start : start + 2] for start in range(0, 64, 2))
    away.configure(host='"127.0.0.1"', tls='"starttls"', ca_file="", certificate_sha256=f'"{pin}"')
    now = SystemClock().now()
    for number in range(5):
        bridge.deliver(OTHER, message(f"m{number}"), now, labels=("Work",) if number % 2 else ())
    bridge.deliver(OTHER, message("sent"), now, "Sent")
    report = away.gather()
    assert (report.result, report.missing, report.messages.total) == (Result.OK, (), 6)
    assert {one.folder for one in away.found()} == {"INBOX", "Sent"}
    bridge.renumber(OTHER)
    again = away.gather()
    assert (again.result, again.guards) == (Result.OK, ())
    assert (
        len([one for one in away.found() if not one.gone]) == 6
    )  # the old copies stay, marked: the bridge's store writes a new number into each


def test_without_the_pin_a_gathering_says_what_to_do(bridge: BridgeLike, tmp_path: Path) -> None:
    away = Away(tmp_path, bridge.server, {ANN: USER}, port=bridge.port)
    away.configure(host='"127.0.0.1"', tls='"starttls"', ca_file="")
    report = away.gather()
    assert report.result is Result.FAILED
    assert "its SHA-256 fingerprint is " in report.troubles[0].text
    assert "certificate_sha256 = " in report.troubles[0].mend


def test_the_doctors_look_tells_the_fingerprint_and_takes_the_pin(bridge: BridgeLike, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.touch(mode=0o600)
    password.write_text(PASSWORD)
    strange = look_at_room(Endpoint("127.0.0.1", bridge.port, "starttls"), USER, password)
    assert strange.seen is ProbeClass.DOWN
    assert "its SHA-256 fingerprint is " in strange.text
    pinned = Endpoint("127.0.0.1", bridge.port, "starttls", certificate_sha256=fingerprint(bridge))
    assert look_at_room(pinned, USER, password).seen is ProbeClass.UP
