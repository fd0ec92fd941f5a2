"""`failsafe restore` alone, on a terminal: the questions asked and answered there, the plan shown, and what to do next."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

from failsafe.backup.archive.layout import GENERATIONS
from failsafe.backup.catalog_places import KnownMailbox, known_folders, known_mailboxes
from failsafe.backup.catalog_search import Found, Query, search
from failsafe.backup.destinations.base import safe_component
from failsafe.cli.asking import ask_line
from failsafe.cli.common import say
from failsafe.cli.restore_pick import Talk
from failsafe.cli.restore_talk import Decision, Wish, converse
from failsafe.cli.search import for_terminal
from failsafe.errors import Interrupted, NothingFound, UsageError
from failsafe.restores import home_of

if TYPE_CHECKING:
    from failsafe.app import App
    from failsafe.backup.catalog import Catalog

IDS_ON_A_LINE = 20  # of 64 digits each: a longer command is no help


def demand_terminal() -> None:
    """Raises UsageError where nobody can be asked."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            "`failsafe restore` alone asks its questions on a terminal, and this is none",
            mend="say what to restore and where to, such as: failsafe restore --mailbox ann@example.org --gone-since yesterday --to eml:./mail",
        )


def ask(app: App) -> Decision:
    """Asks until all is decided. Raises Interrupted where the person leaves."""
    from failsafe.restores import catalog_of

    try:
        with catalog_of(app, say) as catalog:
            facts = CatalogFacts(app, catalog)
            return hold(converse(facts, app.clock.now(), app.time_zone))
    except KeyboardInterrupt:
        say()
        raise Interrupted("nothing was done") from None


def hold(talk: Talk[Decision]) -> Decision:
    """Holds the conversation on this terminal: questions on stderr, answers from stdin."""
    question = next(talk)
    while True:
        for line in question.shown:
            say(line)
        answer = ask_line(question.prompt, question.default, question.help, "nothing was done")
        try:
            question = talk.send(answer)
        except StopIteration as end:
            decision: Decision = end.value
            return decision


class CatalogFacts:
    """restore_talk.Facts, from the catalog and the configuration."""

    def __init__(self, app: App, catalog: Catalog) -> None:
        self._app, self._catalog = app, catalog

    def mailboxes(self) -> Sequence[KnownMailbox]:
        """Raises NothingFound where there is none."""
        from failsafe.tombstones import Veil

        veil = Veil(self._app)
        known = [each for each in known_mailboxes(self._catalog) if each.server in self._app.config.archived]
        known = [each for each in known if not veil.hides(each.server, each.mailbox)]
        if known:
            return known
        lost = [name for name in self._app.config.mail_server if not (self._app.staging_folder(name) / GENERATIONS).is_dir()]
        mend = "run `failsafe backup` first"
        if lost and self._app.duties.repositories():
            mend = f"what the repositories hold comes back all the same, such as: failsafe restore --server {lost[0]} --to maildir:./mail"
        raise NothingFound("no mailbox is known on this machine yet", mend=mend)

    def folders(self, of: KnownMailbox) -> dict[str, int]:
        return known_folders(self._catalog, of)

    def messages(self, wish: Wish) -> Sequence[Found]:
        gone, there = queries(wish)
        found = [row for row in search(self._catalog, gone) if row.mailbox == wish.of.mailbox]
        if there is not None:
            rows = (row for row in search(self._catalog, there) if row.mailbox == wish.of.mailbox)
            found += [row for row in rows if row.gone_at is None]
        return found

    def imap_server(self, server: str) -> str:
        table = self._app.server(home_of(self._app, server)).imap
        return "" if table is None else str(table.endpoint().host)

    def home(self, mailbox: str) -> str:
        return str(Path.cwd() / f"restored-{safe_component(mailbox)}")

    def fault_of(self, folder: str) -> str:
        path = Path(folder).expanduser()
        taken = next((place for place in (path, *path.parents) if place.exists()), path)
        return "" if taken.is_dir() else f"{taken} is no folder"


def queries(wish: Wish) -> tuple[Query, Query | None]:
    """What has vanished, and what is still there (None where that is not asked for)."""
    place: dict[str, Any] = {"server": wish.of.server, "mailbox": wish.of.mailbox, "folder": wish.folder, "words": wish.words}
    gone = Query(**place, gone=wish.since is None, gone_since=wish.since)
    return gone, None if wish.gone_alone else Query(**place)


def commands(decision: Decision, zone: tzinfo) -> tuple[str, ...]:
    """The same as commands to type the next time: by what was asked for, where all of it was taken, else by id."""
    wish = decision.wish
    place = ["--server", wish.of.server, "--mailbox", wish.of.mailbox]
    to = ["--to", decision.to, *(["--imap-user", decision.imap_user] if decision.imap_user else [])]
    where = [*place, *(["--folder", wish.folder] if wish.folder else []), *wish.words]
    since = ["--gone"] if wish.since is None else ["--gone-since", _typed(wish.since, zone)]
    told = []
    left: list[Found] = []
    for gone, options in ((True, since), (False, [])):
        chosen = _of(decision.rows, gone=gone)
        whole = set(chosen) == set(_of(decision.found, gone=gone)) and not (wish.words and not gone)
        if chosen and whole:
            told.append([*where, *options, *to])
        elif chosen:
            left += chosen
    ids = list(dict.fromkeys(row.id for row in left))
    if ids and len(ids) <= IDS_ON_A_LINE:
        told.append([*place, *(part for id_ in ids for part in ("--id", id_)), *to])
    elif ids:
        told.append([*where, *(since if all(row.gone_at is not None for row in left) else []), *to])
    return tuple(shlex.join(["failsafe", "restore", *words]) for words in told)


def next_steps(decision: Decision, zone: tzinfo, *, nothing_to_add: bool, is_short: bool) -> Iterable[str]:
    """What a person wants to know after it."""
    kind, _, place = decision.to.partition(":")
    yield ""
    if nothing_to_add and kind == "imap":
        yield "Nothing had to be added: the server has every one of these messages. If the mail program shows them not, let it fetch the"
        yield "folders anew, look into the other folders, and at filters of its own; `failsafe search` shows where each message is."
    elif kind == "imap":
        yield "What to do next: open the mail program and let it fetch the folders anew; the messages are where they were, with flags and dates."
    else:
        yield f"What to do next: the messages are below {for_terminal(place)}."
        if kind == "eml":
            yield "A double click opens one; most mail programs take them into a folder when they are dragged there."
        yield "Onto the server they come with --to imap instead of the --to below."
    if is_short:
        yield "Some are missing, as said above. The same command adds them, and nothing twice, once their repository can be read again."
    yield "The same without questions:"
    for command in commands(decision, zone):
        yield f"  {for_terminal(command)}"
    if len(decision.rows) < len(decision.found) and len(decision.rows) > IDS_ON_A_LINE:
        yield "  (that takes more than you chose now: each message by its id would be too long a line)"


def _of(rows: Iterable[Found], *, gone: bool) -> list[Found]:
    return [row for row in rows if (row.gone_at is not None) is gone]


def _typed(at: datetime, zone: tzinfo) -> str:
    return f"{at.astimezone(zone):%Y-%m-%dT%H:%M}"
