"""Judges the name of the top-level domain: some have been abused so much that filters mistrust whoever is in them. Pure.

The list is the one by which SpamAssassin's rule FROM_SUSPICIOUS_NTLD adds to the score of a message (rulesrc/sandbox/pds/20_ntld.cf of its source), as
read on 2026-11-30; it holds what was seen in mail, and grows slowly. Nothing is looked up.
"""

from __future__ import annotations

from failsafe.model import Finding, Severity

CODES = {"tld-reputation": (False, "the top-level domain is not one that filters mistrust as a whole")}
READ_ON = "2026-11-30"
MISTRUSTED = frozenset(("icu", "online", "work", "date", "top", "life", "review", "xyz"))


def judge_top_level(name: str) -> Finding:
    top = name.rpartition(".")[2]
    if top in MISTRUSTED:
        text = f"spam filters mistrust everything in .{top} (SpamAssassin FROM_SUSPICIOUS_NTLD): mail from here starts with a worse score"
        mend = "keep SPF, DKIM and DMARC faultless; for new addresses, take a domain below another top-level domain"
        return Finding("tld-reputation", Severity.WARN, name, text, mend)
    return Finding("tld-reputation", Severity.OK, name, f".{top} is not among those that filters mistrust (list of {READ_ON})")
