"""Gathers what the doctor judges of a mail server: can it be read, and what is there. Judges nothing itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from failsafe.app import App
from failsafe.backup.doctor import (
    ServerCheckup,
    Space,
)
from failsafe.backup.doctor_access import INSTALLED, SENT
from failsafe.backup.protocol import MailboxFacts
from failsafe.backup.serverside import digest
from failsafe.checkup.logins import stored_logins
from failsafe.checkup.people import look_at_accounts
from failsafe.errors import ExternalError, FailsafeError
from failsafe.ports import MailSource

SILENT = 3  # mailboxes for which a mail server could not be reached
LACKING = 20  # places named in a finding


def look_at_server(app: App, name: str) -> ServerCheckup:
    table = app.server(name)
    good = app.duties.last_backup(name, result="ok")
    base = ServerCheckup(
        server=name,
        over_ssh=table.ssh is not None,
        backup_every=table.backup_every,
        good_backup_at=None if good is None else good.started_at,
        domains=tuple(domain for domain, row in app.config.domain.items() if row.server == name),
        reads_files=table.layout != "imap" and table.read == "files",
        accounts=look_at_accounts(app, name),
        logins=stored_logins(app, name),
    )
    source = app.mail_source(name)
    if source is not None:
        return _over_imap(_changed(base, over_imap=True), source)
    from failsafe.backup.extras import look_at
    from failsafe.backup.source import open_source
    from failsafe.config.wanted import wanted_of

    try:
        with open_source(app.mail_host(name), wanted_of(table)) as (session, found):
            asked_at = app.clock.now()
            helper = SENT if session.hello["mode"] == "sent" else INSTALLED
            program = str(session.hello.get("program", ""))
            vitals = session.vitals()
            boxes = list(session.survey())
            missing = (*found.missing, *look_at(session, found.reach.trees))
    except FailsafeError as error:
        return _changed(base, error=str(error), mend=error.mend)
    return _changed(
        base,
        helper=helper,
        program=program,
        our_program=digest(),
        mailboxes=tuple(box.mailbox for box in boxes),
        closed=tuple((box.mailbox, why) for box in boxes if (why := _hidden(box))),
        mend=f"failsafe backup {name} lists all of it, and is incomplete until it is mended",
        sources=found.shown,
        lacking=tuple(f"{one.name}: {one.why}" for one in missing[:LACKING]),
        spaces=tuple(_space(root) for root in vitals.get("spaces") or vitals.get("roots") or () if isinstance(root, dict)),
        clock_offset=_offset(vitals.get("now"), asked_at),
    )


def _hidden(box: MailboxFacts) -> str:
    """What of a mailbox cannot be read; "" where all of it can."""
    place, why = box.problems[0] if box.problems else ("", "")
    return box.error or (f"{place}: {why}" if why else "")


def _over_imap(base: ServerCheckup, source: MailSource) -> ServerCheckup:
    """Opens every mailbox; nothing in it is read. Where the server cannot be reached for the first ones, the others are not tried."""
    closed: list[tuple[str, str]] = []
    mends: list[str] = []
    names: tuple[str, ...] = ()
    silent = 0
    try:
        names = source.mailboxes()
        for name in names:
            try:
                source.open(name).close()
                silent = 0
            except FailsafeError as error:
                closed.append((name, str(error)))
                mends.append(error.mend)
                silent += isinstance(error, ExternalError) and error.transient
                if silent >= SILENT:
                    return _changed(base, error=str(error), mend=error.mend)
    except FailsafeError as error:
        return _changed(base, error=str(error), mend=error.mend)
    return _changed(base, mailboxes=names, closed=tuple(closed), mend=next((mend for mend in mends if mend), ""))


def _changed(base: ServerCheckup, **values: Any) -> ServerCheckup:
    return replace(base, **values)


def _space(root: dict[str, Any]) -> Space:
    return Space(int(root["bytes_free"]), int(root["bytes"]), int(root["inodes_free"]), int(root["inodes"]), str(root["path"]))


def _offset(nanoseconds: Any, asked_at: datetime) -> timedelta | None:
    if not isinstance(nanoseconds, int):
        return None
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC) - asked_at
