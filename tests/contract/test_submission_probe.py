"""The submission probe against real Postfix with real Dovecot behind its logins, and against servers that misbehave."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from failsafe.adapters.submission_probe import Login, SubmissionProbe
from failsafe.failover.health import EvidenceRun
from failsafe.failover.rounds import may_probe
from failsafe.model import Axis, Endpoint, Evidence, ProbeClass, Sign
from tests.contract.mail_servers import KNOWN_GOOD, PASSWORD, ScriptedServer, Talk
from tests.contract.submission import Submission, running
from tests.ports import free_port
from tests.support import wait_until

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HELO = "nas.example.net"


@dataclass(frozen=True)
class World:
    server: Submission
    password_file: Path

    def look(
        self, *ports: str, user: str = KNOWN_GOOD, trusted: bool = True, login: bool = True, password: str = PASSWORD
    ) -> Evidence:
        self.password_file.write_text(password)
        places = [self.server.place(port, trusted=trusted) for port in ports]
        return SubmissionProbe("vps", places, Login(user, str(self.password_file)) if login else None, HELO).probe(NOW)


@pytest.fixture(scope="module")
def server() -> Iterator[Submission]:
    with running() as found:
        yield found


@pytest.fixture
def world(server: Submission, tmp_path: Path) -> World:
    file = tmp_path / "password"
    file.touch(0o600)
    return World(server, file)


@pytest.mark.parametrize("port", ["submissions", "submission"])
def test_a_port_where_the_login_works_is_up(world: World, port: str) -> None:
    evidence = world.look(port)

    assert (evidence.seen, evidence.axis, evidence.at) == (ProbeClass.UP, Axis.SUBMISSION, NOW), evidence.transcript
    assert evidence.text == "logged in"


def test_postfix_logs_a_polite_session_with_one_login_and_nothing_that_fail2ban_counts(world: World) -> None:
    before = len(world.server.log())
    world.look("submission")
    log = wait_until(lambda: new if "quit=1" in (new := world.server.log()[before:]) else "", 20, "the session is logged")

    assert "ehlo=2 starttls=1 auth=1 quit=1 commands=5" in log
    assert "lost connection" not in log


def test_without_a_login_it_ends_before_it_and_says_so(world: World) -> None:
    evidence = world.look("submission", login=False)

    assert (evidence.seen, evidence.text) == (ProbeClass.UP, "speaks, but no login was tried")
    assert "AUTH" not in evidence.transcript.replace("S: 250-AUTH", "")


def test_a_wrong_password_is_unknown_is_tried_at_one_place_alone_and_is_not_repeated(world: World) -> None:
    before = world.server.log().count("authentication failed")
    evidence = world.look("submissions", "submission", password="wrong staple")

    assert evidence.seen is ProbeClass.UNKNOWN
    assert evidence.signs == {Sign.LOGIN_REFUSED}
    assert not may_probe([EvidenceRun.of(evidence)], NOW)
    assert wait_until(lambda: world.server.log().count("authentication failed") - before, 20, "the refusal is logged") == 1


def test_the_password_is_nowhere_in_the_evidence(world: World) -> None:
    said = repr([world.look("submission"), world.look("submission", password="wrong staple")])

    for password in (PASSWORD, "wrong staple"):
        assert password not in said
        assert base64.b64encode(f"\0{KNOWN_GOOD}\0{password}".encode()).decode() not in said


def test_a_certificate_that_does_not_verify_is_degraded_and_no_password_is_sent(world: World) -> None:
    for port in ("submissions", "submission"):
        evidence = world.look(port, trusted=False)

        assert evidence.seen is ProbeClass.DEGRADED
        assert "does not verify" in evidence.text
        assert "AUTH" not in evidence.transcript


def test_one_dead_port_of_two_is_degraded_and_named(world: World) -> None:
    dead = Endpoint("localhost", free_port(), "implicit")
    world.password_file.write_text(PASSWORD)
    places = [world.server.place("submission"), dead]
    evidence = SubmissionProbe("vps", places, Login(KNOWN_GOOD, str(world.password_file)), HELO).probe(NOW)

    assert evidence.seen is ProbeClass.DEGRADED
    assert evidence.text.startswith(f"localhost:{dead.port}: ")


def test_a_missing_password_file_is_unknown(world: World) -> None:
    world.password_file.unlink()
    place = world.server.place("submission")

    assert SubmissionProbe("vps", [place], Login("u", str(world.password_file)), HELO).probe(NOW).seen is ProbeClass.UNKNOWN


# -- servers that misbehave -----------------------------------------------------------------------------------------------


def offering(mechanisms: str, answers: Callable[[Talk, str], None]) -> Callable[[Talk], None]:
    def script(talk: Talk) -> None:
        talk.say("220 hello")
        while line := talk.hear():
            if line.startswith("EHLO"):
                talk.say("250-hello", f"250 AUTH {mechanisms}")
            elif line == "QUIT":
                talk.say("221 bye")
                return
            else:
                answers(talk, line)

    return script


def look_at(script: Callable[[Talk], None], tmp_path: Path, tls: str = "none") -> tuple[Evidence, list[str]]:
    file = tmp_path / "password"
    file.touch(0o600)
    file.write_text(PASSWORD)
    with ScriptedServer(script) as server:
        place = Endpoint("127.0.0.1", server.port, tls)
        evidence = SubmissionProbe("vps", [place], Login("me", str(file)), HELO, whole=5).probe(NOW)
        return evidence, server.talks[0].heard


def test_where_plain_is_not_offered_login_is_spoken(tmp_path: Path) -> None:
    def login(talk: Talk, line: str) -> None:
        talk.say({"AUTH LOGIN": "334 VXNlcm5hbWU6", "bWU=": "334 UGFzc3dvcmQ6"}.get(line, "235 2.7.0 yes"))

    evidence, heard = look_at(offering("LOGIN", login), tmp_path)

    assert evidence.seen is ProbeClass.UP
    assert heard[1:] == ["AUTH LOGIN", "bWU=", base64.b64encode(PASSWORD.encode()).decode(), "QUIT"]
    assert heard[3] not in evidence.transcript


def test_a_server_that_repeats_the_password_does_not_get_it_into_the_evidence(tmp_path: Path) -> None:
    evidence, heard = look_at(offering("PLAIN", lambda talk, line: talk.say(f"535 5.7.8 I heard {line} {PASSWORD}")), tmp_path)

    assert evidence.signs == {Sign.LOGIN_REFUSED}
    assert heard[1].removeprefix("AUTH PLAIN ") not in repr(evidence)
    assert PASSWORD not in repr(evidence)


@pytest.mark.parametrize(
    ("mechanisms", "answer", "seen", "words"),
    [
        ("PLAIN", "454 4.7.0 Temporary authentication failure", ProbeClass.DEGRADED, "logins are put off"),
        ("PLAIN", "554 5.7.1 Your IP is banned", ProbeClass.BANNED, "this prober is banned"),
        ("CRAM-MD5", "", ProbeClass.DOWN, "CRAM-MD5"),
    ],
)
def test_each_answer_to_the_login_has_its_class(
    tmp_path: Path, mechanisms: str, answer: str, seen: ProbeClass, words: str
) -> None:
    evidence, _ = look_at(offering(mechanisms, lambda talk, _line: talk.say(answer)), tmp_path)

    assert evidence.seen is seen
    assert words in evidence.text


def test_a_port_without_starttls_is_down_and_gets_no_password(tmp_path: Path) -> None:
    evidence, heard = look_at(offering("PLAIN", lambda talk, _line: talk.say("250 ok")), tmp_path, tls="starttls")

    assert evidence.seen is ProbeClass.DOWN
    assert heard == [f"EHLO {HELO}", "QUIT"]
