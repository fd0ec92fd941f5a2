"""Carries out the restore of a whole server: accounts, keys and configuration, then the newest 30 days of every mailbox, then the rest.

A mailbox is built in a folder of our own there and appears at once, with the whole list of its UIDs. What was done for good stands in a journal there, so
that a run which goes on does not put back what people have deleted since. Everything that was written is read back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from failsafe.backup.recall import Source
from failsafe.backup.server_plan import (
    FilesPlan,
    FolderPlan,
    Known,
    Letter,
    MailboxPlan,
    Owner,
    Placing,
    Silence,
    by_age,
    owner_of,
    plan_files,
    plan_folders,
    plan_mailbox,
)
from failsafe.backup.server_supply import Place, Row, Supply
from failsafe.backup.write_session import Settled, Sight, WriteSession
from failsafe.errors import ArchiveError
from failsafe.mail.manifest import FileRef, Generation, MailboxManifest
from failsafe.ports import Narrator, Progress

SHOWN = 1_000  # missing messages and problems that are named; all are counted
MESSAGE_MODE = 0o600
CLEARING, RESTORING, DONE = "clearing", "restoring", "done"


@dataclass(frozen=True, slots=True)
class ServerJob:
    """What is restored and how. `known`: what the newest known states say of a mailbox's folders."""

    server: str
    generation: Generation
    source: Source
    root: str  # the folder of mailboxes on the target
    placing: Placing
    owner: Owner | None  # of all mail; None: as the backup says, mailbox by mailbox
    usual: Owner  # of a mailbox of which the backup does not say
    known: Callable[[str], Mapping[str, Sequence[Known]]]
    silence: Silence
    stamp: str  # names what this run moves aside
    at_ease: Callable[[], None] = lambda: None  # called when the newest 30 days of every mailbox are there

    @property
    def marker(self) -> dict[str, object]:
        generation = self.generation
        return {"server": self.server, "generation": generation.number, "at": generation.at.isoformat()}


@dataclass(frozen=True, slots=True)
class Expected:
    """What the mail server is to say of a folder. `uid_validity` None: it chooses."""

    folder: str
    uid_validity: int | None
    uid_next: int
    messages: int


@dataclass(slots=True)
class Tally:
    """What a run did. Lists are bounded, counts are not."""

    planned: int = 0
    added: int = 0
    already: int = 0
    missing: list[dict[str, str]] = field(default_factory=list)
    missing_count: int = 0
    files: int = 0  # written
    files_there: int = 0
    by_hand: tuple[str, ...] = ()  # paths below work/by-hand
    problems: list[str] = field(default_factory=list)
    problem_count: int = 0
    notes: list[str] = field(default_factory=list)
    moved_aside: list[str] = field(default_factory=list)
    kept_uids: int = 0  # folders whose UIDs clients know are valid still
    new_uids: list[str] = field(default_factory=list)  # "MAILBOX FOLDER: why"
    unnumbered: int = 0  # folders that never had UIDs
    mailboxes: dict[str, list[Expected]] = field(default_factory=dict)
    work: str = ""

    def miss(self, mailbox: str, folder: str, name: str, why: str) -> None:
        self.missing_count += 1
        if len(self.missing) < SHOWN:
            self.missing.append({"mailbox": mailbox, "folder": folder, "name": name, "why": why})

    def problem(self, text: str) -> None:
        self.problem_count += 1
        if len(self.problems) < SHOWN:
            self.problems.append(text)

    def settled(self, settled: Settled) -> None:
        for path, why in settled.problems:
            self.problem(f"{path}: {why}")
        self.problem_count += settled.more


class ServerRun:
    """One run. Raises what the session raises; then running it again goes on."""

    def __init__(
        self, job: ServerJob, session: WriteSession, supply: Supply, sight: Sight, progress: Progress, narrate: Narrator
    ) -> None:
        self._job, self._session, self._supply, self._sight = job, session, supply, sight
        self._progress, self._narrate = progress, narrate
        self._goes_on = is_unfinished(job, sight)
        self._done = set(sight.journal) if self._goes_on else set()
        self._names = sorted(job.generation.mailboxes)
        self.tally = Tally()

    def run(self) -> Tally:
        self._begin()
        self._files()
        self._stage("fresh", self._fresh)
        if "at-ease" not in self._done:
            self._job.at_ease()
            self._session.note("at-ease")
        self._stage("rest", self._rest)
        self._session.remove(["archive", "cache", "new"])
        if not self.tally.missing_count:
            self._session.mark({**self._job.marker, "state": DONE})
        return self.tally

    # -- before the mail -------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        job, session = self._job, self._session
        self.tally.work = session.begin(job.root, job.owner or job.usual)
        state = (self._sight.marker or {}).get("state") if self._goes_on else None
        if state != RESTORING:
            session.remove(["journal", "archive", "cache", "new"])
            session.mark({**job.marker, "state": CLEARING})
            homes = list(self._homes())
            self.tally.moved_aside += session.aside(homes, job.stamp)
            session.mark({**job.marker, "state": RESTORING})
            self._done = set()

    def _homes(self) -> Iterator[str]:
        for mailbox in self._names:
            try:
                yield self._job.placing.home(mailbox)
            except ValueError as error:
                self.tally.problem(f"mailbox {error}; it is not restored")

    def _files(self) -> None:
        if "files" in self._done:
            return
        plan = self._plan_files()
        session, tally = self._session, self.tally
        session.folders("server", plan.folders)
        tally.settled(session.settle())
        rows = [(file.path, file.size, file.digest, file.mode, file.uid, file.gid) for file in plan.files]
        right = session.standing(rows)
        wanted = [(file, self._file_row(file)) for number, file in enumerate(plan.files) if number not in right]
        by_hand = [(file, self._file_row(file) | {"what": "output", "path": _by_hand(file)}) for file in plan.by_hand]
        self._progress.stage("configuration and keys", len(wanted) + len(by_hand), "files")
        self._supply.files([*wanted, *by_hand], self._told_files)
        session.links(plan.links)
        tally.settled(session.settle())
        left = session.standing(rows)
        for number, file in enumerate(plan.files):
            if number not in left:
                tally.miss("", "", f"/{file.path}", "it is not there, or not right, when it is read back")
        tally.files, tally.files_there = len(left) - len(right), len(right)
        tally.by_hand = tuple(_by_hand(file) for file in plan.by_hand)
        tally.notes += plan.left_out
        if not tally.missing_count:
            session.note("files")

    def _told_files(self, settled: Settled) -> None:
        self._progress.advance(settled.written)
        self.tally.settled(settled)

    def _plan_files(self) -> FilesPlan:
        job, generation = self._job, self._job.generation
        if generation.files is None:
            return plan_files((), {})
        archive = job.source.with_files(job.server, generation.number, [f"lists/{generation.files[:2]}/{generation.files}.jsonl"])
        links = generation.notes.get("links", {})
        return plan_files(archive.files(generation), links if isinstance(links, dict) else {})

    def _file_row(self, file: FileRef) -> Row:
        facts = [file.mode, file.uid, file.gid, file.mtime]
        return {
            "what": "file",
            "scope": "server",
            "path": file.path,
            "size": file.size,
            "digest": file.digest,
            "facts": facts,
            "stamp": self._job.stamp,
        }

    # -- the mail --------------------------------------------------------------------------------------------------------

    def _stage(self, stage: str, deed: Callable[[int, MailboxPlan, MailboxManifest], bool]) -> None:
        words = {"fresh": "the newest 30 days of every mailbox", "rest": "older mail"}[stage]
        self._progress.stage(words, None, "messages")
        for number, mailbox in enumerate(self._names):
            try:
                manifest, plan = self._plan(mailbox)
            except (ArchiveError, ValueError) as error:
                self.tally.miss(mailbox, "", "", str(error))
                continue
            if stage == "fresh":
                self._count(plan)
            if f"{stage}:{number}" in self._done:
                count = sum(map(len, self._chosen(plan, fresh=stage == "fresh").values()))
                self.tally.planned, self.tally.already = self.tally.planned + count, self.tally.already + count
            elif deed(number, plan, manifest):
                self._session.note(f"{stage}:{number}")

    def _plan(self, mailbox: str) -> tuple[MailboxManifest, MailboxPlan]:
        job = self._job
        archive, manifest = job.source.folders(job.server, job.generation.number, mailbox)
        entries = {folder.directory: list(archive.entries(folder)) for folder in manifest.folders}
        owner = job.owner or owner_of(manifest) or job.usual
        return manifest, plan_mailbox(manifest, entries, job.placing, owner, job.known(mailbox), job.silence)

    def _fresh(self, number: int, plan: MailboxPlan, manifest: MailboxManifest) -> bool:
        """Builds the mailbox with its newest mail, and lets it appear. True where all of it is there."""
        session, tally = self._session, self.tally
        if f"appearing:{number}" in self._done and not session.exists("new", plan.home):
            return self._messages(plan, manifest, "mail", fresh=True)
        places = [folder.place for folder in plan.folders]
        below = [f"{place}/{sub}" for place in places for sub in ("cur", "new", "tmp")]
        beside = [placed.place.rpartition("/")[0] for placed in plan.files]
        session.folders("new", plan_folders([plan.place, *below, *beside], plan.owner))
        self._beside(plan)
        whole = self._messages(plan, manifest, "new", fresh=True)
        home = plan.home.rpartition("/")[0]
        if home:
            session.folders("mail", plan_folders([home], plan.owner))
        tally.settled(session.settle())
        session.note(f"appearing:{number}")
        stood = session.appear(plan.home, self._job.stamp)
        if stood is not None:
            tally.moved_aside.append(plan.home)
            if stood:
                tally.problem(
                    f"{plan.mailbox}: {stood} message(s) came while it was being built; they are in {tally.work}/replaced-{self._job.stamp}/mail/{plan.home}"
                )
        return whole

    def _count(self, plan: MailboxPlan) -> None:
        tally = self.tally
        tally.mailboxes[plan.mailbox] = [
            Expected(one.name, one.uids.uid_validity, one.uids.uid_next, len(one.letters)) for one in plan.folders
        ]
        tally.notes += [f"{plan.mailbox}: {text}" for text in plan.left_out]
        for folder in plan.folders:
            if folder.uids.is_new:
                tally.new_uids.append(f"{plan.mailbox} {folder.name}: {folder.uids.why}")
            elif folder.uids.uid_validity is None:
                tally.unnumbered += 1
            else:
                tally.kept_uids += 1
            if folder.lost_keywords:
                words = ", ".join(folder.lost_keywords[:5])
                tally.notes.append(f"{plan.mailbox} {folder.name}: a Maildir holds 26 keywords; no letter was left for {words}")

    def _beside(self, plan: MailboxPlan) -> None:
        """Lists of UIDs and keywords, subscriptions, ACLs, sieve scripts: in place before the mailbox appears."""
        mtime = int(self._job.generation.at.timestamp())
        made: dict[str, bytes] = {}
        for folder in plan.folders:
            made |= _control(folder)
        if plan.subscriptions:
            made[f"{plan.place}/subscriptions"] = plan.subscriptions
        for path, data in made.items():
            row = self._beside_row(path, len(data), hashlib.sha256(data).hexdigest(), [MESSAGE_MODE, *plan.owner, mtime])
            self._session.put(row, [data])
        self.tally.settled(self._session.settle())
        wanted = []
        for placed in plan.files:
            file = placed.file
            owner = plan.owner if self._job.owner else (file.uid, file.gid)
            wanted.append((file, self._beside_row(placed.place, file.size, file.digest, [file.mode, *owner, file.mtime])))
        self._supply.files(wanted, self.tally.settled)

    def _beside_row(self, path: str, size: int, digest: str, facts: list[int]) -> Row:
        return {
            "what": "file",
            "scope": "new",
            "path": path,
            "size": size,
            "digest": digest,
            "facts": facts,
            "stamp": self._job.stamp,
        }

    def _rest(self, _number: int, plan: MailboxPlan, manifest: MailboxManifest) -> bool:
        return self._messages(plan, manifest, "mail", fresh=False)

    def _messages(self, plan: MailboxPlan, manifest: MailboxManifest, scope: str, *, fresh: bool) -> bool:
        """Puts what lacks, and reads back all. True where everything is there and right."""
        chosen = self._chosen(plan, fresh=fresh)
        places: list[Place] = []
        for folder in plan.folders:
            places += [
                Place(letter, self._row(scope, folder, plan.owner, letter))
                for letter in self._lacking(scope, folder, chosen[folder.place])
            ]
        self._supply.messages(manifest, places, self._told)
        found = 0
        wrong = self.tally.missing_count
        for folder in plan.folders:
            found += self._read_back(plan, scope, folder, chosen[folder.place])
        total = sum(map(len, chosen.values()))
        self.tally.planned += total
        self.tally.already += total - len(places)
        self.tally.added += max(0, found - total + len(places))
        return self.tally.missing_count == wrong

    def _chosen(self, plan: MailboxPlan, *, fresh: bool) -> dict[str, list[Letter]]:
        """By the folder's place: what belongs to this stage."""
        return {folder.place: by_age(folder.letters, self._job.generation.at)[0 if fresh else 1] for folder in plan.folders}

    def _told(self, settled: Settled) -> None:
        self._progress.advance(settled.written)
        self.tally.settled(settled)

    def _lacking(self, scope: str, folder: FolderPlan, letters: Sequence[Letter]) -> list[Letter]:
        """A run that begins finds none of them there."""
        if not self._goes_on or not letters:
            return list(letters)
        states = self._session.there(scope, folder.place, _asked(letters), whole=True)
        return [letter for letter, state in zip(letters, states, strict=True) if state != 2]

    def _row(self, scope: str, folder: FolderPlan, owner: Owner, letter: Letter) -> Row:
        facts = [MESSAGE_MODE, *owner, letter.internal_date]
        return {
            "what": "message",
            "scope": scope,
            "folder": folder.place,
            "name": letter.name,
            "size": letter.size,
            "digest": letter.id,
            "facts": facts,
        }

    def _read_back(self, plan: MailboxPlan, scope: str, folder: FolderPlan, letters: Sequence[Letter]) -> int:
        states = self._session.there(scope, folder.place, _asked(letters), whole=True) if letters else []
        for letter, state in zip(letters, states, strict=True):
            if state != 2:
                why = "its bytes are not right" if state else "it is not there when it is read back"
                self.tally.miss(plan.mailbox, folder.name, letter.base, why)
        return sum(state == 2 for state in states)


def _by_hand(file: FileRef) -> str:
    """Below our folder's by-hand: commands/NAME, or server/PATH."""
    return file.path if file.path.startswith("commands/") else f"server/{file.path}"


def is_unfinished(job: ServerJob, sight: Sight) -> bool:
    """Whether an earlier run of this very restore was cut off there."""
    marker = dict(sight.marker or {})
    state = marker.pop("state", None)
    return state in (CLEARING, RESTORING) and marker == job.marker


def _control(folder: FolderPlan) -> dict[str, bytes]:
    made = {}
    if folder.uidlist:
        made[f"{folder.place}/dovecot-uidlist"] = folder.uidlist
    if folder.keywords:
        made[f"{folder.place}/dovecot-keywords"] = folder.keywords
    if folder.is_marked:
        made[f"{folder.place}/maildirfolder"] = b""
    return made


def _asked(letters: Sequence[Letter]) -> list[tuple[str, int, str]]:
    return [(letter.base, letter.size, letter.id) for letter in letters]
