"""Pulls one server's mail into its staging folder: gather, judge, fetch, prove, and commit the generation last.

Order of safety: segments are durable, then the inventory's rows that speak of them, then the generation. A kill at any moment leaves
the newest generation whole, and the next pull finishes the work.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from failsafe.backup.archive.staging import Staging
from failsafe.backup.belongings import Belongings
from failsafe.backup.clocks import judge_clocks
from failsafe.backup.erased import NOTE, Erased
from failsafe.backup.extras import Extras
from failsafe.backup.fetch import Fetcher
from failsafe.backup.gather import Gatherer, Target, World
from failsafe.backup.growth import note_growth
from failsafe.backup.inventory import Inventory, mailbox_name
from failsafe.backup.keep import Keeper
from failsafe.backup.layouts import Source, Wanted
from failsafe.backup.losses import Loss, Rebuilt, judge_losses
from failsafe.backup.merging import Merger
from failsafe.backup.own_files import OwnFiles, is_due, read_carried, store_own_files
from failsafe.backup.protocol import FileFacts, ServerSession
from failsafe.backup.source import open_source
from failsafe.backup.stored_as import count_stored, crowded_words, stored_words
from failsafe.backup.stretch import Care, NoRoom, Stretch, Waiting, list_outstanding, plan_slices, sum_up
from failsafe.backup.sweeping import ERASE_AFTER, Sweeper
from failsafe.mail.manifest import Generation, GenerationDraft, Missing
from failsafe.model import Guard, Result
from failsafe.ports import Clock, MailHost, Narrator, Progress

ATTEMPTS = 6  # rounds of listing and fetching while messages leave their folders under our hands


@dataclass(frozen=True, slots=True)
class PullOptions:
    """What to pull. `path` holds DOMAIN/USER/ Maildirs on the server, or what the layout says; "": found by looking at `container`."""

    server: str
    path: str = ""
    extra_paths: tuple[str, ...] = ()
    commands: Mapping[str, str] = field(default_factory=dict)  # file name -> command line
    exclude_folders: tuple[str, ...] = ()  # IMAP names; folders below them too
    views_in: Callable[[Mapping[str, Collection[str]]], Collection[str]] = (
        lambda _listing: ()
    )  # over IMAP: what shows what lies elsewhere
    full_listing: bool = False  # list every folder, whatever its stamps say; once a day
    layout: str = "maildir"
    container: str = ""
    controller: Callable[[], OwnFiles] = lambda: OwnFiles.fixed({})  # failsafe's own files of the next generation
    same_clock: bool = False  # the server is this machine, so that its clock is no second opinion
    care: Care = field(default_factory=Care)  # of a pull that takes long
    command_seconds: int = 3600
    file_limit: int = 256 << 20  # bytes of one file of extra paths
    total_limit: int = 1 << 30  # bytes of one extra path or command
    erased: Erased = field(default_factory=Erased)  # mailboxes that are on the server and are not to be archived
    leave_out: Callable[[bytes], bool] = lambda _: False  # of small messages: whether it is nobody's mail (a canary)
    meanwhile: Callable[[], object] = lambda: None  # called when the server is at work, and we are about to wait for its answers
    since: datetime | None = None  # over IMAP: what has an older internal date is not archived
    keep_gone: timedelta | None = None  # over IMAP: what left stays in the archive for so long, marked, and is no loss
    erase_after: timedelta = ERASE_AFTER  # a message that nothing names any more leaves its segment within this time

    def wanted(self, *, reads_mail: bool = True) -> Wanted:
        return Wanted(self.layout, self.path, self.container, self.extra_paths, self.commands, self.command_seconds, reads_mail)


@dataclass(frozen=True, slots=True)
class PullReport:
    """How a pull ended. `generation` is None where nothing had changed; `newest` is the generation that stands."""

    server: str
    result: Result
    generation: Generation | None
    newest: int
    total: int  # entries; a copy counts twice
    new: int
    moved: int
    reflagged: int
    gone: int
    missing: tuple[Missing, ...]
    guards: tuple[Guard, ...]
    bytes_pulled: int
    proved: Mapping[str, datetime | None]  # mailbox -> when all of its folders were last proved complete
    notes: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()  # files of staging that are not what their names say, as far as the pull came upon them

    @property
    def unchanged(self) -> bool:
        return self.generation is None


def pull(
    host: MailHost,
    staging: Staging,
    inventory: Inventory,
    options: PullOptions,
    clock: Clock,
    progress: Progress,
    narrate: Narrator = lambda _: None,
) -> PullReport:
    """One pull. Raises SshError, ServerSideError, ProcessError, ArchiveError; what was read until then is kept for the next.

    Control files, extra paths and commands come first: they are what nobody can make anew, and a first pull of the mail takes days.
    """
    full = inventory.begin(staging) or options.full_listing
    inventory.put("way", "files")
    work = Work(staging, inventory, options, clock, progress, narrate)
    with open_source(host, options.wanted()) as (session, source):
        options.meanwhile()
        run = _Pull(work, session, source)
        try:
            run.messages(full=full)
        except NoRoom:
            run.checkpoint()
            raise
        received = session.received
    return run.commit(received)


@dataclass(frozen=True, slots=True)
class Work:
    """What a pull works on and with, whichever way the mail comes."""

    staging: Staging
    inventory: Inventory
    options: PullOptions
    clock: Clock
    progress: Progress
    narrate: Narrator


class PullRun(ABC):
    """What a pull of files and one over IMAP share: parts while it goes on, the generation at the end, and the report."""

    keeper: Keeper
    belongings: Belongings
    new = moved = reflagged = gone = 0

    def __init__(self, work: Work) -> None:
        self.staging, self.inventory, self.options = work.staging, work.inventory, work.options
        self.clock, self.progress, self.narrate = work.clock, work.progress, work.narrate
        self.stretch = Stretch(self.options.care, self.clock, str(self.staging.folder))
        self.remarks: list[str] = []
        self.damaged: list[str] = []

    @abstractmethod
    def _found_missing(self) -> Iterable[Missing]:
        """What could not be had, in any order."""

    @abstractmethod
    def _own_notes(self) -> dict[str, object]:
        """For the generation; empty ones are left out."""

    def _remarks(self) -> Iterable[str]:
        """For the report, before those of both ways."""
        return ()

    def _look_at_clocks(self, session: ServerSession) -> int:
        """Gives the server's own, ns."""
        there = session.clock()
        at = None if self.options.same_clock else there
        judge_clocks(self.inventory, self.staging.newest(), self.clock.now(), at, self.options.server)
        return there

    def _extras(self, session: ServerSession) -> Extras:
        limits = {"file_limit": self.options.file_limit, "total_limit": self.options.total_limit}
        return Extras(session, self.inventory, self.staging, **limits)

    def _take_belongings(self, extras: Extras, there: int) -> None:
        self.belongings.take(extras, there)
        self._keep_news()

    def _raise_guards(self, losses: tuple[Loss, ...], rebuilt: Rebuilt, now: datetime) -> None:
        for mailbox, guard in judge_losses(losses, rebuilt, self.options.server):
            self.inventory.raise_guard(mailbox, guard.code, guard.text, now.isoformat())
            self.narrate(f"{guard.code}: {guard.text}")

    def _keep_news(self) -> None:
        if self.inventory.has_news:
            self.inventory.commit()

    def checkpoint(self) -> None:
        """A generation of what has arrived, `incomplete`, with what has not as one line a mailbox. The pull goes on afterwards."""
        draft = self._draft(self.keeper.waiting_by_mailbox())
        self.stretch.stored(self._commit(replace(draft, result=Result.INCOMPLETE)))  # whatever it holds: nothing was proved yet

    def commit(self, received: int) -> PullReport:
        """`received`: bytes that came from the server."""
        self.progress.stage("writing")
        note_growth(self.inventory)
        merger = Merger(self.inventory, self.staging)
        if self.new and (words := merger.run()):
            self.remarks.append(words)
        if words := Sweeper(merger, self.options.erase_after).run(self.clock.now()):
            self.remarks.append(words)
        self.damaged += merger.damaged
        draft = self._draft({})
        newest = self.staging.newest()
        generation = self._commit(draft)
        number = generation.number if generation else newest.number if newest else 0
        self.inventory.put("pulled-at", draft.at.isoformat())
        self.inventory.finish(number)
        return self._report(draft, generation, number, received)

    def _draft(self, waiting: Mapping[str, Waiting]) -> GenerationDraft:
        """`waiting`: what has not come yet, by mailbox."""
        mailboxes, total = self.keeper.write_manifests()
        files = self.belongings.files(mailboxes)
        found = sorted({*self._found_missing()}, key=lambda item: (item.mailbox, item.folder, item.name, item.why))
        missing = (*found, *list_outstanding(waiting))
        rest = sum_up(list(waiting.values()))
        outstanding = {"outstanding": {"messages": rest.messages, "bytes": rest.size}} if rest.messages else {}
        notes = {**self._notes(), **outstanding}
        return GenerationDraft(
            at=self.clock.now(),
            result=Result.INCOMPLETE if missing else Result.OK,
            messages=total,
            mailboxes=mailboxes,
            files=files,
            missing=missing,
            notes=notes,
        )

    def _commit(self, draft: GenerationDraft) -> Generation | None:
        """None where the newest generation says the same."""
        newest, own = self.staging.newest(), self.options.controller()
        same = newest is not None and same_state(newest, draft, self.staging)
        if newest and same and not is_due(read_carried(self.staging.archive, newest), own, draft.at):
            return None
        self.inventory.commit()  # before own files are read: guards are among them
        return self.staging.commit(replace(draft, controller=store_own_files(self.staging, own, draft.at)))

    def _notes(self) -> dict[str, object]:
        excluded = sorted(self.options.exclude_folders)
        erased = self.options.erased.note()
        notes: dict[str, object] = {"excluded_folders": excluded, NOTE: erased, **self.belongings.notes(), **self._own_notes()}
        return {key: value for key, value in notes.items() if value}

    def _report(self, draft: GenerationDraft, generation: Generation | None, number: int, received: int) -> PullReport:
        return PullReport(
            server=self.options.server,
            result=draft.result,
            generation=generation,
            newest=number,
            total=self.keeper.total(),
            new=self.new,
            moved=self.moved,
            reflagged=self.reflagged,
            gone=self.gone,
            missing=draft.missing,
            guards=tuple(standing.guard(self.options.server) for standing in self.inventory.standing()),
            bytes_pulled=received,
            proved=self.keeper.proved(),
            notes=(*self._remarks(), *self.remarks, *stored_words(draft.notes.get("stored_as"))),
            damaged=tuple(self.damaged),
        )


class _Pull(PullRun):
    def __init__(self, work: Work, session: ServerSession, source: Source) -> None:
        super().__init__(work)
        staging, inventory = self.staging, self.inventory
        self.session = session
        self.fetcher = Fetcher(session, inventory, staging, self.progress, self.stretch, self.checkpoint, self.options.leave_out)
        self.extras = self._extras(session)
        self.belongings = Belongings(inventory, staging, self.options.layout, source)
        self.belongings.tell(staging.newest(), self.narrate)
        self.keeper = Keeper(inventory, staging)
        self.root = source.reach.root
        self.world = World()
        self.there = 0  # the server's clock, ns
        self.looked_at: dict[str, tuple[FileFacts, ...]] = {}  # control files as they were when they were pulled

    def messages(self, *, full: bool) -> None:
        """Lists and fetches until no message slips away between the two; then judges what vanished and brings entries up to date."""
        gatherer = Gatherer(
            self.session,
            self.inventory,
            self.clock,
            self.progress,
            exclude=self.options.exclude_folders,
            full=full,
            erased=self.options.erased,
        )
        for attempt in range(ATTEMPTS):
            self.world = gatherer.run()
            if not attempt:
                self.files()
            self.fetcher.left.clear()
            self.fetcher.missing.clear()
            self.keeper.touch(self.world)
            self._fetch(gatherer)
            for target, wanted in self.fetcher.left:
                gatherer.left(target.id, [wanted.base])
            if not self.fetcher.lost():
                break
        self._control_files()  # of mailboxes that came meanwhile, or whose files changed
        if not self.world.boxes and not self.inventory.count("mailbox") and not self.options.erased.standing:
            words = f"no mailbox was found: is {self.root} the folder that holds DOMAIN/USER/ Maildirs?"
            self.remarks.append(words)
            self.narrate(words)
        uidlists = self.keeper.restless(self.world)
        for target in uidlists:
            gatherer.read_uidlist(target, news=True)
        self._judge()
        at = self.clock.now().isoformat()
        self.reflagged = self.keeper.reflag()
        vanished = self.keeper.let_go(self.world, at)
        self.new, self.moved = self.fetcher.new, self.fetcher.moved
        self.gone = max(0, vanished - self.moved)
        self.keeper.note_letters(self.session, self.world)
        self.keeper.note_uids(self.world)
        unsure = {folder for folder, _ in self.fetcher.missing} | {target.id for target, _ in self.fetcher.left}
        self.keeper.note_stamps(self.world, unsure, at)
        self._keep_news()

    def _fetch(self, gatherer: Gatherer) -> None:
        """What is missing: the newest of every mailbox first, where it is much."""
        days = self.keeper.waiting_by_day()
        waiting = sum_up(list(days.values()))
        self.progress.stage("fetching", waiting.size, "B")
        is_long = waiting.size >= self.stretch.care.long
        self.stretch.begin(self.keeper.bytes_archived() if is_long else 0, waiting)
        slices = plan_slices(days, self.clock.now(), self.stretch.care.long) if waiting.messages else ()
        if waiting.size >= min(self.stretch.care.early, self.stretch.care.long):  # UIDs and keywords now, so that parts have them
            for target in self.keeper.restless(self.world):
                gatherer.read_uidlist(target)
            self.keeper.note_letters(self.session, self.world)
            self.keeper.note_uids(self.world)
            if is_long and self.staging.newest() is None:
                self.checkpoint()  # accounts, keys and configuration are safe before the first message
        for part in slices:
            for path, targets in by_mailbox(self.world).items():
                self.fetcher.run(mailbox_name(path), targets, part)

    def checkpoint(self) -> None:
        self.keeper.note_uids(self.world)  # of a folder that was numbered anew the old entries, too
        super().checkpoint()

    def _judge(self) -> None:
        now = self.clock.now()
        self._raise_guards(self.keeper.losses(self.world, now), self.keeper.rebuilt(self.world), now)

    def files(self) -> None:
        """Control files, extra paths, commands."""
        self.progress.stage("files")
        self.there = self._look_at_clocks(self.session)
        self._control_files()
        self._take_belongings(self.extras, self.there)

    def _control_files(self) -> None:
        for box in self.world.boxes.values():
            if box.error or self.looked_at.get(box.path) == box.files:
                continue
            self.looked_at[box.path] = box.files
            if self.extras.control(box, self.there):
                self.keeper.dirty(box.path)

    def _found_missing(self) -> list[Missing]:
        found = [*(missing for _, missing in self.fetcher.missing), *self.fetcher.lost()]
        found += self.world.unreadable.values()
        for path, why in self.world.failed.items():
            found.append(Missing(mailbox_name(path), "", "", why))
        for box in self.world.boxes.values():
            found += [Missing(box.mailbox, "", path, why) for path, why in box.problems]
        found += [target.missing("", target.why) for target in self.world.targets.values() if target.why]
        return [*found, *self.extras.missing, *self.belongings.missing]

    def _own_notes(self) -> dict[str, object]:
        stored = count_stored(self.inventory, self.staging)
        return {"stored_as": stored, "changed": sorted(self.fetcher.notes)[:1000]}

    def _remarks(self) -> Iterable[str]:
        return [*self.fetcher.notes, *crowded_words(self.inventory)]


def by_mailbox(world: World) -> dict[str, list[Target]]:
    """Targets that this pull listed, in order of mailbox and folder."""
    boxes: dict[str, list[Target]] = {}
    for target in sorted(world.targets.values(), key=lambda target: (target.box.path, target.facts.directory)):
        if target.id in world.touched:
            boxes.setdefault(target.box.path, []).append(target)
    return boxes


def same_state(newest: Generation, draft: GenerationDraft, staging: Staging) -> bool:
    """Nothing that a restore could tell apart. failsafe's own files and remarks alone do not make a generation."""
    if dict(newest.mailboxes) != dict(draft.mailboxes) or newest.result != draft.result or newest.missing != draft.missing:
        return False
    aside: dict[str, object] = {"changed": 0, "stored_as": 0}  # the second counts segments that no generation may name any more
    if "changed" in draft.notes or {**newest.notes, **aside} != {**draft.notes, **aside}:
        return False
    return list(staging.archive.files(newest)) == list(draft.files)
