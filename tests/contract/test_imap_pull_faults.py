"""The pull over IMAP when things go wrong: lines that are cut, stalled or garbled, refused logins and messages, kills, servers that can little."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from failsafe.adapters.imap_line import Meter, connect
from failsafe.adapters.imap_source import ImapSource
from failsafe.adapters.ssh import SshHost
from failsafe.errors import HostKeyError, MailError
from failsafe.model import Endpoint, Result
from tests.contract.conftest import Sshd, make_key
from tests.contract.dovecot import BY_DOMAIN, Dovecot, running
from tests.contract.imapstore import DATE, ImapStore, Proxy, message
from tests.contract.mail_servers import ScriptedServer, Talk

pytestmark = pytest.mark.timeout(100)

USERS = [f"u{number}@mdbox.example.org" for number in range(30)]
FILES = [f"m{number}@maildir.example.org" for number in range(10)]
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    with running([*USERS, *FILES], store=BY_DOMAIN) as dovecot:
        yield dovecot


@pytest.fixture
def store(server: Dovecot, tmp_path: Path) -> ImapStore:
    return ImapStore(tmp_path, server, (USERS.pop(),))


def fill(store: ImapStore, count: int, size: int = 100, folder: str = "INBOX", start: int = 0) -> None:
    for mailbox in store.mailboxes:
        box = store.server.open(mailbox)
        box.create_folder(folder) if folder != "INBOX" else None
        for number in range(start, start + count):
            body = os.urandom(size // 2).hex().encode()
            box.append(folder, message(f"{folder} {number}", body), frozenset({"\\Seen"} if number % 2 else ()), DATE)
        box.close()


def through(proxy: Proxy) -> Endpoint:
    return Endpoint("127.0.0.1", proxy.port, "none")


def dies_after(count: int) -> Callable[[bytes, int], bytes | None]:
    """What passes until one connection has brought so many bytes; nothing ever after."""
    dead = False

    def forward(data: bytes, sent: int) -> bytes | None:
        nonlocal dead
        dead = dead or sent > count
        return None if dead else data

    return forward


# ---------------------------------------------------------------- lines that break


def test_a_line_that_is_cut_again_and_again_costs_sessions_and_no_message(server: Dovecot, store: ImapStore) -> None:
    fill(store, 30, MEGABYTE)
    with Proxy(server.plain, lambda data, sent: data if sent < 12 * MEGABYTE else None) as proxy:
        store.endpoint = through(proxy)
        report = store.pull()
        assert (report.result, report.total) == (Result.OK, 30)
        assert proxy.connections >= 3
        assert proxy.down < 30 * MEGABYTE * 1.6  # what was under way when a line broke comes once more
    assert store.archived() == store.on_server()
    assert set(store.stored_ids().values()) == {1}


def test_a_pull_that_was_cut_off_goes_on_where_it_stopped(server: Dovecot, store: ImapStore) -> None:
    fill(store, 40, MEGABYTE)
    with Proxy(server.plain, dies_after(25 * MEGABYTE)) as proxy:
        store.endpoint = through(proxy)
        with pytest.raises(MailError) as caught:
            store.pull()
        assert caught.value.transient
    kept = len(store.stored_ids())
    assert kept >= 15
    store.endpoint = None
    report = store.pull()
    assert (report.result, report.total) == (Result.OK, 40)
    assert report.bytes_pulled < (40 - kept) * MEGABYTE * 1.1
    assert store.archived() == store.on_server()
    assert set(store.stored_ids().values()) == {1}


def test_flags_that_change_after_a_pull_was_cut_off_are_told_by_the_next_one(server: Dovecot, store: ImapStore) -> None:
    """Also of what that pull had read already, which is newer than the state that it began from."""
    fill(store, 3)
    store.pull()
    fill(store, 12, MEGABYTE, start=3)
    with Proxy(server.plain, dies_after(9 * MEGABYTE)) as proxy:
        store.endpoint = through(proxy)
        with pytest.raises(MailError):
            store.pull()
    store.endpoint = None
    with store.open_inventory() as inventory:
        assert inventory.count("entry") > 3
    (mailbox,) = store.mailboxes
    server.doveadm("flags", "add", "-u", mailbox, "\\Flagged", "mailbox", "INBOX", "all")
    assert store.pull().result is Result.OK
    assert store.archived() == store.on_server()


def test_a_killed_pull_loses_at_most_one_segment(store: ImapStore) -> None:
    fill(store, 40, MEGABYTE)
    child = os.fork()
    if child == 0:
        taken = 0

        class Deadly:
            def stage(self, text: str, total: int | None = None, unit: str = "") -> None: ...

            def advance(self, amount: int) -> None:
                nonlocal taken
                taken += amount
                if taken == 36:
                    os._exit(9)

        store.pull(progress=Deadly())
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    kept = len(store.stored_ids())
    assert kept >= 20
    report = store.pull()
    assert (report.result, report.total, report.new) == (Result.OK, 40, 40 - kept)
    assert report.bytes_pulled < (40 - kept) * MEGABYTE * 1.1
    assert store.archived() == store.on_server()


def test_a_server_that_stalls_is_given_up_in_time_with_the_right_words(
    server: Dovecot, store: ImapStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ANSWER_SECONDS", "CONNECT_SECONDS"):
        monkeypatch.setattr(f"failsafe.adapters.imap_line.{name}", 0.2)
    fill(store, 3, MEGABYTE)
    with Proxy(server.plain, lambda data, _: data if proxy.down < MEGABYTE else b"") as proxy:
        store.endpoint = through(proxy)
        with pytest.raises(MailError, match="does not greet") as caught:
            store.pull()
        assert caught.value.transient
    store.endpoint = None
    monkeypatch.undo()
    assert store.pull().result is Result.OK


def test_a_line_that_stalls_now_and_then_is_taken_up_again(
    server: Dovecot, store: ImapStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("failsafe.adapters.imap_line.ANSWER_SECONDS", 0.5)
    fill(store, 4, MEGABYTE)
    with Proxy(server.plain, lambda data, sent: data if sent < 2 * MEGABYTE else b"") as proxy:
        store.endpoint = through(proxy)
        assert store.pull().result is Result.OK
    assert store.archived() == store.on_server()


def test_garbage_in_the_middle_ends_in_an_error_and_the_next_pull_mends_it(server: Dovecot, store: ImapStore) -> None:
    fill(store, 5)
    with Proxy(server.plain, lambda data, _: data.replace(b"FETCH (UID", b"\xff\x00SOUP (")) as proxy:
        store.endpoint = through(proxy)
        with pytest.raises(MailError, match="unexpected response"):
            store.pull()
    store.endpoint = None
    assert store.pull().result is Result.OK
    assert store.archived() == store.on_server()


def test_nobody_listening_fails_the_pull_and_keeps_the_last_state(store: ImapStore) -> None:
    fill(store, 3)
    store.pull()
    store.endpoint = Endpoint("127.0.0.1", 1, "none")
    with pytest.raises(MailError):
        store.pull()
    store.endpoint = None
    assert store.pull().unchanged


# ---------------------------------------------------------------- what cannot be had


def test_a_mailbox_that_cannot_log_in_is_named_and_the_others_go_on(server: Dovecot, store: ImapStore, tmp_path: Path) -> None:
    store.mailboxes += (USERS.pop(),)
    fill(store, 4)
    store.pull()
    wrong = tmp_path / "wrong.password"
    wrong.touch(mode=0o600)
    wrong.write_text("not-the-password")
    bad, good = sorted(store.mailboxes)
    fill(replace(store, mailboxes=(good,)), 2, start=4)
    report = store.pull(store.source({bad: wrong}))
    assert report.result is Result.INCOMPLETE
    assert [(missing.mailbox, missing.folder) for missing in report.missing] == [(bad, "")]
    assert f"does not let {bad} in" in report.missing[0].why
    assert "not-the-password" not in str(report)
    assert (report.total, report.guards) == (10, ())  # of the one that was not let in, the last state stays
    assert store.pull().result is Result.OK


def test_no_mailbox_at_all_fails_the_pull(store: ImapStore, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.password"
    wrong.touch(mode=0o600)
    wrong.write_text("not-the-password")
    with pytest.raises(MailError) as caught:
        store.pull(store.source(dict.fromkeys(store.mailboxes, wrong)))
    assert caught.value.credential


def test_a_message_that_the_server_cannot_read_is_named_and_the_others_are_kept(server: Dovecot, tmp_path: Path) -> None:
    store = ImapStore(tmp_path, server, (FILES.pop(),))
    (mailbox,) = store.mailboxes
    fill(store, 20)
    files = sorted((server.folder / "mail/maildir.example.org" / mailbox.split("@")[0]).glob("*/*.vm*"))
    files = files or sorted((server.folder / "mail/maildir.example.org" / mailbox.split("@")[0] / "cur").iterdir())
    hidden = files[7]
    os.chown(hidden, 0, 0)
    hidden.chmod(0)
    report = store.pull()
    assert report.result is Result.INCOMPLETE
    assert (report.total, len(report.missing)) == (19, 1)
    (missing,) = report.missing
    assert (missing.mailbox, missing.folder) == (mailbox, "INBOX")
    assert missing.name.startswith("UID ")
    again = store.pull()
    assert (again.unchanged, again.result) == (True, Result.INCOMPLETE)
    os.chown(hidden, 5000, 5000)
    hidden.chmod(0o600)
    assert store.pull().result is Result.OK
    assert store.archived() == store.on_server()


def test_a_server_that_tells_wrong_sizes_is_believed_when_it_gives_the_same_bytes_twice(
    server: Dovecot, store: ImapStore
) -> None:
    fill(store, 4)
    store.pull()
    fill(store, 3, start=4)
    with Proxy(server.plain, lambda data, _: data.replace(b"RFC822.SIZE 1", b"RFC822.SIZE 2")) as proxy:
        store.endpoint = through(proxy)
        report = store.pull()
    assert report.result is Result.OK
    assert any("another size" in note for note in report.notes)
    assert store.archived() == store.on_server()


def test_files_that_cannot_be_had_over_ssh_are_named_and_the_mail_is_there(store: ImapStore, tmp_path: Path) -> None:
    fill(store, 3)
    (tmp_path / "known_hosts").write_text("")
    host = SshHost("vps", "root@127.0.0.1:1", known_hosts=tmp_path / "known_hosts")
    report = store.pull(host=host, extra_paths=("/etc/postfix",), commands={"dump.sql": "true"})
    assert (report.result, report.total) == (Result.INCOMPLETE, 3)
    assert [missing.name for missing in report.missing] == ["/etc/postfix", "commands/dump.sql"]
    assert "127.0.0.1:1" in report.missing[0].why


def test_another_host_key_is_told_and_the_mail_is_there_all_the_same(store: ImapStore, sshd: Sshd, tmp_path: Path) -> None:
    fill(store, 3)
    other = make_key(tmp_path / "other").with_suffix(".pub").read_text().split()
    (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{sshd.port} {other[0]} {other[1]}\n")
    host = SshHost("vps", sshd.address, key=sshd.key, known_hosts=tmp_path / "known_hosts")
    with pytest.raises(HostKeyError):
        store.pull(host=host, extra_paths=("/etc/hostname",))
    assert store.archived() == store.on_server()


# ---------------------------------------------------------------- servers that can little


@pytest.fixture(scope="module", params=["IMAP4rev1", "IMAP4rev1 NAMESPACE UNSELECT ENABLE CONDSTORE LIST-EXTENDED"])
def simple(request: pytest.FixtureRequest) -> Iterator[Dovecot]:
    """A server of few words: nothing that it does not announce is asked of it."""
    with running(USERS[:10], store="mdbox", more=f"imap_capability = {request.param}\nlogin_greeting = ready\n") as dovecot:
        yield dovecot


def test_a_server_without_extensions_is_followed_all_the_same(simple: Dovecot, tmp_path: Path) -> None:
    store = ImapStore(tmp_path, simple, ("u0@mdbox.example.org",))
    (mailbox,) = store.mailboxes
    for folder in ("INBOX", "Entwürfe", "Archive"):
        fill(store, 10, folder=folder)
    report = store.pull()
    assert (report.result, report.total) == (Result.OK, 30)
    assert store.archived() == store.on_server()
    assert store.pull().unchanged
    box = simple.open(mailbox)
    client = box._client
    client.select_folder("INBOX")
    client.add_flags([1, 2], ["\\Flagged", "Work"])
    client.copy([5, 6], "Archive")
    client.delete_messages([5, 6, 7])
    client.expunge()
    box.append("INBOX", message("new"), frozenset(), DATE)
    box.close()
    report = store.pull()
    assert (report.result, report.reflagged, report.moved, report.gone) == (Result.OK, 2, 2, 1)
    assert store.archived() == store.on_server()
    simple.doveadm("mailbox", "update", "-u", mailbox, "--uid-validity", "4000000002", "INBOX")
    report = store.pull()
    assert (report.result, report.guards) == (Result.OK, ())
    assert store.archived() == store.on_server()
    assert set(store.stored_ids().values()) == {1}
    asked = (simple.folder / "dovecot.log").read_text()
    assert "Unknown command" not in asked


def test_answers_for_other_messages_that_have_no_uid_are_not_taken_for_ours() -> None:
    """A flag that somebody sets meanwhile is told by sequence number, which is another message's UID."""

    def script(talk: Talk) -> None:
        talk.say("* PREAUTH [CAPABILITY IMAP4rev1] hello")
        while line := talk.hear():
            tag, verb = line.split()[:2]
            if "FETCH" in line:
                talk.say("* 1 FETCH (UID 11 FLAGS (\\Seen))", "* 12 FETCH (FLAGS (\\Deleted))", "* 2 FETCH (UID 12 FLAGS ())")
            elif verb == "CAPABILITY":
                talk.say("* CAPABILITY IMAP4rev1")
            elif verb == "LIST":
                talk.say('* LIST () "/" INBOX')
            elif verb == "EXAMINE":
                talk.say("* 2 EXISTS", "* OK [UIDVALIDITY 1] ok", "* OK [UIDNEXT 13] ok", "* FLAGS ()")
            elif verb == "STATUS":
                talk.say("* STATUS INBOX (MESSAGES 2 UIDNEXT 13 UIDVALIDITY 1)")
            talk.say(f"{tag} OK done")

    with ScriptedServer(script) as server:
        meter = Meter()
        box = ImapSource(connect(Endpoint("127.0.0.1", server.port, "none"), meter), meter, "test")
        box.folders()
        box.open("INBOX")
        assert dict(box.flags([11, 12])) == {11: frozenset({"\\Seen"}), 12: frozenset()}
        box.close()


def selected(server: ScriptedServer) -> ImapSource:
    """A session with a folder open, as far as our side knows."""
    meter = Meter()
    box = ImapSource(connect(Endpoint("127.0.0.1", server.port, "none"), meter), meter, "test")
    box._client._imap.state = "SELECTED"
    return box


def test_a_server_with_object_ids_says_which_messages_are_the_same() -> None:
    def script(talk: Talk) -> None:
        talk.say("* PREAUTH [CAPABILITY IMAP4rev1 OBJECTID] hello")
        while line := talk.hear():
            tag, verb = line.split()[:2]
            if "EMAILID" in line:
                date = '"28-Mar-2021 02:30:59 +0000"'
                talk.say(f"* 1 FETCH (UID 7 RFC822.SIZE 5 INTERNALDATE {date} FLAGS () EMAILID (M6d99ac3275bb4e))")
            elif verb == "CAPABILITY":
                talk.say("* CAPABILITY IMAP4rev1 OBJECTID")
            talk.say(f"{tag} OK done")

    with ScriptedServer(script) as server:
        box = selected(server)
        (one,) = box.facts([7])
        assert (one.uid, one.identity, one.certain) == (7, "M6d99ac3275bb4e", True)
        box.close()


@pytest.mark.parametrize("beyond", ['BODY[]<{0}> ""', "FLAGS ()"], ids=["empty", "nothing"])
def test_a_server_that_gives_less_at_once_than_is_asked_for_gives_the_whole_message(beyond: str) -> None:
    """RFC 3501 lets a part be shorter only at the end of a message; whoever believes that of every server cuts messages off."""
    content = os.urandom(5 << 20).hex()

    def script(talk: Talk) -> None:
        talk.say("* PREAUTH [CAPABILITY IMAP4rev1] hello")
        while line := talk.hear():
            tag, verb = line.split()[:2]
            if found := re.search(r"<(\d+)\.", line):
                start = int(found[1])
                part = content[start : start + MEGABYTE]
                said = f"BODY[]<{start}> {{{len(part)}}}\r\n{part}" if part else beyond.format(start)
                talk.say(f"* 1 FETCH (UID 7 {said})")
            elif verb == "CAPABILITY":
                talk.say("* CAPABILITY IMAP4rev1")
            talk.say(f"{tag} OK done")

    with ScriptedServer(script) as server:
        box = selected(server)
        for told in (len(content), len(content) + 1000):
            ((uid, pieces),) = box.bodies([(7, told)])
            assert (uid, b"".join(pieces).decode()) == (7, content)
        box.close()
