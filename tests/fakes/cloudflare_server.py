"""A strict stand-in for Cloudflare's DNS API on loopback: it behaves as documented, and refuses what the real one refuses.

A batch is one transaction in the order deletes, patches, puts, posts, rolled back at the first error. What becomes visible is not atomic:
every record's change is shown at a time of its own, in a shuffled order, and each visible state is remembered.
"""

from __future__ import annotations

import json
import random
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.fakes.listening import listening

TOKEN = "a-token-that-only-tests-know"
ACCOUNT_ID = "01a7362d577a6c3019a474fd6f485823"
ZONES = "/client/v4/zones"
ZONE_ID = "023e105f4ecef8ad9ca31a8372d0c353"
TTL_RANGE = range(60, 86_401)
COMMENT_LIMIT = 100
Record = dict[str, Any]


class RefusedError(Exception):
    """An error of the API: HTTP status, code, message."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class CloudflareServer:
    """`read_faults` and `write_faults` hold what the next requests meet: "ok", "429", "unsuccessful", "html", "500", "html-403", "garbage",
    "hang-before", "commit-then-hang", "commit-then-500", "commit-then-garbage", "empty", "shift".
    """

    def __init__(self, sets: dict[str, list[tuple[int, str, int]]]) -> None:
        self.lock = threading.Lock()
        self.read_faults: deque[str] = deque()
        self.write_faults: deque[str] = deque()
        self.writes = 0
        self.requests: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.batches: list[dict[str, Any]] = []
        self.released = threading.Event()
        self.lenient = False  # deletes of records that are not there are passed over
        self.routed = 0  # the code with which Email Routing refuses changes of MX records
        self.token_owner, self.token_ends = "user", ""  # "user", "account" or "nobody" (that may be asked)
        self.zones_beside: tuple[str, ...] = ()  # that the token sees, too
        self.tells_zones = True  # a token without Zone Read is told of none, its own neither
        self.zone = next(iter(sets), "example.org")
        self.records: dict[str, Record] = {}
        self._chance = random.Random(7)
        self._ticks = 0
        for name, entries in sets.items():
            for priority, content, ttl in entries:
                self._create(self.records, {"type": "MX", "name": name, "content": content, "priority": priority, "ttl": ttl})
        self.visible: dict[str, Record] = dict(self.records)
        self.states: list[frozenset[tuple[int, str]]] = [self.mx()]
        self.url = ""

    @classmethod
    @contextmanager
    def running(cls, sets: dict[str, list[tuple[int, str, int]]]) -> Iterator[CloudflareServer]:
        server = cls(sets)
        with listening(_Handler, server.released, cloudflare=server) as address:
            server.url = f"{address}/client/v4"
            yield server

    def mx(self) -> frozenset[tuple[int, str]]:
        """What is visible now."""
        return frozenset((int(r["priority"]), r["content"]) for r in self.visible.values() if r["type"] == "MX")

    def by_hand(self, identifier: str, **changes: Any) -> None:
        """Somebody else edits a record in the dashboard."""
        with self.lock:
            self.records = {**self.records, identifier: {**self.records[identifier], **changes, "modified_on": self._tick()}}
            self._propagate()

    def put_txt(self, name: str, content: str) -> None:
        """Somebody else's record."""
        with self.lock:
            self._create(self.records, {"type": "TXT", "name": name, "content": content, "ttl": 300})
            self._propagate()

    def verify_token(self, path: str) -> dict[str, Any]:
        """A user's token is verified at one place, an account's at another; neither tells its permissions."""
        asked = {"/client/v4/user/tokens/verify": "user", f"/client/v4/accounts/{ACCOUNT_ID}/tokens/verify": "account"}
        if path == f"/client/v4/zones/{ZONE_ID}":
            if self.token_owner == "nobody":
                raise RefusedError(403, 9109, "Unauthorized to access requested resource")
            owner = {"id": ACCOUNT_ID, "name": "home"}
            result: dict[str, Any] = {"id": ZONE_ID, "name": self.zone, "account": owner, "name_servers": [f"NS1.{self.zone}"]}
        elif asked.get(path) != self.token_owner:
            raise RefusedError(401, 1000, "Invalid API Token")
        else:
            ends = {"expires_on": self.token_ends} if self.token_ends else {}
            result = {"id": "f" * 32, "status": "active", **ends}
        return {"success": True, "errors": [], "messages": [], "result": result}

    def zones(self) -> dict[str, Any]:
        """What the token was made for."""
        names = {ZONE_ID: self.zone, **{f"{number:032x}": name for number, name in enumerate(self.zones_beside)}}
        result = [{"id": zone_id, "name": name} for zone_id, name in names.items()] if self.tells_zones else []
        return {"success": True, "errors": [], "messages": [], "result": result, "result_info": {"page": 1, "count": len(result)}}

    def list(self, query: dict[str, list[str]]) -> dict[str, Any]:
        name, kind = query.get("name.exact", [""])[0], query.get("type", [""])[0]
        page, per_page = int(query.get("page", ["1"])[0]), int(query.get("per_page", ["20"])[0])
        if not 1 <= per_page <= 5_000_000 or page < 1:
            raise RefusedError(400, 9004, "Invalid page or per_page")
        with self.lock:
            found = [r for r in self.records.values() if (not name or r["name"] == name) and (not kind or r["type"] == kind)]
        part = found[(page - 1) * per_page : page * per_page]
        pages = -(-len(found) // per_page)
        info = {"page": page, "per_page": per_page, "count": len(part), "total_count": len(found), "total_pages": pages}
        return {"success": True, "errors": [], "messages": [], "result": part, "result_info": info}

    def batch(self, body: dict[str, Any]) -> dict[str, Any]:
        with self.lock:
            if self.routed:
                raise RefusedError(
                    400, self.routed, "This zone is managed by Email Routing. Disable Email Routing to add/modify MX records."
                )
            draft = dict(self.records)
            result: dict[str, list[Record]] = {"deletes": [], "patches": [], "puts": [], "posts": []}
            for entry in body.get("deletes") or []:
                if self.lenient and entry["id"] not in draft:
                    continue
                self._demand(draft, entry)
                result["deletes"].append(draft.pop(entry["id"]))
            for entry in body.get("patches") or []:
                old = self._demand(draft, entry)
                result["patches"].append(self._put(draft, {**old, **entry}))
            for entry in body.get("puts") or []:
                self._demand(draft, entry)
                result["puts"].append(self._put(draft, entry))
            result["posts"] = [self._create(draft, entry) for entry in body.get("posts") or []]
            self.records = draft
            self._propagate()
        return {"success": True, "errors": [], "messages": [], "result": result}

    def _demand(self, draft: dict[str, Record], entry: Record) -> Record:
        if entry.get("id") not in draft:
            raise RefusedError(404, 81044, "Record does not exist.")
        return draft[entry["id"]]

    def _create(self, draft: dict[str, Record], entry: Record) -> Record:
        identifier = f"{self._chance.getrandbits(128):032x}"
        return self._put(draft, {"created_on": self._tick(), **entry, "id": identifier})

    def _put(self, draft: dict[str, Record], entry: Record) -> Record:
        for key in ("type", "name", "content"):
            if not entry.get(key):
                raise RefusedError(400, 1004, f"DNS Validation Error: {key} is missing")
        priority, ttl, comment = entry.get("priority"), entry.get("ttl", 1), entry.get("comment") or ""
        if entry["type"] == "MX" and (not isinstance(priority, int) or not 0 <= priority <= 65_535):
            raise RefusedError(400, 9008, "DNS Validation Error: MX record requires a valid priority")
        if ttl != 1 and ttl not in TTL_RANGE:
            raise RefusedError(400, 9021, "TTL must be between 60 and 86400 seconds, or 1 for Automatic.")
        if len(comment) > COMMENT_LIMIT or "\n" in comment:
            raise RefusedError(400, 1004, "DNS Validation Error: comment is too long")
        for other in draft.values():
            same_name = other["name"] == entry["name"] and other["id"] != entry["id"]
            if same_name and "CNAME" in (other["type"], entry["type"]):
                raise RefusedError(400, 81053, "An A, AAAA, or CNAME record with that host already exists.")
            if same_name and (other["type"], other["content"]) == (entry["type"], entry["content"]):
                code = 81058 if other.get("priority") == priority else 81057
                raise RefusedError(400, code, "An identical record already exists.")
        standing = {"proxiable": False, "proxied": False, "settings": {}, "meta": {}, "comment": None, "tags": []}
        made = {**standing, **entry, "ttl": ttl, "modified_on": self._tick()}
        draft[entry["id"]] = made
        return made

    def _propagate(self) -> None:
        """Each record's change becomes visible by itself, in any order."""
        changed = [key for key in {*self.records, *self.visible} if self.records.get(key) != self.visible.get(key)]
        self._chance.shuffle(changed)
        for key in changed:
            self.visible.pop(key, None)
            if key in self.records:
                self.visible[key] = self.records[key]
            self.states.append(self.mx())

    def _tick(self) -> str:
        self._ticks += 1
        return f"2026-11-22T12:00:00.{self._ticks:06d}Z"


class _Handler(BaseHTTPRequestHandler):
    cloudflare: CloudflareServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""

    def do_GET(self) -> None:
        self._serve(self.cloudflare.read_faults, lambda query, _body: self.cloudflare.list(query))

    def do_POST(self) -> None:
        self.cloudflare.writes += 1
        self._serve(self.cloudflare.write_faults, lambda _query, body: self.cloudflare.batch(body))

    def _serve(self, faults: deque[str], work: Any) -> None:
        server, address = self.cloudflare, urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        server.requests.append((self.command, self.path))
        server.headers.append({key.lower(): value for key, value in self.headers.items()})
        fault = faults.popleft() if faults and "dns_records" in self.path else "ok"
        try:
            tokens = self._authorise(address.path)
            body = json.loads(raw) if raw else {}
            if body:
                server.batches.append(body)
            if tokens:
                asked_for_zones = address.path == ZONES
                self._send(200, server.zones() if asked_for_zones else server.verify_token(address.path))
            elif not self._before(fault):
                answer = work(parse_qs(address.query), body)
                self._after(fault, answer)
        except RefusedError as error:
            errors = [{"code": error.code, "message": error.message}]
            self._send(error.status, {"success": False, "errors": errors, "messages": [], "result": None})

    def _authorise(self, path: str) -> bool:
        """Whether it is a question about the token itself."""
        if (
            self.headers.get("authorization") != f"Bearer {TOKEN}"
            or self.headers.get("x-auth-key")
            or self.headers.get("x-auth-email")
        ):
            raise RefusedError(403, 10000, "Authentication error")
        base = f"/client/v4/zones/{ZONE_ID}/dns_records"
        if self.command == "GET" and (path.endswith("/tokens/verify") or path in (ZONES, f"{ZONES}/{ZONE_ID}")):
            return True
        if path != (f"{base}/batch" if self.command == "POST" else base):
            raise RefusedError(404, 7003, f"Could not route to {path}, perhaps your object identifier is invalid?")
        return False

    def _before(self, fault: str) -> bool:
        """Faults that answer without doing the work."""
        refused = {"success": False, "errors": [{"code": 10013, "message": "Unknown"}], "messages": [], "result": None}
        if fault == "429":
            self._send(429, {**refused, "errors": [{"code": 10100, "message": "Rate limited"}]}, {"retry-after": "271"})
        elif fault == "unsuccessful":
            self._send(200, refused)
        elif fault in ("html", "html-403"):
            self._send(200 if fault == "html" else 403, "<html>Please log in to the hotel's network</html>")
        elif fault == "500":
            self._send(500, refused)
        elif fault == "garbage":
            self._send(200, {"hello": "world"})
        elif fault == "hang-before":
            self.cloudflare.released.wait(60)
            self.close_connection = True
        else:
            return False
        return True

    def _after(self, fault: str, answer: dict[str, Any]) -> None:
        if fault == "commit-then-hang":
            self.cloudflare.released.wait(60)
            self.close_connection = True
        elif fault == "commit-then-500":
            self._send(502, "<html>Bad gateway</html>")
        elif fault == "commit-then-garbage":
            self._send(200, "<html>hello</html>")
        elif fault == "empty":
            self._send(200, {**answer, "result": []})
        elif fault == "shift":  # the set changed between two pages
            self._send(200, {**answer, "result": answer["result"][1:]})
        else:
            self._send(200, answer)

    def _send(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
        text = body if isinstance(body, str) else json.dumps(body)
        self.send_response(status)
        self.send_header("content-type", "text/html" if isinstance(body, str) else "application/json")
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("content-length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())
