"""Judges whether what was gathered at a secondary could be brought to the primary's mailboxes today. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from failsafe.failover.doctor_secondary import HomecomingLogin
from failsafe.model import Finding, ProbeClass, Severity

FAIL, WARN, OK, SKIPPED = Severity.FAIL, Severity.WARN, Severity.OK, Severity.SKIPPED
CODES = {
    "homecoming-deliver": (
        False,
        "the homecoming's credential opens the primary's mailboxes, and people's filter rules where they are to be followed",
    )
}
NAMED = 5  # in a sentence


@dataclass(frozen=True, slots=True)
class FilterSight:
    """A mailbox's filter rules. `why`: they could not be read; `strange`: what in them cannot be judged here."""

    mailbox: str
    why: str = ""
    strange: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeliveryCheckup:
    """`configured`: there is a `deliver`. `error`: why nobody could be tried."""

    configured: bool = False
    has_homecoming: bool = False
    logins: tuple[HomecomingLogin, ...] = ()
    filters: tuple[FilterSight, ...] = ()
    error: str = ""


def judge_delivery(name: str, seen: DeliveryCheckup) -> Finding:
    where = f'[domain."{name}".homecoming]'
    if not seen.configured:
        text = (
            "no homecoming is configured"
            if not seen.has_homecoming
            else f"{where} has no deliver: mail is gathered, and does not come home"
        )
        return Finding("homecoming-deliver", SKIPPED, name, text, f"add deliver to {where}")
    mend = f"check the credential that deliver of {where} names; nothing was written with it. A refused login is tried again when its file changes, or after eight days"
    bad = [login for login in seen.logins if login.seen is not ProbeClass.UP]
    if seen.error or bad:
        told = seen.error or "; ".join(f"{login.user}: {login.text}" for login in bad[:NAMED])
        return Finding(
            "homecoming-deliver", FAIL, name, f"what lands at the secondary could not be brought to the primary: {told}", mend
        )
    unread = [each for each in seen.filters if each.why]
    if unread:
        told = "; ".join(f"{each.mailbox}: {each.why}" for each in unread[:NAMED])
        text = f"filter rules could not be read, so mail would come home into the inbox: {told}"
        return Finding(
            "homecoming-deliver",
            WARN,
            name,
            text,
            f"check filter of {where}: ManageSieve, usually port 4190, with the login of deliver",
        )
    strange = [each for each in seen.filters if each.strange]
    if strange:
        told = "; ".join(f"{each.mailbox}: {', '.join(each.strange[:NAMED])}" for each in strange[:NAMED])
        text = f"some filter rules cannot be judged here, so mail that reaches them would come home into the inbox: {told}"
        return Finding(
            "homecoming-deliver", WARN, name, text, "write those rules otherwise, or behind the others (docs/homecoming.md)"
        )
    if not seen.logins:
        return Finding("homecoming-deliver", SKIPPED, name, "no mailbox of the primary is known yet", "run a backup of it")
    rules = f", and {len(seen.filters)} mailbox(es)' filter rules are understood" if seen.filters else ""
    return Finding(
        "homecoming-deliver",
        OK,
        name,
        f"{len(seen.logins)} mailbox(es) of the primary were opened with the homecoming's credential{rules}",
    )
