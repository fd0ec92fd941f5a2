"""What is looked at beside a mail server that cannot be reached, on loopback: the other exchange, the other doors, the ban."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from failsafe.adapters.smtp import Patience, SmtpProbe
from failsafe.looks.exchanges import RememberedRefusals
from failsafe.looks.surroundings import Door, InboundLook, Surroundings
from failsafe.model import ProbeClass
from tests.contract.mail_servers import ScriptedServer, Talk
from tests.ports import free_port
from tests.support import wait_until

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
EVERY = timedelta(seconds=10)
SHORT = Patience(look_up=2, connect=2, greeting=2, command=2, whole=5)
BAN = "fail2ban there bans 203.0.113.7 (jail postfix)"


def probe_of(target: str, recipient: str | None = "probe@example.org") -> SmtpProbe:
    return SmtpProbe("vps", [target], recipient, "nas.example.org", patience=SHORT)


def others(*targets: str) -> dict[str, SmtpProbe]:
    return {target: probe_of(target, None) for target in targets}


def nobody() -> str:
    return f"127.0.0.1:{free_port()}"


def polite(talk: Talk) -> None:
    talk.say("220 mx.example.org ESMTP")
    talk.answer_all({})


def refusing(talk: Talk) -> None:
    talk.say("554 5.7.1 your IP is on a blocklist")
    talk.wait_until_gone()


@contextlib.contextmanager
def counting() -> Iterator[tuple[Door, list[int]]]:
    """A door that opens, and how often somebody knocked."""
    knocks: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    listener.accept()[0].close()
                    knocks.append(1)

        threading.Thread(target=serve, daemon=True).start()
        yield Door("993", "127.0.0.1", listener.getsockname()[1]), knocks


def shut() -> Door:
    return Door("SSH", "127.0.0.1", free_port())


def test_where_the_other_exchange_answers_the_server_is_down_and_no_door_is_tried() -> None:
    with ScriptedServer(polite) as other, counting() as (door, knocks):
        look = InboundLook(probe_of(nobody()), Surroundings(others(other.target), [door], EVERY))
        evidence = look.see(NOW)

    assert (evidence.seen, knocks) == (ProbeClass.DOWN, [])
    assert "port 25 works from here" in evidence.text


def test_the_other_exchange_is_asked_once_and_politely() -> None:
    with ScriptedServer(polite) as other:
        look = InboundLook(probe_of(nobody()), Surroundings(others(other.target), [], EVERY))
        for _ in range(3):
            look.see(NOW)

    assert [talk.heard[-1] for talk in other.talks] == ["QUIT"]
    assert not [line for line in other.talks[0].heard if line.startswith("RCPT")]


def test_an_exchange_that_refuses_us_has_answered_and_is_left_alone() -> None:
    with ScriptedServer(refusing) as other:
        look = InboundLook(probe_of(nobody()), Surroundings(others(other.target), [], timedelta(milliseconds=200)))
        seen = [look.see(NOW).seen for _ in range(8)]

    assert (set(seen), len(other.talks)) == ({ProbeClass.DOWN}, 1)


def test_an_exchange_that_refused_us_in_an_earlier_process_is_not_asked_and_says_nothing_of_port_25() -> None:
    refusals = RememberedRefusals()
    with ScriptedServer(refusing) as other, counting() as (door, knocks):
        refusals.note(other.target, ProbeClass.PROBE_BLOCKED, NOW - timedelta(days=3))
        around = Surroundings(others(other.target, nobody()), [door], EVERY, refusals=refusals)
        evidence = InboundLook(probe_of(nobody()), around).see(NOW)

    assert (evidence.seen, other.talks, knocks) == (ProbeClass.DOWN, [], [])
    assert "port 25 is blocked" not in evidence.text


def test_an_exchange_that_refuses_us_is_asked_again_twice_a_week() -> None:
    with ScriptedServer(refusing) as other:
        at_once = timedelta(microseconds=1)  # nothing is remembered from one look to the next
        look = InboundLook(probe_of(nobody()), Surroundings(others(other.target), [], at_once))
        for hours in range(0, 7 * 24, 12):
            look.see(NOW + timedelta(hours=hours))

    assert len(other.talks) == 2


def test_where_port_25_is_blocked_an_open_door_is_knocked_at_once_and_the_port_left_alone() -> None:
    with counting() as (door, knocks):
        look = InboundLook(probe_of(nobody()), Surroundings(others(nobody()), [shut(), door], EVERY))
        seen = [look.see(NOW) for _ in range(5)]
        wait_until(lambda: knocks, 10, "the door has noticed the knock")  # closed before that, it never would

    assert {evidence.seen for evidence in seen} == {ProbeClass.UNKNOWN}
    assert "port 25 is blocked from here" in seen[0].text
    assert knocks == [1]


def test_where_port_25_is_blocked_a_login_just_made_spares_the_doors() -> None:
    with counting() as (door, knocks):
        around = Surroundings(others(nobody()), [door], EVERY, stands=lambda _now: "SSH, with a login")
        evidence = InboundLook(probe_of(nobody()), around).see(NOW)

    assert (evidence.seen, knocks) == (ProbeClass.UNKNOWN, [])


def test_where_port_25_is_blocked_and_all_doors_are_dead_the_server_is_down() -> None:
    evidence = InboundLook(probe_of(nobody()), Surroundings(others(nobody()), [shut(), shut()], EVERY)).see(NOW)

    assert (evidence.seen, "all of them" in evidence.text) == (ProbeClass.DOWN, True)


def test_an_exchange_whose_name_does_not_resolve_says_nothing_of_port_25() -> None:
    evidence = InboundLook(probe_of(nobody()), Surroundings(others("nowhere.invalid:25"), [shut()], EVERY)).see(NOW)

    assert (evidence.seen, "blocked" in evidence.text) == (ProbeClass.DOWN, False)


def test_a_server_that_answers_is_not_looked_around() -> None:
    asked: list[str] = []
    with ScriptedServer(polite) as server:
        around = Surroundings({}, [], EVERY, banned=lambda: asked.append("banned") or BAN)
        evidence = InboundLook(probe_of(server.target), around).see(NOW)

    assert (evidence.seen, asked) == (ProbeClass.UP, [])


def test_a_ban_turns_down_into_banned_as_soon_as_it_is_known_and_keeps_no_look_waiting() -> None:
    release = threading.Event()

    def ask() -> str:
        release.wait(10)
        return BAN

    look = InboundLook(probe_of(nobody()), Surroundings({}, [], EVERY, banned=ask))
    assert look.see(NOW).seen is ProbeClass.DOWN
    release.set()

    evidence = wait_until(lambda: seen if (seen := look.see(NOW)).seen is not ProbeClass.DOWN else None, 10, "the ban is known")

    assert (evidence.seen, evidence.text) == (ProbeClass.BANNED, BAN)
