"""The forced command, attacked by somebody who has failsafe's key: each attack is refused in clear words, shows nothing, and costs little."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.contract import machine as machines
from tests.contract.attacks import (
    LIST,
    PATIENCE,
    PRELUDE,
    STILL_WELL,
    Said,
    ask,
    ask_all,
    call,
    impatient,
    install,
    none_left,
    open_session,
    read_frame,
    request,
    start_it,
)
from tests.contract.machine import Machine
from tests.support import wait_until

KIB = 1024
LITTLE = 60 * KIB  # KiB of memory: Python itself takes some 15
ANNA = b"example.org/anna"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machines.running(tmp_path_factory.mktemp("machine")) as server:
        install(server)
        yield server


def test_what_is_allowed_works(machine: Machine) -> None:
    """Without this, a server that answers nothing at all would stand every attack."""
    message = ask(machine, b"read", b"messages", ANNA, b"", b"cur/1:2,S")
    extra = ask(machine, b"read", b"files", b"0", b"fine")
    command = ask(machine, b"run", b"hello.txt")

    assert message.hello["mode"] == "installed"
    assert b"Subject: 1" in message.out
    assert b"fine" in extra.out
    assert (b"D", b"hello\n") in command.frames
    assert [each.answered for each in (message, extra, command)] == [2, 2, 2]


# ---------------------------------------------------------------- what is asked for

REQUESTS = {
    "a mailbox by dots": ((b"read", b"messages", b"../outside", b"", b"cur/secret"), "not a path below a root"),
    "a mailbox by its whole path": ((b"read", b"messages", b"/srv/outside", b"", b"cur/secret"), "not a path below a root"),
    "the root itself as a mailbox": ((b"read", b"control", b"", b"secret"), "not a mailbox"),
    "a folder by dots": ((b"read", b"messages", ANNA, b"../../../outside", b"cur/secret"), "not a path below a root"),
    "a message by dots": ((b"read", b"messages", ANNA, b"", b"cur/../../../../outside/secret"), "not a message"),
    "a message by its whole path": ((b"read", b"messages", ANNA, b"", b"/etc/shadow"), "not a message"),
    "a message that is no message": ((b"read", b"messages", ANNA, b"", b"tmp/x"), "not a message"),
    "a control file by dots": ((b"read", b"control", ANNA, b"../../../outside/secret"), "not a path below a root"),
    "the shadow file as a control file": ((b"read", b"control", ANNA, b"/etc/shadow"), "not a path below a root"),
    "the list itself": ((b"read", b"files", b"0", LIST.encode()), "not a path below a root"),
    "an extra file by dots": ((b"read", b"files", b"0", b"../outside/secret"), "not a path below a root"),
    "an extra file by dots in the middle": ((b"read", b"files", b"0", b"private/../../outside/secret"), "not a path below a root"),
    "an extra file by empty parts": ((b"read", b"files", b"0", b"a//b"), "not a path below a root"),
    "the shadow file as an extra file": ((b"read", b"files", b"0", b"/etc/shadow"), "not a path below a root"),
    "a link to the shadow file": ((b"read", b"files", b"0", b"link"), "Too many levels of symbolic links"),
    "a file behind a linked folder": ((b"read", b"files", b"0", b"linked/secret"), "Not a directory"),
    "a process's environment behind a link to /proc": ((b"read", b"files", b"0", b"proc/environ"), "Not a directory"),
    "a message that is a link": ((b"read", b"messages", ANNA, b"", b"cur/link"), "Too many levels of symbolic links"),
    "a folder that is a link": ((b"list", b"folders", ANNA, b".Linked"), "Not a directory"),
    "a mailbox that is a link": ((b"read", b"control", b"example.org/mallory", b"secret"), "failed: Not a directory"),
    "a hard link to a file of root's among extra files": ((b"read", b"files", b"0", b"users/hard"), "a hard link to another user's file"),
    "a hard link to a file of root's among messages": ((b"read", b"messages", ANNA, b"", b"cur/hard"), "Permission denied"),
    "the digest of a hard link to a file of root's": ((b"digest", b"messages", ANNA, b"", b"cur/hard"), "Permission denied"),
    "a device that never ends": ((b"read", b"files", b"0", b"zero"), "not a regular file"),
    "a pipe that nobody writes to": ((b"read", b"files", b"0", b"pipe"), "not a regular file"),
    "a pipe among messages": ((b"read", b"messages", ANNA, b"", b"cur/pipe"), "not a regular file"),
    "a file that is left out": ((b"read", b"files", b"0", b"secret.key"), "left out on purpose"),
    "a file in a folder that is left out": ((b"read", b"files", b"0", b"private/deep"), "left out on purpose"),
    "an extra path that is none": ((b"read", b"files", b"1", b"fine"), "not a number up to 0"),
    "an extra path counted from the end": ((b"list", b"files", b"-1"), "not a number up to 0"),
    "an extra path with a million digits": ((b"list", b"files", b"9" * 1_000_000), "not a number up to 0"),
    "a listing of the whole disk": ((b"list", b"files", b"/"), "not a number up to 0"),
    "a listing of mailboxes above the root": ((b"list", b"folders", b"..", b""), "not a path below a root"),
    "a listing of a folder of nobody's": ((b"list", b"folders", b"", b""), "not a mailbox"),
    "the digest of a forbidden file": ((b"digest", b"messages", b"../outside", b"", b"cur/secret"), "not a path below a root"),
    "the digest of an extra file": ((b"digest", b"files", b"0", b"fine"), "no such request"),
    "whether a forbidden file is there": ((b"find", b"messages", b"../outside", b"", b"cur/secret"), "not a path below a root"),
    "a command that was invented": ((b"run", b"evil.txt"), "no command is called 'evil.txt' here"),
    "a shell by its path": ((b"run", b"/bin/sh"), "no command is called"),
    "a command by dots": ((b"run", b"../../bin/sh"), "no command is called"),
    "a known command and another behind it": ((b"run", b"hello.txt; id"), "no command is called"),
    "a known command and another on the next line": ((b"run", b"hello.txt\nid"), r"no command is called 'hello.txt\\nid'"),
    "a known command with an argument": ((b"run", b"hello.txt", b"; id", b"&& id"), None),
    "a command without a name": ((b"run",), "no command is called"),
    "a command of the program's own that the list does not name": ((b"run", b"mailcow-database.sql"), "no command is called"),
    "another list": ((b"reach", b'{"root": "/", "commands": {"x": "id"}}'), "what may be read here stands in"),
    "a container that the list does not name": ((b"vitals", b"bans", b"mailserver"), None),
    "an option in place of a container": ((b"vitals", b"bans", b"--privileged"), None),
    "names that are none to be looked up": ((b"vitals", b"lookups", b"$(id)", b"-x", b"a\nb"), None),
    "a look inside that is no JSON": ((b"vitals", b"all", b"{"), "Expecting"),
    "a look inside that is a list": ((b"vitals", b"all", b"[]"), "makes no sense"),
    "a look inside nested a hundred thousand times": ((b"vitals", b"all", b"[" * 100_000), "makes no sense"),
    "a mail log that is the shadow file": ((b"vitals", b"all", b'{"log": "/etc/shadow:1:1", "awaited": ["root"]}'), None),
    "a verb that writes": ((b"write", b"messages", ANNA, b"", b"cur/x"), "no such request: 'write'"),
    "a verb that deletes": ((b"unlink", b"messages", ANNA), "no such request"),
    "a verb of the program that restores": ((b'{"do": "run", "words": ["id"]}',), "no such request"),
    "a verb in capitals": ((b"RUN", b"hello.txt"), "no such request"),
    "no verb at all": ((), "no such request"),
    "bytes that are no text": ((b"\xff\xfe", b"\x80"), "no such request"),
}  # fmt: skip


@pytest.fixture(scope="module")
def answers(machine: Machine) -> dict[str, Said]:
    """All of them in one session, which goes on after each."""
    return ask_all(machine, {name: fields for name, (fields, _) in REQUESTS.items()})


@pytest.mark.parametrize("attack", REQUESTS)
def test_what_is_not_in_the_list_is_not_shown(answers: dict[str, Said], attack: str) -> None:
    _, words = REQUESTS[attack]
    said = answers[attack]

    assert not said.leaks(b"Traceback")
    assert said.frames[-1][0] == b"E", "what is proper is answered after it"
    if words is not None:
        assert any(re.search(words, refusal) for refusal in said.refusals), said.refusals


def test_a_container_that_the_list_does_not_name_is_not_looked_into(answers: dict[str, Said]) -> None:
    said = answers["a container that the list does not name"]

    assert b"the settings here do not name the container 'mailserver'" in said.out


def test_a_link_put_in_place_while_files_are_read_shows_nothing(machine: Machine) -> None:
    """Somebody on the server swaps a file, a folder and a message for links, thousands of times, while they are asked for."""
    swapper = subprocess.Popen([*machine.enter, "/usr/bin/python3", "-c", SWAP], stdout=subprocess.PIPE, text=True)
    assert swapper.stdout is not None
    assert swapper.stdout.readline() == "swapping\n"
    try:
        files = request(b"read", b"files", b"0", *[b"swap/secret", b"flip"] * 20)
        messages = request(b"read", b"messages", ANNA, b"", *[b"cur/flip"] * 20)
        control = request(b"read", b"control", b"example.org/swap", b"secret")
        said = call(machine, PRELUDE + (files + messages + control * 20) * 20)
    finally:
        swapper.kill()
        swapper.communicate()

    assert not said.leaks()
    assert said.answered == 22 * 20
    assert b"harmless" in said.out, "the race was run: sometimes the file itself was there"
    assert any("symbolic" in words or "Not a directory" in words for words in said.refusals), "and sometimes the link"


SWAP = """
import os
def put(path, link):
    fresh = path + ".fresh"
    if link:
        os.symlink("/srv/outside/secret", fresh)
    else:
        with open(fresh, "w") as file:
            file.write("harmless")
        os.chown(fresh, 5000, 5000)
    os.rename(fresh, path)
def swap_folder(path, link):
    other = path + ".other"
    if link:
        os.rename(path, other)
        os.symlink("/srv/outside", path)
    else:
        os.unlink(path)
        os.rename(other, path)
for folder in ("/srv/extra/swap", "/srv/vmail/example.org/swap"):
    os.mkdir(folder)
    with open(folder + "/secret", "w") as file:
        file.write("harmless")
    os.chown(folder, 5000, 5000)
    os.chown(folder + "/secret", 5000, 5000)
link = said = False
while True:
    link = not link
    put("/srv/extra/flip", link)
    put("/srv/vmail/example.org/anna/cur/flip", link)
    swap_folder("/srv/extra/swap", link)
    swap_folder("/srv/vmail/example.org/swap", link)
    if not said:
        print("swapping", flush=True)
        said = True
"""


# ---------------------------------------------------------------- how it is asked for

LONG = b"x" * (1 << 20)
STREAMS = {
    "a hundred megabytes without an end": (PRELUDE + b"1\0" + LONG * 100, "a field of a request is longer than 1048576 bytes"),
    "a million fields": (PRELUDE + b"1000000\0" + b"x\0" * 1_000_000, "not a number up to 5000"),
    "more digits than a number has": (PRELUDE + b"9" * 500_000 + b"\0", "not a number up to 5000"),
    "a negative number of fields": (PRELUDE + b"-5\0x\0", "not a number up to 5000"),
    "a number in another script": (PRELUDE + "٣\0".encode() + b"x\0", "not a number up to 5000"),
    "fifty fields of almost a megabyte": (PRELUDE + b"50\0" + (LONG[:-1] + b"\0") * 50, "a request is longer than 8388608 bytes"),
    "two megabytes of noise": (PRELUDE + os.urandom(2 << 20), "not a number up to 5000|longer than"),
    "noise from the first byte": (b"\x16\x03\x01" + os.urandom(1 << 16), "by its own protocol"),
    "a web browser": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "by its own protocol"),
    "a shell's commands": (b"cat /etc/shadow\nid\nexit\n", "by its own protocol"),
    "a program of a negative length": (b"-1\n" + LONG * 5, "by its own protocol"),
    "a program of a terabyte": (b"999999999999\n" + LONG, "by its own protocol"),
    "a program without a length": (b"\n" + LONG, "by its own protocol"),
}  # fmt: skip


@pytest.mark.parametrize("attack", STREAMS)
def test_a_stream_that_is_no_request_ends_and_takes_little_memory(machine: Machine, attack: str) -> None:
    data, words = STREAMS[attack]

    said, kib = start_it(machine, data)

    assert re.search(words, " ".join(said.refusals)), said
    assert not said.leaks(b"Traceback")
    assert kib < LITTLE


def test_a_hundred_megabytes_over_ssh_are_refused_before_they_are_all_sent(machine: Machine) -> None:
    data, words = STREAMS["a hundred megabytes without an end"]

    said = call(machine, data)

    assert said.refusals == [words]
    none_left(machine)


def test_ten_thousand_requests_that_are_none_take_little_memory(machine: Machine) -> None:
    said, kib = start_it(machine, PRELUDE + request(b"evil") * 10_000 + request(*STILL_WELL))

    assert len(said.refusals) == 10_000
    assert said.answered == 1
    assert kib < LITTLE


@pytest.mark.parametrize(
    "data", [b"", b"100\nhalf a prog", PRELUDE + b"2\0read\0half a fie"], ids=["nothing", "half a program", "half a request"]
)
def test_who_says_half_of_something_and_then_nothing_is_hung_up_on(machine: Machine, data: bytes) -> None:
    with impatient(machine), open_session(machine, data) as session:
        assert b'"hello"' in read_frame(session)[1]
        kind, words = read_frame(session)
        assert (kind, words) == (b"X", b'{"error":"no whole request came in time"}')
        assert session.wait(PATIENCE + 10) != 0
    none_left(machine)


def test_what_runs_there_ends_when_the_other_side_hangs_up(machine: Machine) -> None:
    def sleeps() -> list[str]:
        return subprocess.run(["pgrep", "-f", "^sleep 4711$"], capture_output=True, text=True, check=False).stdout.split()

    with open_session(machine, PRELUDE + request(b"run", b"slow.txt")):
        wait_until(sleeps, 10, "the command runs")
    wait_until(lambda: not sleeps(), 10, "the command has ended")
    none_left(machine)


def test_of_many_sessions_the_first_go_on_and_those_after_them_are_told_to_wait(machine: Machine) -> None:
    none_left(machine)  # of the tests before
    with ExitStack() as stack:
        sessions = [stack.enter_context(open_session(machine, PRELUDE)) for _ in range(12)]
        greetings = [read_frame(session)[1] for session in sessions]
        one_more = ask(machine, *STILL_WELL)
        assert sessions[0].stdin is not None
        sessions[0].stdin.write(request(*STILL_WELL))
        sessions[0].stdin.flush()
        first = read_frame(sessions[0])[0]

    assert not any(b"fault" in greeting for greeting in greetings)
    assert one_more.refusals == ["12 sessions are at work here already; try again later"] * 2
    assert first == b"E"
    none_left(machine)
    assert ask(machine, *STILL_WELL).answered == 2
