"""The small types of the configuration: durations, rates, shares, windows, addresses. Each says in its error how it is written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import time, timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema

from failsafe.backup.due import Window
from failsafe.model import normal_name

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
RATE_UNITS = {"B": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}


def parse_duration(value: Any) -> timedelta:
    """ "90s", "15m", "2h", "1h30m", "7d", "2w". A bare number is refused: nobody remembers its unit."""
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or not re.fullmatch(r"(\d+(\.\d+)?[smhdw])+", value.strip()):
        raise ValueError(f'{value!r} is not a duration; write a number with its unit, such as "30s", "15m", "2h" or "7d"')
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhdw])", value.strip())
    return timedelta(seconds=sum(float(number) * UNITS[unit] for number, unit in parts))


def render_duration(value: timedelta) -> str:
    """The shortest exact form: "15m", "1h30m"."""
    seconds = value.total_seconds()
    if seconds != int(seconds):
        return f"{seconds:g}s"
    parts, rest = [], int(seconds)
    for unit in ("w", "d", "h", "m", "s"):
        count, rest = divmod(rest, UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("must be longer than nothing")
    return value


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    AfterValidator(_positive),
    PlainSerializer(render_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^(\d+(\.\d+)?[smhdw])+$", "examples": ["30s", "15m", "7d"]}),
]


def parse_rate(value: Any) -> int:
    """ "2 MB/s" -> bytes per second."""
    if (
        isinstance(value, str)
        and (match := re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?i?B)/s", value.strip()))
        and match[2] in RATE_UNITS
    ):
        rate = int(float(match[1]) * RATE_UNITS[match[2]])
        if rate > 0:
            return rate
    raise ValueError(f'{value!r} is not a rate; write it as "2 MB/s" or "500 KB/s"')


Rate = Annotated[
    int,
    BeforeValidator(parse_rate),
    PlainSerializer(lambda rate: f"{rate} B/s", return_type=str),
    WithJsonSchema({"type": "string", "examples": ["2 MB/s"]}),
]


@dataclass(frozen=True, slots=True)
class HostPort:
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_host_port(value: Any) -> HostPort:
    """ "mail.example.org:25" or "[2001:db8::1]:25"."""
    if isinstance(value, HostPort):
        return value
    if isinstance(value, str) and (match := re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:\[\]@/]+)):(\d{1,5})", value.strip())):
        port = int(match[3])
        if 0 < port < 65536:
            return HostPort(match[1] or match[2], port)
    raise ValueError(f'{value!r} is not an address with a port; write it as "mail.example.org:25" or "[2001:db8::1]:25"')


Address = Annotated[
    HostPort,
    BeforeValidator(parse_host_port),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["mail.example.org:25"]}),
]


@dataclass(frozen=True, slots=True)
class SshTarget:
    user: str
    host: str
    port: int = 22

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.user}@{host}:{self.port}"


def parse_ssh(value: Any) -> SshTarget:
    """ "failsafe@mail.example.org:22"; the port may be left out."""
    if isinstance(value, SshTarget):
        return value
    if isinstance(value, str) and (
        match := re.fullmatch(r"([^\s@:]+)@(?:\[([0-9A-Fa-f:.]+)\]|([^\s:\[\]@/]+))(?::(\d{1,5}))?", value.strip())
    ):
        port = int(match[4] or 22)
        if 0 < port < 65536 and not match[1].startswith("-"):
            return SshTarget(match[1], match[2] or match[3], port)
    raise ValueError(f'{value!r} is not an SSH address; write it as "failsafe@mail.example.org:22"')


SshAddress = Annotated[
    SshTarget,
    BeforeValidator(parse_ssh),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["failsafe@mail.example.org:22"]}),
]


def parse_share(value: Any) -> int:
    """ "1/12" -> 12: each check reads one of twelve parts; restic takes at most 256."""
    if isinstance(value, str) and (match := re.fullmatch(r"1/(\d{1,3})", value.strip())) and 1 <= int(match[1]) <= 256:
        return int(match[1])
    raise ValueError(f'{value!r} is not a share; write it as "1/12" (at most "1/256")')


Share = Annotated[
    int,
    BeforeValidator(parse_share),
    PlainSerializer(lambda parts: f"1/{parts}", return_type=str),
    WithJsonSchema({"type": "string", "examples": ["1/12"]}),
]


def parse_clock_time(value: Any) -> time:
    if isinstance(value, time):
        return value
    if isinstance(value, str) and (match := re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)", value.strip())):
        return time(int(match[1]), int(match[2]))
    raise ValueError(f'{value!r} is not a time of day; write it as "07:30"')


def parse_window(value: Any) -> Window:
    if isinstance(value, Window):
        return value
    begin, dash, end = str(value).partition("-")
    if dash:
        return Window(parse_clock_time(begin.strip()), parse_clock_time(end.strip()))
    raise ValueError(f'{value!r} is not a window; write it as "01:00-06:00"')


ClockTime = Annotated[
    time,
    BeforeValidator(parse_clock_time),
    PlainSerializer(lambda moment: f"{moment:%H:%M}", return_type=str),
    WithJsonSchema({"type": "string", "examples": ["07:30"]}),
]
DailyWindow = Annotated[
    Window,
    BeforeValidator(parse_window),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["01:00-06:00"]}),
]


def parse_name(value: Any) -> str:
    """A DNS name; an IP address or a null MX cannot be an exchange (RFC 2181 section 10.3, RFC 7505)."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a DNS name")  # noqa: TRY004 - pydantic collects ValueError
    name = normal_name(value)
    label = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
    if len(name) > 253 or not re.fullmatch(rf"{label}(\.{label})*", name) or re.fullmatch(r"[\d.]+", name):
        raise ValueError(
            f'{value!r} is not a DNS name; write it as "mail.example.org" (an IP address cannot stand in an MX record)'
        )
    return name


DnsName = Annotated[str, BeforeValidator(parse_name)]


def parse_within(value: Any) -> str:
    """restic reads "m" as months there, so only h, d, w, y are taken; weeks become days, which every restic knows."""
    if isinstance(value, str) and (match := re.fullmatch(r"(\d+)([hdwy])", value.strip())) and int(match[1]) > 0:
        return f"{int(match[1]) * 7}d" if match[2] == "w" else value.strip()
    raise ValueError(f'{value!r}: keep.within takes h, d, w or y, such as "7d" (restic would read m as months)')


Within = Annotated[str, BeforeValidator(parse_within)]


def parse_path(value: Any) -> Path:
    if not isinstance(value, (str, Path)) or not str(value):
        raise ValueError(f"{value!r} is not a path")
    path = Path(value).expanduser()
    if not path.is_absolute():
        raise ValueError(f"{value!r} is relative; write the whole path, since a daemon has no working folder of yours")
    return path


AbsolutePath = Annotated[Path, BeforeValidator(parse_path), PlainSerializer(str, return_type=str)]
