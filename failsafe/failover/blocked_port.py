"""Where port 25 is blocked on the way out: recognised, and what can be said of the mail server all the same. Pure.

Many home lines and many rented machines cannot connect to port 25 of anybody. From there a healthy server looks dead. So one that cannot be reached is
held against another exchange: the secondary's own. Where that cannot be reached either, port 25 says nothing; then the server is down only if its other
doors (465, 993, SSH) are all dead, and nothing there can say that it takes mail.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from failsafe.model import Evidence, ProbeClass, Sign

BLOCKED = frozenset({Sign.PORT_25_BLOCKED})


@dataclass(frozen=True, slots=True)
class Beside:
    """What was seen beside a mail server that could not be reached.

    `port_works`: whether another exchange could be reached on port 25 from the same place; None where there is none to try.
    `doors`: the server's other doors, and whether each opened.
    """

    port_works: bool | None
    doors: tuple[tuple[str, bool], ...] = ()
    tried: str = ""  # the other exchange, as a person knows it


def judge_unreached(evidence: Evidence, beside: Beside) -> Evidence:
    """Evidence of a server whose port 25 could not be connected to, in the light of what was seen beside it."""
    if beside.port_works is None:
        return evidence
    if beside.port_works:
        text = f"{evidence.text}; port 25 works from here ({beside.tried} answers)"
        return replace(evidence, text=text, signs=evidence.signs | {Sign.PORT_25_WORKS})
    blocked = f"port 25 is blocked from here (neither the mail server nor {beside.tried} can be reached on it)"
    opened = [name for name, is_open in beside.doors if is_open]
    if opened:
        text = f"the server answers elsewhere ({', '.join(opened)}), and whether it takes mail cannot be seen: {blocked}"
        return replace(evidence, seen=ProbeClass.UNKNOWN, text=text, signs=BLOCKED | {Sign.STANDS})
    if not beside.doors:
        return replace(evidence, seen=ProbeClass.UNKNOWN, text=f"nothing can be seen: {blocked}", signs=BLOCKED)
    names = ", ".join(name for name, _ in beside.doors)
    return replace(evidence, seen=ProbeClass.DOWN, text=f"{names} are dead, all of them; {blocked}", signs=BLOCKED)
