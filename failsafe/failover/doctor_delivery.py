"""Judges whether mail that the server takes and loses would be proved, so that it moves the MX: by the canary and by the look from inside. Pure.

Both of them looking is not enough: the look from inside says "lost" only of what the server took, which its mail log alone tells.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from failsafe.failover.doctor_inside import InsideCheckup
from failsafe.model import Finding, Severity

CODES: dict[str, tuple[bool, str]] = {
    "lost-delivery": (
        False,
        "mail that the server takes and loses would be proved by as many as the quorum: canary, queue and mail log",
    ),
}
WITNESSES = 2  # the canary and the look from inside
ENOUGH = 3  # canaries that arrived and that no line of the log names


def judge_delivery(seen: InsideCheckup) -> Finding:
    """A canary that itself proves nothing is told as `canary`."""
    skipped = _needs_nothing(seen)
    if skipped:
        return Finding("lost-delivery", Severity.SKIPPED, seen.server, skipped)
    if seen.quorums == (1,):
        return Finding("lost-delivery", Severity.OK, seen.server, "with a quorum of 1 the canary alone proves that mail is lost")
    why, mend = _missing(seen)
    if why:
        text = f"mail that the server takes and loses would be told, and would not move the MX (quorum {seen.quorums[-1]}): {why}"
        return Finding("lost-delivery", Severity.WARN, seen.server, text, mend)
    told = "its mail log can be read" if seen.log_names is None else "its mail log names the canaries that arrive"
    return Finding("lost-delivery", Severity.OK, seen.server, f"its queue can be asked, and {told}")


def _needs_nothing(seen: InsideCheckup) -> str:
    if not seen.quorums:
        return "no domain of this server is watched"
    if seen.book is None:
        return "no canary is configured: nobody would notice that mail is lost"
    if seen.quorums[0] > WITNESSES:
        return f"with a quorum of {seen.quorums[0]} lost mail is told and never moves the MX: it has two witnesses"
    return ""


def _missing(seen: InsideCheckup) -> tuple[str, str]:
    """What keeps the second witness from its word, and its mend; ("", "") where nothing does."""
    if seen.vitals is None:
        mend = f"add ssh and ssh_key to [mail_server.{seen.server}]" if not seen.by_ssh else "see the finding ssh-access"
        return f"nobody can look from inside ({seen.why})", mend
    if seen.vitals.queue is None:
        mend = "let the login ask the queue: authorized_submit_users of Postfix, or the group docker where it runs in a container"
        return "its queue cannot be asked (postqueue -j), and what waits there is not lost", mend
    if seen.vitals.log is None:
        return "its mail log cannot be read by the login", LOG_MEND
    if seen.log_names is False:
        return (
            f"of {ENOUGH} canaries and more that arrived in the last day its mail log, as the login may read it, names none",
            LOG_MEND,
        )
    return "", ""


LOG_MEND = (
    "on the mail server: usermod -aG adm,systemd-journal USER, or group docker for a container's log (USER: whom the program runs as there, the login or "
    "the mail's owner); the log must say to=<ADDRESS> of each message, as Postfix's does"
)


def log_names_canaries(arrived: Iterable[datetime], looks: Iterable[tuple[datetime, int | None]]) -> bool | None:
    """Whether the mail log told of canaries that arrived; None where too few arrived between two looks at it.

    `arrived`: when each was found. `looks` from inside: when, and how many lines about mail for the canary's address had come since the look
    before (None: the log could not be read).
    """
    told = sorted((at, count) for at, count in looks if count is not None)
    if any(count for _, count in told):
        return True
    if len(told) < WITNESSES:
        return None
    between = [at for at in arrived if told[0][0] < at <= told[-1][0]]
    # The first of them may have been taken before the first look.
    return False if len(between) > ENOUGH else None
