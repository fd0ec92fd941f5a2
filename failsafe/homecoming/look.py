"""Looks at a mailbox of the primary before anything is delivered: which folders it has, and which of its messages may be those that were found.

Everything is listed once; only messages that may be one of those on their way are read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from failsafe.errors import MailError
from failsafe.homecoming.folders import Place, place_of
from failsafe.homecoming.plan import KEYWORD, Arrival, Present, candidates
from failsafe.mail.fingerprint import fingerprint
from failsafe.ports import MailboxServer, Narrator

LOOKS = 6  # at a folder whose messages are listed and not given, each in a session of its own


@dataclass(slots=True)
class View:
    """`listing`: each folder and what the server says of it. `newest`: the highest UID of each."""

    listing: Mapping[str, frozenset[str]]
    present: list[Present] = field(default_factory=list)
    newest: dict[str, int] = field(default_factory=dict)


def look_at_primary(
    open_: Callable[[], MailboxServer], close: Callable[[], None], mailbox: str, arrivals: Sequence[Arrival], narrate: Narrator
) -> View:
    """`open_` gives the session that is open, or a new one after `close`. Raises MailError."""
    server = open_()
    folders, attributes = server.folders(), server.attributes()
    view = View({folder: attributes.get(folder, frozenset()) for folder in folders})
    for folder, given in view.listing.items():
        is_sent = place_of(folder, given) is Place.SENT
        for look in range(1, LOOKS + 1):
            newest, present, withheld = _look(open_(), folder, arrivals, in_sent=is_sent)
            if not withheld:
                break
            narrate(f"{mailbox}: the server lists {withheld} message(s) in {folder} and does not give them; looking again")
            close()
            if look == LOOKS:
                raise MailError(
                    f"{mailbox}: the server lists {withheld} message(s) in {folder} and does not give them, so nobody can tell what is there",
                    mend=f"let the server mend that folder (Dovecot: doveadm force-resync -u {mailbox} '*'); the next homecoming goes on",
                    transient=False,
                )
        view.newest[folder] = newest
        view.present += present
    return view


def _look(server: MailboxServer, folder: str, arrivals: Sequence[Arrival], *, in_sent: bool) -> tuple[int, list[Present], int]:
    """(the highest UID, what may be one of those on their way, how many were listed and not given)."""
    listed = {message.uid: message for message in server.messages(folder)}
    uids = sorted(message.uid for message in candidates(listed.values(), arrivals))
    empty = sorted(uid for uid, message in listed.items() if message.size == 0 and uid not in uids)
    present = []
    for uid, pieces in server.read(folder, [*uids, *empty]) if uids or empty else ():
        known = fingerprint(pieces)
        ours = KEYWORD.lower() in {flag.lower() for flag in listed[uid].flags}
        present.append(Present(folder, uid, known, ours, in_sent))
    return max(listed, default=0), present, len(uids) + len(empty) - len(present)
