"""Scratch names: below a domain, where a drill or a proof may write MX records and clear them away. Nobody's mail uses them. Pure.

The labels have no underscore: BIND takes an MX record only at a name that could be a host's (check-names).
"""

from __future__ import annotations

DRILL, PROOF = "failsafe-drill", "failsafe-proof"
LABELS = frozenset({DRILL, PROOF})


def scratch_name(label: str, domain: str) -> str:
    """`failsafe-drill.example.org`."""
    assert label in LABELS, label
    return f"{label}.{domain}"


def is_scratch(name: str) -> bool:
    """Whether a name is one of ours, so that its records may be made and taken away."""
    return name.partition(".")[0].lower() in LABELS
