"""A strict stand-in for Amazon Route 53's API on loopback: REST-XML as boto3 speaks it, and every refusal that the real one makes.

A change batch is one transaction: changes are judged one after the other on a draft, and the first fault leaves everything as it was. A
DELETE must repeat the set as it stands (TTL and every value, in any order); one that does not is InvalidChangeBatch, as at Amazon. A
protected name and type refuses every change. A change is PENDING for as many looks as `pending_looks` says, then INSYNC.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from tests.fakes.listening import listening

KEY_ID, SECRET_KEY = "AKIAONLYTESTSKNOWIT0", "a-secret-key-that-only-tests-know"
ZONE_ID = "Z0123456789EXAMPLE"
NAMESPACE = "https://route53.amazonaws.com/doc/2013-04-01/"
Key = tuple[str, str]  # name with its final dot, type


@dataclass(frozen=True)
class Set:
    ttl: int
    values: tuple[str, ...]
    more: str = ""  # XML of a routing policy or a health check


class RefusedError(Exception):
    """An error of the API: HTTP status, code, message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class Route53Server:
    """`read_faults` and `write_faults` hold what the next requests meet: "ok", "throttled", "busy", "denied", "500", "html", "html-403",
    "garbage", "hang-before", "cut", "commit-then-hang", "commit-then-cut", "commit-then-500", "commit-then-garbage".
    """

    def __init__(self, zone: str, mx: list[str], ttl: int = 60) -> None:
        self.lock = threading.Lock()
        self.read_faults: deque[str] = deque()
        self.write_faults: deque[str] = deque()
        self.look_faults: deque[str] = deque()  # of looks at whether a change is everywhere
        self.zones: dict[str, tuple[str, bool]] = {ZONE_ID: (f"{zone}.", False)}  # id: name, private
        self.sets: dict[Key, Set] = {
            (f"{zone}.", "NS"): Set(172_800, ("ns1.example.org.",)),
            (f"{zone}.", "SOA"): Set(900, ("ns1.example.org. awsdns-hostmaster.amazon.com. 1 7200 900 1209600 86400",)),
            (f"{zone}.", "MX"): Set(ttl, tuple(mx)),
        }
        self.protected: dict[Key, str] = {}
        self.pending_looks = 1
        self.looks: dict[str, int] = {}
        self.requests: list[tuple[str, str]] = []
        self.batches: list[list[tuple[str, Key, Set]]] = []
        self.comments: list[str] = []
        self.history: list[Set | None] = [self.sets[f"{zone}.", "MX"]]
        self.writes = 0
        self.older_errors = False  # the form without <Error>, which Amazon has used for InvalidChangeBatch too
        self.released = threading.Event()
        self.url = ""
        self._mx_key: Key = (f"{zone}.", "MX")

    @classmethod
    @contextmanager
    def running(cls, zone: str, mx: list[str], ttl: int = 60) -> Iterator[Route53Server]:
        server = cls(zone, mx, ttl)
        with listening(_Handler, server.released, route53=server) as address:
            server.url = address
            yield server

    def by_hand(self, key: Key, found: Set | None) -> None:
        """Somebody else edits a set in the console; None takes it away."""
        with self.lock:
            self.sets = {**{each: value for each, value in self.sets.items() if each != key}, **({key: found} if found else {})}

    def change(self, body: bytes) -> str:
        try:
            root = ET.fromstring(body)
        except ET.ParseError:
            raise RefusedError(400, "InvalidInput", "Invalid XML") from None
        entries = root.findall(f".//{_tag('Change')}")
        if root.tag != _tag("ChangeResourceRecordSetsRequest") or not 1 <= len(entries) <= 1000:
            raise RefusedError(400, "InvalidInput", "Invalid XML ; expected a list of changes")
        comment = root.findtext(f".//{_tag('Comment')}") or ""
        if len(comment) > 256:
            raise RefusedError(400, "InvalidInput", "1 validation error detected: comment must have length at most 256")
        batch = [_read_change(entry) for entry in entries]
        with self.lock:
            draft = dict(self.sets)
            faults = [fault for action, key, given in batch if (fault := self._judge(draft, action, key, given))]
            if faults:
                raise RefusedError(400, "InvalidChangeBatch", f"[{', '.join(faults)}]")
            self.sets = draft
            self.batches.append(batch)
            self.comments.append(comment)
            self.history.append(self.sets.get(self._mx_key))
            change_id = f"C{len(self.batches):013d}"
            self.looks[change_id] = 0
        return _change_info("ChangeResourceRecordSetsResponse", change_id, "PENDING", comment)

    def _judge(self, draft: dict[Key, Set], action: str, key: Key, given: Set) -> str:
        """Carries one change out on the draft, or says what is wrong with it."""
        name, kind = key
        label, standing = f"resource record set [name='{name}', type='{kind}']", draft.get(key)
        if key in self.protected:
            comment = f" Comment: {self.protected[key]}" if self.protected[key] else ""
            return f"The {label} is protected.{comment}"
        if action == "DELETE":
            if standing is None:
                return f"Tried to delete {label} but it was not found"
            if (standing.ttl, sorted(standing.values), standing.more) != (given.ttl, sorted(given.values), given.more):
                return f"Tried to delete {label} but the values provided do not match the current values"
            del draft[key]
            return ""
        if action == "CREATE" and standing is not None:
            return f"Tried to create {label} but it already exists"
        fault = _bad_values(kind, given)
        if fault:
            return f"Invalid Resource Record: {fault}"
        if any(each == name and (other == "CNAME" or kind == "CNAME") and other != kind for each, other in draft):
            return f"RRSet of type {kind} with DNS name {name} is not permitted as it conflicts with other records"
        draft[key] = given
        return ""

    def list_sets(self, query: dict[str, list[str]]) -> str:
        name, kind = query.get("name", [""])[0], query.get("type", [""])[0]
        most = min(int(query.get("maxitems", ["300"])[0]), 300)
        start = (_order(_dotted(name)), kind)
        with self.lock:
            ordered = sorted(self.sets.items(), key=lambda item: (_order(item[0][0]), item[0][1]))
        left = [(key, found) for key, found in ordered if not name or (_order(key[0]), key[1]) >= start]
        rows = "".join(_set_xml(key, found) for key, found in left[:most])
        cut = len(left) > most
        following = "".join(
            f"<NextRecordName>{key[0]}</NextRecordName><NextRecordType>{key[1]}</NextRecordType>"
            for key, _ in left[most : most + 1]
        )
        tail = f"<IsTruncated>{str(cut).lower()}</IsTruncated>{following}<MaxItems>{most}</MaxItems>"
        return _document("ListResourceRecordSetsResponse", f"<ResourceRecordSets>{rows}</ResourceRecordSets>{tail}")

    def look(self, change_id: str) -> str:
        if change_id not in self.looks:
            raise RefusedError(404, "NoSuchChange", f"No change found with ID: {change_id}")
        self.looks[change_id] += 1
        status = "INSYNC" if self.looks[change_id] > self.pending_looks else "PENDING"
        return _change_info("GetChangeResponse", change_id, status, "")

    def zone(self, zone_id: str) -> str:
        servers = "<DelegationSet><NameServers><NameServer>ns1.example.org</NameServer></NameServers></DelegationSet>"
        return _document("GetHostedZoneResponse", _zone_xml(zone_id, *self.demand(zone_id)) + servers)

    def list_zones(self, query: dict[str, list[str]]) -> str:
        start = _order(_dotted(query.get("dnsname", [""])[0]))
        found = sorted(self.zones.items(), key=lambda item: (_order(item[1][0]), item[0]))
        rows = "".join(_zone_xml(key, name, private) for key, (name, private) in found if _order(name) >= start)
        tail = "<IsTruncated>false</IsTruncated><MaxItems>10</MaxItems>"
        return _document("ListHostedZonesByNameResponse", f"<HostedZones>{rows}</HostedZones>{tail}")

    def list_protections(self) -> str:
        rows = "".join(
            f"<ResourceRecordSetProtection><RecordName>{name}</RecordName><RecordType>{kind}</RecordType>"
            f"<Comment>{escape(comment)}</Comment></ResourceRecordSetProtection>"
            for (name, kind), comment in self.protected.items()
        )
        return _document(
            "ListResourceRecordSetProtectionsResponse", f"<ResourceRecordSetProtections>{rows}</ResourceRecordSetProtections>"
        )

    def demand(self, zone_id: str) -> tuple[str, bool]:
        if zone_id not in self.zones:
            raise RefusedError(404, "NoSuchHostedZone", f"No hosted zone found with ID: {zone_id}")
        return self.zones[zone_id]


class _Handler(BaseHTTPRequestHandler):
    route53: Route53Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""

    def do_GET(self) -> None:
        self._serve(self.route53.read_faults, b"")

    def do_POST(self) -> None:
        self.route53.writes += 1
        self._serve(self.route53.write_faults, self.rfile.read(int(self.headers.get("content-length") or 0)))

    def _serve(self, faults: deque[str], body: bytes) -> None:
        server, address = self.route53, urlsplit(self.path)
        server.requests.append((self.command, self.path))
        faults = self.route53.look_faults if "/change/" in address.path else faults
        fault = faults.popleft() if faults else "ok"
        try:
            self._authorise()
            if not self._before(fault):
                self._after(fault, self._route(unquote(address.path), parse_qs(address.query), body))
        except RefusedError as error:
            self._refuse(error)

    def _authorise(self) -> None:
        if f"Credential={KEY_ID}/" not in (self.headers.get("authorization") or ""):
            raise RefusedError(403, "InvalidClientTokenId", "The security token included in the request is invalid")

    def _route(self, path: str, query: dict[str, list[str]], body: bytes) -> str:
        server, found = self.route53, re.fullmatch(r"/2013-04-01/(\w+)(?:/(\w+)(?:/(\w+)/?)?)?", path)
        kind, key, part = found.groups() if found else ("", "", "")
        if kind == "change" and key:
            return server.look(key)
        if kind == "hostedzonesbyname":
            return server.list_zones(query)
        if kind != "hostedzone" or not key:
            raise RefusedError(404, "UnknownOperationException", path)
        server.demand(key)
        if part == "rrset":
            return server.change(body) if self.command == "POST" else server.list_sets(query)
        return server.list_protections() if part == "rrsetprotection" else server.zone(key)

    def _before(self, fault: str) -> bool:
        """Faults that answer without doing the work."""
        if fault == "throttled":
            raise RefusedError(400, "Throttling", "Rate exceeded")
        if fault == "busy":
            text = "The request was rejected because Route 53 was still processing a prior request."
            raise RefusedError(400, "PriorRequestNotComplete", text)
        if fault == "denied":
            raise RefusedError(403, "AccessDenied", "User: arn:aws:iam::1:user/nas is not authorized to perform this")
        if fault in ("html", "html-403"):
            self._send(200 if fault == "html" else 403, "<html><body>Please log in to the hotel's network</body></html>")
        elif fault == "500":
            self._refuse(RefusedError(500, "InternalFailure", "We are sorry"))
        elif fault == "garbage":
            self._send(200, "hello, world")
        elif fault in ("hang-before", "cut"):
            self._vanish(fault)
        else:
            return False
        return True

    def _after(self, fault: str, answer: str) -> None:
        if fault in ("commit-then-hang", "commit-then-cut"):
            self._vanish(fault)
        elif fault == "commit-then-500":
            self._send(502, "<html>Bad gateway</html>")
        elif fault == "commit-then-garbage":
            self._send(200, "<html><body>hello</body></html>")
        else:
            self._send(200, answer)

    def _vanish(self, fault: str) -> None:
        if fault.endswith(("hang", "hang-before")):
            self.route53.released.wait(60)
        self.close_connection = True

    def _refuse(self, error: RefusedError) -> None:
        if self.route53.older_errors and error.code == "InvalidChangeBatch":
            messages = f"<Messages><Message>{escape(error.message)}</Message></Messages>"
            self._send(error.status, _document("InvalidChangeBatch", f"{messages}<RequestId>r-1</RequestId>"))
            return
        inner = f"<Error><Type>Sender</Type><Code>{error.code}</Code><Message>{escape(error.message)}</Message></Error>"
        self._send(error.status, _document("ErrorResponse", f"{inner}<RequestId>r-1</RequestId>"))

    def _send(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("content-type", "text/xml")
        self.send_header("content-length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())


def _read_change(entry: ET.Element) -> tuple[str, Key, Set]:
    action, given = entry.findtext(_tag("Action")) or "", entry.find(_tag("ResourceRecordSet"))
    name, kind = (given.findtext(_tag(each)) if given is not None else None for each in ("Name", "Type"))
    if action not in ("CREATE", "DELETE", "UPSERT") or given is None or not name or not kind:
        raise RefusedError(400, "InvalidInput", "Invalid XML ; a change needs an action, a name and a type")
    known = {_tag(each) for each in ("Name", "Type", "TTL", "ResourceRecords")}
    more = "".join(ET.tostring(part, encoding="unicode") for part in given if part.tag not in known)
    values = tuple(part.text or "" for part in given.findall(f".//{_tag('Value')}"))
    ttl = given.findtext(_tag("TTL"))
    if ttl is None or not values:
        raise RefusedError(400, "InvalidInput", "Invalid request: expected TTL and ResourceRecords")
    return action, (_dotted(name), kind), Set(int(ttl), values, more)


def _bad_values(kind: str, given: Set) -> str:
    if not 0 <= given.ttl <= 2**31 - 1:
        return "TTL is out of range"
    if len(set(given.values)) != len(given.values):
        return "Duplicate Resource Record"
    pattern = {"MX": r"\d{1,5} [A-Za-z0-9._-]+", "TXT": r'"[^"]{0,255}"( "[^"]{0,255}")*'}.get(kind, ".+")
    return next((f"FATAL problem at [{value}]" for value in given.values if not re.fullmatch(pattern, value)), "")


def _tag(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"


def _dotted(name: str) -> str:
    return f"{name.rstrip('.').lower()}."


def _order(name: str) -> list[str]:
    """Amazon lists names by their labels from the right."""
    return list(reversed(name.rstrip(".").split(".")))


def _document(root: str, inner: str) -> str:
    return f'<?xml version="1.0"?>\n<{root} xmlns="{NAMESPACE}">{inner}</{root}>'


def _set_xml(key: Key, found: Set) -> str:
    values = "".join(f"<ResourceRecord><Value>{escape(value)}</Value></ResourceRecord>" for value in found.values)
    head = f"<Name>{key[0]}</Name><Type>{key[1]}</Type>{found.more}<TTL>{found.ttl}</TTL>"
    return f"<ResourceRecordSet>{head}<ResourceRecords>{values}</ResourceRecords></ResourceRecordSet>"


def _zone_xml(zone_id: str, name: str, private: bool) -> str:
    config = f"<Config><PrivateZone>{str(private).lower()}</PrivateZone></Config>"
    head = f"<Id>/hostedzone/{zone_id}</Id><Name>{name}</Name><CallerReference>t</CallerReference>"
    return f"<HostedZone>{head}{config}<ResourceRecordSetCount>3</ResourceRecordSetCount></HostedZone>"


def _change_info(root: str, change_id: str, status: str, comment: str) -> str:
    head = f"<Id>/change/{change_id}</Id><Status>{status}</Status><SubmittedAt>2026-11-22T12:00:00.000Z</SubmittedAt>"
    return _document(root, f"<ChangeInfo>{head}<Comment>{escape(comment)}</Comment></ChangeInfo>")
