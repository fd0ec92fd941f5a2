"""What counts as news for the database: the disk of a NAS sleeps while nothing changes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from failsafe.daemon.report import WatchReport

NOW = datetime(2026, 11, 22, 17, 0, tzinfo=UTC)
REPORT = WatchReport(
    mx=((10, "mail.example.org"),),
    guards=(("dwell", "the next may come in 40 min", ""),),
    health=(("inbound", "up"),),
    vantages=(("here", "up", NOW),),
    reasons=("here says up for 5 min",),
)


def test_times_and_texts_that_count_down_are_no_news() -> None:
    later = replace(
        REPORT,
        guards=(("dwell", "the next may come in 39 min", ""), ("start-grace", "started 60 s ago", "")),
        vantages=(("here", "up", NOW + timedelta(minutes=1)),),
        reasons=("here says up for 6 min",),
    )
    assert REPORT.same(later)


def test_a_changed_set_guard_verdict_or_health_is_news() -> None:
    changed = [
        replace(REPORT, mx=((5, "mx.example.net"),)),
        replace(REPORT, guards=()),
        replace(REPORT, epoch=8),
        replace(REPORT, health=(("inbound", "down"),)),
        replace(REPORT, vantages=(("here", "down", NOW),)),
    ]
    assert [report for report in changed if REPORT.same(report)] == []
