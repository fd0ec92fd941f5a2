"""Choosing from a list by typing: one name, a few lines, some messages. Pure: generators that yield questions and are sent answers."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import TypeVar

from failsafe.backup.catalog_search import Found
from failsafe.cli.restore_words import Group, counted, group_line, match, narrowed, parse_numbers, row_line
from failsafe.cli.search import for_terminal
from failsafe.errors import UsageError

PAGE = 15  # messages
LISTED = 40  # mailboxes, folders and groups shown at once
BACK = "b"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Question:
    """`shown` stands before it; an empty answer means `default`; `help` is the answer to "?"."""

    prompt: str
    shown: tuple[str, ...] = ()
    default: str = ""
    help: tuple[str, ...] = ()


Talk = Generator[Question, str, T]


def one_of(names: Sequence[str], shown: tuple[str, ...], noun: str, labels: Sequence[str] = ()) -> Talk[int]:
    """The place of a name: by its number in the list, itself, a part of it, or something like it: a guess is asked back, never taken.

    `labels`: what is shown for each name.
    """
    offered = list(range(len(names)))
    while True:
        lines = [
            f"{number:4d}  {for_terminal((labels or names)[place])}" for number, place in enumerate(offered[:LISTED], start=1)
        ]
        if len(offered) > LISTED:
            lines.append(f"      … and {len(offered) - LISTED} more: type a part of the name")
        default = names[offered[0]] if len(offered) == 1 else ""
        text = yield Question(
            f"{noun.capitalize()} (number, name, or a part of it)",
            (*shown, *lines),
            default,
            (f"Type the number of the {noun}, or letters of its name.",),
        )
        if text.isascii() and text.isdigit() and 1 <= int(text) <= min(len(offered), LISTED):
            return offered[int(text) - 1]
        found = match(text, names)
        if found.guessed and len(found.places) == 1:
            likely = for_terminal(names[found.places[0]])
            text = yield Question(f"There is no {noun} “{text}” here. Did you mean {likely}? (y/n)", default="y")
            if text.lower() in ("y", "yes"):
                return found.places[0]
            offered, shown = list(range(len(names))), (f"Which {noun} then?",)
            continue
        if len(found.places) == 1:
            return found.places[0]
        offered = list(found.places) or list(range(len(names)))
        shown = _reply(text, noun, guessed=found.guessed, found=bool(found.places))


def _reply(text: str, noun: str, *, guessed: bool, found: bool) -> tuple[str, ...]:
    if guessed:
        return (f"There is no {noun} “{text}” here. These are like it:",)
    return (
        (f"More than one {noun} fits:",)
        if found
        else (f"There is no {noun} “{text}” here, and none that is like it. There are:",)
    )


def groups_of(groups: Sequence[Group]) -> Talk[tuple[Found, ...]]:
    """All messages of the lines that were chosen; none where the person wants to go back."""
    shown: tuple[str, ...] = (
        "What vanished, by the day on which a backup missed it:",
        *(group_line(number, group) for number, group in enumerate(groups[:LISTED], start=1)),
    )
    if len(groups) > LISTED:
        shown += (f"      … and {len(groups) - LISTED} more, older: “all” has them too",)
    explained = ("Numbers as 1,3-7 show the messages of those lines; all shows those of every line; b goes back.",)
    while True:
        text = yield Question("Which lines? (1,3-7, all, b back)", shown, "all", explained)
        if text == BACK:
            return ()
        if text == "all":
            return tuple(row for group in groups for row in group.rows)
        try:
            return tuple(row for number in parse_numbers(text, len(groups)) for row in groups[number - 1].rows)
        except UsageError as error:
            shown = (f"{error}: {error.mend}.",)


def messages_of(found: tuple[Found, ...], zone: tzinfo) -> Talk[tuple[Found, ...]]:
    """Those chosen of a list that is shown a page at a time; none where the person wants to go back."""
    offered, first, said = found, 0, ""
    while True:
        gone = tuple(row for row in offered if row.gone_at is not None)
        page = offered[first : first + PAGE]
        last = first + len(page)
        lines = [row_line(number, row, zone) for number, row in enumerate(page, start=first + 1)]
        head = f"{counted(len(offered))}, {len(gone)} of them gone; {first + 1} to {last}:"
        more = "Enter shows more" if last < len(offered) else "Enter begins the list again"
        prompt = f"Which? (all{', gone' if 0 < len(gone) < len(offered) else ''}, 1,3-7, /words, b back, q quit; {more})"
        text = yield Question(prompt, (*([said] if said else []), head, *lines), help=_LIST_HELP)
        said = ""
        if text == BACK:
            return ()
        if text in ("all", "gone"):
            chosen = offered if text == "all" else gone
            if chosen:
                return chosen
        elif text == "":
            first = last if last < len(offered) else 0
        elif text == "p":
            first = max(first - PAGE, 0)
        elif text.startswith("/"):
            fewer = narrowed(found, text[1:])
            said = "" if fewer else f"None of them has “{text[1:]}”; all are shown again."
            offered, first = fewer or found, 0
        else:
            try:
                return tuple(offered[number - 1] for number in parse_numbers(text, len(offered)))
            except UsageError as error:
                said = f"{error}: {error.mend}."


_LIST_HELP = (
    "all        every message of the list, also of pages that are not shown",
    "gone       those of them that are GONE",
    "1,3-7      these numbers",
    "/words     only those that have the words in sender, recipient, subject or folder; / alone: all again",
    "Enter, p   the next page, the page before",
    "b, q       back to what is missing; quit, and nothing is done",
)
