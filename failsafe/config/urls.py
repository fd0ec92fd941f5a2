"""URLs in the configuration. It goes into every repository, so it holds no secret."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator


def holds_password(url: str) -> bool:
    """Whether a URL has `user:password@`, or a password among its parameters."""
    return re.search(r"://[^/@:]*:[^/@?]*@|[?&](ssl)?pass(word|wd|phrase)?=", url, re.IGNORECASE) is not None


def _without_password(url: str | None) -> str | None:
    if url is not None and holds_password(url):
        raise ValueError("holds a password; the configuration must not")
    return url


def _of_the_web(url: str | None) -> str | None:
    if url is not None and re.match(r"https?://[^/\s]+", url) is None:
        raise ValueError(f'{url!r} is no URL; write it as "https://status.example.net/api/…"')
    return _without_password(url)


PlainUrl = Annotated[str | None, AfterValidator(_without_password)]
WebUrl = Annotated[str | None, AfterValidator(_of_the_web)]
