"""When a pull finds far less than the last one, that is not believed: pure judgements that raise guards."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from failsafe.backup.guards import mend_of
from failsafe.model import Guard

__all__ = ["Loss", "Rebuilt", "habit_of", "is_emptied", "is_mass", "judge_losses", "mend_of"]

# A person who cleans up deletes a few dozen, or a folder that is a small part of what they keep. What goes beyond both is worth a
# question; the price of a false one is that nothing is forgotten until it is answered, the price of none is that everything is.
FEW = 20  # messages: so many may go in a day
SHARE = 5  # and one in five (20 %)
SMALL = 10  # a mailbox of so many is no longer one that is emptied without a thought
NEARLY = 10  # all but one in ten
HABIT = 500  # messages: what is fetched by POP3 or kept tidy holds no more, and a full mailbox that was given up once says nothing of the next
WINDOW = timedelta(days=1)  # a store that is emptied slowly, or pulled every minute, loses little in each pull


@dataclass(frozen=True, slots=True)
class Loss:
    """What a mailbox had at the last pull, and how much of it is nowhere in the mailbox now."""

    mailbox: str
    before: int
    lost: int
    present: bool = True  # False: the mailbox's folder itself is gone
    changed: int = 0  # messages whose content was replaced under their name: a Maildir's files never change
    day_before: int = 0  # what it had when the present day of counting began
    day_lost: int = 0  # and how much of that is gone
    emptied: int = 0  # so many at once a person has accepted before (fetched by POP3, kept tidy)


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """Signs of a store made anew: folders whose UIDVALIDITY is known, and in how many of them it changed."""

    folders: int
    changed: int
    mailboxes_before: int
    mailboxes_now: int


def is_mass(before: int, lost: int) -> bool:
    return lost > FEW and lost * SHARE > before


def is_emptied(before: int, lost: int) -> bool:
    return before >= SMALL and lost * NEARLY >= before * (NEARLY - 1)


def habit_of(went: int, left: int) -> int:
    """Of a loss that a person accepts: how many messages may go from there again unasked. A clearance is no habit: only a mailbox that was emptied."""
    return min(went, HABIT) if is_emptied(went + left, went) else 0


def judge_losses(losses: tuple[Loss, ...], rebuilt: Rebuilt, server: str) -> tuple[tuple[str, Guard], ...]:
    """(mailbox or "" for the whole server, guard), each with the way to end it."""
    judged = (*_judge_vanished(losses, rebuilt), *_judge_changed(losses))
    return tuple((mailbox, Guard(code, words, mend_of(code, server, mailbox))) for mailbox, code, words in judged)


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
        elif words := _mass_words(loss):
            found.append((loss.mailbox, "mass-loss", words))
    if not found:
        found += _judge_all(losses, before, lost)
    return found


def _mass_words(loss: Loss) -> str:
    """ "" where the loss is one that people make."""
    if is_mass(loss.before, loss.lost) or is_emptied(loss.before, loss.lost):
        usual = loss.before <= 2 * loss.emptied
        return "" if usual else f"{loss.lost} of {loss.before} messages vanished from {loss.mailbox}"
    if is_mass(loss.day_before, loss.day_lost) and loss.day_before > 2 * loss.emptied:
        return f"{loss.day_lost} of {loss.day_before} messages vanished from {loss.mailbox} within a day"
    return ""


def _judge_all(losses: tuple[Loss, ...], before: int, lost: int) -> list[tuple[str, str, str]]:
    day_before, day_lost = sum(loss.day_before for loss in losses), sum(loss.day_lost for loss in losses)
    for had, went, when in ((before, lost, ""), (day_before, day_lost, " within a day")):
        if is_mass(had, went) and not all(loss.emptied for loss in losses if loss.lost or loss.day_lost):
            mailboxes = sum(loss.lost > 0 or loss.day_lost > 0 for loss in losses)
            return [("", "mass-loss", f"{went} of {had} messages vanished{when}, spread over {mailboxes} mailboxes")]
    return []
