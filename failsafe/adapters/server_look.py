"""Looks at a mail server once, before anything is set up: sends lookside.py along, and reads its answers."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from failsafe.backup.source import parse_sight
from failsafe.errors import ExternalError, SshError
from failsafe.mail.replies import printable
from failsafe.ports import MailHost
from failsafe.setting_up.sight import MailFolder, ServerSight, Size

MOST_BYTES = 8 << 20  # of answers
NO_PYTHON = "install Python 3 there: a pull over SSH needs it; without it, mail can be read over IMAP (layout imap)"


def look_at_server(host: MailHost, folders: Sequence[str] = ()) -> ServerSight:
    """One read-only command. What goes wrong is in `trouble`; never raises ExternalError."""
    program = Path(__file__).with_name("lookside.py").read_text(encoding="utf-8")
    data = bytearray()
    try:
        with contextlib.closing(host.open(["python3", "-I", "-c", program, json.dumps({"folders": list(folders)})])) as channel:
            while piece := channel.receive(1 << 16):
                data += piece
                if len(data) > MOST_BYTES:
                    return ServerSight(trouble=f"{host.name} answers without end")
    except ExternalError as error:
        missing = "python3" in str(error) and "not found" in str(error)
        return ServerSight(trouble=printable(str(error).strip().splitlines()[0]), mend=NO_PYTHON if missing else error.mend)
    try:
        return parse_look([json.loads(line) for line in data.splitlines() if line.strip()])
    except (ValueError, KeyError, TypeError, AttributeError, SshError):
        return ServerSight(trouble=f"{host.name}: something else than our program answered")


def parse_look(rows: Sequence[dict[str, Any]]) -> ServerSight:
    """Raises ValueError, KeyError, TypeError for answers that are none of our program's."""
    if not rows or rows[0].get("look") != 1 or not rows[-1].get("end"):
        raise ValueError("no answer of our program")
    sight = parse_sight([{key: value for key, value in row.items() if key != "path"} for row in rows])
    closed = tuple(f"{row['closed']}: {row['why']}" for row in rows if "closed" in row)
    return ServerSight(
        python=str(rows[0]["python"]),
        containers=sight,
        folders=tuple(MailFolder(str(row["mail"]), int(row["mailboxes"]), str(row["owner"])) for row in rows if "mail" in row),
        sizes=tuple(
            (str(row["size"]), Size(int(row["bytes"]), int(row["files"]), row["whole"] is True)) for row in rows if "size" in row
        ),
        dovecot=rows[0].get("dovecot") is True,
        trouble="; ".join((*((sight.trouble,) if sight.trouble else ()), *closed)),
    )
