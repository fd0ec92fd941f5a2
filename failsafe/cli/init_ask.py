"""Holds the conversation of `failsafe init`: with flags, on a terminal, or both. Questions on stderr, answers from stdin."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TypeVar

from failsafe.cli.asking import ask_line
from failsafe.cli.common import say
from failsafe.cli.search import for_terminal
from failsafe.errors import Interrupted, UsageError
from failsafe.setting_up.questions import Question, Talk

T = TypeVar("T")
NOTHING = "nothing was written"


class Holder:
    """`given`: flag -> what was said on the command line. `yes`: what stands in [ ] is taken where no flag says anything."""

    def __init__(self, given: Mapping[str, str], *, yes: bool) -> None:
        self._given, self._yes = dict(given), yes
        self.asked = False  # whether a person was asked anything

    @property
    def _terminal(self) -> bool:
        return sys.stdin.isatty() and sys.stderr.isatty()

    def hold(self, talk: Talk[T]) -> T:
        """Raises UsageError naming the flag where nobody can be asked, Interrupted where the person leaves."""
        try:
            question = next(talk)
            while True:
                question = talk.send(self._answer(question))
        except StopIteration as end:
            decision: T = end.value
            return decision
        except KeyboardInterrupt:
            say()
            raise Interrupted(NOTHING) from None

    def _answer(self, question: Question) -> str:
        given = self._given.pop(question.flag, None)
        if given is not None:
            return given
        takes_default = self._yes and question.default and not question.explicit
        if question.fault and not (self._terminal and not self._yes):
            raise UsageError(f"{question.flag}: {question.fault}", mend="failsafe init --help tells how it is written")
        if takes_default:
            return question.default
        if not self._terminal:
            for line in question.shown:
                say(for_terminal(line))
            hint = f" --yes takes “{question.default}” for it." if question.default and not question.explicit else ""
            raise UsageError(
                f"{question.prompt}: nobody is there to answer",
                mend=f"say {question.flag}.{hint} `failsafe init --help` lists all flags",
            )
        self.asked = True
        return self._typed(question)

    def _typed(self, question: Question) -> str:
        for line in (f"{question.fault}.",) if question.fault else question.shown:
            say(for_terminal(line))
        return ask_line(question.prompt, question.default, question.help, NOTHING)
