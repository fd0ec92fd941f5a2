"""The certificate that an exchange shows after STARTTLS, from a real Postfix: seen whoever signed it, in a session that no ban counts."""

from __future__ import annotations

import hashlib
import ssl

import pytest

from failsafe.adapters.certificates import certificate_of, dkim_key_bits
from failsafe.mail.tlsa import fitting, parse_tlsa, record_for
from failsafe.model import ProbeClass
from tests.contract.mail_servers import Postfix, postfix
from tests.ports import free_port
from tests.support import wait_until

__all__ = ["postfix"]

HELO = "nas.example.net"
ED25519, RSA_OF_512 = (
    "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    "MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAL0cbHjvUAwaMCyG5zMOYVV+GFVPVDZqwUBf0BmvUHz6Nx8d6UTyKDz3bFYpFBQUMDpXAB2qAXxZ4FYFpCPKSvUCAwEAAQ==",
)


@pytest.mark.parametrize(("listener", "file"), [("courtesy", "good"), ("expired", "expired"), ("other-name", "other_name")])
def test_what_is_shown_is_seen_also_where_nobody_should_believe_it(postfix: Postfix, listener: str, file: str) -> None:
    host, _, port = postfix.target(listener).partition(":")

    sight = certificate_of(host, HELO, int(port))

    pem = getattr(postfix.certificates, file).read_text()
    wanted = ssl.PEM_cert_to_DER_cert(pem[pem.index("-----BEGIN CERT") :])
    assert (sight.error, sight.seen) == ("", ProbeClass.UP)
    assert sight.shown is not None
    assert sight.shown.whole == wanted
    assert fitting([parse_tlsa(f"3 0 1 {hashlib.sha256(wanted).hexdigest()}")], sight.shown)
    assert fitting([record_for(sight.shown)], sight.shown)


def test_the_session_is_a_whole_polite_one(postfix: Postfix) -> None:
    host, _, port = postfix.target("courtesy").partition(":")
    certificate_of(host, HELO, int(port))
    log = wait_until(lambda: logged if "quit=1" in (logged := postfix.log_of("courtesy")) else "", 20, "the session is logged")

    assert "ehlo=2 starttls=1 quit=1 commands=4" in log
    assert "lost connection" not in log


def test_a_server_without_starttls_and_one_that_is_not_there_are_told_apart(postfix: Postfix) -> None:
    host, _, port = postfix.target("no-tls").partition(":")

    assert "STARTTLS is not offered" in certificate_of(host, HELO, int(port)).error
    assert "refused" in certificate_of("127.0.0.1", HELO, free_port()).error


def test_keys_of_dkim_are_measured_and_what_is_none_says_why() -> None:
    assert dkim_key_bits("ed25519", ED25519) == 256
    assert dkim_key_bits("rsa", RSA_OF_512) == 512
    for kind, text in (("rsa", ED25519), ("ed25519", RSA_OF_512), ("rsa", "no base64!"), ("dsa", RSA_OF_512)):
        with pytest.raises(ValueError, match=r"p=|k="):
            dkim_key_bits(kind, text)
