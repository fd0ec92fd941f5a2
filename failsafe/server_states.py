"""Which state of a server comes back: the newest complete one from before it was lost, or the one that was asked for; and what newer states know of UIDs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from failsafe.app import App
from failsafe.backup.archive.layout import path_of
from failsafe.backup.guardbook import GuardBook
from failsafe.backup.guards import CONTENT
from failsafe.backup.past import moment_at, moment_of
from failsafe.backup.recall import Moment, RepositorySource, Source
from failsafe.backup.server_plan import Known, Owner, owner_of
from failsafe.backups import unfinished_restore
from failsafe.errors import ArchiveError, ExternalError, NothingFound
from failsafe.mail.manifest import Generation
from failsafe.ports import Narrator
from failsafe.restores import sources
from failsafe.secrets import Secret
from failsafe.server_pull import repository_for

STEPS_BACK = 20  # states in which messages had vanished, where no book of guards says since when
MOMENT = timedelta(seconds=1)  # restic keeps whole ones


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for, as values."""

    server: str
    at: datetime | None = None
    snapshot: str | None = None
    repository: str | None = None
    ssh: str | None = None
    ssh_key: Path | None = None
    pull_there: bool = False
    pull_url: str | None = None
    credential_file: Path | None = None
    mail_owner: str | None = None
    mail_root: str | None = None
    maildir: str | None = None
    start: str | None = None
    doveadm: str | None = None
    imap_user: str = "{mailbox}"
    imap_password: Callable[[], Secret] | None = None  # None: nobody logs in afterwards


@dataclass(frozen=True, slots=True)
class Chosen:
    """The state that is to come back. `sources`: nearest first, those that know it."""

    source: Source
    moment: Moment
    generation: Generation
    sources: tuple[Source, ...]
    lost_at: datetime | None = None  # since when a guard about the mail itself stands


@dataclass(frozen=True, slots=True)
class Size:
    owner: Owner | None  # of the first mailbox that says so
    messages: int = 0
    bytes: int = 0
    gone: int = 0  # messages that had vanished when the state was taken; not part of it


def choose(app: App, request: Request, folder: Path, narrate: Narrator) -> Chosen:
    """A pull of a server that was lost and is empty makes a complete state in which all mail has vanished: that is not what is asked for.

    Raises NothingFound.
    """
    origins = _origins(app, request, folder)
    server = request.server
    if request.snapshot is not None:
        return _chosen(origins, server, moment_of(origins, [server], request.snapshot, narrate), None)
    begun = None if request.at is not None else _begun(app, server)
    if begun is not None:
        return _chosen(origins, server, _again(origins, request, begun, narrate), _lost_at(app, server, 0))
    newest = _chosen(origins, server, _moment(origins, request, request.at, narrate), None)
    lost_at = _lost_at(app, server, len(newest.generation.mailboxes))
    if request.at is not None:
        return replace(newest, lost_at=lost_at)
    if lost_at is not None:
        return _chosen(origins, server, _moment(origins, request, lost_at - MOMENT, narrate), lost_at)
    return _before_the_loss(origins, request, newest, narrate)


def _before_the_loss(origins: Sequence[Source], request: Request, newest: Chosen, narrate: Narrator) -> Chosen:
    """On a new controller no book says since when a guard stands; a state with more vanished than present is no state to come back to."""
    chosen = newest
    for _ in range(STEPS_BACK):
        size = measure(chosen, request.server)
        if size.gone <= size.messages:
            return chosen
        narrate(
            f"{request.server}: most mail had vanished by {chosen.moment.at:%Y-%m-%d %H:%M} UTC; an earlier state is looked for"
        )
        try:
            earlier = _moment(origins, request, chosen.moment.at - MOMENT, narrate)
        except NothingFound:
            break
        chosen = _chosen(origins, request.server, earlier, newest.moment.at)
    return newest


def note_begun(app: App, server: str, moment: Moment) -> None:
    """Until `note_ended`: the same command goes on with this state, and backups of the server wait."""
    file = unfinished_restore(app, server)
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file.write_text(json.dumps({"snapshot": moment.snapshot_id, "at": moment.at.isoformat()}))


def note_ended(app: App, server: str) -> None:
    unfinished_restore(app, server).unlink(missing_ok=True)


def _begun(app: App, server: str) -> tuple[str, datetime] | None:
    try:
        row = json.loads(unfinished_restore(app, server).read_text())
        return str(row["snapshot"]), datetime.fromisoformat(row["at"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _again(origins: Sequence[Source], request: Request, begun: tuple[str, datetime], narrate: Narrator) -> tuple[Source, Moment]:
    """The state that a restore which was cut off had begun with."""
    snapshot, at = begun
    narrate(f"{request.server}: a restore was begun and cut off; it goes on (--at or --snapshot choose another state)")
    if snapshot:
        try:
            return moment_of(origins, [request.server], snapshot, narrate)
        except NothingFound:
            narrate(f"snapshot {snapshot[:8]} is not here; the newest state up to then is taken")
    return _moment(origins, request, at, narrate)


def _origins(app: App, request: Request, folder: Path) -> list[Source]:
    if not request.pull_there:
        return sources(app, request.repository, folder)
    name = repository_for(app, request.repository)
    repository = app.repository(name, environment_file=app.config.repository[name].restore_environment_file, alone=True)
    return [RepositorySource(repository, folder, nearby=(app.staging_folder(request.server),))]


def _lost_at(app: App, server: str, mailboxes: int) -> datetime | None:
    """Since when a guard says that the whole store, or half of its mailboxes, lost its mail. One mailbox that was emptied is no lost server."""
    try:
        standing = GuardBook(app.inventory_file(server), server).standing()
    except ArchiveError:
        return None
    about_mail = [one for one in standing if one.code in CONTENT]
    places = {one.place for one in about_mail}
    if "" not in places and len(places) * 2 < mailboxes:
        return None
    return min((one.raised_at for one in about_mail), default=None)


def _moment(origins: Sequence[Source], request: Request, at: datetime | None, narrate: Narrator) -> tuple[Source, Moment]:
    found = moment_at(origins, request.server, at, narrate)
    if found is None:
        raise NothingFound(
            f"no state of {request.server} is stored" + (" that is so old" if at else ""), mend="`failsafe snapshots` lists them"
        )
    return found


def _chosen(origins: Sequence[Source], server: str, found: tuple[Source, Moment], lost_at: datetime | None) -> Chosen:
    source, moment = found
    generation = source.generation(server, moment.number)
    others = [one for one in origins if one is not source and _knows(one, server, generation)]
    return Chosen(source, moment, generation, (source, *others), lost_at)


def _knows(source: Source, server: str, generation: Generation) -> bool:
    try:
        return generation.number in source.generations(server) and source.generation(server, generation.number) == generation
    except ExternalError:
        return False


def measure(chosen: Chosen, server: str) -> Size:
    """From the manifests and entries themselves."""
    owner, messages, size, gone = None, 0, 0, 0
    _fetch_all(chosen, server)
    for mailbox in sorted(chosen.generation.mailboxes):
        try:
            archive, manifest = chosen.source.folders(server, chosen.moment.number, mailbox)
            owner = owner or owner_of(manifest)
            for folder in manifest.folders:
                for entry in archive.entries(folder):
                    if entry.gone_at is None:
                        messages, size = messages + 1, size + entry.size
                    else:
                        gone += 1
        except ArchiveError:
            continue  # the run names it as missing
    return Size(owner, messages, size, gone)


def _fetch_all(chosen: Chosen, server: str) -> None:
    """All lists in two requests: each run of restic takes a second, and a server may have hundreds of mailboxes."""
    source, generation = chosen.source, chosen.generation
    archive = source.with_files(server, generation.number, [path_of("mailboxes", name) for name in generation.mailboxes.values()])
    try:
        source.with_files(server, generation.number, archive.metadata_files(generation))
    except ArchiveError:
        return  # a damaged manifest; mailbox by mailbox, what is right comes


def known_states(
    app: App, server: str, chosen: Chosen, folder: Path, narrate: Narrator
) -> tuple[Callable[[str], Mapping[str, Sequence[Known]]], Generation, datetime]:
    """(what the newest known states say of a mailbox's folders, the newest state, the time of the newest before the loss).

    UIDs only grow, so the newest state has the highest; a server that was pulled after it was lost had other UIDVALIDITYs, so the newest before that counts too.
    """
    before = None if chosen.lost_at is None else chosen.lost_at - MOMENT
    known_already = {source.name for source in chosen.sources}
    everywhere = [*chosen.sources, *(source for source in sources(app, None, folder) if source.name not in known_already)]
    newest = _newest(everywhere, server, chosen, None, narrate)
    states = [newest] if before is None else [newest, _newest(everywhere, server, chosen, before, narrate)]
    generations = [source.generation(server, moment.number) for source, moment in states]

    def known(mailbox: str) -> Mapping[str, Sequence[Known]]:
        found: dict[str, list[Known]] = {}
        for (source, moment), generation in zip(states, generations, strict=True):
            if mailbox in generation.mailboxes:
                manifest = source.folders(server, moment.number, mailbox)[1]
                for one in manifest.folders:
                    if one.uid_validity is not None:
                        found.setdefault(one.name, []).append(Known(one.uid_validity, one.uid_next or 1))
        return found

    return known, generations[0], max(chosen.generation.at, generations[-1].at)


def _newest(
    everywhere: Sequence[Source], server: str, chosen: Chosen, before: datetime | None, narrate: Narrator
) -> tuple[Source, Moment]:
    best: tuple[Source, Moment] = (chosen.source, chosen.moment)
    for source in everywhere:
        try:
            for moment in source.moments(server):
                if moment.at > best[1].at and (before is None or moment.at <= before):
                    best = (source, moment)
        except ExternalError as error:
            narrate(f"{source.name}: {error}")
    return best
