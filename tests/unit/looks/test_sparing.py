"""A recipient that is refused is not asked for at every look, and what was seen holds meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from failsafe.model import Axis, ProbeClass
from tests.contract.mail_servers import ScriptedServer, Talk
from tests.unit.looks.world import MINUTE, NOW, configured, look_at


def refusing(talk: Talk) -> None:
    talk.say("220 hello")
    talk.answer_all({"RCPT": "550 5.1.1 User unknown"})


@pytest.mark.parametrize(("more", "asked"), [("", [True, True, False, True]), ("spare_refusals = false", [True] * 4)])
def test_a_refusal_holds_between_the_looks_that_ask(tmp_path: Path, more: str, asked: list[bool]) -> None:
    with ScriptedServer(refusing) as server, configured(tmp_path, port=server.port, more=more) as app:
        look = look_at(app, Axis.INBOUND)
        seen = []
        for minute in range(4):
            seen.append(look.see(NOW + minute * MINUTE))
            app.history.record(seen[-1], look.interval)

        assert [any(line.startswith("RCPT") for line in talk.heard) for talk in server.talks] == asked
    assert {(each.seen, each.text, each.target) for each in seen} == {(ProbeClass.LYING, seen[0].text, look.target)}
    assert ["not asked for" in each.transcript for each in seen] == [not each for each in asked]


def test_a_server_that_falls_silent_meanwhile_is_seen_all_the_same(tmp_path: Path) -> None:
    def hangs_up_on_the_third(talk: Talk) -> None:
        if talk.number < 3:
            refusing(talk)

    with ScriptedServer(hangs_up_on_the_third) as server, configured(tmp_path, port=server.port) as app:
        look = look_at(app, Axis.INBOUND)
        for minute in range(2):
            app.history.record(look.see(NOW + minute * MINUTE), look.interval)

        assert look.see(NOW + 2 * MINUTE).seen is ProbeClass.DOWN
