"""Which rows of the ledger are of no use any more, so that it does not grow for ever. Pure.

Theory. A row keeps a message from being brought twice, and a person's deletion at the primary deleted. Both matter only as long as the message can be
found: at the secondary, or in the archive of what has left it. So a row may go when its message is in neither; the year is for those that come back by other ways. Were
one to come back after that, the primary is looked at as for all, and it is not given a second time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from failsafe.homecoming.found import Found
from failsafe.homecoming.ledger import SETTLED, Entry, Ledger

KEPT_FOR = timedelta(days=365)  # after it was settled
AT_ONCE = 500
MOST = 20_000  # rows in one run; the next goes on


def tidy(domain: str, found: Iterable[Found], ledger: Ledger, now: datetime) -> int:
    """Removes them; gives how many. `found`: all that can be found, from an archive that was just brought up to date. Raises ArchiveError, StoreError."""
    old = list(_old(domain, ledger, now - KEPT_FOR))
    if not old:
        return 0
    there = {(each.mailbox, each.id) for each in found}
    useless = [entry for entry in old if (entry.mailbox, entry.message) not in there]
    ledger.drop(useless[:MOST])
    return len(useless[:MOST])


def _old(domain: str, ledger: Ledger, before: datetime) -> Iterator[Entry]:
    last = 0
    while rows := ledger.settled_before(domain, before, above=last, limit=AT_ONCE):
        yield from (row for row in rows if row.state in SETTLED)
        last = rows[-1].number
