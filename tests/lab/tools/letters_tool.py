"""Runs inside a host: SERVER. Sends the letters of a plan on standard input; prints the ids of those that the server took.

The plan is a JSON list of {"id", "to": [addresses], "message_id": text or null, "date", "size"}.
"""

import json
import smtplib
import sys
from typing import Any

AUTHOR = "somebody@sender.test"


def letter(one: dict[str, Any]) -> bytes:
    lines = [f"{one['id']} line {number:06d} of a body that nobody reads" for number in range(one["size"] // 60 + 1)]
    identity = f"Message-ID: <{one['message_id']}>\r\n" if one["message_id"] else ""
    head = f"From: {AUTHOR}\r\nTo: {', '.join(one['to'])}\r\nSubject: letter\r\nDate: {one['date']}\r\n{identity}X-Lab-Id: {one['id']}\r\n\r\n"
    return (head + "\r\n".join(lines) + "\r\n").encode("ascii")


def main(server: str) -> list[str]:
    with smtplib.SMTP(server, 25, timeout=30, local_hostname="somewhere.sender.test") as smtp:
        return [one["id"] for one in json.load(sys.stdin) if not smtp.sendmail(AUTHOR, one["to"], letter(one))]


print(json.dumps(main(*sys.argv[1:])))
