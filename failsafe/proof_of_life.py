"""Looks on the primary itself for mail that came from outside while the probes see it down: then it is not down for everyone.

Read over SSH (or on this machine), and only what is new: the folders whose stamps moved, in them the newest messages, of each its beginning.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from failsafe.app import LOOK_SILENCE, App
from failsafe.canaries import canary_filter
from failsafe.errors import FailsafeError
from failsafe.logs import get_log

if TYPE_CHECKING:
    from failsafe.backup.protocol import MailboxFacts, ServerSession

FOLDERS, MESSAGES = 50, 20  # looked into at one look, the newest first
LARGEST = 1 << 20  # bytes; a larger message is passed over: it would cross the line whole
MOST_LISTED = 100_000  # names; what more folders hold is left for the next look
_NS = 10**9


def can_look(app: App, server: str) -> bool:
    """Where its mail is read as files; over IMAP nobody can tell a delivery from what a mail program put there."""
    return app.mail_source(server) is None


def newest_proof(app: App, server: str, since: datetime) -> datetime | None:
    """When the newest message since then came in from outside, by our clock; None where there is none, or nobody can look. Never raises FailsafeError."""
    from failsafe.backup.source import open_source
    from failsafe.config.wanted import wanted_of

    try:
        with open_source(app.mail_host(server, silence=LOOK_SILENCE), wanted_of(app.server(server))) as (session, _source):
            return _look(app, server, session, since)
    except FailsafeError as error:
        get_log().info("proof-of-life", server=server, text=f"nobody can look: {error}")
        return None


def _look(app: App, server: str, session: ServerSession, since: datetime) -> datetime | None:
    from failsafe.mail.headers import HEAD_BYTES
    from failsafe.mail.received import judge_arrival

    ahead = datetime.fromtimestamp(session.clock() / _NS, UTC) - app.clock.now()  # of its clock before ours
    own, ours, is_ours = own_names(app, server), canary_addresses(app, server), canary_filter(app.state_dir)
    for box, directory, item in _newest(session, int((since + ahead).timestamp() * _NS), ours):
        for answer in session.read_messages(box.path, box.place(directory), [item]):
            head = b"" if answer.body is None else answer.body.read(HEAD_BYTES)
            found = None if is_ours(head) or _is_canary(head, ours) else judge_arrival(head, own)
            if found is not None and since < found.at - ahead <= app.clock.now() + timedelta(minutes=1):
                return found.at - ahead
    return None


def _newest(session: ServerSession, since_ns: int, ours: frozenset[str]) -> Iterator[tuple[MailboxFacts, str, str]]:
    """(mailbox, folder, SUB/NAME) of the newest files since then; mailboxes that only canaries and probes are sent to are left out."""
    boxes = [box for box in session.survey() if box.mailbox.lower() not in ours]
    folders = [(max(folder.stamps), box, folder.directory) for box in boxes for folder in box.folders]
    moved = sorted((each for each in folders if each[0] >= since_ns), key=lambda each: -each[0])[:FOLDERS]
    found, listed = [], 0
    for _, box, directory in moved:
        for _, part in session.list_folders([(box.path, box.place(directory))]):
            if not isinstance(part, list):
                continue
            listed += len(part)
            found += [(at, box, directory, sub, name) for sub, name, size, at, _ in part if at >= since_ns and size <= LARGEST]
        if listed > MOST_LISTED:
            break
    for _, box, directory, sub, name in sorted(found, key=lambda each: -each[0])[:MESSAGES]:
        yield box, directory, f"{sub}/{name.decode('utf-8', 'surrogateescape')}"


def own_names(app: App, server: str) -> frozenset[str]:
    """How the server may call itself: its exchanges, and where it is probed and reached."""
    table, probe = app.server(server), app.config.probe.get(server)
    names = {name for domain in app.config.domain.values() if domain.server == server for name in domain.primary}
    if probe is not None:
        names |= {address.host for address in probe.smtp}
    return frozenset(names | ({str(table.ssh).rpartition("@")[2].rpartition(":")[0]} if table.ssh is not None else set()))


def canary_addresses(app: App, server: str) -> frozenset[str]:
    """Whom only failsafe writes to, or as whom it writes."""
    canary, probe = app.config.canary.get(server), app.config.probe.get(server)
    found = {canary.to, canary.from_} if canary is not None else set()
    if probe is not None and probe.recipient is not None:
        found.add(probe.recipient)
    return frozenset(address.lower() for address in found)


def _is_canary(head: bytes, ours: frozenset[str]) -> bool:
    from failsafe.mail.headers import parse_headers

    headers = parse_headers(head)
    said = f"{headers.sender} {headers.recipient}".lower()
    return any(address in said for address in ours)
