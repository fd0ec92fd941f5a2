"""adapters/imap.py against a real Dovecot, and against servers that misbehave as no real one would on request."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest

from failsafe.adapters.imap import ImapMailbox, _new_uids
from failsafe.errors import MailError
from failsafe.model import Body, Endpoint
from failsafe.ports import NewMessage
from failsafe.secrets import Secret
from tests.contract.dovecot import MASTER, PASSWORD, Dovecot, running
from tests.contract.mail_servers import ScriptedServer, Talk

MESSAGE = b"From: a@example.org\r\nMessage-ID: <one@test>\r\nSubject: one\r\n\r\nbody\r\n"
DATE = datetime(2021, 3, 28, 2, 30, 59, tzinfo=timezone(timedelta(hours=1)))
USERS = [f"u{number}@example.org" for number in range(20)]


@pytest.fixture(scope="module", params=[("/", ""), (".", "INBOX.")], ids=["slash", "dot-below-inbox"])
def server(request: pytest.FixtureRequest) -> Iterator[Dovecot]:
    separator, prefix = request.param
    with running(USERS, separator=separator, prefix=prefix) as dovecot:
        yield dovecot


@pytest.fixture
def box(server: Dovecot, request: pytest.FixtureRequest) -> Iterator[ImapMailbox]:
    used = getattr(server, "used", 0)
    server.used = used + 1  # type: ignore[attr-defined]  # each test has a mailbox that nobody touched
    box = server.open(USERS[used])
    yield box
    box.close()


def test_an_appended_message_comes_back_with_its_bytes_flags_keywords_and_date(box: ImapMailbox) -> None:
    uid = box.append("INBOX", MESSAGE, frozenset({"\\Seen", "\\Flagged", "$Forwarded", "Work"}), DATE)
    (stored,) = box.messages("INBOX")
    assert (stored.uid, stored.size, stored.message_id, stored.internal_date) == (
        uid,
        len(MESSAGE),
        "one@test",
        DATE.astimezone(UTC),
    )
    assert stored.flags == {"\\Seen", "\\Flagged", "$Forwarded", "Work"}
    assert list(box.fetch("INBOX", [stored.uid])) == [(uid, MESSAGE)]


def test_reading_a_message_sets_no_flag(box: ImapMailbox) -> None:
    box.append("INBOX", MESSAGE, frozenset(), DATE)
    (stored,) = box.messages("INBOX")
    list(box.fetch("INBOX", [stored.uid]))
    assert box.messages("INBOX")[0].flags == frozenset()


@pytest.mark.parametrize("name", ["Entwürfe", "Archive/2026", "with space", 'quo"te', "a&b", "日本/東京"])
def test_folders_keep_their_names(box: ImapMailbox, name: str) -> None:
    box.create_folder(name)
    box.create_folder(name)
    box.append(name, MESSAGE, frozenset(), DATE)
    assert name in box.folders()
    assert [message.message_id for message in box.messages(name)] == ["one@test"]


def test_a_folder_that_is_not_there_is_empty(box: ImapMailbox) -> None:
    assert box.messages("Nowhere/At all") == ()


def test_a_part_with_the_servers_separator_stays_one_part(box: ImapMailbox) -> None:
    box.create_folder("v1.2")
    box.create_folder("v1.2")
    box.append("v1.2", MESSAGE, frozenset(), DATE)
    assert len(box.messages("v1.2")) == 1
    assert {name for name in box.folders() if name != "INBOX"} == {"v1_2"}  # a Maildir store has no dots


def test_bytes_that_libraries_like_to_mend_stay_as_they_are(box: ImapMailbox) -> None:
    odd = b"Subject: x\r\n\r\nbare \r here, raw \xff\xfe, and a line of 3000: " + b"x" * 3000 + b"\r\n\r\n\r\n"
    uid = box.append("INBOX", odd, frozenset(), DATE)
    assert uid is not None
    assert list(box.fetch("INBOX", [uid])) == [(uid, odd)]


def test_many_messages_are_listed_and_fetched_in_batches(box: ImapMailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("failsafe.adapters.imap.LISTED_AT_ONCE", 7)
    monkeypatch.setattr("failsafe.adapters.imap.FETCHED_AT_ONCE", 3)
    monkeypatch.setattr("failsafe.adapters.imap.SEARCHED_AT_ONCE", 5)
    sent = [MESSAGE + str(number).encode() for number in range(16)]
    for message in sent:
        box.append("INBOX", message, frozenset(), DATE)
    uids = [message.uid for message in box.messages("INBOX")]
    assert [data for _, data in box.fetch("INBOX", uids)] == sent


def test_a_large_message_goes_there_and_comes_back_in_pieces(box: ImapMailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("failsafe.adapters.imap.LARGE", 1000)
    parts = [b"Subject: large\r\n\r\n", *(b"%04d " % number * 400 + b"\r\n" for number in range(5))]
    box.append("INBOX", MESSAGE, frozenset(), DATE)
    box.append("INBOX", Body(sum(map(len, parts)), lambda: parts), frozenset(), DATE)
    box.append("INBOX", Body.of(b"\r\n" * 1000), frozenset(), DATE)
    uids = [message.uid for message in box.messages("INBOX")]
    found = [list(pieces) for _, pieces in box.read("INBOX", uids)]
    assert [b"".join(pieces) for pieces in found] == [MESSAGE, b"".join(parts), b"\r\n" * 1000]
    assert [max(map(len, pieces)) for pieces in found] == [len(MESSAGE), 1000, 1000]
    assert list(box.read("INBOX", [max(uids) + 1])) == []


def test_many_messages_go_in_one_command_and_each_comes_back_as_it_was(box: ImapMailbox) -> None:
    assert box.takes_many
    odd = b'Subject: x\r\n\r\nbare \r here, raw \xff\xfe ("{3}\r\n\r\n'
    given = [
        NewMessage(Body.of(MESSAGE), frozenset({"\\Seen", "Work"}), DATE),
        NewMessage(Body.of(odd), frozenset(), DATE + timedelta(days=1)),
        NewMessage(Body.of(MESSAGE + b"more\r\n"), frozenset({"\\Flagged"}), DATE),
    ]
    box.create_folder("Ent&würfe")
    uids = box.append_all("Ent&würfe", given)
    stored = {message.uid: message for message in box.messages("Ent&würfe")}
    found = dict(box.fetch("Ent&würfe", sorted(stored)))
    assert [uid and found[uid] for uid in uids] == [MESSAGE, odd, MESSAGE + b"more\r\n"]
    for uid, each in zip(uids, given, strict=True):
        assert uid is not None
        assert (stored[uid].flags, stored[uid].internal_date) == (each.flags, each.internal_date.astimezone(UTC))


def test_of_messages_in_one_command_none_is_there_where_one_is_refused(box: ImapMailbox) -> None:
    letters = [
        NewMessage(Body.of(data), frozenset(), DATE) for data in (MESSAGE, b"", MESSAGE)
    ]  # no server takes an empty message
    with pytest.raises(MailError) as caught:
        box.append_all("INBOX", letters)
    assert not caught.value.transient
    assert box.messages("INBOX") == ()
    uids = box.append_all("INBOX", letters[:1])
    assert [message.uid for message in box.messages("INBOX")] == list(uids)


@pytest.mark.parametrize(
    ("answer", "uids"),
    [
        (b"[APPENDUID 7 4:6] done", (4, 5, 6)),
        (b"[APPENDUID 7 4,9:10] done", (4, 9, 10)),
        (b"done", (None,) * 3),
        (b"[APPENDUID 7 4:5] done", (None,) * 3),
        (b"[APPENDUID 7 1:2:3] done", (None,) * 3),
        (b"[APPENDUID 7 1,,2] done", (None,) * 3),
        (b"[APPENDUID 7 1:99999999999] done", (None,) * 3),
        (b"[APPENDUID 7 1:4294967295] done", (None,) * 3),
        (None, (None,) * 3),
    ],
)
def test_what_a_server_says_of_new_uids_is_believed_only_where_it_fits(answer: object, uids: tuple[int | None, ...]) -> None:
    assert _new_uids(answer, 3) == uids


def test_a_folder_that_is_not_there_refuses_them_all_and_the_session_stays_usable(box: ImapMailbox) -> None:
    with pytest.raises(MailError) as caught:
        box.append_all("No such folder", [NewMessage(Body.of(MESSAGE), frozenset(), DATE)] * 3)
    assert not caught.value.transient
    assert box.messages("INBOX") == ()


def test_a_master_user_opens_a_mailbox(server: Dovecot) -> None:
    box = ImapMailbox(server.endpoint, f"{USERS[-1]}*{MASTER}", Secret(PASSWORD))
    box.append("INBOX", MESSAGE, frozenset(), DATE)
    box.close()
    own = server.open(USERS[-1])
    assert len(own.messages("INBOX")) == 1
    own.close()


def test_a_refused_message_is_a_lasting_fault_that_leaves_the_session_usable(box: ImapMailbox) -> None:
    with pytest.raises(MailError) as caught:
        box.append("No such folder", MESSAGE, frozenset(), DATE)
    assert not caught.value.transient
    assert box.messages("INBOX") == ()


def test_a_wrong_password_is_told_as_such_and_never_shown(server: Dovecot) -> None:
    with pytest.raises(MailError) as caught:
        ImapMailbox(server.endpoint, USERS[0], Secret("not-the-password"))
    assert caught.value.credential
    assert not caught.value.transient
    assert "not-the-password" not in str(caught.value)
    assert USERS[0] in str(caught.value)


def test_a_certificate_that_nobody_here_trusts_is_refused(server: Dovecot) -> None:
    with pytest.raises(MailError, match="certificate") as caught:
        ImapMailbox(Endpoint("localhost", server.port), USERS[0], Secret(PASSWORD))
    assert not caught.value.transient


def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("failsafe.adapters.imap_line.CONNECT_SECONDS", 0.5)
    server = ScriptedServer(Talk.hear)
    try:
        with pytest.raises(MailError) as caught:
            ImapMailbox(Endpoint("127.0.0.1", server.port, "none"), "u", Secret("p"), answer_seconds=0.5)
        assert caught.value.transient
    finally:
        server.close()


def test_nobody_listening_is_a_passing_fault() -> None:
    with pytest.raises(MailError) as caught:
        ImapMailbox(Endpoint("127.0.0.1", 1, "none"), "u", Secret("p"))
    assert caught.value.transient
    assert "127.0.0.1:1" in str(caught.value)


def _giant(talk: Talk) -> None:
    talk.say("* OK [CAPABILITY IMAP4rev1] ready")
    while line := talk.hear():
        tag, verb = line.split()[:2]
        if verb.upper() == "LIST":
            talk.say('* LIST () "/" {99999999999}')
        elif verb.upper() == "CAPABILITY":
            talk.say("* CAPABILITY IMAP4rev1", f"{tag} OK done")
        else:
            talk.say(f"{tag} OK done")


def test_an_absurd_announcement_is_refused_before_memory_is_taken() -> None:
    server = ScriptedServer(_giant)
    try:
        with pytest.raises(MailError, match="announced"):
            ImapMailbox(Endpoint("127.0.0.1", server.port, "none"), "u", Secret("p"), answer_seconds=20).folders()
    finally:
        server.close()


def _senseless(talk: Talk) -> None:
    talk.say("* OK [CAPABILITY IMAP4rev1] ready")
    while line := talk.hear():
        talk.say(f"{line.split()[0]} OK done")


def test_an_answer_that_makes_no_sense_is_the_servers_fault() -> None:
    server = ScriptedServer(_senseless)
    try:
        with pytest.raises(MailError, match=r"127\.0\.0\.1"):
            ImapMailbox(Endpoint("127.0.0.1", server.port, "none"), "u", Secret("p"), answer_seconds=20).folders()
    finally:
        server.close()
