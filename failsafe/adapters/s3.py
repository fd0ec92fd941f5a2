"""A bucket's own facts, by boto3: what really lies there and what this credential may do, independently of restic's word.

Reads only, but for one scratch object of our own (`failsafe-delete-probe`), which shows whether the credential can delete. restic's files are never touched.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

from failsafe.adapters.aws_line import bind, in_time
from failsafe.bucket import BucketFacts, BucketRule, Contents, Deleting
from failsafe.errors import BucketError
from failsafe.secrets import Secret

CONNECT_SECONDS, READ_SECONDS = 10, 30
TRIES = 3
WHOLE_SECONDS = 600.0  # for a look at everything: 500 pages of a slow gateway
ANSWER_BYTES = 4 << 20  # of one answer: a page of a thousand files has some 400 KB
PAGE = 1000  # what a gateway gives at most
MOST_OBJECTS = 500_000  # 16 MB packs: 8 TB
PROBE = "failsafe-delete-probe"
PROBE_TEXT = b"Written by failsafe to see whether its credential can delete here. It may be deleted.\n"
KINDS = ("config", "keys", "snapshots", "index", "data", "locks")  # of restic's layout
MINIMUM_HIDDEN = 4
_DENIED = frozenset({"AccessDenied", "403", "Forbidden", "AllAccessDisabled", "MethodNotAllowed"})
_ABSENT = frozenset(
    {
        "NoSuchLifecycleConfiguration",
        "ObjectLockConfigurationNotFoundError",
        "NotImplemented",
        "404",
        "NoSuchKey",
        "InvalidRequest",
    }
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BucketPlace:
    """Where a repository lies, from restic's URL."""

    endpoint: str
    bucket: str
    prefix: str  # "" or "a/b/"

    @property
    def is_amazon(self) -> bool:
        return (urlsplit(self.endpoint).hostname or "").endswith(".amazonaws.com")

    @property
    def region(self) -> str | None:
        """From a host such as s3.eu-central-1.amazonaws.com."""
        parts = (urlsplit(self.endpoint).hostname or "").split(".")
        return parts[1] if len(parts) >= 4 and parts[0] == "s3" else None


def parse_place(url: str) -> BucketPlace | None:
    """As restic reads it: s3:https://host[:port]/bucket/prefix, s3:host/bucket/prefix, s3://host/bucket. None for another kind of URL."""
    if not url.lower().startswith("s3:"):
        return None
    rest = url[3:]
    if not rest.lower().startswith(("http://", "https://")):
        rest = "https://" + rest.removeprefix("//")
    parts = urlsplit(rest)
    bucket, _, prefix = parts.path.strip("/").partition("/")
    if not parts.netloc or not bucket:
        return None
    return BucketPlace(f"{parts.scheme.lower()}://{parts.netloc}", bucket, f"{prefix.strip('/')}/" if prefix.strip("/") else "")


class S3Bucket:
    """One repository's place in a bucket, seen with the credential that restic uses for it every day."""

    def __init__(
        self,
        name: str,
        place: BucketPlace,
        environment: Callable[[], Mapping[str, Secret]],
        *,
        read_seconds: float = READ_SECONDS,
        whole_seconds: float = WHOLE_SECONDS,
    ) -> None:
        self._name, self._place, self._environment = name, place, environment
        self._read_seconds, self._whole_seconds = read_seconds, whole_seconds

    def look(self, now: datetime) -> BucketFacts:
        """Everything. What this credential may not ask is None; BucketError only where nothing could be learned at all."""
        return self._bounded(lambda: self._look(now))

    def count(self, kind: str) -> int:
        """How many files of one kind (of the first thousand). Raises BucketError."""
        return self._bounded(lambda: len(self._first(kind)))

    # Inside

    def _look(self, now: datetime) -> BucketFacts:
        client = self._client()
        contents, newest, whole, unknown = self._listed(client)
        enabled, mode, days = self._lock(client)
        return BucketFacts(
            at=now,
            versioning=self._versioning(client),
            lock=enabled,
            lock_mode=mode,
            lock_days=days,
            rules=self._rules(client),
            deleting=self._deleting(client),
            contents=contents,
            newest_snapshot_at=newest,
            whole=whole,
            foreign=unknown,
        )

    def _first(self, kind: str) -> list[dict[str, Any]]:
        """The first page of a kind."""
        prefix = self._place.prefix + (kind if kind == "config" else f"{kind}/")
        answer = self._ask(self._client().list_objects_v2, Bucket=self._place.bucket, Prefix=prefix)
        return list(answer.get("Contents", ()))

    def _listed(self, client: Any) -> tuple[dict[str, Contents] | None, datetime | None, bool, int]:
        """(by kind, newest snapshot, whether everything was listed, files of no kind of restic's); (None, …) where listing is denied."""
        counts = dict.fromkeys(KINDS, 0)
        sizes = dict.fromkeys(KINDS, 0)
        newest: datetime | None = None
        seen = foreign = 0
        try:
            for found in self._pages(client):
                seen += 1
                kind = found["Key"][len(self._place.prefix) :].partition("/")[0]
                if kind not in counts:
                    foreign += kind != PROBE
                    continue
                counts[kind] += 1
                sizes[kind] += int(found["Size"])
                if kind == "snapshots":
                    newest = max(newest or found["LastModified"], found["LastModified"])
                if seen >= MOST_OBJECTS:
                    break
        except _Denied:
            return None, None, False, 0
        contents = {kind: Contents(counts[kind], sizes[kind]) for kind in KINDS}
        return contents, None if newest is None else newest.astimezone(UTC), seen < MOST_OBJECTS, foreign

    def _pages(self, client: Any) -> Iterator[dict[str, Any]]:
        token: dict[str, str] = {}
        where = {"Bucket": self._place.bucket, "Prefix": self._place.prefix, "MaxKeys": PAGE}
        for _page in range(MOST_OBJECTS // PAGE + 1):
            answer = self._ask(client.list_objects_v2, **where, **token)
            yield from answer.get("Contents", ())
            if not answer.get("IsTruncated") or not answer.get("NextContinuationToken"):
                return
            token = {"ContinuationToken": answer["NextContinuationToken"]}

    def _versioning(self, client: Any) -> str | None:
        try:
            status = self._ask(client.get_bucket_versioning, Bucket=self._place.bucket).get("Status")
        except (_Denied, _Absent):
            return None
        return {"Enabled": "on", "Suspended": "suspended"}.get(str(status), "off")

    def _lock(self, client: Any) -> tuple[bool | None, str, int]:
        try:
            found = self._ask(client.get_object_lock_configuration, Bucket=self._place.bucket).get("ObjectLockConfiguration", {})
        except _Denied:
            return None, "", 0
        except _Absent:
            return False, "", 0
        rule = found.get("Rule", {}).get("DefaultRetention", {})
        days = int(rule.get("Days", 0)) + 365 * int(rule.get("Years", 0))
        return found.get("ObjectLockEnabled") == "Enabled", str(rule.get("Mode", "")).lower(), days

    def _rules(self, client: Any) -> tuple[BucketRule, ...] | None:
        try:
            found = self._ask(client.get_bucket_lifecycle_configuration, Bucket=self._place.bucket).get("Rules", ())
        except _Denied:
            return None
        except _Absent:
            return ()
        rules = (_rule(number, rule) for number, rule in enumerate(found) if rule.get("Status") == "Enabled")
        return tuple(rule for rule in rules if rule is not None and rule.touches(self._place.prefix))

    def _deleting(self, client: Any) -> Deleting:
        """Tried on an object of our own: the one thing that a policy, a lock and a gateway cannot explain away."""
        key = {"Bucket": self._place.bucket, "Key": self._place.prefix + PROBE}
        digest = base64.b64encode(hashlib.md5(PROBE_TEXT, usedforsecurity=False).digest()).decode()  # a locked bucket demands one
        try:
            version = self._version_there(client, key)
            if version is None:
                version = self._ask(client.put_object, **key, Body=PROBE_TEXT, ContentMD5=digest).get("VersionId") or ""
        except (_Denied, _Absent):
            return Deleting.UNKNOWN  # it cannot even write
        if version and version != "null" and self._succeeds(client.delete_object, **key, VersionId=version):
            return Deleting.FOR_GOOD
        if not self._succeeds(client.delete_object, **key):
            return Deleting.DENIED
        return Deleting.HIDES if version and version != "null" else Deleting.FOR_GOOD

    def _version_there(self, client: Any, key: dict[str, str]) -> str | None:
        """The probe that an earlier look could not delete: it is used again, so that they do not pile up."""
        try:
            return str(self._ask(client.head_object, **key).get("VersionId") or "")
        except (_Denied, _Absent):
            return None

    def _succeeds(self, call: Callable[..., Any], **arguments: Any) -> bool:
        try:
            self._ask(call, **arguments)
        except (_Denied, _Absent):
            return False
        return True

    def _client(self) -> Any:
        import boto3
        import botocore.session
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        given = {name: secret.reveal() for name, secret in self._environment().items()}
        settings = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=self._read_seconds,
            retries={"total_max_attempts": TRIES, "mode": "standard"},
            s3={"addressing_style": "auto" if self._place.is_amazon else "path"},
            request_checksum_calculation="when_required",  # older gateways do not know the newer checksums
            response_checksum_validation="when_required",
        )
        region = given.get("AWS_REGION") or given.get("AWS_DEFAULT_REGION") or self._place.region or "us-east-1"
        try:
            inner = botocore.session.Session(profile=given.get("AWS_PROFILE"))
            if "AWS_SHARED_CREDENTIALS_FILE" in given:
                inner.set_config_variable("credentials_file", given["AWS_SHARED_CREDENTIALS_FILE"])
            session = boto3.session.Session(botocore_session=inner)
            client = session.client(
                "s3",
                region_name=region,
                endpoint_url=None if self._place.is_amazon else self._place.endpoint,
                aws_access_key_id=given.get("AWS_ACCESS_KEY_ID"),
                aws_secret_access_key=given.get("AWS_SECRET_ACCESS_KEY"),
                aws_session_token=given.get("AWS_SESSION_TOKEN"),
                config=settings,
            )
            bind(client, ANSWER_BYTES, **self._line(inner))
            return client
        except (BotoCoreError, ValueError) as error:
            raise self._error(str(error), "look at environment_file and at the URL of the repository", transient=False) from error

    def _line(self, session: Any) -> dict[str, Any]:
        """As botocore would make it: whom to trust and which proxy to use is said by the environment, as for restic."""
        from botocore.utils import get_environ_proxies

        return {
            "timeout": (CONNECT_SECONDS, self._read_seconds),
            "proxies": get_environ_proxies(self._place.endpoint),
            "verify": session.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE") or True,
        }

    def _ask(self, call: Callable[..., Any], **arguments: Any) -> dict[str, Any]:
        """One request. Raises _Denied, _Absent, BucketError."""
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

        try:
            answer: dict[str, Any] = call(**arguments)
        except ClientError as error:
            raise self._refused(error.response) from error
        except NoCredentialsError as error:
            mend = "put AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY into environment_file"
            raise self._error("no credential is configured", mend, transient=False) from error
        except BotoCoreError as error:
            mend = "check that the gateway is up and reachable from here, and the URL"
            raise self._error(str(error), mend) from error
        return answer

    def _refused(self, response: Mapping[str, Any]) -> Exception:
        error = response.get("Error", {})
        code, status = str(error.get("Code", "")), int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        text = f"{code} (HTTP {status}) {error.get('Message', '')}".strip()
        if code in ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"):
            return self._error(text, "put a valid credential into environment_file", transient=False)
        if code == "NoSuchBucket":
            return self._error(text, "look at the URL: this bucket is not there", transient=False)
        if code in _DENIED or status == 403:
            return _Denied(text)
        if code in _ABSENT or status in (404, 501):
            return _Absent(text)
        return self._error(text, "the gateway has trouble of its own; try again later")

    def _error(self, text: str, mend: str, *, transient: bool = True) -> BucketError:
        for secret in self._environment().values():
            if len(secret.reveal()) >= MINIMUM_HIDDEN:
                text = text.replace(secret.reveal(), "***")
        where = f"{self._place.endpoint}/{self._place.bucket}"
        return BucketError(f"repository {self._name}: the bucket at {where}: {text}", mend=mend, transient=transient)

    def _bounded(self, work: Callable[[], T]) -> T:
        """A gateway that sends a byte now and then passes every timeout of one read; the whole has one, too."""
        try:
            return in_time(work, self._whole_seconds, f"bucket {self._name}")
        except TimeoutError as error:
            text = f"no whole answer within {self._whole_seconds:.0f} s"
            raise self._error(text, "look at the gateway and at the line") from error
        except _Denied as error:
            mend = "let this credential list and read the bucket (s3:ListBucket, s3:GetObject)"
            raise self._error(str(error), mend, transient=False) from error
        except _Absent as error:
            raise self._error(str(error), "look at the URL", transient=False) from error


class _Denied(Exception):
    """The gateway understood and refused."""


class _Absent(Exception):
    """There is no such thing, or the gateway does not know the question."""


def _rule(number: int, rule: Mapping[str, Any]) -> BucketRule | None:
    """What a lifecycle rule does to current objects; None where it only tidies old versions and unfinished uploads."""
    expires, moves = rule.get("Expiration", {}), rule.get("Transitions", [])
    given = rule.get("Filter", {})
    prefix = str(given.get("Prefix") or given.get("And", {}).get("Prefix") or rule.get("Prefix") or "")
    name = str(rule.get("ID") or f"number {number + 1}")
    if expires.get("Days") or expires.get("Date"):
        return BucketRule(name, prefix, f"deletes objects after {expires.get('Days', 'a date,')} days")
    if moves:
        kind = str(moves[0].get("StorageClass", "another class"))
        return BucketRule(name, prefix, f"moves objects to {kind} after {moves[0].get('Days', 0)} days")
    return None
