"""Filter rules are read and judged: what they file is filed, what they would send or throw away is told and does not happen."""

from __future__ import annotations

import time

import pytest

from failsafe.mail.headers import fields_of
from failsafe.mail.sieve.judge import Filed, judge_letter, not_understood
from failsafe.mail.sieve.parse import SieveFault, parse_script
from failsafe.mail.sieve.questions import Letter
from failsafe.mail.sieve.words import Unjudged, matches

HEAD = (
    b"From: Ann Roe <ann+news@Example.org>\r\nTo: bob@example.net\r\nSubject: Weekly offer\r\nList-Id: <list.example.org>\r\n\r\n"
)


def judged(script: str, head: bytes = HEAD, size: int = 500, folders: frozenset[str] = frozenset()) -> Filed:
    return judge_letter(parse_script(script), Letter(list(fields_of(head)), size, folders.__contains__))


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("", Filed()),
        ('fileinto "Work";', Filed("Work")),
        ('if header :contains "subject" "OFFER" { fileinto :create "Ads"; stop; } fileinto "Work";', Filed("Ads", create=True)),
        ('if address :detail "from" "news" { fileinto "News"; } else { discard; }', Filed("News")),
        ('if size :over 1K { fileinto "Large"; } elsif exists ["list-id", "to"] { fileinto "Lists"; }', Filed("Lists")),
        ('addflag "\\\\Seen"; fileinto :flags ["a", "b c"] "Work";', Filed("Work", flags=("a", "b", "c"))),
        ('addflag "\\\\Seen"; keep;', Filed(flags=("\\Seen",))),
        ('fileinto :copy "Copies";', Filed()),
        ('fileinto "A"; fileinto "B";', Filed("A")),
        ('if mailboxexists "Work" { fileinto "Work"; }', Filed("Work")),
        ("discard;", Filed(discarded=True)),
        ('require "regex"; if false { keep; } elsif ihave "regex" { discard; }', Filed()),
        ("# nothing\n/* nor\nhere */ fileinto text:\nWork\n.\n;", Filed("Work\n")),
    ],
)  # fmt: skip
def test_a_script_says_where_a_message_lies(script: str, expected: Filed) -> None:
    assert judged(script, folders=frozenset({"Work"})) == expected


@pytest.mark.parametrize(
    ("script", "kept", "told"),
    [
        ('redirect "x@other.example";', Filed(), "a forward"),
        ('redirect :copy "x@other.example"; discard;', Filed(), "a forward"),
        ('redirect "x@other.example"; fileinto "Sent on";', Filed("Sent on"), "a forward"),
        ('reject "no";', Filed(), "a rejection"),
        ('vacation :days 7 "away"; fileinto "Work";', Filed("Work"), "an answer"),
        ('notify "mailto:x@other.example";', Filed(), "a notice"),
        ('pipe "program";', Filed(), "a hand-over to a program"),
    ],
)  # fmt: skip
def test_what_a_script_would_send_is_told_and_the_message_stays(script: str, kept: Filed, told: str) -> None:
    found = judged(script)

    assert (found.folder, found.discarded) == (kept.folder, False)
    assert found.held_back == (told,)


@pytest.mark.parametrize(
    ("script", "odd"),
    [
        ('if header :regex "subject" ".*" { discard; }', ":regex"),
        ('if body :contains "x" { discard; }', "the test body"),
        ('require "variables"; set "a" "b"; fileinto "${a}";', "the command set"),
        ('require "variables"; fileinto "${a}";', "variables"),
        ('if envelope "to" "x@example.org" { discard; }', "the envelope"),
        ('if header :comparator "i;basic" "subject" "x" { discard; }', "the comparator i;basic"),
        ('addheader "X" "y"; discard;', "the command addheader"),
        ('include "other";', "the command include"),
    ],
)
def test_what_cannot_be_told_ends_the_judgement_and_is_named(script: str, odd: str) -> None:
    with pytest.raises(Unjudged, match=odd.replace("(", r"\(")):
        judged(script)
    assert odd in not_understood(parse_script(script)) or odd in ("the envelope", "the comparator i;basic")


def test_rules_behind_one_that_stops_are_not_asked() -> None:
    assert judged('if true { fileinto "A"; stop; } if header :regex "x" "y" { discard; }') == Filed("A")


def test_the_holidays_of_an_answer_need_not_be_understood() -> None:
    script = (
        'if allof (currentdate :value "ge" "date" "2026-01-01", not body :contains "x") { vacation "away"; } fileinto "Work";'
    )

    assert judged(script) == Filed("Work")
    assert not_understood(parse_script(script)) == ()


@pytest.mark.parametrize(
    "script",
    [
        "keep",
        "keep;}",
        "if {",
        'fileinto "x;',
        "fileinto [];",
        "keep; ]",
        "text:\nno end",
        "if allof () {}",
        "\x00",
        "{" * 50,
    ],
)
def test_what_is_no_sieve_is_refused_with_its_line(script: str) -> None:
    with pytest.raises(SieveFault):
        parse_script(script)


def test_deep_scripts_and_long_patterns_take_neither_the_stack_nor_the_time() -> None:
    with pytest.raises(SieveFault, match="nested"):
        parse_script("if not " + "not " * 50_000 + "true { }")
    with pytest.raises(SieveFault, match="nested"):
        parse_script("if true {" * 5_000 + "}" * 5_000)
    begun = time.monotonic()
    assert not matches("a" * 20_000, "*a*b" * 20)
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    ("value", "pattern", "expected"),
    [
        ("", "*", True), ("", "?", False), ("abc", "a*c", True), ("abc", "a?c", True), ("abc", "ab", False), ("a*c", r"a\*c", True),
        ("abc", r"a\*c", False), ("xabyab", "*ab", True), ("aXbXc", "a*X?", True),
    ],
)  # fmt: skip
def test_patterns_match_the_whole_text(value: str, pattern: str, expected: bool) -> None:
    assert matches(value, pattern) is expected
