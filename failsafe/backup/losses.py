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


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """Signs of a store made anew: folders whose UIDVALIDITY is known, and in how many of them it changed."""

    folders: int
    changed: int
    mailboxes_before: int
    mailboxes_now: int


def is_mass(before: int, lost: int) -> bool:
    return lost > FEW and lost * SHARE > before


def judge_losses(losses: tuple[Loss, ...], rebuilt: Rebuilt) -> tuple[tuple[str, Guard], ...]:
    """(mailbox or "" for the whole server, guard), each with the way to end it."""
    found: list[tuple[str, Guard]] = []
    before, lost = sum(loss.before for loss in losses), sum(loss.lost for loss in losses)
    if rebuilt.mailboxes_before and not rebuilt.mailboxes_now and before:
        return (
            (
                "",
                _guard(
                    "store-rebuilt", f"the mail store is empty; it held {before} messages in {rebuilt.mailboxes_before} mailboxes"
                ),
            ),
        )
    if rebuilt.changed > 1 and rebuilt.changed * 2 > rebuilt.folders:
        words = f"{rebuilt.changed} of {rebuilt.folders} folders have another UIDVALIDITY: the store was rebuilt or restored"
        found.append(("", _guard("store-rebuilt", words)))
    for loss in losses:
        if not loss.present and loss.before:
            found.append(
                (loss.mailbox, _guard("mailbox-vanished", f"mailbox {loss.mailbox} with {loss.before} messages is gone"))
            )
        elif is_mass(loss.before, loss.lost):
            found.append(
                (loss.mailbox, _guard("mass-loss", f"{loss.lost} of {loss.before} messages vanished from {loss.mailbox}"))
            )
    if is_mass(before, lost) and not found:
        found.append(
            (
                "",
                _guard(
                    "mass-loss",
                    f"{lost} of {before} messages vanished, spread over {sum(loss.lost > 0 for loss in losses)} mailboxes",
                ),
            )
        )
    return tuple(found)


def _guard(code: str, words: str) -> Guard:
    return Guard(code, words, mend="if this was meant: failsafe accept SERVER --reason TEXT; if not: restore what is gone")
