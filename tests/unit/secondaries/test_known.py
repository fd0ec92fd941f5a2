"""What is known of secondaries: read whole, sourced whole, and told to people as it stands. To write the page anew: python -m tests.unit.secondaries.test_known > docs/secondaries.md"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from failsafe.secondaries.known import known_providers, parse, provider_of
from failsafe.secondaries.provider import FACTS, OWN_SERVER, Fact, Plan, SecondaryProvider, Verification

PAGE = Path(__file__).parents[3] / "docs" / "secondaries.md"
PROVIDERS = known_providers()
ASKED = {
    "kind": "keeps the mail",
    "exchanges": "its exchanges",
    "verification": "record that shows whose domain it is",
    "verification_for_ever": "that record must stay",
    "spf_include": "SPF include",
    "dkim_selectors": "DKIM selectors",
    "mta_sts_names": "names for the MTA-STS policy",
    "accepts_without_mx": "takes mail before the MX points there",
    "imap": "IMAP",
    "internal_delivery_ignores_mx": "its own customers' mail goes there whatever the MX says",
    "catch_all": "catch-all",
    "plans": "domains and addresses",
}
HEAD = """# Secondaries

What failsafe knows of places that can take your mail while your own server is down. Printed from `failsafe/secondaries/known.toml`; a test keeps it so. Every fact
was read at the address beside it, on the day beside it. **Unknown** means just that: nobody of us found it written, and only a drill on your own account shows it.

The doctor recognises the provider by the exchanges in `secondary`, and looks for what that provider needs (`secondary-verified`, `secondary-imap`, `spf`, `dkim`,
`mta-sts`). A provider that is not listed is treated as another server of your own: nothing is asked of it that is not known.

Three things decide whether a place is a good secondary:

1. **It takes mail for your domain while the MX points to your own server.** Else the first hour of an outage goes into switching it on. `secondary-accepts` and
   `secondary-recipients` ask it daily, up to RCPT and no further.
2. **It keeps the mail, and IMAP gives it back.** A forwarder keeps nothing: the mail lies wherever it forwards to.
3. **Mail that its own customers send you may land there in peace time.** Look into it now and then, or let a homecoming do so.
"""


def shown(value: Any) -> str:
    match value:
        case None:
            return "**unknown**"
        case bool():
            return "yes" if value else "no"
        case Verification():
            return f"TXT at {value.name}: `{value.prefix}…`" if value.is_needed else "none"
        case (Plan(), *_):
            return "; ".join(
                f"{each.plan}: {each.domains or 'unknown'} domain(s), {each.addresses or 'unknown'} address(es)" for each in value
            )
        case tuple():
            return ", ".join(f"`{each}`" for each in value) or "none"
        case _:
            return {"mailbox": "yes", "forwarder": "no, it forwards", "bridge": "through a bridge"}.get(value, str(value))


def row(name: str, fact: Fact[Any]) -> str:
    where = f"[read {fact.read}]({fact.source})" if fact.source else ""
    return f"| {ASKED[name]} | {shown(fact.value)} | {fact.note} | {where} |"


def render() -> str:
    lines = [HEAD]
    for each in PROVIDERS:
        lines += [f"## {each.name[0].upper()}{each.name[1:]}", ""]
        ends = ", ".join(f"`{suffix}`" for suffix in each.recognised_by)
        lines += [f"Recognised by exchanges that end in {ends}." if ends else "What no provider is recognised by.", ""]
        lines += ["| | | | |", "|---|---|---|---|", *(row(name, getattr(each, name)) for name in FACTS), ""]
    return "\n".join(lines)


def test_the_page_says_what_the_data_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == render()


def test_every_fact_has_its_source_and_its_day_or_is_unknown() -> None:
    facts = [(each.key, name, getattr(each, name)) for each in PROVIDERS for name in FACTS]

    assert [
        where for *where, fact in facts if fact.value is not None and not (fact.source.startswith("https://") and fact.read)
    ] == []
    assert [where for *where, fact in facts if fact.value is None and fact.source] == []


@pytest.mark.parametrize("provider", [each for each in PROVIDERS if each.exchanges.value], ids=lambda each: each.key)
def test_a_provider_is_recognised_by_its_exchanges(provider: SecondaryProvider) -> None:
    assert provider.exchanges.value is not None
    assert provider_of(tuple(name.upper() for name in provider.exchanges.value)) is provider


@pytest.mark.parametrize(
    "exchanges",
    [
        (),
        ("mx2.example.org",),
        ("mail.protonmail.ch", "mx2.example.org"),
        ("mail.notprotonmail.ch",),
        ("protonmail.ch.example.org",),
    ],
)
def test_what_is_not_wholly_one_providers_is_nobodys(exchanges: tuple[str, ...]) -> None:
    assert provider_of(exchanges) is None


def test_a_server_of_ones_own_is_in_the_list_and_recognised_by_nothing() -> None:
    (own,) = [each for each in PROVIDERS if each.key == OWN_SERVER]
    assert own.recognised_by == ()


@pytest.mark.parametrize(
    "line",
    [
        'imap = { value = "yes" }',
        'imap = { value = "yes", source = "https://example.org" }',
        'imap = { value = "yes", sauce = "https://example.org", read = 2026-11-30 }',
        'smell = { note = "?" }',
    ],
)
def test_a_value_without_source_or_day_and_a_word_that_nobody_knows_are_refused(line: str) -> None:
    with pytest.raises(ValueError, match="x"):
        parse(f'[x]\nname = "X"\nrecognised_by = []\n{line}\n')


def test_where_the_verification_record_lies() -> None:
    assert Verification("@", "a=").place("example.org") == "example.org"
    assert Verification("_proof", "a=").place("example.org") == "_proof.example.org"
    assert not Verification("", "").is_needed


if __name__ == "__main__":
    print(render(), end="")
