"""The SMTP probe against real Postfix, and against faults that no real server can be asked for."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from failsafe.adapters.smtp import Patience, SmtpProbe, SmtpSight
from failsafe.adapters.smtp_wire import SESSION_BYTES, TRANSCRIPT_CHARACTERS
from failsafe.errors import ConfigError
from failsafe.model import Axis, Evidence, ProbeClass, Sign
from tests.contract.mail_servers import KNOWN_GOOD, Postfix, ScriptedServer, Talk, postfix
from tests.ports import free_port
from tests.support import wait_until

__all__ = ["postfix"]

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HELO = "nas.example.net"
SHORT = Patience(look_up=5, connect=5, greeting=1, command=1, whole=10)


def look(
    target: str,
    *,
    recipient: str | None = KNOWN_GOOD,
    helo: str | None = HELO,
    ca_file: object = None,
    patience: Patience | None = None,
) -> SmtpSight:
    return SmtpProbe(
        "vps", [target], recipient, helo, ca_file=None if ca_file is None else str(ca_file), patience=patience
    ).look()


# -- real Postfix ---------------------------------------------------------------------------------------------------------


def test_a_healthy_postfix_is_up_over_verified_tls(postfix: Postfix) -> None:
    sight = look(postfix.target("good"), ca_file=postfix.certificates.authority)

    assert sight.seen is ProbeClass.UP, sight.transcript
    assert sight.tls_verified
    assert sight.certificate_until is not None


def test_the_evidence_names_what_was_looked_at(postfix: Postfix) -> None:
    evidence = SmtpProbe("vps", [postfix.target("good")], KNOWN_GOOD, HELO).probe(NOW)

    assert (evidence.server, evidence.vantage, evidence.axis, evidence.at) == ("vps", "here", Axis.INBOUND, NOW)
    assert evidence.target == f"{KNOWN_GOOD} at {postfix.target('good')}"
    assert f"C: RCPT TO:<{KNOWN_GOOD}>" in evidence.transcript


def test_postfix_logs_a_whole_polite_session_and_nothing_that_fail2ban_counts(postfix: Postfix) -> None:
    look(postfix.target("manners"), ca_file=postfix.certificates.authority)
    log = wait_until(lambda: logged if "quit=1" in (logged := postfix.log_of("manners")) else "", 20, "the session is logged")

    assert "ehlo=2 starttls=1 mail=1 rcpt=1 rset=1 quit=1 commands=7" in log
    for counted in ("lost connection", "NOQUEUE: reject", "improper command", "PREGREET"):
        assert counted not in log


def test_postscreens_pause_is_waited_out_without_a_word(postfix: Postfix) -> None:
    sight = look(postfix.target("postscreen"), ca_file=postfix.certificates.authority)

    assert "220-please wait" in sight.transcript
    assert sight.seen is ProbeClass.UP, sight.transcript
    assert "PREGREET" not in (postfix.folder / "mail.log").read_text()


def test_an_unknown_recipient_is_lying(postfix: Postfix) -> None:
    sight = look(postfix.target("good"), recipient="nobody-here@example.test")

    assert sight.seen is ProbeClass.LYING
    assert "550 5.1.1" in sight.text


def test_a_server_that_has_forgotten_its_domain_is_lying(postfix: Postfix) -> None:
    sight = look(postfix.target("good"), recipient="failsafe-probe@forgotten.test")

    assert sight.seen is ProbeClass.LYING
    assert "Relay access denied" in sight.text


@pytest.mark.parametrize(
    ("listener", "seen", "words"),
    [
        ("greylisting", ProbeClass.GREYLISTED, "450 4.2.0"),
        ("blocklisting", ProbeClass.PROBE_BLOCKED, "zen.spamhaus.org"),
        ("policy-dead", ProbeClass.DEGRADED, "451 4.3.5"),
        ("spool-full", ProbeClass.DEGRADED, "452 4.3.1"),
        ("no-tls", ProbeClass.UP, "STARTTLS not offered"),
    ],
)
def test_each_fault_of_a_real_postfix_has_its_class(postfix: Postfix, listener: str, seen: ProbeClass, words: str) -> None:
    sight = look(postfix.target(listener))

    assert sight.seen is seen, sight.transcript
    assert words in sight.text


@pytest.mark.parametrize(("listener", "words"), [("expired", "certificate has expired"), ("other-name", "ostname mismatch")])
def test_a_bad_certificate_is_told_and_is_not_down(postfix: Postfix, listener: str, words: str) -> None:
    sight = look(postfix.target(listener), ca_file=postfix.certificates.authority)

    assert sight.seen is ProbeClass.UP
    assert words in sight.text
    assert not sight.tls_verified


def test_a_certificate_of_an_unknown_authority_is_told_and_is_not_down(postfix: Postfix) -> None:
    sight = look(postfix.target("good"))

    assert sight.seen is ProbeClass.UP
    assert "certificate does not verify" in sight.text


def test_a_name_that_is_no_full_name_blames_the_prober(postfix: Postfix) -> None:
    assert look(postfix.target("strict-helo"), helo="nas").seen is ProbeClass.PROBE_BLOCKED


def test_without_a_name_our_address_in_brackets_is_accepted(postfix: Postfix) -> None:
    sight = look(postfix.target("strict-helo"), helo=None)

    assert sight.seen is ProbeClass.UP
    assert "C: EHLO [127.0.0.1]" in sight.transcript


def test_without_a_recipient_the_probe_stops_before_it(postfix: Postfix) -> None:
    sight = look(postfix.target("good"), recipient=None)

    assert sight.seen is ProbeClass.UP
    assert "no recipient was tried" in sight.text
    assert "RCPT" not in sight.transcript


def test_a_dead_first_target_is_named_and_the_second_one_counts(postfix: Postfix) -> None:
    dead = f"127.0.0.1:{free_port()}"
    sight = SmtpProbe("vps", [dead, postfix.target("good")], KNOWN_GOOD, HELO).look()

    assert sight.seen is ProbeClass.UP
    assert f"{dead}: Connection refused" in sight.text


def test_an_ipv6_address_that_does_not_answer_does_not_hide_the_ipv4_one(postfix: Postfix) -> None:
    port = postfix.ports["good"]
    sight = SmtpProbe("vps", [f"[::1]:{port}", f"127.0.0.1:{port}"], KNOWN_GOOD, HELO).look()

    assert sight.seen is ProbeClass.UP
    assert f"[::1]:{port}" in sight.text
    assert sight.address == f"127.0.0.1:{port}"


def test_a_missing_authority_file_is_our_own_fault_and_so_unknown(postfix: Postfix) -> None:
    sight = look(postfix.target("good"), ca_file="/nonexistent/authority.pem")

    assert sight.seen is ProbeClass.UNKNOWN
    assert "ca_file" in sight.text


@pytest.mark.parametrize("recipient", ["a@b>\r\nDATA", "ü@example.org", "a b@example.org", ""])
def test_a_recipient_that_would_break_the_session_is_a_configuration_fault(recipient: str) -> None:
    with pytest.raises(ConfigError, match="recipient"):
        SmtpProbe("vps", ["mail.example.org:25"], recipient, HELO)


# -- nobody, or nothing that speaks ---------------------------------------------------------------------------------------


def test_a_refused_connection_is_down() -> None:
    sight = look(f"127.0.0.1:{free_port()}")

    assert sight.seen is ProbeClass.DOWN
    assert "Connection refused" in sight.text


def test_a_name_without_an_address_is_unknown_since_our_resolver_may_be_dead() -> None:
    assert look("mail.nowhere.invalid:25").seen is ProbeClass.UNKNOWN


def test_a_full_backlog_that_never_accepts_is_down_in_time() -> None:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    port = listener.getsockname()[1]
    fillers = [socket.socket() for _ in range(8)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.1", port))
    try:
        sight = look(f"127.0.0.1:{port}", patience=replace(SHORT, connect=1))
    finally:
        for each in [*fillers, listener]:
            each.close()

    assert sight.seen is ProbeClass.DOWN


def silent(talk: Talk) -> None:
    talk.wait_until_gone()


def drip(talk: Talk) -> None:
    for letter in "220-" + "slow " * 1000:
        talk.connection.sendall(letter.encode())
        time.sleep(0.1)


def endless_banner(talk: Talk) -> None:
    while True:
        talk.say("220-and another line")


def endless_line(talk: Talk) -> None:
    while True:
        talk.connection.sendall(b"x" * 65536)


def megabyte_line(talk: Talk) -> None:
    talk.connection.sendall(b"220 " + b"y" * 1_000_000 + b"\r\n")
    talk.wait_until_gone()


def hang_up(talk: Talk) -> None:
    talk.close()


def half_greeting(talk: Talk) -> None:
    talk.say("220-first line")
    talk.close()


def not_smtp(talk: Talk) -> None:
    talk.say("SSH-2.0-OpenSSH_9.2")
    talk.wait_until_gone()


def two_codes(talk: Talk) -> None:
    talk.say("220-hello", "250 hello")
    talk.wait_until_gone()


def terminal_codes(talk: Talk) -> None:
    talk.say("220 \x1b[31mred\x07")
    talk.answer_all({"RCPT": "451 4.3.0 \x1b]0;owned\x07"})


def freezes_after_ehlo(talk: Talk) -> None:
    talk.say("220 hello")
    talk.hear()
    talk.wait_until_gone()


def resets_at_mail(talk: Talk) -> None:
    talk.say("220 hello")
    talk.hear()
    talk.say("250 hello")
    talk.hear()


FAULTS: list[tuple[Callable[[Talk], None], str]] = [
    (silent, "the greeting: silence"),
    (drip, "the greeting: silence"),
    (endless_banner, "a reply of more than"),
    (endless_line, "a line of more than"),
    (megabyte_line, "a line of more than"),
    (hang_up, "the greeting"),
    (half_greeting, "hung up"),
    (not_smtp, "not an SMTP reply"),
    (two_codes, "two codes"),
    (freezes_after_ehlo, "EHLO: silence"),
    (resets_at_mail, "MAIL FROM"),
]


@pytest.mark.parametrize(("script", "words"), FAULTS, ids=[script.__name__ for script, _ in FAULTS])
def test_a_broken_server_is_down_and_the_probe_ends(script: Callable[[Talk], None], words: str) -> None:
    with ScriptedServer(script) as server:
        sight = look(server.target, patience=SHORT)

        assert sight.seen is ProbeClass.DOWN
        assert words in sight.text
        assert len(sight.transcript) <= TRANSCRIPT_CHARACTERS
        assert server.faults == []


def test_a_refusal_after_the_first_line_of_a_greeting_is_a_refusal_of_this_client_and_no_broken_server() -> None:
    """postscreen says "220-" at once, and 521 when it drops whom a block list knows."""

    def drops(talk: Talk) -> None:
        talk.say("220-please wait", "521 5.7.1 Service unavailable; client [127.0.0.1] blocked using dnsbl.test")

    with ScriptedServer(drops) as server:
        sight = look(server.target, patience=SHORT)

    assert sight.seen is ProbeClass.PROBE_BLOCKED
    assert "521 5.7.1" in sight.text


def test_a_web_server_in_the_way_says_nothing_about_mail() -> None:
    def portal(talk: Talk) -> None:
        talk.say("HTTP/1.1 302 Found", "Location: http://login.hotel.example/", "")

    with ScriptedServer(portal) as server:
        sight = look(server.target, patience=SHORT)

    assert sight.seen is ProbeClass.UNKNOWN
    assert "captive portal" in sight.text


def test_a_session_is_bounded_in_bytes() -> None:
    def chatty(talk: Talk) -> None:
        talk.say("220 hello")
        talk.answer_all({}, default="\n".join(["250-" + "z" * 1000] * 90 + ["250 done"]))

    with ScriptedServer(chatty) as server:
        sight = look(server.target, patience=SHORT)

    assert sight.seen is ProbeClass.DOWN
    assert f"more than {SESSION_BYTES} bytes" in sight.text


def test_foreign_words_reach_nobodys_terminal() -> None:
    with ScriptedServer(terminal_codes) as server:
        sight = look(server.target, patience=SHORT)

    assert "\x1b" not in sight.text + sight.transcript
    assert "\x07" not in sight.text + sight.transcript


# -- manners --------------------------------------------------------------------------------------------------------------


def test_not_a_word_is_said_before_the_last_line_of_the_greeting() -> None:
    early: list[bool] = []

    def teaser(talk: Talk) -> None:
        talk.say("220-one moment")
        early.append(talk.spoke_within(1.5))
        talk.say("220-still here")
        early.append(talk.spoke_within(0.5))
        talk.say("220 go ahead")
        talk.answer_all({})

    with ScriptedServer(teaser) as server:
        sight = look(server.target, patience=replace(SHORT, greeting=20))

    assert early == [False, False]
    assert sight.seen is ProbeClass.UP


def test_commands_come_one_at_a_time() -> None:
    early: list[bool] = []

    def slow(talk: Talk) -> None:
        talk.say("220 hello")
        while line := talk.hear():
            early.append(talk.spoke_within(0.2))
            talk.say("221 bye" if line == "QUIT" else "250 ok")

    with ScriptedServer(slow) as server:
        look(server.target, patience=replace(SHORT, command=20))
        wait_until(server.talks[0].gone.is_set, 10, "the client hung up after the 221")

    assert server.talks[0].heard == [f"EHLO {HELO}", "MAIL FROM:<>", f"RCPT TO:<{KNOWN_GOOD}>", "RSET", "QUIT"]
    assert not any(early)


def test_a_refused_greeting_is_answered_with_quit_alone() -> None:
    def refusing(talk: Talk) -> None:
        talk.say("554 5.3.2 not today")
        talk.answer_all({})

    with ScriptedServer(refusing) as server:
        sight = look(server.target, patience=SHORT)

    assert sight.seen is ProbeClass.DOWN
    assert server.talks[0].heard == ["QUIT"]


def test_a_421_is_degraded_and_is_not_talked_back_to() -> None:
    def busy(talk: Talk) -> None:
        talk.say("421 4.3.2 All server ports are busy")
        talk.wait_until_gone()

    with ScriptedServer(busy) as server:
        sight = look(server.target, patience=SHORT)
        wait_until(server.talks[0].gone.is_set, 10, "the client hung up")

    assert sight.seen is ProbeClass.DEGRADED
    assert server.talks[0].heard == []


def test_how_the_goodbye_is_taken_decides_nothing() -> None:
    def rude(talk: Talk) -> None:
        talk.say("220 hello")
        while (line := talk.hear()) and line != "QUIT":
            talk.say("502 what" if line == "RSET" else "250 ok")

    with ScriptedServer(rude) as server:
        assert look(server.target, patience=SHORT).seen is ProbeClass.UP


# -- STARTTLS that does not work ------------------------------------------------------------------------------------------


def offering_tls(after: Callable[[Talk], None], rcpt: str = "250 ok") -> Callable[[Talk], None]:
    """A server whose STARTTLS goes wrong in the way of `after`, and which otherwise works in plain text."""

    def script(talk: Talk) -> None:
        talk.say("220 hello")
        while line := talk.hear():
            verb = line.split(" ")[0]
            if verb == "STARTTLS":
                after(talk)
                return
            talk.say(*{"EHLO": ("250-hello", "250 STARTTLS"), "RCPT": (rcpt,), "QUIT": ("221 bye",)}.get(verb, ("250 ok",)))

    return script


def garbage(talk: Talk) -> None:
    talk.say("220 go ahead", "this is not TLS" * 50)
    talk.wait_until_gone()


def silence(talk: Talk) -> None:
    talk.say("220 go ahead")
    while talk.connection.recv(4096):
        pass


@pytest.mark.parametrize(
    "after", [garbage, silence, lambda talk: talk.say("220 go ahead")], ids=["garbage", "silence", "hang up"]
)
def test_broken_tls_is_told_and_mail_still_gets_in_as_plain_text(after: Callable[[Talk], None]) -> None:
    with ScriptedServer(offering_tls(after)) as server:
        sight = look(server.target, patience=SHORT)

    assert sight.seen is ProbeClass.UP
    assert "STARTTLS is offered and does not work" in sight.text
    assert "STARTTLS" not in server.talks[1].heard


def test_broken_tls_is_not_tried_again_at_every_look() -> None:
    with ScriptedServer(offering_tls(garbage)) as server:
        probe = SmtpProbe("vps", [server.target], KNOWN_GOOD, HELO, patience=SHORT)
        first, second = probe.look(), probe.look()

    assert second.text == first.text
    assert [("STARTTLS" in talk.heard) for talk in server.talks] == [True, False, False]


def test_broken_tls_that_an_earlier_process_saw_is_not_tried_again_by_the_next() -> None:
    with ScriptedServer(offering_tls(garbage)) as server:
        first = SmtpProbe("vps", [server.target], KNOWN_GOOD, HELO, patience=SHORT).probe(NOW)
        later = SmtpProbe("vps", [server.target], KNOWN_GOOD, HELO, patience=SHORT)
        later.remember(first)
        second = later.probe(NOW)

    assert (second.text, second.signs) == (first.text, {Sign.BROKEN_TLS})
    assert [("STARTTLS" in talk.heard) for talk in server.talks] == [True, False, False]


def test_a_servers_words_about_tls_are_not_taken_for_our_own() -> None:
    words = "the session is refused at MAIL FROM: 550 no; but STARTTLS is offered and does not work: so it says"
    with ScriptedServer(offering_tls(garbage)) as server:
        probe = SmtpProbe("vps", [server.target], KNOWN_GOOD, HELO, patience=SHORT)
        probe.remember(Evidence("vps", "here", Axis.INBOUND, ProbeClass.DOWN, NOW, words))
        probe.look()

    assert "STARTTLS" in server.talks[0].heard


def test_a_certificate_that_an_earlier_process_saw_is_told_in_the_same_words_and_not_tried_again(postfix: Postfix) -> None:
    target, authority = postfix.target("expired"), str(postfix.certificates.authority)
    first = SmtpProbe("vps", [target], KNOWN_GOOD, HELO, ca_file=authority).probe(NOW)
    later = SmtpProbe("vps", [target], KNOWN_GOOD, HELO, ca_file=authority)
    later.remember(first)
    broken = postfix.log_of("expired").count("lost connection after STARTTLS")
    second = later.probe(NOW)

    assert (second.text, second.signs) == (first.text, {Sign.BAD_CERTIFICATE})
    assert postfix.log_of("expired").count("lost connection after STARTTLS") == broken


def test_a_server_that_insists_on_its_broken_tls_is_down() -> None:
    with ScriptedServer(offering_tls(garbage, rcpt="530 5.7.0 Must issue a STARTTLS command first")) as server:
        assert look(server.target, patience=SHORT).seen is ProbeClass.DOWN


def test_a_refused_starttls_goes_on_in_the_same_session() -> None:
    with ScriptedServer(offering_tls(lambda talk: (talk.say("454 4.7.0 TLS not available"), talk.answer_all({}))[0])) as server:
        sight = look(server.target, patience=SHORT)

    assert sight.seen is ProbeClass.UP
    assert "454 4.7.0" in sight.text
    assert len(server.talks) == 1


def test_patience_fits_into_three_intervals() -> None:
    for seconds in (2, 10, 60, 3600):
        interval = timedelta(seconds=seconds)

        assert Patience.within(interval).whole <= 1.4 * seconds
    assert Patience.within(timedelta(minutes=1)).greeting >= 30


def test_a_look_whose_whole_time_passed_while_the_process_was_stopped_says_nothing() -> None:
    sight = look("127.0.0.1:25", patience=replace(SHORT, whole=0))

    assert sight.seen is ProbeClass.UNKNOWN
    assert "did not run" in sight.text
