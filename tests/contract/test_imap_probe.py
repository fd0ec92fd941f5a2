"""The IMAP probe against real Dovecot, and against servers that misbehave."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from failsafe.adapters.imap_probe import ImapProbe
from failsafe.failover.health import EvidenceRun
from failsafe.failover.rounds import may_probe
from failsafe.model import Axis, Endpoint, Evidence, ProbeClass, Sign
from tests.contract.mail_servers import PASSWORD, Dovecot, ScriptedServer, Talk, dovecot
from tests.ports import free_port
from tests.support import wait_until

__all__ = ["dovecot"]

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    file = tmp_path / "probe.password"
    file.write_text(PASSWORD + "\n")
    file.chmod(0o600)
    return file


def look(
    server: Dovecot, password_file: Path, *, user: str = "", tls: str = "implicit", host: str = "localhost", trusted: bool = True
) -> Evidence:
    port = server.imaps if tls == "implicit" else server.imap
    endpoint = Endpoint(host, port, tls, str(server.certificates.authority) if trusted else None)
    return ImapProbe("vps", endpoint, user or server.good_user, str(password_file)).probe(NOW)


def test_a_working_mailbox_is_up(dovecot: Dovecot, password_file: Path) -> None:
    evidence = look(dovecot, password_file)

    assert (evidence.seen, evidence.axis, evidence.at) == (ProbeClass.UP, Axis.ACCESS, NOW), evidence.transcript
    assert "LOGOUT: BYE" in evidence.transcript


def test_a_working_mailbox_behind_starttls_is_up(dovecot: Dovecot, password_file: Path) -> None:
    assert look(dovecot, password_file, tls="starttls").seen is ProbeClass.UP


def test_dovecot_logs_a_real_login_and_a_clean_logout(dovecot: Dovecot, password_file: Path) -> None:
    before = dovecot.log().count("Logged out")
    look(dovecot, password_file)

    wait_until(lambda: dovecot.log().count("Logged out") > before, 20, "Dovecot logs the logout")


def test_a_wrong_password_is_unknown_and_not_repeated(dovecot: Dovecot, password_file: Path) -> None:
    password_file.write_text("wrong staple")
    evidence = look(dovecot, password_file)

    assert evidence.seen is ProbeClass.UNKNOWN
    assert evidence.signs == {Sign.LOGIN_REFUSED}
    assert not may_probe([EvidenceRun.of(evidence)], NOW)


def test_the_password_is_nowhere_in_the_evidence(dovecot: Dovecot, password_file: Path) -> None:
    good = look(dovecot, password_file)
    password_file.write_text("wrong staple")

    assert PASSWORD not in repr(good)
    assert "staple" not in repr(look(dovecot, password_file))


def test_a_mailbox_that_cannot_be_opened_is_down(dovecot: Dovecot, password_file: Path) -> None:
    evidence = look(dovecot, password_file, user=dovecot.broken_user)

    assert evidence.seen is ProbeClass.DOWN, evidence.transcript
    assert "INBOX cannot be opened" in evidence.text


def test_a_certificate_that_does_not_verify_is_degraded_and_no_password_is_sent(dovecot: Dovecot, password_file: Path) -> None:
    for tls in ("implicit", "starttls"):
        evidence = look(dovecot, password_file, tls=tls, trusted=False)

        assert evidence.seen is ProbeClass.DEGRADED
        assert "does not verify" in evidence.text
        assert f"LOGIN {dovecot.good_user}" not in evidence.transcript


def test_a_certificate_with_another_name_is_degraded(dovecot: Dovecot, password_file: Path) -> None:
    evidence = look(dovecot, password_file, host="127.0.0.1")

    assert evidence.seen is ProbeClass.DEGRADED
    assert "mismatch" in evidence.text


def test_a_missing_password_file_is_unknown(dovecot: Dovecot, tmp_path: Path) -> None:
    assert look(dovecot, tmp_path / "nothing").seen is ProbeClass.UNKNOWN


def test_a_missing_authority_file_is_our_own_fault_and_so_unknown(dovecot: Dovecot, password_file: Path) -> None:
    endpoint = Endpoint("localhost", dovecot.imaps, "implicit", "/nonexistent/authority.pem")

    assert ImapProbe("vps", endpoint, dovecot.good_user, str(password_file)).probe(NOW).seen is ProbeClass.UNKNOWN


def plain(port: int, password_file: Path, *, whole: float = 3) -> Evidence:
    endpoint = Endpoint("127.0.0.1", port, "none")
    return ImapProbe("vps", endpoint, "probe@example.test", str(password_file), whole=whole).probe(NOW)


def test_a_refused_connection_is_down(password_file: Path) -> None:
    assert plain(free_port(), password_file).seen is ProbeClass.DOWN


def test_a_name_without_an_address_is_unknown(password_file: Path) -> None:
    probe = ImapProbe("vps", Endpoint("imap.nowhere.invalid", 993), "probe@example.test", str(password_file))

    assert probe.probe(NOW).seen is ProbeClass.UNKNOWN


def silent(talk: Talk) -> None:
    talk.wait_until_gone()


def hang_up(talk: Talk) -> None:
    talk.close()


def bye(talk: Talk) -> None:
    talk.say("* BYE overloaded")


def not_imap(talk: Talk) -> None:
    talk.say("220 mail.example.test ESMTP")
    talk.wait_until_gone()


def endless_line(talk: Talk) -> None:
    while True:
        talk.connection.sendall(b"* OK " + b"x" * 65536)


def endless_answer(talk: Talk) -> None:
    talk.say("* OK [CAPABILITY IMAP4rev1] hello")
    talk.hear()
    while True:
        talk.say("* OK still thinking")


def slow_drip(talk: Talk) -> None:
    talk.say("* OK [CAPABILITY IMAP4rev1] hello")
    talk.hear()
    while not talk.spoke_within(0.3):
        talk.connection.sendall(b"*")


@pytest.mark.parametrize("script", [silent, hang_up, bye, not_imap, endless_line, endless_answer, slow_drip])
def test_a_broken_server_is_down_and_the_probe_ends(script: Callable[[Talk], None], password_file: Path) -> None:
    with ScriptedServer(script) as server:
        evidence = plain(server.port, password_file)

    assert evidence.seen is ProbeClass.DOWN
    assert server.faults == []


@pytest.mark.parametrize("last", ["", "* BYE the server goes down"])
def test_a_login_that_breaks_off_is_down_and_no_refused_password(last: str, password_file: Path) -> None:
    def restarted(talk: Talk) -> None:
        talk.say("* OK [CAPABILITY IMAP4rev1] hello")
        while line := talk.hear():
            tag, verb = line.split(" ")[:2]
            if verb == "LOGIN":
                talk.say(*filter(None, [last]))
                return
            talk.say(f"{tag} OK done")

    with ScriptedServer(restarted) as server:
        evidence = plain(server.port, password_file)

    assert (evidence.seen, evidence.signs) == (ProbeClass.DOWN, frozenset()), evidence.text


def test_logins_that_are_put_off_are_degraded(password_file: Path) -> None:
    def busy(talk: Talk) -> None:
        talk.say("* OK [CAPABILITY IMAP4rev1] hello")
        while line := talk.hear():
            tag, verb = line.split(" ")[:2]
            talk.say(f"{tag} NO [UNAVAILABLE] authentication service is down" if verb == "LOGIN" else f"{tag} OK done")

    with ScriptedServer(busy) as server:
        assert plain(server.port, password_file).seen is ProbeClass.DEGRADED


def test_a_server_that_repeats_the_password_does_not_get_it_into_the_evidence(password_file: Path) -> None:
    def parrot(talk: Talk) -> None:
        talk.say("* OK [CAPABILITY IMAP4rev1] hello")
        while line := talk.hear():
            tag, verb = line.split(" ")[:2]
            talk.say(f"{tag} NO I heard {line}" if verb == "LOGIN" else f"{tag} OK done")

    with ScriptedServer(parrot) as server:
        evidence = plain(server.port, password_file)

    assert evidence.seen is ProbeClass.UNKNOWN
    assert PASSWORD not in repr(evidence)
