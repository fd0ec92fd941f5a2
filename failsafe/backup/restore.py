"""Carries out a restore plan: messages from the nearest source that has them whole, into a destination, then read back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Protocol

from failsafe.backup.destinations import AlreadyThere, Destination, Rejected
from failsafe.backup.recall import Source, StagingSource, best_generation, is_out
from failsafe.backup.restore_plan import Plan, Wanted, describe
from failsafe.backup.unsealing import MEND, Learned, Unsealer, merged
from failsafe.errors import ArchiveError, ExternalError, ResticError
from failsafe.mail.packed import Unreadable
from failsafe.model import Body
from failsafe.ports import Narrator, Progress

NOT_ANYWHERE = "no repository that can be read holds it"


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A message that nearer sources list and had not whole, and where it was taken from instead."""

    item: Wanted
    damaged_in: tuple[str, ...]
    taken_from: str


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """How a restore ended. `missing`: planned and not there now, and why."""

    planned: int
    added: int
    already_there: int
    missing: tuple[tuple[Wanted, str], ...]
    not_found: tuple[str, ...]
    destination: str
    seconds: float
    verified: bool  # everything that was added was read back and is right
    notes: tuple[str, ...] = ()
    sources: Mapping[str, int] = field(default_factory=dict)  # messages taken from each
    elsewhere: tuple[Elsewhere, ...] = ()

    @property
    def is_short(self) -> bool:
        return bool(self.missing or self.not_found)

    def to_json(self) -> dict[str, object]:
        gone = [_json(item) | {"why": why} for item, why in self.missing]
        elsewhere = [
            _json(one.item) | {"damaged_in": list(one.damaged_in), "taken_from": one.taken_from} for one in self.elsewhere
        ]
        return {
            "planned": self.planned,
            "added": self.added,
            "already_there": self.already_there,
            "missing": [*gone, *({"why": line} for line in self.not_found)],
            "destination": self.destination,
            "seconds": round(self.seconds, 3),
            "verified": self.verified,
            "notes": list(self.notes),
            "sources": dict(self.sources),
            "elsewhere": elsewhere,
        }


def _json(item: Wanted) -> dict[str, object]:
    return {
        "id": item.id,
        "server": item.server,
        "mailbox": item.target_mailbox,
        "folder": item.target_folder,
        "message_id": item.message_id or "",
    }


def run_restore(
    plan: Plan,
    sources: Sequence[Source],
    destination: Destination,
    unsealer: Unsealer,
    *,
    name: str,
    monotonic: Callable[[], float],
    progress: Progress,
    narrate: Narrator,
) -> RestoreReport:
    """Goes on past messages that cannot be had or that the destination will not have; they are in the report.

    Raises ExternalError where the destination fails altogether: what was added stays, and running again goes on from there.
    """
    begun = monotonic()
    run = _Run(plan.to_add, destination, unsealer, progress, narrate)
    progress.stage("restoring", sum(item.size for item in plan.to_add), "B")
    for source in sources:
        if run.left:
            run.take_from(source)
    added = run.without(destination.finish())
    wrong = destination.verify(added, progress) if added else {}
    missing = {**run.not_had(), **run.rejected, **wrong}
    return RestoreReport(
        planned=plan.planned,
        added=len(added) - len(wrong),
        already_there=len(plan.already_there) + len(run.there),
        missing=tuple(missing.items()),
        not_found=plan.not_found,
        destination=name,
        seconds=monotonic() - begun,
        verified=not wrong,
        notes=(*plan.notes, *destination.notes(), *run.notes()),
        sources=run.sources(),
        elsewhere=run.elsewhere(),
    )


def open_sealed(
    wanted: Sequence[Wanted], sources: Sequence[Source], unsealer: Unsealer, progress: Progress, narrate: Narrator
) -> tuple[tuple[Wanted, ...], dict[Wanted, str]]:
    """Reads what is stored encrypted or compressed, to know what it is: (what is wanted now, those that cannot be had and why).

    From staging where it can be: that is on this machine, and the restore itself reads each of them once more.
    """
    sealed = [item for item in wanted if item.sealed]
    if not sealed:
        return tuple(wanted), {}
    learned = Learned()
    run = _Run(sealed, learned, unsealer, progress, narrate)
    progress.stage("opening what is stored encrypted or compressed", sum(item.size for item in sealed), "B")
    for source in sorted(sources, key=lambda one: not isinstance(one, StagingSource)):
        if run.left:
            run.take_from(source)
    closed = {**{item: f"{why}; {MEND}" for item, why in run.rejected.items()}, **run.not_had()}
    return merged([item for item in wanted if item not in closed], learned), closed


def unreachable(wanted: Iterable[Wanted], sources: Sequence[Source], narrate: Narrator) -> dict[Wanted, str]:
    """Messages for which no source has a generation. Reads lists of snapshots only, so that a plan can say so."""
    left = list(wanted)
    for source in sources:
        if not left:
            break
        for known in (source.surely, lambda server, source=source: _generations(source, server, narrate)):
            available = {server: known(server) for server in {item.server for item in left}}
            left = [item for item in left if _best(available[item.server], item) is None]
    return dict.fromkeys(left, NOT_ANYWHERE)


class _Takes(Protocol):
    def add(self, item: Wanted, body: Body) -> None: ...


class _Run:
    def __init__(
        self, wanted: Iterable[Wanted], destination: _Takes, unsealer: Unsealer, progress: Progress, narrate: Narrator
    ) -> None:
        self._destination, self._unsealer, self._progress, self._narrate = destination, unsealer, progress, narrate
        self.left: dict[Wanted, None] = dict.fromkeys(wanted)
        self._added: dict[Wanted, str] = {}  # and where each came from
        self.there: list[Wanted] = []  # told by their bytes
        self.rejected: dict[Wanted, str] = {}
        self._damaged: dict[Wanted, tuple[str, ...]] = {}  # sources that list it and had it not whole
        self._out: dict[str, None] = {}  # sources that could not be asked

    def without(self, refused: Mapping[Wanted, str]) -> list[Wanted]:
        """What was added, after the destination's last word."""
        for item, why in refused.items():
            del self._added[item]
            self._reject(item, why)
        return list(self._added)

    def sources(self) -> dict[str, int]:
        return dict(Counter(self._added.values()))

    def elsewhere(self) -> tuple[Elsewhere, ...]:
        return tuple(Elsewhere(item, self._damaged[item], name) for item, name in self._added.items() if item in self._damaged)

    def notes(self) -> tuple[str, ...]:
        """What was opened; one line for each source that could not be asked, and for each that stood in for damaged ones."""
        stood_in = Counter(one.taken_from for one in self.elsewhere())
        opened = sum(bool(item.opened_id) for item in self._added)
        return (
            *((f"{opened} message(s) are stored encrypted or compressed, and were opened",) if opened else ()),
            *(f"{name} could not be asked; what it holds was taken from others, as far as they have it" for name in self._out),
            *(f"{n} message(s) came from {name}, since a nearer source had them not whole" for name, n in stood_in.items()),
        )

    def not_had(self) -> dict[Wanted, str]:
        """What is left when no source is, and why."""
        reasons = {}
        for item in self.left:
            names = self._damaged.get(item)
            reasons[item] = f"not whole in {', '.join(names)}; {NOT_ANYWHERE} whole" if names else NOT_ANYWHERE
        return reasons

    def take_from(self, source: Source) -> None:
        """Tries every message that is left. A source that fails leaves them to the next one."""
        for (server, mailbox), items in self._by_mailbox().items():
            known = source.surely(server)
            self._take_all(source, server, mailbox, {item: _best(known, item) for item in items})
            left = [item for item in items if item in self.left]
            available = self._generations(source, server) if left else ()
            tried = {item: _best(available, item) for item in left}
            self._take_all(source, server, mailbox, tried)
            newest = available[-1] if available else None  # a segment outlives the entries it was made for
            self._take_all(
                source, server, mailbox, {item: newest for item in left if item in self.left and tried[item] != newest}
            )
            for item in left if source.name not in self._out else ():
                if item in self.left and tried[item] is not None:
                    self._damaged[item] = (*self._damaged.get(item, ()), source.name)

    def _take_all(self, source: Source, server: str, mailbox: str, places: dict[Wanted, int | None]) -> None:
        by_generation: dict[int, dict[str, list[Wanted]]] = {}
        for item, number in places.items():
            if number is not None:
                by_generation.setdefault(number, {}).setdefault(item.id, []).append(item)
        for number, by_id in sorted(by_generation.items(), reverse=True):
            self._take(source, server, number, mailbox, by_id)

    def _by_mailbox(self) -> dict[tuple[str, str], list[Wanted]]:
        grouped: dict[tuple[str, str], list[Wanted]] = {}
        for item in self.left:
            grouped.setdefault((item.server, item.mailbox), []).append(item)
        return grouped

    def _take(self, source: Source, server: str, number: int, mailbox: str, by_id: dict[str, list[Wanted]]) -> None:
        with closing(source.read(server, number, mailbox, list(by_id), self._narrate)) as messages:
            while True:
                try:
                    id_, body = next(messages)
                except StopIteration:
                    return
                except (ResticError, ArchiveError) as error:
                    self._narrate(f"{source.name}: {error}")
                    if is_out(error):
                        self._out[source.name] = None
                    return
                for item in by_id[id_]:
                    self._give(item, body, source, number)

    def _generations(self, source: Source, server: str) -> tuple[int, ...]:
        try:
            return source.generations(server)
        except ExternalError as error:
            self._narrate(f"{source.name}: {error}")
            self._out[source.name] = None
            return ()

    def _give(self, item: Wanted, body: Body, source: Source, number: int) -> None:
        try:
            self._destination.add(item, self._unsealer.unseal(body, source, item.server, number) if item.sealed else body)
        except AlreadyThere:
            self.there.append(item)
        except (Rejected, Unreadable) as error:
            self._reject(item, str(error))
        else:
            self._added[item] = source.name
        del self.left[item]
        self._progress.advance(item.size)

    def _reject(self, item: Wanted, why: str) -> None:
        self.rejected[item] = why
        self._narrate(f"not restored: {describe(item)}: {why}")


def _best(available: Sequence[int], item: Wanted) -> int | None:
    return best_generation(available, item.first_generation, item.last_generation)


def _generations(source: Source, server: str, narrate: Narrator) -> tuple[int, ...]:
    try:
        return source.generations(server)
    except ExternalError as error:
        narrate(f"{source.name}: {error}")
        return ()
