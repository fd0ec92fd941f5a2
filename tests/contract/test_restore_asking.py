"""`failsafe restore` alone, as a frightened person meets it: a real terminal, a real backup, a real mail server."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.dovecot import PASSWORD, Dovecot, look, running
from tests.contract.processes import command
from tests.contract.test_restore import ANN, BOB, Home, delete, fill
from tests.contract.typist import Typist

pytestmark = [pytest.mark.timeout(300), pytest.mark.skipif(shutil.which("restic") is None, reason="restic is not installed")]


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    with running([ANN, BOB]) as dovecot:
        yield dovecot


@pytest.fixture(scope="module")
def home(server: Dovecot, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Two of Ann's twelve messages vanished between two backups; Bob has four."""
    made = Home(tmp_path_factory.mktemp("home"), server)
    made.configure()
    fill(server, ANN, 12)
    fill(server, BOB, 4)
    made.backup()
    lose(server)
    made.backup()
    return made


def lose(server: Dovecot) -> None:
    for number in (2, 6):
        delete(server, ANN, "Archive/2026", f"<{number}@fill>")


def sit_down(home: Home, *words: str) -> Typist:
    return Typist(
        command(home.folder / "failsafe.toml", "restore", *words),
        home.folder,
        {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )


def without(text: str) -> str:
    """The command that is shown at the end."""
    return next(line.strip() for line in text.splitlines() if line.strip().startswith("failsafe restore "))


def test_someone_who_knows_nothing_gets_the_vanished_messages_back_on_the_server(home: Home) -> None:
    lost = look(home.server, ANN)
    with sit_down(home) as person:
        person.expect("Nothing is changed before you have seen the plan and said yes.")
        person.expect("Mailbox (number, name, or a part of it): ")
        person.type("anm@example.org")
        person.expect("Did you mean ann@example.org? (y/n) [y]: ")
        person.type("")
        person.expect("1 to 4 [4]: ")
        person.type("?")
        person.expect("never added twice")
        person.type("")
        person.expect("Since [a week]: ")
        person.type("")
        listed = person.expect("Which? (all")
        person.type("all")
        person.expect("1, 2, 3 [1]: ")
        person.type("1")
        person.expect("Who logs in [ann@example.org]: ")
        person.type("")
        person.expect("IMAP password of ann@example.org: ")
        person.type(PASSWORD)
        plan = person.expect("Add 2 message(s) to imap:vps? [y/N] ")
        person.type("y")
        assert person.end() == 0, person.shown
    assert "2 messages, 2 of them gone" in listed
    assert "x6@example.net" in listed
    assert "GONE since" in listed
    assert "to add: 2" in plan
    assert "asking a-near" in person.shown
    assert "restoring" in person.shown
    assert "reading back" in person.shown
    assert "What to do next: open the mail program" in person.shown
    assert PASSWORD not in person.shown
    assert person.stdout().startswith("2 added (read back and right)")
    restored = look(home.server, ANN)
    assert sum(map(len, restored.values())) == sum(map(len, lost.values())) + 2
    again = shlex.split(without(person.shown))[2:]
    assert "--gone-since" in again
    out, _ = home.run("restore", *again, "--imap-password-file", str(home.folder / "imap.password"), "--yes")
    assert out.startswith("0 added")
    assert look(home.server, ANN) == restored
    lose(home.server)


def test_chosen_messages_go_into_a_folder_here_and_the_same_command_adds_nothing(home: Home) -> None:
    with sit_down(home) as person:
        for question, answer in (
            ("part of it): ", "1"), ("1 to 4 [4]: ", "3"), ("the subject: ", "nr."), ("Since [a week]: ", "ever"), ("Which?", "/x6@ nr."),
            ("1 message, 1 of them gone", "1"), ("1, 2, 3 [1]: ", "2"), (f"Folder [{home.folder}/restored-ann@example.org]: ", "here"),
            ("[y/N] ", "y"),
        ):  # fmt: skip
            person.expect(question)
            person.type(answer)
        assert person.end() == 0, person.shown
    assert [path.name for path in (home.folder / "here").rglob("*.eml")] != []
    assert "messages are below here" in person.shown
    out, _ = home.run(*shlex.split(without(person.shown))[1:], "--yes")
    assert (out[:7], "1 already there" in out) == ("0 added", True)


def test_leaving_at_any_question_is_exit_5_and_nothing_is_done(home: Home) -> None:
    before = look(home.server, ANN)
    steps = (
        ("part of it): ", "ann"), ("1 to 4 [4]: ", "1"), ("Since [a week]: ", ""), ("Which?", "gone"), ("1, 2, 3 [1]: ", "1"),
        ("Who logs in [ann@example.org]: ", ""), ("IMAP password of ann@example.org: ", PASSWORD), ("[y/N] ", ""),
    )  # fmt: skip
    ways = (Typist.interrupt, Typist.end_of_input, lambda person: person.type("q"))
    for leave_at in range(len(steps)):
        leave = ways[leave_at % 3] if leave_at < 6 else Typist.interrupt  # a password may begin with q
        with sit_down(home) as person:
            for question, answer in steps[:leave_at]:
                person.expect(question)
                person.type(answer)
            person.expect(steps[leave_at][0])
            leave(person)
            assert person.end() == 5, (leave_at, person.shown)
        said = ("nothing was done", "interrupted")  # the latter where ^C came before the question was being read
        assert any(words in person.shown for words in said), (leave_at, person.shown)
    assert look(home.server, ANN) == before
    assert not list(home.folder.rglob("restored-*"))


def test_a_no_at_the_plan_is_exit_5_and_nothing_is_done(home: Home) -> None:
    with sit_down(home) as person:
        for question, answer in (
            ("part of it): ", "bob"), ("1 to 4 [4]: ", "1"), ("Since", ""), ("Which?", "all"), ("1, 2, 3 [1]: ", "3"), ("Folder", "mail"),
            ("Add 4 message(s)", "no"),
        ):  # fmt: skip
            person.expect(question)
            person.type(answer)
        assert person.end() == 5
    assert not (home.folder / "mail").exists()


def test_alone_without_a_terminal_it_says_what_to_say(home: Home) -> None:
    _, err = home.run("restore", status=2)
    assert "terminal" in err
    assert "failsafe restore --mailbox" in err


def test_without_a_destination_it_says_so_and_asks_nothing(home: Home) -> None:
    with sit_down(home, "--mailbox", ANN) as person:
        assert person.end() == 2
    assert "--to DEST" in person.shown


def test_a_mistyped_mailbox_is_told_without_questions_too(home: Home) -> None:
    _, err = home.run("restore", "--mailbox", "anm@example.org", "--to", "eml:x", "--yes", status=1)
    assert "no mailbox “anm@example.org” here. Did you mean ann@example.org?" in err


def test_where_nothing_was_ever_backed_up_that_is_said(home: Home, tmp_path: Path) -> None:
    text = (
        (home.folder / "failsafe.toml")
        .read_text()
        .replace(f'state_dir = "{home.folder}/state"', f'state_dir = "{tmp_path}/state"')
    )
    (tmp_path / "failsafe.toml").write_text(text)
    with Typist(
        command(tmp_path / "failsafe.toml", "restore"), tmp_path, {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    ) as person:
        assert person.end() == 1
    assert "no mailbox is known on this machine yet" in person.shown
