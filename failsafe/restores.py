"""Puts a restore together from the configuration: what is chosen, where it comes from, where it goes. Used by `search` and `restore`."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from pathlib import Path

from failsafe.adapters.lock import FileLock
from failsafe.adapters.process import interrupt_all
from failsafe.adapters.zstd import unpacker
from failsafe.app import App
from failsafe.backup.archive import Archive
from failsafe.backup.catalog import Catalog, CatalogDamaged, open_current, rebuild_from
from failsafe.backup.catalog_search import Found, Query, folders_that_hold, headers_of, search
from failsafe.backup.coverage import Coverage
from failsafe.backup.destinations import (
    Destination,
    EmlDestination,
    ImapDestination,
    MaildirDestination,
    MboxDestination,
    ZipDestination,
)
from failsafe.backup.past import found_at, moment_at, moment_of, read_moment
from failsafe.backup.proofs import Proofs
from failsafe.backup.recall import Moment, RepositorySource, Source, StagingSource
from failsafe.backup.restore import RestoreReport, open_sealed, run_restore, unreachable
from failsafe.backup.restore_plan import Plan, Wanted, as_stored, describe, plan_restore, wanted_of, without
from failsafe.backup.shortcut import Shortcut, segments_known_to
from failsafe.backup.unsealing import Keys, Unsealer
from failsafe.config.secondaries import domain_of
from failsafe.errors import ArchiveError, FailsafeError, UsageError
from failsafe.events import Event
from failsafe.mail.headers import Headers
from failsafe.model import Endpoint
from failsafe.own_layer import VOLUMES, what_is_lost
from failsafe.ports import MailboxServer, Narrator, Progress
from failsafe.secrets import Secret
from failsafe.tombstones import Veil

LOCK_WAIT_SECONDS = 5.0
LINES_TOLD = 1_000  # of one restore: more would be read by nobody


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for, as values. `at` and `snapshot` exclude each other."""

    query: Query
    to: str
    at: datetime | None = None
    snapshot: str | None = None
    repository: str | None = None
    into_folder: str | None = None
    into_mailbox: str | None = None
    imap_user: str | None = None  # default: the mailbox; "{mailbox}" in it stands for the mailbox, as in "{mailbox}*master"
    password: Callable[[str], Secret] | None = None  # asked for a user's password when it is needed


@dataclass(frozen=True, slots=True)
class Chosen:
    found: tuple[Found, ...]
    state: str  # for a person: which state was looked at
    not_found: tuple[str, ...] = ()
    gone_besides: int = 0  # messages of the same place that vanished and were not asked for
    moment: tuple[Source, Moment] | None = None


@contextlib.contextmanager
def catalog_of(app: App, narrate: Narrator) -> Iterator[Catalog]:
    """The catalog, brought up to date from staging. Damage there is told, and stops nobody: what is to be restored lies in repositories, too."""

    def damaged(server: str, error: ArchiveError) -> None:
        narrate(
            f"{error}; the catalog is as it was before, and may lack the newest mail of {server}: failsafe backup {server} mends it"
        )

    catalog = open_current(app.catalog_file, tuple(archives(app).items()), leaves_out=Veil(app).hides, damaged=damaged)
    try:
        yield catalog
    finally:
        catalog.close()


def archives(app: App) -> dict[str, Archive]:
    """Staging folders that there are, by server."""
    places = {name: app.staging_folder(name) for name in app.config.archived}
    return {name: Archive(folder) for name, folder in places.items() if (folder / "generations").is_dir()}


def find(app: App, query: Query, narrate: Narrator, *, limit: int | None = None) -> Iterator[Found]:
    """What the catalog finds. One that turns out damaged while it is read is made anew, and asked again if nothing was given yet."""
    given, veil = False, Veil(app)
    with catalog_of(app, narrate) as catalog:
        try:
            for row in search(catalog, query, limit=limit):
                if not veil.hides(row.server, row.mailbox):
                    given = True
                    yield row
            return
        except CatalogDamaged:
            if given:
                raise
    with rebuild_from(app.catalog_file, tuple(archives(app).items()), veil.hides) as anew:
        yield from search(anew, query, limit=limit)


@contextlib.contextmanager
def workroom(app: App) -> Iterator[Path]:
    """A folder for what is fetched; one restore at a time has it, so what a killed one left is cleared by the next."""
    folder = app.state_dir / "restore"
    with FileLock(app.lock_file("restore"), "a restore").hold(wait_seconds=LOCK_WAIT_SECONDS):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def sources(app: App, repository: str | None, folder: Path, progress: Progress | None = None) -> list[Source]:
    """The nearest healthy one first: repositories on this machine, then those across a network; those in which the last checks found damage
    after the others; then staging. Or only the one that was named. `progress` hears of what is fetched."""
    if repository is not None:
        return [_repository(app, repository, folder, progress)]
    known = app.glance().by("repository_state", "repository")

    def place(name: str) -> tuple[bool, bool]:
        table, state = app.config.repository[name], known.get(name)
        damaged = state is not None and Coverage.of(state["details"] or {}, table.check.share).damaged_at is not None
        return damaged, not table.is_path

    names = sorted(app.config.repository, key=place)
    return [*(_repository(app, name, folder, progress) for name in names), StagingSource(archives(app))]


def told_once(narrate: Narrator) -> Narrator:
    """A source that is out is asked for by many steps, and says the same each time."""
    told: set[str] = set()

    def tell(line: str) -> None:
        if line not in told and len(told) < LINES_TOLD:
            told.add(line)
            narrate(line)

    return tell


def choose(app: App, catalog: Catalog, request: Request, origins: Sequence[Source], narrate: Narrator) -> Chosen:
    """Without a time: from the catalog. With one: from the manifests of the snapshot that shows it, so flags are those of then, too."""
    query = replace(request.query, at=None)
    if query.server is not None:
        app.server(query.server)
    everywhere = app.config.mail_server if request.snapshot is None else app.config.archived
    names = [query.server] if query.server is not None else sorted(everywhere)
    unknown = [name for name in names if catalog.generation_of(name) == 0]
    veil = Veil(app, origins)
    if request.snapshot is None and request.at is None and not unknown:
        return _from_catalog(app, catalog, query, veil)
    if request.snapshot is not None:
        moments = [moment_of(origins, names, request.snapshot, narrate)]
    else:
        shown = (moment_at(origins, name, request.at, narrate) for name in names)
        moments = [moment for moment in shown if moment is not None]
    if query.gone or query.gone_since is not None:
        raise UsageError("--gone asks the catalog, which cannot go with --at or --snapshot", mend="leave one of them out")

    def headers(ids: Sequence[str]) -> dict[str, Headers]:
        return headers_of(catalog, ids)

    read = [read_moment(origins, best, query, headers, narrate, veil.hides) for best in moments]
    moments, found = [best for best, _ in read], tuple(row for _, rows in read for row in rows)
    state = ", ".join(f"{moment.server} as of {_local(app, moment.at)}" for _, moment in moments) or "no snapshot is that old"
    return Chosen(found, state, _missing_ids(query, found), moment=moments[0] if len(moments) == 1 else None)


def make_plan(
    catalog: Catalog,
    request: Request,
    chosen: Chosen,
    destination: Destination,
    origins: Sequence[Source],
    progress: Progress,
    narrate: Narrator,
) -> Plan:
    wanted = wanted_of(chosen.found, into_folder=request.into_folder, into_mailbox=request.into_mailbox)
    closed: dict[Wanted, str] = {}
    if destination.as_stored:
        wanted = as_stored(wanted)
    else:
        wanted, closed = open_sealed(wanted, origins, _unsealer(narrate), progress, narrate)
    there = destination.there(wanted, progress) if wanted else {}
    asked_elsewhere = request.into_folder is not None or request.into_mailbox is not None
    held = _held_in(catalog, chosen, wanted) if destination.follows_moves and not asked_elsewhere else None
    lines = (*chosen.not_found, *(f"{describe(item)}: {why}" for item, why in closed.items()))
    plan = plan_restore(wanted, there, identity=destination.identity, held_in=held, not_found=lines)
    return without(plan, unreachable(plan.to_add, origins, narrate))


def make_destination(app: App, request: Request, found: Sequence[Found], narrate: Narrator) -> Destination:
    """Raises UsageError for a DEST that is none, or not in this version."""
    kind, _, place = request.to.partition(":")
    files: dict[str, Callable[[Path], Destination]] = {
        "maildir": MaildirDestination,
        "eml": EmlDestination,
        "mbox": MboxDestination,
        "zip": ZipDestination,
    }
    if kind in files and place:
        target = Path(place).expanduser().absolute()
        if lost := what_is_lost(target):
            raise UsageError(f"{target} {lost}; nothing was restored", mend=f"restore into a folder that is mounted: {VOLUMES}")
        return files[kind](target)
    if kind == "imap":
        return ImapDestination(_imap(app, request, place, found), narrate)
    raise UsageError(
        f"{request.to!r} is no destination",
        mend="use maildir:DIR, eml:DIR, mbox:FILE, zip:FILE, imap, imap:SERVER, or server:NAME",
    )


def carry_out(
    app: App, plan: Plan, origins: Sequence[Source], destination: Destination, name: str, progress: Progress, narrate: Narrator
) -> RestoreReport:
    report = run_restore(
        plan,
        origins,
        destination,
        _unsealer(narrate),
        name=name,
        monotonic=app.clock.monotonic,
        progress=progress,
        narrate=narrate,
    )
    text = f"{report.added} message(s) restored to {name}, {report.already_there} already there, {len(report.missing) + len(report.not_found)} missing"
    event = Event("restore.short" if report.is_short else "restore.done", _server_of(plan), text, app.clock.now())
    try:
        app.record(event)
    except FailsafeError as error:  # the messages are back; a row about it is not worth an error
        narrate(f"the restore could not be recorded: {error}")
    return report


def _load() -> None:
    """What writes the event at the end is loaded while restic begins, which takes a fifth of a second."""
    import failsafe.store.events  # noqa: F401


def _from_catalog(app: App, catalog: Catalog, query: Query, veil: Veil) -> Chosen:
    """A whole place means what is in it now; certain messages are meant wherever and whenever they were. What was gathered from a secondary
    is meant only where its server is named: it has mailboxes of the same names."""
    rows = tuple(
        row
        for row in search(catalog, query)
        if not veil.hides(row.server, row.mailbox) and (query.server is not None or row.server in app.config.mail_server)
    )
    if query.names_messages or query.gone or query.gone_since is not None:
        return Chosen(rows, "the newest state, and what vanished before", _missing_ids(query, rows))
    present = tuple(row for row in rows if row.gone_at is None)
    return Chosen(present, "the newest state", gone_besides=len(rows) - len(present))


def _missing_ids(query: Query, found: Sequence[Found]) -> tuple[str, ...]:
    known = {row.id for row in found}
    return tuple(f"no message {id_} is known here" for id_ in query.ids if id_.lower() not in known)


def _held_in(catalog: Catalog, chosen: Chosen, wanted: Sequence[Wanted]) -> dict[tuple[str, str], frozenset[str]]:
    """(mailbox, canonical) -> the folders that hold it in the state that is being restored."""
    held: dict[tuple[str, str], set[str]] = {}
    canonicals = {item.id: item.canonical for item in wanted}  # of the message itself, however it is stored
    if chosen.moment is not None:
        source, moment = chosen.moment
        for row in found_at(source, moment, Query(ids=tuple(canonicals)), lambda _ids: {}) if wanted else ():
            held.setdefault((row.mailbox, canonicals[row.id]), set()).add(row.folder)
    else:
        by_mailbox: dict[tuple[str, str], set[str]] = {}
        for item in wanted:
            by_mailbox.setdefault((item.server, item.mailbox), set()).add(item.id)
        for (server, mailbox), ids in by_mailbox.items():
            for id_, folders in folders_that_hold(catalog, server, mailbox, list(ids)).items():
                held.setdefault((mailbox, canonicals[id_]), set()).update(folders)
    return {key: frozenset(folders) for key, folders in held.items()}


def _unsealer(narrate: Narrator) -> Unsealer:
    def make_keys(texts: Iterable[bytes]) -> Keys:
        from failsafe.adapters.mail_crypt import MailCryptKeys

        return MailCryptKeys(texts)

    return Unsealer(make_keys, unpacker(), narrate)


def _repository(app: App, name: str, folder: Path, progress: Progress | None) -> RepositorySource:
    table = app.config.repository.get(name)
    credentials = table.restore_environment_file if table else None
    repository = app.repository(name, environment_file=credentials, alone=True)

    @cache
    def shortcut(server: str) -> Shortcut | None:
        proof = Proofs(app.proofs_file(server)).get(name)
        if proof is None or not repository.recognises(proof.snapshot_id):
            return None
        return Shortcut(proof.snapshot_id, proof.generation, segments_known_to(app.inventory_file(server)))

    return RepositorySource(repository, folder, progress=progress, shortcut=shortcut, stop=interrupt_all, meanwhile=_load)


def _imap(app: App, request: Request, place: str, found: Sequence[Found]) -> Callable[[str], MailboxServer]:
    names = {place} if place else {home_of(app, row.server) for row in found}
    if len(names) > 1:
        raise UsageError("the messages come from several mail servers", mend=f"name one: --server, or --to imap:{min(names)}")
    endpoint = _endpoint(app, names.pop()) if names else None

    def connect(mailbox: str) -> MailboxServer:
        from failsafe.adapters.imap import ImapMailbox
        from failsafe.adapters.imap_line import Meter

        assert endpoint is not None, "nothing to restore, so nobody connects"
        user = (request.imap_user or "{mailbox}").replace("{mailbox}", mailbox)
        if request.password is None:
            raise UsageError(f"the password of {user} is needed", mend="say --imap-password-file FILE (mode 0600)")
        limits = app.config.controller
        meter = Meter(limits.limit_download, limits.limit_upload)
        return ImapMailbox(endpoint, user, request.password(user), meter=meter)

    return connect


def home_of(app: App, server: str) -> str:
    """The mail server to which mail of an archive goes back: of a secondary the domain's own, for nothing is ever written to a secondary."""
    domain = domain_of(server)
    return server if domain is None else app.domain(domain).server


def _endpoint(app: App, server: str) -> Endpoint:
    if domain_of(server) is not None:
        raise UsageError(f"{server} is only read: nothing is restored to it", mend=f"--to imap:{home_of(app, server)}")
    table = app.server(server).imap
    if table is None:
        raise UsageError(
            f"[mail_server.{server}] does not say where its IMAP server is",
            mend=f'add imap = {{ host = "mail.example.org", port = 993 }} to [mail_server.{server}]',
        )
    return table.endpoint()


def _server_of(plan: Plan) -> str:
    names = {item.server for item in (*plan.to_add, *plan.already_there)}
    return ", ".join(sorted(names)) or "-"


def _local(app: App, at: datetime) -> str:
    return at.astimezone(app.time_zone).isoformat(" ", "minutes")
