"""Cloudflare's API through its official SDK, with everything switched off that the SDK does by itself, because each of it has lost records
somewhere: it repeats POSTs, follows the calendar for the API's version, reads a base URL, keys and headers from the environment, and takes an
unexpected answer for an empty list.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

from failsafe.errors import DnsError, OutcomeUnknown, SecretError, ZoneChanged
from failsafe.model import normal_name
from failsafe.secrets import read_secret

if TYPE_CHECKING:
    import cloudflare
    import httpx

BASE_URL = "https://api.cloudflare.com/client/v4"
API_VERSION = "2026-11-01"  # pinned: left out, the SDK sends today's date, and behaviour may change with it
CONNECT_SECONDS = 5.0
WHOLE_SECONDS = 90.0  # of everything that is asked on one occasion: httpx knows deadlines for single reads alone
ANSWER_BYTES = 8 << 20  # of one answer
PER_PAGE, MOST_PAGES = 100, 10
CHANGED_CODES = frozenset(
    {81044, 81053, 81054, 81057, 81058}
)  # record missing, CNAME in the way, record exists, identical record exists
ZONES_NAMED = 20  # of other zones that a token sees; that there are any is what matters
CREDENTIAL_CODES = frozenset({6003, 6111, 9106, 9109, 10000, 10001})
ROUTED_CODES = frozenset({1046, 890190})  # the MX records belong to Email Routing
TTL_CODES = frozenset({9021})
NOT_A_USERS_TOKEN = frozenset({1000})  # an account's token is verified at another place
HOW_TO_MEND = "put a token with DNS:Edit on this one zone into the token file; check that it has not expired"
HOW_TO_UNLOCK = "disable Email Routing for this zone (dashboard: Email, Email Routing, Settings), or unlock its DNS records there"
HOW_TO_SET_TTL = 'set ttl = "60s" or more (at most a day) for this domain'


class CloudflareApi:
    """One zone's part of the API. The token is read from its file at every use."""

    def __init__(self, zone_id: str, token_file: str, base_url: str | None, answer_seconds: float) -> None:
        self._zone_id = zone_id
        self._token_file = token_file
        self._base_url = base_url or BASE_URL
        self._answer_seconds = answer_seconds

    @contextmanager
    def client(self) -> Iterator[cloudflare.Cloudflare]:
        """Raises SecretError."""
        import cloudflare
        import httpx

        token = _read_token(self._token_file)
        timeout = httpx.Timeout(self._answer_seconds, connect=CONNECT_SECONDS)
        # Neither a proxy nor a redirect may carry the token elsewhere.
        cut = _Cut(WHOLE_SECONDS)
        transport = cloudflare.DefaultHttpxClient(
            trust_env=False, follow_redirects=False, timeout=timeout, event_hooks={"request": [cut.watch], "response": [_bound]}
        )
        client = cloudflare.Cloudflare(
            api_token=token,
            base_url=self._base_url,
            api_version=API_VERSION,
            max_retries=0,
            timeout=timeout,
            http_client=transport,
            default_headers={"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"},
            _strict_response_validation=True,
        )
        client.api_key = client.api_email = client.user_service_key = (
            None  # otherwise taken from the environment, before the token
        )
        try:
            with client:
                yield client
        finally:
            cut.end()

    def records(self, client: cloudflare.Cloudflare, name: str, kind: str) -> list[dict[str, Any]]:
        """Every record of this name and type, proved complete by the API's own count. Raises DnsError."""
        import cloudflare

        what, records = f"{kind} {name}", dict[str, dict[str, Any]]()
        for page in range(1, MOST_PAGES + 1):
            try:
                raw: Any = client.dns.records.with_raw_response.list(
                    zone_id=self._zone_id,
                    name={"exact": name},
                    type=kind,  # type: ignore[arg-type]
                    page=page,
                    per_page=PER_PAGE,
                )
                body = _envelope(raw.http_response, list)
            except cloudflare.APIStatusError as error:
                _explain_status(error, what, written=False)
            except cloudflare.CloudflareError as error:
                raise DnsError(
                    f"Cloudflare cannot be asked for {what}: {_short(error)}", mend="try again; see cloudflarestatus.com"
                ) from error
            total = (body.get("result_info") or {}).get("total_count")
            if not isinstance(total, int):
                raise DnsError(f"Cloudflare does not say how many records {what} has")
            records |= {entry["id"]: entry for entry in (_checked(entry, name, kind) for entry in body["result"])}
            if len(records) == total:
                return list(records.values())
            if not body["result"] or len(records) > total:
                break
        raise DnsError(
            f"Cloudflare listed {len(records)} records of {what} but counts {total}: the list changed meanwhile, or is cut"
        )

    @property
    def batch_url(self) -> str:
        return f"{self._base_url}/zones/{self._zone_id}/dns_records/batch"

    def batch(self, client: cloudflare.Cloudflare, batch: Mapping[str, list[dict[str, Any]]], what: str) -> None:
        """One database transaction, sent once. Raises ZoneChanged, OutcomeUnknown, DnsError."""
        import cloudflare

        try:
            raw: Any = client.dns.records.with_raw_response.batch(zone_id=self._zone_id, **batch)  # type: ignore[arg-type]
            _envelope(raw.http_response, dict)
        except cloudflare.APIStatusError as error:
            _explain_status(error, what, written=None)
        except cloudflare.APIConnectionError as error:
            _explain_connection(error, self._base_url)
        except (cloudflare.CloudflareError, DnsError) as error:
            raise OutcomeUnknown(f"Cloudflare's answer to the change of {what} makes no sense: {_short(error)}") from error

    def other_zones(self, client: cloudflare.Cloudflare) -> tuple[str, ...] | None:
        """Names of the other zones that this token sees, ZONES_NAMED at most; None where it sees not even its own. Raises DnsError."""
        found = self.zones(client)
        others = sorted(name for zone_id, name in found.items() if zone_id != self._zone_id)
        return tuple(others[:ZONES_NAMED]) if found else None

    def zones(self, client: cloudflare.Cloudflare) -> dict[str, str]:
        """id -> name of the first zones that this token sees. Raises DnsError."""
        import cloudflare

        try:
            raw: Any = client.zones.with_raw_response.list(per_page=ZONES_NAMED + 1)
            return {str(zone["id"]): ascii_name(str(zone["name"])) for zone in _envelope(raw.http_response, list)["result"]}
        except cloudflare.APIStatusError as error:
            _explain_status(error, "the zones of the token", written=False)
        except (cloudflare.CloudflareError, KeyError, TypeError, ValueError) as error:
            raise DnsError(f"Cloudflare does not tell which zones the token sees: {_short(error)}") from error

    def name_servers(self, client: cloudflare.Cloudflare) -> tuple[str, ...]:
        """Raises DnsError, also where the token may not read the zone itself."""
        import cloudflare

        try:
            found = _envelope(client.zones.with_raw_response.get(zone_id=self._zone_id).http_response, dict)["result"]
        except cloudflare.APIStatusError as error:
            _explain_status(error, "the zone's name servers", written=False)
        except cloudflare.CloudflareError as error:
            raise DnsError(f"Cloudflare does not tell the zone's name servers: {_short(error)}") from error
        names = [name for key in ("name_servers", "vanity_name_servers") for name in found.get(key) or ()]
        if not names or not all(isinstance(name, str) for name in names):
            raise DnsError("Cloudflare does not tell the zone's name servers")
        return tuple(sorted({normal_name(name) for name in names}))

    def token_expires(self, client: cloudflare.Cloudflare) -> datetime | None:
        """When the token ends; None if never. Raises DnsError where it does not tell (a token may lack the right to be asked about)."""
        import cloudflare

        try:
            try:
                raw: Any = client.user.tokens.with_raw_response.verify()
            except cloudflare.APIStatusError as error:
                if not _numbers(error.body) & NOT_A_USERS_TOKEN:
                    raise
                zone = _envelope(client.zones.with_raw_response.get(zone_id=self._zone_id).http_response, dict)
                raw = client.accounts.tokens.with_raw_response.verify(account_id=zone["result"]["account"]["id"])
            body = _envelope(raw.http_response, dict)["result"]
        except cloudflare.APIStatusError as error:
            _explain_status(error, "the token", written=False)
        except (cloudflare.CloudflareError, KeyError, TypeError) as error:
            raise DnsError(f"Cloudflare does not tell when the token ends: {_short(error)}") from error
        try:
            found = body.get("expires_on")
            return None if not found else datetime.fromisoformat(str(found)).astimezone(UTC)
        except ValueError as error:
            raise DnsError(f"Cloudflare says that the token ends {found}") from error


def _read_token(file: str) -> str:
    """Raises SecretError; below, a letter that no HTTP header can hold would be an error of another kind."""
    secret = read_secret(file)
    token = secret.reveal()
    if not all("!" <= letter <= "~" for letter in token):
        raise SecretError(
            f"{secret.source} holds a blank, a line break or a letter that is not ASCII (an editor may have put one before the token)",
            mend="write the token alone into it, as one line: printf %s TOKEN > FILE",
        )
    return token


class _Cut:
    """Ends every connection of a client when the time is over, its TLS handshake included, which may never come back by itself."""

    def __init__(self, seconds: float) -> None:
        self._below: list[socket.socket] = []
        self._over = threading.Event()
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self._timer.start()

    def watch(self, request: httpx.Request) -> None:
        request.extensions["trace"] = self._heard

    def _heard(self, event: str, details: Mapping[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            self._below.append(details["return_value"].get_extra_info("socket").dup())  # TLS takes the first its descriptor away
            if self._over.is_set():
                self._cut()

    def _cut(self) -> None:
        self._over.set()
        for each in tuple(self._below):
            with suppress(OSError):  # it has ended meanwhile
                each.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        self._timer.cancel()
        for each in self._below:
            each.close()


def _bound(response: httpx.Response) -> None:
    """Before the body is read. None that is packed is asked for: a small one may be of any size when it is unpacked."""
    import httpx

    packed = response.headers.get("Content-Encoding", "identity").strip().lower()
    if packed not in ("", "identity"):
        raise httpx.DecodingError(f"an answer in {packed[:40]!r}, which was not asked for", request=response.request)

    assert isinstance(response.stream, httpx.SyncByteStream)
    inner: httpx.SyncByteStream = response.stream

    class Bounded(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            left = ANSWER_BYTES
            for piece in inner:
                left -= len(piece)
                if left < 0:
                    raise httpx.ReadError(f"an answer of more than {ANSWER_BYTES} bytes")
                yield piece

        def close(self) -> None:
            inner.close()

    response.stream = Bounded()


def _envelope(response: httpx.Response, kind: type) -> dict[str, Any]:
    """The answer's body if it is what the API documents; a page of a captive portal or `success: false` is neither a list nor a success."""
    try:
        body = response.json()
    except (ValueError, RecursionError) as error:
        raise DnsError("Cloudflare answered something that is not JSON: is there a login page or proxy in between?") from error
    if not isinstance(body, dict) or body.get("success") is not True or not isinstance(body.get("result"), kind):
        raise DnsError(f"Cloudflare answered without success: {_codes(body) or 'no error is named'}")
    return body


def ascii_name(name: str) -> str:
    """A name as DNS has it: Cloudflare shows those of zones, and here and there others, in their own letters. Raises ValueError for one that is none."""
    return normal_name(name if name.isascii() else name.encode("idna").decode())


def _checked(entry: Any, name: str, kind: str) -> dict[str, Any]:
    try:
        if entry["type"] != kind or ascii_name(entry["name"]) != normal_name(name):
            raise DnsError(f"Cloudflare listed {entry['type']} {entry['name']} when asked for {kind} {name}")
        return {**entry, "id": str(entry["id"])}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DnsError(f"Cloudflare listed a record of {kind} {name} that makes no sense ({type(error).__name__})") from error


def _codes(body: object) -> str:
    errors = body.get("errors") if isinstance(body, Mapping) else None
    named = [error for error in errors if isinstance(error, Mapping)] if isinstance(errors, list) else []
    return "; ".join(f"{error.get('code')} {str(error.get('message', ''))[:200]}" for error in named[:5])


def _numbers(body: object) -> set[object]:
    errors = (body.get("errors") or []) if isinstance(body, Mapping) else []
    return {error.get("code") for error in errors if isinstance(error, Mapping)}


def _explain_status(error: cloudflare.APIStatusError, what: str, *, written: bool | None) -> NoReturn:
    """An answer outside 2xx. `written` False: it was only a question. Only a 4xx that names its errors is a definite no."""
    status, text, codes = error.status_code, _codes(error.body), _numbers(error.body)
    if status == 429:
        wait = error.response.headers.get("retry-after", "300")  # a client over the limit is shut out for the rest of 5 minutes
        raise DnsError(
            f"Cloudflare's rate limit is reached: not before {wait} s from now",
            mend="wait; another program uses the same token or account",
        ) from error
    if codes & ROUTED_CODES:
        raise DnsError(
            f"Cloudflare refuses to change {what}: it belongs to Email Routing ({text})", mend=HOW_TO_UNLOCK, transient=False
        ) from error
    if (status in (401, 403) and (text or written is False)) or (codes & CREDENTIAL_CODES):
        raise DnsError(f"Cloudflare refuses the token for {what}: {text or status}", mend=HOW_TO_MEND, transient=False) from error
    definite = 400 <= status < 500 and status != 408 and bool(text)
    if written is None and not definite:
        raise OutcomeUnknown(f"Cloudflare answered {status} to the change of {what}") from error
    if written is None and codes & CHANGED_CODES:
        raise ZoneChanged(f"the records of {what} changed while ours was on its way ({text}); nothing was written") from error
    mend = HOW_TO_SET_TTL if codes & TTL_CODES else ""
    raise DnsError(
        f"Cloudflare answered {status} for {what}: {text or 'no error is named'}",
        mend=mend,
        transient=status >= 500 or status == 408,
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
