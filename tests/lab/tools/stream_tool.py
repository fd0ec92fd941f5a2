"""Runs inside a host: SERVER TAG RECIPIENT EVERY: hands over a small numbered message every EVERY seconds, until it is killed."""

import smtplib
import sys
import time
from email.utils import formatdate
from itertools import count

AUTHOR = "somebody@sender.test"


def message(lab_id: str, recipient: str) -> bytes:
    """One message that can be recognised again."""
    return (
        f"From: {AUTHOR}\r\nTo: {recipient}\r\nSubject: {lab_id}\r\nDate: {formatdate()}\r\n"
        f"Message-ID: <{lab_id}@sender.test>\r\nX-Lab-Id: {lab_id}\r\n\r\nbody\r\n"
    ).encode("ascii")


def main(server: str, tag: str, recipient: str, every: str) -> None:
    for number in count():
        with smtplib.SMTP(server, 25, timeout=20, local_hostname="somewhere.sender.test") as smtp:
            smtp.sendmail(AUTHOR, [recipient], message(f"{tag}-{number}", recipient))
        time.sleep(float(every))


main(*sys.argv[1:])
