"""The runner of programs, with real programs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from failsafe.adapters import process
from failsafe.adapters.process import Command, Ending, ProgramMissing, base_environment, interrupt_all, run
from failsafe.errors import Interrupted, ProcessError
from tests.support import wait_until

SHORT = timedelta(seconds=0.5)


def shell(script: str, **more: object) -> Command:
    values: dict[str, object] = {"environment": base_environment(), "grace": SHORT, **more}
    return Command(("/bin/sh", "-c", script), **values)  # type: ignore[arg-type]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_both_streams_and_the_exit_code_come_back() -> None:
    finished = run(shell("echo out; echo err >&2; exit 7"))

    assert (finished.code, finished.ending, finished.stdout, finished.stderr) == (7, Ending.ITSELF, ("out",), ("err",))


def test_a_megabyte_on_each_stream_at_once_does_not_block() -> None:
    lines: list[str] = []

    finished = run(
        shell("yes x | head -c 1000000; yes e | head -c 1000000 >&2; yes x | head -c 1000000"),
        on_stdout=lines.append,
    )

    assert finished.code == 0
    assert len(lines) == 1_000_000
    assert len(finished.stderr) == 120, "only the last lines are kept"


def test_a_last_line_without_an_end_is_not_lost() -> None:
    assert run(shell("printf 'a\\nb'")).stdout == ("a", "b")


def test_the_program_sees_only_the_environment_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTIC_PASSWORD_COMMAND", "stray")

    finished = run(Command(("/usr/bin/env",), {**base_environment(), "GIVEN": "1"}))

    assert "GIVEN=1" in finished.stdout
    assert not [line for line in finished.stdout if line.startswith("RESTIC")]


def test_the_program_cannot_read_our_input_or_ask_at_our_terminal() -> None:
    finished = run(shell("read line; echo rc=$?; exec 3</dev/tty; echo tty=$?"))

    assert finished.stdout[0] == "rc=1"
    assert "tty=0" not in finished.stdout


def test_a_program_that_takes_too_long_is_asked_to_end() -> None:
    # on a busy machine a shell is slow to begin, and slow to answer
    script = "trap 'echo asked; exit 9' INT; while :; do sleep 0.05; done"
    finished = run(shell(script, deadline=SHORT * 4, grace=SHORT * 40))

    assert (finished.ending, finished.code, finished.stdout) == (Ending.DEADLINE, 9, ("asked",))


def test_a_deaf_program_is_killed_with_its_children(tmp_path: Path) -> None:
    script = f"trap '' INT TERM; sleep 600 & echo $! > {tmp_path}/child; while :; do sleep 0.05; done"

    finished = run(shell(script, deadline=SHORT))

    assert (finished.ending, finished.code) == (Ending.DEADLINE, -signal.SIGKILL)
    child = int((tmp_path / "child").read_text())
    wait_until(lambda: not alive(child), 20, "the grandchild is gone")


def test_output_that_is_no_progress_does_not_feed_the_watchdog() -> None:
    finished = run(shell("while :; do echo same; sleep 0.05; done", silence=SHORT), on_stdout=lambda line: line != "same")

    assert finished.ending is Ending.SILENCE


def test_output_that_is_progress_keeps_a_program_alive_beyond_the_silence() -> None:
    finished = run(shell("for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.5; done", silence=timedelta(seconds=3)))

    assert (finished.ending, finished.code) == (Ending.ITSELF, 0)


def test_a_grandchild_that_keeps_the_pipes_does_not_hold_us() -> None:
    finished = run(shell("sleep 600 & exit 0"))

    assert (finished.ending, finished.code) == (Ending.ITSELF, 0)


def test_a_missing_program_says_how_to_mend_it() -> None:
    with pytest.raises(ProgramMissing) as caught:
        run(Command(("no-such-program",), base_environment()))

    assert "no-such-program" in str(caught.value)
    assert "install" in caught.value.mend


def test_a_program_that_may_not_be_run_says_so(tmp_path: Path) -> None:
    (tmp_path / "program").write_text("#!/bin/sh\n")

    with pytest.raises(ProgramMissing, match="Permission denied"):
        run(Command((str(tmp_path / "program"),), base_environment()))


def test_a_missing_folder_is_not_mistaken_for_a_missing_program(tmp_path: Path) -> None:
    with pytest.raises(ProcessError) as caught:
        run(shell("true", cwd=tmp_path / "gone"))

    assert not isinstance(caught.value, ProgramMissing)
    assert "gone" in str(caught.value)


def test_an_interrupted_listener_ends_the_program() -> None:
    pids: list[int] = []

    def stop(line: str) -> None:
        pids.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(shell("echo $$; exec sleep 600"), on_stdout=stop)

    assert not alive(pids[0])


@pytest.mark.parametrize("has_setpriv", [True, False])
def test_the_program_dies_with_us_even_by_kill_9(tmp_path: Path, has_setpriv: bool) -> None:
    script = (
        "from failsafe.adapters import process\nfrom failsafe.adapters.process import *\n"
        f"process._setpriv = process._setpriv if {has_setpriv} else tuple\n"
        f"run(Command(('/bin/sh', '-c', 'echo $$ > {tmp_path}/pid.new; mv {tmp_path}/pid.new {tmp_path}/pid; exec sleep 600'),"
        " base_environment()))"
    )
    ours = subprocess.Popen([sys.executable, "-c", script])
    wait_until((tmp_path / "pid").exists, 30, "the program runs")
    child = int((tmp_path / "pid").read_text())

    os.kill(ours.pid, signal.SIGKILL)
    ours.wait()

    wait_until(lambda: not alive(child), 20, "the program died with its parent")


def test_the_other_way_to_die_with_us_changes_nothing_for_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_setpriv", tuple)

    finished = run(Command(("sh", "-c", 'echo "$0 $1"; exit 7', "a b", "-c"), {**base_environment(), "GIVEN": "1"}))

    assert (finished.code, finished.stdout, finished.stderr) == (7, ("a b -c",), ())
    assert "GIVEN=1" in run(Command(("env",), {**base_environment(), "GIVEN": "1"})).stdout


def test_no_python_runs_between_fork_and_exec_where_there_are_threads() -> None:
    sources = Path(process.__file__).parents[1].rglob("*.py")

    assert [path.name for path in sources if "preexec_fn=" in path.read_text()] == []


def test_many_threads_start_programs_at_once() -> None:
    def work(number: int) -> list[tuple[str, ...]]:
        return [run(shell(f"echo {number}.{each}")).stdout for each in range(20)]

    with ThreadPoolExecutor(8) as pool:
        heard = list(pool.map(work, range(8)))

    assert heard == [[(f"{number}.{each}",) for each in range(20)] for number in range(8)]


def test_what_a_command_shows_of_itself_holds_no_environment() -> None:
    assert "hunter2" not in repr(Command(("x",), {"RESTIC_PASSWORD": "hunter2"}))


def test_a_program_of_another_thread_is_ended_by_an_interruption_and_a_later_one_runs() -> None:
    raised: list[BaseException] = []
    begun = threading.Event()

    def work() -> None:
        try:
            run(shell("echo begun; exec sleep 600", grace=timedelta(seconds=5)), on_stdout=lambda _line: begun.set())
        except Interrupted as error:
            raised.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    assert begun.wait(20)

    interrupt_all()
    worker.join(20)

    assert len(raised) == 1
    assert run(shell("echo well")).stdout == ("well",)
