"""One suite for both MailHosts: this machine, and a real sshd on loopback."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from failsafe.adapters.local import LocalHost
from failsafe.adapters.ssh import SshHost
from failsafe.errors import FailsafeError, HostKeyError, ProcessError, SshError
from failsafe.ports import Channel, MailHost
from tests.contract.conftest import Sshd, make_key
from tests.ports import free_port
from tests.support import wait_until

Maker = Callable[..., MailHost]


@pytest.fixture(params=["local", "ssh"])
def make_host(request: pytest.FixtureRequest) -> Maker:
    if request.param == "local":
        return lambda **options: LocalHost("here", **options)
    sshd: Sshd = request.getfixturevalue("sshd")
    return lambda **options: SshHost("there", sshd.address, key=sshd.key, known_hosts=sshd.known_hosts, **options)


def everything(channel: Channel) -> bytes:
    pieces = []
    while piece := channel.receive(65536):
        pieces.append(piece)
    return b"".join(pieces)


def test_what_is_sent_comes_back(make_host: Maker) -> None:
    channel = make_host(silence_deadline=20.0).open(["cat"])
    data = os.urandom(41_000)
    channel.send(data[:1000])
    channel.send(data[1000:40_000])
    got = channel.receive(100)
    channel.send(data[40_000:41_000])
    while len(got) < 41_000:
        got += channel.receive(65536)
    channel.close()
    assert got == data[:41_000]


def test_words_of_a_command_are_not_interpreted(make_host: Maker) -> None:
    words = ["a b", "$HOME", "*", "'", '"', "", ";true", "ü"]
    channel = make_host().open(["printf", "%s\\n", *words])
    assert everything(channel).decode().split("\n")[:-1] == words
    channel.close()


def test_the_end_of_the_stream_is_empty(make_host: Maker) -> None:
    channel = make_host().open(["true"])
    assert channel.receive(10) == b""
    channel.close()


def test_a_failing_program_is_an_error_with_what_it_said(make_host: Maker) -> None:
    channel = make_host().open(["sh", "-c", "echo out; echo the reason >&2; exit 4"])
    with pytest.raises(ProcessError, match=r"status 4[\s\S]*the reason"):
        everything(channel)
    channel.close()


def test_much_talk_on_stderr_does_not_stop_the_stream(make_host: Maker) -> None:
    script = "i=0; while [ $i -lt 400 ]; do head -c 10000 /dev/zero >&2; echo x; i=$((i+1)); done"
    channel = make_host().open(["sh", "-c", script])
    assert everything(channel) == b"x\n" * 400
    channel.close()


def test_a_program_that_is_not_there_is_named(make_host: Maker) -> None:
    with pytest.raises(FailsafeError) as caught:
        everything(make_host().open(["failsafe-no-such-program"]))
    assert "failsafe-no-such-program" in str(caught.value)
    assert "install" in caught.value.mend


def test_silence_has_a_deadline(make_host: Maker) -> None:
    channel = make_host(silence_deadline=1.0).open(["sleep", "60"])
    with pytest.raises((SshError, ProcessError), match="nothing"):
        channel.receive(1)
    channel.close()


def test_closing_ends_a_program_that_writes(make_host: Maker, tmp_path: Path) -> None:
    channel = make_host().open(["sh", "-c", f"echo $$ > {tmp_path}/pid; exec yes"])
    assert channel.receive(10)
    pid = int((tmp_path / "pid").read_text())
    channel.close()
    wait_until(lambda: not alive(pid), 20, "the program is gone")


def test_closing_twice_is_safe(make_host: Maker) -> None:
    channel = make_host().open(["cat"])
    channel.close()
    channel.close()


def alive(pid: int) -> bool:
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout.strip()
    return bool(found) and not found.startswith("Z")


# ---------------------------------------------------------------- SSH alone


def test_an_unknown_host_key_is_refused_with_its_fingerprint(sshd: Sshd, tmp_path: Path) -> None:
    (tmp_path / "known_hosts").write_text("")
    host = SshHost("there", sshd.address, key=sshd.key, known_hosts=tmp_path / "known_hosts")
    with pytest.raises(HostKeyError, match="SHA256:") as caught:
        host.open(["true"])
    assert "ssh-keyscan" in caught.value.mend
    assert "fingerprint" in caught.value.mend


def test_a_changed_host_key_is_refused(sshd: Sshd, tmp_path: Path) -> None:
    other = make_key(tmp_path / "other").with_suffix(".pub").read_text().split()
    (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{sshd.port} {other[0]} {other[1]}\n")
    host = SshHost("there", sshd.address, key=sshd.key, known_hosts=tmp_path / "known_hosts")
    with pytest.raises(HostKeyError, match="another host key"):
        host.open(["true"])


def test_a_missing_known_hosts_file_says_how_to_make_it(sshd: Sshd, tmp_path: Path) -> None:
    host = SshHost("there", sshd.address, key=sshd.key, known_hosts=tmp_path / "nowhere")
    with pytest.raises(HostKeyError) as caught:
        host.open(["true"])
    assert f"ssh-keyscan -p {sshd.port} 127.0.0.1" in caught.value.mend


def test_a_key_that_the_server_does_not_know_is_a_lasting_error(sshd: Sshd, tmp_path: Path) -> None:
    host = SshHost("there", sshd.address, key=make_key(tmp_path / "stranger"), known_hosts=sshd.known_hosts)
    with pytest.raises(SshError, match="login") as caught:
        host.open(["true"])
    assert not caught.value.transient
    assert "authorized_keys" in caught.value.mend


def test_an_unreachable_server_is_a_passing_error(sshd: Sshd) -> None:
    host = SshHost("there", f"root@127.0.0.1:{free_port()}", key=sshd.key, known_hosts=sshd.known_hosts)
    with pytest.raises(SshError, match="not reachable") as caught:
        host.open(["true"])
    assert caught.value.transient


def test_a_missing_key_file_is_named(sshd: Sshd, tmp_path: Path) -> None:
    host = SshHost("there", sshd.address, key=tmp_path / "none", known_hosts=sshd.known_hosts)
    with pytest.raises(SshError, match=str(tmp_path / "none")):
        host.open(["true"])


def test_a_cut_connection_is_an_error(sshd: Sshd) -> None:
    channel = SshHost("there", sshd.address, key=sshd.key, known_hosts=sshd.known_hosts).open(["yes"])
    channel.receive(10)
    sshd.cut()
    with pytest.raises(SshError, match="cut"):
        everything(channel)
    channel.close()
