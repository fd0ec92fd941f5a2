"""The doctor of backups and of this machine."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from failsafe.backup.doctor import (
    MachineCheckup,
    RepositoryCheckup,
    ServerCheckup,
    Space,
    judge_clock,
    judge_machine,
    judge_repository,
    judge_retention,
    judge_server,
)
from failsafe.backup.doctor_access import INSTALLED, SENT, StoredLogins
from failsafe.backup.doctor_accounts import AccountsSeen
from failsafe.backup.doctor_notify import NotifyCheckup
from failsafe.backup.doctor_overdue import judge_overdue
from failsafe.backup.freshness import Overdue
from failsafe.model import Finding, Severity

NOW = datetime(2026, 11, 22, 17, 0, tzinfo=UTC)
ROOMY = Space(50 << 30, 100 << 30, 900_000, 1_000_000)
SERVER = ServerCheckup(
    server="vps",
    over_ssh=True,
    mailboxes=("a@example.org",),
    spaces=(ROOMY,),
    clock_offset=timedelta(seconds=1),
    good_backup_at=NOW - timedelta(minutes=10),
    domains=("example.org",),
)
MACHINE = MachineCheckup(
    space=ROOMY,
    staging_bytes=1 << 30,
    exposed=(),
    secret_faults=(),
    secret_warnings=(),
    file_system="ext4",
    is_network_file_system=False,
    restic="0.18.0",
    notify=NotifyCheckup(configured=True, depends=("",)),
    own_line=(3, 3),
)


def of_server(code: str, **changed: object) -> Finding:
    return next(found for found in judge_server(replace(SERVER, **changed), NOW) if found.code == code)  # type: ignore[arg-type]


def of_machine(code: str, **changed: object) -> Finding:
    return next(found for found in judge_machine(replace(MACHINE, **changed)) if found.code == code)  # type: ignore[arg-type]


def test_a_healthy_server_and_machine_have_nothing_bad() -> None:
    findings = [*judge_server(SERVER, NOW), *judge_machine(MACHINE), judge_clock([SERVER])]
    assert [found.code for found in findings if found.severity in (Severity.FAIL, Severity.WARN)] == []


def test_nothing_about_the_mail_server_blocks_a_failover() -> None:
    dead = replace(SERVER, error="timed out", mailboxes=(), spaces=(), clock_offset=None, good_backup_at=None)
    assert [found.code for found in judge_server(dead, NOW) if found.blocks_failover] == []
    assert judge_clock([dead]).severity is Severity.SKIPPED


def test_an_unreachable_server_is_one_fault_and_the_rest_is_skipped() -> None:
    assert of_server("ssh-access", error="host key unknown", mend="ssh-keyscan").mend == "ssh-keyscan"
    assert of_server("disk", error="x").severity is Severity.SKIPPED


def test_a_server_without_mailboxes_is_a_wrong_path() -> None:
    assert "path" in of_server("ssh-access", mailboxes=()).mend


def test_what_a_layout_lacks_is_a_fault_and_names_each_place() -> None:
    lacking = ("/srv/dms/config: no such folder", "/srv/dms/mail-state: no such folder")
    found = of_server("sources", sources=("mail: /srv/dms/mail-data",), lacking=lacking)
    assert found.severity is Severity.FAIL
    assert all(each in found.text for each in lacking)
    assert "[mail_server.vps]" in found.mend


def test_where_a_layout_was_found_is_shown() -> None:
    found = of_server("sources", sources=("mail: /srv/dms/mail-data", "configuration: /srv/dms/config"))
    assert (found.severity, found.text) == (Severity.OK, "mail: /srv/dms/mail-data; configuration: /srv/dms/config")
    assert "sources" not in by_code(SERVER)


def test_what_this_version_does_not_look_at_is_skipped_and_never_called_well() -> None:
    assert of_server("accounts-covered").severity is Severity.SKIPPED


@pytest.mark.parametrize("space", [Space(1 << 20, 100 << 30), Space(2 << 30, 100 << 30), Space(50 << 30, 100 << 30, 10, 1000)])
def test_little_room_or_few_inodes_on_the_server_is_a_fault(space: Space) -> None:
    assert of_server("disk", spaces=(ROOMY, space)).severity is Severity.FAIL


def test_a_domain_with_mail_that_is_not_configured_is_told_by_name() -> None:
    found = of_server("domain-missing", mailboxes=("a@example.org", "b@forgotten.example"))
    assert found.severity is Severity.WARN
    assert "forgotten.example" in found.text


@pytest.mark.parametrize(("age", "severity"), [(timedelta(minutes=59), Severity.OK), (timedelta(minutes=61), Severity.FAIL)])
def test_an_old_recovery_point_is_a_fault(age: timedelta, severity: Severity) -> None:
    assert of_server("recovery-point", good_backup_at=NOW - age).severity is severity


@pytest.mark.parametrize(("seconds", "severity"), [(5, Severity.OK), (-60, Severity.WARN), (400, Severity.FAIL)])
def test_clocks_that_differ_by_more_than_tsig_allows_block(seconds: int, severity: Severity) -> None:
    found = judge_clock([replace(SERVER, clock_offset=timedelta(seconds=seconds))])
    assert (found.code, found.severity, found.blocks_failover) == ("clock", severity, True)


def test_a_repository_is_checked_in_time_or_told() -> None:
    week = timedelta(days=7)
    fresh = RepositoryCheckup("nas", week, NOW, NOW - week, "")
    assert (judge_repository(fresh, NOW).code, judge_repository(fresh, NOW).severity) == ("repository-check", Severity.OK)
    assert judge_repository(replace(fresh, last_check_at=NOW - week * 3), NOW).severity is Severity.WARN
    assert judge_repository(replace(fresh, last_check_at=None), NOW).severity is Severity.WARN
    assert judge_repository(replace(fresh, last_error="connection refused"), NOW).severity is Severity.FAIL
    assert judge_repository(replace(fresh, last_snapshot_at=None), NOW).severity is Severity.SKIPPED


@pytest.mark.parametrize(
    ("changed", "severity"),
    [
        ({"keep": "30 daily"}, Severity.OK),
        ({}, Severity.OK),
        ({"maintenance_here": False}, Severity.OK),
        ({"keep": "30 daily", "keep_warning": "counts can be pushed out"}, Severity.WARN),
    ],
)
def test_what_a_repository_keeps_is_told_and_a_rule_that_can_be_attacked_is_a_warning(
    changed: dict[str, object], severity: Severity
) -> None:
    seen = replace(RepositoryCheckup("nas", timedelta(days=7), NOW, NOW, ""), **changed)  # type: ignore[arg-type]
    assert (judge_retention(seen).code, judge_retention(seen).severity) == ("retention", severity)


@pytest.mark.parametrize(
    ("code", "changed", "severity"),
    [
        ("staging-space", {"space": Space(1 << 20, 1 << 40)}, Severity.WARN),
        ("staging-exposed", {"exposed": ("/x",)}, Severity.FAIL),
        ("secret-mode", {"secret_faults": (("a", "is open"),)}, Severity.FAIL),
        ("secret-mode", {"secret_warnings": (("a", "no modes"),)}, Severity.WARN),
        ("database-place", {"is_network_file_system": True}, Severity.FAIL),
        ("restic-version", {"restic_error": "restic is missing"}, Severity.FAIL),
        ("restic-version", {"restic_too_old": True}, Severity.FAIL),
        ("restic-version", {"restic_unknown": True}, Severity.WARN),
        ("notify-path", {"notify": NotifyCheckup()}, Severity.WARN),
        ("notify-path", {"notify": NotifyCheckup(configured=True, error="cannot be read")}, Severity.FAIL),
        ("notify-path", {"notify": NotifyCheckup(configured=True, waiting=2)}, Severity.FAIL),
        ("notify-path", {"notify": NotifyCheckup(configured=True, depends=("it is mail to example.org",))}, Severity.FAIL),
        ("notify-path", {"notify": NotifyCheckup(configured=True, depends=("it is mail to example.org", ""))}, Severity.WARN),
        ("own-line", {"own_line": (0, 0)}, Severity.FAIL),
        ("own-line", {"own_line": (1, 3)}, Severity.WARN),
    ],
)
def test_faults_of_this_machine_are_told_with_their_mend(code: str, changed: dict[str, object], severity: Severity) -> None:
    found = of_machine(code, **changed)
    assert found.severity is severity
    assert found.mend


IMAP = replace(SERVER, over_ssh=False, over_imap=True, spaces=())


def by_code(seen: ServerCheckup) -> dict[str, Finding]:
    return {finding.code: finding for finding in judge_server(seen, NOW)}


def test_a_server_over_imap_is_well_when_every_mailbox_opens() -> None:
    found = by_code(IMAP)
    assert (found["ssh-access"].severity, found["ssh-access"].text) == (Severity.OK, "1 mailbox(es) can be read over IMAP")
    assert found["disk"].severity is Severity.SKIPPED


def test_mailboxes_that_do_not_open_are_named_with_why() -> None:
    closed = (("a@example.org", "does not let a@example.org in"),)
    found = by_code(replace(IMAP, mailboxes=("a@example.org", "b@example.org"), closed=closed, mend="check the password"))[
        "ssh-access"
    ]
    assert found.severity is Severity.FAIL
    assert "1 of 2 mailbox(es)" in found.text
    assert "a@example.org: does not let a@example.org in" in found.text
    assert found.mend == "check the password"


WRITES = StoredLogins(reading=("the master user failsafe",))
COMES_HOME = StoredLogins(homecoming=("the login that delivers",))
UNUSED = StoredLogins(unused=("the IMAP master user admin",))


@pytest.mark.parametrize(
    ("changed", "severity", "words"),
    [
        (
            {"logins": WRITES, "over_ssh": False, "helper": ""},
            Severity.WARN,
            ("the master user failsafe", "this machine's address"),
        ),
        ({"logins": UNUSED, "helper": INSTALLED}, Severity.WARN, ("the IMAP master user admin", "take the unused logins out")),
        (
            {"logins": COMES_HOME, "helper": INSTALLED},
            Severity.OK,
            ("a homecoming needs: the login that delivers", "but for what brings mail home"),
        ),
        ({"logins": COMES_HOME, "reads_files": False}, Severity.WARN, ("our SSH key", "a homecoming needs", 'read = "files"')),
        ({"helper": SENT}, Severity.OK, ("our SSH key, which may run anything there", "config server")),
        ({"helper": SENT, "logins": UNUSED}, Severity.WARN, ("our SSH key", "admin", "config server")),
        ({"helper": ""}, Severity.SKIPPED, ("could not be asked",)),
        ({"helper": INSTALLED}, Severity.OK, ("nothing that lies here",)),
    ],
    ids=[
        "read over IMAP",
        "a login that nothing uses",
        "a homecoming",
        "doveadm",
        "a shell",
        "a shell and more",
        "not asked",
        "nothing",
    ],
)
def test_what_lies_here_and_could_write_is_named_with_which_of_it_is_needed(
    changed: dict[str, object], severity: Severity, words: tuple[str, ...]
) -> None:
    """A key that may run anything is `ssh-helper`'s fault to tell: one fault, one warning."""
    found = of_server("credential-writes", **changed)
    assert found.severity is severity
    assert [word for word in words if word not in f"{found.text} {found.mend}"] == []


def test_an_imap_server_without_a_mailbox_says_where_they_are_named() -> None:
    assert "mailboxes or accounts_file" in by_code(replace(IMAP, mailboxes=()))["ssh-access"].mend


# -- nobody is forgotten -------------------------------------------------------------------------------------------------


def test_a_domain_that_has_accounts_but_no_mail_yet_is_missed_too() -> None:
    found = of_server("domain-missing", accounts=AccountsSeen(domains=("example.org", "New.example")))
    assert found.severity is Severity.WARN
    assert "new.example" in found.text
    assert found.mend == 'add [domain."new.example"]'


def test_a_mailbox_that_no_homecoming_fetches_for_is_named() -> None:
    seen = AccountsSeen(fetched={"example.org": frozenset({"b@example.org"})})
    found = of_server("accounts-covered", accounts=seen)
    assert found.severity is Severity.WARN
    assert "a@example.org" in found.text
    assert "homecoming" in found.mend


@pytest.mark.parametrize(
    "seen",
    [
        AccountsSeen(fetched={"example.org": frozenset({"a@example.org"})}),
        AccountsSeen(fetched={"example.org": None}),
        AccountsSeen(fetched={"example.org": frozenset()}, exempt=frozenset({"a@example.org"})),
        AccountsSeen(fetched={"other.example": frozenset()}),
    ],
    ids=["an account", "a catch-all", "the probe's own", "its domain has no homecoming"],
)
def test_who_is_fetched_for_or_need_not_be_is_covered(seen: AccountsSeen) -> None:
    assert of_server("accounts-covered", accounts=seen).severity is Severity.OK


# -- what our key may do there -------------------------------------------------------------------------------------------


def test_a_key_that_may_run_anything_on_the_server_is_more_than_is_needed() -> None:
    found = of_server("ssh-helper", helper=SENT)
    assert found.severity is Severity.WARN
    assert "failsafe config server vps | ssh root@" in found.mend


@pytest.mark.parametrize(
    ("changed", "severity"),
    [
        ({"helper": INSTALLED}, Severity.OK),
        ({"helper": ""}, Severity.SKIPPED),
        ({"over_ssh": False}, Severity.SKIPPED),
        ({"helper": SENT, "reads_files": False}, Severity.SKIPPED),
    ],
)
def test_the_installed_program_is_enough_and_where_there_is_none_nothing_is_said(
    changed: dict[str, object], severity: Severity
) -> None:
    assert of_server("ssh-helper", **changed).severity is severity


@pytest.mark.parametrize(
    ("there", "severity"), [("0123456789abcdef", Severity.OK), ("fedcba9876543210", Severity.WARN), ("", Severity.WARN)]
)
def test_an_installed_program_that_is_another_than_this_failsafes_has_to_be_renewed(there: str, severity: Severity) -> None:
    found = of_server("server-program", helper=INSTALLED, program=there, our_program="0123456789abcdef")

    assert found.severity is severity
    assert ("config server vps" in found.mend) is (severity is Severity.WARN)


@pytest.mark.parametrize("helper", [SENT, ""])
def test_a_program_that_is_sent_along_is_never_old(helper: str) -> None:
    assert of_server("server-program", helper=helper, our_program="0123456789abcdef").severity is Severity.SKIPPED


def test_a_late_duty_that_has_no_finding_of_its_own_is_told_with_the_command_for_it() -> None:
    late = [Overdue(name, None, NOW) for name in ("backup:vps", "doctor", "forget:nas")]
    late.append(Overdue("snapshot:offsite", NOW - timedelta(days=9), NOW))

    assert [(found.code, found.subject, found.severity, found.mend) for found in judge_overdue(late)] == [
        ("overdue", "nas", Severity.FAIL, "failsafe forget --repository nas"),
        ("overdue", "offsite", Severity.FAIL, "failsafe backup --repository offsite"),
    ]
