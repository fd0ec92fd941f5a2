"""The guards of a backup: what each is about, what a person is told, how it ends, and when a clock is not believed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from shlex import quote

from failsafe.events import Event
from failsafe.model import Guard, Notice, Severity

# `failsafe accept SERVER --what KIND` lifts these codes and no others
KINDS: dict[str, tuple[str, ...]] = {
    "loss": ("mass-loss", "store-rebuilt", "mailbox-vanished"),
    "tampering": ("tampered",),
    "host-key": ("host-key-changed",),
    "repository": ("repository-unknown",),
    "clock": ("clock-jump",),
}
# code -> what raises it; the reference documentation is printed from here
CODES: dict[str, str] = {
    "mass-loss": "far more messages are gone than a person deletes: more than 20 and a fifth of a mailbox (or of the server) within a day, "
    "or nearly all of a mailbox of ten and more",
    "tampered": "a message has other content under its name; a Maildir's files never change",
    "store-rebuilt": "the mail store is empty, or most of its folders have another UIDVALIDITY",
    "mailbox-vanished": "a mailbox that held messages is not there",
    "clock-jump": "this machine's clock went back behind the last pull or leapt ahead, or it and the server's clock disagree",
    "host-key-changed": "the server shows another SSH host key than the one that is known",
    "repository-unknown": "another restic repository lies where the known one was",
}
CONTENT = frozenset(KINDS["loss"] + KINDS["tampering"])  # about the mail itself: what vanished stays in the manifests, marked
REPOSITORY = "repository:"  # before its name, in place of a mailbox
ALIKE = 3  # guards of one code that are told one by one

# beside the inventory's table `guard`, with the same columns: what a person was told
TOLD = (
    "CREATE TABLE IF NOT EXISTS told (mailbox TEXT NOT NULL, code TEXT NOT NULL, text TEXT NOT NULL, raised_at TEXT NOT NULL, "
    "PRIMARY KEY (mailbox, code))"
)

ABOUT = "guard about {}"  # in the inventory's `meta`, by code: what exactly a guard is about, such as the key that was shown

BACK = timedelta(minutes=5)  # a time server that corrects a clock after a start takes it back by less
APART = timedelta(minutes=30)  # beyond it restic takes the lock of a living process for a dead one's
LEAP = timedelta(days=90)  # without another clock to ask, so long a silence may be a leap: longer than most holidays and repairs


@dataclass(frozen=True, slots=True)
class Standing:
    """A guard that stands. `place` is the mailbox it is about, "repository:NAME", or "" for the whole server."""

    place: str
    code: str
    text: str
    raised_at: datetime

    def guard(self, server: str) -> Guard:
        return Guard(self.code, self.text, mend_of(self.code, server, self.place))


def mend_of(code: str, server: str, place: str = "") -> str:
    """What a person does about a guard, with the command that ends it."""
    kind = next(kind for kind, codes in KINDS.items() if code in codes)
    scope = f" --mailbox {quote(place)}" if place and code in CONTENT else ""
    what = "" if kind == "loss" else f" --what {kind}"
    accept = f"failsafe accept {server}{scope}{what} --reason TEXT"
    if code == "tampered":
        return (
            f"if this was meant: {accept}; if not: look at the server before anything else, and restore the old content, which every "
            "snapshot still holds"
        )
    if code == "host-key-changed":
        return (
            "compare the fingerprint on the server's own console (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub); only if it is this "
            f"one: {accept}; if not, somebody may be in between"
        )
    if code == "repository-unknown":
        return f"if you put it there: {accept}; if not: bring the right disk or bucket back"
    if code == "clock-jump":
        return (
            f"set the clock that is wrong (timedatectl), then: {accept}; snapshots that were dated in the future hide newer ones from "
            "`restic restore latest`: failsafe snapshots shows them"
        )
    return f"if this was meant: {accept}; if not: restore what is gone (failsafe search --server {server} --gone shows it)"


# ---------------------------------------------------------------- telling


def join_alike(guards: Sequence[Standing]) -> tuple[Standing, ...]:
    """More than a few of one code become one: whoever lost a whole store wants one notice, not three hundred."""
    joined: list[Standing] = []
    for code in dict.fromkeys(guard.code for guard in guards):
        alike = [guard for guard in guards if guard.code == code]
        if len(alike) <= ALIKE:
            joined += alike
            continue
        named = "; ".join(guard.text for guard in alike[:ALIKE])
        joined.append(Standing("", code, f"{len(alike)} times: {named}; …", min(guard.raised_at for guard in alike)))
    return tuple(joined)


def raised_event(server: str, standing: Standing, now: datetime) -> Event:
    """Told once, however long it stands; `status` goes on showing it."""
    guard = standing.guard(server)
    about_mail = standing.code in CONTENT
    losing = f"Perhaps: {standing.text}. Snapshots made before still hold everything." if about_mail else "No mail is lost."
    if standing.code == "host-key-changed":
        losing = "Not now, but nothing new is backed up until this is settled."
    notice = Notice(
        subject=f"{server}: {standing.code}: {standing.text}",
        losing_mail=losing,
        mail_goes="Where it went before.",
        must_do=guard.mend,
        since=standing.raised_at,
        thread=f"guard/{server}/{standing.code}/{standing.place}",
        severity=Severity.FAIL,
        details="Until then no snapshot is forgotten and nothing is pruned"
        + ("; new mail is still backed up, and what vanished stays in every new snapshot, marked." if about_mail else "."),
    )
    return Event("guard.raised", server, f"{standing.code}: {standing.text}", now, _details(standing), notice)


def lifted_event(server: str, standing: Standing, now: datetime) -> Event:
    text = f"{standing.code}: its cause is gone ({standing.text})"
    notice = Notice(
        subject=f"{server}: {standing.code} is over: its cause is gone",
        losing_mail="No.",
        mail_goes="Where it went before.",
        must_do="nothing",
        since=standing.raised_at,
        thread=f"guard/{server}/{standing.code}/{standing.place}",
        severity=Severity.OK,
        details=standing.text,
    )
    return Event("guard.lifted", server, text, now, _details(standing), notice)


def _details(standing: Standing) -> dict[str, object]:
    return {"code": standing.code, "place": standing.place, "raised_at": standing.raised_at.isoformat()}


# ---------------------------------------------------------------- clocks


@dataclass(frozen=True, slots=True)
class Clocks:
    """What a pull knows about time. `generation_at`: of the newest generation; `pulled_at`: when the last pull ended."""

    now: datetime
    generation_at: datetime | None
    pulled_at: datetime | None
    server_at: datetime | None  # the server's own clock at `now`; None where there is none beside ours
    server: str


@dataclass(frozen=True, slots=True)
class Jump:
    """Why a clock is not believed. `kind`: back, apart, leap; `apart` is the server's clock less ours, 0 where it does not matter."""

    kind: str
    text: str
    apart: timedelta = timedelta()


def judge_clock(clocks: Clocks) -> Jump | None:
    """Retention goes by dates, and `--at` by those of generations: neither may go by a clock that is wrong."""
    last = max((at for at in (clocks.generation_at, clocks.pulled_at) if at is not None), default=None)
    if last is not None and last - clocks.now > BACK:
        return Jump("back", f"this machine's clock says {_spoken(clocks.now)}, and the last pull was made at {_spoken(last)}")
    if clocks.server_at is not None:
        apart = clocks.server_at - clocks.now
        if abs(apart) > APART:
            says = f"the clock of {clocks.server} says {_spoken(clocks.server_at)}, this machine's {_spoken(clocks.now)}"
            return Jump("apart", f"{says}: one of the two is wrong", apart)
        return None  # two clocks agree: the silence was real
    if clocks.pulled_at is not None and clocks.now - clocks.pulled_at > LEAP:
        return Jump(
            "leap",
            f"this machine's clock says {_spoken(clocks.now)}, {(clocks.now - clocks.pulled_at).days} days after the last pull",
        )
    return None


def _spoken(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
