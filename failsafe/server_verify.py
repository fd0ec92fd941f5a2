"""After a restore, the server's own word over IMAP: every folder has the UIDVALIDITY, the next UID and the messages that were meant."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from failsafe.app import App
from failsafe.backup.server_run import Expected
from failsafe.errors import MailError
from failsafe.mail.maildir import INBOX
from failsafe.ports import SourceFolder
from failsafe.secrets import Secret
from failsafe.server_target import Service, Target, leads_there

SHOWN = 3  # differences that are told
SILENT = 3  # mailboxes that could not be opened: the others are not tried


def compare_over_imap(
    app: App, server: str, target: Target, expected: Mapping[str, Sequence[Expected]], user: str, password: Callable[[], Secret]
) -> Service:
    """Logs in to every mailbox; `user` is who logs in, with {mailbox} for its name. Nothing is changed there."""
    from failsafe.adapters.imap_login import log_in

    table = app.server(server).imap
    if table is None:
        return Service("mailboxes", None, f"[mail_server.{server}] has no imap: nobody logged in")
    if not leads_there(table.host, target):
        return Service("mailboxes", None, f"{table.host} does not lead to {target.name} yet: nobody logged in")
    wrong: list[str] = []
    closed = folders = 0
    for mailbox, wanted in sorted(expected.items()):
        try:
            session = log_in(table.endpoint(), user.replace("{mailbox}", mailbox), password(), f"{server}: {mailbox}")
        except MailError as error:
            closed += 1
            wrong.append(f"{mailbox}: {error}")
            if closed >= SILENT:
                break
            continue
        try:
            wrong += differences(mailbox, wanted, session.folders())
            folders += len(wanted)
        except MailError as error:
            wrong.append(f"{mailbox}: {error}")
        finally:
            session.close()
    if wrong:
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        return Service("mailboxes", good=False, text="; ".join(wrong[:SHOWN]) + more)
    return Service(
        "mailboxes", good=True, text=f"{len(expected)} opened; UIDs and numbers of messages are right in {folders} folders"
    )


def differences(mailbox: str, wanted: Iterable[Expected], found: Iterable[SourceFolder]) -> list[str]:
    """More messages than were meant are no fault: mail arrives."""
    states = {folder.name: folder.state for folder in found}
    wrong = []
    for one in wanted:
        state = states.get(one.folder)
        if state is None:
            if one.folder != INBOX or one.messages:
                wrong.append(f"{mailbox} {one.folder}: the server does not show it")
        elif one.uid_validity is not None and state.uid_validity != one.uid_validity:
            wrong.append(f"{mailbox} {one.folder}: UIDVALIDITY is {state.uid_validity}, not {one.uid_validity}")
        elif one.uid_validity is not None and (state.uid_next or 0) < one.uid_next:
            wrong.append(f"{mailbox} {one.folder}: the next UID is {state.uid_next}, below {one.uid_next}")
        elif state.messages < one.messages:
            wrong.append(f"{mailbox} {one.folder}: {state.messages} messages, {one.messages} were put there")
    return wrong
