"""Questions with the flag that answers each, and how an answer is made sure of. Pure: generators that yield questions and are sent answers."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from failsafe.errors import UsageError

T = TypeVar("T")
NONE = "none"  # the answer that means: leave it out


@dataclass(frozen=True, slots=True)
class Question:
    """`flag` answers it on the command line; `shown` stands before it; an empty answer means `default`; `help` is the answer to "?".

    `fault`: why the answer before this one could not be taken. `explicit`: no default may stand for an answer, not even with --yes.
    """

    flag: str
    prompt: str
    shown: tuple[str, ...] = ()
    default: str = ""
    help: tuple[str, ...] = ()
    fault: str = ""
    explicit: bool = False


Talk = Generator[Question, str, T]


def ask(question: Question, read: Callable[[str], T]) -> Talk[T]:
    """Asks until `read` takes the answer. `read` raises UsageError or ValueError with the reason."""
    while True:
        text = yield question
        try:
            return read(text.strip())
        except UsageError as error:
            fault = f"{error}; {error.mend}" if error.mend else str(error)
        except ValueError as error:
            fault = str(error)
        question = Question(question.flag, question.prompt, (), question.default, question.help, fault, question.explicit)


def choose(question: Question, names: Sequence[str], labels: Sequence[str]) -> Talk[str]:
    """One of `names`, by its number or itself; `labels` are what a person sees."""
    width = max(len(name) for name in names)
    lines = tuple(
        f"  {number:2d}  {name:<{width}}  {label}".rstrip()
        for number, (name, label) in enumerate(zip(names, labels, strict=True), start=1)
    )

    def read(text: str) -> str:
        if text.isascii() and text.isdigit() and 1 <= int(text) <= len(names):
            return names[int(text) - 1]
        if text.lower() in names:
            return text.lower()
        raise ValueError(f"“{text}” is none of {', '.join(names)}")

    shown = Question(
        question.flag, question.prompt, (*question.shown, *lines), question.default, question.help, explicit=question.explicit
    )
    return (yield from ask(shown, read))


def demand(text: str) -> str:
    if not text:
        raise ValueError("an answer is needed")
    return text
