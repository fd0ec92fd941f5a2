"""Which messages are to be marked at the secondary, where a person asked for it: those that are home and still lie there unmarked. Pure.

Nothing is ever deleted there. A mark is the keyword $Failsafe, or a folder that a message is moved to; it is made only after the message was read
back at the primary and its archive lies in a repository.
"""

from __future__ import annotations

from collections.abc import Iterable

from failsafe.homecoming.found import Found, in_parts
from failsafe.homecoming.ledger import AT_HOME, Ledger, by_message
from failsafe.homecoming.plan import KEYWORD

KEYWORD_MARK, FOLDER_MARK = "keyword", "folder:"
MOST = 10_000  # messages in one run; the next one goes on

Place = tuple[str, str, int]  # mailbox, folder, UIDVALIDITY


def to_mark(domain: str, found: Iterable[Found], ledger: Ledger, mark: str) -> dict[Place, list[int]]:
    """Place -> UIDs. Raises ArchiveError, StoreError."""
    places: dict[Place, list[int]] = {}
    count = 0
    for part in in_parts(each for each in found if not _is_marked(each, mark)):
        rows = by_message(ledger.known(domain, part[0].mailbox, [each.id for each in part]))
        for each in part:
            mine = rows.get(each.id, [])
            if mine and all(row.state in AT_HOME for row in mine) and each.uid_validity is not None and each.uid is not None:
                places.setdefault((each.mailbox, each.folder, each.uid_validity), []).append(each.uid)
                count += 1
                if count == MOST:
                    return places
    return places


def _is_marked(found: Found, mark: str) -> bool:
    """Or is not there any more."""
    if found.uid is None:
        return True
    if mark == KEYWORD_MARK:
        return KEYWORD.lower() in {keyword.lower() for keyword in found.keywords}
    return found.folder == mark.removeprefix(FOLDER_MARK)
