"""How the story is told: chapters, commands with the gist of their answers, proofs, a clock that moves while one waits, a table."""

import contextlib
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TextIO

WIDTH = 92
INDENT = "    "
TICK = 0.2  # seconds between two pictures of the moving clock


class NotVerifiedError(AssertionError):
    """A step did not come out as it must."""

    def __init__(self, what: str, expected: object, seen: object) -> None:
        super().__init__(f"{what}: expected {expected}, seen {seen}")
        self.what, self.expected, self.seen = what, expected, seen


@dataclass
class Teller:
    """Writes the story as it happens. On a terminal it uses colours and shows how long one has been waiting."""

    chapters: int
    out: TextIO = field(default_factory=lambda: sys.stdout)
    started: float = field(default_factory=time.monotonic)
    proofs: int = 0
    measures: list[tuple[str, str]] = field(default_factory=list)
    _chapter: int = 0

    def __post_init__(self) -> None:
        self._live = self.out.isatty()

    # -- words

    def line(self, text: str = "") -> None:
        print(text, file=self.out, flush=True)

    def chapter(self, title: str) -> None:
        """The next of the numbered chapters."""
        self._chapter += 1
        clock = f"{time.monotonic() - self.started:.0f} s"
        head = f"{self._chapter}/{self.chapters}  {title}"
        self.line()
        self.line(self._paint("1", head) + " " * max(1, WIDTH - len(head) - len(clock)) + self._paint("2", clock))

    @property
    def title(self) -> str:
        """Where the story is, for a report of its failure."""
        return f"chapter {self._chapter} of {self.chapters}" if self._chapter else "the beginning"

    def say(self, text: str) -> None:
        """Why it matters, in plain words."""
        self.line(textwrap.fill(" ".join(text.split()), WIDTH, initial_indent=INDENT, subsequent_indent=INDENT))

    def command(self, text: str, where: str = "nas") -> None:
        """A command line that is being run in the world, as a person would type it."""
        self.line(INDENT + self._paint("36", f"{where}$ {text}"))

    def answer(self, *lines: str) -> None:
        """The gist of what a command said."""
        for text in lines:
            self.line(f"{INDENT}  {self._paint('2', '|')} {text}")

    def took(self, seconds: float) -> None:
        """How long the command took, in a word at the edge."""
        self.line(f"{INDENT}  {self._paint('2', f'| ({seconds:.1f} s)')}")

    # -- proofs

    def proved(self, text: str) -> None:
        """Another program than failsafe has confirmed this."""
        self.proofs += 1
        filled = textwrap.wrap(" ".join(text.split()), WIDTH - 6)
        self.line(f"{INDENT}{self._paint('32', 'ok')} {filled[0]}")
        for rest in filled[1:]:
            self.line(f"{INDENT}   {rest}")

    def prove(self, what: str, expected: object, seen: object) -> None:
        """Two values that must be the same. Raises NotVerifiedError."""
        if seen != expected:
            raise NotVerifiedError(what, expected, seen)
        self.proved(what)

    # -- time

    @contextlib.contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """While this lasts, a terminal shows that something is going on, and for how long."""
        ended = threading.Event()
        begun = time.monotonic()

        def show() -> None:
            while not ended.wait(TICK):
                self.out.write(f"\r{INDENT}.. {text} ({time.monotonic() - begun:.1f} s)\x1b[K")
                self.out.flush()
            self.out.write("\r\x1b[K")
            self.out.flush()

        clock = threading.Thread(target=show, daemon=True)
        if self._live:
            clock.start()
        try:
            yield
        finally:
            ended.set()
            if self._live:
                clock.join()

    def measured(self, what: str, value: float | str) -> None:
        """A line of the final table; a number is seconds."""
        self.measures.append((what, f"{value:.1f} s" if isinstance(value, float) else value))

    def table(self, title: str) -> None:
        """All that was measured."""
        self.line()
        self.line(self._paint("1", title))
        left = max(len(what) for what, _ in self.measures)
        right = max(len(value) for _, value in self.measures)
        for what, value in self.measures:
            self.line(f"{INDENT}{what.ljust(left)}   {value.rjust(right)}")

    def failed(self, error: NotVerifiedError, logs: str) -> None:
        """What was expected, what was seen, where to look."""
        self.line()
        self.line(self._paint("1;31", f"NOT VERIFIED in {self.title}: {error.what}"))
        for name, value in (("expected", error.expected), ("seen", error.seen)):
            first, *rest = str(value).splitlines() or [""]
            self.line(f"{INDENT}{name}: {first}")
            for text in rest:
                self.line(f"{INDENT}  {text}")
        self.line(f"{INDENT}logs: {logs}")

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._live else text
