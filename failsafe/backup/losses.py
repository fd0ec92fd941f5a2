"""When a pull finds far less than the last one, that is not believed: pure judgements that raise guards."""

from __future__ import annotations

from dataclasses import dataclass

from failsafe.model import Guard

FEW = 20  # messages: so many may always go at once
SHARE = 5  # one in five (20 %)


@dataclass(frozen=True, slots=True)
class Loss:
    """What a mailbox had at the last pull, and how much of it is nowhere in the mailbox now."""

    mailbox: str
    before: int
    lost: int
    present: bool = True  # False: the mailbox's folder itself is gone
    changed: int = 0  # messages whose content was replaced under their name: a Maildir's files never change


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """Signs of a store made anew: folders whose UIDVALIDITY is known, and in how many of them it changed."""

    folders: int
    changed: int
    mailboxes_before: int
    mailboxes_now: int


def is_mass(before: int, lost: int) -> bool:
    return lost > FEW and lost * SHARE > before


def judge_losses(losses: tuple[Loss, ...], rebuilt: Rebuilt, server: str) -> tuple[tuple[str, Guard], ...]:
    """(mailbox or "" for the whole server, guard), each with the way to end it."""
    judged = (*_judge_vanished(losses, rebuilt), *_judge_changed(losses))
    return tuple((mailbox, Guard(code, words, mend_of(code, server))) for mailbox, code, words in judged)


def mend_of(code: str, server: str) -> str:
    """The way to end a guard."""
    if code == "tampered":
        return (
            f"if this was meant: failsafe accept {server} --what tampering --reason TEXT; if not: look at the server before anything "
            "else, and restore the old content, which every snapshot still holds"
        )
    return f"if this was meant: failsafe accept {server} --reason TEXT; if not: restore what is gone"


def _judge_changed(losses: tuple[Loss, ...]) -> list[tuple[str, str, str]]:
    words = "message(s) of {0} have other content than before under the same name"
    return [(loss.mailbox, "tampered", f"{loss.changed} {words.format(loss.mailbox)}") for loss in losses if loss.changed]


def _judge_vanished(losses: tuple[Loss, ...], rebuilt: Rebuilt) -> list[tuple[str, str, str]]:
    before, lost = sum(loss.before for loss in losses), sum(loss.lost for loss in losses)
    if rebuilt.mailboxes_before and not rebuilt.mailboxes_now and before:
        words = f"the mail store is empty; it held {before} messages in {rebuilt.mailboxes_before} mailboxes"
        return [("", "store-rebuilt", words)]
    found: list[tuple[str, str, str]] = []
    if rebuilt.changed > 1 and rebuilt.changed * 2 > rebuilt.folders:
        words = f"{rebuilt.changed} of {rebuilt.folders} folders have another UIDVALIDITY: the store was rebuilt or restored"
        found.append(("", "store-rebuilt", words))
    for loss in losses:
        if not loss.present and loss.before:
            words = f"mailbox {loss.mailbox} with {loss.before} messages is gone"
            found.append((loss.mailbox, "mailbox-vanished", words))
        elif is_mass(loss.before, loss.lost):
            found.append((loss.mailbox, "mass-loss", f"{loss.lost} of {loss.before} messages vanished from {loss.mailbox}"))
    if is_mass(before, lost) and not found:
        mailboxes = sum(loss.lost > 0 for loss in losses)
        found.append(("", "mass-loss", f"{lost} of {before} messages vanished, spread over {mailboxes} mailboxes"))
    return found
