"""Pulls a mail server's mailboxes over IMAP into its staging folder: the same archive as a pull of files makes.

Order of safety as there: segments are durable, then the inventory's rows that speak of them, then the generation.
"""

from __future__ import annotations

from failsafe.backup.archive.staging import Staging
from failsafe.backup.belongings import Belongings
from failsafe.backup.clocks import judge_clocks
from failsafe.backup.extras import Extras
from failsafe.backup.imap_keep import ImapKeeper
from failsafe.backup.imap_ledger import ImapLedger, path_of_mailbox
from failsafe.backup.imap_read import MailboxReader, Seen
from failsafe.backup.inventory import Inventory, mailbox_name, text
from failsafe.backup.losses import judge_losses
from failsafe.backup.merging import Merger
from failsafe.backup.protocol import ServerSession
from failsafe.backup.pull import PullOptions, PullReport, same_state
from failsafe.backup.source import open_source
from failsafe.errors import ExternalError, HostKeyError, MailError, ProcessError, SecretError, ServerSideError, SshError
from failsafe.mail.manifest import Generation, GenerationDraft, Missing
from failsafe.model import Result
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
    run = _ImapPull(source, staging, inventory, options, clock, progress, narrate, fresh=fresh)
    received = run.files(host)  # first: they are what nobody can make anew, and a first pull of the mail takes days
    run.messages()
    report = run.commit(received)
    if run.stranger is not None:  # the mail is safe, and a person must be told who answers there
        raise run.stranger
    return report


class _ImapPull:
    def __init__(
        self,
        source: MailSource,
        staging: Staging,
        inventory: Inventory,
        options: PullOptions,
        clock: Clock,
        progress: Progress,
        narrate: Narrator,
        *,
        fresh: bool,
    ) -> None:
        self.source, self.staging, self.inventory, self.options = source, staging, inventory, options
        self.clock, self.progress, self.narrate = clock, progress, narrate
        self.full = fresh or options.full_listing
        self.keeper = ImapKeeper(inventory, staging)
        self.ledger = ImapLedger(inventory, staging, fresh=fresh)
        self.seen: dict[str, Seen] = {}
        self.failed: dict[str, ExternalError | SecretError] = {}
        self.missing: list[Missing] = []
        self.belongings = Belongings(inventory, staging, options.layout)
        self.stranger: HostKeyError | None = None
        self.commands = self.received = 0
        self.moved = self.new = self.gone = 0

    def messages(self) -> None:
        names = sorted(set(self.source.mailboxes()))
        if not names:
            self.narrate(f"{self.source.name}: no mailbox is named or found")
        silent = 0
        for name in names:
            if silent >= SILENT:
                self.failed[name] = list(self.failed.values())[-1]
                continue
            silent = 0 if self._mailbox(name) else silent + 1
        if self.failed and not self.seen:
            raise self._nothing(len(names))
        self._settle(set(names))

    def _nothing(self, count: int) -> ExternalError | SecretError:
        """Why not one mailbox could be read."""
        name, first = next(iter(self.failed.items()))
        if count == 1 or not isinstance(first, MailError):
            return first
        text = f"none of {count} mailboxes could be read; {name}: {first}"
        return MailError(text, mend=first.mend, transient=first.transient, credential=first.credential)

    def _mailbox(self, name: str) -> bool:
        """False where the server could not be reached for it."""
        reader = MailboxReader(
            self.source,
            name,
            self.ledger,
            self.progress,
            self.narrate,
            exclude=self.options.exclude_folders,
            full=self.full,
        )
        try:
            self.seen[name] = reader.run()
        except (MailError, SecretError, SshError, ProcessError) as error:  # the latter two where IMAP goes through SSH
            self.failed[name] = error
            self.ledger.stay(reader.number)
            self.narrate(f"{name}: {error}")
            return isinstance(error, SecretError) or not error.transient
        finally:
            self.commands += reader.commands
            self.received += reader.received
        return True

    # -- after reading ---------------------------------------------------------------------------------------------------

    def _settle(self, names: set[str]) -> None:
        now = self.clock.now()
        at = now.isoformat()
        gone, excluded = self._gone_folders(names)
        self.keeper.gather_leaving(gone, excluded)
        renewed = sum(len(seen.renewed) for seen in self.seen.values())
        losses = self.keeper.loss_by_mailbox({path_of_mailbox(name) for name in names}, now)
        for mailbox, guard in judge_losses(losses, self.keeper.rebuilt_by(renewed, len(names)), self.options.server):
            self.inventory.raise_guard(mailbox, guard.code, guard.text, at)
            self.narrate(f"{guard.code}: {guard.text}")
        self.moved, self.new = self.keeper.moves()
        self.gone = max(0, self.keeper.let_leave(at) - self.moved)
        for seen in self.seen.values():
            for folder in set(seen.listed) - set(seen.unread):
                whole = folder in seen.states and folder not in seen.restless
                self.ledger.end_folder(folder, seen.states[folder] if whole else None, list(seen.lacking.get(folder, ())), at)
        self.inventory.db.commit()

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
                there = session.clock()
                judge_clocks(self.inventory, newest, self.clock.now(), None if options.same_clock else there, options.server)
                self._pull_files(session, there)
                return session.received
        except (SshError, ProcessError, ServerSideError) as error:  # mail goes another way
            self.stranger = error if isinstance(error, HostKeyError) else None
            wanted = (*options.extra_paths, *(f"commands/{name}" for name in options.commands))
            self.missing += [Missing("", "", path, str(error)) for path in wanted or ("files of the server",)]
            return 0

    def _pull_files(self, session: ServerSession, now: int) -> None:
        options = self.options
        extras = Extras(session, self.inventory, self.staging, file_limit=options.file_limit, total_limit=options.total_limit)
        self.belongings.take(extras, now)
        self.inventory.db.commit()
        self.missing += extras.missing

    def commit(self, received: int) -> PullReport:
        self.progress.stage("writing")
        if self.new:
            Merger(self.inventory, self.staging).run()
        mailboxes, total = self.keeper.write_manifests()
        files = self.belongings.files(mailboxes)
        missing = self._missing()
        self.inventory.db.commit()
        controller = [self.staging.store_file(path, data) for path, data in sorted(self.options.controller.items())]
        draft = GenerationDraft(
            at=self.clock.now(),
            result=Result.INCOMPLETE if missing else Result.OK,
            messages=total,
            mailboxes=mailboxes,
            files=files,
            controller=controller,
            missing=missing,
            notes=self._notes(),
        )
        newest = self.staging.newest()
        generation = None if newest and same_state(newest, draft, self.staging) else self.staging.commit(draft)
        number = generation.number if generation else newest.number if newest else 0
        self.inventory.put("pulled-at", draft.at.isoformat())
        self.inventory.finish(number)
        return self._report(draft, generation, number, received)

    def _missing(self) -> tuple[Missing, ...]:
        found = [*self.missing, *self.belongings.missing, *(missing for seen in self.seen.values() for missing in seen.missing())]
        found += [Missing(name, "", "", str(error)) for name, error in self.failed.items()]
        return tuple(sorted(set(found), key=lambda item: (item.mailbox, item.folder, item.name, item.why)))

    def _notes(self) -> dict[str, object]:
        others = [f"{name} {folder}" for name, seen in self.seen.items() for folder in seen.left_out]
        notes: dict[str, object] = {
            "excluded_folders": sorted(self.options.exclude_folders),
            **self.belongings.notes(),
            "folders_of_others": sorted(others)[:SHOWN],
        }
        return {key: value for key, value in notes.items() if value}

    def _report(self, draft: GenerationDraft, generation: Generation | None, number: int, received: int) -> PullReport:
        notes = [note for seen in self.seen.values() for note in seen.notes]
        if self.ledger.strange:
            notes.append(f"flags that no standard knows are left out: {' '.join(sorted(self.ledger.strange))}")
        others = sum(len(seen.left_out) for seen in self.seen.values())
        if others:
            notes.append(f"{others} folder(s) of others, shared with a mailbox, are left out")
        notes.append(f"IMAP: {self.commands} commands for {len(self.seen)} mailbox(es)")
        return PullReport(
            server=self.options.server,
            result=draft.result,
            generation=generation,
            newest=number,
            total=self.keeper.total(),
            new=self.new,
            moved=self.moved,
            reflagged=sum(seen.reflagged for seen in self.seen.values()),
            gone=self.gone,
            missing=draft.missing,
            guards=tuple(standing.guard(self.options.server) for standing in self.inventory.standing()),
            bytes_pulled=self.received + received,
            proved=self.keeper.proved(),
            notes=tuple(notes[:SHOWN]),
        )
