"""The forced command, passed by: shells, copies, forwarding, the environment, sudo, a list that others can write. None of it gets anywhere."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract import machine as machines
from tests.contract.attacks import (
    LEAK,
    LIST,
    PRELUDE,
    PROGRAM,
    STILL_WELL,
    ask,
    call,
    impatient,
    install,
    open_session,
    programs,
    read_frame,
    request,
    spoilt_list,
    start_it,
)
from tests.contract.machine import Machine
from tests.contract.sshd import answers
from tests.ports import free_port
from tests.support import wait_until


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machines.running(tmp_path_factory.mktemp("machine")) as server:
        install(server)
        yield server


def owned(machine: Machine) -> bool:
    """Whether anything of theirs was run."""
    return (machine / "/srv/evil/owned").exists()


# ---------------------------------------------------------------- another program than ours

COMMANDS = {
    "a command": ("cat", "/srv/outside/secret"),
    "the shadow file": ("cat /etc/shadow",),
    "a shell": ("/bin/sh", "-i"),
    "a command behind a semicolon": ("; cat /etc/shadow",),
    "a command behind a newline": ("python3\ncat /etc/shadow",),
    "a command in a command": ("$(touch /srv/evil/owned)`touch /srv/evil/owned`",),
    "the end of a quote": ("\"; touch /srv/evil/owned; '; touch /srv/evil/owned; #",),
    "Python with a program of ours": ("python3 -c \"open('/srv/evil/owned','w')\"",),
    "the program with an argument": (PROGRAM, "--help"),
    "a copy of a file by scp's old way": ("scp", "-f", "/srv/outside/secret"),
    "a file to be written by scp's old way": ("scp", "-t", "/srv/evil"),
    "a server of rsync": ("rsync", "--server", "--sender", "-vlogDtpre.iLsfxC", ".", "/srv/outside"),
    "a server of git": ("git-upload-pack", "/srv/outside"),
    "a very long command": ("x" * 100_000,),
}  # fmt: skip


@pytest.mark.parametrize("attack", COMMANDS)
def test_whatever_is_to_be_run_our_program_answers_in_its_place(machine: Machine, attack: str) -> None:
    said = call(machine, PRELUDE + request(*STILL_WELL), words=COMMANDS[attack])

    assert said.hello["mode"] == "installed"
    assert said.answered == 1
    assert not said.leaks()
    assert not owned(machine)


def test_there_is_no_shell_and_no_terminal(machine: Machine) -> None:
    at_a_terminal = call(machine, b"id\n", "-tt", words=())
    without = call(machine, b"id\ncat /srv/outside/secret\nexit\n", "-T", words=())

    assert "PTY allocation request failed" in at_a_terminal.err
    assert not at_a_terminal.out
    assert without.hello["mode"] == "installed"
    assert not without.leaks()
    assert without.refusals == ["failsafe's own program is spoken with here, by its own protocol"]


def copier(machine: Machine, program: str, *words: str) -> subprocess.CompletedProcess[str]:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    return subprocess.run([program, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False)


def options(machine: Machine) -> list[str]:
    """Of ssh, for programs that call it."""
    return [
        f"-oUserKnownHostsFile={machine.known_hosts}",
        f"-oIdentityFile={machine.key}",
        "-oIdentitiesOnly=yes",
        "-oBatchMode=yes",
    ]


@pytest.mark.parametrize("way", [["-O"], ["-s"]], ids=["by its old protocol", "over sftp"])
@pytest.mark.parametrize("direction", ["from there", "to there"])
def test_scp_copies_nothing(machine: Machine, way: list[str], direction: str, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    there = "failsafe@127.0.0.1:/srv/evil/mine" if direction == "to there" else "failsafe@127.0.0.1:/srv/extra/fine"
    here = str(tmp_path / "mine") if direction == "to there" else str(tmp_path / "got")
    pair = [here, there] if direction == "to there" else [there, here]

    with impatient(machine):  # scp waits for an answer that makes sense to it
        done = copier(machine, "scp", "-q", "-F", "none", *way, "-P", str(machine.port), *options(machine), *pair)

    assert done.returncode != 0
    assert not (tmp_path / "got").exists()
    assert not (machine / "/srv/evil/mine").exists()


def test_sftp_is_not_there(machine: Machine, tmp_path: Path) -> None:
    batch = tmp_path / "batch"
    batch.write_text("get /srv/extra/fine\n")

    done = copier(
        machine, "sftp", "-q", "-F", "none", "-b", str(batch), "-P", str(machine.port), *options(machine), "failsafe@127.0.0.1"
    )

    assert done.returncode != 0
    assert "Connection closed" in done.stderr or "Received message too long" in done.stderr


def test_rsync_copies_nothing(machine: Machine, tmp_path: Path) -> None:
    ssh = " ".join(machine.ssh()[:-1])

    done = copier(machine, "rsync", "-a", "-e", ssh, "failsafe@127.0.0.1:/srv/extra/", str(tmp_path / "got"))

    assert done.returncode != 0
    assert not (tmp_path / "got" / "fine").exists()


# ---------------------------------------------------------------- ways through the server


def test_nothing_is_forwarded_from_here_to_there(machine: Machine) -> None:
    """-W; -L and -D open the same kind of channel."""
    said = call(machine, b"", "-W", f"127.0.0.1:{machine.port}", words=())

    assert "administratively prohibited" in said.err
    assert b"SSH-2.0" not in said.out


@pytest.mark.parametrize("way", ["-L", "-D"])
def test_a_port_that_was_opened_here_leads_nowhere(machine: Machine, way: str) -> None:
    port = free_port()
    place = f"127.0.0.1:{port}" + (f":127.0.0.1:{machine.port}" if way == "-L" else "")
    session = subprocess.Popen([*machine.ssh("-N", way, place)], stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: answers(port), 10, "ssh listens here")
        shown = connect_through(port, machine.port, socks=way == "-D")
    finally:
        session.terminate()
        _, said = session.communicate(timeout=10)

    assert b"SSH-2.0" not in shown
    assert "administratively prohibited" in said


def connect_through(port: int, to: int, *, socks: bool) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 10) as line:
        line.settimeout(10)
        try:
            if socks:
                line.sendall(b"\x05\x01\x00")
                line.recv(2)
                line.sendall(b"\x05\x01\x00\x01\x7f\x00\x00\x01" + to.to_bytes(2, "big"))
            return line.recv(200)
        except OSError:
            return b""


def test_a_socket_file_there_is_not_reached(machine: Machine) -> None:
    port = free_port()
    with socket.socket(socket.AF_UNIX) as there:
        there.bind(str(machine / "/srv/evil/socket"))
        (machine / "/srv/evil/socket").chmod(0o777)
        there.listen()
        there.setblocking(False)
        session = subprocess.Popen(
            [*machine.ssh("-N", "-L", f"127.0.0.1:{port}:/srv/evil/socket")], stderr=subprocess.PIPE, text=True
        )
        try:
            wait_until(lambda: answers(port), 10, "ssh listens here")
            assert connect_through(port, 0, socks=False) == b"", "it is closed at once"
        finally:
            session.terminate()
            _, said = session.communicate(timeout=10)
        with pytest.raises(BlockingIOError):
            there.accept()
        (machine / "/srv/evil/socket").unlink()

    assert "open failed" in said


@pytest.mark.parametrize("place", ["127.0.0.1:{port}:127.0.0.1:1", "0.0.0.0:{port}:127.0.0.1:1", "/srv/evil/socket:127.0.0.1:1"])
def test_nothing_listens_there_for_us(machine: Machine, place: str) -> None:
    port = free_port()

    said = call(machine, b"", "-N", "-o", "ExitOnForwardFailure=yes", "-R", place.format(port=port), words=())

    assert said.code != 0
    assert "remote port forwarding failed" in said.err
    assert not answers(port)
    assert not (machine / "/srv/evil/socket").exists()


def test_no_agent_of_ours_is_offered_there(machine: Machine, tmp_path: Path) -> None:
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(tmp_path / "agent")], stdout=subprocess.DEVNULL)
    try:
        wait_until((tmp_path / "agent").exists, 10, "the agent answers")
        before = set(Path("/tmp").glob("ssh-*"))
        session = subprocess.Popen([*machine.ssh("-A"), "python3"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "SSH_AUTH_SOCK": str(tmp_path / "agent")})  # fmt: skip
        read_frame(session)
        (pid,) = programs(machine)
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        made = set(Path("/tmp").glob("ssh-*")) - before
        session.communicate()
    finally:
        agent.terminate()
        agent.wait(10)

    assert b"SSH_AUTH_SOCK" not in environment
    assert not made


def test_no_windows_are_opened_here_from_there(machine: Machine, tmp_path: Path) -> None:
    with open_session(machine, b"") as session:
        read_frame(session)
        (pid,) = programs(machine)
        assert b"DISPLAY" not in Path(f"/proc/{pid}/environ").read_bytes()
    said = subprocess.run([*machine.ssh("-X", "-v"), "python3"], input=PRELUDE, capture_output=True, timeout=30, check=False, env={**os.environ, "DISPLAY": "127.0.0.1:77"})  # fmt: skip

    assert b"X11 forwarding request failed" in said.stderr or b"No xauth" in said.stderr


def test_no_tunnel_of_whole_networks_is_opened(machine: Machine) -> None:
    """Asked for by hand: ssh's own client would first make a device here."""
    import paramiko
    from paramiko.common import cMSG_CHANNEL_OPEN

    client = paramiko.SSHClient()
    client.load_host_keys(str(machine.known_hosts))
    client.connect("127.0.0.1", machine.port, "failsafe", key_filename=str(machine.key), allow_agent=False, look_for_keys=False)
    transport = client.get_transport()
    assert transport is not None
    devices = set(Path("/sys/class/net").iterdir())
    asked = paramiko.Message()
    asked.add_byte(cMSG_CHANNEL_OPEN)
    asked.add_string("tun@openssh.com")
    for number in (7, 1 << 20, 1 << 15, 1, 0x7FFFFFFF):  # channel, window, packet; point to point, any device
        asked.add_int(number)
    answered = threading.Event()
    transport.channel_events[7] = answered
    transport._channels.put(7, paramiko.Channel(7))
    try:
        transport._send_user_message(asked)
        assert answered.wait(10), "sshd answers"
        assert isinstance(transport.saved_exception or transport.get_exception(), paramiko.ChannelException), "it is refused"
        assert set(Path("/sys/class/net").iterdir()) == devices
    finally:
        client.close()


# ---------------------------------------------------------------- the environment

VARIABLES = {
    "what Python imports first": "PYTHONPATH=/srv/evil",
    "where Python's own library is": "PYTHONHOME=/srv/evil",
    "what Python runs at its start": "PYTHONSTARTUP=/srv/evil/json.py",
    "that Python goes on with what is typed": "PYTHONINSPECT=1",
    "what is loaded into every program": "LD_PRELOAD=/srv/evil/owned.so",
    "where programs are": "PATH=/srv/evil",
    "what a shell reads at its start": "ENV=/srv/evil/profile",
    "what bash reads at its start": "BASH_ENV=/srv/evil/profile",
    "a function of bash": "BASH_FUNC_exec%%=() { touch /srv/evil/owned; }",
    "what parts words": "IFS=/",
    "where temporary files lie": "TMPDIR=/srv/evil",
    "who calls": "SSH_CONNECTION=$(touch /srv/evil/owned) 1 2 3",
    "what was asked for": "SSH_ORIGINAL_COMMAND=touch /srv/evil/owned",
    "a language with a path": "LANG=../../srv/evil",
    "how sudo asks": "SUDO_ASKPASS=/srv/evil/sudo",
}  # fmt: skip


@pytest.fixture(scope="module")
def shown(machine: Machine) -> dict[str, str]:
    """The environment of a command that the program starts, called by somebody who sets all of that, where sshd takes all of it."""
    words = " ".join(f'"{variable}"' for variable in VARIABLES.values())
    said = call(machine, PRELUDE + request(b"run", b"environment.txt") + request(*STILL_WELL), "-o", f"SetEnv={words}")
    assert said.answered == 2, said
    lines = b"".join(data for kind, data in said.frames if kind == b"D").decode().splitlines()
    return {line.partition("=")[0]: line.partition("=")[2] for line in lines}


@pytest.mark.parametrize("attack", VARIABLES)
def test_nothing_of_the_callers_environment_is_heeded_even_where_sshd_takes_all_of_it(
    machine: Machine, shown: dict[str, str], attack: str
) -> None:
    name, _, value = VARIABLES[attack].partition("=")

    assert set(shown) <= {"PATH", "HOME", "LC_ALL", "SSH_CONNECTION", "PWD", "SHLVL", "_", "OLDPWD"}
    assert value not in shown.get(name, "")
    assert not any("/srv/evil" in each for each in shown.values())
    assert not owned(machine)


# ---------------------------------------------------------------- somebody who is in as the login already

SUDO = {
    "the program with an argument": ("sudo", "-n", PROGRAM, "--list"),
    "a shell": ("sudo", "-n", "/bin/sh", "-c", "cat /srv/outside/secret"),
    "Python itself": ("sudo", "-n", "/usr/bin/python3", "-c", "print(open('/srv/outside/secret').read())"),
    "the program by Python's hand": ("sudo", "-n", "/usr/bin/python3", "-IS", PROGRAM),
    "the program as another user": ("sudo", "-n", "-u", "vmail", PROGRAM),
    "the program with all of the environment": ("sudo", "-n", "-E", PROGRAM),
    "the program with a variable": ("sudo", "-n", "PYTHONPATH=/srv/evil", PROGRAM),
    "the program in another folder": ("sudo", "-n", "-D", "/srv/evil", PROGRAM),
    "the program by a longer way": ("sudo", "-n", "/opt/failsafe-server/../failsafe/./server.py"),
    "the program by a link": ("sudo", "-n", "/srv/evil/linked.py"),
    "the list in an editor": ("sudoedit", "-n", LIST),
    "a login shell": ("sudo", "-n", "-i"),
    "its own rule": ("sudo", "-n", "cat", "/etc/sudoers.d/failsafe-server"),
}  # fmt: skip


@pytest.mark.parametrize("attack", SUDO)
def test_the_rule_of_sudo_allows_one_program_as_it_is_and_nothing_else(machine: Machine, attack: str) -> None:
    machine.sh(f"ln -sf {PROGRAM} /srv/evil/linked.py")

    said = machine.run("runuser", "-u", "failsafe", "--", *SUDO[attack], check=False)

    assert '"hello"' not in said
    assert LEAK not in said
    assert "sudo" in said, "it is sudo that refuses"
    assert not owned(machine)


WRITES = {
    "the program": f"echo x >>{PROGRAM}",
    "another program in its place": f"mv /srv/evil/json.py {PROGRAM}",
    "what starts it": "echo x >>/opt/failsafe-server/serve",
    "the list": f"echo x >>{LIST}",
    "the list's content": f"cat {LIST}",
    "the line of the key": "echo x >>/opt/failsafe-server/.ssh/authorized_keys",
    "a second key": "touch /opt/failsafe-server/.ssh/authorized_keys2",
    "what sshd runs at a login": "touch /opt/failsafe-server/.ssh/rc",
    "what sshd sets at a login": "touch /opt/failsafe-server/.ssh/environment",
    "a start file of a shell": "touch /opt/failsafe-server/.profile",
}  # fmt: skip


@pytest.mark.parametrize("attack", WRITES)
def test_who_is_in_as_the_login_cannot_change_what_the_key_may_do(machine: Machine, attack: str) -> None:
    said = machine.run("runuser", "-u", "failsafe", "--", "sh", "-c", WRITES[attack], check=False)

    assert "Permission denied" in said


# ---------------------------------------------------------------- a list that is not root's alone

LISTS = {
    "others may write it": (f"chmod o+w {LIST}", "must belong to root and be writable by root alone"),
    "its group may write it": (f"chmod g+w {LIST}", "must belong to root and be writable by root alone"),
    "it belongs to the login": (f"chown failsafe {LIST}", "must belong to root and be writable by root alone"),
    "it belongs to the mail's user": (f"chown vmail {LIST}", "must belong to root and be writable by root alone"),
    "its folder may be written by others": ("chmod o+w /etc", "/etc must belong to root"),
    "it is a link to a list of somebody's": (f"mv {LIST} /srv/evil/list; ln -s /srv/evil/list {LIST}", "a symbolic link"),
    "it is a folder": (f"rm {LIST}; mkdir {LIST}", "Is a directory"),
    "it is a pipe": (f"rm {LIST}; mkfifo -m 600 {LIST}", "must be a file"),
    "it is not there": (f"rm {LIST}", "No such file or directory"),
    "it is empty": (f": >{LIST}", "Expecting value"),
    "it is no JSON": (f"echo nonsense >{LIST}", "Expecting value"),
    "it is no object": (f"echo '[]' >{LIST}", "root"),
    "it has no root": (f"echo '{{}}' >{LIST}", "root"),
    "its root is no whole path": (f"""echo '{{"root": "vmail"}}' >{LIST}""", "must be whole paths"),
    "it is five megabytes long": (f"head -c 5000000 /dev/zero | tr '\\\\0' ' ' >{LIST}", "at most"),
}  # fmt: skip


@pytest.mark.parametrize("fault", LISTS)
def test_a_list_that_is_not_as_it_should_be_is_refused_and_then_nothing_is_read(machine: Machine, fault: str) -> None:
    plant, words = LISTS[fault]

    with spoilt_list(machine, plant):
        said, _ = start_it(machine, PRELUDE + request(b"read", b"files", b"0", b"fine") + request(*STILL_WELL))

    assert words in str(said.hello["fault"])
    assert said.answered == 0
    assert len(said.refusals) == 2
    assert not said.leaks(b"fine\n", b"Traceback")


def test_it_works_again_afterwards(machine: Machine) -> None:
    assert ask(machine, b"read", b"files", b"0", b"fine").answered == 2
