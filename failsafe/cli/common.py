"""What all verbs share: the configuration, answers on stdout, questions, progress, and errors with their exit codes."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer

from failsafe.cli.quick import tell_error
from failsafe.errors import EXIT_CONFIGURATION, EXIT_INTERRUPTED, FailsafeError, Interrupted, UsageError

# Newer typer carries its own click, so its exceptions are found through a class that typer exports.
USAGE_FAULT: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

JSON_OPTION = typer.Option(False, "--json", help="Answer in JSON; nothing else on stdout.")
YES_OPTION = typer.Option(False, "--yes", help="Do not ask.")


TYPERS_INTERRUPT = 130  # what newer ones make of a KeyboardInterrupt; no verb of ours ends with it
EXIT_BUG = 70  # sysexits.h EX_SOFTWARE; Python's own 1 would read as "done, with findings"


def verbs_app(help_text: str | None = None) -> typer.Typer:
    """A typer app for one file of verbs, with the settings that all of them share."""
    return typer.Typer(
        help=help_text, no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
    )


def config_path() -> Path:
    from failsafe.config.find import find_config

    return find_config()


def live_long() -> None:
    """For what runs for weeks: memory is looked through as often as Python does by itself, which short-lived verbs do not."""
    import gc

    gc.set_threshold(700, 10, 10)  # Python's own


def open_app() -> Any:
    """The composition root over the configuration that was named. Raises ConfigError."""
    from failsafe.app import App
    from failsafe.config.load import load_config

    path = config_path()
    return App(load_config(path), path)


def say(text: str = "") -> None:
    """For people, beside the answer: stderr."""
    print(text, file=sys.stderr, flush=True)


def answer(text: str = "") -> None:
    """The answer: stdout."""
    print(text, flush=True)


def answer_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, separators=(", ", ": ")), flush=True)


def answer_json_lines(values: Iterable[Any]) -> None:
    for value in values:
        answer_json(value)


def confirm(question: str, *, yes: bool) -> None:
    """Returns if the answer is yes. Raises UsageError where nobody can be asked, Interrupted where the answer is no."""
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            f"{question} Nobody is there to answer: this is not a terminal",
            mend="say --yes to go on, or --dry-run to see the plan",
        )
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    try:
        said = sys.stdin.readline()
    except KeyboardInterrupt:
        say()
        raise Interrupted("nothing was done") from None
    if said.strip().lower() not in ("y", "yes"):
        raise Interrupted("nothing was done")


class BarProgress:
    """ports.Progress on a terminal, by rich; imported only there."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        console = Console(stderr=True)
        self._bytes = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._things = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._live: Progress | None = None
        self._task: Any = None
        self._second: Any = None

    def stage(self, text: str, total: int | None = None, unit: str = "") -> None:
        self.close()
        self._live = self._bytes if unit == "B" else self._things
        self._live.start()
        self._task = self._live.add_task(text, total=total)

    def advance(self, amount: int) -> None:
        if self._live is not None:
            self._live.advance(self._task, amount)

    def beside(self) -> Beside:
        """A second bar below the first, for what goes on at the same time."""
        return Beside(self)

    def close(self) -> None:
        self.end_beside()
        if self._live is not None:
            self._live.remove_task(self._task)
            self._live.stop()
            self._live = None

    def begin_beside(self, text: str, total: int | None) -> None:
        self.end_beside()
        if self._live is None:
            self._bytes.start()
        if self._live is not self._things:  # a terminal shows one set of bars at a time
            self._second = self._bytes.add_task(text, total=total)

    def move_beside(self, amount: int) -> None:
        if self._second is not None:
            self._bytes.advance(self._second, amount)

    def end_beside(self) -> None:
        if self._second is not None:
            self._bytes.remove_task(self._second)
            self._second = None
            if self._live is None:
                self._bytes.stop()


class Beside:
    """ports.Progress of the second bar; it goes when its total is reached."""

    def __init__(self, bars: BarProgress) -> None:
        self._bars, self._left = bars, 0

    def stage(self, text: str, total: int | None = None, unit: str = "") -> None:  # noqa: ARG002 - bytes, all of them
        self._left = total or 0
        self._bars.begin_beside(text, total)

    def advance(self, amount: int) -> None:
        self._left -= amount
        self._bars.move_beside(amount)
        if self._left <= 0:
            self._bars.end_beside()


class NoProgress:
    """ports.Progress where nobody watches."""

    def beside(self) -> None:
        """Nobody watches this either."""

    def stage(self, text: str, total: int | None = None, unit: str = "") -> None:
        pass

    def advance(self, amount: int) -> None:
        pass

    def close(self) -> None:
        pass


def progress(*, quiet: bool = False) -> BarProgress | NoProgress:
    """Bars only on a terminal."""
    return BarProgress() if sys.stderr.isatty() and not quiet else NoProgress()


def run_cli(app: typer.Typer) -> int:
    """Runs a verb; turns every expected failure into one message on stderr and the exit code of the contract."""
    signal.signal(signal.SIGTERM, _terminated)
    if isinstance(
        sys.stdout, io.TextIOWrapper
    ):  # a server's file names may be no UTF-8; in JSON, \udcff is then how they are written
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        outcome = app(standalone_mode=False)
    except FailsafeError as error:
        return tell_error(error)
    except typer.Exit as error:
        return error.exit_code
    except USAGE_FAULT as error:
        error.show(sys.stderr)
        return EXIT_CONFIGURATION
    except (typer.Abort, KeyboardInterrupt):
        return _interrupted()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader went away, as `| head` does
        return 0
    except Exception:  # noqa: BLE001 - a programmer's mistake: told whole, and never with an exit code that means something else
        traceback.print_exc()
        return EXIT_BUG
    if outcome == TYPERS_INTERRUPT:
        return _interrupted()
    return outcome if isinstance(outcome, int) else 0


def _interrupted() -> int:
    say("failsafe: interrupted; running the same command again goes on from here")
    return EXIT_INTERRUPTED


def _terminated(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt
