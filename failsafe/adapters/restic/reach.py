"""How restic reaches a place across a network: the ssh it may use for sftp, and credentials of a REST server. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from failsafe.secrets import Secret

USER, PASSWORD = "RESTIC_REST_USERNAME", "RESTIC_REST_PASSWORD"
_SHORT = re.compile(r"(?i)^sftp:(?!//)(?:([^@/:]+)@)?(\[[0-9a-f:.]+\]|[^:/\[\]]+):")
_LONG = re.compile(r"(?i)^sftp://(?:([^@/:]+)@)?(\[[0-9a-f:.]+\]|[^:/\[\]]+)(?::(\d{1,5}))?/")


def sftp_options(url: str, key: Path | None, known_hosts: Path | None) -> tuple[str, ...]:
    """For every restic the whole command: nobody is there to answer ssh, the host key is always checked, and a dead line is noticed.

    () for another kind of URL. What is not given comes from ~/.ssh, as for ssh by hand: aliases of ~/.ssh/config work.
    """
    place = sftp_place(url)
    if place is None:
        return ()
    user, host, port = place
    settings = [
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        "ConnectTimeout=15",
        "ServerAliveInterval=15",
        "ServerAliveCountMax=8",
    ]
    if known_hosts is not None:
        settings += [f"UserKnownHostsFile={known_hosts}", "GlobalKnownHostsFile=/dev/null"]
    if key is not None:
        settings.append("IdentitiesOnly=yes")
    words = ["ssh", *(part for setting in settings for part in ("-o", setting))]
    words += ["-i", str(key)] if key is not None else []
    words += ["-p", port] if port else []
    words += ["-l", user] if user else []
    return ("-o", f"sftp.command={shlex.join([*words, host, '-s', 'sftp'])}")


def sftp_place(url: str) -> tuple[str, str, str] | None:
    """(user, host or alias, port) of an sftp: URL, "" where one is not named; None for another kind of URL."""
    found = _LONG.match(url) or _SHORT.match(url)
    if found is None:
        return None
    user, host, *rest = found.groups()
    return user or "", host.strip("[]"), (rest[0] or "") if rest else ""


def with_credentials(url: str, environment: Mapping[str, Secret]) -> str:
    """A REST server's URL with the credentials in it, for a restic that knows no variables for them. Only for its environment, never an argument."""
    found = re.match(r"(?i)^(rest:https?://)([^@/]+(?:/.*)?)$", url)
    if found is None or USER not in environment:
        return url
    secret = environment[PASSWORD].reveal() if PASSWORD in environment else ""
    return f"{found[1]}{quote(environment[USER].reveal(), safe='')}:{quote(secret, safe='')}@{found[2]}"
