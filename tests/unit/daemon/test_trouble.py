"""What people are told of a host, a queue and canaries: once, again only after it was well or after hours, and when it is over."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from failsafe.app import App
from failsafe.config.load import load_config
from failsafe.daemon.people import People
from failsafe.daemon.trouble import tell_trouble
from failsafe.model import Axis, Evidence, ProbeClass
from tests.contract.configs import MAIL_HERE
from tests.unit.status.world import NOW

UP, DEGRADED, DOWN = ProbeClass.UP, ProbeClass.DEGRADED, ProbeClass.DOWN


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    file = tmp_path / "failsafe.toml"
    file.write_text(MAIL_HERE.format(folder=tmp_path) + '[notify]\ndigest_at = "07:30"\n')
    app = App(load_config(file), file)
    yield app
    app.store.close()


def see(app: App, axis: Axis, vantage: str, seen: ProbeClass, hours: float) -> None:
    tell_trouble(app, Evidence("vps", vantage, axis, seen, NOW + timedelta(hours=hours), "what was seen"))


def names(app: App) -> list[str]:
    return [event.name for _, event in app.events.since()]


def test_trouble_is_told_with_what_to_do_and_its_end_is_too(app: App) -> None:
    see(app, Axis.HOST, "inside", DEGRADED, 0)
    see(app, Axis.HOST, "inside", UP, 1)
    see(app, Axis.HOST, "inside", UP, 2)

    assert names(app) == ["host.trouble", "host.well"]
    first = app.events.pending_notices(NOW + timedelta(days=1))[0].notice
    assert (first.losing_mail, first.must_do) == ("no", "look after the mail server: failsafe doctor")


def test_what_comes_and_goes_within_hours_is_told_when_it_is_new_or_was_well(app: App) -> None:
    see(app, Axis.DELIVERY, "inside", DEGRADED, 0)
    see(app, Axis.DELIVERY, "inside", ProbeClass.UNKNOWN, 1)
    see(app, Axis.DELIVERY, "inside", DEGRADED, 2)
    assert names(app) == ["delivery.waits"]
    see(app, Axis.DELIVERY, "inside", DEGRADED, 7)
    assert names(app) == ["delivery.waits"] * 2


def test_lost_canaries_are_a_fault_and_only_a_canary_ends_it(app: App) -> None:
    see(app, Axis.DELIVERY, "canary", DOWN, 0)
    see(app, Axis.DELIVERY, "inside", UP, 1)
    assert names(app) == ["delivery.lost"]
    see(app, Axis.DELIVERY, "canary", UP, 2)
    assert names(app) == ["delivery.lost", "delivery.arrives"]


def test_what_is_well_from_the_beginning_is_no_news(app: App) -> None:
    for axis in (Axis.HOST, Axis.DELIVERY, Axis.ACCESS):
        see(app, axis, "inside", UP, 0)
    see(app, Axis.ACCESS, "here", DOWN, 1)
    assert names(app) == []


def test_the_digest_is_made_once_a_day_however_often_the_program_begins_anew(app: App) -> None:
    app.leases.acquire("nas", NOW)
    see(app, Axis.HOST, "inside", DEGRADED, -1)  # failsafe's first event
    for quarter in range(4 * 48):
        People.of(app).step(NOW + timedelta(minutes=15 * quarter), leader=True)  # of a program that has just started

    made = [event.at for _, event in app.events.since() if event.name == "digest.made"]
    assert [f"{at:%d %H:%M}" for at in made] == ["23 07:30", "24 07:30"]  # in UTC: MAIL_HERE's time zone
