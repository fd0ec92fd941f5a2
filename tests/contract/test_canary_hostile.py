"""A third party and a mailbox that misbehave: bounded, told in a sentence, and no password in it."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from failsafe.adapters.canary_box import CanaryBox
from failsafe.adapters.submission import Submission
from failsafe.errors import MailError
from failsafe.model import Endpoint
from failsafe.secrets import Secret
from tests.contract.mail_servers import ScriptedServer, Talk

PASSWORD = Secret("correct horse")


def send(port: int, *, whole: float = 5.0) -> MailError:
    with pytest.raises(MailError) as caught:
        Submission(Endpoint("127.0.0.1", port, "none"), "me", PASSWORD, whole=whole).send(
            "a@x.example", "b@y.example", b"Subject: x\r\n\r\n"
        )
    return caught.value


def find(port: int) -> MailError:
    with pytest.raises(MailError) as caught, CanaryBox(Endpoint("127.0.0.1", port, "none"), "me", PASSWORD) as box:
        box.find(lambda _: None)
    return caught.value


def test_a_submission_that_repeats_the_login_does_not_get_it_into_the_error() -> None:
    def parrot(talk: Talk) -> None:
        talk.say("220 hello")
        while line := talk.hear():
            talk.say(f"535 5.7.8 I heard {line}" if line.startswith("AUTH") else "250-x\r\n250 AUTH PLAIN")

    with ScriptedServer(parrot) as server:
        error = send(server.port)

    assert error.credential
    assert "I heard AUTH PLAIN …" in str(error)


def test_an_endless_banner_and_silence_end_in_time() -> None:
    def endless(talk: Talk) -> None:
        while True:
            talk.say("220-" + "x" * 900)

    with ScriptedServer(endless) as server:
        assert "more than 65536 bytes" in str(send(server.port))
    began = time.monotonic()
    with ScriptedServer(lambda talk: talk.wait_until_gone()) as server:
        assert "silence" in str(send(server.port, whole=1.0))
    assert time.monotonic() - began < 10


def imap(fetch: str) -> ScriptedServer:
    def script(talk: Talk) -> None:
        talk.say("* OK [CAPABILITY IMAP4rev1] hello")
        while line := talk.hear():
            tag, verb = line.split(" ")[:2]
            if verb == "CAPABILITY":
                talk.say("* CAPABILITY IMAP4rev1 LITERAL+ UIDPLUS")
            elif verb == "LIST":
                talk.say('* LIST (\\HasNoChildren) "/" INBOX')
            elif verb == "EXAMINE":
                talk.say("* 1 EXISTS")
            elif "SEARCH" in line:
                talk.say("* SEARCH 1")
            elif "FETCH" in line:
                talk.say(fetch)
            talk.say(f"{tag} OK done")

    return ScriptedServer(script)


def test_a_header_of_ten_gigabytes_is_refused_before_memory_is_taken_for_it() -> None:
    tracemalloc.start()
    with imap("* 1 FETCH (UID 1 BODY[HEADER.FIELDS (X-FAILSAFE-CANARY)] {10737418240}\r\nxxxx") as server:
        error = find(server.port)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert "announced 10737418240 bytes" in str(error)
    assert peak < 20 << 20


def test_a_mailbox_that_repeats_the_password_does_not_get_it_into_the_error() -> None:
    def parrot(talk: Talk) -> None:
        talk.say("* OK [CAPABILITY IMAP4rev1] hello")
        while line := talk.hear():
            tag, verb = line.split(" ")[:2]
            talk.say(f"{tag} NO I heard {line}" if verb == "LOGIN" else f"{tag} OK done")

    with ScriptedServer(parrot) as server:
        error = find(server.port)

    assert error.credential
    assert PASSWORD.reveal() not in str(error)


def test_a_line_that_breaks_in_the_middle_of_a_login_is_no_refused_password() -> None:
    def restarted(talk: Talk) -> None:
        talk.say("* OK [CAPABILITY IMAP4rev1] hello")
        while line := talk.hear():
            tag, verb = line.split(" ")[:2]
            if verb == "LOGIN":
                return
            talk.say(f"{tag} OK done")

    with ScriptedServer(restarted) as server:
        error = find(server.port)

    assert (error.credential, error.transient) == (False, True), str(error)
