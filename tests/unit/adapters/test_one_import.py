"""Threads that need Paramiko for the first time at the same time all get it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys, threading
sys.setswitchinterval(1e-6)
from pathlib import Path
from failsafe.adapters.host_keys import known_keys
from failsafe.adapters.ssh import SshHost
from failsafe.errors import SshError
faults = []
def run(task):
    try:
        task()
    except SshError:
        pass
    except BaseException as error:
        faults.append(repr(error))
file = Path(sys.argv[1])
tasks = [lambda: known_keys(file, "127.0.0.1", 22), lambda: SshHost("vps", "x@127.0.0.1:9", known_hosts=file).open(["true"])] * 4
threads = [threading.Thread(target=run, args=(task,)) for task in tasks]
for thread in threads: thread.start()
for thread in threads: thread.join()
print("; ".join(faults))
"""


def test_threads_that_first_need_paramiko_at_the_same_time_all_get_it(tmp_path: Path) -> None:
    known_hosts = tmp_path / "known_hosts"
    known_hosts.touch()

    done = subprocess.run([sys.executable, "-c", PROGRAM, known_hosts], capture_output=True, text=True, timeout=120, check=False)

    assert (done.stdout.strip(), done.returncode) == ("", 0), done
