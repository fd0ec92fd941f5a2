"""The states of a domain as a table. A pair that is not in the table raises: nobody has thought about it, so nobody may act on it.

Theory. `decide` reads the facts and names a trigger; `step` looks the pair up; the runner writes the new state and carries out what is
ordered. The table is data: the documentation's table and diagram are printed from it, and a test compares them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from failsafe.model import DomainState, Side

NORMAL, SUSPECT = DomainState.NORMAL, DomainState.SUSPECT
FAILING_OVER, FAILED_OVER = DomainState.FAILING_OVER, DomainState.FAILED_OVER
RECOVERING, FAILING_BACK, HALTED = DomainState.RECOVERING, DomainState.FAILING_BACK, DomainState.HALTED


class Trigger(StrEnum):
    """What can happen to a domain."""

    PRIMARY_SUSPECT = "primary-suspect"
    PRIMARY_WELL = "primary-well"
    PRIMARY_DOWN = "primary-down"
    PRIMARY_RECOVERED = "primary-recovered"
    FAILOVER_ORDERED = "failover-ordered"
    FAILBACK_ORDERED = "failback-ordered"
    PLAN_VERIFIED = "plan-verified"
    PLAN_REFUSED = "plan-refused"
    PLAN_STUCK = "plan-stuck"
    STORE_LOST = "store-lost"
    SEEN_AT_SECONDARY = "seen-at-secondary"
    SEEN_AT_PRIMARY = "seen-at-primary"
    ACKNOWLEDGED_PRIMARY = "acknowledged-primary"
    ACKNOWLEDGED_SECONDARY = "acknowledged-secondary"


@dataclass(frozen=True, slots=True)
class Transition:
    """One row: what happens, where it leads, what is ordered, and the sentence a person reads."""

    state: DomainState
    trigger: Trigger
    to: DomainState
    order: str
    sentence: str


class UndefinedTransitionError(AssertionError):
    """A pair of state and trigger that the table does not have: a programmer's mistake."""


ROWS: tuple[Transition, ...] = (
    Transition(
        NORMAL, Trigger.PRIMARY_SUSPECT, SUSPECT, "collect evidence", "a vantage says that the primary does not take mail"
    ),
    Transition(SUSPECT, Trigger.PRIMARY_WELL, NORMAL, "note the blip", "the primary takes mail again; nothing was changed"),
    Transition(
        SUSPECT,
        Trigger.PRIMARY_DOWN,
        FAILING_OVER,
        "failover plan",
        "enough vantages said down for long enough, and no guard stands",
    ),
    Transition(NORMAL, Trigger.FAILOVER_ORDERED, FAILING_OVER, "failover plan", "a person ordered a failover"),
    Transition(SUSPECT, Trigger.FAILOVER_ORDERED, FAILING_OVER, "failover plan", "a person ordered a failover"),
    Transition(
        FAILING_OVER,
        Trigger.PLAN_VERIFIED,
        FAILED_OVER,
        "tell",
        "every authoritative server that answers sends mail to the secondary",
    ),
    Transition(
        FAILING_OVER,
        Trigger.PLAN_REFUSED,
        SUSPECT,
        "try again later",
        "nothing was written: the plan was refused or is not wanted any more",
    ),
    Transition(
        FAILING_OVER,
        Trigger.PLAN_STUCK,
        HALTED,
        "tell loudly, touch nothing",
        "the failover could not be finished, or reality disagrees",
    ),
    Transition(
        NORMAL,
        Trigger.PLAN_STUCK,
        HALTED,
        "tell loudly, touch nothing",
        "a new peace layout could not be finished, or reality disagrees",
    ),
    Transition(SUSPECT, Trigger.PLAN_STUCK, HALTED, "tell loudly, touch nothing", "the failover was refused too often"),
    Transition(FAILED_OVER, Trigger.PRIMARY_WELL, RECOVERING, "count the recovery time", "the primary takes mail again"),
    Transition(
        RECOVERING, Trigger.PRIMARY_SUSPECT, FAILED_OVER, "start counting anew", "the primary failed again while it recovered"
    ),
    Transition(
        RECOVERING,
        Trigger.PRIMARY_RECOVERED,
        FAILING_BACK,
        "failback plan",
        "the primary was well for long enough and proved ours",
    ),
    Transition(FAILED_OVER, Trigger.FAILBACK_ORDERED, FAILING_BACK, "failback plan", "a person ordered a failback"),
    Transition(RECOVERING, Trigger.FAILBACK_ORDERED, FAILING_BACK, "failback plan", "a person ordered a failback"),
    Transition(
        FAILING_BACK,
        Trigger.PLAN_VERIFIED,
        NORMAL,
        "tell, drain the secondary",
        "every authoritative server that answers sends mail to the primary",
    ),
    Transition(
        FAILING_BACK,
        Trigger.PLAN_REFUSED,
        RECOVERING,
        "try again later",
        "nothing was written: the plan was refused or is not wanted any more",
    ),
    Transition(
        FAILING_BACK,
        Trigger.PLAN_STUCK,
        HALTED,
        "tell loudly, touch nothing",
        "the failback could not be finished, or reality disagrees",
    ),
    Transition(
        RECOVERING,
        Trigger.STORE_LOST,
        HALTED,
        "tell loudly, touch nothing",
        "the primary takes mail again, with an empty or rebuilt mail store: restore required",
    ),
    Transition(RECOVERING, Trigger.PLAN_STUCK, HALTED, "tell loudly, touch nothing", "the failback was refused too often"),
    *(
        Transition(
            state,
            Trigger.SEEN_AT_SECONDARY,
            FAILED_OVER,
            "tell",
            "the prepared change was found made: mail goes to the secondary",
        )
        for state in (NORMAL, SUSPECT)
    ),
    *(
        Transition(
            state,
            Trigger.SEEN_AT_PRIMARY,
            NORMAL,
            "tell, drain the secondary",
            "the prepared change was found made: mail goes to the primary",
        )
        for state in (FAILED_OVER, RECOVERING)
    ),
    *(
        Transition(state, trigger, to, "note the word", f"a person says that the {side} serves")
        for state in (NORMAL, SUSPECT, FAILED_OVER, RECOVERING, HALTED)
        for trigger, to, side in (
            (Trigger.ACKNOWLEDGED_PRIMARY, NORMAL, "primary"),
            (Trigger.ACKNOWLEDGED_SECONDARY, FAILED_OVER, "secondary"),
        )
    ),
)
TABLE: dict[tuple[DomainState, Trigger], Transition] = {(row.state, row.trigger): row for row in ROWS}

PROMISES: dict[DomainState, str] = {
    NORMAL: "the primary serves and nothing suggests otherwise",
    SUSPECT: "evidence against the primary is being collected; DNS untouched",
    FAILING_OVER: "a journalled plan towards the secondary is being carried out",
    FAILED_OVER: "every authoritative server that answers sends mail to the secondary",
    RECOVERING: "the primary looks well; the recovery time is running",
    FAILING_BACK: "a journalled plan towards the primary is being carried out",
    HALTED: "a plan could not be finished or reality disagrees; a person must say what is true",
}


def step(state: DomainState, trigger: Trigger) -> Transition:
    """The row for this pair. Raises UndefinedTransitionError where there is none."""
    row = TABLE.get((state, trigger))
    if row is None:
        raise UndefinedTransitionError(f"a domain that is {state} cannot take {trigger}")
    return row


def possible(state: DomainState, trigger: Trigger) -> bool:
    return (state, trigger) in TABLE


def serving_in(state: DomainState) -> Side | None:
    """Which side a finished state promises; None where the journal must remember it (while a plan runs, and when halted)."""
    if state in (NORMAL, SUSPECT):
        return Side.PRIMARY
    return Side.SECONDARY if state in (FAILED_OVER, RECOVERING) else None


def render_promises() -> str:
    """The states as a Markdown table."""
    lines = [f"| `{state}` | {promise} |" for state, promise in PROMISES.items()]
    return "\n".join(["| state | it promises |", "|---|---|", *lines])


def render_table() -> str:
    """Every row as a Markdown table."""
    lines = [f"| `{row.state}` | `{row.trigger}` | `{row.to}` | {row.order} | {row.sentence} |" for row in ROWS]
    return "\n".join(["| state | trigger | leads to | ordered | what happened |", "|---|---|---|---|---|", *lines])
