"""What servers really say, and what it means for the mail behind them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.mail.replies import TEXT_LIMIT, Reply, ReplyFault, Stage, classify, parse_line, printable
from failsafe.model import ProbeClass, Sign

LYING = [
    "550 5.1.1 <probe@example.org>: Recipient address rejected: User unknown in virtual mailbox table",
    "554 5.7.1 <probe@example.org>: Relay access denied",
    "554 5.7.1 Unknown user",
    "552 5.2.2 Mailbox full",
    # the server asks a blocklist through a public resolver and takes the error for a listing: everybody is refused
    "554 5.7.1 Service unavailable; Client host [192.0.2.7] blocked using zen.spamhaus.org; Error: open resolver; https://check.spamhaus.org/returnc/pub/192.0.2.53/",
]
PROBE_BLOCKED = [
    "554 5.7.1 Service unavailable; Client host [192.0.2.7] blocked using zen.spamhaus.org; https://www.spamhaus.org/query/ip/192.0.2.7",
    "550 5.7.1 Service unavailable; client [192.0.2.7] blocked using bl.spamcop.net",
    "554 5.7.1 <unknown[192.0.2.7]>: Client host rejected: Access denied",
    "450 4.7.1 Client host rejected: cannot find your hostname, [192.0.2.7]",
    "450 4.7.25 Client host rejected: cannot find your reverse hostname, [192.0.2.7]",
    "504 5.5.2 <nas>: Helo command rejected: need fully-qualified hostname",
    "450 4.7.1 <nas.lan>: Helo command rejected: Host not found",
    "550 5.5.1 Protocol error",
    "550 5.7.23 SPF validation failed",
    "450 4.1.8 <x@nas.lan>: Sender address rejected: Domain not found",
    "550-Verification failed: reverse DNS lookup failed",
    "550 5.7.1 The IP you're using to send mail has a poor reputation",
]
BANNED = [
    "554 5.7.1 Your IP address 192.0.2.7 has been banned",
    "421 4.7.0 192.0.2.7 blocked due to too many failed login attempts",
    "550 5.7.1 Access denied - fail2ban",
]
GREYLISTED = [
    "450 4.2.0 <probe@example.org>: Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/help/example.org.html",
    "450 4.2.0 <probe@example.org>: Recipient address rejected: Delayed by Postgrey",
    "451 4.7.1 Try again later",
    "451 4.7.1 Greylisting in action, please come back later",
    "451 graylisted, please try again in 300 seconds",
]
DEGRADED = [
    "451 4.3.5 <probe@example.org>: Recipient address rejected: Server configuration problem",
    "451 4.7.1 Service unavailable - try again later",
    "452 4.3.1 Insufficient system storage",
    "421 4.3.2 All server ports are busy",
    "451 4.3.0 <probe@example.org>: Temporary lookup failure",
    "450 4.3.2 Service currently unavailable",
    "421 4.7.0 mail.example.org Error: timeout exceeded",
]
CASES = [
    (text, seen)
    for texts, seen in (
        (LYING, "lying"),
        (PROBE_BLOCKED, "probe-blocked"),
        (BANNED, "banned"),
        (GREYLISTED, "greylisted"),
        (DEGRADED, "degraded"),
    )
    for text in texts
]


def reply(text: str) -> Reply:
    code, _, words = parse_line(text.encode() + b"\r\n")
    return Reply(code, (words,))


@pytest.mark.parametrize(("text", "seen"), CASES, ids=[text[:60] for text, _ in CASES])
def test_a_reply_to_the_known_good_recipient_is_told_apart_by_its_words(text: str, seen: str) -> None:
    assert classify(Stage.RCPT, reply(text)).seen == ProbeClass(seen)


def test_an_accepted_recipient_is_up() -> None:
    assert classify(Stage.RCPT, reply("250 2.1.5 Ok")).seen is ProbeClass.UP


def test_a_refusal_before_the_recipient_is_down_and_not_lying() -> None:
    assert classify(Stage.GREETING, reply("554 5.3.2 No service here")).seen is ProbeClass.DOWN


def test_a_full_spool_at_mail_from_is_degraded() -> None:
    assert classify(Stage.MAIL, reply("452 4.3.1 Insufficient system storage")).seen is ProbeClass.DEGRADED


def test_greylisting_words_before_the_recipient_are_only_degraded() -> None:
    assert classify(Stage.MAIL, reply("451 4.7.1 Try again later")).seen is ProbeClass.DEGRADED


def test_a_greeting_that_refuses_our_address_blames_the_prober() -> None:
    assert (
        classify(Stage.GREETING, reply("554 5.7.1 Service unavailable; client [192.0.2.7] blocked using zen.spamhaus.org")).seen
        is ProbeClass.PROBE_BLOCKED
    )


def test_too_many_connections_from_us_blame_the_prober() -> None:
    assert (
        classify(Stage.GREETING, reply("421 4.7.0 mail.example.org Error: too many connections from 192.0.2.7")).seen
        is ProbeClass.PROBE_BLOCKED
    )


def test_an_intermediate_reply_to_a_command_is_down() -> None:
    assert classify(Stage.RCPT, reply("354 go ahead")).seen is ProbeClass.DOWN


def test_the_enhanced_code_must_agree_with_the_reply_code() -> None:
    assert reply("550 5.1.1 no").enhanced == "5.1.1"
    assert reply("550 4.1.1 no").enhanced == ""


def test_extensions_are_found_without_regard_to_case_and_not_in_the_greeting_line() -> None:
    hello = Reply(250, ("STARTTLS.example.org", "size 1000", "starttls"))
    assert hello.offers("STARTTLS")
    assert not Reply(250, ("STARTTLS greets you",)).offers("STARTTLS")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"SSH-2.0-OpenSSH_9\r\n",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"22 hello\r\n",
        b"2200 hello\r\n",
        b"620 hello\r\n",
        b"220_hello\r\n",
        b"\xff\xfe\r\n",
    ],
)
def test_what_is_no_smtp_reply_is_a_fault(raw: bytes) -> None:
    with pytest.raises(ReplyFault):
        parse_line(raw)


def test_a_bare_code_is_a_whole_reply() -> None:
    assert parse_line(b"250\r\n") == (250, False, "")


@given(st.binary(max_size=300))
def test_no_bytes_at_all_can_do_more_than_fail_to_parse(raw: bytes) -> None:
    try:
        code, _, text = parse_line(raw)
    except ReplyFault as fault:
        assert str(fault).isprintable()
        return
    judged = classify(Stage.RCPT, Reply(code, (text,)))
    assert judged.text.isprintable()
    assert len(judged.text) <= TEXT_LIMIT + 100


@given(st.text())
def test_foreign_words_are_printable_and_bounded(text: str) -> None:
    assert printable(text).isprintable()
    assert len(printable(text)) <= TEXT_LIMIT


@pytest.mark.parametrize(
    "text", ["550 5.1.1 User unknown", "554 5.7.1 Relay access denied", "450 4.1.2 Recipient address rejected: Domain not found"]
)
def test_a_refusal_of_the_recipient_that_fail2ban_may_count_has_a_sign(text: str) -> None:
    assert classify(Stage.RCPT, reply(text)).signs == {Sign.COUNTED}
    assert classify(Stage.MAIL, reply(text)).signs == frozenset()


@pytest.mark.parametrize(
    "text",
    ["451 4.3.5 Server configuration problem", "452 4.3.1 Insufficient system storage", "450 4.2.0 Greylisted", "250 2.1.5 Ok"],
)
def test_what_no_filter_counts_is_not_taken_for_such_a_refusal(text: str) -> None:
    assert classify(Stage.RCPT, reply(text)).signs == frozenset()


@pytest.mark.parametrize(
    ("text", "signs"),
    [
        ("450 4.7.1 Client host rejected: cannot find your hostname", {Sign.REFUSED_FOR_NOW}),
        ("554 5.7.1 Service unavailable; client blocked using zen.spamhaus.org", set()),
        ("554 5.7.1 banned by fail2ban", {Sign.SAYS_BANNED}),
    ],
)
def test_a_refusal_of_the_prober_says_whether_it_is_for_now_or_a_ban(text: str, signs: set[Sign]) -> None:
    assert classify(Stage.RCPT, reply(text)).signs == signs


def test_what_a_greeting_offers_is_read_with_its_parameters() -> None:
    hello = Reply(250, ("mail.example.org", "PIPELINING", "auth PLAIN login"))

    assert hello.parameters("AUTH") == ("PLAIN", "LOGIN")
    assert hello.parameters("SIZE") == ()
