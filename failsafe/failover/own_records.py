"""failsafe's own records in a zone, alike at every provider: what they are called, what they say, how long they are cached. Pure.

The lock record (`_failsafe.DOMAIN TXT "failsafe lock N"`) is moved on by every change; the proof's record (`scratch.PROOF`) shows what a provider
refuses. Whatever else lies at such a name is somebody else's: it is named and left alone.
"""

from __future__ import annotations

from failsafe.errors import DnsError

LOCK_WORD = "failsafe lock"
PROOF_EXCHANGE = "failsafe-proof.invalid"  # of the proof's MX record: no sender can reach it (RFC 2606 section 2)
OWN_TTL_SECONDS = 60
FALLBACK_TTL_SECONDS = 300  # of MX records, where neither the plan nor the zone knows one


def lock_name(domain: str) -> str:
    """`_failsafe.example.org`."""
    return f"_failsafe.{domain}"


def not_ours(kind: str, name: str, said: str) -> DnsError:
    """The refusal where a record of somebody else's lies in the place of one of ours; `said` is what it says."""
    text = f"{kind} {name} is not failsafe's: {said[:200]}; it is left alone"
    return DnsError(text, mend=f"take away {kind} {name}, at the DNS provider", transient=False)
