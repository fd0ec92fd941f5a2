"""`failover`, `failback`, `hold`, `release`, `acknowledge`, `adopt-mx`: an operator's word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import typer

from failsafe.cli.common import JSON_OPTION, YES_OPTION, answer, answer_json, confirm, open_app, say, verbs_app
from failsafe.cli.names import domains, servers
from failsafe.errors import EXIT_EXTERNAL, EXIT_OK, FailsafeError, Refused, UsageError
from failsafe.model import FlipKind, Side

if TYPE_CHECKING:
    from failsafe.cli.flipping import Planned
    from failsafe.domains import Domains
    from failsafe.failover.decide import Decision
    from failsafe.failover.facts import DomainFacts

app = verbs_app()

WORDS_TRIED = 3  # times a hold, a release or an acknowledgement is written, if the daemon writes in between

DOMAINS = typer.Argument(None, autocompletion=domains, metavar="DOMAIN…", help="Which domains.")
SERVER = typer.Option(None, "--server", autocompletion=servers, metavar="S", help="All domains of this mail server.")
ALL = typer.Option(False, "--all", help="All domains.")
REASON = typer.Option("", "--reason", metavar="TEXT", help="Kept in the audit trail.")
DRY_RUN = typer.Option(False, "--dry-run", help="Print exactly what would be sent; write nothing.")
FORCE = typer.Option(
    False, "--force", help="Go on although the secondary is not known to be ready, or accounts are missing; needs --reason."
)


@app.command()
def failover(
    domains: list[str] = DOMAINS, server: str = SERVER, every: bool = ALL, dry_run: bool = DRY_RUN, yes: bool = YES_OPTION, reason: str = REASON,
    force: bool = FORCE, as_json: bool = JSON_OPTION,
) -> None:  # fmt: skip
    """Sends mail to the secondary, by hand. Shows the plan and asks first.

    Examples: failsafe failover example.org --dry-run
              failsafe failover --server vps --yes --reason "the data centre is on fire"
    """
    raise typer.Exit(
        _flip(FlipKind.FAILOVER, domains, server, every, dry_run=dry_run, yes=yes, reason=reason, force=force, as_json=as_json)
    )


@app.command()
def failback(
    domains: list[str] = DOMAINS, server: str = SERVER, every: bool = ALL, dry_run: bool = DRY_RUN, yes: bool = YES_OPTION, reason: str = REASON,
    force: bool = FORCE, as_json: bool = JSON_OPTION,
) -> None:  # fmt: skip
    """Sends mail to the primary again, by hand. Shows the plan and asks first.

    Example: failsafe failback example.org
    """
    raise typer.Exit(
        _flip(FlipKind.FAILBACK, domains, server, every, dry_run=dry_run, yes=yes, reason=reason, force=force, as_json=as_json)
    )


@app.command(name="adopt-mx")
def adopt_mx(
    domain: str = typer.Argument(..., autocompletion=domains, metavar="DOMAIN"),
    dry_run: bool = DRY_RUN,
    yes: bool = YES_OPTION,
    reason: str = REASON,
    as_json: bool = JSON_OPTION,
) -> None:
    """Plans and writes the peace layout that the domain's strategy needs.

    Example: failsafe adopt-mx example.org --dry-run
    """
    raise typer.Exit(
        _flip(
            FlipKind.ADOPT_MX, [domain], None, every=False, dry_run=dry_run, yes=yes, reason=reason, force=False, as_json=as_json
        )
    )


@app.command()
def hold(
    domains: list[str] = DOMAINS, server: str = SERVER, every: bool = ALL,
    length: str = typer.Option(..., "--for", metavar="2h", help="How long; a hold always ends by itself."), reason: str = typer.Option(..., "--reason", metavar="TEXT"),
    as_json: bool = JSON_OPTION,
) -> None:  # fmt: skip
    """Forbids flips that failsafe would make by itself, for a while.

    Example: failsafe hold example.org --for 2h --reason "new disk"
    """
    from failsafe.config.types import parse_duration
    from failsafe.failover.operator import run_hold

    try:
        lasting: timedelta = parse_duration(length)
    except ValueError as error:
        raise UsageError(f"--for: {error}") from None
    _say_to_each(
        domains,
        server,
        every,
        as_json,
        lambda desk, name, now: run_hold(desk.journal, desk.journal.load(name, now), now + lasting, reason, now),
    )


@app.command()
def release(domains: list[str] = DOMAINS, server: str = SERVER, every: bool = ALL, as_json: bool = JSON_OPTION) -> None:
    """Ends a hold.

    Example: failsafe release example.org
    """
    from failsafe.failover.operator import run_release

    _say_to_each(
        domains, server, every, as_json, lambda desk, name, now: run_release(desk.journal, desk.journal.load(name, now), now)
    )


@app.command()
def acknowledge(
    domains: list[str] = DOMAINS, server: str = SERVER, every: bool = ALL,
    serving: Side = typer.Option(..., "--serving", help="Which side takes mail now."), as_json: bool = JSON_OPTION,
) -> None:  # fmt: skip
    """Tells failsafe which side serves, after a person looked: the way out of `halted`.

    Example: failsafe acknowledge example.org --serving primary
    """
    from failsafe.failover.operator import run_acknowledge

    def tell(desk: Domains, name: str, now: datetime) -> Any:
        facts = desk.gather(name, now, fresh_zone=True)
        return run_acknowledge(desk.journal, facts.record, serving, facts.zone.agreed, facts.policy.layout, now)

    _say_to_each(domains, server, every, as_json, tell)


# -- what they share -----------------------------------------------------------------------------------------------------


def _chosen(everything: Any, domains: Sequence[str] | None, server: str | None, *, every: bool) -> list[str]:
    """The domains that were named. Raises UsageError for none, or for one that is not configured."""
    names = list(domains or [])
    if every:
        names += sorted(everything.config.domain)
    if server is not None:
        everything.server(server)
        names += sorted(name for name, table in everything.config.domain.items() if table.server == server)
    if not names:
        raise UsageError("no domain was named", mend="name one, or say --server S or --all")
    for name in names:
        everything.domain(name)
    return list(dict.fromkeys(names))


def _desk(everything: Any, now: datetime) -> Domains:
    """With the controller's lease, so that a flip by hand and one by the daemon exclude each other by compare-and-set."""
    from failsafe.domains import Domains

    lease = everything.leases.acquire(everything.holder, now)
    return Domains(everything, lease, now)


def _say_to_each(
    domains: Sequence[str] | None, server: str | None, every: bool, as_json: bool, act: Callable[[Domains, str, datetime], Any]
) -> None:
    everything = open_app()
    now = everything.clock.now()
    desk = _desk(everything, now)
    records = [_insist(partial(act, desk, name, now)) for name in _chosen(everything, domains, server, every=every)]
    if as_json:
        answer_json(
            {"domains": [{"domain": record.domain, "state": record.state, "serving": record.serving} for record in records]}
        )
        return
    for record in records:
        held = f", held until {record.held_until.astimezone(everything.time_zone):%Y-%m-%d %H:%M %z}" if record.held_until else ""
        answer(f"{record.domain}: {record.state}, the {record.serving} serves{held}")


def _insist(word: Callable[[], Any]) -> Any:
    """The daemon may change the same domain in the same moment: then the word is said again, to what it is now. Raises LeaseLost."""
    from failsafe.errors import LeaseLost

    for _ in range(WORDS_TRIED - 1):
        try:
            return word()
        except LeaseLost:
            continue
    return word()


def _flip(
    kind: FlipKind,
    domains: Sequence[str] | None,
    server: str | None,
    every: bool,
    *,
    dry_run: bool,
    yes: bool,
    reason: str,
    force: bool,
    as_json: bool,
) -> int:
    from failsafe.failover.ways_out import told_guards

    if force and not reason:
        raise UsageError("--force needs --reason TEXT: the audit trail keeps why")
    everything = open_app()
    now = everything.clock.now()
    desk = _desk(everything, now)
    orders = _orders(desk, _chosen(everything, domains, server, every=every), kind, now, force=force)
    planned = [(each.facts, each.decision) for each in orders]
    for facts, decision in planned:
        _show(facts, decision, kind)
    refusing = [guard for facts, decision in planned for guard in told_guards(decision.refusing, facts.policy.domain)]
    if refusing:
        if as_json:
            answer_json({"domains": [_plan_json(facts, decision) for facts, decision in planned]})
        raise Refused(f"the {kind} is refused", refusing)
    if dry_run:
        _answer_plans(desk, planned, as_json)
        return EXIT_OK
    confirm(f"Write {'this' if len(planned) == 1 else 'these'}?", yes=yes)
    return _carry_out(desk, orders, kind, reason or f"ordered by hand: {kind}", force=force, as_json=as_json)


def _orders(desk: Domains, names: Sequence[str], kind: FlipKind, now: datetime, *, force: bool) -> list[Planned]:
    """What is ordered of each domain. Of several, one that is there already is left out: in an outage the others must not wait for that. Raises Refused."""
    from failsafe.cli.flipping import Planned, is_there
    from failsafe.failover.decide import decide_by_hand

    read = []
    for name in names:
        read_at = desk.app.clock.monotonic()
        read.append((read_at, desk.gather(name, now, fresh_zone=True)))
    there = [facts for _, facts in read if is_there(facts, kind)]
    if len(there) < len(read):
        read = [(read_at, facts) for read_at, facts in read if not is_there(facts, kind)]
        for facts in there:
            say(f"{facts.policy.domain}: {kind}; nothing to do, it is {facts.record.state}")
    orders = []
    for read_at, facts in read:
        seen = _with_proof(desk, facts, now) if kind is FlipKind.FAILBACK else facts
        orders.append(Planned(seen, decide_by_hand(seen, kind, now, force=force), read_at))
    return orders


def _with_proof(desk: Domains, facts: DomainFacts, now: datetime) -> DomainFacts:
    """A failback also proves the primary, as far as it can be asked."""
    from dataclasses import replace

    if not facts.policy.ssh:
        return facts
    from failsafe.primary import prove_primary

    say(f"{facts.policy.domain}: looking at the primary …")
    return replace(facts, primary=prove_primary(desk.app, facts.policy.domain, now))


def _show(facts: DomainFacts, decision: Decision, kind: FlipKind) -> None:
    """The plan and every guard, for a person: on stderr."""
    from failsafe.failover.ways_out import with_way_out
    from failsafe.failover.zone import describe

    say(
        f"{facts.policy.domain}: {kind}; the zone holds {describe(facts.zone.agreed) if facts.zone.agreed else 'nothing that could be read'}"
    )
    for sentence in decision.plan.sentences if decision.plan is not None else ():
        say(f"  {sentence}")
    say(f"  of the primary: {'; '.join(decision.reasons)}")
    for guard in decision.guards:
        if guard not in decision.refusing:
            say(f"  note: {with_way_out(guard, facts.policy.domain)}")


def _plan_json(facts: DomainFacts, decision: Decision) -> dict[str, Any]:
    from failsafe.failover.plan import to_json
    from failsafe.failover.ways_out import told_guards

    plan, domain = decision.plan, facts.policy.domain
    refusing = {guard.code for guard in decision.refusing}
    return {
        "domain": facts.policy.domain,
        "kind": decision.kind,
        "guards": [
            {"code": guard.code, "text": guard.text, "mend": guard.mend, "refuses": guard.code in refusing}
            for guard in told_guards(decision.guards, domain)
        ],
        "plan": None
        if plan is None
        else {
            "digest": plan.digest,
            "before": to_json(plan.change.expected),
            "desired": to_json(plan.change.desired),
            "steps": list(plan.sentences),
        },
    }


def _answer_plans(desk: Domains, planned: Sequence[tuple[DomainFacts, Decision]], as_json: bool) -> None:
    """What the zone would hold, and exactly what would be sent for that. Raises DnsError, SecretError: then a flip could not send it either."""
    requests = []
    for facts, decision in planned:
        zone = desk.app.zone(facts.policy.domain)
        assert zone is not None and decision.plan is not None, "else it was refused"
        requests.append(zone.preview(decision.plan.change))
    if as_json:
        pairs = zip(planned, requests, strict=True)
        answer_json({"domains": [{**_plan_json(*each), "request": list(request)} for each, request in pairs]})
        return
    for (facts, decision), request in zip(planned, requests, strict=True):
        assert decision.plan is not None
        answer(f"{facts.policy.domain} would be written as:")
        for record in decision.plan.change.desired.records:
            answer(f"  MX {record.preference} {record.exchange}")
        answer("exactly this would be sent, once, if the zone still holds what it holds now:")
        for line in request:
            answer(f"  {line}")


def _carry_out(desk: Domains, orders: Sequence[Planned], kind: FlipKind, reason: str, *, force: bool, as_json: bool) -> int:
    """Raises what stands against the only domain; of several it is said of each."""
    from failsafe.cli.flipping import carry_out_each

    results = []
    carried = carry_out_each(desk, orders, kind, reason, force=force)
    if len(carried) == 1 and carried[0].error is not None:
        raise carried[0].error
    for each in carried:
        facts = each.planned.facts
        text = each.ending.text if each.ending is not None else _said(each.error)
        state = facts.record.state if each.ending is None else each.ending.record.state
        results.append({**_plan_json(facts, each.planned.decision), "done": each.done, "state": state, "text": text})
        if not as_json:
            answer(f"{facts.policy.domain}: {'done' if each.done else 'NOT done'}: {text}; state {state}")
    if as_json:
        answer_json({"domains": results})
    return EXIT_OK if all(each.done for each in carried) else EXIT_EXTERNAL


def _said(error: FailsafeError | None) -> str:
    """An error in one line, with its way out."""
    return "" if error is None else "; ".join(" ".join(part.split()) for part in (str(error), error.mend) if part)
