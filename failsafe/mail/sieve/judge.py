"""What a person's filter rules would do with a message, judged and not carried out. Pure.

Nothing that a rule says can happen from here: the answer names a folder and flags, and what the rules would have sent or thrown away is told
beside it. A rule that asks what cannot be told here ends the judgement with Unjudged; the message then lies where it would without rules. Rules count only
where they are reached, so a script is of use though one part of it is not understood.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from failsafe.mail.sieve.parse import Argument, Command, Tag, Test
from failsafe.mail.sieve.questions import TESTS, Letter, answer, has_variable, only, rewrites
from failsafe.mail.sieve.words import Unjudged, word

_BRANCHES = ("if", "elsif", "else")
# What happens instead of keeping it, and what is sent beside.
_INSTEAD = {"redirect": "a forward", "pipe": "a hand-over to a program", "reject": "a rejection", "ereject": "a rejection"}
_BESIDE = {"vacation": "an answer", "notify": "a notice", "report": "a report"}
_KNOWN = {*_BRANCHES, "require", "stop", "keep", "discard", "fileinto", "setflag", "addflag", "removeflag", *_INSTEAD, *_BESIDE}
_STRANGE_TAGS = ("regex", "list")


@dataclass(frozen=True, slots=True)
class Filed:
    """`folder` as the rule names it, "" for the inbox. `held_back`: what the rules would have sent, in words."""

    folder: str = ""
    create: bool = False
    flags: tuple[str, ...] = ()  # as IMAP writes them
    discarded: bool = False
    held_back: tuple[str, ...] = ()


def judge_letter(script: Sequence[Command], letter: Letter) -> Filed:
    """Raises Unjudged. A message comes home once: of several copies the one in the inbox counts, else the first."""
    run = _Run(letter)
    run.commands(_with_effect(script))
    told = tuple(dict.fromkeys(run.held_back))
    if run.keeps or run.kept is not None:
        return Filed(flags=tuple(run.flags) if run.keeps or run.kept is None else run.kept, held_back=told)
    if run.filed:
        return replace(next(iter(run.filed.values())), held_back=told)
    # What was to be sent on, and is not, has to stay.
    return Filed(flags=tuple(run.flags), held_back=told) if run.sent_on else Filed(discarded=True, held_back=told)


def not_understood(script: Sequence[Command]) -> tuple[str, ...]:
    """What in a script cannot be judged where it is reached, each once."""
    return tuple(dict.fromkeys(_strange(_with_effect(script), rewritten=any(rewrites(command) for command in script))))


@dataclass(slots=True)
class _Run:
    letter: Letter
    keeps: bool = True  # the implicit keep
    kept: tuple[str, ...] | None = None  # flags of an explicit keep
    sent_on: bool = False
    filed: dict[str, Filed] = field(default_factory=dict)  # by folder; of two copies in one the flags of the later count
    flags: list[str] = field(default_factory=list)
    held_back: list[str] = field(default_factory=list)
    stopped: bool = False
    rewritten: bool = False
    _decided: bool = False  # one of the "if" and "elsif" above was true

    def commands(self, script: Sequence[Command]) -> None:
        for command in script:
            if self.stopped:
                return
            if self.rewritten and has_variable(command.arguments):
                raise Unjudged("variables")
            self._command(command)

    def _command(self, command: Command) -> None:
        name, arguments = command.name, command.arguments
        if name in _BRANCHES:
            self._branch(command)
        elif name == "require":
            self.rewritten = self.rewritten or rewrites(command)
        elif name == "stop":
            self.stopped = True
        elif name == "keep":
            self.kept, self.keeps = self._flags_of(arguments)[0], False
        elif name == "discard":
            self.keeps = False
        elif name == "fileinto":
            self._file(arguments)
        elif name in ("setflag", "addflag", "removeflag"):
            self._change_flags(name, arguments)
        elif name in _INSTEAD:
            self.held_back.append(_INSTEAD[name])
            self.sent_on, self.keeps = True, self.keeps and Tag("copy") in arguments
        elif name in _BESIDE:
            self.held_back.append(_BESIDE[name])
        else:
            raise Unjudged(f"the command {name}")

    def _branch(self, command: Command) -> None:
        if command.name == "if":
            self._decided = False
        if self._decided:
            return
        if command.name != "else" and not self._answer(only(command.tests)):
            return
        self.commands(command.block)
        self._decided = True  # an "if" within has its own

    def _answer(self, test: Test) -> bool:
        if self.rewritten and _has_variables(test):
            raise Unjudged("variables")
        return answer(test, self.letter, self.flags)

    def _file(self, arguments: Sequence[Argument]) -> None:
        flags, left = self._flags_of(arguments)
        tags = {argument.name for argument in left if isinstance(argument, Tag)}
        names = [argument for argument in left if not isinstance(argument, Tag)]
        if not tags <= {"copy", "create"} or len(names) != 1:
            raise Unjudged("a fileinto of another form")
        self.keeps = self.keeps and "copy" in tags
        if word(names[0]).upper() == "INBOX":
            self.kept = flags
        else:
            self.filed[word(names[0])] = Filed(word(names[0]), "create" in tags, flags)

    def _flags_of(self, arguments: Sequence[Argument]) -> tuple[tuple[str, ...], list[Argument]]:
        left: list[Argument] = []
        flags = tuple(self.flags)
        given = iter(arguments)
        for argument in given:
            if argument == Tag("flags"):
                flags = tuple(_flags(next(given, ())))
            else:
                left.append(argument)
        return flags, left

    def _change_flags(self, name: str, arguments: Sequence[Argument]) -> None:
        if len(arguments) != 1:
            raise Unjudged("flags in a variable")
        named = list(_flags(arguments[0]))
        lower = {flag.lower() for flag in named}
        kept = [] if name == "setflag" else [flag for flag in self.flags if flag.lower() not in lower]
        self.flags = kept if name == "removeflag" else [*kept, *named]


def _flags(argument: Argument) -> Iterator[str]:
    """A text may hold several (RFC 5232 2)."""
    if not isinstance(argument, tuple):
        raise Unjudged("flags of another form")
    for text in argument:
        yield from text.split()


def _has_variables(test: Test) -> bool:
    return has_variable(test.arguments) or any(map(_has_variables, test.tests))


# -- before it is judged -----------------------------------------------------------------------------------------------


def _with_effect(script: Sequence[Command]) -> list[Command]:
    """Without branches that only send something beside the message, such as an answer in the holidays: whatever they ask then does not count."""
    left: list[Command] = []
    chain: list[Command] = []
    for command in script:
        if command.name not in ("elsif", "else"):
            left += [] if all(map(_only_sends, chain)) else chain
            chain = []
        chain.append(replace(command, block=tuple(_with_effect(command.block))) if command.name in _BRANCHES else command)
        if command.name not in _BRANCHES:
            left, chain = [*left, *chain], []
    return left + ([] if all(map(_only_sends, chain)) else chain)


def _only_sends(command: Command) -> bool:
    return command.name in _BRANCHES and all(each.name in _BESIDE for each in command.block)


def _strange(script: Sequence[Command], *, rewritten: bool) -> Iterator[str]:
    for command in script:
        if command.name not in _KNOWN:
            yield f"the command {command.name}"
        if rewritten and has_variable(command.arguments):
            yield "variables"
        for test in command.tests:
            yield from _strange_test(test, rewritten=rewritten)
        yield from _strange(command.block, rewritten=rewritten)


def _strange_test(test: Test, *, rewritten: bool) -> Iterator[str]:
    if test.name not in {"not", "allof", "anyof", *TESTS}:
        yield f"the test {test.name}"
    if rewritten and has_variable(test.arguments):
        yield "variables"
    yield from (f":{tag.name}" for tag in test.arguments if isinstance(tag, Tag) and tag.name in _STRANGE_TAGS)
    for within in test.tests:
        yield from _strange_test(within, rewritten=rewritten)
