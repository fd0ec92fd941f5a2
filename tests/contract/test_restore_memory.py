"""A message of 200 MB goes from the archive to every destination in pieces: the peak of our own memory does not grow with it."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.dovecot import Dovecot, look, running
from tests.contract.test_restore import ANN, BOB, Home

pytestmark = [pytest.mark.timeout(900), pytest.mark.skipif(shutil.which("restic") is None, reason="restic is not installed")]

SIZE = 200_000_000
# A whole message in memory would be 200 MB more than failsafe needs anyway. Measured with everything in pieces: 63 MB for files, 87 MB over IMAP.
MOST = 128 << 20
PLACES = ["maildir:out", "imap", *(["eml:out", "mbox:out", "zip:out"] if os.environ.get("FAILSAFE_ALL") else [])]
# Runs failsafe and notes the largest resident size that its own process ever had; restic is a process of its own.
MEASURED = """
import atexit, os, sys
def note():
    with open("/proc/self/status") as status, open(os.environ["PEAK_FILE"], "w") as file:
        file.write(next(line.split()[1] for line in status if line.startswith("VmHWM")))
atexit.register(note)
from failsafe.cli import main
main()
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    with running([ANN, BOB]) as dovecot:
        yield dovecot


@pytest.fixture(scope="module")
def home(server: Dovecot, tmp_path_factory: pytest.TempPathFactory) -> Home:
    made = Home(tmp_path_factory.mktemp("large"), server)
    made.configure()
    place = server.folder / "mail/example.org/ann"
    for part in ("cur", "new", "tmp"):
        (place / part).mkdir(parents=True)
    lines = base64.encodebytes(random.Random(1).randbytes(57 * 20_000)).replace(b"\n", b"\r\n")
    with (place / "cur" / "1600000000.large.host:2,S").open("wb") as file:
        file.write(b"Subject: large\r\nMessage-ID: <large@x>\r\n\r\nFrom here\r\n")
        while file.tell() < SIZE:
            file.write(lines)
    os.utime(place / "cur" / "1600000000.large.host:2,S", (1_600_000_000, 1_600_000_000))
    subprocess.run(["chown", "-R", "5000:5000", str(server.folder / "mail")], check=True)
    made.backup()
    return made


@pytest.mark.parametrize("to", PLACES)
def test_a_message_of_200_mb_is_never_whole_in_memory(home: Home, to: str) -> None:
    original = home.server.folder / "mail/example.org/ann/cur/1600000000.large.host:2,S"
    words = ["--into-mailbox", BOB, "--imap-password-file", str(home.folder / "imap.password")] if to == "imap" else []
    command = [
        sys.executable,
        "-c",
        MEASURED,
        "--config",
        str(home.folder / "failsafe.toml"),
        "restore",
        "--mailbox",
        ANN,
        "--to",
        to,
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "PEAK_FILE": str(home.folder / "peak")}
    done = subprocess.run(
        [*command, *words, "--yes"], cwd=home.folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1 added (read back and right)")
    peak = int((home.folder / "peak").read_text()) << 10
    print(f"{to}: peak of {peak >> 20} MB for a message of {original.stat().st_size // 1_000_000} MB")
    assert peak < MOST
    if to.startswith("maildir"):
        (restored,) = (home.folder / "out/example.org/ann/cur").iterdir()
        assert digest(restored) == digest(original)
    if to == "imap":
        assert [len(rows) for rows in look(home.server, BOB).values()] == [1]
    out = home.folder / "out"
    shutil.rmtree(out) if out.is_dir() else out.unlink(missing_ok=True)


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
