"""The heartbeat: one GET of a URL that a service elsewhere expects regularly. Its silence is the alarm, so it is never sent in doubt."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from failsafe.adapters.web_answer import NoAnswer, fetch
from failsafe.errors import NotifyError
from failsafe.secrets import read_secret

TIMEOUT_SECONDS = 15.0


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
            status = fetch(url.geturl(), TIMEOUT_SECONDS).status
        except NoAnswer as error:
            raise NotifyError(f"the heartbeat did not reach {url.hostname}: {error}") from error
        if not 200 <= status < 300:
            raise NotifyError(f"{url.hostname} answered {status} to the heartbeat", mend=f"check the URL in {self._url_file}")
