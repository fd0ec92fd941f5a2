"""The mailbox that canaries arrive in, over IMAP: finds those whose seal is ours, and removes exactly them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from failsafe.adapters.imap_line import Meter, connect, faults, hang_up, words_of
from failsafe.errors import MailError
from failsafe.mail.canary import HEADER, Canary
from failsafe.model import Endpoint
from failsafe.secrets import Secret

ANSWER_SECONDS = 20.0
HEAD_BYTES = 64 * 1024  # of one header field; a canary's has 150
LOOKED_AT = 200  # messages with our header in one folder, the newest; strangers may send some
JUNK_NAMES = frozenset({"junk", "spam", "inbox.junk", "inbox.spam", "inbox/junk", "inbox/spam", "junk email", "[gmail]/spam"})
_FIELD = f"BODY.PEEK[HEADER.FIELDS ({HEADER.upper()})]"


@dataclass(frozen=True, slots=True)
class Found:
    """One canary there. `folder` by the server's name."""

    folder: str
    uid: int
    canary: Canary
    arrived_at: datetime  # INTERNALDATE, aware


class CanaryBox:
    """Logged in; close it. Raises MailError (`credential` where the login is refused)."""

    def __init__(self, endpoint: Endpoint, user: str, password: Secret) -> None:
        self._where = f"{endpoint.host}:{endpoint.port}"
        with self._faults("connect"):
            self._client = connect(endpoint, Meter(answer_seconds=ANSWER_SECONDS, literal_bytes=HEAD_BYTES))
        try:
            with self._faults(f"log in as {user}"):
                self._client.login(user, password.reveal())
        except MailError as error:
            hang_up(self._client)
            said = words_of(error.__cause__).replace(password.reveal(), "…")  # a server may repeat what it heard
            if error.transient:
                raise MailError(f"{self._where} broke off the login of {user}: {said}") from None
            raise MailError(f"{self._where} does not let {user} in: {said}", transient=False, credential=True) from None
        except BaseException:
            hang_up(self._client)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        hang_up(self._client)

    def find(self, recognise: Callable[[bytes], Canary | None]) -> tuple[Found, ...]:
        """Canaries in INBOX and in the folder of spam. `recognise` gets a header with the canary's field alone."""
        return tuple(found for folder in ("INBOX", *self._junk()) for found in self._find_in(folder, recognise))

    def remove(self, found: tuple[Found, ...]) -> None:
        """Exactly these, by UID EXPUNGE (RFC 4315). A server without it keeps them, marked as deleted; they are not found again."""
        for folder in sorted({each.folder for each in found}):
            uids = [each.uid for each in found if each.folder == folder]
            with self._faults(f"remove canaries from {folder}"):
                self._client.select_folder(folder)
                self._client.delete_messages(uids, silent=True)
                if self._client.has_capability("UIDPLUS"):
                    self._client.uid_expunge(uids)

    def _junk(self) -> list[str]:
        with self._faults("list folders"):
            listed = self._client.list_folders()
        marked = [name for flags, _, name in listed if b"\\junk" in {flag.lower() for flag in flags}]
        return (marked or [name for _, _, name in listed if str(name).lower() in JUNK_NAMES])[:2]

    def _find_in(self, folder: str, recognise: Callable[[bytes], Canary | None]) -> list[Found]:
        with self._faults(f"look for canaries in {folder}"):
            self._client.select_folder(folder, readonly=True)
            uids = sorted(self._client.search(["UNDELETED", "HEADER", HEADER, ""]))[-LOOKED_AT:]
            answers: dict[int, Any] = self._client.fetch(uids, ["INTERNALDATE", _FIELD]) if uids else {}
            found = []
            for uid in uids:
                parts = answers.get(uid, {})
                head = next((value for key, value in parts.items() if key.startswith(b"BODY[")), None)
                canary = recognise(head) if isinstance(head, bytes) else None
                date = parts.get(b"INTERNALDATE")
                if canary is not None and isinstance(date, datetime):
                    found.append(Found(folder, uid, canary, _aware(date)))
        return found

    def _faults(self, doing: str) -> AbstractContextManager[None]:
        return faults(self._where, doing)


def _aware(date: datetime) -> datetime:
    """imapclient gives local time without a zone."""
    return date.astimezone(UTC)
