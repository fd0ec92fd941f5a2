"""The canary: sent through a third party to the probe mailbox, found there over IMAP, removed again. It sees delivery, as one witness.

While mail goes to the secondary it is looked for there, where the homecoming has an account for it; that says nothing of the primary.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from failsafe.app import App
from failsafe.canaries import make_canary_key, read_book, write_book
from failsafe.errors import FailsafeError, MailError
from failsafe.failover.canary import CANARY_LOOKS, Arrival, CanaryBook, judge_canary
from failsafe.failover.delivery import CANARY
from failsafe.logs import get_log
from failsafe.looks.look import Look
from failsafe.mail.canary import NUMBER_DIGITS, Canary, read_canary
from failsafe.mail.replies import Judged
from failsafe.model import Axis, Endpoint, Evidence, ProbeClass, Side, Sign
from failsafe.secrets import read_secret

if TYPE_CHECKING:
    from pathlib import Path

Box = tuple[str, Endpoint, str, "Path"]  # place ("" for the primary), endpoint, user, password file

AT_PRIMARY = "mail goes to the secondary, and a canary has arrived at the primary"


class CanaryLook:
    """Of one server that has a [canary] table and a mailbox in [probe.NAME].imap."""

    def __init__(self, app: App, server: str) -> None:
        self._app, self._server = app, server
        self._table = app.config.canary[server]
        self._lock = threading.Lock()

    @property
    def target(self) -> str:
        imap = self._app.config.probe[self._server].imap
        assert imap is not None
        return f"{self._table.to} at {imap.host}:{imap.port} by {self._table.smtp}"

    def see(self, now: datetime) -> Evidence:
        """Never raises for what the world does."""
        with self._lock:
            try:
                judged = self._look(now)
            except MailError as error:
                signs = frozenset({Sign.LOGIN_REFUSED} if error.credential else ())
                begin = "login refused: " if error.credential else ""
                judged = Judged(ProbeClass.UNKNOWN, f"{begin}the canary's mailbox cannot be read: {error}", signs)
            except (FailsafeError, OSError) as error:
                judged = Judged(ProbeClass.UNKNOWN, f"cannot look: {error}")
        return Evidence(self._server, CANARY, Axis.DELIVERY, judged.seen, now, judged.text, self.target, signs=judged.signs)

    def _look(self, now: datetime) -> Judged:
        key = make_canary_key(self._app.state_dir)
        state_dir, every = self._app.state_dir, self._table.every
        book = before = read_book(state_dir, self._server)
        away = self._serving(now) is Side.SECONDARY
        followed = self._secondary_box()
        try:
            for box in self._boxes(book, away=away, followed=followed):
                try:
                    book = self._collect(box, key, book, must=bool(box[0]) is away)
                except FailsafeError as error:
                    if not away or book.arrived_since(before) is None:
                        raise
                    self._keep(before, book, now)  # the next look would not know that it is new
                    return Judged(ProbeClass.UP, f"{AT_PRIMARY}; the secondary's mailbox cannot be read: {error}")
            book = replace(book.settle(now, every), away=away)
            following = self._app.history.following
            if (away and followed is None) or following:
                book = replace(book, sent=())  # nobody can say what became of them
            if book.is_due(now, every) and not following:
                book = self._send(key, book, now)
        finally:
            if book != before:
                write_book(state_dir, self._server, book)
        self._keep(before, book, now)
        if following:  # the server's log does not tell one controller's canaries from another's
            return Judged(ProbeClass.UNKNOWN, "another controller leads; that one sends the canaries")
        if book.login_refused:
            return Judged(ProbeClass.UNKNOWN, book.refused, frozenset({Sign.LOGIN_REFUSED}))
        found = book.arrived_since(before)
        if away and found is not None and not found.place:
            return Judged(ProbeClass.UP, AT_PRIMARY)
        if away:
            return Judged(ProbeClass.UNKNOWN, self._told_away(book, now, followed))
        return Judged(*judge_canary(book, now, every))

    def _told_away(self, book: CanaryBook, now: datetime, followed: Box | None) -> str:
        if followed is None:
            return "mail goes to the secondary, where the canary is not looked for: the homecoming has no account for it"
        overdue = book.overdue(now, self._table.every)
        if overdue:
            return f"mail goes to the secondary, and {len(overdue)} canary(s) did not arrive there: look at {followed[0]}"
        return f"mail goes to the secondary; {judge_canary(book, now, self._table.every)[1]}"

    def _serving(self, now: datetime) -> Side:
        from failsafe.store.journal import Journal

        domain = self._table.to.rpartition("@")[2].lower()
        if domain not in self._app.config.domain:
            return Side.PRIMARY
        return Journal(self._app.store, None).load(domain, now).serving

    def _boxes(self, book: CanaryBook, *, away: bool, followed: Box | None) -> Iterator[Box]:
        """In peace mail may reach a secondary too (`swap`, a 4xx), and one that was missed may turn up at a primary that is not listed."""
        probe = self._app.config.probe[self._server].imap
        assert probe is not None
        yield "", probe.endpoint(), probe.user, probe.password_file
        if followed is not None and (away or book.sent):
            yield followed

    def _secondary_box(self) -> Box | None:
        """The homecoming's account for the canary's address."""
        domain = self._app.config.domain.get(self._table.to.rpartition("@")[2].lower())
        home = domain.homecoming if domain is not None else None
        if home is None:
            return None
        place = f"{home.host}:{home.port}"
        own = next((each for each in home.accounts if each.mailbox.lower() == self._table.to.lower()), None)
        found = own if own is not None else home.catch_all
        return None if found is None else (place, home.endpoint(), found.user, found.password_file)

    def _collect(self, box: Box, key: bytes, book: CanaryBook, *, must: bool) -> CanaryBook:
        """Finds and removes those of this server. `must`: mail goes there now, so where it cannot be read nothing is known. Raises MailError."""
        from failsafe.adapters.canary_box import CanaryBox

        place, endpoint, user, file = box
        try:
            with CanaryBox(endpoint, user, read_secret(file)) as opened:
                found = tuple(each for each in opened.find(partial(read_canary, key=key)) if each.canary.server == self._server)
                if found:
                    opened.remove(found)
        except FailsafeError as error:
            if must:
                raise
            get_log().info("canary", server=self._server, place=place or "primary", text=f"cannot be read: {error}")
            return book
        for each in found:
            book = book.note_found(Arrival(each.canary, each.arrived_at, place, each.folder))
        return book

    def _send(self, key: bytes, book: CanaryBook, now: datetime) -> CanaryBook:
        from failsafe.adapters.submission import Submission

        table = self._table
        canary = Canary(self._server, secrets.token_hex(NUMBER_DIGITS // 2), now.replace(microsecond=0))
        probe = self._app.config.probe[self._server]
        try:
            submission = Submission(table.endpoint(), table.user, read_secret(table.password_file), helo=probe.helo)
            submission.send(table.from_, table.to, canary.write(key, table.from_, table.to))
        except FailsafeError as error:
            credential = isinstance(error, MailError) and error.credential
            begin = f"login refused for {table.user}: " if credential else ""
            return book.note_sent(canary, f"{begin}{error}", login_refused=credential)
        return book.note_sent(canary)

    def _keep(self, before: CanaryBook, book: CanaryBook, now: datetime) -> None:
        """A row where there is news: the way took so long, or one is lost."""
        from failsafe.store.vitals import VitalRow

        if book == before:
            return
        newest = book.newest
        new = book.arrived_since(before)
        numbers = {
            "seconds": newest.seconds if newest is not None else None,
            "place": newest.place if newest is not None else "",
            "new": new is not None,
            "awaited": len(book.sent),
            "overdue": len(book.overdue(now, self._table.every)),
            "lost": book.lost,
            "arrived": book.arrived,
        }
        self._app.vitals.record(VitalRow(self._server, CANARY, now, numbers))
        if new is not None:
            get_log().info("canary", server=self._server, seconds=new.seconds, place=new.place or "primary")


def canary(app: App, server: str) -> Iterator[Look]:
    """Where the mailbox is known. A [canary] without one is told by the doctor."""
    table, probe = app.config.canary.get(server), app.config.probe[server]
    if table is not None and probe.imap is not None:
        look = CanaryLook(app, server)
        yield Look(server, Axis.DELIVERY, table.every / CANARY_LOOKS, look.see, look.target, CANARY)
