"""Runs inside a host: SERVER COUNT TAG RECIPIENT BODY_SIZE. Sends numbered messages; prints the ids accepted."""

import json
import smtplib
import sys
from email.utils import formatdate

AUTHOR = "somebody@sender.test"


def message(lab_id: str, recipient: str, size: int) -> bytes:
    """One message that can be recognised again."""
    lines = [f"{lab_id} line {number:06d} of a body that nobody reads" for number in range(size // 60 + 1)]
    head = (
        f"From: {AUTHOR}\r\nTo: {recipient}\r\nSubject: {lab_id}\r\nDate: {formatdate()}\r\n"
        f"Message-ID: <{lab_id}@sender.test>\r\nX-Lab-Id: {lab_id}\r\n\r\n"
    )
    return (head + "\r\n".join(lines) + "\r\n").encode("ascii")


def main(server: str, count: str, tag: str, recipient: str, size: str) -> list[str]:
    accepted = []
    with smtplib.SMTP(server, 25, timeout=20, local_hostname="somewhere.sender.test") as smtp:
        for number in range(int(count)):
            lab_id = f"{tag}-{number}"
            try:
                smtp.sendmail(AUTHOR, [recipient], message(lab_id, recipient, int(size)))
                accepted.append(lab_id)
            except smtplib.SMTPResponseException as error:
                print(lab_id, error, file=sys.stderr)
            except smtplib.SMTPRecipientsRefused as error:
                print(lab_id, error, file=sys.stderr)
    return accepted


print(json.dumps(main(*sys.argv[1:])))
