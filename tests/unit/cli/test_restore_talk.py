"""The conversation of `failsafe restore`, without a terminal: what is answered, and what it comes to."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from failsafe.backup.catalog_places import KnownMailbox
from failsafe.backup.catalog_search import Found
from failsafe.cli.restore_ask import commands, next_steps
from failsafe.cli.restore_pick import PAGE, Question
from failsafe.cli.restore_talk import Decision, Wish, converse

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
ANN, BOB = KnownMailbox("vps", "ann@example.org"), KnownMailbox("vps", "bob@example.org")


def row(number: int, *, gone_days: float | None = None, folder: str = "INBOX", **more: object) -> Found:
    then = NOW - timedelta(days=100)
    made = Found(
        id=f"{number:064x}", canonical=f"{number:064x}", server="vps", mailbox="ann@example.org", folder=folder, message_id=f"{number}@x",
        sender=f"Sender {number}", recipient="ann", subject=f"Subject {number}", date=then, internal_date=1_600_000_000, flags="S", keywords=(), size=10,
        first_seen_at=then, last_seen_at=then, gone_at=None if gone_days is None else NOW - timedelta(days=gone_days),
        first_generation=1, last_generation=1, opaque=False,
    )  # fmt: skip
    return replace(made, **more)  # type: ignore[arg-type]


@dataclass
class World:
    """restore_talk.Facts in memory."""

    rows: list[Found]
    known: list[KnownMailbox] = field(default_factory=lambda: [ANN, BOB])
    imap: str = "mail.example.org"
    wishes: list[Wish] = field(default_factory=list)

    def mailboxes(self) -> Sequence[KnownMailbox]:
        return self.known

    def folders(self, of: KnownMailbox) -> dict[str, int]:  # noqa: ARG002 - the protocol's
        return {"Archive": 0, "INBOX": 3}

    def messages(self, wish: Wish) -> Sequence[Found]:
        self.wishes.append(wish)
        return [
            one
            for one in self.rows
            if (wish.folder in (None, one.folder))
            and all(word.lower() in one.subject.lower() for word in wish.words)
            and (not wish.gone_alone if one.gone_at is None else wish.since is None or one.gone_at >= wish.since)
        ]

    def imap_server(self, server: str) -> str:  # noqa: ARG002
        return self.imap

    def home(self, mailbox: str) -> str:
        return f"/home/me/restored-{mailbox}"

    def fault_of(self, folder: str) -> str:
        return "/etc/passwd is no folder" if folder.startswith("/etc/passwd") else ""


def talk(world: World, *answers: str) -> tuple[Decision | None, list[Question]]:
    """Answers in turn; gives the decision (None: it asks on) and all questions."""
    conversation = converse(world, NOW, UTC)
    questions = [next(conversation)]
    for answer in answers:
        try:
            questions.append(conversation.send(answer or questions[-1].default))
        except StopIteration as end:
            assert answer is answers[-1], "it had decided before the last answer"
            return end.value, questions
    return None, questions


def said(question: Question) -> str:
    return "\n".join((*question.shown, question.prompt))


def test_someone_who_knows_nothing_gets_what_vanished_lately_by_folder_and_day() -> None:
    rows = [row(1, gone_days=1), row(2, gone_days=1), row(3, gone_days=3, folder="Archive"), row(4, gone_days=30), row(5)]
    decision, questions = talk(World(rows), "ann@example.org", "", "", "1", "all", "", "")
    assert decision is not None
    groups = said(questions[3])
    assert "2026-11-28  INBOX: 2 messages" in groups
    assert "2026-11-26  Archive: 1 message " in groups
    assert "2026-10-30" not in groups  # longer ago than a week
    assert [one.id for one in decision.rows] == [rows[0].id, rows[1].id]
    assert decision.to == "imap:vps"


def test_everything_is_what_vanished_and_what_is_still_there() -> None:
    rows = [row(1, gone_days=1), row(2)]
    decision, questions = talk(World(rows), "ann@example.org", "1", "yesterday", "all", "2", "")
    assert decision is not None
    assert {one.id for one in decision.rows} == {rows[0].id, rows[1].id}
    assert decision.to == "eml:/home/me/restored-ann@example.org"
    assert "GONE since 2026-11-28 12:00" in said(questions[3])
    assert "still there" in said(questions[3])


def test_of_a_list_the_gone_ones_can_be_taken_alone() -> None:
    rows = [row(1, gone_days=1), row(2)]
    decision, _ = talk(World(rows), "ann@example.org", "1", "", "gone", "2", "/tmp/x")
    assert decision is not None
    assert (decision.rows, decision.to) == ((rows[0],), "eml:/tmp/x")


def test_a_folder_is_named_by_a_part_and_words_find_messages() -> None:
    rows = [row(1, gone_days=1, folder="Archive"), row(2, gone_days=1, subject="Invoice of the bank")]
    world = World(rows)
    decision, _ = talk(world, "ann@", "2", "arch", "", "all", "3", "")
    assert decision is not None
    assert (decision.wish.folder, decision.rows, decision.to.partition(":")[0]) == ("Archive", (rows[0],), "maildir")
    decision, _ = talk(world, "ann@", "3", "bank invoice", "", "1", "", "ann@example.org*master")
    assert decision is not None
    assert (decision.rows, decision.imap_user) == ((rows[1],), "ann@example.org*master")


def test_a_mistyped_mailbox_is_asked_back_and_never_taken() -> None:
    decision, questions = talk(World([]), "bbo@example.org")
    assert decision is None
    assert said(questions[1]) == "There is no mailbox “bbo@example.org” here. Did you mean bob@example.org? (y/n)"
    _, questions = talk(World([]), "bbo@example.org", "n", "zzzzzz")
    assert "none that is like it" in said(questions[3])
    assert "ann@example.org" in said(questions[3])
    world = World([row(1, gone_days=1)])
    talk(world, "bbo@example.org", "y", "4", "")
    assert world.wishes[0].of == BOB


def test_a_single_mailbox_is_the_default() -> None:
    _, questions = talk(World([], known=[ANN]), "")
    assert questions[0].default == "ann@example.org"
    assert "What is missing?" in said(questions[1])


def test_the_same_mailbox_on_two_servers_is_told_apart() -> None:
    world = World([row(1, gone_days=1)], known=[ANN, KnownMailbox("old", "ann@example.org")])
    _, questions = talk(world, "ann", "2", "4", "")
    assert "ann@example.org (old)" in said(questions[0])
    assert world.wishes[0].of.server == "old"


def test_what_vanished_earlier_is_offered_where_nothing_vanished_lately() -> None:
    rows = [row(1, gone_days=30)]
    decision, questions = talk(World(rows), "ann@example.org", "4", "", "y", "all", "2", "")
    assert "Earlier, 1 message did" in said(questions[3])
    assert decision is not None
    assert decision.rows == (rows[0],)


def test_nothing_at_all_is_said_and_asked_again() -> None:
    _, questions = talk(World([]), "ann@example.org", "3", "unknown", "", "")
    assert "Nothing that fits was found" in said(questions[4])
    assert "What is missing?" in said(questions[5])


def test_a_long_list_is_paged_narrowed_and_chosen_from_by_number() -> None:
    rows = [row(number, gone_days=1) for number in range(1, 41)]
    decision, questions = talk(World(rows), "ann@example.org", "4", "", "", "p", "/subject 3", "/", "2,16-17", "2", "")
    assert "40 messages, 40 of them gone; 1 to 15:" in said(questions[3])
    assert "16 to 30:" in said(questions[4])
    assert "1 to 15:" in said(questions[5])
    assert "13 messages, 13 of them gone; 1 to 13:" in said(questions[6])  # 3, 13, 23, 30…39
    assert "40 messages" in said(questions[7])
    assert decision is not None
    assert decision.rows == (rows[1], rows[15], rows[16])


def test_nonsense_is_told_and_asked_again_at_every_question() -> None:
    rows = [row(number, gone_days=1) for number in range(PAGE)]
    _, questions = talk(
        World(rows), "ann@example.org", "9", "4", "whenever", "", "99", "x", "all", "7", "2", "/etc/passwd/x", "/tmp/x"
    )
    texts = [said(question) for question in questions]
    assert "“9” is none of 1, 2, 3, 4" in texts[2]
    assert "“whenever” is no time I know" in texts[4]
    assert "“99” is not in the list: the numbers go from 1 to 15" in texts[6]
    assert "“x” is no number" in texts[7]
    assert "“7” is none of 1, 2, 3" in texts[9]
    assert "/etc/passwd is no folder" in texts[11]


def test_one_can_go_back_from_the_list_to_what_is_missing() -> None:
    _, questions = talk(World([row(1, gone_days=1)]), "ann@example.org", "4", "", "b")
    assert "What is missing?" in said(questions[4])


def test_every_question_explains_itself_or_has_a_plain_one() -> None:
    _, questions = talk(World([row(1, gone_days=1)]), "ann@example.org", "4", "", "all", "1")
    assert all(question.help for question in questions)


def test_of_encrypted_messages_it_is_told_that_they_are_opened_and_where_they_are_not() -> None:
    _, questions = talk(World([row(1, gone_days=1, opaque=True)]), "ann@example.org", "4", "", "all", "2")
    assert "opened with the keys in their snapshot" in said(questions[4])
    assert "encrypted as on the server" in said(questions[4])
    assert questions[5].prompt == "Folder"


def test_without_an_imap_server_the_way_back_is_told() -> None:
    _, questions = talk(World([row(1, gone_days=1)], imap=""), "ann@example.org", "4", "", "all")
    assert "add imap to [mail_server.vps]" in said(questions[4])
    assert questions[4].default == "2"


def test_what_strangers_wrote_does_not_steer_the_terminal() -> None:
    world = World([row(1, gone_days=1, subject="\x1b[2Jboo", sender="\u202eevil", folder="a\x07b")])
    _, questions = talk(world, "ann@example.org", "4", "")
    assert not {"\x1b", "\u202e", "\x07"} & set(said(questions[3]))


# -- the same without questions


def words_of(decision: Decision) -> list[list[str]]:
    return [shlex.split(line) for line in commands(decision, UTC)]


def test_all_that_vanished_is_named_by_time_and_a_choice_by_id() -> None:
    rows = tuple(row(number, gone_days=1) for number in range(1, 4))
    wish = Wish(ANN, since=NOW - timedelta(days=7), gone_alone=True)
    place = ["failsafe", "restore", "--server", "vps", "--mailbox", "ann@example.org"]
    all_of_it = Decision(wish, rows, rows, "imap:vps", "a*m")
    assert words_of(all_of_it) == [[*place, "--gone-since", "2026-11-22T12:00", "--to", "imap:vps", "--imap-user", "a*m"]]
    some = Decision(wish, rows[:2], rows, "eml:/my mail")
    assert words_of(some) == [[*place, "--id", rows[0].id, "--id", rows[1].id, "--to", "eml:/my mail"]]


def test_everything_takes_two_commands_what_vanished_and_what_is_there() -> None:
    rows = (row(1, gone_days=1), row(2))
    found = words_of(Decision(Wish(ANN, folder="A B", since=None), rows, rows, "imap:vps"))
    assert [command[6:-2] for command in found] == [["--folder", "A B", "--gone"], ["--folder", "A B"]]


def test_what_is_said_in_the_end_fits_how_it_ended() -> None:
    rows = (row(1, gone_days=1),)
    decision = Decision(Wish(ANN, gone_alone=True), rows, rows, "imap:vps")
    assert "Nothing had to be added" in "\n".join(next_steps(decision, UTC, nothing_to_add=True, is_short=False))
    assert "Some are missing" in "\n".join(next_steps(decision, UTC, nothing_to_add=False, is_short=True))
    files = replace(decision, to="eml:/my mail")
    assert "below /my mail" in "\n".join(next_steps(files, UTC, nothing_to_add=False, is_short=False))
