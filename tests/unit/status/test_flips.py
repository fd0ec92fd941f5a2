"""`status` says what mode observe would have done, and how a halted domain came to it and gets out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

from failsafe.status.as_json import to_json
from failsafe.status.build import build_status
from failsafe.status.words import render_plain
from failsafe.store.glance import Glance
from tests.unit.status.world import NOW, ROSTER, ago, healthy, state, watch

WARSAW = ZoneInfo("Europe/Warsaw")
OBSERVING = replace(ROSTER, domains=(replace(ROSTER.domains[0], mode="observe"),))
FLIP = {
    "kind": "failover", "at": ago(hours=3).isoformat(), "incident_at": ago(hours=3.25).isoformat(), "why": ["here says down for 15 min"],
    "change": ["add MX 5 mx.example.net"], "guards": [], "over_at": ago(hours=2).isoformat(),
}  # fmt: skip
HELD = {**FLIP, "at": ago(hours=1).isoformat(), "guards": ["own-line-down: our own line is down"], "over_at": None}


def kept(*flips: dict[str, Any]) -> Glance:
    return healthy(domain_state=(state("normal", details={"reason": "", "observed": list(flips)}),))


def observed(glance: Glance) -> list[str]:
    lines = render_plain(build_status(OBSERVING, glance, NOW), WARSAW)
    return [line.strip() for line in lines if line.strip().startswith("observe:")]


def test_each_observed_flip_is_listed_with_why_the_newest_first() -> None:
    assert observed(kept(FLIP, HELD)) == [
        "observe: 2026-11-22 17:00 +01:00 a failover was due (here says down for 15 min), and would have been held up by own-line-down: our own line is down",
        "observe: 2026-11-22 15:00 +01:00 would have failed over (add MX 5 mx.example.net), because here says down for 15 min; the primary took mail again 1 h later",
    ]


def test_observe_without_a_flip_says_so() -> None:
    assert observed(healthy()) == ["observe: no flip would have been made so far"]


def test_json_has_them_and_every_guard_says_what_to_do() -> None:
    guards = [{"code": "dwell", "text": "the last flip was 10 min ago", "mend": ""}]
    rows = {**kept(FLIP).rows, "duty": (watch(guards=guards),)}
    [domain] = to_json(build_status(OBSERVING, Glance(rows), NOW))["domains"]
    assert domain["observed"] == [
        {
            "kind": "failover", "at": "2026-11-22T14:00:00Z", "why": ["here says down for 15 min"], "change": ["add MX 5 mx.example.net"], "held_up_by": [],
            "over_at": "2026-11-22T15:00:00Z",
        }
    ]  # fmt: skip
    assert domain["guards"][0]["mend"].startswith("nothing: it ends by itself")
    assert domain["halt"] is None


def test_a_halted_domain_explains_itself() -> None:
    details = {"reason": "not verified within 5 min", "attempted": {"records": [[5, "mx.example.net"]], "ttl_seconds": 60}}
    glance = healthy(domain_state=(state("halted", details=details),), duty=(watch(found="ns1 says one, ns2 another"),))
    found = build_status(ROSTER, glance, NOW)
    lines = [line.strip() for line in render_plain(found, WARSAW)]
    begin = lines.index("halted: not verified within 5 min")
    assert lines[begin + 1 : begin + 3] == ["found: ns1 says one, ns2 another", "expected: 5 mx.example.net"]
    [domain] = to_json(found)["domains"]
    assert [way["command"] for way in domain["halt"]["ways_out"]] == [
        "failsafe acknowledge example.org --serving primary",
        "failsafe acknowledge example.org --serving secondary",
        "failsafe adopt-mx example.org",
    ]
