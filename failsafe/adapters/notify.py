"""Notices through Apprise: every address of `urls_file`, each with its own outcome. The file is read at every use.

The incident's name is in every body, so that its notices can be found together. An address is never shown whole: most of an
Apprise URL is a credential.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from datetime import tzinfo
from pathlib import Path
from urllib.parse import urlsplit

from failsafe.errors import NotifyError
from failsafe.model import Notice, Severity
from failsafe.ports import Delivery
from failsafe.render import render_notice
from failsafe.secrets import read_secret

DEADLINE_SECONDS = 30.0  # for one address; Apprise itself waits 4 s to connect and 4 s for an answer
ADDRESSES = 20  # a longer list is a mailing list


class AppriseNotifier:
    """ports.Notifier. Raises SecretError for an unreadable file, NotifyError for one that names no address."""

    def __init__(self, urls_file: Path, *, controller: str, zone: tzinfo) -> None:
        self._urls_file = urls_file
        self._controller = controller
        self._zone = zone

    def send(self, notice: Notice) -> tuple[Delivery, ...]:
        """Sends to all addresses at the same time; one that fails or hangs does not keep the others waiting."""
        urls = read_urls(self._urls_file)
        subject, body = render_notice(notice, self._controller, self._zone)
        outcomes = [Delivery(shown_address(url), arrived=False, error=f"no answer within {DEADLINE_SECONDS:g} s") for url in urls]
        senders = [
            threading.Thread(target=_send_one, args=(url, subject, body, notice.severity, outcomes, place), daemon=True)
            for place, url in enumerate(urls)
        ]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join(DEADLINE_SECONDS)
        return tuple(outcomes)


def read_urls(file: Path) -> tuple[str, ...]:
    """One address a line; empty lines and lines that begin with # are left out."""
    lines = (line.strip() for line in read_secret(file, strip=False).reveal().splitlines())
    urls = tuple(line for line in lines if line and not line.startswith("#"))
    if not urls:
        raise NotifyError(f"{file} names no address", mend="write one Apprise URL a line into it", transient=False)
    if len(urls) > ADDRESSES:
        raise NotifyError(f"{file} names more than {ADDRESSES} addresses", mend="use a mailing list", transient=False)
    return urls


def shown_address(url: str) -> str:
    """Enough to tell addresses apart, nothing to use them with: the scheme, the host where it is one, a short digest."""
    digest = hashlib.sha256(url.encode()).hexdigest()[:6]
    parts = urlsplit(url)
    host = parts.hostname or ""
    # A host with a dot that is behind a scheme of mail or HTTP is a place; elsewhere the "host" is often the token itself.
    is_place = parts.scheme in {
        "mailto",
        "mailtos",
        "json",
        "jsons",
        "xml",
        "xmls",
        "form",
        "forms",
        "ntfy",
        "ntfys",
        "gotify",
        "gotifys",
    }
    shown = f"{host}/" if is_place and ("." in host or host == "localhost") else ""
    return f"{parts.scheme or 'unknown'}://{shown}… ({digest})"


def _send_one(url: str, subject: str, body: str, severity: Severity, outcomes: list[Delivery], place: int) -> None:
    address = shown_address(url)
    try:
        outcomes[place] = _apprise(url, subject, body, severity, address)
    except Exception as error:  # noqa: BLE001 - Apprise's plugins are many; whatever one raises is 'not arrived', without its text (it may hold the URL)
        outcomes[place] = Delivery(address, arrived=False, error=f"the service's adapter failed ({type(error).__name__})")


def _apprise(url: str, subject: str, body: str, severity: Severity, address: str) -> Delivery:
    import logging

    import apprise

    logging.getLogger("apprise").setLevel(logging.CRITICAL)  # it logs URLs
    kind = {Severity.FAIL: apprise.NotifyType.FAILURE, Severity.OK: apprise.NotifyType.SUCCESS}.get(
        severity, apprise.NotifyType.WARNING
    )
    post = apprise.Apprise()
    if not post.add(url):
        return Delivery(address, arrived=False, error="is not an address that Apprise knows")
    arrived = bool(post.notify(title=subject, body=body, notify_type=kind, body_format=apprise.NotifyFormat.TEXT))
    return Delivery(address, arrived=arrived, error="" if arrived else "the service did not take it")


def failures(deliveries: Sequence[Delivery]) -> str:
    """A sentence about those that did not arrive; empty where all did."""
    return "; ".join(f"{delivery.address}: {delivery.error}" for delivery in deliveries if not delivery.arrived)
