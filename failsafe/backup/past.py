"""The past as the archive itself tells it: which snapshot shows a moment, and what the mailboxes were like in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from failsafe.backup.catalog_search import Found, Query, matches_folder, matches_mailbox
from failsafe.backup.recall import Moment, Source
from failsafe.errors import ExternalError, NothingFound, UsageError
from failsafe.mail.headers import Headers, bare_message_id
from failsafe.mail.manifest import Entry
from failsafe.model import Result
from failsafe.ports import Narrator

HEADERS_AT_ONCE = 5_000
SHORT_ID = 6  # digits of a snapshot id: restic itself shows 8

# ids -> id -> (Message-ID, sender, recipient, subject) of those that are known
UNKNOWN = Headers()
HeaderLookup = Callable[[Sequence[str]], Mapping[str, Headers]]


def moment_at(sources: Sequence[Source], server: str, at: datetime | None, narrate: Narrator) -> tuple[Source, Moment] | None:
    """The newest complete state that is not later, from the nearest source that has it; None where there is none.

    Incomplete ones are passed over, unless there is nothing else: then that is told. Sources that fail are told and passed over too.
    """
    found: list[tuple[Source, Moment]] = []
    for source in sources:
        try:
            found += [(source, moment) for moment in source.moments(server) if at is None or moment.at <= at]
        except ExternalError as error:
            narrate(f"{source.name}: {error}")
    nearest = {source.name: -place for place, source in enumerate(sources)}

    def newness(pair: tuple[Source, Moment]) -> tuple[datetime, int, int]:
        """By time, as restic keeps it (whole seconds): numbers may begin again where staging was lost."""
        return pair[1].at.replace(microsecond=0), pair[1].number, nearest[pair[0].name]

    second_best: tuple[Source, Moment] | None = None
    for source, moment in sorted(found, key=newness, reverse=True):
        try:
            if not moment.is_wanting and source.generation(server, moment.number).result is Result.OK:
                return source, moment
        except ExternalError as error:
            narrate(f"{source.name}: {error}")
        else:
            second_best = second_best or (source, moment)
    if second_best is not None:
        narrate(
            f"{server}: no complete state is stored; this is the newest incomplete one, of {second_best[1].at:%Y-%m-%d %H:%M} UTC"
        )
    return second_best


def moment_of(sources: Sequence[Source], servers: Sequence[str], snapshot_id: str, narrate: Narrator) -> tuple[Source, Moment]:
    """The snapshot with this id, or with an id that begins so. Raises UsageError for a short or ambiguous one, NothingFound for none."""
    if len(snapshot_id) < SHORT_ID:
        raise UsageError(f"{snapshot_id!r} is too short for a snapshot id", mend=f"give at least {SHORT_ID} digits of it")
    found: dict[str, tuple[Source, Moment]] = {}
    for source in sources:
        for server in servers:
            try:
                moments = source.moments(server)
            except ExternalError as error:
                narrate(f"{source.name}: {error}")
                continue
            found.update(
                {m.snapshot_id: (source, m) for m in moments if m.snapshot_id and m.snapshot_id.startswith(snapshot_id.lower())}
            )
    if len(found) > 1:
        raise UsageError(f"{len(found)} snapshots begin with {snapshot_id}", mend="give more digits of it")
    if not found:
        raise NothingFound(f"no snapshot {snapshot_id} was found", mend="`failsafe snapshots` lists them")
    return next(iter(found.values()))


def found_at(
    source: Source,
    moment: Moment,
    query: Query,
    headers: HeaderLookup,
    hides: Callable[[str, str], bool] = lambda _server, _mailbox: False,
) -> Iterator[Found]:
    """What the query finds in that state: places and dates from its manifests, text by `headers`. Entries marked as gone are not in it.

    `hides`(server, mailbox): of a mailbox that was erased nothing is found, although that snapshot has it.
    """
    generation = source.generation(moment.server, moment.number)
    some_are_sealed = bool(generation.notes.get("stored_as"))  # then each of which nothing is known may be
    shown = [mailbox for mailbox in generation.mailboxes if not hides(moment.server, mailbox)]
    for row in _found_in(source, moment, shown, query, headers):
        yield replace(row, sealed=True) if some_are_sealed and not row.headers_known else row


def _found_in(source: Source, moment: Moment, mailboxes: Sequence[str], query: Query, headers: HeaderLookup) -> Iterator[Found]:
    ids = frozenset(query.ids)
    for mailbox in mailboxes:
        if query.mailbox is not None and not matches_mailbox(query.mailbox, mailbox):
            continue
        archive, manifest = source.folders(moment.server, moment.number, mailbox)
        for folder in manifest.folders:
            if query.folder is not None and not matches_folder(query.folder, folder.name):
                continue
            batch: list[Entry] = []
            for entry in archive.entries(folder):
                if _is_meant(entry, query, ids):
                    batch.append(entry)
                if len(batch) >= HEADERS_AT_ONCE:
                    yield from _rows(batch, moment, mailbox, folder.name, folder.directory, manifest.layout, query, headers)
                    batch = []
            yield from _rows(batch, moment, mailbox, folder.name, folder.directory, manifest.layout, query, headers)


def read_moment(
    sources: Sequence[Source],
    best: tuple[Source, Moment],
    query: Query,
    headers: HeaderLookup,
    narrate: Narrator,
    hides: Callable[[str, str], bool] = lambda _server, _mailbox: False,
) -> tuple[tuple[Source, Moment], tuple[Found, ...]]:
    """What the query finds in that state, from the source that has its manifests whole: the best one, else another that holds the same
    generation. Raises ExternalError where none has."""
    tried: ExternalError | None = None
    for source, moment in (best, *_same(sources, best, narrate)):
        try:
            return (source, moment), tuple(found_at(source, moment, query, headers, hides))
        except ExternalError as error:
            narrate(f"{source.name}: {error}")
            tried = tried or error
    assert tried is not None
    raise tried


def _same(sources: Sequence[Source], best: tuple[Source, Moment], narrate: Narrator) -> Iterator[tuple[Source, Moment]]:
    chosen = best[1]
    for source in sources:
        try:
            moments = source.moments(chosen.server) if source is not best[0] else ()
        except ExternalError as error:
            narrate(f"{source.name}: {error}")
            continue
        for moment in moments:  # numbers may begin again where staging was lost
            if moment.number == chosen.number and moment.at.replace(microsecond=0) == chosen.at.replace(microsecond=0):
                yield source, moment


def _is_meant(entry: Entry, query: Query, ids: frozenset[str]) -> bool:
    return (
        entry.gone_at is None
        and (not ids or entry.id in ids)
        and (query.since is None or entry.internal_date >= query.since.timestamp())
        and (query.until is None or entry.internal_date < query.until.timestamp())
    )


def _rows(
    batch: Sequence[Entry],
    moment: Moment,
    mailbox: str,
    folder: str,
    directory: str,
    layout: str,
    query: Query,
    headers: HeaderLookup,
) -> Iterator[Found]:
    known = headers([entry.id for entry in batch]) if batch else {}
    for entry in batch:
        said = known.get(entry.id, UNKNOWN)
        row = Found(
            id=entry.id,
            canonical=entry.canonical,
            server=moment.server,
            mailbox=mailbox,
            folder=folder,
            message_id=said.message_id,
            sender=said.sender,
            recipient=said.recipient,
            subject=said.subject,
            date=None,
            internal_date=entry.internal_date,
            flags=entry.flags,
            keywords=entry.keywords,
            size=entry.size,
            first_seen_at=moment.at.astimezone(UTC),
            last_seen_at=moment.at.astimezone(UTC),
            gone_at=None,
            first_generation=moment.number,
            last_generation=moment.number,
            opaque=said.opaque,
            directory=directory,
            layout=layout,
            headers_known=entry.id in known,
            sealed=said.sealed,
        )
        if says(row, query):
            yield row


def says(row: Found, query: Query) -> bool:
    """Whether a row's text is what the query looks for."""
    fields = ((query.sender, row.sender), (query.recipient, row.recipient), (query.subject, row.subject))
    everything = " ".join((row.sender, row.recipient, row.subject)).casefold()
    wanted_id = None if query.message_id is None else bare_message_id(query.message_id)
    return (
        all(not part or _folded(part) in text.casefold() for part, text in fields)
        and all(_folded(word) in everything for word in query.words)
        and (wanted_id is None or (row.message_id == wanted_id != ""))
    )


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()
