"""Runs inside the sender: TAG RECIPIENT SECONDS_BETWEEN. Sends numbered messages to its own Postfix until SIGTERM.

Prints the id of each message that Postfix took responsibility for, one a line. SIGUSR1: a burst of BURST messages at once.
"""

import signal
import smtplib
import sys
import time
from email.utils import formatdate

AUTHOR = "somebody@sender.test"
BURST = 60
BODY = "Nobody reads this line, but nobody may lose it.\r\n" * 10


def message(lab_id: str, recipient: str) -> bytes:
    head = (
        f"From: {AUTHOR}\r\nTo: {recipient}\r\nSubject: {lab_id}\r\nDate: {formatdate()}\r\n"
        f"Message-ID: <{lab_id}@sender.test>\r\nX-Lab-Id: {lab_id}\r\n\r\n"
    )
    return (head + BODY).encode("ascii")


def main(tag: str, recipient: str, pause: float) -> None:
    wanted, sent = {signal.SIGTERM, signal.SIGUSR1}, 0
    with smtplib.SMTP("127.0.0.1", 25, timeout=60, local_hostname="somewhere.sender.test") as smtp:
        while True:
            asked = signal.sigtimedwait(wanted, pause)
            if asked is not None and asked.si_signo == signal.SIGTERM:
                return
            for _ in range(BURST if asked is not None else 1):
                lab_id = f"{tag}-{sent}"
                smtp.sendmail(AUTHOR, [recipient], message(lab_id, recipient))
                print(lab_id, f"{time.time():.3f}", flush=True)
                sent += 1


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
