"""The doctor on a small internet in which each domain has one fault: real name servers that sign, a resolver, a registry, policies over HTTPS, STARTTLS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from failsafe.adapters.lock import FileLock
from failsafe.failover.domain_checks.published import CODES
from tests.contract.dns_servers import missing
from tests.contract.published_world import SERVERS, WORLD
from tests.contract.unbounds import missing_unbound

pytestmark = [pytest.mark.lab, pytest.mark.first]
ROOT = Path(__file__).parents[2]
NAMESPACES = ["unshare", "--net", "--mount"]
JUDGED = {*CODES, "mx-explicit", "mx-target", "mx-layout"} - {"ptr", "helo", "dnsbl"}  # of a domain; those three are of a server
UNWATCHED: dict[str, str] = {}  # what is wrong with every domain
NOT_BACKED_UP = {"ssh-access": "fail", "recovery-point": "fail"}  # there is no mail on the servers of this world


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    reason = missing("knot") or missing_unbound()
    if reason:
        pytest.skip(reason)
    allowed = subprocess.run([*NAMESPACES, "true"], capture_output=True, text=True, check=False)
    if allowed.returncode != 0:
        pytest.skip(f"namespaces are not allowed here: {allowed.stderr.strip()}")
    shared = tmp_path_factory.getbasetemp().parent if "PYTEST_XDIST_WORKER" in os.environ else tmp_path_factory.getbasetemp()
    answer = shared / "published.json"
    with FileLock(shared / "published.lock", "the small internet").hold(wait_seconds=280):  # one worker looks, all of them read
        if not answer.exists():
            folder = tmp_path_factory.mktemp("published")
            command = [*NAMESPACES, sys.executable, "-m", "tests.contract.published_child", str(folder)]
            outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
            assert outcome.returncode == 0, outcome.stderr[-4000:]
            answer.write_text(outcome.stdout)
    return dict(json.loads(answer.read_text()))


def faults(look: dict[str, Any], subject: str) -> dict[str, str]:
    return {code: severity for who, code, severity, *_ in look["findings"] if who == subject and severity in ("fail", "warn")}


def text_of(look: dict[str, Any], subject: str, code: str) -> str:
    return next(str(text) for who, what, _severity, text, *_ in look["findings"] if (who, what) == (subject, code))


@pytest.mark.parametrize("domain", WORLD)
def test_each_planted_fault_is_found_with_its_severity_and_nothing_else(found: dict[str, Any], domain: str) -> None:
    assert faults(found["whole"], domain) == WORLD[domain].found | UNWATCHED


def test_a_good_domain_is_all_green(found: dict[str, Any]) -> None:
    seen = {
        code: severity for who, code, severity, *_ in found["whole"]["findings"] if who in ("good.org", "vps") and code in CODES
    }
    assert seen == dict.fromkeys(CODES, "ok")


def test_every_fault_says_how_to_mend_it(found: dict[str, Any]) -> None:
    assert [row[:4] for row in found["whole"]["findings"] if row[1] in JUDGED and row[2] in ("fail", "warn") and not row[5]] == []


@pytest.mark.parametrize("server", SERVERS)
def test_what_is_wrong_with_a_server_s_address_is_found_and_nothing_else(found: dict[str, Any], server: str) -> None:
    assert faults(found["whole"], server) == SERVERS[server].found | NOT_BACKED_UP


def test_a_listing_is_told_and_lists_that_cannot_be_believed_are_not(found: dict[str, Any]) -> None:
    text = text_of(found["whole"], "vps", "dnsbl")
    assert "listed.org is on dbl.example (127.0.1.2)" in text_of(found["whole"], "listed", "dnsbl")
    assert "on none of bl.example, dbl.example, asked from the mail server" in text
    assert all(
        each in text
        for each in (
            "refusing.example: it answers 127.255.255.254",
            "closed.example: it does not list",
            "everything.example: it lists 127.0.0.1",
            "uncivil.example: it answers 127.0.0.1, an error and no listing",
        )
    )


def test_a_server_that_sends_from_another_address_than_it_receives_at_is_judged_by_that(found: dict[str, Any]) -> None:
    """Its Postfix is bound to the address that has no name and is on a block list."""
    bound = found["bound"]
    of_the_server = {code: severity for code, severity in faults(bound, "vps").items() if code in CODES}
    of_the_domain = {code: severity for code, severity in faults(bound, "good.org").items() if code in JUDGED}

    assert of_the_server == {"ptr": "fail", "helo": "warn", "dnsbl": "fail"}
    assert of_the_domain == {"spf": "warn"}
    assert "198.51.100.12 has no name (PTR)" in text_of(bound, "vps", "ptr")
    assert "it sends as mail.good.org, which leads to 198.51.100.7 and not to 198.51.100.12" in text_of(bound, "vps", "helo")
    assert "mail leaves from 198.51.100.12, which may not send" in text_of(bound, "good.org", "spf")


def test_a_primary_that_is_wholly_dead_leaves_every_domain_as_ready_as_it_was(found: dict[str, Any]) -> None:
    dead = found["primary_dead"]["ready"]
    assert dead == {domain: found["whole"]["ready"][domain] for domain in dead}
    assert dead == {"good.org": True, "listed.org": True, "onprimary.org": True, "unlisted.org": False}
    assert "cannot be fetched: no connection" in text_of(found["primary_dead"], "onprimary.org", "mta-sts")


def test_the_registry_is_not_asked_twice_a_day(found: dict[str, Any]) -> None:
    assert found["registry_asked_again"] == []


def test_where_no_name_can_be_looked_up_nothing_new_is_a_fault_but_what_cannot_be_written(found: dict[str, Any]) -> None:
    """The name server that died is also the one that a flip would be written to."""
    assert {code for _who, code in blocking(found["names_dead"]) - blocking(found["whole"])} == {"provider-write"}
    assert found["names_dead_seconds"] < 125  # every look-up together has 120 s


def blocking(look: dict[str, Any]) -> set[tuple[str, str]]:
    return {(who, code) for who, code, severity, _text, blocks, _mend in look["findings"] if blocks and severity == "fail"}
