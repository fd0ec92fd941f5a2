"""Carries out a restore plan: messages from the nearest source that has them whole, into a destination, then read back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from failsafe.backup.destinations import Destination, Rejected
from failsafe.backup.recall import Source, best_generation
from failsafe.backup.restore_plan import Plan, Wanted, describe
from failsafe.errors import ArchiveError, ExternalError, ResticError
from failsafe.ports import Narrator, Progress

NOT_ANYWHERE = "no repository that can be read holds it"


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

    @property
    def is_short(self) -> bool:
        return bool(self.missing or self.not_found)

    def to_json(self) -> dict[str, object]:
        gone = [
            {
                "id": item.id,
                "server": item.server,
                "mailbox": item.target_mailbox,
                "folder": item.target_folder,
                "message_id": item.message_id or "",
                "why": why,
            }
            for item, why in self.missing
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
        }


def run_restore(
    plan: Plan,
    sources: Sequence[Source],
    destination: Destination,
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
    run = _Run(plan.to_add, destination, progress, narrate)
    progress.stage("restoring", sum(item.size for item in plan.to_add), "B")
    for source in sources:
        if run.left:
            run.take_from(source)
    wrong = destination.verify(run.added, progress) if run.added else {}
    missing = {**dict.fromkeys(run.left, NOT_ANYWHERE), **run.rejected, **wrong}
    return RestoreReport(
        planned=plan.planned,
        added=len(run.added) - len(wrong),
        already_there=len(plan.already_there),
        missing=tuple(missing.items()),
        not_found=plan.not_found,
        destination=name,
        seconds=monotonic() - begun,
        verified=not wrong,
        notes=(*destination.notes(), *run.notes()),
    )


def unreachable(wanted: Iterable[Wanted], sources: Sequence[Source], narrate: Narrator) -> dict[Wanted, str]:
    """Messages for which no source has a generation. Reads lists of snapshots only, so that a plan can say so."""
    left = list(wanted)
    for source in sources:
        if not left:
            break
        known: dict[str, tuple[int, ...]] = {}
        for server in {item.server for item in left}:
            known[server] = _generations(source, server, narrate)
        left = [item for item in left if best_generation(known[item.server], item.first_generation, item.last_generation) is None]
    return dict.fromkeys(left, NOT_ANYWHERE)


class _Run:
    def __init__(self, wanted: Iterable[Wanted], destination: Destination, progress: Progress, narrate: Narrator) -> None:
        self._destination, self._progress, self._narrate = destination, progress, narrate
        self.left: dict[Wanted, None] = dict.fromkeys(wanted)
        self.added: list[Wanted] = []
        self.rejected: dict[Wanted, str] = {}
        self._later: dict[str, int] = {}
        self._tried = 0  # sources

    def notes(self) -> tuple[str, ...]:
        return tuple(
            f"{count} message(s) came from {source}, since a nearer source had them not whole"
            for source, count in self._later.items()
        )

    def take_from(self, source: Source) -> None:
        """Tries every message that is left. A source that fails leaves them to the next one."""
        self._tried += 1
        before = len(self.added)
        for (server, mailbox), items in self._by_mailbox().items():
            available = _generations(source, server, self._narrate)
            tried = {item: best_generation(available, item.first_generation, item.last_generation) for item in items}
            self._take_all(source, server, mailbox, tried)
            newest = available[-1] if available else None  # a segment outlives the entries it was made for
            self._take_all(
                source, server, mailbox, {item: newest for item in items if item in self.left and tried[item] != newest}
            )
        if self._tried > 1 and len(self.added) > before:
            self._later[source.name] = len(self.added) - before

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
        messages = source.read(server, number, mailbox, list(by_id), self._narrate)
        while True:
            try:
                id_, data = next(messages)
            except StopIteration:
                return
            except (ResticError, ArchiveError) as error:
                self._narrate(f"{source.name}: {error}")
                return
            for item in by_id[id_]:
                self._give(item, data)

    def _give(self, item: Wanted, data: bytes) -> None:
        try:
            self._destination.add(item, data)
        except Rejected as error:
            self.rejected[item] = str(error)
            self._narrate(f"not restored: {describe(item)}: {error}")
        else:
            self.added.append(item)
        del self.left[item]
        self._progress.advance(item.size)


def _generations(source: Source, server: str, narrate: Narrator) -> tuple[int, ...]:
    try:
        return source.generations(server)
    except ExternalError as error:
        narrate(f"{source.name}: {error}")
        return ()
