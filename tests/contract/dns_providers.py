"""Every DNS provider that failsafe can write to, each with a zone that holds `10 mail.example.org`: what the conformance suites run on.

A new provider is one function here, and its name in `KINDS`; one that is asked over HTTP also stands in `FAULTS`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from failsafe.adapters.cloudflare import CloudflareZone
from failsafe.adapters.rfc2136 import Rfc2136Zone
from failsafe.adapters.route53 import Route53Zone
from failsafe.model import MxChange, MxSet
from failsafe.ports import ProviderZone
from tests.contract.dns_servers import ZONE, NameServer, missing, name_server
from tests.fakes import cloudflare_server, route53_server
from tests.fakes.cloudflare_server import CloudflareServer
from tests.fakes.route53_server import Route53Server, Set
from tests.fakes.zone import FakeZone

MAIL, AWAY, AWAY_TOO = "mail.example.org", "mx.away.example", "mx2.away.example"
PEACE = MxSet.of((10, MAIL), ttl_seconds=60)
OUTAGE = MxSet.of((5, AWAY), (10, MAIL), ttl_seconds=60)
AWAY_ALONE = MxSet.of((10, AWAY), (11, AWAY_TOO), ttl_seconds=60)
PROOF, OURS, STRANGER = f"failsafe-proof.{ZONE}", "failsafe-proof.invalid", "mx.stranger.example"
LOCK = f"_failsafe.{ZONE}"
ANSWER_SECONDS = 1.5  # for stand-ins that hang on purpose

KINDS = ("fake", "knot", "bind", "cloudflare", "route53")
FAULTS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "cloudflare": {
        "read": ("unsuccessful", "html", "html-403", "500", "garbage", "hang-before", "empty", "shift", "429"),
        "write": ("unsuccessful", "html", "html-403", "500", "garbage", "hang-before"),
        "committed": ("commit-then-hang", "commit-then-500", "commit-then-garbage"),
    },
    "route53": {
        "read": ("html", "html-403", "500", "garbage", "hang-before", "cut"),
        "write": ("html", "html-403", "500", "garbage", "hang-before", "cut"),
        "committed": ("commit-then-hang", "commit-then-500", "commit-then-garbage", "commit-then-cut"),
    },
}


@dataclass
class Provider:
    """`make` gives another client of the same zone; `compares`: the provider itself compares the records, whoever changed them.

    `squat(N)`: somebody else's record comes to lie at the proof's scratch name, beside ours of number N.
    """

    name: str
    make: Callable[[], ProviderZone]
    squat: Callable[[int | None], None]
    compares: bool
    secrets: tuple[str, ...] = ()
    zone: ProviderZone = field(init=False)

    def __post_init__(self) -> None:
        self.zone = self.make()


@dataclass
class Api(Provider):
    """One that is asked over HTTP, on a strict stand-in that can be asked for faults."""

    server: Any = None
    at: Callable[[str], ProviderZone] = field(kw_only=True)  # a client that goes to another address
    secret_file: Path = field(kw_only=True)
    wrong_secret: str = field(kw_only=True)  # the file's text with a credential that nobody gave us
    occupy_lock: Callable[[], None] = field(kw_only=True)  # somebody else's record lies in the place of our lock
    environment: Mapping[str, str] = field(kw_only=True)  # what would redirect this SDK, or change who we are
    sent: Callable[[], object] = field(kw_only=True)  # the last write, in the words of `preview`


def provider_of(kind: str, folder: Path) -> AbstractContextManager[Provider]:
    if kind in ("knot", "bind"):
        if missing(kind):
            pytest.skip(missing(kind))
        return rfc2136(kind, folder)
    return {"fake": fake, "cloudflare": cloudflare, "route53": route53}[kind](folder)


def change(expected: MxSet = PEACE, desired: MxSet = OUTAGE, domain: str = ZONE) -> MxChange:
    return MxChange(domain, ZONE, expected, desired, "failsafe failover epoch 1")


def client(server: NameServer, **more: object) -> Rfc2136Zone:
    settings = {"key_name": "failsafe.", "key_file": server.key_file, **more}
    return Rfc2136Zone(server.address, **settings)  # type: ignore[arg-type]


def squatted(beside: int | None) -> MxSet:
    ours = [] if beside is None else [(beside, OURS)]
    return MxSet.of((10, STRANGER), *ours, ttl_seconds=60)


@contextmanager
def fake(_folder: Path) -> Iterator[Provider]:
    zone = FakeZone({ZONE: PEACE})
    yield Provider("fake", lambda: zone, lambda beside: zone.put(PROOF, squatted(beside)), compares=True)


@contextmanager
def rfc2136(kind: str, folder: Path) -> Iterator[Provider]:
    with name_server(kind, folder / kind) as server:

        def squat(beside: int | None) -> None:
            ours = MxSet(()) if beside is None else MxSet.of((beside, OURS))
            client(server).apply(change(ours, squatted(beside), PROOF))

        yield Provider(kind, lambda: client(server), squat, compares=True, secrets=(server.secret,))


@contextmanager
def cloudflare(folder: Path) -> Iterator[Api]:
    token = _secret(folder / "token", cloudflare_server.TOKEN)
    with CloudflareServer.running({ZONE: [(10, MAIL, 60)]}) as server:

        def at(url: str) -> CloudflareZone:
            zone_id = cloudflare_server.ZONE_ID
            return CloudflareZone(zone_id, token_file=token, base_url=url, answer_seconds=ANSWER_SECONDS)

        variables = {
            f"CLOUDFLARE_{name}": "wrong@example.net" for name in ("API_TOKEN", "API_KEY", "EMAIL", "API_USER_SERVICE_KEY")
        }
        yield Api(
            "cloudflare",
            lambda: at(server.url),
            lambda _beside: server.put_txt(PROOF, STRANGER),
            compares=False,
            secrets=(cloudflare_server.TOKEN,),
            server=server,
            at=at,
            secret_file=token,
            wrong_secret="another-token",
            occupy_lock=lambda: server.put_txt(LOCK, "v=something"),
            environment={
                **variables,
                "CLOUDFLARE_BASE_URL": "nowhere",
                "CLOUDFLARE_CUSTOM_HEADERS": "Authorization: Bearer wrong",
            },
            sent=lambda: server.batches[-1],
        )


@contextmanager
def route53(folder: Path) -> Iterator[Api]:
    text = f"[default]\naws_access_key_id = {{}}\naws_secret_access_key = {route53_server.SECRET_KEY}\n"
    file = _secret(folder / "credentials", text.format(route53_server.KEY_ID))
    with Route53Server.running(ZONE, [f"10 {MAIL}."]) as server:
        server.pending_looks = 0

        def at(url: str) -> Route53Zone:
            zone_id = route53_server.ZONE_ID
            return Route53Zone(zone_id, credentials_file=file, base_url=url, answer_seconds=ANSWER_SECONDS)

        def squat(beside: int | None) -> None:
            values = tuple(f"{record.preference} {record.exchange}." for record in squatted(beside).records)
            server.by_hand((f"{PROOF}.", "MX"), Set(60, values))

        identity = ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "PROFILE", "DEFAULT_PROFILE")
        yield Api(
            "route53",
            partial(at, server.url),
            squat,
            compares=True,
            secrets=(route53_server.SECRET_KEY,),
            server=server,
            at=at,
            secret_file=file,
            wrong_secret=text.format("AKIAWRONG"),
            occupy_lock=lambda: server.by_hand((f"{LOCK}.", "TXT"), Set(300, ('"v=something"',))),
            environment={
                **{f"AWS_{name}": "wrong" for name in identity},
                **{f"AWS_{name}": str(folder / "nothing-here") for name in ("SHARED_CREDENTIALS_FILE", "CONFIG_FILE")},
                "AWS_ENDPOINT_URL": "nowhere",
                "AWS_ENDPOINT_URL_ROUTE_53": "nowhere",
                "AWS_MAX_ATTEMPTS": "9",
            },
            sent=lambda: _as_previewed(server),
        )


def _as_previewed(server: Route53Server) -> object:
    def row(action: str, key: tuple[str, str], found: Set) -> dict[str, Any]:
        records = [{"Value": value} for value in found.values]
        return {
            "Action": action,
            "ResourceRecordSet": {"Name": key[0], "Type": key[1], "TTL": found.ttl, "ResourceRecords": records},
        }

    return {"Comment": server.comments[-1], "Changes": [row(*each) for each in server.batches[-1]]}


def previewed(zone: ProviderZone, wanted: MxChange) -> object:
    """The body of what a provider that is asked over HTTP would be sent; the line before it names the request."""
    _head, *lines = zone.preview(wanted)
    return json.loads("\n".join(lines))


def _secret(file: Path, text: str) -> Path:
    file.write_text(text)
    file.chmod(0o600)
    return file
