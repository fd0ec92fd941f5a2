"""What was found out before and between the questions, as frozen values: of the domain, of the mail server, of this machine. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from failsafe.backup.layouts import Sight
from failsafe.secondaries.provider import SecondaryProvider, recognise

PROVIDERS = (  # what the names of a zone's servers hold -> who hosts it and is written to through an API
    ("ns.cloudflare.com", "cloudflare"),
    ("awsdns-", "route53"),
)


@dataclass(frozen=True, slots=True)
class DomainSight:
    """`mx`: (preference, exchange), the most preferred first. `error`: why DNS did not answer; nothing is then known."""

    domain: str
    mx: tuple[tuple[int, str], ...] = ()
    name_servers: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()  # TXT records of the domain itself
    error: str = ""


@dataclass(frozen=True, slots=True)
class Size:
    """Of a folder of mail. `whole`: False where time ran out, and there is more."""

    bytes: int
    files: int
    whole: bool = True


@dataclass(frozen=True, slots=True)
class MailFolder:
    """A folder that holds DOMAIN/USER/ Maildirs. `owner`: the user whose mail it is."""

    path: str
    mailboxes: int
    owner: str = ""


@dataclass(frozen=True, slots=True)
class ServerSight:
    """What one look at the mail server showed. `trouble`: why there was none, or no whole one."""

    python: str = ""  # its version there; "" where there is none
    containers: Sight = field(default_factory=Sight)
    folders: tuple[MailFolder, ...] = ()
    sizes: tuple[tuple[str, Size], ...] = ()  # path -> how large
    dovecot: bool = False  # a Dovecot of the machine's own
    trouble: str = ""
    mend: str = ""

    def size_of(self, path: str) -> Size | None:
        return next((size for place, size in self.sizes if place == path), None)


@dataclass(frozen=True, slots=True)
class Disk:
    """Room for a folder that may not be there yet. `place`: where its file system is mounted."""

    path: str
    place: str
    kind: str
    free: int
    total: int
    is_network: bool = False


@dataclass(frozen=True, slots=True)
class SecondarySight:
    """What DNS says of a secondary. None: not looked at, or nobody answered."""

    unresolved: tuple[str, ...] = ()  # exchanges that have no address
    verified: bool | None = None  # the record that shows whose domain it is
    in_spf: bool | None = None


def host_of_zone(name_servers: Iterable[str]) -> str | None:
    """The provider that hosts the zone: every one of its name servers is of that provider. None where it is not one that is known here."""
    names = tuple(name_servers)
    return next((provider for part, provider in PROVIDERS if names and all(part in name for name in names)), None)


def sides(exchanges: Iterable[str], providers: Iterable[SecondaryProvider]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(own servers, exchanges of a provider that may be a secondary) of the MX records as they are."""
    known, names = tuple(providers), tuple(exchanges)
    theirs = tuple(name for name in names if recognise((name,), known) is not None)
    return tuple(name for name in names if name not in theirs), theirs


def shown_size(count: int) -> str:
    """ "3.4 GB": decimal, as disks are sold."""
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1000:.0f} KB"
