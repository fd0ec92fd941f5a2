"""An exchange of the secondary that refuses this prober itself: the doctor asks it twice a week at most, and another machine may ask in its stead."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from failsafe.app import App
from failsafe.checkup.domain import Asking, ask_exchange
from failsafe.checkup.recipients import Recipients, ask_secondary
from failsafe.config.load import parse_config
from failsafe.looks.exchanges import KeptRefusals, note_exchange
from failsafe.model import ProbeClass
from tests.contract.configs import PROBED, domain_table
from tests.contract.mail_servers import ScriptedServer, Talk
from tests.contract.sshd import Sshd

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
EXCHANGE = "localhost"
ASKING = Asking("vps", "anna@example.org", "nas.example.org", None)
ANNA = Recipients(("anna@example.org",))
OURS = "554 5.7.1 Service unavailable; Client host [127.0.0.1] blocked using zen.spamhaus.org"


def saying(answer: str, *, to: str = "") -> ScriptedServer:
    """Answers so to RCPT, to those who say EHLO `to`; takes everything from others."""

    def serve(talk: Talk) -> None:
        talk.say("220 mx.away.example ESMTP")
        greeted = talk.hear()
        talk.say("250 mx.away.example")
        talk.answer_all({"RCPT": answer if greeted.endswith(to) else "250 ok"})

    return ScriptedServer(serve)


def make_app(folder: Path, more: str = "") -> App:
    text = PROBED.format(folder=folder, line=1, smtp=1, every="20s") + domain_table("example.org") + more
    return App(parse_config(text.replace("mx.away.example", EXCHANGE).encode(), "failsafe.toml"), folder / "failsafe.toml")


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    made = make_app(tmp_path)
    yield made
    made.store.close()


def test_the_doctor_asks_an_exchange_that_refuses_it_twice_a_week_however_often_it_runs(app: App) -> None:
    with saying(OURS) as server:
        seen = [
            ask_exchange(app, EXCHANGE, ASKING, NOW + timedelta(hours=hour), port=server.port) for hour in range(0, 7 * 24, 8)
        ]
        asked = len(server.talks)

    assert asked == 2
    assert seen[0].seen is ProbeClass.PROBE_BLOCKED
    assert seen[1].seen is None
    assert "left alone until" in seen[1].text


def test_two_domains_of_one_secondary_are_refused_once(app: App) -> None:
    with saying(OURS) as server:

        def ask() -> None:
            ask_exchange(app, EXCHANGE, ASKING, NOW, port=server.port)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(server.talks) == 1


def test_who_was_refused_for_recipients_does_not_ask_for_the_domain_either(app: App) -> None:
    with saying("550 5.7.1 you are banned") as server:
        asked = ask_secondary(app, "example.org", Recipients(tuple(f"u{n}@example.org" for n in range(4))), NOW, port=server.port)
        after = ask_exchange(app, EXCHANGE, ASKING, NOW + timedelta(hours=1), port=server.port)
        talks = list(server.talks)

    assert "banned" in asked.error
    assert after.seen is None
    assert [line.split(":")[0] for line in talks[0].heard].count("RCPT TO") == 1, "it ended with the first such answer"
    assert len(talks) == 1


def test_what_the_doctor_was_told_the_daemon_knows_and_the_other_way_round(app: App) -> None:
    refusals = KeptRefusals(app)
    with saying(OURS) as server:
        ask_exchange(app, EXCHANGE, ASKING, NOW, port=server.port)
        assert refusals.until(EXCHANGE, NOW + timedelta(minutes=1)) is not None

        refusals.note(EXCHANGE, ProbeClass.UP, NOW + timedelta(days=4))
        ask_exchange(app, EXCHANGE, ASKING, NOW + timedelta(days=4, minutes=1), port=server.port)
        assert len(server.talks) == 2


def test_recipients_that_changed_are_asked_for_without_waiting_for_a_day(app: App) -> None:
    with saying("250 ok") as server:
        ask_secondary(app, "example.org", ANNA, NOW, port=server.port)
        ask_secondary(app, "example.org", ANNA, NOW + timedelta(hours=19), port=server.port)
        assert len(server.talks) == 1

        more = Recipients((*ANNA.addresses, "bob@example.org"))
        assert ask_secondary(app, "example.org", more, NOW + timedelta(hours=2), port=server.port).accepted == 2


def test_where_this_machine_is_refused_another_one_asks_for_the_recipients(tmp_path: Path, sshd: Sshd) -> None:
    vantage = f"""
[vantage.vps2]
kind = "ssh"
ssh = "{sshd.address}"
ssh_key = "{sshd.key}"
known_hosts = "{sshd.known_hosts}"
helo = "vps2.example.net"
"""
    app = make_app(tmp_path, vantage)
    with saying(OURS, to="nas.example.org") as server:
        first = ask_secondary(app, "example.org", ANNA, NOW, port=server.port)
        again = ask_secondary(app, "example.org", Recipients(("bob@example.org",)), NOW + timedelta(hours=2), port=server.port)
        helos = [talk.heard[0] for talk in server.talks]

    assert [(asked.vantage, asked.accepted, asked.error) for asked in (first, again)] == [("vps2", 1, "")] * 2
    assert helos == ["EHLO nas.example.org", "EHLO vps2.example.net", "EHLO vps2.example.net"], "who was refused is left alone"
    app.store.close()


def rcpts(server: ScriptedServer) -> int:
    return sum(line.startswith("RCPT") for talk in server.talks for line in talk.heard)


def test_a_secondary_of_ones_own_refuses_recipients_five_times_in_a_week_at_most(app: App) -> None:
    """A doctor twice a day, for a month; docker-mailserver's fail2ban there would ban this machine at the sixth."""
    many = Recipients(tuple(f"user{number}@example.org" for number in range(20)))
    at: list[datetime] = []
    with saying("550 5.1.1 User unknown") as server:
        for hours in range(0, 30 * 24, 12):
            now = NOW + timedelta(hours=hours)
            seen = ask_exchange(app, EXCHANGE, replace(ASKING, rationed=True), now, port=server.port)
            assert seen.seen is ProbeClass.LYING, "also while it is not asked"
            ask_secondary(app, "example.org", many, now, port=server.port)
            at += [now] * (rcpts(server) - len(at))

    assert max(sum(begin <= each < begin + timedelta(days=7) for each in at) for begin in at) == 5
    assert at[-1] > NOW + timedelta(days=20), "it is asked again and again, all the same"


def test_recipients_that_were_refused_are_asked_for_again_in_two_days_one_at_a_time(app: App) -> None:
    many = Recipients(tuple(f"user{number}@example.org" for number in range(20)))
    with saying("550 5.1.1 User unknown") as server:
        first = ask_secondary(app, "example.org", many, NOW, port=server.port)
        later = ask_secondary(app, "example.org", many, NOW + timedelta(hours=46), port=server.port)
        again = ask_secondary(app, "example.org", many, NOW + timedelta(hours=48), port=server.port)
        asked = rcpts(server)
    with saying("250 ok") as server:
        mended = ask_secondary(app, "example.org", many, NOW + timedelta(hours=96), port=server.port)

    assert (len(first.refused), len(first.undecided)) == (2, 18)
    assert later == first
    assert (len(again.refused), asked) == (1, 3)
    assert (mended.accepted, mended.refused) == (20, ())


def test_a_known_provider_is_asked_daily_and_told_of_five(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("failsafe.checkup.recipients.provider_of", lambda _names: object())
    many = Recipients(tuple(f"user{number}@example.org" for number in range(20)))
    with saying("550 5.1.1 User unknown") as server:
        asked = [ask_secondary(app, "example.org", many, NOW + timedelta(days=day), port=server.port) for day in range(3)]

    assert [len(each.refused) for each in asked] == [5, 5, 5]


def test_where_every_place_is_refused_none_asks_again_for_days(app: App) -> None:
    note_exchange(app, EXCHANGE, ProbeClass.BANNED, NOW)
    with saying("250 ok") as server:
        asked = ask_secondary(app, "example.org", ANNA, NOW + timedelta(days=3), port=server.port)
        assert "left alone" in asked.error
        assert server.talks == []

        assert ask_secondary(app, "example.org", ANNA, NOW + timedelta(days=4), port=server.port).accepted == 1
