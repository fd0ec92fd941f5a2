"""A canary that lies in its mailbox while a pull runs is nobody's mail: it is left out, and everything else is there. One with another seal is mail."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from failsafe.canaries import canary_filter, make_canary_key
from failsafe.mail.canary import Canary
from failsafe.model import Result
from tests.contract.mailstore import Store

PROBE = "failsafe-probe@example.org"
RECEIVED = b"Return-Path: <sender@third.example>\r\nReceived: from mx by mail;\r\n\tSun, 22 Nov 2026 12:00:00 +0000\r\n"
CANARY = Canary("vps", "0123456789abcdef", datetime(2026, 11, 22, 12, 0, tzinfo=UTC))


def test_a_canary_is_left_out_of_the_archive_and_mail_beside_it_is_not(tmp_path: Path) -> None:
    key = make_canary_key(tmp_path)
    store = Store(tmp_path)
    store.fill(PROBE, "", 3)
    canary = store.put(PROBE, "", "canary.host", RECEIVED + CANARY.write(key, "s@third.example", PROBE), sub="new")
    store.put(PROBE, "", "feigned.host", RECEIVED + CANARY.write(b"x" * 32, "s@third.example", PROBE), sub="new")

    first = store.pull(leave_out=canary_filter(tmp_path))
    again = store.pull(leave_out=canary_filter(tmp_path))
    canary.unlink()
    after = store.pull(leave_out=canary_filter(tmp_path), full_listing=True)

    assert (first.result, first.total, first.new) == (Result.OK, 4, 4)
    assert (again.result, again.unchanged, again.total) == (Result.OK, True, 4)
    assert (after.result, after.total, after.gone) == (Result.OK, 4, 0)


def test_without_a_key_nothing_is_a_canary(tmp_path: Path) -> None:
    assert not canary_filter(tmp_path)(CANARY.write(b"x" * 32, "s@third.example", PROBE))
