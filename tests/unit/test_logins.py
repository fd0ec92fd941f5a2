"""Logins that were refused are left alone, and none is risked where several were: a handful of wrong passwords in a week gets this machine banned."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from failsafe.app import App
from failsafe.config.load import parse_config
from failsafe.errors import MailError
from failsafe.logins import LOGIN_AGAIN, LoginMemory
from failsafe.model import Endpoint

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
PLACE = "vps"
AT = Endpoint("mail.example.org", 993, "implicit")
PEOPLE = [f"user{number:02}" for number in range(20)]


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    made = App(
        parse_config(f'[controller]\nid = "nas"\nstate_dir = "{tmp_path}/state"\n'.encode(), "t.toml"), tmp_path / "failsafe.toml"
    )
    yield made
    made.store.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "password"
    made.write_text("wrong")
    return made


def tried(app: App, file: Path, now: datetime, refused: set[str], *, again: bool = False) -> list[str]:
    """Whom a run tries, in which every one of `refused` is refused."""
    memory, found = LoginMemory(app, PLACE, AT, again=again), []
    for user in PEOPLE:
        if not memory.held(user, file, now):
            found.append(user)
            memory.note(user, file, now, refused=user in refused)
    return found


def test_a_refused_login_is_left_alone_for_eight_days_or_until_its_file_changes(app: App, file: Path) -> None:
    LoginMemory(app, PLACE, AT).note("ann", file, NOW, refused=True)
    memory = LoginMemory(app, PLACE, AT)

    assert memory.held("ann", file, NOW + LOGIN_AGAIN - DAY) == "login refused on 2026-11-22, and not tried again since"
    assert not memory.held("bob", file, NOW)
    assert not memory.held("ann", file, NOW + LOGIN_AGAIN)
    elsewhere = LoginMemory(app, PLACE, Endpoint("mail2.example.org", 993, "implicit"))
    assert not elsewhere.held("ann", file, NOW), "a server that was named wrongly"
    file.write_text("another")
    assert not memory.held("ann", file, NOW)


def test_one_wrong_password_of_many_mailboxes_is_wrong_twice_and_no_more_in_a_week(app: App, file: Path) -> None:
    runs = [tried(app, file, NOW + day * DAY, set(PEOPLE)) for day in range(7)]

    assert runs == [PEOPLE[:2], *[[]] * 6]


def test_of_many_wrong_passwords_three_are_found_out(app: App, tmp_path: Path) -> None:
    memory, found = LoginMemory(app, PLACE, AT), []
    for user in PEOPLE:
        (tmp_path / user).write_text(user)
        if not memory.held(user, tmp_path / user, NOW):
            found.append(user)
            memory.note(user, tmp_path / user, NOW, refused=True)

    assert found == PEOPLE[:3]


def test_mailboxes_that_are_gone_do_not_keep_from_those_that_are_known_to_be_good(app: App, file: Path) -> None:
    assert tried(app, file, NOW, set()) == PEOPLE

    assert tried(app, file, NOW + DAY, set(PEOPLE[:3])) == PEOPLE
    assert tried(app, file, NOW + 2 * DAY, set(PEOPLE[:3])) == PEOPLE[3:]


def test_where_good_logins_are_refused_one_after_the_other_something_is_wrong_with_all_of_them(app: App, file: Path) -> None:
    tried(app, file, NOW, set())

    runs = [tried(app, file, NOW + day * DAY, set(PEOPLE)) for day in range(1, 8)]

    assert runs == [PEOPLE[:4], *[[]] * 6]


def test_once_the_file_is_mended_the_refused_show_it_and_all_others_follow(app: App, file: Path) -> None:
    tried(app, file, NOW, set(PEOPLE))
    file.write_text("correct")

    assert tried(app, file, NOW + DAY, set()) == PEOPLE


def test_a_person_who_asks_has_it_tried_again_and_risks_two(app: App, file: Path) -> None:
    tried(app, file, app.clock.now() - DAY, set(PEOPLE))

    assert tried(app, file, app.clock.now() + DAY, set(PEOPLE), again=True) == PEOPLE[:2]


def test_a_login_that_is_held_is_not_made_and_says_so_as_a_refused_one_does(app: App, file: Path) -> None:
    memory = LoginMemory(app, PLACE, AT)
    calls: list[str] = []

    def refused() -> None:
        calls.append("x")
        raise MailError("no", transient=False, credential=True)

    for _ in range(3):
        with pytest.raises(MailError) as told:
            memory.attempt("ann", file, refused, "check it")
        assert told.value.credential

    assert len(calls) == 1
    assert "not tried again since" in str(told.value)
    assert "eight days" in told.value.mend


def test_a_line_that_broke_says_nothing_of_the_login(app: App, file: Path) -> None:
    memory = LoginMemory(app, PLACE, AT)

    def broken() -> None:
        raise MailError("the connection was cut")

    for _ in range(5):
        with pytest.raises(MailError, match="cut"):
            memory.attempt("ann", file, broken, "check it")


def test_those_that_are_not_configured_any_more_are_forgotten(app: App, file: Path) -> None:
    memory = LoginMemory(app, PLACE, AT)
    memory.note("ann", file, NOW, refused=True)
    memory.note("bob", file, NOW, refused=False)

    memory.forget_others({"carl"}, NOW)

    assert app.duties.all()[f"login:{PLACE}"].details == {"refused": {}, "good": {}}
