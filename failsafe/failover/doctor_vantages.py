"""Judges the places that look at a mail server: are they enough, can they reach port 25, does the server ban them? Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from failsafe.failover.bans import ADDRESS, BanList, Stack, ignore_words, let_in
from failsafe.failover.facts import Policy
from failsafe.failover.health import VantageView
from failsafe.failover.weigh import suspected_bans
from failsafe.model import Finding, Mode, Severity, Verdict

FAIL, WARN, OK, SKIPPED = Severity.FAIL, Severity.WARN, Severity.OK, Severity.SKIPPED
ANOTHER = "add a [vantage.NAME], another place to look from (docs/vantages.md), or lower quorum"

# Of a domain. Blocks a failover, what is looked at.
CODES: dict[str, tuple[bool, str]] = {
    "vantages": (True, "enough places watch the mail server to agree on a failover, and each of them says something"),
    "port-25": (False, "port 25 can be reached from each place that speaks SMTP"),
    "monitor-banned": (True, "the mail server does not ban the places that look at it"),
    "fail2ban-ignore": (
        False,
        "the server's fail2ban ignores our address, so that no mistake of a probe shuts us out for a week",
    ),
}


@dataclass(frozen=True, slots=True)
class BanCheckup:
    """What a server's fail2ban said. `others`: vantage -> the addresses of its machine; `before`: our address at the last look, "" if none."""

    stack: Stack
    known: BanList = BanList(error="it was not asked")  # noqa: RUF009 - frozen
    others: tuple[tuple[str, tuple[str, ...]], ...] = ()
    before: str = ""


@dataclass(frozen=True, slots=True)
class VantageCheckup:
    """`names`: who is to look at the server, "here" first; none where no probe is configured. `views`: of inbound mail, weighed."""

    names: tuple[str, ...]
    views: tuple[VantageView, ...]
    bans: BanCheckup

    def view(self, name: str) -> VantageView | None:
        return next((view for view in self.views if view.vantage == name), None)


def judge_vantages(policy: Policy, seen: VantageCheckup) -> tuple[Finding, ...]:
    """Every finding about them, also those that are fine."""
    return (
        _judge_enough(policy, seen),
        *_judge_ports(policy, seen),
        *_judge_bans(policy, seen),
        _judge_ignored(policy.domain, seen.bans),
    )


def _judge_enough(policy: Policy, seen: VantageCheckup) -> Finding:
    name = policy.domain
    if not seen.names:
        severity = FAIL if policy.mode is Mode.AUTO else WARN
        mend = f"add [probe.{policy.server}]"
        return Finding("vantages", severity, name, "nobody watches the mail server", mend, blocks_failover=True)
    if len(seen.names) < policy.quorum:
        text = f"{len(seen.names)} of {policy.quorum} vantages are configured, so a failover waits for a person"
        return Finding("vantages", WARN, name, text, ANOTHER, blocks_failover=True)
    mute = [text for each in seen.names[1:] if (text := _says_nothing(seen, each))]
    if mute:
        mend = "mend what it says, or take the vantage out: one that never says anything is none"
        return Finding("vantages", WARN, name, "; ".join(mute), mend, blocks_failover=True)
    text = f"{', '.join(seen.names)} look at the mail server, for a quorum of {policy.quorum}"
    return Finding("vantages", OK, name, text, blocks_failover=True)


def _says_nothing(seen: VantageCheckup, name: str) -> str:
    """Why another place is of no use now; "" where it says something."""
    view = seen.view(name)
    if view is None:
        return f"{name} has not looked yet"
    return f"{name} says nothing: {'; '.join(view.reasons)}" if view.verdict is Verdict.UNKNOWN and not view.blocked else ""


def _judge_ports(policy: Policy, seen: VantageCheckup) -> Iterator[Finding]:
    if not seen.names:
        yield Finding("port-25", SKIPPED, policy.domain, "no probe is configured")
    for name in seen.names:
        if name not in policy.standing.shallow:
            yield _judge_port(policy.domain, name, seen.view(name))


def _judge_port(domain: str, name: str, view: VantageView | None) -> Finding:
    if view is None:
        return Finding(
            "port-25", SKIPPED, domain, f"{name} has not looked yet", "start `failsafe run`, or `failsafe tick` from cron"
        )
    said = "; ".join(view.reasons)
    if view.blocked:
        return Finding(
            "port-25", WARN, domain, f"{name} is refused: {said}", "let its address pass at the server, or look from elsewhere"
        )
    if view.port_works is False:
        mend = f"ask the provider of {name} to open outbound port 25, or add another vantage: from there mail can never be seen to be taken"
        return Finding("port-25", WARN, domain, f"{name}: {said}", mend)
    if view.verdict is Verdict.UP or view.port_works:
        return Finding("port-25", OK, domain, f"port 25 can be reached from {name}")
    mend = "if the server is up, port 25 is probably blocked there: add another vantage"
    return Finding("port-25", WARN, domain, f"{name} has seen nothing through SMTP: {said}", mend)


def _judge_bans(policy: Policy, seen: VantageCheckup) -> Iterator[Finding]:
    """It blocks a failover only where too few are left to agree on one."""
    name, bans, known = policy.domain, seen.bans, seen.bans.known
    views = {view.vantage: view for view in seen.views if view.blocked}
    shut_out = dict.fromkeys(suspected_bans(seen.views, policy.standing.shallow), "it cannot reach the server, and others can")
    refused = {vantage: "; ".join(view.reasons) for vantage, view in views.items()}
    listed = {vantage: f"fail2ban bans {address} (jail {', '.join(jails)})" for vantage, address, jails in _listed(bans)}
    banned = {**shut_out, **refused, **listed}
    if banned:
        left = sum(vantage not in banned for vantage in seen.names)
        severity = FAIL if left < policy.quorum else WARN
        jails = [jail for _, _, found in _listed(bans) for jail in found]
        mend = let_in(bans.stack, known.ours or ADDRESS, jails, _ignored(bans))
        text = "; ".join(f"{vantage} seems to be shut out: {why}" for vantage, why in banned.items())
        yield Finding("monitor-banned", severity, name, text, mend, blocks_failover=True)
    elif not seen.names:
        yield Finding("monitor-banned", SKIPPED, name, "no probe is configured", blocks_failover=True)
    elif not known.error:
        text = f"fail2ban does not ban {known.ours or 'us'}"
        yield Finding("monitor-banned", OK, name, text, blocks_failover=True)
    elif any(view.verdict is Verdict.UP for view in seen.views):
        yield Finding(
            "monitor-banned", OK, name, f"whoever looks is let in (fail2ban was not asked: {known.error})", blocks_failover=True
        )
    else:
        yield Finding("monitor-banned", SKIPPED, name, f"nobody can say: {known.error}", blocks_failover=True)


def _listed(bans: BanCheckup) -> list[tuple[str, str, tuple[str, ...]]]:
    """(vantage, address, jails) of each address that fail2ban bans."""
    places = [("here", bans.known.ours), *((vantage, address) for vantage, found in bans.others for address in found)]
    return [(vantage, address, jails) for vantage, address in places if (jails := bans.known.banning(address))]


def _judge_ignored(domain: str, bans: BanCheckup) -> Finding:
    known, ours = bans.known, bans.known.ours
    if known.error:
        return Finding("fail2ban-ignore", SKIPPED, domain, known.error)
    if not ours:
        return Finding("fail2ban-ignore", SKIPPED, domain, "our address, as the server sees it, is not known")
    places = [("here", ours), *((vantage, address) for vantage, found in bans.others for address in found)]
    lacking = [(vantage, address) for vantage, address in places if known.not_ignoring(address)]
    if not lacking:
        return Finding("fail2ban-ignore", OK, domain, f"fail2ban ignores {', '.join(address for _, address in places)}")
    text = "; ".join(f"fail2ban may ban {address} ({vantage})" for vantage, address in lacking)
    if bans.before and bans.before != ours:
        text += f"; our address was {bans.before} before"
    mend = ignore_words(bans.stack, " ".join(address for _, address in lacking), _ignored(bans))
    return Finding("fail2ban-ignore", WARN, domain, text, mend)


def _ignored(bans: BanCheckup) -> tuple[str, ...]:
    """What its jails ignore already: the line that is to be written keeps it."""
    return tuple(dict.fromkeys(entry for jail in bans.known.jails for entry in jail.ignored if not entry.startswith("127.")))
