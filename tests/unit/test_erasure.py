"""What the database keeps of drills says nothing of a mailbox that was erased."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from failsafe.erasure import without_drilled
from failsafe.store.duties import DutyStore
from failsafe.store.engine import Store

ANN, BOB = "ann@example.org", "bob@example.org"
NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


def drilled(server: str, canary: str) -> dict[str, Any]:
    return {
        "server": server,
        "mailboxes": [{"mailbox": ANN, "messages": 3}, {"mailbox": BOB, "messages": 4}],
        "canary": {"mailbox": canary, "id": "ab"},
        "findings": [{"mailbox": ANN, "message": "1.M1.host", "text": "lost"}],
        "finding_count": 1,
    }


def test_evidence_of_a_drill_keeps_its_counts_and_the_others(tmp_path: Path) -> None:
    store = Store.sqlite(tmp_path / "failsafe.sqlite")
    store.upgrade(NOW)
    duties = DutyStore(store)
    duties.add_drill("nas", NOW, NOW, "failed", {"servers": [drilled("vps", ANN), drilled("other", BOB)]})
    duties.change_drills(lambda report: without_drilled(report, "vps", lambda mailbox: mailbox == ANN))
    (report,) = duties.drills("nas")
    store.close()
    erased, other = report["servers"]
    assert [each["mailbox"] for each in erased["mailboxes"]] == [BOB]
    assert (erased["canary"], erased["findings"], erased["finding_count"]) == (None, [], 1)
    assert other == drilled("other", BOB)


def test_the_evidence_of_a_failover_drill_says_nothing_of_mail_and_stays() -> None:
    report = {"domain": "example.org", "result": "passed", "there": {"servers": []}}
    assert without_drilled(report, "vps", lambda _mailbox: True) == report
