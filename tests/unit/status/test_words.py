"""The three questions, answered in words."""

from zoneinfo import ZoneInfo

from failsafe.status.build import build_status
from failsafe.status.words import Answers, answer_all, render_plain
from failsafe.store.glance import Glance
from tests.unit.status.world import NOW, ROSTER, ago, duty, healthy, repository, run, state, watch

WARSAW = ZoneInfo("Europe/Warsaw")


def answers(glance: Glance) -> Answers:
    return answer_all(build_status(ROSTER, glance, NOW), WARSAW)


def test_all_is_well() -> None:
    said = answers(healthy())
    assert said.mail_safe == "Yes: everything up to 5 min ago is in 2 repositories (nas, offsite)."
    assert said.mail_goes == ("example.org: to the primary (mail.example.org).",)
    assert said.must_do == ("nothing",)
    assert (said.mail_safe_mood, said.mail_goes_mood) == ("good", "good")


def test_nothing_known_is_never_yes() -> None:
    said = answers(Glance())
    assert said.mail_safe.startswith("No: ")
    assert said.mail_safe_mood == "bad"
    assert said.must_do[0] == "failsafe backup vps"


def test_an_incomplete_backup_is_not_safe() -> None:
    said = answers(healthy(backup_run=(run("incomplete"),), good_run=(run(at=ago(hours=3)),)))
    assert said.mail_safe == "No: vps is not proven complete. The last complete backup is 3 h old."


def guarded(count: int) -> Glance:
    guards = [
        {"code": "mass-loss", "text": f"all of box {number}", "mend": f"failsafe accept {number}"} for number in range(count)
    ]
    row = {**duty("guards:vps", ago(minutes=5)), "details": {"guards": guards}}
    return healthy(duty=(watch(), duty("backup:vps", ago(minutes=5)), duty("doctor", ago(hours=5)), row))


def test_a_guard_is_not_green_and_says_what_ends_it() -> None:
    said = answers(guarded(1))
    assert (said.mail_safe.startswith("Look: a guard stands, mass-loss (vps); everything up to"), said.mail_safe_mood) == (
        True,
        "look",
    )
    assert said.must_do == ("failsafe accept 0",)
    (finding,) = build_status(ROSTER, guarded(1), NOW).findings
    assert (finding.code, finding.severity, finding.text) == ("mass-loss", "fail", "guard mass-loss: all of box 0")


def test_many_guards_of_one_code_are_one_finding_with_the_command_that_ends_them_all() -> None:
    (finding,) = build_status(ROSTER, guarded(9), NOW).findings
    assert finding.text.startswith("guard mass-loss: 9 times: all of box 0; ")
    assert "failsafe accept vps --reason TEXT" in finding.mend


def test_one_bad_repository_is_told_by_name() -> None:
    said = answers(healthy(repository_state=(repository("nas"), repository("offsite", "failed"))))
    assert said.mail_safe == "Partly: everything up to 5 min ago is in 1 repository (nas), but not surely in offsite."
    assert said.mail_safe_mood == "look"


def test_failed_over_says_since_when_in_local_time() -> None:
    rows = healthy(
        duty=(watch(mx=[[5, "mx.example.net"], [10, "mail.example.org"]]),),
        domain_state=(state("failed-over", serving="secondary"),),
    )
    assert answers(rows).mail_goes == (
        "example.org: to the secondary (mx.example.net), failed-over since 2026-11-22 16:00 +01:00.",
    )


def test_halted_gives_the_one_command_first() -> None:
    said = answers(healthy(domain_state=(state("halted"),)))
    assert said.must_do[0] == "failsafe acknowledge example.org --serving primary|secondary"
    assert said.mail_goes_mood == "bad"


def test_the_plain_form_begins_with_the_three_questions() -> None:
    lines = render_plain(build_status(ROSTER, healthy(), NOW), WARSAW)
    assert [line.split("?")[0] for line in lines[:3]] == ["Is my mail safe", "Where does mail go now", "What must I do"]


def test_where_mail_goes_is_what_the_zone_says_even_if_failsafe_expects_otherwise() -> None:
    guard = {"code": "drift", "text": "mx.elsewhere.example should not be listed", "mend": "put the records back"}
    said = answers(healthy(duty=(watch(mx=[[5, "mx.elsewhere.example"]], guards=[guard]),)))
    assert said.mail_goes[0].startswith("example.org: senders ask mx.elsewhere.example first; that is not what failsafe expects")
    assert said.mail_goes_mood == "bad"
    assert said.must_do[0] == "put the records back"


def test_a_repository_that_is_behind_is_told_with_its_own_age() -> None:
    behind = {**repository("offsite"), "details": {"holds": {"vps": ago(hours=5).isoformat()}}}
    current = {**repository("nas"), "last_snapshot_at": ago(days=2), "details": {"holds": {"vps": ago(minutes=5).isoformat()}}}
    said = answers(healthy(repository_state=(behind, current)))
    assert said.mail_safe == "Yes: everything up to 5 min ago is in 1 repository (nas), up to 5 h ago in offsite."
