"""Somebody who writes to alice all the time, through a real Postfix that follows the MX records."""

import signal
import subprocess

from tests.demo.witness import TOOLS
from tests.lab.lab import Lab
from tests.lab.names import ALICE, PYTHON

TAG = "mail"
PAUSE = 0.25  # seconds between two messages


class Traffic:
    """Numbered mail, from now until `stop`. The ids: mail-0, mail-1, …"""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._job = lab.sender.popen(PYTHON, TOOLS / "steady_sender.py", TAG, ALICE, str(PAUSE))

    def sent(self) -> dict[str, float]:
        """The messages that the sender's Postfix has taken responsibility for, and when (seconds since 1970)."""
        whole, _, _ = self._job.stdout().rpartition("\n")
        return {lab_id: float(at) for lab_id, at in (line.split() for line in whole.splitlines())}

    def burst(self) -> None:
        """Many at once."""
        self._job.send_signal(signal.SIGUSR1)

    def stop(self) -> None:
        """Write no more. Raises RuntimeError if the writer had failed before."""
        self._job.send_signal()
        try:
            status = self._job.wait(30)
        except subprocess.TimeoutExpired:
            status = -1
        if status:
            raise RuntimeError(f"the writer of mail ended with {status}: {self._job.stderr()}")

    def close(self) -> None:
        self._job.close()
