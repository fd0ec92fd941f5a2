"""What is asked of a mail server before its files are read, what it answers, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from failsafe.backup.reach import Reach
from failsafe.mail.manifest import Missing


@dataclass(frozen=True, slots=True)
class Wanted:
    """A mail server's table, as far as files are concerned. `path` "": to be found by looking at `container`."""

    layout: str
    path: str = ""
    container: str = ""
    extra_paths: tuple[str, ...] = ()
    commands: Mapping[str, str] = field(default_factory=dict)
    command_seconds: int = 3600
    reads_mail: bool = True  # False: messages come another way, only the other files are read


@dataclass(frozen=True, slots=True)
class Mount:
    kind: str  # bind, volume …
    volume: str  # its name; "" for a bind
    source: str  # on the server
    destination: str  # in the container, without a slash at its end


@dataclass(frozen=True, slots=True)
class Container:
    name: str
    status: str  # running, exited …
    image: str = ""
    project: str = ""
    service: str = ""
    folder: str = ""  # of its compose file
    files: tuple[str, ...] = ()  # compose files, environment files
    mounts: tuple[Mount, ...] = ()

    def mount(self, *destinations: str) -> Mount | None:
        return next((mount for mount in self.mounts if mount.destination in destinations), None)


@dataclass(frozen=True, slots=True)
class Sight:
    """What the server showed. `trouble`: why containers could not be (all) looked at."""

    containers: tuple[Container, ...] = ()
    paths: Mapping[str, bool] = field(default_factory=dict)  # path -> it is a folder
    trouble: str = ""

    def service(self, name: str) -> Container | None:
        return next((container for container in self.containers if container.service == name), None)

    def named(self, name: str) -> Container | None:
        return next((container for container in self.containers if container.name == name), None)


@dataclass(frozen=True, slots=True)
class Source:
    """What is read. `fault`: why no mail can be, with its mend; `missing`: what a snapshot then lacks; `shown`: where everything was found."""

    reach: Reach
    missing: tuple[Missing, ...] = ()
    shown: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    fault: str = ""
    mend: str = ""
