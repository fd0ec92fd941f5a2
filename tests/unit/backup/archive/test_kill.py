"""kill -9 at any moment: what was committed stays whole, and the next run goes on."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

from failsafe.backup.archive import Staging
from tests.support import wait_until

ROUNDS = 12
WRITER = """
import sys
from pathlib import Path
from failsafe.backup.archive import Staging
from tests.unit.backup.archive.sample import ANNA, BERT, Folder, mails, store

with Staging.open(Path(sys.argv[1]), "vps") as staging:
    newest = staging.newest()
    while True:
        done = newest.number if newest else 0
        world = {box: ("maildir++", (Folder("INBOX", "", mails(30 + done, 1 + 40 * done)),)) for box in (ANNA, BERT)}
        newest = store(staging, world)
        staging.collect({newest.number - 1})
        print(newest.number, flush=True)
"""


def test_a_kill_at_any_moment_leaves_the_newest_generation_whole(tmp_path: Path) -> None:
    choose = random.Random(42)
    folder, log = tmp_path / "staging", tmp_path / "log"
    committed = 0
    for _ in range(ROUNDS):
        log.write_text("")
        with log.open("w") as output:
            writer = subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=output, stderr=output)
            try:
                wanted = choose.randrange(1, 4)
                wait_until(lambda: len(log.read_text().split()) >= wanted, 60, "generations are committed", every=0.003)  # noqa: B023
                wait_until(lambda: choose.random() < 0.2, 60, "a random moment", every=0.001)
            finally:
                writer.send_signal(signal.SIGKILL)
                writer.wait()

        told = int(log.read_text().split()[-1])
        with Staging.open(folder, "vps") as staging:
            newest = staging.newest()
            assert newest is not None
            assert newest.number >= told > committed
            assert [str(problem) for problem in staging.archive.verify(newest, read_messages=True)] == []
            assert list((folder / ".failsafe-unfinished").iterdir()) == []
        committed = newest.number
