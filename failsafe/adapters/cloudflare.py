"""ports.DnsZone on Cloudflare, through its official SDK.

What the SDK does by itself is switched off, because each of it has lost records somewhere: it repeats POSTs, follows the calendar for the
API's version, reads a base URL, keys and headers from the environment, and takes an unexpected answer for an empty list. A change is one
batch (one database transaction, in the order deletes, patches, puts, posts). What becomes *visible* is not atomic there, so records are
changed in place or added, and at least one lives through every change: the set is never seen empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from failsafe.errors import DnsError, OutcomeUnknown, ZoneChanged
from failsafe.failover.scratch import is_scratch
from failsafe.failover.zone import steps
from failsafe.model import Mx, MxChange, MxSet, ZonePromises, normal_name
from failsafe.secrets import read_secret

if TYPE_CHECKING:
    import cloudflare
    import httpx

BASE_URL = "https://api.cloudflare.com/client/v4"
API_VERSION = "2026-11-01"  # pinned: left out, the SDK sends today's date, and behaviour may change with it
ANSWER_SECONDS, CONNECT_SECONDS = 20.0, 5.0
PER_PAGE, MOST_PAGES = 100, 10
AUTOMATIC, AUTOMATIC_SECONDS = 1, 300  # a TTL of 1 means "automatic", which is served as 300 s
COMMENT_LIMIT = 100  # characters, on the free plan
CHANGED_CODES = frozenset(
    {81044, 81053, 81054, 81057, 81058}
)  # record missing, CNAME in the way, record exists, identical record exists
CREDENTIAL_CODES = frozenset({6003, 6111, 9106, 9109, 10000, 10001})
HOW_TO_MEND = "put a token with DNS:Edit on this one zone into the token file; check that it has not expired"


@dataclass(frozen=True, slots=True)
class _Found:
    """One MX record as Cloudflare keeps it."""

    id: str
    mx: Mx
    ttl: int
    modified_on: str


class CloudflareZone:
    """One zone. The token is read from its file at every use.

    `compare_and_set` is False: the API has no conditional write. The records (values, ids and modification times) are compared just before
    the batch instead; a change that somebody else makes within that fraction of a second is only noticed by the read-back afterwards.
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
        self._zone_id = zone_id
        self._token_file = str(token_file)
        self._base_url = base_url or BASE_URL
        self._ttl_seconds = ttl_seconds
        self._answer_seconds = answer_seconds
        self._seen: dict[str, frozenset[tuple[str, str]]] = {}

    def read(self, zone: str, domain: str) -> MxSet:  # noqa: ARG002 - the zone is known by its id
        with self._client() as client:
            found = self._list(client, domain)
        self._seen[domain] = _fingerprint(found)
        return _to_set(found)

    def apply(self, change: MxChange) -> None:
        """Compares, then sends one batch, once. Raises ZoneChanged, OutcomeUnknown, DnsError, SecretError."""
        assert change.expected or is_scratch(change.domain), "the first MX record of a domain is written by a person"
        assert change.desired, "an empty MX set is never written"
        seen = self._seen.pop(change.domain, None)
        with self._client() as client:
            found = self._list(client, change.domain)
            if not _to_set(found).same_records(change.expected):
                raise ZoneChanged(f"{change.domain} does not hold what the plan was made for; nothing was written")
            if seen is not None and seen != _fingerprint(found):
                raise ZoneChanged(f"the MX records of {change.domain} were touched since they were read; nothing was written")
            batch = _batch(found, change, self._ttl_seconds)
            if batch:
                self._send(client, batch, change.domain)

    def clear(self, zone: str, name: str) -> None:  # noqa: ARG002 - the zone is known by its id
        """Lists, then deletes what was listed in one batch. Raises as `apply`."""
        assert is_scratch(name), f"{name} is no scratch name"
        with self._client() as client:
            found = self._list(client, name)
            if found:
                self._send(client, {"deletes": [{"id": record.id} for record in found]}, name)

    def _send(self, client: cloudflare.Cloudflare, batch: dict[str, list[dict[str, Any]]], domain: str) -> None:
        import cloudflare

        try:
            raw: Any = client.dns.records.with_raw_response.batch(zone_id=self._zone_id, **batch)  # type: ignore[arg-type]
            _envelope(raw.http_response, dict)
        except cloudflare.APIStatusError as error:
            _explain_status(error, domain, written=None)
        except cloudflare.APIConnectionError as error:
            _explain_connection(error, self._base_url)
        except (cloudflare.CloudflareError, DnsError) as error:
            raise OutcomeUnknown(f"Cloudflare's answer to the change of {domain} makes no sense: {_short(error)}") from error

    def _list(self, client: cloudflare.Cloudflare, domain: str) -> list[_Found]:
        """Every MX record of the domain, proved complete by the API's own count. Raises DnsError."""
        import cloudflare

        records: dict[str, _Found] = {}
        for page in range(1, MOST_PAGES + 1):
            try:
                raw: Any = client.dns.records.with_raw_response.list(
                    zone_id=self._zone_id, name={"exact": domain}, type="MX", page=page, per_page=PER_PAGE
                )
                body = _envelope(raw.http_response, list)
            except cloudflare.APIStatusError as error:
                _explain_status(error, domain, written=False)
            except cloudflare.CloudflareError as error:
                raise DnsError(
                    f"Cloudflare cannot be asked for {domain}: {_short(error)}", mend="try again; see cloudflarestatus.com"
                ) from error
            total = (body.get("result_info") or {}).get("total_count")
            if not isinstance(total, int):
                raise DnsError(f"Cloudflare does not say how many MX records {domain} has")
            records |= {found.id: found for found in (_to_found(entry, domain) for entry in body["result"])}
            if len(records) == total:
                return list(records.values())
            if not body["result"] or len(records) > total:
                break
        raise DnsError(
            f"Cloudflare listed {len(records)} MX records of {domain} but counts {total}: the list changed meanwhile, or is cut"
        )

    @contextmanager
    def _client(self) -> Iterator[cloudflare.Cloudflare]:
        import cloudflare
        import httpx

        token = read_secret(self._token_file).reveal()
        timeout = httpx.Timeout(self._answer_seconds, connect=CONNECT_SECONDS)
        # Neither a proxy nor a redirect may carry the token elsewhere.
        transport = cloudflare.DefaultHttpxClient(trust_env=False, follow_redirects=False, timeout=timeout)
        client = cloudflare.Cloudflare(
            api_token=token,
            base_url=self._base_url,
            api_version=API_VERSION,
            max_retries=0,
            timeout=timeout,
            http_client=transport,
            default_headers={"Authorization": f"Bearer {token}"},
            _strict_response_validation=True,
        )
        client.api_key = client.api_email = client.user_service_key = (
            None  # otherwise taken from the environment, before the token
        )
        with client:
            yield client


def _batch(found: list[_Found], change: MxChange, ttl_seconds: int | None) -> dict[str, list[dict[str, Any]]]:
    """The change in Cloudflare's words: records changed in place, records added, and only then what must go."""
    if not change.expected:
        return {
            "posts": [_post(change, mx, change.desired.ttl_seconds or ttl_seconds or AUTOMATIC) for mx in change.desired.records]
        }
    ids = {record.mx: record for record in found}
    old_ttl = min(record.ttl for record in found)
    new_ttl = change.desired.ttl_seconds if change.desired.ttl_seconds != change.expected.ttl_seconds else None
    ttl = old_ttl if new_ttl is None else new_ttl
    ttl = ttl or ttl_seconds or AUTOMATIC
    batch: dict[str, list[dict[str, Any]]] = {"deletes": [], "patches": [], "posts": []}
    for step in steps(change.expected, change.desired):
        if step.before is None and step.after is not None:
            batch["posts"].append(_post(change, step.after, ttl))
        elif step.before is not None and step.after is not None:
            patch: dict[str, Any] = {"id": ids[step.before].id, "priority": step.after.preference}
            if step.after.exchange != step.before.exchange:
                patch["content"] = step.after.exchange
            batch["patches"].append(patch if new_ttl is None else {**patch, "ttl": new_ttl})
        elif step.before is not None:
            batch["deletes"].append({"id": ids[step.before].id})
    if new_ttl is not None:
        kept = [record for record in found if record.mx in change.desired.records and record.ttl != new_ttl]
        batch["patches"] += [{"id": record.id, "ttl": new_ttl} for record in kept]
    return {kind: entries for kind, entries in batch.items() if entries}


def _post(change: MxChange, mx: Mx, ttl: int) -> dict[str, Any]:
    new = {"type": "MX", "name": change.domain, "content": mx.exchange, "priority": mx.preference, "ttl": ttl}
    return {**new, "comment": change.mark[:COMMENT_LIMIT]}


def _envelope(response: httpx.Response, kind: type) -> dict[str, Any]:
    """The answer's body if it is what the API documents; a page of a captive portal or `success: false` is neither a list nor a success."""
    try:
        body = response.json()
    except ValueError as error:
        raise DnsError("Cloudflare answered something that is not JSON: is there a login page or proxy in between?") from error
    if not isinstance(body, dict) or body.get("success") is not True or not isinstance(body.get("result"), kind):
        raise DnsError(f"Cloudflare answered without success: {_codes(body) or 'no error is named'}")
    return body


def _to_found(entry: Any, domain: str) -> _Found:
    try:
        if entry["type"] != "MX" or normal_name(entry["name"]) != normal_name(domain):
            raise DnsError(f"Cloudflare listed {entry['type']} {entry['name']} when asked for the MX records of {domain}")
        preference = int(entry["priority"])
        return _Found(
            str(entry["id"]), Mx(preference, normal_name(entry["content"])), int(entry["ttl"]), str(entry.get("modified_on", ""))
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DnsError(f"Cloudflare listed an MX record of {domain} that makes no sense ({type(error).__name__})") from error


def _to_set(found: list[_Found]) -> MxSet:
    if len({record.mx for record in found}) != len(found):
        raise DnsError("Cloudflare lists the same MX record twice", mend="delete one of them in the dashboard", transient=False)
    ttl = min((record.ttl for record in found), default=None)
    return MxSet(tuple(sorted(record.mx for record in found)), AUTOMATIC_SECONDS if ttl == AUTOMATIC else ttl)


def _fingerprint(found: list[_Found]) -> frozenset[tuple[str, str]]:
    return frozenset((record.id, record.modified_on) for record in found)


def _codes(body: object) -> str:
    errors = body.get("errors") if isinstance(body, Mapping) else None
    named = [error for error in errors if isinstance(error, Mapping)] if isinstance(errors, list) else []
    return "; ".join(f"{error.get('code')} {str(error.get('message', ''))[:200]}" for error in named[:5])


def _explain_status(error: cloudflare.APIStatusError, domain: str, *, written: bool | None) -> NoReturn:
    """An answer outside 2xx. `written` False: it was only a question. Only a 4xx that names its errors is a definite no."""
    status, body = error.status_code, error.body
    text, codes = (
        _codes(body),
        {
            entry.get("code")
            for entry in (body.get("errors") or [] if isinstance(body, Mapping) else [])
            if isinstance(entry, Mapping)
        },
    )
    if status == 429:
        wait = error.response.headers.get("retry-after", "300")  # a client over the limit is shut out for the rest of 5 minutes
        raise DnsError(
            f"Cloudflare's rate limit is reached: not before {wait} s from now",
            mend="wait; another program uses the same token or account",
        ) from error
    if (status in (401, 403) and (text or written is False)) or (codes & CREDENTIAL_CODES):
        raise DnsError(
            f"Cloudflare refuses the token for {domain}: {text or status}", mend=HOW_TO_MEND, transient=False
        ) from error
    definite = 400 <= status < 500 and status != 408 and bool(text)
    if written is None and not definite:
        raise OutcomeUnknown(f"Cloudflare answered {status} to the change of {domain}") from error
    if written is None and codes & CHANGED_CODES:
        raise ZoneChanged(f"the records of {domain} changed while ours was on its way ({text}); nothing was written") from error
    raise DnsError(
        f"Cloudflare answered {status} for {domain}: {text or 'no error is named'}", transient=status >= 500
    ) from error


def _explain_connection(error: cloudflare.APIConnectionError, base_url: str) -> NoReturn:
    import httpx

    if isinstance(error.__cause__, httpx.ConnectError | httpx.ConnectTimeout):  # nothing was sent
        raise DnsError(
            f"cannot connect to {base_url}: {_short(error.__cause__)}", mend="check our own line; see cloudflarestatus.com"
        ) from error
    raise OutcomeUnknown(f"Cloudflare gave no answer: {_short(error)}") from error


def _short(error: BaseException) -> str:
    return f"{type(error).__name__} {str(error)[:200]}".strip()
