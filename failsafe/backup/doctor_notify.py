"""Judges whether people would be told: addresses, notices that wait, paths that depend on the mail they report on, duties that are late. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from failsafe.model import Finding, Severity

TEST = "failsafe notify --test"
ELSEWHERE = "name an address in urls_file that needs neither this mail nor its server: a push service (ntfy, Pushover, Telegram), or mail at another provider"


@dataclass(frozen=True, slots=True)
class NotifyCheckup:
    """`error`: why the addresses could not be read. `depends`: for each address why it would fail with the mail server, "" where it would not."""

    configured: bool = False
    error: str = ""
    waiting: int = 0
    depends: tuple[str, ...] = ()


def judge_notify(seen: NotifyCheckup) -> Finding:
    if not seen.configured:
        text = "nobody is told anything"
        return Finding("notify-path", Severity.WARN, "controller", text, f"set urls_file in [notify], then {TEST}")
    if seen.error:
        return Finding("notify-path", Severity.FAIL, "controller", seen.error, TEST)
    bad = [why for why in seen.depends if why]
    if bad and len(bad) == len(seen.depends):
        text = f"no notice would arrive in an outage: {bad[0]}" + (f", and {len(bad) - 1} more like it" if len(bad) > 1 else "")
        return Finding("notify-path", Severity.FAIL, "controller", text, ELSEWHERE)
    if seen.waiting:
        return Finding("notify-path", Severity.FAIL, "controller", f"{seen.waiting} notice(s) could not be delivered yet", TEST)
    if bad:
        text = f"{len(bad)} of {len(seen.depends)} addresses would fail together with the mail: {bad[0]}"
        return Finding("notify-path", Severity.WARN, "controller", text, ELSEWHERE)
    return Finding(
        "notify-path",
        Severity.OK,
        "controller",
        "addresses are configured, no notice waits, and none needs the mail it reports on",
    )
