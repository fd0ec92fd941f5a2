"""The whole conversation of `failsafe init`, for the first domain and for one more. Pure: generators that touch nothing and end with a choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from failsafe.setting_up.choice import Choice, DnsChoice, DomainChoice
from failsafe.setting_up.domain_talk import ask_dns, ask_domain, ask_domain_name, ask_primary
from failsafe.setting_up.facts import Facts
from failsafe.setting_up.place_talk import ask_offsite, ask_probe, ask_repository, ask_state_dir
from failsafe.setting_up.questions import Question, Talk, choose
from failsafe.setting_up.server_talk import ask_server

GREETING = (
    "This sets failsafe up: a configuration, keys and passwords. Nothing is written before all is asked, and nothing that is there is changed.",
    "At each question: Enter takes what stands in [ ], ? explains, q quits.",
    "",
)


@dataclass(frozen=True, slots=True)
class Defaults:
    """What this machine says of itself. `folder` is where the configuration goes."""

    folder: str
    controller: str
    time_zone: str
    state_dir: str
    server: str = "mail"
    resolver: str = ""


def converse(facts: Facts, defaults: Defaults) -> Talk[Choice]:
    domain = yield from ask_domain_name()
    seen = facts.domain(domain)
    primary = yield from ask_primary(seen, facts.providers())
    server = yield from ask_server(facts, defaults.server, primary[0])
    chosen = yield from ask_domain(facts, seen, server.name, primary, defaults.folder)
    dns: DnsChoice | None = None
    if chosen.secondary:
        dns = yield from ask_dns(facts, seen, defaults.folder)
        chosen = replace(chosen, dns=dns.name if dns else "")
    state_dir = yield from ask_state_dir(facts, server.size, defaults.state_dir)
    repository = yield from ask_repository(facts, server.size, state_dir)
    offsite = yield from ask_offsite(facts, server.size, state_dir, repository)
    probe = yield from ask_probe(domain)
    return Choice(
        folder=defaults.folder,
        controller=defaults.controller,
        time_zone=defaults.time_zone,
        server=server,
        domain=chosen,
        state_dir=state_dir,
        repository=repository,
        offsite=offsite,
        dns=dns,
        probe=probe,
        resolver=defaults.resolver,
    )


def converse_more(
    facts: Facts, domain: str, servers: Sequence[str], tables: Sequence[tuple[str, str]], folder: str
) -> Talk[tuple[DomainChoice, DnsChoice | None]]:
    """One more domain. `servers`: the mail servers that are configured; `tables`: (name, provider) of the [dns.…] tables that are there."""
    seen = facts.domain(domain)
    primary = yield from ask_primary(seen, facts.providers())
    server = servers[0]
    if len(servers) > 1:
        server = yield from choose(
            Question("--server", "On which mail server does it lie?", default=server), servers, [""] * len(servers)
        )
    chosen = yield from ask_domain(facts, seen, server, primary, folder)
    if not chosen.secondary:
        return chosen, None
    known = [name for name, provider in tables if provider != "cloudflare"]  # a table of Cloudflare's is one zone's
    if known and (yield from _ask_known(known)):
        return replace(chosen, dns=known[0]), None
    dns = yield from ask_dns(facts, seen, folder, [name for name, _provider in tables])
    return replace(chosen, dns=dns.name if dns else ""), dns


def _ask_known(names: Sequence[str]) -> Talk[bool]:
    text = yield Question("--dns-table", f"Does [dns.{names[0]}] hold this domain's zone too? (y/n)", default="n")
    return text.lower() in ("y", "yes", names[0])
