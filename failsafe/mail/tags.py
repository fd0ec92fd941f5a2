"""Lists of `tag=value;` as DKIM, DMARC, MTA-STS and TLS-RPT records hold them (RFC 6376 section 3.2). Pure."""

from __future__ import annotations

import re

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def parse_tags(text: str) -> dict[str, str]:
    """In their order; names in lower case, values without blanks around them. Raises ValueError, saying what is wrong."""
    found: dict[str, str] = {}
    for part in text.split(";"):
        if not part.strip():
            continue
        name, equals, value = part.partition("=")
        name = name.strip().lower()
        if not equals or not _NAME.fullmatch(name):
            raise ValueError(f"{part.strip()[:40]!r} is no tag=value")
        if name in found:
            raise ValueError(f"the tag {name} stands there twice")
        found[name] = value.strip()
    return found


def mail_addresses(value: str) -> tuple[str, ...]:
    """The addresses of the `mailto:` URIs in a `rua=` list, without DMARC's size limits; other URIs are left out."""
    uris = (part.strip() for part in value.split(","))
    return tuple(uri[7:].partition("!")[0].partition("?")[0].lower() for uri in uris if uri.lower().startswith("mailto:"))


def uris_of(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())
