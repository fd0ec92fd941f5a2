"""The heartbeat: one GET of a URL that a service elsewhere expects regularly. Its silence is the alarm, so it is never sent in doubt."""

from __future__ import annotations

import http.client
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from failsafe.errors import NotifyError
from failsafe.secrets import read_secret

TIMEOUT_SECONDS = 15.0
ANSWER_BYTES = 4096


class Heartbeat:
    """Knows the file that holds the URL (which is a secret: whoever has it can keep us quiet)."""

    def __init__(self, url_file: Path) -> None:
        self._url_file = url_file

    def send(self) -> None:
        """Raises NotifyError unless the answer is 2xx; SecretError where the file cannot be used. The URL is in no message."""
        url = urlsplit(read_secret(self._url_file).reveal())
        if url.scheme not in ("http", "https") or not url.hostname:
            raise NotifyError(
                f"{self._url_file} does not hold an http(s) URL", mend="write the whole URL into it", transient=False
            )
        try:
            status = _get(url.scheme, url.hostname, url.port, (url.path or "/") + (f"?{url.query}" if url.query else ""))
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NotifyError(f"the heartbeat did not reach {url.hostname}: {_reason(error)}") from error
        if not 200 <= status < 300:
            raise NotifyError(f"{url.hostname} answered {status} to the heartbeat", mend=f"check the URL in {self._url_file}")


def _get(scheme: str, host: str, port: int | None, path: str) -> int:
    if scheme == "https":
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, port, timeout=TIMEOUT_SECONDS, context=ssl.create_default_context()
        )
    else:
        connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path, headers={"User-Agent": "failsafe", "Connection": "close"})
        answer = connection.getresponse()
        answer.read(ANSWER_BYTES)
        return answer.status
    finally:
        connection.close()


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or type(error).__name__)
