"""What people read: notices, ages, instants. Pure text in, text out; one order for every notice."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo

from failsafe.model import Notice, Severity

SUBJECT_LENGTH = 120  # longer subjects are cut by phones
BODY_LENGTH = 3000  # the shortest limit of the common chat services is about 4,000 characters


def render_notice(notice: Notice, controller: str, zone: tzinfo) -> tuple[str, str]:
    """(subject, body). The body answers in this order: is mail being lost, where mail goes now, what you must do, since when."""
    mark = {Severity.FAIL: "ACT", Severity.WARN: "LOOK", Severity.OK: "FINE"}.get(notice.severity, "NOTE")
    subject = cut(f"[failsafe {controller}] {mark}: {one_line(notice.subject)}", SUBJECT_LENGTH)
    lines = [
        f"Is mail being lost? {notice.losing_mail}",
        f"Where does mail go now? {notice.mail_goes}",
        f"What you must do: {notice.must_do}",
        f"Since: {'-' if notice.since is None else spoken_instant(notice.since, zone)}",
    ]
    if notice.event:
        lines.append(f"Step by step: failsafe events --runbook {notice.event}")
    if notice.details:
        lines += ["", notice.details]
    lines += ["", f"incident {notice.thread}, controller {controller}"]
    return subject, cut("\n".join(lines), BODY_LENGTH)


def spoken_instant(at: datetime, zone: tzinfo) -> str:
    """Local time with its offset, as people read it: "2026-11-22 18:00 +01:00"."""
    local = at.astimezone(zone)
    offset = local.strftime("%z")
    return f"{local:%Y-%m-%d %H:%M} {offset[:3]}:{offset[3:5]}"


def spoken_age(age: timedelta) -> str:
    """ "12 s", "5 min", "3 h 10 min", "4 days": two parts at most."""
    seconds = max(int(age.total_seconds()), 0)
    if seconds < 60:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days = hours // 24
    return f"{days} day{'s' if days != 1 else ''}"


def one_line(text: str) -> str:
    """Newlines and control characters out: a subject is one line, and what a server said is data."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
