"""Looks up TXT records as everybody's resolver gives them."""

from __future__ import annotations

LOOKUP_SECONDS = 5.0


def look_up_texts(name: str) -> tuple[tuple[str, ...] | None, str]:
    """(texts, ""), or (None, why they are not known). A name without any has (). Never raises."""
    import dns.exception
    import dns.resolver

    try:
        answer = dns.resolver.Resolver().resolve(f"{name}.", "TXT", lifetime=LOOKUP_SECONDS)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return (), ""
    except (dns.exception.DNSException, OSError, ValueError) as error:
        return None, str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return tuple(b"".join(record.strings).decode("utf-8", "replace") for record in answer), ""
