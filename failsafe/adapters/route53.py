"""ports.ProviderZone on Amazon Route 53.

A change is one change batch, which Route 53 makes whole or not at all: DELETE of the set exactly as it stands there (every value and the
TTL), CREATE of the new one. A DELETE that does not match is refused with the whole batch, so Route 53 itself compares and sets; UPSERT,
which overwrites whatever is there, is never used. The same batch moves on a lock record of ours (`_failsafe.DOMAIN TXT`): a request that
was overtaken by another one of failsafe's is refused even where the MX set has come back to what it expects.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from failsafe.adapters.route53_api import Route53Api, RrSet, change_batch
from failsafe.errors import DnsError, ZoneChanged
from failsafe.failover.own_records import FALLBACK_TTL_SECONDS, LOCK_WORD, OWN_TTL_SECONDS, PROOF_EXCHANGE, lock_name, not_ours
from failsafe.failover.scratch import PROOF, is_scratch, scratch_name
from failsafe.failover.zone import describe
from failsafe.model import Mx, MxChange, MxSet, ZonePromises, normal_name

if TYPE_CHECKING:
    from failsafe.config.schema import Dns

ANSWER_SECONDS = 20.0
EVERYWHERE_SECONDS = (
    20.0  # for all of Amazon's servers to have a change; most take less than a minute, and the read-back waits on
)


def make_zone(table: Dns, ttl_seconds: int | None) -> Route53Zone:  # noqa: ARG001 - a set there always has a TTL
    """From `[dns.…]`."""
    assert table.credentials_file is not None
    return Route53Zone(
        table.hosted_zone_id, credentials_file=table.credentials_file, profile=table.profile, base_url=table.base_url
    )


class Route53Zone:
    """One hosted zone. The credentials are read from their file at every use."""

    promises = ZonePromises(atomic=True, compare_and_set=True, minimum_ttl_seconds=0)

    def __init__(
        self,
        hosted_zone_id: str | None = None,
        *,
        credentials_file: Path,
        profile: str | None = None,
        base_url: str | None = None,
        answer_seconds: float = ANSWER_SECONDS,
        everywhere_seconds: float = EVERYWHERE_SECONDS,
    ) -> None:
        """Without `hosted_zone_id` the zone is found by its name. `base_url` is for tests."""
        self._api = Route53Api(hosted_zone_id, (credentials_file, profile), base_url, answer_seconds, everywhere_seconds)
        self._seen: dict[str, RrSet | None] = {}  # the lock record, when the domain was last read

    def read(self, zone: str, domain: str) -> MxSet:
        """What the API lists. Raises DnsError, SecretError."""
        client = self._api.client()
        zone_id = self._api.zone_id(client, zone)
        found = self._api.find(client, zone_id, domain, "MX")
        self._seen[domain] = self._lock(client, zone_id, domain)
        return _to_set(found, domain)

    def apply(self, change: MxChange) -> None:
        """Compares, then sends one batch. Raises ZoneChanged, OutcomeUnknown, DnsError, SecretError."""
        assert change.expected or is_scratch(change.domain), "the first MX record of a domain is written by a person"
        assert change.desired, "an empty MX set is never written"
        client, domain = self._api.client(), change.domain
        zone_id = self._api.zone_id(client, change.zone)
        known, seen = domain in self._seen, self._seen.pop(domain, None)
        batch, lock = self._made(client, zone_id, change)
        if known and lock != seen:
            raise ZoneChanged(f"another failsafe has written to {domain} since it was read; nothing was written")
        self._api.wait_until_everywhere(client, self._api.send(client, zone_id, domain, batch, change.mark))

    def preview(self, change: MxChange) -> tuple[str, ...]:
        """The one change batch, with what is there now as what it deletes."""
        client = self._api.client()
        zone_id = self._api.zone_id(client, change.zone)
        batch, _lock = self._made(client, zone_id, change)
        body = json.dumps(change_batch(batch, change.mark), indent=2)
        return (f"ChangeResourceRecordSets of hosted zone {zone_id}", *body.splitlines())

    def _made(self, client: Any, zone_id: str, change: MxChange) -> tuple[list[dict[str, Any]], RrSet | None]:
        """Compares with what is there; the changes, and the lock record as it stands. Raises ZoneChanged, DnsError."""
        domain = change.domain
        found, lock = self._api.find(client, zone_id, domain, "MX"), self._lock(client, zone_id, domain)
        if not _to_set(found, domain).same_records(change.expected):
            raise ZoneChanged(f"{domain} does not hold what the plan was made for; nothing was written")
        known_ttl = FALLBACK_TTL_SECONDS if found is None else int(found.raw["TTL"])
        ttl = known_ttl if change.desired.ttl_seconds is None else change.desired.ttl_seconds
        values = [f"{record.preference} {record.exchange}." for record in change.desired.records]
        return [*_replace(found, _rrset(domain, "MX", ttl, values)), *_replace(lock, _next_lock(domain, lock))], lock

    def clear(self, zone: str, name: str) -> None:
        """Deletes what is listed, the lock with it, in one batch. Raises as `apply`."""
        assert is_scratch(name), f"{name} is no scratch name"
        client = self._api.client()
        zone_id = self._api.zone_id(client, zone)
        found = (self._api.find(client, zone_id, name, "MX"), self._lock(client, zone_id, name))
        gone = [change for each in found if each is not None for change in _replace(each, None)]
        if gone:
            self._api.wait_until_everywhere(client, self._api.send(client, zone_id, name, gone, f"failsafe clears {name}"))

    def protected(self, zone: str, domain: str) -> tuple[str, ...]:
        """What Route 53 protects against every change, of what we write for this domain (`MX example.org: comment`). Raises DnsError, SecretError."""
        client = self._api.client()
        ours = {(domain, "MX"), (lock_name(domain), "TXT")}
        found = self._api.protections(client, self._api.zone_id(client, zone))
        return tuple(f"{kind} {name}{f': {comment}' if comment else ''}" for name, kind, comment in found if (name, kind) in ours)

    def credential_ends(self) -> None:
        """Amazon's keys have no end; None."""

    def other_zones(self, zone: str) -> None:
        """To see a hosted zone there is not to write it, and what a key may do it is not told; None."""

    def name_servers(self, zone: str) -> tuple[str, ...]:
        """The zone's delegation set. Raises DnsError, SecretError."""
        client = self._api.client()
        return self._api.name_servers(client, self._api.zone_id(client, zone))

    def scratch(self, zone: str, domain: str) -> Route53Scratch:
        return Route53Scratch(self._api, zone, scratch_name(PROOF, domain))

    def _lock(self, client: Any, zone_id: str, domain: str) -> RrSet | None:
        """Our own lock record. Raises DnsError where something else lies in its place."""
        name = lock_name(domain)
        found = self._api.find(client, zone_id, name, "TXT")
        if found is not None and not (len(found.values) == 1 and found.values[0].startswith(f'"{LOCK_WORD} ')):
            raise not_ours("TXT", name, ", ".join(found.values))
        return found


class Route53Scratch:
    """ports.ScratchRecord: an MX set of ours whose preference is the number."""

    def __init__(self, api: Route53Api, zone: str, name: str) -> None:
        self._api, self._zone, self.name = api, zone, name

    def read(self) -> tuple[int, ...]:
        found = self._find(self._api.client())[1]
        return () if found is None else tuple(record.preference for record in _to_set(found, self.name).records)

    def ttl_seconds(self) -> int | None:
        found = self._find(self._api.client())[1]
        return None if found is None else _to_set(found, self.name).ttl_seconds

    def write(self, expected: int | None, number: int) -> None:
        client = self._api.client()
        old = None if expected is None else RrSet(_scratch(self.name, expected))
        self._send(client, self._api.zone_id(client, self._zone), _replace(old, _scratch(self.name, number)))

    def clear(self) -> None:
        client = self._api.client()
        zone_id, found = self._find(client)
        if found is not None:
            self._send(client, zone_id, _replace(found, None))

    def _find(self, client: Any) -> tuple[str, RrSet | None]:
        zone_id = self._api.zone_id(client, self._zone)
        found = self._api.find(client, zone_id, self.name, "MX")
        if found is not None and _to_set(found, self.name).exchanges != {PROOF_EXCHANGE}:
            raise not_ours("MX", self.name, describe(_to_set(found, self.name)))
        return zone_id, found

    def _send(self, client: Any, zone_id: str, changes: list[dict[str, Any]]) -> None:
        self._api.send(client, zone_id, self.name, changes, "failsafe doctor --prove-cas")


def _scratch(name: str, number: int) -> dict[str, Any]:
    return _rrset(name, "MX", Route53Zone.promises.minimum_ttl_seconds, [f"{number} {PROOF_EXCHANGE}."])


def _rrset(name: str, kind: str, ttl: int, values: list[str]) -> dict[str, Any]:
    return {"Name": f"{name}.", "Type": kind, "TTL": ttl, "ResourceRecords": [{"Value": value} for value in values]}


def _replace(found: RrSet | None, new: dict[str, Any] | None) -> list[dict[str, Any]]:
    gone = [] if found is None else [{"Action": "DELETE", "ResourceRecordSet": found.raw}]
    return [*gone, *([] if new is None else [{"Action": "CREATE", "ResourceRecordSet": new}])]


def _next_lock(domain: str, lock: RrSet | None) -> dict[str, Any]:
    number = "0" if lock is None else lock.values[0].strip('"').removeprefix(LOCK_WORD).strip()
    value = f'"{LOCK_WORD} {int(number) + 1 if number.isdigit() else 1}"'
    return _rrset(lock_name(domain), "TXT", OWN_TTL_SECONDS, [value])


def _to_set(found: RrSet | None, domain: str) -> MxSet:
    if found is None:
        return MxSet(())
    try:
        records = [Mx(int(number), normal_name(name)) for number, name in (value.split() for value in found.values)]
    except ValueError as error:
        raise DnsError(f"Route 53 lists an MX record of {domain} that makes no sense: {found.values}") from error
    made = MxSet(tuple(sorted(records)), int(found.raw["TTL"]))
    if len(set(records)) != len(records):
        raise DnsError(f"Route 53 lists the same MX record of {domain} twice: {describe(made)}", transient=False)
    return made
