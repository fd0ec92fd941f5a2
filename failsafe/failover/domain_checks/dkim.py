"""Judges the DKIM keys of both sides. Pure. Selectors cannot be listed by asking, so they come from the configuration or from what is known of a server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from failsafe.mail.tags import parse_tags
from failsafe.model import Finding, Severity, Side

CODES = {"dkim": (False, "the DKIM keys of the primary and of the secondary are published, and can be read")}
LEAST_BITS, GOOD_BITS = (
    1024,
    2048,
)  # of RSA: receivers must not believe less than the first (RFC 8301), and signers should use the second


@dataclass(frozen=True, slots=True)
class DkimSeen:
    """`guessed`: the selector is the server's default, not a configured one. `fault`: why the key is of no use."""

    selector: str
    side: Side
    guessed: bool = False
    texts: tuple[str, ...] = ()
    error: str = ""
    bits: int = 0
    kind: str = "rsa"
    fault: str = ""


def key_of(texts: Sequence[str]) -> tuple[str, str]:
    """(kind, p=) of the one DKIM record there. Raises ValueError, saying why the record is of no use."""
    records = [text for text in texts if "p=" in text]
    if len(records) != 1:
        raise ValueError(f"{len(records) or 'no'} DKIM record{'s' if len(records) != 1 else ''} there")
    tags = parse_tags(records[0])
    if tags.get("v", "DKIM1") != "DKIM1":
        raise ValueError("it does not begin with v=DKIM1")
    if not tags.get("p"):
        raise ValueError("the key was revoked (p= is empty)")
    return tags.get("k", "rsa"), tags["p"]


def judge_dkim(name: str, seen: Sequence[DkimSeen], *, secondary_known: bool) -> Finding:
    """`secondary_known`: which selectors the secondary needs is known (it may need none)."""
    configure = f'set dkim_selectors in [domain."{name}"]'
    if not any(each.side is Side.PRIMARY for each in seen):
        text = "which selectors the primary signs with is not known"
        return _finding(Severity.SKIPPED, name, text, configure)
    judged = [_judge(name, each) for each in seen]
    for severity in (Severity.FAIL, Severity.WARN):
        found = [(text, mend) for each, text, mend in judged if each is severity]
        if found:
            mends = list(dict.fromkeys(mend for _, mend in found if mend))
            guessed = any(each.guessed and not each.texts and not each.error for each in seen)
            return _finding(
                severity,
                name,
                "; ".join(text for text, _ in found),
                "; ".join([*mends, *([f"or {configure}"] if guessed else [])]),
            )
    unknown = [text for each, text, _ in judged if each is Severity.SKIPPED]
    if unknown:
        return _finding(Severity.SKIPPED, name, "; ".join(unknown))
    known = "" if secondary_known else "; which ones the secondary signs with is not known"
    return _finding(Severity.OK, name, f"{', '.join(each.selector for each in seen)}: keys published{known}")


def _judge(name: str, seen: DkimSeen) -> tuple[Severity, str, str]:
    place = f"{seen.selector}._domainkey.{name}"
    if seen.error:
        return Severity.SKIPPED, f"{place}: {seen.error}", ""
    whose = (
        "the secondary's panel shows the record"
        if seen.side is Side.SECONDARY
        else "publish the record that the mail server's DKIM tool printed"
    )
    if not seen.texts:
        return Severity.WARN, f"there is no key at {place}", f"{whose}, at {place}"
    if seen.fault:
        return Severity.FAIL, f"the key at {place} is of no use: {seen.fault}", f"{whose}, at {place}, whole and in one record"
    if seen.kind == "rsa" and seen.bits < LEAST_BITS:
        return (
            Severity.FAIL,
            f"the key at {place} has {seen.bits} bits: receivers do not believe it (RFC 8301)",
            f"make one of {GOOD_BITS} bits",
        )
    if seen.kind == "rsa" and seen.bits < GOOD_BITS:
        return (
            Severity.WARN,
            f"the key at {place} has {seen.bits} bits, which is little",
            f"make one of {GOOD_BITS} bits, under a new selector",
        )
    return Severity.OK, "", ""


def _finding(severity: Severity, name: str, text: str, mend: str = "") -> Finding:
    return Finding("dkim", severity, name, text, mend)
