"""What the restore of a whole server plans: UIDs that are never used twice, names, owners, and what does not go into place."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from failsafe.backup.server_plan import (
    LAST_UID,
    MARGIN,
    Known,
    Placing,
    Silence,
    by_age,
    choose_uids,
    owner_of,
    plan_files,
    plan_folders,
    plan_mailbox,
)
from failsafe.mail.manifest import Entry, FileRef, FolderManifest, MailboxManifest

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
SOON = Silence(AT, AT + timedelta(minutes=10))
OLD = int((AT - timedelta(days=400)).timestamp())
FRESH = int((AT - timedelta(days=3)).timestamp())


def entry(uid: int | None, name: str, *, date: int = OLD, keywords: tuple[str, ...] = (), gone: str | None = None) -> Entry:
    digest = hashlib.sha256(name.encode()).hexdigest()
    return Entry(uid, digest, digest, "S", keywords, date, name, 10, gone)


def folder(**more: object) -> FolderManifest:
    values = {"name": "INBOX", "directory": "", "uid_validity": 1_600_000_000, "uid_next": 8, "guid": "ab" * 16} | more
    return FolderManifest(**values)  # type: ignore[arg-type]


def file(path: str, mode: int = 0o644, uid: int = 0, gid: int = 0) -> FileRef:
    return FileRef(path, "0" * 64, 1, mode, uid, gid, 0)


def test_the_next_uid_lies_above_everything_the_lost_server_can_have_given_out() -> None:
    chosen = choose_uids(folder(), [entry(7, "a")], [Known(1_600_000_000, 50)], SOON)

    assert (chosen.uid_validity, chosen.uid_next, chosen.is_new) == (1_600_000_000, 50 + MARGIN, False)


def test_a_busy_folder_and_a_long_silence_widen_the_margin() -> None:
    busy = [entry(number, str(number), date=FRESH) for number in range(1, 30_001)]  # 1,000 a day

    chosen = choose_uids(folder(uid_next=30_001), busy, [], Silence(AT, AT + timedelta(days=14)))

    assert chosen.uid_next >= 30_001 + 10 * 1_000 * 14


def test_a_folder_that_got_another_uidvalidity_meanwhile_gets_a_third_one() -> None:
    chosen = choose_uids(folder(), [entry(7, "a")], [Known(1_700_000_000, 3)], SOON)

    assert chosen.is_new
    assert chosen.uid_validity == max(int(SOON.now.timestamp()), 1_700_000_001)


def test_an_empty_server_that_was_pulled_meanwhile_does_not_cost_the_old_uidvalidity() -> None:
    states = [Known(1_795_000_000, 1), Known(1_600_000_000, 90)]  # the newest, and the newest before the store was lost

    chosen = choose_uids(folder(), [entry(7, "a")], states, SOON)

    assert (chosen.uid_validity, chosen.uid_next, chosen.is_new) == (1_600_000_000, 90 + MARGIN, False)


def test_where_too_few_uids_are_left_the_folder_gets_a_new_uidvalidity() -> None:
    chosen = choose_uids(folder(uid_next=LAST_UID - 5), [entry(7, "a")], [], SOON)

    assert chosen.is_new
    assert chosen.uid_next == 8


def test_a_folder_without_uids_is_left_to_the_server() -> None:
    plan = planned(folder(uid_validity=None, uid_next=None), [entry(None, "a")])

    assert plan.folders[0].uidlist == b""


def planned(one: FolderManifest, entries: list[Entry], *, files: tuple[FileRef, ...] = (), placing: Placing | None = None):  # type: ignore[no-untyped-def]
    manifest = MailboxManifest("ann@example.org", "maildir++", (one,), (), files)
    return plan_mailbox(manifest, {one.directory: entries}, placing or Placing(), (5000, 5000), {}, SOON)


def test_the_uidlist_names_every_message_in_order_of_uid_and_keeps_the_guid() -> None:
    plan = planned(folder(), [entry(7, "b"), entry(3, "a"), entry(None, "c")])

    assert plan.folders[0].uidlist == f"3 V1600000000 N{8 + MARGIN} G{'ab' * 16}\n3 :a\n7 :b\n".encode()
    assert [letter.name for letter in plan.folders[0].letters] == ["b:2,S", "a:2,S", "c:2,S"]


def test_keywords_keep_the_letters_they_had() -> None:
    plan = planned(folder(keyword_letters=("", "Work")), [entry(1, "a", keywords=("Work", "New"))])

    assert plan.folders[0].keywords == b"0 New\n1 Work\n"
    assert plan.folders[0].letters[0].letters == "Sab"


def test_what_had_vanished_while_a_guard_stood_does_not_come_back() -> None:
    plan = planned(folder(), [entry(1, "a"), entry(2, "b", gone="2026-11-19T00:00:00Z")])

    assert [letter.base for letter in plan.folders[0].letters] == ["a"]


def test_two_messages_of_one_name_are_both_written() -> None:
    plan = planned(folder(), [entry(1, "a"), entry(2, "a")])

    assert len({letter.name for letter in plan.folders[0].letters}) == 2


def test_dovecots_counter_of_uidvalidity_indexes_and_quota_files_stay_behind() -> None:
    names = (
        "dovecot-uidvalidity",
        "dovecot-uidvalidity.5f5e1000",
        "dovecot.index.log",
        "maildirsize",
        "subscriptions",
        "dovecot-acl",
    )

    plan = planned(folder(), [], files=tuple(file(name) for name in names))

    assert [placed.place for placed in plan.files] == ["example.org/ann/subscriptions", "example.org/ann/dovecot-acl"]


def test_where_the_maildir_is_a_folder_of_the_home_sieve_scripts_lie_beside_it() -> None:
    plan = planned(
        folder(),
        [],
        files=(file("subscriptions"), file(".dovecot.sieve"), file("sieve/a.sieve")),
        placing=Placing(base="Maildir"),
    )

    assert plan.place == "example.org/ann/Maildir"
    assert [placed.place for placed in plan.files] == [
        "example.org/ann/Maildir/subscriptions",
        "example.org/ann/.dovecot.sieve",
        "example.org/ann/sieve/a.sieve",
    ]


def test_subscriptions_are_made_where_the_file_is_not_in_the_backup() -> None:
    one = folder(name="Archive/2026", directory=".Archive.2026", subscribed=True)

    assert planned(one, []).subscriptions == b"V\t2\n\nArchive\t2026\n"
    assert planned(one, [], files=(file("subscriptions"),)).subscriptions == b""


@pytest.mark.parametrize("name", ["../etc@passwd", "a/b@example.org", "@example.org", ".@..", "x" * 300 + "@example.org"])
def test_a_mailbox_whose_name_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no name of a folder"):
        Placing().home(name)


def test_mailus_mailboxes_are_named_as_a_whole() -> None:
    assert Placing(naming="user@domain").home("ann@example.org") == "ann@example.org"


def test_the_owner_of_a_mailbox_is_that_of_most_of_its_files() -> None:
    files = (file("a", uid=5000, gid=5001), file("b", uid=5000, gid=5001), file("c"))

    assert owner_of(MailboxManifest("a@b", "maildir++", files=files)) == (5000, 5001)
    assert owner_of(MailboxManifest("a@b", "maildir++")) is None


def test_the_newest_thirty_days_are_counted_from_the_restored_state() -> None:
    letters = planned(folder(), [entry(1, "old"), entry(2, "new", date=FRESH)]).folders[0].letters

    fresh, rest = by_age(letters, AT)

    assert ([letter.base for letter in fresh], [letter.base for letter in rest]) == (["new"], ["old"])


def test_folders_come_after_those_they_lie_in() -> None:
    rows = plan_folders(["a/b/c", "a"], (1, 2))

    assert [row[0] for row in rows] == ["a", "a/b", "a/b/c"]


def test_a_folder_of_the_server_is_as_closed_as_what_is_in_it() -> None:
    plan = plan_files([file("etc/dkim/key", 0o600, 110, 110), file("etc/postfix/main.cf")], {})

    assert plan.folders == (
        ("etc", 0o755, 0, 0),
        ("etc/dkim", 0o700, 110, 110),
        ("etc/postfix", 0o755, 0, 0),
    )


def test_what_makes_a_machine_that_machine_is_laid_aside() -> None:
    paths = [
        "etc/fstab",
        "etc/shadow",
        "etc/ssh/sshd_config",
        "root/.ssh/authorized_keys",
        "commands/x.sql",
        "etc/hosts",
        "usr/lib/x",
        "var/lib/dpkg/status",
        "etc/postfix/main.cf",
        "accounts.json",
    ]

    plan = plan_files(
        [file(path) for path in paths], {"/etc/resolv.conf": "../run/x", "/etc/live/key.pem": "../archive/key1.pem"}
    )

    assert [one.path for one in plan.files] == ["etc/postfix/main.cf"]
    assert [one.path for one in plan.by_hand] == paths[:8]
    assert plan.links == (("etc/live/key.pem", "../archive/key1.pem"),)


@pytest.mark.parametrize("path", ["../x", "etc//x", "etc/./x", "etc/../x"])
def test_a_file_whose_path_leads_elsewhere_is_left_out_and_named(path: str) -> None:
    plan = plan_files([file(path)], {f"/{path}": "y"})

    assert (plan.files, plan.by_hand, plan.links) == ((), (), ())
    assert repr(path) in plan.left_out[0]
