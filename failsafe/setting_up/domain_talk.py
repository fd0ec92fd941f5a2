"""The questions about a domain: its own servers, where mail goes in an outage, how the records are changed. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from failsafe.config.types import parse_host_port, parse_name
from failsafe.model import Strategy
from failsafe.secondaries.provider import OWN_SERVER, SecondaryProvider, recognise
from failsafe.setting_up.advice import MEANINGS, advise, told
from failsafe.setting_up.choice import DnsChoice, DomainChoice, HomecomingChoice
from failsafe.setting_up.facts import Facts
from failsafe.setting_up.questions import NONE, Question, Talk, ask, choose, demand
from failsafe.setting_up.sight import DomainSight, host_of_zone, sides

ZONE_ID = re.compile(r"[0-9a-f]{32}")
HOSTS = {
    "cloudflare": "Cloudflare: an API token that may edit this zone's DNS",
    "route53": "Amazon Route 53: an access key",
    "rfc2136": "a name server of your own that takes updates (Knot, BIND, PowerDNS): a TSIG key, made here",
    NONE: "none: notices then tell you the exact change, and failsafe sees when you made it",
}


def ask_domain_name() -> Talk[str]:
    return (
        yield from ask(
            Question("--domain", "Your mail's domain, such as example.org", help=("What stands after the @ in your addresses.",)),
            lambda text: parse_name(demand(text)),
        )
    )


def ask_primary(seen: DomainSight, providers: Sequence[SecondaryProvider]) -> Talk[tuple[str, ...]]:
    """The server's own names in the MX records."""
    own, _theirs = sides([name for _preference, name in seen.mx], providers)
    return (
        yield from ask(Question("--primary", "Your own server's name in the MX records", _shown(seen), ",".join(own)), _names)
    )


def _shown(seen: DomainSight) -> tuple[str, ...]:
    if seen.error:
        return (f"{seen.domain} could not be looked up: {seen.error}",)
    if not seen.mx:
        return (f"{seen.domain} has no MX records.",)
    records = ", ".join(f"{preference} {name}" for preference, name in seen.mx)
    host = host_of_zone(seen.name_servers)
    servers = ", ".join(seen.name_servers) or "not found"
    return (f"{seen.domain} MX: {records}", f"Its name servers: {servers}{f' ({host})' if host else ''}")


def _names(text: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(parse_name(name) for name in demand(text).replace(",", " ").split()))
    if len(found) > 10:
        raise ValueError("at most ten names")
    return found


# -- the secondary -------------------------------------------------------------------------------------------------------


def ask_domain(facts: Facts, seen: DomainSight, server: str, primary: tuple[str, ...], folder: str) -> Talk[DomainChoice]:
    """All but the DNS provider. `folder`: where secrets lie."""
    providers = tuple(facts.providers())
    listed = [name for _preference, name in seen.mx]
    provider, exchanges = yield from _ask_secondary(providers, [name for name in listed if name not in primary], primary)
    if provider is None:
        return DomainChoice(seen.domain, server, primary)
    advice = advise(provider, exchanges, listed)
    lines = (
        *told(provider, facts.secondary(provider, exchanges, seen), seen.domain),
        *advice.warnings,
        f"Advised: {advice.strategy}. {advice.why}.",
    )
    chosen = yield from choose(
        Question(
            "--strategy", "Strategy", lines, advice.strategy.value, ("docs/failover.md says what each does to the records.",)
        ),
        [each.value for each in MEANINGS],
        list(MEANINGS.values()),
    )
    strategy = Strategy(chosen)
    homecoming = (yield from _ask_homecoming(folder)) if strategy is Strategy.SWAP else None
    why = advice.why if strategy is advice.strategy else f"chosen by you; {advice.strategy} was advised: {advice.why}"
    return DomainChoice(seen.domain, server, primary, exchanges, provider.name, strategy, why, homecoming=homecoming)


def _ask_secondary(
    providers: Sequence[SecondaryProvider], others: Sequence[str], primary: tuple[str, ...]
) -> Talk[tuple[SecondaryProvider | None, tuple[str, ...]]]:
    """`others`: exchanges in the records that are not the server's own. (None, ()) for backups only."""
    found = recognise(others, providers)
    by_key = {each.key: each for each in providers}
    lines = [
        "Where shall mail go while your server is down? An account there, with your domain, is for you to make.",
        *(
            f"  {each.key:<26}{each.name}{': ' + ', '.join(each.exchanges.value) if each.exchanges.value else ''}"
            for each in providers
        ),
        f"  {'HOST,HOST':<26}its names for the MX records, where it is another one",
        f"  {NONE:<26}backups only, for now",
    ]

    def read(text: str) -> tuple[SecondaryProvider | None, tuple[str, ...]]:
        if text.lower() == NONE:
            return None, ()
        if (known := by_key.get(text.lower())) is not None:
            return known, known.exchanges.value or ()
        if "." not in text:
            raise ValueError(f"“{text}” is none of {', '.join((*by_key, NONE))}, and no name of a server")
        return recognise(_names(text), providers) or by_key[OWN_SERVER], _apart(_names(text), primary)

    default = found.key if found is not None else ",".join(others) if others else NONE
    provider, exchanges = yield from ask(Question("--secondary", "The secondary", tuple(lines), default), read)
    if provider is not None and not exchanges:
        note = f" ({provider.exchanges.note})" if provider.exchanges.note else ""
        exchanges = yield from ask(
            Question(
                "--secondary",
                f"Its names for the MX records{note}",
                fault=f"the names of {provider.name} are not known here: HOST,HOST",
            ),
            lambda text: _apart(_names(text) if "." in text else _names(""), primary),
        )
    return provider, exchanges


def _apart(names: tuple[str, ...], primary: tuple[str, ...]) -> tuple[str, ...]:
    if both := set(names) & set(primary):
        raise ValueError(f"{', '.join(sorted(both))} is your own server's name")
    return names


def _ask_homecoming(folder: str) -> Talk[HomecomingChoice]:
    why = "swap lets mail reach the secondary in peace too: one login must fetch it, over IMAP or a bridge."
    place = yield from ask(
        Question("--homecoming", "Where mail is fetched from the secondary (HOST:PORT)", (why,)),
        lambda text: parse_host_port(text if ":" in text else f"{demand(text)}:993"),
    )
    user = yield from ask(Question("--homecoming-user", "The login there that gets the domain's mail"), _login)
    return HomecomingChoice(place.host, place.port, user, f"{folder}/secondary.password")


def _login(text: str) -> str:
    if any(bad in text for bad in '"\\\n'):
        raise ValueError("a login has no quotes and no backslashes")
    return demand(text)


# -- the records ---------------------------------------------------------------------------------------------------------


def ask_dns(facts: Facts, seen: DomainSight, folder: str, taken: Sequence[str] = ()) -> Talk[DnsChoice | None]:
    """None where notices tell a person what to change. `taken`: names of [dns.…] tables that are there."""
    found = host_of_zone(seen.name_servers)
    host = f"{seen.domain} is hosted by {found}." if found else f"Who hosts {seen.domain} is not recognised by its name servers."
    lines = (
        host,
        "With an API, failsafe changes the MX records itself. It begins with observing, and writes nothing before you say so.",
    )
    provider = yield from choose(
        Question("--dns", "How are the records changed?", lines, found or NONE), list(HOSTS), list(HOSTS.values())
    )
    if provider == NONE:
        return None
    name = next(each for each in (provider, *(f"{provider}{number}" for number in range(2, 99))) if each not in taken)
    if provider == "cloudflare":
        return (yield from _ask_cloudflare(facts, seen.domain, name, folder))
    if provider == "rfc2136":
        return (yield from _ask_rfc2136(seen, name, folder))
    return DnsChoice(name, provider, credentials_file=f"{folder}/{name}.credentials")


def _ask_cloudflare(facts: Facts, domain: str, name: str, folder: str) -> Talk[DnsChoice | None]:
    """None where the person has no zone id at hand: its table then stands in comments."""
    token = yield from ask(
        Question(
            "--dns-token-file",
            "The file with the API token",
            (
                "Make a token at dash.cloudflare.com/profile/api-tokens that may do two things with this one zone: Zone, DNS, Edit, and Zone, Zone, Read.",
                "It need not be in the file yet: an empty one is made, and the step that fills it is printed at the end.",
            ),
            f"{folder}/{name}.token",
        ),
        _file,
    )

    def read(text: str) -> str:
        if text.lower() == NONE:
            return ""
        if ZONE_ID.fullmatch(text.lower()) is None:
            raise ValueError(
                "a zone id is 32 digits of 0-9 and a-f; it stands on the zone's overview page, below API (none: later)"
            )
        return text.lower()

    zone = yield from ask(Question("--dns-zone-id", "The zone id (none: later)", default=facts.zone_id(token, domain)), read)
    return DnsChoice(name, "cloudflare", token_file=token, zone_id=zone) if zone else None


def _ask_rfc2136(seen: DomainSight, name: str, folder: str) -> Talk[DnsChoice]:
    first = seen.name_servers[0] if seen.name_servers else ""
    server = yield from ask(
        Question("--dns-server", "The name server that takes updates (HOST:PORT)", default=f"{first}:53" if first else ""),
        lambda text: str(parse_host_port(text if text.rpartition(":")[2].isdigit() else f"{demand(text)}:53")),
    )
    key_name = yield from ask(Question("--dns-key-name", "The name of the TSIG key", default="failsafe."), _login)
    key_file = yield from ask(
        Question("--dns-key-file", "The file with its secret (made, where it is not there)", default=f"{folder}/{name}.key"),
        _file,
    )
    return DnsChoice(name, "rfc2136", server=server, key_name=key_name, key_file=key_file)


def _file(text: str) -> str:
    if not text.startswith("/") or any(bad in text for bad in '"\\\n'):
        raise ValueError(f"“{text}” is no whole path")
    return text
