"""Evidence of earlier versions, whose signs stood in its text: in an updated database, and in rows that come out of an archive."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from failsafe.model import Axis, Evidence, ProbeClass, Sign
from failsafe.store.earlier import store_was_lost
from failsafe.store.engine import Store
from failsafe.store.history import HistoryStore
from failsafe.store.portable import read_holdings, write_holdings

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
AT = "2026-11-22T12:00:00.000000Z"
MINUTE = timedelta(minutes=1)
EXPIRED = "the recipient is accepted (250); but its certificate does not verify: certificate has expired"
SECOND = "mx2 is silent; before that: mail is put off at RCPT TO: 450 4.2.1 later; but STARTTLS is offered and does not work: wrong version"
LIES = "the known-good recipient is refused for good, so senders bounce: 550 5.1.1 User unknown"
BLOCKED = "port 25 is blocked from here (neither the mail server nor mx2:25 can be reached on it)"
NOTHING = "our own line was down (0 of 3 references answered), so this says nothing: "

# (class, text, the sign that schema 0005 knew, what it means now, what was wrong with TLS), in the words of schema 0005
EARLIER: list[tuple[str, str, str, set[Sign], str]] = [
    ("up", "the recipient is accepted (250)", "", set(), ""),
    ("up", EXPIRED, "", {Sign.BAD_CERTIFICATE}, "certificate has expired"),
    ("down", SECOND, "answered", {Sign.ANSWERED, Sign.COUNTED, Sign.BROKEN_TLS}, "wrong version"),
    ("lying", LIES, "", {Sign.COUNTED}, ""),
    ("unknown", NOTHING + LIES, "", {Sign.COUNTED}, ""),
    ("degraded", "mail is put off at RCPT TO: 451 4.3.5 Server configuration problem", "", set(), ""),
    ("degraded", "mx:587: its certificate does not verify: self-signed certificate", "", {Sign.BAD_CERTIFICATE}, ""),
    ("probe-blocked", "this prober is refused, not the mail, at RCPT TO: 450 4.7.1 no PTR", "", {Sign.REFUSED_FOR_NOW}, ""),
    ("probe-blocked", "this prober is refused, not the mail, at the greeting: 554 5.7.1 blocked using x", "", set(), ""),
    ("banned", "this prober is banned, the server says at RCPT TO: 550 banned", "", {Sign.SAYS_BANNED}, ""),
    ("banned", "fail2ban bans 192.0.2.9 (jail postfix)", "", set(), ""),
    ("unknown", "login refused for probe@example.org: no", "login-refused", {Sign.LOGIN_REFUSED}, ""),
    ("unknown", f"the server answers elsewhere (SSH): {BLOCKED}", "stands", {Sign.STANDS, Sign.PORT_25_BLOCKED}, ""),
    ("down", f"993 are dead, all of them; {BLOCKED}", "", {Sign.PORT_25_BLOCKED}, ""),
    ("down", "no answer; port 25 works from here (mx2:25 answers)", "", {Sign.PORT_25_WORKS}, ""),
    ("unknown", NOTHING + BLOCKED, "", set(), ""),
]  # fmt: skip


def read(store: Store) -> dict[str, tuple[set[Sign], str]]:
    return {
        run.evidence.vantage: (set(run.evidence.signs), run.evidence.tls_fault)
        for run in HistoryStore(store).runs("vps", since=NOW - MINUTE)
    }


EXPECTED = {str(number): (signs, fault) for number, (*_, signs, fault) in enumerate(EARLIER)}


def test_an_update_reads_what_the_version_before_wrote(store: Store) -> None:
    store.downgrade("0005", NOW)
    columns = "server, vantage, axis, seen, target, text, transcript, seconds, sign, first_at, last_at, count"
    insert = text(
        f"insert into evidence ({columns}) values ('vps', :vantage, 'inbound', :seen, '', :text, '', 0, :sign, :at, :at, 1)"
    )
    with store.begin() as connection:
        for number, (seen, said, sign, *_) in enumerate(EARLIER):
            connection.execute(insert, {"vantage": str(number), "seen": seen, "text": said, "sign": sign, "at": AT})

    store.upgrade(NOW)

    assert read(store) == EXPECTED


@pytest.mark.parametrize("knew_signs", [True, False], ids=["schema 0005", "schema 0004"])
def test_rows_of_an_earlier_version_out_of_an_archive_mean_what_they_meant(store: Store, *, knew_signs: bool) -> None:
    rows = [_row(number, knew_signs=knew_signs) for number in range(len(EARLIER))]

    write_holdings(store, rows)

    unknown_then = set() if knew_signs else {Sign.ANSWERED}
    assert read(store) == {vantage: (signs - unknown_then, fault) for vantage, (signs, fault) in EXPECTED.items()}


def _row(number: int, *, knew_signs: bool) -> dict[str, Any]:
    seen, said, sign, *_ = EARLIER[number]
    row = {"table": "evidence", "id": number + 1, "server": "vps", "vantage": str(number), "axis": "inbound", "seen": seen,
           "target": "", "text": said, "seconds": 0.0, "first_at": AT, "last_at": AT, "count": 1}  # fmt: skip
    return {**row, "sign": sign} if knew_signs else row


def test_a_run_goes_on_over_an_update(store: Store) -> None:
    held = Evidence("vps", "here", Axis.INBOUND, ProbeClass.LYING, NOW, LIES, signs=frozenset({Sign.COUNTED}))
    history = HistoryStore(store)
    history.record(held, MINUTE)
    history.flush(NOW)
    store.downgrade("0005", NOW)
    store.upgrade(NOW)

    later = HistoryStore(store)
    later.record(
        Evidence("vps", "here", Axis.INBOUND, ProbeClass.LYING, NOW + MINUTE, LIES, signs=frozenset({Sign.COUNTED})), MINUTE
    )

    assert [run.count for run in later.runs("vps")] == [2]


def test_signs_go_along_to_another_machine_as_they_are(store: Store) -> None:
    """Words of a text decide nothing any more, and be they the old ones."""
    seen = Evidence("vps", "here", Axis.INBOUND, ProbeClass.UP, NOW, EXPIRED, signs=frozenset({Sign.BROKEN_TLS}), tls_fault="x")
    history = HistoryStore(store)
    history.record(seen, MINUTE)
    history.flush(NOW)
    held = read_holdings(store)

    with store.begin() as connection:
        connection.execute(text("delete from evidence"))
    write_holdings(store, [*held.present, *held.evidence])

    assert read(store)["here"] == ({Sign.BROKEN_TLS}, "x")


@pytest.mark.parametrize(
    ("details", "lost"),
    [
        ({"reason": "restore required: nothing in anna@example.org"}, True),
        ({"reason": "not verified within 5 min"}, False),
        ({"reason": "restore required: said a provider", "store_lost": False}, False),
        ({"reason": "anything", "store_lost": True}, True),
        ({}, False),
    ],
)
def test_a_domain_that_was_halted_before_the_update_is_known_by_its_reason(details: dict[str, Any], *, lost: bool) -> None:
    assert store_was_lost(details) is lost
