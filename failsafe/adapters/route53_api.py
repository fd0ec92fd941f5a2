"""Route 53's API through boto3, with what the SDK does by itself switched off: it repeats requests, and takes identity, addresses and proxies
from the environment. What is repeated here, a few times, is only what Route 53 says it did not do because it is busy.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, NoReturn

from failsafe.adapters.aws_line import bind, in_time
from failsafe.adapters.aws_profile import AwsCredentials, read_profile
from failsafe.errors import DnsError, OutcomeUnknown, ZoneChanged
from failsafe.model import normal_name

CONNECT_SECONDS = 5.0
WHOLE_SECONDS = 60.0  # for one request and its answer
ANSWER_BYTES = 1 << 20  # of one answer; the longest list that is asked for has a hundred rows
BUSY_WAITS = (0.5, 1.0, 2.0)  # five requests a second are allowed to an account, and one change at a time in a zone
FIRST_POLL, LONGEST_POLL = 0.5, 4.0
MOST_PAGES = 20
COMMENT_LIMIT = 256  # characters, of a change batch
PLAIN_KEYS = frozenset(
    {"Name", "Type", "TTL", "ResourceRecords"}
)  # anything more is a routing policy, an alias or a health check
BUSY_CODES = frozenset({"Throttling", "ThrottlingException", "RequestLimitExceeded", "PriorRequestNotComplete"})
CREDENTIAL_CODES = frozenset(
    {
        "AccessDenied", "AccessDeniedException", "InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch",
        "InvalidSignatureException", "IncompleteSignature", "MissingAuthenticationToken", "MissingAuthenticationTokenException",
        "ExpiredToken", "ExpiredTokenException", "RequestExpired", "OptInRequired", "AuthFailure", "NotAuthorized",
    }
)  # fmt: skip
HOW_TO_MEND = (
    "a configuration error, not an outage: the key needs route53:GetHostedZone, ListResourceRecordSets and ChangeResourceRecordSets on this "
    "hosted zone, ListResourceRecordSetProtections there, and GetChange; check also that it has not expired, and this machine's clock"
)
DRIFTED = ("values provided do not match", "but it was not found", "but it already exists")


@dataclass(frozen=True, slots=True)
class RrSet:
    """An RRset as Route 53 keeps it. `raw` is what a DELETE has to repeat word for word."""

    raw: dict[str, Any]

    @property
    def values(self) -> list[str]:
        return [str(record["Value"]) for record in self.raw["ResourceRecords"]]


class Route53Api:
    """One account, for one hosted zone or more. The credentials are read from their file at every use."""

    def __init__(
        self,
        zone_id: str | None,
        credentials: tuple[Path, str | None],
        base_url: str | None,
        answer_seconds: float,
        everywhere_seconds: float,
    ) -> None:
        self._given_id = None if zone_id is None else zone_id.removeprefix("/hostedzone/")
        self._credentials, self._base_url = credentials, base_url
        self._answer_seconds, self._everywhere_seconds = answer_seconds, everywhere_seconds
        self._zone_ids: dict[str, str] = {}
        self._client_for: tuple[AwsCredentials, Any] | None = None

    def find(self, client: Any, zone_id: str, name: str, kind: str) -> RrSet | None:
        """The plain RRset of this name and type; None where the list says that there is none. Raises DnsError."""
        with _explained(f"{kind} {name}", written=False):
            answer = _unless_busy(
                lambda: client.list_resource_record_sets(
                    HostedZoneId=zone_id, StartRecordName=f"{name}.", StartRecordType=kind, MaxItems="1"
                )
            )
        if "ResourceRecordSets" not in answer or "IsTruncated" not in answer:  # the SDK takes any other XML for an empty list
            raise DnsError(f"Route 53 answered something else than a list when asked for {kind} {name}")
        for entry in answer["ResourceRecordSets"]:
            if normal_name(str(entry.get("Name", ""))) != normal_name(name) or entry.get("Type") != kind:
                continue
            more = set(entry) - PLAIN_KEYS
            if more or "TTL" not in entry or not entry.get("ResourceRecords"):
                raise DnsError(
                    f"{kind} {name} is more than a plain record in Route 53 ({', '.join(sorted(more)) or 'no value'})",
                    mend="make it a record with simple routing, without health check or alias",
                    transient=False,
                )
            return RrSet(entry)
        return None

    def send(self, client: Any, zone_id: str, domain: str, changes: list[dict[str, Any]], mark: str) -> str:
        """One change batch; its id. Raises ZoneChanged, OutcomeUnknown, DnsError."""
        from botocore.exceptions import ClientError

        batch = change_batch(changes, mark)
        try:
            with _explained(f"the change of {domain}", written=True):
                answer = _unless_busy(lambda: client.change_resource_record_sets(HostedZoneId=zone_id, ChangeBatch=batch))
        except DnsError as error:
            refusal = error.__cause__
            if isinstance(refusal, ClientError) and _code(refusal) == "InvalidChangeBatch":
                self._explain_refusal(client, zone_id, domain, changes, refusal)
            raise
        change_id = (answer.get("ChangeInfo") or {}).get("Id")
        if not change_id:
            raise OutcomeUnknown(f"Route 53's answer to the change of {domain} makes no sense: it names no change")
        return str(change_id)

    def _explain_refusal(self, client: Any, zone_id: str, domain: str, changes: list[dict[str, Any]], refusal: Any) -> NoReturn:
        """InvalidChangeBatch says in words only why nothing was written, so the zone is asked, too."""
        text = _message(refusal)[:400]
        names = {(normal_name(each["ResourceRecordSet"]["Name"]), each["ResourceRecordSet"]["Type"]) for each in changes}
        protected: list[tuple[str, str, str]] = []
        with suppress(DnsError):  # Amazon's own words still stand
            protected = [row for row in self.protections(client, zone_id) if row[:2] in names]
        if protected:
            name, kind, comment = protected[0]
            raise DnsError(
                f"Route 53 protects {kind} {name} against every change{f' ({comment})' if comment else ''}; nothing was written",
                mend="delete the protection: aws route53 delete-resource-record-set-protections, or in the console under the hosted zone",
                transient=False,
            ) from refusal
        if any(words in text for words in DRIFTED):
            raise ZoneChanged(
                f"the records of {domain} changed while ours was on its way ({text}); nothing was written"
            ) from refusal
        raise DnsError(f"Route 53 refuses the change of {domain}: {text or 'no reason is named'}", transient=False) from refusal

    def protections(self, client: Any, zone_id: str) -> list[tuple[str, str, str]]:
        """(name, type, comment) of the protected sets. Raises DnsError where not all of them can be known: then nobody may say that there are none."""
        what, ask = "the record set protections", getattr(client, "list_resource_record_set_protections", None)
        if ask is None:
            raise DnsError(
                f"the boto3 that is installed does not know {what}", mend="pip install --upgrade boto3", transient=False
            )
        found: list[tuple[str, str, str]] = []
        more: dict[str, str] = {}
        for _ in range(MOST_PAGES):
            with _explained(what, written=False):
                answer = _unless_busy(partial(ask, HostedZoneId=zone_id, **more))
            if "ResourceRecordSetProtections" not in answer:  # the SDK takes any other XML for an empty list
                raise DnsError(f"Route 53 answered something else than a list when asked for {what}")
            found += [
                (normal_name(str(row.get("RecordName"))), str(row.get("RecordType")), str(row.get("Comment") or ""))
                for row in answer["ResourceRecordSetProtections"]
            ]
            if not answer.get("NextToken"):
                return found
            more = {"NextToken": answer["NextToken"]}
        raise DnsError(f"Route 53 lists {what} on more than {MOST_PAGES} pages")

    def wait_until_everywhere(self, client: Any, change_id: str) -> None:
        """Waits until every server of Amazon's has the change. Its end without that is no error: the read-back asks the servers themselves."""
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        until, wait = time.monotonic() + self._everywhere_seconds, FIRST_POLL
        while True:
            try:
                status = _in_time(lambda: client.get_change(Id=change_id))["ChangeInfo"]["Status"]
            except (BotoCoreError, ClientError, ResponseParserError, KeyError):
                return
            left = until - time.monotonic()
            if status == "INSYNC" or left <= 0:
                return
            time.sleep(min(wait, left))
            wait = min(wait * 1.5, LONGEST_POLL)

    def zone_id(self, client: Any, zone: str) -> str:
        """The hosted zone of this name, public and the only one, looked up once. Raises DnsError."""
        if zone not in self._zone_ids:
            self._zone_ids[zone] = self._verified(client, zone) if self._given_id is not None else _only_one(client, zone)
        return self._zone_ids[zone]

    def name_servers(self, client: Any, zone_id: str) -> tuple[str, ...]:
        """Raises DnsError."""
        with _explained(f"the name servers of the hosted zone {zone_id}", written=False):
            answer = _unless_busy(lambda: client.get_hosted_zone(Id=zone_id))
        names = (answer.get("DelegationSet") or {}).get("NameServers") or ()
        if not names:
            raise DnsError(f"Route 53 does not tell the name servers of the hosted zone {zone_id}")
        return tuple(sorted({normal_name(str(name)) for name in names}))

    def _verified(self, client: Any, zone: str) -> str:
        assert self._given_id is not None
        with _explained(f"the hosted zone {self._given_id}", written=False):
            answer = _unless_busy(lambda: client.get_hosted_zone(Id=self._given_id))
        found = answer.get("HostedZone") or {}
        name = normal_name(str(found.get("Name", "")))
        if not name:
            raise DnsError(f"Route 53 does not say which zone {self._given_id} is")
        if name != zone or (found.get("Config") or {}).get("PrivateZone"):
            kind = "private, so no sender ever sees it" if name == zone else f"{name}, not {zone}"
            raise DnsError(
                f"the hosted zone {self._given_id} is {kind}",
                mend="set hosted_zone_id in [dns], or `zone` of the domain; aws route53 list-hosted-zones-by-name shows them",
                transient=False,
            )
        return self._given_id

    def client(self) -> Any:
        """Raises SecretError."""
        credentials = read_profile(*self._credentials)
        if self._client_for is None or self._client_for[0] != credentials:
            self._client_for = (credentials, _make_client(credentials, self._base_url, self._answer_seconds))
        return self._client_for[1]


def _make_client(credentials: AwsCredentials, base_url: str | None, answer_seconds: float) -> Any:
    """A client that takes nothing from the environment: no other identity, address, proxy or file of settings."""
    import os

    import boto3
    import botocore.session
    from botocore.config import Config

    nothing = (None, None, os.devnull, None)  # of a configuration file, of the environment; the value; how it is read
    inner = botocore.session.Session(
        session_vars={
            "profile": (None, None, None, None),
            "config_file": nothing,
            "credentials_file": nothing,
            "ca_bundle": (None, None, None, None),
        }
    )
    inner.register_component("data_loader", _loader())
    token = credentials.session_token
    client = boto3.session.Session(botocore_session=inner).client(
        "route53",
        region_name="us-east-1",
        endpoint_url=base_url or "https://route53.amazonaws.com",
        aws_access_key_id=credentials.access_key_id,
        aws_secret_access_key=credentials.secret_access_key.reveal(),
        aws_session_token=None if token is None else token.reveal(),
        verify=True,  # None would let $REQUESTS_CA_BUNDLE say whom to trust
        config=Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=answer_seconds,
            retries={"total_max_attempts": 1, "mode": "standard"},
            proxies={},
            ignore_configured_endpoint_urls=True,
        ),
    )
    bind(client, ANSWER_BYTES, verify=True, proxies={}, timeout=(CONNECT_SECONDS, answer_seconds))
    return client


@cache
def _loader() -> Any:
    """Amazon's description of its API, read once for all clients."""
    import botocore.loaders

    return botocore.loaders.create_loader(None)


def _only_one(client: Any, zone: str) -> str:
    with _explained(f"the hosted zone of {zone}", written=False):
        answer = _unless_busy(lambda: client.list_hosted_zones_by_name(DNSName=f"{zone}.", MaxItems="10"))
    if "HostedZones" not in answer or "IsTruncated" not in answer:
        raise DnsError(f"Route 53 answered something else than a list when asked for the hosted zone of {zone}")
    found = [
        str(entry["Id"]).removeprefix("/hostedzone/")
        for entry in answer["HostedZones"]
        if normal_name(str(entry.get("Name", ""))) == zone and not (entry.get("Config") or {}).get("PrivateZone")
    ]
    if len(found) != 1:
        said = f"{len(found)} public hosted zones ({', '.join(found)})" if found else "no public hosted zone"
        mend = "set hosted_zone_id in [dns] to the one whose name servers the domain is delegated to"
        raise DnsError(f"this account has {said} of the name {zone}", mend=mend, transient=False)
    return found[0]


def _unless_busy(call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Repeats what was refused because too much was asked at once: then nothing was done."""
    from botocore.exceptions import ClientError

    for wait in BUSY_WAITS:
        try:
            return _in_time(call)
        except ClientError as error:
            if _code(error) not in BUSY_CODES:
                raise
        time.sleep(wait)
    return _in_time(call)


def _in_time(call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    from botocore.exceptions import ReadTimeoutError

    try:
        return in_time(call, WHOLE_SECONDS, "Route 53")
    except TimeoutError as error:
        raise ReadTimeoutError(endpoint_url="Route 53") from error


def change_batch(changes: list[dict[str, Any]], mark: str) -> dict[str, Any]:
    """As it is sent."""
    return {"Comment": mark[:COMMENT_LIMIT], "Changes": changes}


@contextmanager
def _explained(what: str, *, written: bool) -> Iterator[None]:
    """boto3's errors in our words. With `written`, whatever is no definite no is an unknown outcome."""
    from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, EndpointConnectionError, ProxyConnectionError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except ClientError as error:
        _explain_status(error, what, written=written)
    except (EndpointConnectionError, ConnectTimeoutError, ProxyConnectionError) as error:  # nothing was sent
        raise DnsError(
            f"cannot connect to Route 53: {_short(error)}", mend="check our own line; see health.aws.amazon.com"
        ) from error
    except (BotoCoreError, ResponseParserError) as error:
        if written:
            raise OutcomeUnknown(f"Route 53 gave no usable answer to {what}: {_short(error)}") from error
        raise DnsError(f"Route 53 gave no usable answer when asked for {what}: {_short(error)}", mend="try again") from error


def _explain_status(error: Any, what: str, *, written: bool) -> NoReturn:
    code, status = _code(error), int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    text = f"{code} {_message(error)[:200]}".strip()
    named = code.isalpha() and 400 <= status < 500  # a page of somebody else's has no code of Amazon's
    if code in BUSY_CODES:
        mend = "wait; another program uses the same account, or changes the same zone"
        raise DnsError(f"Route 53 is busy with other requests ({text}): {what} was not done", mend=mend) from error
    if (named and code in CREDENTIAL_CODES) or (status == 403 and not written):
        raise DnsError(f"Route 53 refuses our key for {what}: {text}", mend=HOW_TO_MEND, transient=False) from error
    if not named and written:
        raise OutcomeUnknown(f"Route 53 answered {status} to {what}") from error
    raise DnsError(f"Route 53 answered {status} for {what}: {text}", transient=status >= 500) from error


def _code(error: Any) -> str:
    """Amazon's word for the error. A refused batch may come in a form of its own, of which the SDK reads only the messages."""
    found = str(error.response.get("Error", {}).get("Code", ""))
    return "InvalidChangeBatch" if not found and "Messages" in error.response else found


def _message(error: Any) -> str:
    found = error.response.get("Error", {}).get("Message") or error.response.get("Messages") or ""
    return str(found.get("Message", found) if isinstance(found, dict) else found)


def _short(error: BaseException) -> str:
    """HTTPClientError may quote a header, and with it who we are."""
    from botocore.exceptions import HTTPClientError

    if type(error) is HTTPClientError:
        return type(error).__name__
    return f"{type(error).__name__} {str(error)[:200]}".strip()
