"""Logs in at a mailbox as a homecoming does, and asks how much room there is; nothing is opened, nothing is read."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from failsafe.adapters.imap_line import Meter, connect, faults, hang_up, words_of
from failsafe.adapters.imap_login import is_passing
from failsafe.errors import MailError, SecretError
from failsafe.mail.replies import printable
from failsafe.model import Endpoint, ProbeClass
from failsafe.secrets import read_secret

ANSWER_SECONDS = 20.0
LITERAL_BYTES = 64 * 1024  # the name of a quota's root, at most


@dataclass(frozen=True, slots=True)
class RoomSight:
    """`quota` in KiB, (used, limit), where the server tells (RFC 9208)."""

    seen: ProbeClass
    text: str
    quota: tuple[int, int] | None = None
    login_refused: bool = False


def look_at_room(endpoint: Endpoint, user: str, password_file: Path) -> RoomSight:
    """Never raises for anything that a server or a network can do. The password crosses verified TLS, or loopback, alone."""
    where = f"{endpoint.host}:{endpoint.port}"
    try:
        password = read_secret(password_file)
    except SecretError as error:
        return RoomSight(ProbeClass.UNKNOWN, str(error))
    try:
        with faults(where, "connect"):
            client = connect(endpoint, Meter(answer_seconds=ANSWER_SECONDS, literal_bytes=LITERAL_BYTES))
    except MailError as error:
        return RoomSight(ProbeClass.DOWN, printable(str(error)))
    try:
        with faults(where, f"log in as {user}"):
            client.login(user, password.reveal())
        quota = None
        with contextlib.suppress(MailError), faults(where, "ask for the quota"):
            quota = _quota(client)
        return RoomSight(ProbeClass.UP, "logged in", quota)
    except MailError as error:
        said = printable(words_of(error.__cause__).replace(password.reveal(), "…"))
        if error.transient:
            return RoomSight(ProbeClass.DOWN, printable(str(error)).replace(password.reveal(), "…"))
        if is_passing(said):
            return RoomSight(ProbeClass.DOWN, f"it lets nobody in just now: {said}")
        return RoomSight(ProbeClass.UNKNOWN, f"login refused: {said}", login_refused=True)
    finally:
        hang_up(client)


def _quota(client: object) -> tuple[int, int] | None:
    from imapclient import IMAPClient

    assert isinstance(client, IMAPClient)
    if not client.has_capability("QUOTA"):
        return None
    _roots, quotas = client.get_quota_root("INBOX")
    storage = [(int(each.usage), int(each.limit)) for each in quotas if str(each.resource).upper().endswith("STORAGE")]
    return max(storage, key=lambda each: each[0] / max(each[1], 1), default=None)
