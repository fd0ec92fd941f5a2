"""One homecoming: what is new is sifted out, and brought to each mailbox in turn. A mailbox that lets nobody in does not keep the others waiting."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from failsafe.errors import MailError
from failsafe.homecoming.deliver import Delivery
from failsafe.homecoming.plan import Arrival, Waits
from failsafe.homecoming.sift import Sifter
from failsafe.ports import Progress

AT_ONCE = 5_000  # arrivals in memory
TOLD = 20  # reasons why something goes elsewhere


@dataclass(frozen=True, slots=True)
class Outcome:
    """`already_there`: all that the primary has, of this homecoming or by itself. `error`: the primary as a whole was out of order."""

    home: int = 0
    already_there: int = 0
    left: int = 0
    to_bring: int = 0  # of a dry run
    waiting: tuple[Waits, ...] = ()
    notes: tuple[str, ...] = ()
    error: str = ""
    mend: str = ""


def run_homecoming(sifter: Sifter, delivery: Delivery, progress: Progress, *, dry: bool = False) -> Outcome:
    """`dry`: looks and counts, changes nothing. Raises ArchiveError, StoreError; what the primary does is in the answer."""
    out: MailError | None = None
    to_bring = there = 0
    for part in _parts(sifter.arrivals()):
        progress.stage("bringing home", len(part), "messages")
        for mailbox, arrivals in sorted(_by_mailbox(part).items()):
            try:
                if out is not None:
                    raise out
                if dry:
                    plan = delivery.plan(mailbox, arrivals)
                    to_bring, there = to_bring + len(plan.to_bring), there + len(plan.there) + len(plan.doubles)
                else:
                    delivery.bring(mailbox, arrivals, was_full=mailbox in sifter.full)
            except MailError as error:
                delivery.give_up(arrivals, str(error), keep=not dry)
                out = error if error.transient else out
    return Outcome(
        home=delivery.home,
        already_there=sifter.already_there + delivery.already_there + there,
        left=sifter.left,
        to_bring=to_bring,
        waiting=(*sifter.waiting, *delivery.waiting),
        notes=(
            *(f"{count} message(s) go to {place}: {why}" for (place, why), count in sifter.elsewhere.most_common(TOLD)),
            *delivery.notes,
        ),
        error="" if out is None else str(out),
        mend="" if out is None else out.mend,
    )


def _by_mailbox(arrivals: Iterable[Arrival]) -> dict[str, list[Arrival]]:
    found: dict[str, list[Arrival]] = {}
    for arrival in arrivals:
        found.setdefault(arrival.to_mailbox, []).append(arrival)
    return found


def _parts(arrivals: Iterable[Arrival]) -> Iterator[list[Arrival]]:
    part: list[Arrival] = []
    for arrival in arrivals:
        part.append(arrival)
        if len(part) == AT_ONCE:
            yield part
            part = []
    if part:
        yield part
