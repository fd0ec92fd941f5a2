"""The dashboard as an ASGI application: `/`, `/status.json`, `/metrics`, `/healthz`. GET and HEAD only; nothing here can change anything."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Awaitable, Callable
from datetime import datetime, tzinfo
from pathlib import Path

from jinja2 import Environment
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from failsafe import __version__
from failsafe.errors import FailsafeError, SecretError
from failsafe.failover.ways_out import with_way_out
from failsafe.model import DomainState
from failsafe.ports import Clock
from failsafe.render import spoken_age, spoken_instant
from failsafe.secrets import read_secret
from failsafe.status.as_json import to_json
from failsafe.status.course import describe_pull, describe_work
from failsafe.status.flips import render_observed
from failsafe.status.values import DomainStatus, Status
from failsafe.status.words import Answers, answer_all
from failsafe.web.metrics import render_metrics

HEADERS = {
    b"content-security-policy": b"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"no-store",
    b"permissions-policy": b"camera=(), microphone=(), geolocation=()",
    b"cross-origin-resource-policy": b"same-origin",
}
TEMPLATE = Path(__file__).with_name("page.html")


def make_page(status: Callable[[datetime], Status], clock: Clock, zone: tzinfo, password_file: Path | None) -> ASGIApp:
    """`status` may take a moment and is called in a thread."""
    template = Environment(autoescape=True, trim_blocks=True).from_string(TEMPLATE.read_text())

    async def gather() -> Status:
        return await run_in_threadpool(status, clock.now())

    async def page(_request: Request) -> Response:
        found = await gather()
        answers = answer_all(found, zone)
        text = template.render(
            status=found,
            answers=answers,
            title=page_title(found, answers),
            version=__version__,
            spoken=lambda at: spoken_instant(at, zone),
            age=lambda at: spoken_age(found.at - at),
            pull=lambda pull: describe_pull(pull, found.at, zone),
            work=lambda work: describe_work(work, found.at, zone),
            mood=domain_mood,
            told=with_way_out,
            observed=lambda domain: [line.removeprefix("observe: ") for line in render_observed(domain, zone)],
        )
        return HTMLResponse(text)

    async def as_json(_request: Request) -> Response:
        return JSONResponse(to_json(await gather()))

    async def metrics(_request: Request) -> Response:
        return PlainTextResponse(render_metrics(await gather()), media_type="text/plain; version=0.0.4")

    async def healthz(_request: Request) -> Response:
        """That this process answers; whether mail is safe is in `/status.json`."""
        return PlainTextResponse("ok\n")

    routes = [Route("/", page), Route("/status.json", as_json), Route("/metrics", metrics), Route("/healthz", healthz)]
    application = Starlette(routes=routes, exception_handlers={FailsafeError: _unavailable})
    return Guarded(application, password_file)


def page_title(status: Status, answers: Answers) -> str:
    """What a browser's tab says."""
    if answers.mail_safe_mood == "good" and answers.mail_goes_mood == "good" and not status.findings:
        return f"ok - failsafe {status.controller}"
    return f"LOOK - failsafe {status.controller}"


def domain_mood(domain: DomainStatus) -> str:
    if domain.state is DomainState.HALTED:
        return "bad"
    return "good" if domain.state is DomainState.NORMAL and domain.health["inbound"] == "up" else "look"


async def _unavailable(_request: Request, error: Exception) -> Response:
    assert isinstance(error, FailsafeError)
    return PlainTextResponse(f"failsafe: {error}\n{error.mend}\n", status_code=503)


class Guarded:
    """Security headers on every answer; basic authentication where a password is configured (`/healthz` is open: it says nothing)."""

    def __init__(self, inner: ASGIApp, password_file: Path | None) -> None:
        self._inner = inner
        self._password_file = password_file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = list(message.get("headers", []))
                message = {**message, "headers": [*given, *HEADERS.items()]}
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._inner)(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> Callable[..., Awaitable[None]] | None:
        if self._password_file is None or scope["path"] == "/healthz":
            return None
        try:
            wanted = read_secret(self._password_file).reveal()
        except SecretError as error:
            return PlainTextResponse(f"failsafe: {error}\n", status_code=503)
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        if hmac.compare_digest(_password(given), wanted.encode()):
            return None
        return PlainTextResponse(
            "a password is needed\n", status_code=401, headers={"WWW-Authenticate": 'Basic realm="failsafe", charset="UTF-8"'}
        )


def _password(header: bytes) -> bytes:
    scheme, _, value = header.partition(b" ")
    if scheme.lower() != b"basic":
        return b""
    try:
        return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""
