"""Pulls a mail server's mailboxes over IMAP into its staging folder: the same archive as a pull of files makes.

Order of safety as there: segments are durable, then the inventory's rows that speak of them, then the generation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from itertools import islice

from failsafe.backup.archive.staging import Staging
from failsafe.backup.belongings import Belongings
from failsafe.backup.clocks import judge_clocks
from failsafe.backup.guards import CONTENT
from failsafe.backup.imap_ahead import Fetch, Survey
from failsafe.backup.imap_keep import ImapKeeper
from failsafe.backup.imap_ledger import ImapLedger, path_of_mailbox
from failsafe.backup.imap_pace import LongPull, Pace, Stage
from failsafe.backup.imap_read import MailboxReader, Reading, Seen
from failsafe.backup.inventory import Inventory, mailbox_name, text
from failsafe.backup.losses import Loss, Rebuilt
from failsafe.backup.pull import PullOptions, PullReport, PullRun, Work
from failsafe.backup.source import open_source
from failsafe.backup.stretch import NoRoom, plan_slices, sum_up
from failsafe.errors import ExternalError, HostKeyError, MailError, ProcessError, SecretError, ServerSideError, SshError
from failsafe.mail.manifest import Missing
from failsafe.ports import Clock, MailHost, MailSource, Narrator, Progress

SILENT = 3  # mailboxes in a row for which the server could not be reached: the others are not tried
SHOWN = 1_000  # notes


def pull_over_imap(
    source: MailSource,
    host: MailHost | None,
    staging: Staging,
    inventory: Inventory,
    options: PullOptions,
    clock: Clock,
    progress: Progress,
    narrate: Narrator = lambda _: None,
) -> PullReport:
    """One pull; `host` is asked for extra paths and commands. Raises what opening a mailbox raises where none at all could be read, ConfigError,
    SshError, ServerSideError, ProcessError, ArchiveError; what was read until then is kept for the next."""
    fresh = inventory.begin(staging)
    run = _ImapPull(Work(staging, inventory, options, clock, progress, narrate), source, fresh=fresh)
    received = run.files(host)  # first: they are what nobody can make anew, and a first pull of the mail takes days
    try:
        run.messages()
    except NoRoom:
        run.checkpoint()
        raise
    report = run.commit(received + run.received)
    if run.stranger is not None:  # the mail is safe, and a person must be told who answers there
        raise run.stranger
    return report


class _ImapPull(PullRun):
    keeper: ImapKeeper

    def __init__(self, work: Work, source: MailSource, *, fresh: bool) -> None:
        super().__init__(work)
        self.source = source
        full = fresh or self.options.full_listing
        self.keeper = ImapKeeper(self.inventory, self.staging, keeps_gone=self.options.keep_gone is not None)
        self.ledger = ImapLedger(self.inventory, self.staging, fresh=fresh)
        self.pace = Pace(self.stretch, self.progress, self.checkpoint)
        self.reading = Reading(
            source,
            self.ledger,
            self.progress,
            self.narrate,
            self.pace,
            exclude=self.options.exclude_folders,
            views_in=self.options.views_in,
            full=full,
            leave_out=self.options.leave_out,
            since=None if self.options.since is None else int(self.options.since.timestamp()),
        )
        self.ledger.reconsider(self.reading.since)
        self.seen: dict[str, Seen] = {}
        self.renewed: set[int] = set()  # folders whose UIDVALIDITY is another than it was
        self.told: dict[str, None] = {}  # notes of readers, each once
        self.failed: dict[str, ExternalError | SecretError] = {}
        self.missing: list[Missing] = []
        self.belongings = Belongings(self.inventory, self.staging, self.options.layout)
        self.stranger: HostKeyError | None = None
        self.commands = self.received = 0

    def messages(self) -> None:
        listed = set(self.source.mailboxes())
        names = sorted(name for name in listed if not self.options.erased.covers(name))
        if not listed:
            self.narrate(f"{self.source.name}: no mailbox is named or found")
        try:
            self.seen = self._each(names, lambda name: MailboxReader(self.reading, name))
        except LongPull:
            self._go_ahead(names)
            self.seen = self._each(names, lambda name: MailboxReader(self.reading, name))
        if self.failed and not self.seen:
            raise self._nothing(len(names))
        self._settle(set(names))

    def _go_ahead(self, names: Sequence[str]) -> None:
        """Much is missing: which messages, of all mailboxes; then the newest of every mailbox first."""
        awaited = self.keeper.awaited
        self._each(names, lambda name: Survey(self.reading, name, awaited))
        self.pace.stage = Stage.BY_AGE
        days = self.keeper.waiting_by_day()
        waiting = sum_up(list(days.values()))
        self.progress.stage("fetching", waiting.size, "B")
        self.stretch.begin(self.keeper.bytes_archived(), waiting)
        if self.staging.newest() is None:
            self.checkpoint()  # accounts, keys and configuration are safe before nearly all of the mail
        for part in plan_slices(days, self.clock.now(), self.stretch.care.long) if waiting.messages else ():
            make = partial(Fetch, self.reading, awaited=awaited, part=part)
            self._each(awaited.mailboxes(part), make)
        self.pace.stage = Stage.LAST

    def _nothing(self, count: int) -> ExternalError | SecretError:
        """Why not one mailbox could be read."""
        name, first = next(iter(self.failed.items()))
        if count == 1 or not isinstance(first, MailError):
            return first
        text = f"none of {count} mailboxes could be read; {name}: {first}"
        return MailError(text, mend=first.mend, transient=first.transient, credential=first.credential)

    def _each(self, names: Sequence[str], make: Callable[[str], MailboxReader]) -> dict[str, Seen]:
        """What was seen of each; why others could not be read is in `failed`."""
        self.failed.clear()
        found: dict[str, Seen] = {}
        silent = 0
        for name in names:
            if silent >= SILENT:
                self.failed[name] = list(self.failed.values())[-1]
                continue
            reader = make(name)
            try:
                found[name] = reader.run()
                silent = 0
            except (MailError, SecretError, SshError, ProcessError) as error:  # the latter two where IMAP goes through SSH
                self.failed[name] = error
                self.ledger.stay(reader.number)
                self.narrate(f"{name}: {error}")
                silent = 0 if isinstance(error, SecretError) or not error.transient else silent + 1
            finally:
                self._note(reader)
        return found

    def _note(self, reader: MailboxReader) -> None:
        self.commands += reader.commands
        self.received += reader.received
        self.reflagged += reader.seen.reflagged
        self.renewed |= reader.seen.renewed
        self.told.update(dict.fromkeys(reader.seen.notes))

    # -- after reading ---------------------------------------------------------------------------------------------------

    def _settle(self, names: set[str]) -> None:
        now = self.clock.now()
        at = now.isoformat()
        gone, excluded = self._gone_folders(names)
        self.keeper.gather_leaving(gone, excluded)
        losses = self.keeper.loss_by_mailbox({path_of_mailbox(name) for name in names}, now)
        self._raise_guards(losses, self.keeper.rebuilt_by(len(self.renewed), len(names)), now)
        self.moved, self.new = self.keeper.moves()
        self.gone = max(0, self.keeper.let_leave(at) - self.moved)
        if self.options.keep_gone is not None:
            self.keeper.drop_gone((now - self.options.keep_gone).isoformat())
        for seen in self.seen.values():
            for folder in set(seen.listed) - set(seen.unread):
                whole = folder in seen.states and folder not in seen.restless
                self.ledger.end_folder(folder, seen.states[folder] if whole else None, list(seen.lacking.get(folder, ())), at)
        self._keep_news()

    def _raise_guards(self, losses: tuple[Loss, ...], rebuilt: Rebuilt, now: datetime) -> None:
        if self.options.keep_gone is None:
            super()._raise_guards(losses, rebuilt, now)
            return
        for mailbox, code, _ in self.inventory.guards():
            if code in CONTENT:  # an inventory that was made anew, or a takeover, takes what is marked for a loss
                self.inventory.lift(code, mailbox)

    def _gone_folders(self, names: set[str]) -> tuple[set[int], set[int]]:
        """Folders that their mailbox no longer lists, those of mailboxes that are no longer there; and the excluded ones."""
        gone: set[int] = set()
        excluded: set[int] = set()
        for number, path in self.inventory.rows("SELECT id, path FROM mailbox"):
            name = mailbox_name(text(path))
            known = {row[0] for row in self.inventory.rows("SELECT id FROM folder WHERE mailbox = ?", number)}
            seen = self.seen.get(name)
            if seen is not None:
                gone |= known - set(seen.listed) - seen.excluded
                excluded |= seen.excluded
            elif name not in names:
                gone |= known
        return gone, excluded

    def files(self, host: MailHost | None) -> int:
        """Extra paths and commands; gives the bytes that came. Only a host has a clock to compare ours with."""
        options, newest = self.options, self.staging.newest()
        if host is None or (options.layout == "imap" and not (options.extra_paths or options.commands)):
            judge_clocks(self.inventory, newest, self.clock.now(), None, options.server)
            return 0
        self.progress.stage("files")
        try:
            with open_source(host, options.wanted(reads_mail=False)) as (session, source):
                self.belongings = Belongings(self.inventory, self.staging, options.layout, source)
                self.belongings.tell(newest, self.narrate)
                extras = self._extras(session)
                self._take_belongings(extras, self._look_at_clocks(session))
                self.missing += extras.missing
                return session.received
        except (SshError, ProcessError, ServerSideError) as error:  # mail goes another way
            self.stranger = error if isinstance(error, HostKeyError) else None
            wanted = (*options.extra_paths, *(f"commands/{name}" for name in options.commands))
            self.missing += [Missing("", "", path, str(error)) for path in wanted or ("files of the server",)]
            return 0

    def _found_missing(self) -> Iterator[Missing]:
        yield from (*self.missing, *self.belongings.missing)
        for seen in self.seen.values():
            yield from seen.missing()
        for name, error in self.failed.items():
            yield Missing(name, "", "", str(error))

    def _own_notes(self) -> dict[str, object]:
        others = [f"{name} {folder}" for name, seen in self.seen.items() for folder in seen.left_out]
        return {"folders_of_others": sorted(others)[:SHOWN]}

    def _remarks(self) -> Iterator[str]:
        yield from islice(self.told, SHOWN)
        if self.ledger.strange:
            yield f"flags that no standard knows are left out: {' '.join(sorted(self.ledger.strange))}"
        others = sum(len(seen.left_out) for seen in self.seen.values())
        if others:
            yield f"{others} folder(s) of others, shared with a mailbox, are left out"
        yield f"IMAP: {self.commands} commands for {len(self.seen)} mailbox(es)"
