"""ports.ProviderZone on Cloudflare.

A change is one batch (one database transaction, in the order deletes, patches, puts, posts). What becomes *visible* is not atomic there, so
records are changed in place or added, and at least one lives through every change: the set is never seen empty.

Cloudflare has no conditional write. Each batch therefore also moves on a lock record of ours, `_failsafe.DOMAIN TXT "failsafe lock N"`: it
deletes lock N by its id and creates lock N+1. Of two batches that were made from the same reading the second finds no record of that id
(81044), or the same record standing already (81058), and is rolled back whole. That keeps failsafe's own writers apart, also one that wakes
up late; it does not fence off hands in the dashboard, which is why the records are compared just before the batch as well.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from failsafe.adapters.cloudflare_api import HOW_TO_UNLOCK, CloudflareApi, ascii_name
from failsafe.errors import DnsError, ZoneChanged
from failsafe.failover.own_records import LOCK_WORD, OWN_TTL_SECONDS, lock_name, not_ours
from failsafe.failover.scratch import PROOF, is_scratch, scratch_name
from failsafe.failover.zone import steps
from failsafe.model import Mx, MxChange, MxSet, ZonePromises

if TYPE_CHECKING:
    from failsafe.config.schema import Dns

ANSWER_SECONDS = 20.0
AUTOMATIC, AUTOMATIC_SECONDS = 1, 300  # a TTL of 1 means "automatic", which is served as 300 s
COMMENT_LIMIT = 100  # characters, on the free plan
MARK = "failsafe "  # how a mark of ours begins (plan.mark)
SCRATCH_WORD = "failsafe proof"


@dataclass(frozen=True, slots=True)
class _Found:
    """One MX record as Cloudflare keeps it. `protected`: it belongs to a service of theirs, and refuses changes."""

    id: str
    mx: Mx
    ttl: int
    modified_on: str
    protected: bool
    comment: str


@dataclass(frozen=True, slots=True)
class _Own:
    """A numbered TXT record of ours."""

    id: str
    number: int


def make_zone(table: Dns, ttl_seconds: int | None) -> CloudflareZone:
    """From `[dns.…]` and the domain's `ttl`."""
    assert table.token_file is not None and table.zone_id is not None
    return CloudflareZone(table.zone_id, token_file=table.token_file, base_url=table.base_url, ttl_seconds=ttl_seconds)


class CloudflareZone:
    """One zone.

    `compare_and_set` is False: the API has no conditional write. The records (values, ids and modification times) are compared just before
    the batch instead; a change that somebody makes by hand within that fraction of a second is only noticed by the read-back afterwards.
    """

    promises = ZonePromises(atomic=True, compare_and_set=False, minimum_ttl_seconds=60)

    def __init__(
        self,
        zone_id: str,
        *,
        token_file: str | Path,
        base_url: str | None = None,
        ttl_seconds: int | None = None,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        """`base_url` is for tests; `ttl_seconds` is used for new records where neither the plan nor the zone knows one."""
        self._api = CloudflareApi(zone_id, str(token_file), base_url, answer_seconds)
        self._ttl_seconds = ttl_seconds
        self._seen: dict[str, frozenset[tuple[str, str]]] = {}

    def read(self, zone: str, domain: str) -> MxSet:  # noqa: ARG002 - the zone is known by its id
        with self._api.client() as client:
            found, lock = self._list(client, domain), self._own(client, lock_name(domain), LOCK_WORD)
        self._seen[domain] = _fingerprint(found, lock)
        return _to_set(found)

    def preview(self, change: MxChange) -> tuple[str, ...]:
        """The one request and its body, with the ids that the records have now."""
        with self._api.client() as client:
            body = json.dumps(self._made(client, change, None), indent=2)
        return (f"POST {self._api.batch_url}", *body.splitlines())

    def apply(self, change: MxChange) -> None:
        """Compares, then sends one batch, once. Raises ZoneChanged, OutcomeUnknown, DnsError, SecretError."""
        assert change.expected or is_scratch(change.domain), "the first MX record of a domain is written by a person"
        assert change.desired, "an empty MX set is never written"
        seen = self._seen.pop(change.domain, None)
        with self._api.client() as client:
            batch = self._made(client, change, seen)
            if batch:
                self._api.batch(client, batch, change.domain)

    def _made(self, client: Any, change: MxChange, seen: frozenset[tuple[str, str]] | None) -> dict[str, list[dict[str, Any]]]:
        """Compares with what is there, and with what was `seen` when it was last read; the batch, empty where nothing is to be done."""
        locks = self._own(client, lock_name(change.domain), LOCK_WORD)  # first: whoever writes from now on moves it on
        found = self._list(client, change.domain)
        if not _to_set(found).same_records(change.expected):
            raise ZoneChanged(f"{change.domain} does not hold what the plan was made for; nothing was written")
        if seen is not None and seen != _fingerprint(found, locks):
            raise ZoneChanged(f"the records of {change.domain} were touched since they were read; nothing was written")
        batch = _batch(found, change, self._ttl_seconds)
        touched = {entry["id"] for kind in ("deletes", "patches") for entry in batch[kind]}
        protected = [record.mx.exchange for record in found if record.protected and record.id in touched]
        if protected:
            raise DnsError(
                f"Cloudflare locks the MX record {protected[0]} of {change.domain}: it belongs to Email Routing",
                mend=HOW_TO_UNLOCK,
                transient=False,
            )
        if any(batch.values()):
            number = max((lock.number for lock in locks), default=0) + 1
            _move_on(batch, locks, _own_record(lock_name(change.domain), LOCK_WORD, number, change.mark))
        return {kind: entries for kind, entries in batch.items() if entries}

    def clear(self, zone: str, name: str) -> None:  # noqa: ARG002 - the zone is known by its id
        """Lists, then deletes what was listed, the lock with it, in one batch. Raises as `apply`."""
        assert is_scratch(name), f"{name} is no scratch name"
        with self._api.client() as client:
            found, locks = self._list(client, name), self._own(client, lock_name(name), LOCK_WORD)
            gone = [{"id": each} for each in (*(record.id for record in found), *(lock.id for lock in locks))]
            if gone:
                self._api.batch(client, {"deletes": gone}, name)

    def protected(self, zone: str, domain: str) -> tuple[str, ...]:  # noqa: ARG002 - the zone is known by its id
        """MX records of the domain that Cloudflare refuses to change. Raises DnsError, SecretError."""
        with self._api.client() as client:
            return tuple(f"MX {record.mx.exchange} (Email Routing)" for record in self._list(client, domain) if record.protected)

    def credential_ends(self) -> datetime | None:
        """When the token ends; None if never. Raises DnsError where that is not told, SecretError."""
        with self._api.client() as client:
            return self._api.token_expires(client)

    def other_zones(self, zone: str) -> tuple[str, ...] | None:  # noqa: ARG002 - the zone is known by its id
        """A token sees the zones that it was made for. Raises DnsError, SecretError."""
        with self._api.client() as client:
            return self._api.other_zones(client)

    def name_servers(self, zone: str) -> tuple[str, ...]:  # noqa: ARG002 - the zone is known by its id
        """Those that Cloudflare gave this zone, with its own names for them (vanity) where there are any. Raises DnsError, SecretError."""
        with self._api.client() as client:
            return self._api.name_servers(client)

    def scratch(self, zone: str, domain: str) -> CloudflareScratch:  # noqa: ARG002 - the zone is known by its id
        """A record to prove on what the lock record relies on."""
        return CloudflareScratch(self._api, scratch_name(PROOF, domain))

    def _list(self, client: Any, domain: str) -> list[_Found]:
        return [_to_found(entry, domain) for entry in self._api.records(client, domain, "MX")]

    def _own(self, client: Any, name: str, word: str) -> list[_Own]:
        return own_records(self._api.records(client, name, "TXT"), name, word)


class CloudflareScratch:
    """ports.ScratchRecord: TXT records of ours. What is expected is named by its id alone, as the lock is."""

    def __init__(self, api: CloudflareApi, name: str) -> None:
        self._api, self.name = api, name
        self._ids: dict[int, str] = {}  # also of records that are gone: their ids are what a stale writer would send

    def read(self) -> tuple[int, ...]:
        with self._api.client() as client:
            found = own_records(self._api.records(client, self.name, "TXT"), self.name, SCRATCH_WORD)
        self._ids |= {record.number: record.id for record in found}
        return tuple(sorted(record.number for record in found))

    def ttl_seconds(self) -> int | None:
        with self._api.client() as client:
            found = self._api.records(client, self.name, "TXT")
        return min((int(entry["ttl"]) for entry in found), default=None)

    def write(self, expected: int | None, number: int) -> None:
        batch: dict[str, list[dict[str, Any]]] = {"deletes": [], "patches": [], "posts": []}
        gone = [] if expected is None else [_Own(self._ids[expected], expected)]
        _move_on(batch, gone, _own_record(self.name, SCRATCH_WORD, number, "failsafe doctor --prove-cas; may be deleted"))
        with self._api.client() as client:
            self._api.batch(client, {kind: entries for kind, entries in batch.items() if entries}, self.name)

    def clear(self) -> None:
        with self._api.client() as client:
            found = own_records(self._api.records(client, self.name, "TXT"), self.name, SCRATCH_WORD)
            if found:
                self._api.batch(client, {"deletes": [{"id": record.id} for record in found]}, self.name)


def own_records(entries: list[dict[str, Any]], name: str, word: str) -> list[_Own]:
    """Our numbered records among those of a name. Raises DnsError where something else lies there."""
    found = []
    for entry in entries:
        text = str(entry.get("content", "")).strip('"')
        number = text.removeprefix(f"{word} ")
        if not text.startswith(f"{word} ") or not number.isdigit():
            raise not_ours("TXT", name, text)
        found.append(_Own(entry["id"], int(number)))
    return found


def _own_record(name: str, word: str, number: int, comment: str) -> dict[str, Any]:
    text = f'"{word} {number}"'  # nothing else: two writers of the same number must write the same record, which is then refused
    return {"type": "TXT", "name": name, "content": text, "ttl": OWN_TTL_SECONDS, "comment": comment[:COMMENT_LIMIT]}


def _move_on(batch: dict[str, list[dict[str, Any]]], gone: list[_Own], new: dict[str, Any]) -> None:
    batch["deletes"] += [{"id": record.id} for record in gone]
    batch["posts"].append(new)


def _batch(found: list[_Found], change: MxChange, ttl_seconds: int | None) -> dict[str, list[dict[str, Any]]]:
    """The change in Cloudflare's words: records changed in place, records added, and only then what must go."""
    batch: dict[str, list[dict[str, Any]]] = {"deletes": [], "patches": [], "posts": []}
    if not change.expected:
        ttl = change.desired.ttl_seconds or ttl_seconds or AUTOMATIC
        return {**batch, "posts": [_post(change, mx, ttl) for mx in change.desired.records]}
    ids = {record.mx: record for record in found}
    old_ttl = min(record.ttl for record in found)
    new_ttl = change.desired.ttl_seconds if change.desired.ttl_seconds != change.expected.ttl_seconds else None
    ttl = old_ttl if new_ttl is None else new_ttl
    ttl = ttl or ttl_seconds or AUTOMATIC
    for step in steps(change.expected, change.desired):
        if step.before is None and step.after is not None:
            batch["posts"].append(_post(change, step.after, ttl))
        elif step.before is not None and step.after is not None:
            patch: dict[str, Any] = {"id": ids[step.before].id, "priority": step.after.preference}
            if not ids[step.before].comment or ids[step.before].comment.startswith(MARK):  # a person's own words stay
                patch["comment"] = change.mark[:COMMENT_LIMIT]
            if step.after.exchange != step.before.exchange:
                patch["content"] = step.after.exchange
            batch["patches"].append(patch if new_ttl is None else {**patch, "ttl": new_ttl})
        elif step.before is not None:
            batch["deletes"].append({"id": ids[step.before].id})
    if new_ttl is not None:
        kept = [record for record in found if record.mx in change.desired.records and record.ttl != new_ttl]
        batch["patches"] += [{"id": record.id, "ttl": new_ttl} for record in kept]
    return batch


def _post(change: MxChange, mx: Mx, ttl: int) -> dict[str, Any]:
    new = {"type": "MX", "name": change.domain, "content": mx.exchange, "priority": mx.preference, "ttl": ttl}
    return {**new, "comment": change.mark[:COMMENT_LIMIT]}


def _to_found(entry: dict[str, Any], domain: str) -> _Found:
    try:
        mx = Mx(int(entry["priority"]), ascii_name(entry["content"]))
        protected = bool((entry.get("meta") or {}).get("read_only"))
        comment = str(entry.get("comment") or "")
        return _Found(entry["id"], mx, int(entry["ttl"]), str(entry.get("modified_on", "")), protected, comment)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DnsError(f"Cloudflare listed an MX record of {domain} that makes no sense ({type(error).__name__})") from error


def _to_set(found: list[_Found]) -> MxSet:
    if len({record.mx for record in found}) != len(found):
        raise DnsError("Cloudflare lists the same MX record twice", mend="delete one of them in the dashboard", transient=False)
    ttl = min((record.ttl for record in found), default=None)
    return MxSet(tuple(sorted(record.mx for record in found)), AUTOMATIC_SECONDS if ttl == AUTOMATIC else ttl)


def _fingerprint(found: list[_Found], locks: list[_Own]) -> frozenset[tuple[str, str]]:
    return frozenset([*((record.id, record.modified_on) for record in found), *((lock.id, "lock") for lock in locks)])
