"""`search`: finds messages across all snapshots. Its options are those of `restore`, too."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Any

import typer

from failsafe.cli.common import JSON_OPTION, answer, answer_json, open_app, say, verbs_app
from failsafe.cli.names import servers
from failsafe.cli.times import parse_time
from failsafe.errors import EXIT_FINDINGS, UsageError

if TYPE_CHECKING:
    from failsafe.app import App
    from failsafe.backup.catalog_search import Found, Query

app = verbs_app()

WORDS = typer.Argument(None, metavar="[WORDS]…", help="Each must be somewhere in sender, recipient or subject.")
SERVER = typer.Option(None, "--server", autocompletion=servers, metavar="S", help="Only this mail server.")
MAILBOX = typer.Option(None, "--mailbox", metavar="M", help="user@domain; * and ? stand for any letters.")
FOLDER = typer.Option(None, "--folder", metavar="F", help="A folder, such as INBOX, Archive/2026 or Archive/*.")
SENDER = typer.Option(None, "--from", metavar="X", help="Text in the sender.")
RECIPIENT = typer.Option(None, "--to", "--recipient", metavar="X", help="Text in the recipients.")
SUBJECT = typer.Option(None, "--subject", metavar="X", help="Text in the subject.")
MESSAGE_ID = typer.Option(None, "--message-id", metavar="I", help="The Message-ID, with or without <>.")
SINCE = typer.Option(None, "--since", metavar="T", help="Messages of this time or later.")
UNTIL = typer.Option(None, "--until", metavar="T", help="Messages before this time; of a day alone: that day too.")
GONE = typer.Option(False, "--gone", help="Only what is in no folder of its mailbox any more.")
GONE_SINCE = typer.Option(None, "--gone-since", metavar="T", help="Only what vanished at this time or later.")
IMAP_FLAGS = {"D": "\\Draft", "F": "\\Flagged", "P": "$Forwarded", "R": "\\Answered", "S": "\\Seen", "T": "\\Deleted"}
SHOWN = 200  # rows for a person; JSON lines have no end
DIGEST_LETTERS = 64


@app.command("search")
def find(
    words: list[str] = WORDS,
    server: str | None = SERVER,
    mailbox: str | None = MAILBOX,
    folder: str | None = FOLDER,
    sender: str | None = SENDER,
    recipient: str | None = RECIPIENT,
    subject: str | None = SUBJECT,
    message_id: str | None = MESSAGE_ID,
    since: str | None = SINCE,
    until: str | None = UNTIL,
    gone: bool = GONE,
    gone_since: str | None = GONE_SINCE,
    at: str | None = typer.Option(None, "--at", metavar="T", help="The mailboxes as they were then."),
    limit: int | None = typer.Option(
        None, "--limit", min=1, metavar="N", help=f"At most so many (default: {SHOWN}, with --json all)."
    ),
    as_json: bool = JSON_OPTION,
) -> None:
    """Finds messages across all snapshots, the newest first. A message that only moved is shown where it is now.

    Examples: failsafe search --mailbox ann@example.org --gone-since yesterday
              failsafe search --from bank invoice --json
    """
    from failsafe.restores import find as find_rows
    from failsafe.tombstones import Veil

    everything = open_app()
    if server is not None:
        everything.server(server)
    query = make_query(
        everything, words=words, server=server, mailbox=mailbox, folder=folder, sender=sender, recipient=recipient, subject=subject,
        message_id=message_id, since=since, until=until, gone=gone, gone_since=gone_since, at=at,
    )  # fmt: skip
    bound = limit if limit is not None or as_json else SHOWN + 1
    found = False
    for number, row in enumerate(find_rows(everything, query, say, limit=bound), start=1):
        found = True
        if as_json:
            answer_json(row_json(row))
        elif limit is None and number > SHOWN:
            say(f"… and more; name what you look for more closely, or say --limit N (N > {SHOWN})")
        else:
            answer(row_text(row, everything.time_zone))
    for word in Veil(everything).words(query, nothing_found=not found):
        say(word)
    if not found:
        say("nothing was found: no message is known here that is all of this")
        raise typer.Exit(EXIT_FINDINGS)


def make_query(app: App, *, words: list[str] | None, ids: list[str] | None = None, **options: Any) -> Query:
    """The options of `search` as a value. Raises UsageError for a time that is none."""
    from failsafe.backup.catalog_search import Query

    now, zone = app.clock.now(), app.time_zone

    def moment(name: str, *, end_of_day: bool = False) -> datetime | None:
        text = options.get(name)
        return None if text is None else parse_time(text, now, zone, end_of_day=end_of_day)

    for id_ in ids or ():
        if len(id_) != DIGEST_LETTERS or not set(id_.lower()) <= set("0123456789abcdef"):
            raise UsageError(
                f"{id_!r} is not a message's id", mend="give the 64 digits that `failsafe search --json` shows as id"
            )
    return Query(
        server=options.get("server"),
        mailbox=options.get("mailbox"),
        folder=options.get("folder"),
        sender=options.get("sender"),
        recipient=options.get("recipient"),
        subject=options.get("subject"),
        message_id=options.get("message_id"),
        since=moment("since"),
        until=moment("until", end_of_day=True),
        gone=bool(options.get("gone")),
        gone_since=moment("gone_since"),
        at=moment("at"),
        words=tuple(words or ()),
        ids=tuple(id_.lower() for id_ in ids or ()),
    )


def row_json(row: Found) -> dict[str, Any]:
    return {
        "id": row.id,
        "server": row.server,
        "mailbox": plain(row.mailbox),
        "folder": plain(row.folder),
        "message_id": row.message_id,
        "from": row.sender,
        "to": row.recipient,
        "subject": row.subject,
        "date": utc(row.date),
        "internal_date": utc(moment_of(row.internal_date)),
        "flags": [IMAP_FLAGS[letter] for letter in row.flags],
        "keywords": [plain(keyword) for keyword in row.keywords],
        "size": row.size,
        "first_seen_at": utc(row.first_seen_at),
        "last_seen_at": utc(row.last_seen_at),
        "gone_at": utc(row.gone_at),
    }


def row_text(row: Found, zone: tzinfo) -> str:
    """Two lines a message: when, who and what; where, and how to name it."""
    date = moment_of(row.internal_date)
    when = date.astimezone(zone).isoformat(" ", "minutes") if date is not None else "no date"
    state = "" if row.gone_at is None else f"  GONE since {row.gone_at.astimezone(zone).isoformat(' ', 'minutes')}"
    subject = "(stored encrypted)" if row.opaque else row.subject or "(no subject)"
    return f"{when}  {for_terminal(row.sender)}  {for_terminal(subject)}\n    {for_terminal(row.mailbox)} {for_terminal(row.folder)}  --id {row.id}{state}"


def utc(at: datetime | None) -> str | None:
    return None if at is None else f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def moment_of(seconds: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def plain(text: str) -> str:
    """Bytes that are no text as U+FFFD: JSON and terminals want text."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def for_terminal(text: str) -> str:
    """Without characters that would steer a terminal or turn the line round: a subject is written by strangers."""
    return "".join(letter if unicodedata.category(letter)[0] != "C" else "�" for letter in plain(text))
