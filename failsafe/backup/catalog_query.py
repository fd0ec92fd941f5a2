"""What can be asked of the catalog, as a value, and how names are compared with patterns. Pure."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for; all that is given must hold. Text is found anywhere in its field, upper and lower case alike."""

    server: str | None = None
    mailbox: str | None = None  # user@domain, or a pattern with * and ?
    folder: str | None = None  # a name, or a pattern such as Archive/*
    sender: str | None = None
    recipient: str | None = None  # To and Cc
    subject: str | None = None
    message_id: str | None = None  # with or without <>
    since: datetime | None = None  # the message's internal date, inclusive
    until: datetime | None = None  # exclusive
    gone: bool = False  # only what is in no folder of its mailbox any more
    gone_since: datetime | None = None  # …and vanished then or later
    at: datetime | None = None  # the mailboxes as they were then
    words: tuple[str, ...] = ()  # each somewhere in sender, recipient or subject
    ids: tuple[str, ...] = ()  # SHA-256 of the content

    @property
    def names_messages(self) -> bool:
        """It asks for certain messages, not for all of a place: then those long gone are meant too."""
        return bool(self.sender or self.recipient or self.subject or self.message_id or self.words or self.ids)


def matches_folder(pattern: str, folder: str) -> bool:
    """INBOX is one folder in upper and lower case (RFC 3501 5.1); [ is no pattern, since folders are called [Gmail]."""
    if pattern.upper() == "INBOX":
        return folder.upper() == "INBOX"
    return folder == pattern or fnmatch.fnmatchcase(folder, pattern.replace("[", "[[]"))


def matches_mailbox(pattern: str, mailbox: str) -> bool:
    return fnmatch.fnmatchcase(mailbox.lower(), pattern.lower().replace("[", "[[]"))
