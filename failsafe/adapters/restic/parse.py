"""What restic says, turned into facts. Pure. restic mixes JSON, plain text and control codes on both streams: nothing here trusts a line.

Only exit code 0 is success. An exit code that is not known is a failure; a text is read only to say which failure it was.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from failsafe.adapters.restic.capabilities import Capabilities
from failsafe.model import SnapshotInfo

_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
_ELAPSED = re.compile(r"^\[\d+:\d+(?::\d+)?\]")
_ID = re.compile(r"[0-9a-f]{64}\Z")
_TICKING = ("seconds_elapsed", "seconds_remaining", "current_files")  # parts of a status that change although nothing moves
_FRAME = re.compile(
    r"\S+\.(?:go|s):\d+|(?:main|runtime|[a-z0-9.-]+\.[a-z]+(?:/[\w.-]+)+)\.\S+"
)  # of a Go stack, which 0.14 and 0.19 print after an error
_TAKEN = ("new", "modified", "unchanged")
WORDS = 12  # lines of restic's own words in an error


@dataclass(frozen=True, slots=True)
class Summary:
    """The end of `restic backup --json`. The id has 8 digits on 0.14, 64 later, and is empty where nothing was written."""

    snapshot_id: str
    bytes_added: int
    files: int


@dataclass(frozen=True, slots=True)
class Status:
    """A line of progress of backup or restore."""

    bytes_done: int
    bytes_total: int


@dataclass(frozen=True, slots=True)
class Failure:
    """Which failure it was (a word of ResticError.KINDS), in words, and what to do."""

    kind: str
    text: str
    mend: str = ""
    transient: bool = True


def as_json(line: str) -> dict[str, Any] | None:
    """A JSON object on a line of its own, behind control codes or not; None for everything else."""
    text = _CONTROL.sub("", line).strip()
    if not text.startswith("{"):
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def progress_key(line: str) -> str:
    """What of a line moves only when the work does: restic ticks once a second even when it is stuck."""
    value = as_json(line)
    if value is None:
        return _ELAPSED.sub("", _CONTROL.sub("", line)).strip()
    return json.dumps({name: part for name, part in value.items() if name not in _TICKING}, sort_keys=True)


def parse_status(value: dict[str, Any]) -> Status | None:
    if value.get("message_type") != "status":
        return None
    done = value.get("bytes_done", value.get("bytes_restored", 0))
    return Status(_number(done), _number(value.get("total_bytes", 0)))


def parse_summary(value: dict[str, Any]) -> Summary | None:
    """None for another line. `data_added_packed` is there from 0.17 on; before, the raw size is the best word."""
    if value.get("message_type") != "summary":
        return None
    added = value.get("data_added_packed", value.get("data_added", 0))
    return Summary(str(value.get("snapshot_id", "")), _number(added), _number(value.get("total_files_processed", 0)))


def parse_snapshots(text: str) -> tuple[SnapshotInfo, ...]:
    """Oldest first. Raises ValueError where it is not the list it should be.

    Where nothing can be deleted, a snapshot that was given other tags stays beside the one that has them: the later word counts for both.
    """
    for line in text.splitlines():  # "Ignoring …" may stand before it
        if line.startswith("[") or line.strip() == "null":
            listed = json.loads(line) or []
            found = sorted((parse_snapshot(value) for value in listed), key=lambda info: (info.at, info.id))
            told_anew = {info.original: info.tags for info in found if info.original}
            return tuple(replace(info, tags=told_anew.get(info.id, info.tags)) for info in found)
    raise ValueError("no list of snapshots")


def parse_snapshot(value: dict[str, Any]) -> SnapshotInfo:
    """Raises ValueError (KeyError, TypeError) for anything that is not a snapshot with a full id."""
    if not _ID.match(value["id"]):
        raise ValueError("a snapshot without a full id")
    at = datetime.fromisoformat(value["time"]).astimezone(UTC)
    tags, original = tuple(value.get("tags") or ()), str(value.get("original") or "")
    return SnapshotInfo(value["id"], str(value.get("hostname", "")), at, tags, original)


def parse_node(line: str) -> tuple[str, int] | None:
    """(path, size) of a file in a line of `restic ls --json`; the path is relative to the snapshot's root."""
    value = as_json(line)
    if value is None or value.get("type") != "file" or "path" not in value:
        return None
    return str(value["path"]).lstrip("/"), _number(value.get("size", 0))


def parse_taken(value: dict[str, Any]) -> str | None:
    """The file of which `backup --json --verbose=2` says that the snapshot has it, relative to the root; None for another line, and for a folder.

    The actions are new, modified and unchanged on 0.14, 0.18 and 0.19; a file that could not be read has no such line.
    """
    item = value.get("item")
    if value.get("message_type") != "verbose_status" or value.get("action") not in _TAKEN or not isinstance(item, str):
        return None
    return None if item.endswith("/") else item.lstrip("/")


def parse_config_id(lines: Iterable[str]) -> str | None:
    """The repository's id from `restic cat config`, which prints indented JSON among other words."""
    text = "\n".join(lines)
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        return None
    try:
        found = json.loads(text[start : end + 1]).get("id", "")
    except (ValueError, AttributeError):
        return None
    return found if isinstance(found, str) and _ID.match(found) else None


_SIZE_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_GROUP = re.compile(r"read group #\d+ of (\d+) data packs \(out of total (\d+) packs")
_COUNTED = re.compile(r"^\[[\d:]+\] +[\d.]+% +(\d+) / (\d+) (\S.*)$")
_PRUNED = re.compile(r"^(total prune|remaining): +\d+ blobs / ([\d.]+) ([KMGT]?i?B)")


def parse_packs(lines: Iterable[str]) -> tuple[int, int] | None:
    """(files of data read, all of them) from the words of `restic check --read-data-subset`; the same on all versions."""
    found = next((match for line in lines if (match := _GROUP.search(line))), None)
    return None if found is None else (int(found[1]), int(found[2]))


def parse_prune(lines: Iterable[str]) -> dict[str, int]:
    """{"total prune": bytes, "remaining": bytes} from the words of `restic prune`; what it did not say is not in it."""
    said = (match for line in lines if (match := _PRUNED.match(_CONTROL.sub("", line))))
    return {match[1]: round(float(match[2]) * _SIZE_UNITS[match[3]]) for match in said}


def unread_items(lines: Iterable[str]) -> Iterator[str]:
    """Files that a backup could not read, with the reason, from its stderr."""
    for line in lines:
        value = as_json(line)
        if value is not None and value.get("message_type") == "error":
            yield f"{value.get('item', '')}: {_reason(value.get('error'))}"


def words(stderr: Sequence[str]) -> str:
    """restic's own words without the JSON around them, the last lines, for a person."""
    said: list[str] = []
    for line in stderr:
        value = as_json(line)
        if value is None:
            text = _CONTROL.sub("", line).strip()
        elif value.get("message_type") == "error":
            text = f"{value.get('item', '')}: {_reason(value.get('error'))}"
        else:
            text = str(value.get("message", ""))
        said.extend(part for line_ in text.splitlines() if (part := line_.strip()) and not _FRAME.fullmatch(part))
    return "\n".join(said[-WORDS:])


def parse_counted(line: str) -> tuple[int, int, str] | None:
    """(done, of how many, of what) of a line of prune's progress, "[0:01] 75.00%  3 / 4 packs repacked"; the same on all versions."""
    found = _COUNTED.match(_CONTROL.sub("", line).strip())
    return None if found is None else (int(found[1]), int(found[2]), found[3])


def is_refusal(said: str) -> bool:
    """Whether the place let us in and would not let us change it."""
    low = said.lower()
    return any(sign in low for sign in ("read-only file system", "permission denied", "access denied", "accessdenied", "403"))


def judge_failure(code: int, stderr: Sequence[str], capabilities: Capabilities) -> Failure:
    """Which failure an exit code other than 0 was."""
    said = words(stderr)
    known = _by_code(code, capabilities) or _by_words(said, capabilities)
    if known is None and (code < 0 or code in (130, 143) or "signal interrupt received" in said):  # 0.18 ends with 1 then
        known = ("interrupted", _mend_by_words(said), True)
    kind, mend, transient = known or ("failed", _mend_by_words(said), True)
    return Failure(kind, said or f"restic ended with code {code} and said nothing", mend, transient)


_MENDS = {
    "no-repository": "look at the URL; `failsafe backup` creates a repository where there is none yet",
    "wrong-password": "put the repository's own password into its password_file; nobody can read it without",
    "locked": "another restic is at work there; wait, or end it and run: restic unlock",
    "disk-full": "make room where the repository lies, then run the backup again",
    "ssh-key": "ssh does not let us in: set ssh_key of the repository to a key without a passphrase whose .pub stands in authorized_keys there",
    "sftp": "ssh began no session (newer restics may end before its own words arrive): is the machine up, its host key in known_hosts, "
    "our ssh_key in its authorized_keys? Try: ssh -o BatchMode=yes -i KEY USER@HOST",
    "host-key": "add the server's host key to known_hosts, after comparing its fingerprint",
    "unreachable": "check that the place of the repository is up and reachable from here, and its address",
}

_ABSENT = (  # definite words for "nothing is there", by backend; everything else may be a repository that cannot be read just now
    "no such file or directory",  # local
    "file does not exist",  # sftp
    "does not exist",  # s3 (key, bucket), rest
)
_UNREACHABLE = (
    "connection refused",
    "connection reset",
    "no such host",
    "i/o timeout",
    "no route to host",
    "network is unreachable",
    "tls handshake timeout",
    "server misbehaving",
    "could not resolve hostname",
    "unable to start the sftp session",
    "connection timed out",
    "stale file handle",
    "host is down",
    "transport endpoint is not connected",
)


_TROUBLED = (
    "internal server error", "internal error", "service unavailable", "slow down", "slowdown", "bad gateway", "reduce your request rate",
)  # fmt: skip


def _by_code(code: int, capabilities: Capabilities) -> tuple[str, str, bool] | None:
    if not capabilities.has_exit_codes:
        return None
    kind = {10: "no-repository", 11: "locked", 12: "wrong-password"}.get(code)
    return None if kind is None else (kind, _MENDS[kind], kind == "locked")


def _by_words(said: str, capabilities: Capabilities) -> tuple[str, str, bool] | None:
    low = said.lower()
    if "wrong password or no key found" in low:
        return "wrong-password", _MENDS["wrong-password"], False
    if "no space left on device" in low or "disk quota exceeded" in low:
        return "disk-full", _MENDS["disk-full"], True
    if "host key verification failed" in low:
        return "failed", _MENDS["host-key"], False
    if "permission denied (" in low:  # ssh lists the ways to log in that it has tried
        return "failed", _MENDS["ssh-key"], False
    if any(sign in low for sign in _UNREACHABLE):
        return "unreachable", _MENDS["sftp" if "sftp session" in low else "unreachable"], True
    if "already locked" in low:
        return "locked", _MENDS["locked"], True
    # Old versions ask "Is there a repository at …?" after any failure to read the config file, a dead network among them.
    if not capabilities.has_exit_codes and "unable to open config file" in low and any(sign in low for sign in _ABSENT):
        return "no-repository", _MENDS["no-repository"], False
    return None


def _mend_by_words(said: str) -> str:
    low = said.lower()
    if "read-only file system" in low:
        return "the place of the repository is mounted read-only: look for disk errors, then mount it writable again"
    if "input/output error" in low:
        return "the disk of the repository reports errors: look at the kernel's log and at its SMART values"
    if any(sign in low for sign in _TROUBLED):
        return "the place of the repository has trouble of its own (it answers, and fails): try again later; nothing is lost"
    if "permission denied" in low or "access denied" in low or "403" in low or "accessdenied" in low or "401" in low:
        return "give failsafe's credential for this repository the right to read and write there"
    return ""


def _reason(error: object) -> str:
    """restic's error is {"Op","Path","Err":13} on 0.14, may be {} up to 0.17.0, and {"message"} since."""
    if isinstance(error, dict):
        return str(error.get("message") or error.get("Err") or "cannot be read")
    return str(error or "cannot be read")


def _number(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 0
