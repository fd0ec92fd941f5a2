"""What a monitor's answer means: up, down, or nothing that we understand."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.failover.up_when import Heard, judge_answer, parse_condition

# As the servers send them, shortened: Uptime Kuma 2 (status page), Gatus 5 (/api/v1/endpoints/KEY/statuses), Healthchecks 4 (a badge's JSON).
KUMA = json.dumps(
    {"heartbeatList": {"3": [{"status": 0, "time": "…"}, {"status": 1, "time": "…"}]}, "uptimeList": {"3_24": 0.99}}
)
GATUS = json.dumps({"name": "smtp", "key": "mail_smtp", "results": [{"success": False}, {"success": True}]})
BADGE = json.dumps({"status": "up", "total": 1, "grace": 0, "down": 0})
LOGIN = "<html><form><input name=user></form>Sign in</html>"


def says(body: str, up: str, down: str | None = None, *, page: bool = False) -> bool | None:
    return judge_answer(Heard(body, page=page), parse_condition(up), None if down is None else parse_condition(down)).holds


@pytest.mark.parametrize(
    ("body", "up"),
    [(KUMA, '$.heartbeatList["3"][-1].status == 1'), (GATUS, "$.results[-1].success == true"), (BADGE, '$.status == "up"')],
    ids=["kuma", "gatus", "healthchecks"],
)
def test_each_known_monitor_has_a_condition_that_its_answer_meets(body: str, up: str) -> None:
    assert says(body, up) is True


@pytest.mark.parametrize(
    ("body", "up"),
    [
        (KUMA, '$.heartbeatList["3"][0].status == 1'),
        (GATUS, "$.results[0].success == true"),
        (BADGE.replace('"up"', '"down"'), '$.status == "up"'),
    ],
    ids=["kuma", "gatus", "healthchecks"],
)
def test_another_value_at_the_same_place_says_down(body: str, up: str) -> None:
    assert says(body, up) is False


@pytest.mark.parametrize(
    "body",
    [
        LOGIN,
        "",
        "null",
        "[]",
        '{"heartbeatList": {}}',
        '{"heartbeatList": {"3": []}}',
        '{"heartbeatList": {"3": [{"status": {}}]}}',
        "[" * 5000,
    ],
)
def test_what_cannot_be_understood_is_unknown_and_never_down(body: str) -> None:
    assert says(body, '$.heartbeatList["3"][-1].status == 1') is None


def test_with_down_when_only_that_value_says_down() -> None:
    up, down = '$.heartbeatList["3"][-1].status == 1', '$.heartbeatList["3"][-1].status == 0'

    pending, dead = KUMA.replace('"status": 1', '"status": 2'), KUMA.replace('"status": 1', '"status": 0')

    assert [says(body, up, down) for body in (KUMA, pending, dead)] == [True, None, False]


def test_a_page_without_the_text_may_be_a_login_and_so_says_nothing() -> None:
    assert says(LOGIN, "All systems operational", page=True) is None


def test_a_page_says_down_only_in_the_words_of_down_when() -> None:
    assert says("<html>Major outage</html>", "operational", "outage", page=True) is False


def test_plain_text_without_the_word_says_down() -> None:
    assert says("DOWN since 4:00", "UP") is False


def test_an_answer_that_says_both_says_nothing() -> None:
    assert says("SMTP up, IMAP down", "up", "down") is None


@pytest.mark.parametrize(("value", "holds"), [("true", False), ("1", True), ("1.0", True), ('"1"', False), ("null", False)])
def test_true_is_not_one_and_numbers_compare_as_numbers(value: str, holds: bool) -> None:
    assert says(f'{{"status": {value}}}', "$.status == 1") is holds


@pytest.mark.parametrize(
    "text", ["", "   ", "$.status", "$.status == up", "$.a..b == 1", "$.status == [1]", "x" * 600, "$" + ".a" * 30 + " == 1"]
)
def test_a_condition_that_cannot_be_read_is_refused_with_how_it_is_written(text: str) -> None:
    with pytest.raises(ValueError, match=r"\$\.status == \"up\""):
        parse_condition(text)


@given(st.text(max_size=200))
def test_no_answer_breaks_the_judge(body: str) -> None:
    assert says(body, '$["a"][0].b == null') in (True, False, None)
